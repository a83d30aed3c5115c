/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "hold/boot_file.h"
#include "hold/shadow.h"

#define FIRST "xfrmctl shadows 1\n"
#define LINE "src 10.1.0.0/24 dst 10.2.0.0/24 dir out ptype main action block priority 2147855000 replaces 371352"
#define MINIMAL "src 0.0.0.0/0 dst 0.0.0.0/0 dir in ptype main action allow priority 0 replaces 0"

/* Lines that can be written and read. */

static const struct line_row {
	const char *name; /* the line */
	const char *src, *dst;
	uint8_t dir, ptype, action, proto, flags;
	uint32_t priority, replaces;
	uint16_t sport, sport_mask, dport, dport_mask;
	struct xfrm_mark mark;
	uint32_t if_id;
} line_rows[] = {
	{LINE, "10.1.0.0/24", "10.2.0.0/24", XFRM_POLICY_OUT, .action = XFRM_POLICY_BLOCK, .priority = 2147855000,
	 .replaces = 371352},
	{MINIMAL, "0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_IN, .priority = 0},
	{"src fd00:1::/64 dst ::/0 dir fwd ptype sub action block priority 4294967295 replaces 4294967294",
	 "fd00:1::/64", "::/0", XFRM_POLICY_FWD, XFRM_POLICY_TYPE_SUB, XFRM_POLICY_BLOCK, .priority = UINT32_MAX,
	 .replaces = UINT32_MAX - 1},
	{"src 10.1.2.3/16 dst 10.2.0.0/0 dir out ptype main action allow priority 1 replaces 2", "10.1.2.3/16",
	 "10.2.0.0/0", XFRM_POLICY_OUT, .priority = 1, .replaces = 2},
	{"src 10.0.0.1/32 dst 10.0.0.2/32 proto 17 sport 500/0xffff dport 0/0xff00 dir out ptype main action allow "
	 "priority 1 replaces 1",
	 "10.0.0.1/32", "10.0.0.2/32", XFRM_POLICY_OUT, .proto = 17, .priority = 1, .replaces = 1, .sport = 500,
	 .sport_mask = 0xffff, .dport_mask = 0xff00},
	{"src 10.0.0.1/32 dst 10.0.0.2/32 dir out ptype main action block priority 1 replaces 1 mark 0x5/0xff if-id 77 "
	 "flags 2",
	 "10.0.0.1/32", "10.0.0.2/32", XFRM_POLICY_OUT, .action = XFRM_POLICY_BLOCK, .priority = 1, .replaces = 1,
	 .mark = {0x5, 0xff}, .if_id = 77, .flags = XFRM_POLICY_ICMP},
};

static struct entry entry_of(const struct line_row *row)
{
	struct entry entry = make_policy(row->src, row->dst, NULL, 0);
	struct xfrm_userpolicy_info *info = &entry.policy.info;

	info->sel.user = SHADOW_HOLD;
	info->sel.proto = row->proto;
	info->sel.sport = htons(row->sport);
	info->sel.sport_mask = htons(row->sport_mask);
	info->sel.dport = htons(row->dport);
	info->sel.dport_mask = htons(row->dport_mask);
	info->dir = row->dir;
	info->action = row->action;
	info->priority = row->priority;
	info->flags = row->flags;
	info->index = 0;
	info->lft = (struct xfrm_lifetime_cfg){0};
	shadow_set_original_priority(&entry, row->replaces);
	entry.policy.ptype = row->ptype;
	entry.mark = row->mark;
	entry.if_id = row->if_id;
	return entry;
}

static void writes(void **state)
{
	const struct line_row *row = *state;
	const struct entry entry = entry_of(row);
	char text[4096] = "", expected[4096];

	FILE *f = fmemopen(text, sizeof(text), "w");
	boot_file_begin(f);
	boot_file_add(f, &entry);
	boot_file_end(f, 1);
	fclose(f);
	snprintf(expected, sizeof(expected), FIRST "%s\nend 1\n", row->name);
	assert_string_equal(text, expected);
}

static FILE *open_text(const char *text, size_t size)
{
	FILE *f = fmemopen((void *)text, size, "r");

	assert_non_null(f);
	return f;
}

static void reads(void **state)
{
	const struct line_row *row = *state;
	const struct entry expected = entry_of(row);
	char text[4096];

	snprintf(text, sizeof(text), FIRST "%s\nend 1\n", row->name);
	struct boot_file_reader reader = {.f = open_text(text, strlen(text))};
	struct entry found;
	assert_int_equal(boot_file_next(&reader, &found), 1);
	assert_memory_equal(&found.policy.info, &expected.policy.info, sizeof(found.policy.info));
	assert_int_equal(found.policy.ptype, expected.policy.ptype);
	assert_memory_equal(&found.mark, &expected.mark, sizeof(found.mark));
	assert_int_equal(found.if_id, expected.if_id);
	assert_int_equal(shadow_tag(&found), SHADOW_HOLD);
	assert_int_equal(shadow_original_priority(&found), row->replaces);
	assert_int_equal(boot_file_next(&reader, &found), 0);
	fclose(reader.f);
}

/* Files that are incomplete or incorrect. */

static const struct refused_row {
	const char *name; /* the reason */
	const char *text;
} refused_rows[] = {
	{"does not begin with 'xfrmctl shadows 1'", "\n"},
	{"does not begin with 'xfrmctl shadows 1'", "xfrmctl shadows 2\nend 0\n"},
	{"does not begin with 'xfrmctl shadows 1'", "xfrmctl shadows 1 \nend 0\n"},
	{"does not begin with 'xfrmctl shadows 1'", "end 0\n"},
	{"the end of the file is missing", FIRST},
	{"the end of the file is missing", FIRST LINE "\n"},
	{"line 2 is too long, or not text", FIRST "end 0"},
	{"line 2 has 'end' without a value", FIRST "end\n"},
	{"line 2 gives the number of policies as 1, but there are 0", FIRST "end 1\n"},
	{"line 3 gives the number of policies as 2, but there are 1", FIRST LINE "\nend 2\n"},
	{"line 2 gives the number of policies as -0", FIRST "end -0\n"},
	{"data follows the last line", FIRST "end 0\n\n"},
	{"data follows the last line", FIRST "end 0\n" LINE "\n"},
	{"line 2 has '' without a value", FIRST "\nend 0\n"},
	{"line 2 has '' without a value", FIRST LINE " \nend 1\n"},
	{"line 2 has an unknown ''", FIRST " " LINE "\nend 1\n"},
	{"line 2 has 'src' twice", FIRST LINE " src 10.1.0.0/24\nend 1\n"},
	{"line 2 has an unknown 'user'", FIRST LINE " user 0\nend 1\n"},
	{"line 2 has 'mark' without a value", FIRST LINE " mark\nend 1\n"},
	{"line 2 has a wrong 'mark'", FIRST LINE " mark 5\nend 1\n"},
	{"line 2 has a wrong 'mark'", FIRST LINE " mark 5/\nend 1\n"},
	{"line 2 has a wrong 'mark'", FIRST LINE " mark 4294967296/1\nend 1\n"},
	{"line 2 has a wrong 'if-id'", FIRST LINE " if-id -1\nend 1\n"},
	{"line 2 has a wrong 'flags'", FIRST LINE " flags 256\nend 1\n"},
	{"line 2 has a wrong 'proto'", FIRST LINE " proto 256\nend 1\n"},
	{"line 2 has a wrong 'sport'", FIRST LINE " sport 65536/0\nend 1\n"},
	{"line 2 has a wrong 'dport'", FIRST LINE " dport 0/65536\nend 1\n"},
	{"line 2 lacks 'dst'", FIRST "src 10.1.0.0/24\nend 1\n"},
	{"line 2 has a wrong 'src'", FIRST "src 10.1.0.0 dst 10.2.0.0/24\nend 1\n"},
	{"line 2 has a wrong 'src'", FIRST "src 10.1.0.0/33 dst 10.2.0.0/24\nend 1\n"},
	{"line 2 has a wrong 'src'", FIRST "src fd00::/129 dst fd01::/64\nend 1\n"},
	{"line 2 has a wrong 'src'", FIRST "src 10.1.0/24 dst 10.2.0.0/24\nend 1\n"},
	{"line 2 has a wrong 'dst'", FIRST "src 10.1.0.0/24 dst fd00::/64\nend 1\n"},
	{"line 2 has a wrong 'dir'", FIRST "dir up\nend 1\n"},
	{"line 2 has a wrong 'ptype'", FIRST "ptype any\nend 1\n"},
	{"line 2 has a wrong 'action'", FIRST "action drop\nend 1\n"},
	{"line 2 has 'action' without a value", FIRST "action\nend 1\n"},
	{"line 2 has a wrong 'priority'", FIRST "priority 4294967296\nend 1\n"},
	{"line 2 has a wrong 'replaces'", FIRST "replaces x\nend 1\n"},
};

/* Reads a file to its end or to a mistake. Returns the last result of boot_file_next(). */
static int read_all(const char *text, size_t size, struct boot_file_reader *reader)
{
	struct entry entry;
	int r;

	*reader = (struct boot_file_reader){.f = open_text(text, size)};
	do
		r = boot_file_next(reader, &entry);
	while (r > 0);
	fclose(reader->f);
	return r;
}

static void refuses(void **state)
{
	const struct refused_row *row = *state;
	struct boot_file_reader reader;

	assert_int_equal(read_all(row->text, strlen(row->text), &reader), -EBADMSG);
	check_contains(reader.why, row->name);
}

static void refuses_what_is_cut_off(void **state)
{
	static const char text[] = FIRST LINE "\n" MINIMAL "\nend 2\n";
	struct boot_file_reader reader;

	(void)state;
	assert_int_equal(read_all(text, strlen(text), &reader), 0);
	for (size_t size = 1; size < strlen(text); size++)
		assert_int_equal(read_all(text, size, &reader), -EBADMSG);
}

static void refuses_what_is_no_text(void **state)
{
	static const char text[] = FIRST LINE "\nend 1\n";
	struct boot_file_reader reader;
	char changed[sizeof(text)];

	(void)state;
	for (size_t i = 0; i < strlen(text); i++) {
		memcpy(changed, text, sizeof(text));
		changed[i] = '\0';
		assert_int_equal(read_all(changed, strlen(text), &reader), -EBADMSG);
	}
}

static void refuses_long_lines(void **state)
{
	static char text[8192] = FIRST;
	struct boot_file_reader reader;

	(void)state;
	memset(text + strlen(FIRST), 'x', sizeof(text) - strlen(FIRST) - 2);
	text[sizeof(text) - 2] = '\n';
	assert_int_equal(read_all(text, strlen(text), &reader), -EBADMSG);
	check_contains(reader.why, "line 2 is too long");
}

/* Policies that cannot be saved. */

static void has_obstacle(void **state)
{
	const struct context context = make_context("system_u:object_r:spd_t:s0");
	struct entry policy = make_policy("10.1.0.0/24", "10.2.0.0/24", NULL, 0);

	(void)state;
	assert_null(boot_file_obstacle(&policy));
	policy.policy.info.sel.ifindex = 3;
	check_contains(boot_file_obstacle(&policy), "an interface");
	policy.policy.info.sel.ifindex = 0;
	policy.policy.security = &context.header;
	policy.policy.security_length = context.header.len;
	check_contains(boot_file_obstacle(&policy), "a security context");
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, writes, line_rows);
	ADD_ROWS(&cases, reads, line_rows);
	ADD_ROWS(&cases, refuses, refused_rows);
	ADD_CASE(&cases, refuses_what_is_cut_off);
	ADD_CASE(&cases, refuses_what_is_no_text);
	ADD_CASE(&cases, refuses_long_lines);
	ADD_CASE(&cases, has_obstacle);
	return cmocka_run_group_tests_name("boot_file", cases.list, NULL, NULL);
}
