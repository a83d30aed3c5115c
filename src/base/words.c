/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/words.h"

#include <stdbool.h>
#include <string.h>

#define WHITE_SPACE " \t\n\r"

/* Takes one word from `*text`, which begins with it, and leaves `*text` behind it and the white space that ends it. A
 * word is never longer than what it is written as, so that it can take that place. */
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
