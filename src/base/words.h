/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Splits a setting into words as systemd splits an unquoted $VARIABLE in Exec lines. Pure. */

#include <stddef.h>

/* Maximum number of words in a text of `length` characters. */
#define WORDS_MAX(length) ((length) / 2 + 1)

/* Splits a text at white space. Quotes (' and ") hold a word together. A backslash makes the next character an ordinary
 * one, within quotes too. At the end, a missing quote is assumed and a backslash is dropped, as by systemd
 * (EXTRACT_UNQUOTE and EXTRACT_RELAX in replace_env_argv()). Writes the words into `text` itself, and pointers to them
 * into `words`, which has room for WORDS_MAX(strlen(text)). Returns the number of words. */
size_t words_split(char *text, char **words);
