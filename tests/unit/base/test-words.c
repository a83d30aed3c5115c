/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/words.h"

#include "unit.h"

/* Texts, and the words into which systemd 252 splits them as an unquoted $VARIABLE. */
static const struct row {
	const char *name; /* the text */
	const char *words[5];
} rows[] = {
	{"", {NULL}},
	{" \t \r", {NULL}},
	{"--force", {"--force"}},
	{"  --force\t--verbose  ", {"--force", "--verbose"}},
	{"a b c d", {"a", "b", "c", "d"}},
	{"--grace='1min 30s'", {"--grace=1min 30s"}},
	{"\"--grace=1min 30s\" -v", {"--grace=1min 30s", "-v"}},
	{"a'b'\"c\"d", {"abcd"}},
	{"'it is \"quoted\"'", {"it is \"quoted\""}},
	{"\"it's\"", {"it's"}},
	{"a\\ b", {"a b"}},
	{"a\\'b", {"a'b"}},
	{"a\\nb", {"anb"}},
	{"a\\\\b", {"a\\b"}},
	{"'a\\'b c'", {"a'b c"}},
	{"\"a\\\"b c\"", {"a\"b c"}},
	{"'' \"\"", {"", ""}},
	{"a ''", {"a", ""}},
	{"'not closed ", {"not closed "}},
	{"a \"", {"a", ""}},
	{"a b\\", {"a", "b"}},
	{"\\", {""}},
	{"$HOME *", {"$HOME", "*"}},
	{"#comment ;", {"#comment", ";"}},
};

static void splits(void **state)
{
	const struct row *row = *state;
	char *words[16], text[64];
	size_t n = 0;

	while (row->words[n])
		n++;
	snprintf(text, sizeof(text), "%s", row->name);
	assert_true(n <= WORDS_MAX(strlen(text)));
	assert_int_equal(words_split(text, words), n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(words[i], row->words[i]);
}

static void splits_lines(void **state)
{
	char text[] = "a\nb\n", *words[WORDS_MAX(sizeof(text))];

	(void)state;
	assert_int_equal(words_split(text, words), 2);
	assert_string_equal(words[1], "b");
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, splits, rows);
	ADD_CASE(&cases, splits_lines);
	return cmocka_run_group_tests_name("words", cases.list, NULL, NULL);
}
