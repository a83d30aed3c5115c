/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The file from which the next boot knows what was protected before it: the shadows that `flush --hold` would leave, as
 * text, a line each, between a line that names the format and one that has their number. Pure. */

#include <stdint.h>
#include <stdio.h>

#include "xfrm/entry.h"

/* Long enough for every sentence about a file that cannot be used. */
#define BOOT_FILE_ERROR_MAX 256

/* Why the shadow of a policy would not be the same after a boot, as the end of a sentence; NULL when it would. */
const char *boot_file_obstacle(const struct entry *policy);

/* Write the parts of a file; an error shows in ferror(). */
void boot_file_begin(FILE *f);
void boot_file_add(FILE *f, const struct entry *shadow);
void boot_file_end(FILE *f, uint64_t n);

/* To be zeroed but for the file to begin with. */
struct boot_file_reader {
	FILE *f;
	uint64_t line, n;	       /* lines and shadows that were read */
	char why[BOOT_FILE_ERROR_MAX]; /* what is wrong */
};

/* Reads the next shadow (SHADOW_HOLD). Returns 1, 0 at the end of a complete file, or -EBADMSG, with a reason. */
int boot_file_next(struct boot_file_reader *reader, struct entry *ret);
