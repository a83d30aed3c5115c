/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/* Writes a file anew. Returns 0 or a negative errno, upon which the file stays as it was. */
typedef int (*atomic_file_write_fn)(FILE *f, void *userdata);

/* Replaces a file as a whole: who reads it meanwhile sees the old one or the new one. With `lasting`, so does who reads
 * it after a loss of power, and a file that has these contents already is left alone. Returns 1 when the file was
 * replaced, 0 when it was left alone, or a negative errno. */
int atomic_file_replace(const char *path, mode_t mode, bool lasting, atomic_file_write_fn write, void *userdata);
