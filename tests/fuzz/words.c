/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks that words lie one behind the other within the text, and that there are at most WORDS_MAX() of them. If a word
 * is quoted and split again, the result must be the same word. */

#include "base/words.h"

#include "fuzz.h"

/* Quotes a word so that words_split() returns it unchanged. The caller frees the text. */
static char *quoted(const char *word)
{
	char *text = malloc(2 * strlen(word) + 3), *to = text;

	CHECK(text);
	*to++ = '"';
	for (; *word; word++) {
		if (*word == '"' || *word == '\\')
			*to++ = '\\';
		*to++ = *word;
	}
	*to++ = '"';
	*to = '\0';
	return text;
}

static void check_again(const char *word)
{
	char *text = quoted(word);
	char **again = calloc(WORDS_MAX(strlen(text)), sizeof(*again));

	CHECK(again);
	CHECK(words_split(text, again) == 1 && strcmp(again[0], word) == 0);
	free(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	size_t length = strlen(text);
	const char *end = text;
	char **words = calloc(WORDS_MAX(length), sizeof(*words));

	CHECK(words);
	size_t n = words_split(text, words);
	CHECK(n <= WORDS_MAX(length));
	for (size_t i = 0; i < n; i++) {
		CHECK(words[i] >= end);
		end = words[i] + strlen(words[i]) + 1;
		CHECK(end <= text + length + 1);
		check_again(words[i]);
	}
	free(words);
	free(text);
	return 0;
}
