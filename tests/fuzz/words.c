/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Words lie within the text, one behind the other, no more of them than there is room for; and each, in quotes, is one
 * word again. */

#include "base/words.h"

#include "fuzz.h"

/* Writes a word so that it is taken for itself. Returns the text, to be freed. */
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
