/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Parses and writes time spans as systemd does (systemd.time(7), PARSING TIME SPANS). Pure. */

#include <stddef.h>
#include <stdint.h>

/* The value of "infinity". */
#define TIMESPAN_INFINITY UINT64_MAX

/* Maximum size of a text of timespan_format(), in bytes. */
#define TIMESPAN_MAX 128

/* Parses "500ms", "1min 30s", "2.5h", "infinity", or a number of seconds. Returns 0 with microseconds in `ret`, -EINVAL
 * for other text, or -ERANGE for a number that is too large. */
int timespan_parse(const char *text, uint64_t *ret);

/* Writes a number of microseconds exactly, in systemd's units ("1min 30s"), into a buffer of `size` bytes, at least 1.
 * Returns `buffer`. */
const char *timespan_format(uint64_t usec, char *buffer, size_t size);

/* Writes a number of microseconds in full seconds and at most two units ("2h 3min", "0s"). Returns `buffer`. */
const char *timespan_format_coarse(uint64_t usec, char *buffer, size_t size);
