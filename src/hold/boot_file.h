/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The file of the shadows that `restore` makes at the next boot. These are the shadows that `flush --hold` would make
 * now. The file is text. The first line names the format, each further line is a shadow, and the last line has their
 * number. Pure. */

#include <stdint.h>
#include <stdio.h>

#include "xfrm/entry.h"

/* Size of a buffer that holds any reason why a file is invalid, in bytes. */
#define BOOT_FILE_ERROR_MAX 256

/* Returns why the shadow of a policy would not be valid after a boot, as the end of a sentence. Returns NULL if the
 * shadow would be valid. */
const char *boot_file_obstacle(const struct entry *policy);

/* Writes the first line. The caller checks ferror(). */
void boot_file_begin(FILE *f);

/* Writes the line of a shadow. The caller checks ferror(). */
void boot_file_add(FILE *f, const struct entry *shadow);

/* Writes the last line, for `n` shadows. The caller checks ferror(). */
void boot_file_end(FILE *f, uint64_t n);

/* The state of reading a file. Must be zeroed before use, except `f`. */
struct boot_file_reader {
	FILE *f;
	uint64_t line, n;	       /* number of lines, and number of shadows, read so far */
	char why[BOOT_FILE_ERROR_MAX]; /* reason for -EBADMSG */
};

/* Reads the next shadow, with the tag SHADOW_HOLD. Returns 1 with the shadow, 0 at the end of a complete file, or
 * -EBADMSG with the reason in `why`. */
int boot_file_next(struct boot_file_reader *reader, struct entry *ret);
