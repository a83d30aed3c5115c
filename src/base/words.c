/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/words.h"

#include <stdbool.h>
#include <string.h>

#define WHITE_SPACE " \t\n\r"

/* Unquotes the word at which `*text` points, in its place: the result is never longer than its source. Moves `*text`
 * behind the word and the white space that ends it. */
static void take_word(char **text)
{
	char *from = *text, *to = *text;
	char quote = '\0';

	for (; *from && (quote || !strchr(WHITE_SPACE, *from)); from++) {
		if (quote ? *from == quote : *from == '\'' || *from == '"') {
			if (quote)
				quote = '\0';
			else
				quote = *from;
			continue;
		}
		if (*from == '\\' && !*++from)
			break;
		*to++ = *from;
	}
	bool more = *from;
	*to = '\0';
	*text = more ? from + 1 : from;
}

size_t words_split(char *text, char **words)
{
	size_t n = 0;

	for (text += strspn(text, WHITE_SPACE); *text; text += strspn(text, WHITE_SPACE)) {
		words[n++] = text;
		take_word(&text);
	}
	return n;
}
