/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/* Writes the new contents of a file. Returns 0 or a negative errno. After an error the old file stays. */
typedef int (*atomic_file_write_fn)(FILE *f, void *userdata);

/* Replaces a file atomically: a reader gets the old contents or the new ones. With `lasting`, this is also true after a
 * loss of power, and a file that already has the new contents is left alone. Returns 1 when the file was replaced, 0
 * when it was left alone, or a negative errno. */
int atomic_file_replace(const char *path, mode_t mode, bool lasting, atomic_file_write_fn write, void *userdata);
