/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "ike/vici_message.h"

/* Encoded elements. Names and values begin with their lengths. */
#define SECTION(name) "\1" name
#define SECTION_END "\2"
#define KEY(name, value) "\3" name value
#define LIST(name) "\4" name
#define ITEM(value) "\5" value
#define LIST_END "\6"

#define A "\1a"
#define B "\1b"
#define NONE "\0"
#define ONE "\0\3one"
#define TWO "\0\3two"
#define EMPTY "\0\0"

#define FOUR(text) text text text text
#define SIXTEEN(text) FOUR(FOUR(text))

#define BYTES(text) (text), sizeof(text) - 1

/* The example of strongSwan's README.md. EXAMPLE_TRACE is how trace() writes it. */
#define EXAMPLE \
	KEY("\4key1", "\0\6value1") \
	SECTION("\10section1") \
	SECTION("\13sub-section") \
	KEY("\4key2", "\0\6value2") \
	SECTION_END \
	LIST("\5list1") \
	ITEM("\0\5item1") \
	ITEM("\0\5item2") \
	LIST_END \
	SECTION_END
#define EXAMPLE_TRACE \
	"0.key1=value1 0{section1 1{sub-section 2.key2=value2 1} 1[list1 1,list1=item1 1,list1=item2 1]list1 0} "

static const struct read_row {
	const char *name;
	const char *bytes;
	size_t length;
	const char *trace;
} complete_rows[] = {
	{"nothing", BYTES(""), ""},
	{"a value", BYTES(KEY(A, ONE)), "0.a=one "},
	{"values", BYTES(KEY(A, ONE) KEY(B, TWO)), "0.a=one 0.b=two "},
	{"the same name twice", BYTES(KEY(A, ONE) KEY(A, TWO)), "0.a=one 0.a=two "},
	{"an empty value", BYTES(KEY(A, EMPTY)), "0.a= "},
	{"an empty name", BYTES(KEY(NONE, ONE)), "0.=one "},
	{"an empty section", BYTES(SECTION(A) SECTION_END), "0{a 0} "},
	{"sections in a row", BYTES(SECTION(A) KEY(A, ONE) SECTION_END SECTION(B) KEY(A, TWO) SECTION_END),
	 "0{a 1.a=one 0} 0{b 1.a=two 0} "},
	{"an empty list", BYTES(LIST(A) LIST_END), "0[a 0]a "},
	{"lists in a row", BYTES(LIST(A) ITEM(ONE) LIST_END LIST(B) ITEM(EMPTY) LIST_END),
	 "0[a 0,a=one 0]a 0[b 0,b= 0]b "},
	{"a list without a name", BYTES(LIST(NONE) ITEM(ONE) LIST_END), "0[ 0,=one 0] "},
	{"a value behind a list", BYTES(LIST(A) LIST_END KEY(B, ONE)), "0[a 0]a 0.b=one "},
	{"the example of strongSwan's documentation", BYTES(EXAMPLE), EXAMPLE_TRACE},
	{"sections as deep as they may be", BYTES(SIXTEEN(SECTION(A)) KEY(B, ONE) SIXTEEN(SECTION_END)),
	 "0{a 1{a 2{a 3{a 4{a 5{a 6{a 7{a 8{a 9{a 10{a 11{a 12{a 13{a 14{a 15{a 16.b=one "
	 "15} 14} 13} 12} 11} 10} 9} 8} 7} 6} 5} 4} 3} 2} 1} 0} "},
};

/* Messages with a mistake. `trace` is the part before the mistake. */
static const struct read_row broken_rows[] = {
	{"an end of the message in the message", BYTES("\0"), ""},
	{"an unknown element", BYTES(KEY(A, ONE) "\7"), "0.a=one "},
	{"the last of the unknown elements", BYTES("\377"), ""},
	{"a section's end alone", BYTES(SECTION_END), ""},
	{"a section's end too many", BYTES(SECTION(A) SECTION_END SECTION_END KEY(A, ONE)), "0{a 0} "},
	{"an item alone", BYTES(ITEM(ONE)), ""},
	{"an item behind its list", BYTES(LIST(A) LIST_END ITEM(ONE)), "0[a 0]a "},
	{"a list's end alone", BYTES(LIST_END), ""},
	{"a list's end too many", BYTES(LIST(A) LIST_END LIST_END), "0[a 0]a "},
	{"a value in a list", BYTES(LIST(A) KEY(A, ONE) LIST_END), "0[a "},
	{"a section in a list", BYTES(LIST(A) SECTION(A) SECTION_END LIST_END), "0[a "},
	{"a list in a list", BYTES(LIST(A) LIST(A) LIST_END LIST_END), "0[a "},
	{"a section's end in a list", BYTES(SECTION(A) LIST(A) SECTION_END), "0{a 1[a "},
	{"an end of the message in a list", BYTES(LIST(A) "\0"), "0[a "},
	{"a message that ends in a section", BYTES(SECTION(A) KEY(A, ONE)), "0{a 1.a=one "},
	{"a message that ends in a list", BYTES(LIST(A) ITEM(ONE)), "0[a 0,a=one "},
	{"a section without its name's length", BYTES(SECTION("")), ""},
	{"a section's name beyond the end", BYTES(SECTION("\2a")), ""},
	{"a key without its name's length", BYTES("\3"), ""},
	{"a key's name beyond the end", BYTES("\3\377a"), ""},
	{"a key without its value's length", BYTES(KEY(A, "")), ""},
	{"a key with half its value's length", BYTES(KEY(A, "\0")), ""},
	{"a value beyond the end", BYTES(KEY(A, "\0\4one")), ""},
	{"a value far beyond the end", BYTES(KEY(A, "\377\377one")), ""},
	{"a list's name beyond the end", BYTES(LIST("\2a")), ""},
	{"an item without its length", BYTES(LIST(A) ITEM("")), "0[a "},
	{"an item beyond the end", BYTES(LIST(A) ITEM("\0\4one")), "0[a "},
	{"sections that are too deep", BYTES(SIXTEEN(SECTION(A)) SECTION(A) SECTION_END SIXTEEN(SECTION_END)),
	 "0{a 1{a 2{a 3{a 4{a 5{a 6{a 7{a 8{a 9{a 10{a 11{a 12{a 13{a 14{a 15{a "},
};

/* Writes an element with its depth, such as `1.key=value `. */
static void trace_item(FILE *f, const struct vici_item *item)
{
	static const char signs[] = {
		[VICI_SECTION_START] = '{', [VICI_SECTION_END] = '}', [VICI_KEY_VALUE] = '.',
		[VICI_LIST_START] = '[',    [VICI_LIST_ITEM] = ',',   [VICI_LIST_END] = ']',
	};

	assert_true(item->element > VICI_END && item->element < ARRAY_SIZE(signs));
	fprintf(f, "%u%c%.*s", item->depth, signs[item->element], (int)item->name.length, item->name.at);
	if (item->element == VICI_KEY_VALUE || item->element == VICI_LIST_ITEM)
		fprintf(f, "=%.*s", (int)item->value.length, item->value.at);
	else
		assert_int_equal(item->value.length, 0);
	fputc(' ', f);
}

/* Reads until the end or the first mistake. Returns the last result of vici_next(). */
static int trace(struct vici_reader *reader, char *buffer, size_t size)
{
	CLEANUP(close_file) FILE *f = fmemopen(buffer, size, "w");
	struct vici_item item;
	int r;

	assert_non_null(f);
	while ((r = vici_next(reader, &item)) > 0)
		trace_item(f, &item);
	assert_int_equal(item.element == VICI_END || r < 0, true);
	return r;
}

/* Checks how a message is read. test_malloc() detects reads behind the message. */
static void check_trace(const void *bytes, size_t length, const char *expected, int result)
{
	char found[4096] = "";
	struct vici_reader reader;
	struct vici_item item;
	uint8_t *message = test_malloc(length);

	memcpy(message, bytes, length);
	vici_read(&reader, message, length);
	int r = trace(&reader, found, sizeof(found));
	assert_string_equal(found, expected);
	assert_int_equal(r, result);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(vici_next(&reader, &item), result);
	test_free(message);
}

static void reads(void **state)
{
	const struct read_row *row = *state;

	check_trace(row->bytes, row->length, row->trace, 0);
}

static void refuses(void **state)
{
	const struct read_row *row = *state;

	check_trace(row->bytes, row->length, row->trace, -EBADMSG);
}

/* Checks that a message that is cut off is complete only where no section and no list is open. */
static void refuses_what_is_cut(void **state)
{
	static const size_t complete[] = {0, sizeof(KEY("\4key1", "\0\6value1")) - 1, sizeof(EXAMPLE) - 1};
	size_t n_complete = 0;

	(void)state;
	for (size_t length = 0; length < sizeof(EXAMPLE); length++) {
		char found[sizeof(EXAMPLE_TRACE)] = "";
		uint8_t *message = test_malloc(length);
		struct vici_reader reader;

		memcpy(message, EXAMPLE, length);
		vici_read(&reader, message, length);
		int r = trace(&reader, found, sizeof(found));
		assert_memory_equal(found, EXAMPLE_TRACE, strlen(found));
		if (r == 0)
			assert_int_equal(length, complete[n_complete++]);
		else
			assert_int_equal(r, -EBADMSG);
		test_free(message);
	}
	assert_int_equal(n_complete, ARRAY_SIZE(complete));
}

/* Checks that names and values can hold any byte. */
static void reads_any_byte(void **state)
{
	static const char bytes[] = KEY("\3a\0b", "\0\3\377\0\n");
	struct vici_reader reader;
	struct vici_item item;

	(void)state;
	vici_read(&reader, BYTES(bytes));
	assert_int_equal(vici_next(&reader, &item), 1);
	assert_int_equal(item.name.length, 3);
	assert_memory_equal(item.name.at, "a\0b", 3);
	assert_int_equal(item.value.length, 3);
	assert_memory_equal(item.value.at, "\377\0\n", 3);
	assert_int_equal(vici_next(&reader, &item), 0);
}

/* Checks the event of an IKE_SA with one CHILD_SA, as charon 5.9.8 sent it. */
static void reads_what_charon_says(void **state)
{
	static const char *const parts[] = {
		"0{net4 1.uniqueid=1 1.version=2 1.state=ESTABLISHED ",
		" 1{child-sas 2{net4-5 3.name=net4 3.uniqueid=5 3.reqid=2 3.state=INSTALLED 3.mode=TUNNEL "
		"3.protocol=ESP ",
		" 3.spi-in=c75bfaad 3.spi-out=c8c96680 ",
		" 3[local-ts 3,local-ts=10.1.0.0/24 3]local-ts 3[remote-ts 3,remote-ts=10.2.0.0/24 3]remote-ts 2} 1} "
		"0} ",
	};
	char path[4096], found[4096] = "";
	uint8_t message[1024];
	struct vici_reader reader;

	(void)state;
	snprintf(path, sizeof(path), "%s/vici_message/list-sa", getenv("CORPUS"));
	CLEANUP(close_file) FILE *f = fopen(path, "rb");
	assert_non_null(f);
	vici_read(&reader, message, fread(message, 1, sizeof(message), f));
	assert_int_equal(trace(&reader, found, sizeof(found)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		check_contains(found, parts[i]);
}

/* Texts. */

static const struct is_row {
	const char *name;
	struct vici_text text;
	const char *other;
	bool is;
} is_rows[] = {
	{"the same", {BYTES("spi-in")}, "spi-in", true},
	{"both empty", {BYTES("")}, "", true},
	{"it begins so", {BYTES("spi-in")}, "spi", false},
	{"it begins the other", {BYTES("spi")}, "spi-in", false},
	{"as long, different", {BYTES("spi-in")}, "spi-on", false},
	{"empty", {BYTES("")}, "spi", false},
	{"not empty", {BYTES("spi")}, "", false},
	{"with a NUL", {BYTES("spi\0in")}, "spi", false},
	{"in other letters", {BYTES("SPI")}, "spi", false},
};

static void compares(void **state)
{
	const struct is_row *row = *state;

	assert_int_equal(vici_is(row->text, row->other), row->is);
}

static const struct copy_row {
	const char *name;
	struct vici_text text;
	size_t size;
	const char *copy;
} copy_rows[] = {
	{"it fits", {BYTES("net4")}, 16, "net4"},
	{"it just fits", {BYTES("net4")}, 5, "net4"},
	{"it is cut", {BYTES("net4")}, 4, "net"},
	{"there is no room", {BYTES("net4")}, 1, ""},
	{"it is empty", {BYTES("")}, 16, ""},
	{"colours and lines", {BYTES("\33[31mred\r\n")}, 16, "?[31mred??"},
	{"a NUL", {BYTES("net\0004")}, 16, "net?4"},
	{"the first and last that can be printed", {BYTES("\37 ~\177")}, 16, "? ~?"},
	{"no ASCII", {BYTES("\302\2330m\377")}, 16, "??0m?"},
};

static void copies(void **state)
{
	const struct copy_row *row = *state;
	char *buffer = test_malloc(row->size);

	assert_ptr_equal(vici_copy(row->text, buffer, row->size), buffer);
	assert_string_equal(buffer, row->copy);
	test_free(buffer);
}

static void copy_text(char *buffer, size_t size, const void *what)
{
	vici_copy((struct vici_text){what, strlen(what)}, buffer, size);
}

static void copies_keep_to_buffers(void **state)
{
	(void)state;
	check_text_fits(copy_text, "10.1.0.0/24", 12);
}

static const struct number_row {
	const char *name;
	struct vici_text text;
	unsigned int base;
	int result;
	uint64_t value;
} number_rows[] = {
	{"0", {BYTES("0")}, 10, 0, 0},
	{"7", {BYTES("7")}, 10, 0, 7},
	{"with zeros before it", {BYTES("0000000000000000000000042")}, 10, 0, 42},
	{"the largest", {BYTES("18446744073709551615")}, 10, 0, UINT64_MAX},
	{"one more", {BYTES("18446744073709551616")}, 10, -EINVAL, 0},
	{"ten times as many", {BYTES("184467440737095516150")}, 10, -EINVAL, 0},
	{"an SPI", {BYTES("c1a2b3f9")}, 16, 0, 0xc1a2b3f9},
	{"an SPI in capitals", {BYTES("C1A2B3F9")}, 16, 0, 0xc1a2b3f9},
	{"the largest in base 16", {BYTES("ffffffffffffffff")}, 16, 0, UINT64_MAX},
	{"one more in base 16", {BYTES("10000000000000000")}, 16, -EINVAL, 0},
	{"nothing", {BYTES("")}, 10, -EINVAL, 0},
	{"a word", {BYTES("none")}, 10, -EINVAL, 0},
	{"a digit of base 16", {BYTES("1f")}, 10, -EINVAL, 0},
	{"g in base 16", {BYTES("1g")}, 16, -EINVAL, 0},
	{"with a prefix", {BYTES("0x1f")}, 16, -EINVAL, 0},
	{"what comes before 0", {BYTES("/")}, 10, -EINVAL, 0},
	{"what comes behind 9", {BYTES(":")}, 16, -EINVAL, 0},
	{"what comes before A", {BYTES("@")}, 16, -EINVAL, 0},
	{"a control character like a digit", {BYTES("\020")}, 16, -EINVAL, 0},
	{"signed", {BYTES("+1")}, 10, -EINVAL, 0},
	{"negative", {BYTES("-1")}, 10, -EINVAL, 0},
	{"with space before it", {BYTES(" 1")}, 10, -EINVAL, 0},
	{"with space behind it", {BYTES("1 ")}, 10, -EINVAL, 0},
	{"with a NUL", {BYTES("1\0")}, 10, -EINVAL, 0},
	{"not ASCII", {BYTES("\377")}, 16, -EINVAL, 0},
};

static void reads_number(void **state)
{
	const struct number_row *row = *state;
	uint64_t value = 77;

	assert_int_equal(vici_number(row->text, row->base, &value), row->result);
	assert_int_equal(value, row->result == 0 ? row->value : 77);
}

/* Writing. */

static void put_example(struct vici_writer *request)
{
	vici_put_value(request, "key1", "value1");
	vici_put_section(request, "section1");
	vici_put_section(request, "sub-section");
	vici_put_value(request, "key2", "value2");
	vici_put_section_end(request);
	vici_put_list(request, "list1", (const char *const[]){"item1", "item2"}, 2);
	vici_put_section_end(request);
}

static void writes_example(void **state)
{
	uint8_t buffer[1024];
	struct vici_writer request = {.buffer = buffer, .size = sizeof(buffer)};

	(void)state;
	put_example(&request);
	assert_false(request.overflow);
	assert_int_equal(request.length, sizeof(EXAMPLE) - 1);
	assert_memory_equal(buffer, EXAMPLE, sizeof(EXAMPLE) - 1);
}

static void writes_what_fits(void **state)
{
	(void)state;
	for (size_t size = 0; size < sizeof(EXAMPLE) + 1; size++) {
		struct vici_writer request = {.buffer = test_malloc(size), .size = size};
		put_example(&request);
		assert_int_equal(request.overflow, size < sizeof(EXAMPLE) - 1);
		assert_true(request.length <= size);
		test_free(request.buffer);
	}
}

/* Checks the arguments of `initiate`. */
static void writes_a_request(void **state)
{
	uint8_t buffer[128];
	struct vici_writer request = {.buffer = buffer, .size = sizeof(buffer)};

	(void)state;
	vici_put_value(&request, "child", "net4");
	vici_put_value(&request, "ike", "net4");
	vici_put_value(&request, "timeout", "-1");
	vici_put_list(&request, "none", NULL, 0);
	assert_false(request.overflow);
	check_trace(buffer, request.length, "0.child=net4 0.ike=net4 0.timeout=-1 0[none 0]none ", 0);
}

/* Lengths around the maximum of their encoding. */
static const struct limit_row {
	const char *name;
	size_t name_length, value_length;
	bool overflow;
} limit_rows[] = {
	{"the longest name", UINT8_MAX, 1, false},
	{"a name too long", UINT8_MAX + 1, 1, true},
	{"the longest value", 1, UINT16_MAX, false},
	{"a value too long", 1, UINT16_MAX + 1, true},
};

static void writes_lengths(void **state)
{
	const struct limit_row *row = *state;
	static char name[UINT8_MAX + 2], value[UINT16_MAX + 2];
	static uint8_t buffer[2 * sizeof(value)];
	struct vici_writer request = {.buffer = buffer, .size = sizeof(buffer)};
	struct vici_reader reader;
	struct vici_item item;

	memset(name, '\0', sizeof(name));
	memset(value, '\0', sizeof(value));
	memset(name, 'n', row->name_length);
	memset(value, 'v', row->value_length);
	vici_put_value(&request, name, value);
	assert_int_equal(request.overflow, row->overflow);
	if (row->overflow)
		return;
	vici_read(&reader, buffer, request.length);
	assert_int_equal(vici_next(&reader, &item), 1);
	assert_true(vici_is(item.name, name));
	assert_true(vici_is(item.value, value));
	assert_int_equal(vici_next(&reader, &item), 0);
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, reads, complete_rows);
	ADD_ROWS(&cases, refuses, broken_rows);
	ADD_CASE(&cases, refuses_what_is_cut);
	ADD_CASE(&cases, reads_any_byte);
	ADD_CASE(&cases, reads_what_charon_says);
	ADD_ROWS(&cases, compares, is_rows);
	ADD_ROWS(&cases, copies, copy_rows);
	ADD_CASE(&cases, copies_keep_to_buffers);
	ADD_ROWS(&cases, reads_number, number_rows);
	ADD_CASE(&cases, writes_example);
	ADD_CASE(&cases, writes_what_fits);
	ADD_CASE(&cases, writes_a_request);
	ADD_ROWS(&cases, writes_lengths, limit_rows);
	return cmocka_run_group_tests_name("vici_message", cases.list, NULL, NULL);
}
