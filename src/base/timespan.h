/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Time spans as systemd writes them (systemd.time(7), PARSING TIME SPANS). Pure. */

#include <stddef.h>
#include <stdint.h>

#define TIMESPAN_INFINITY UINT64_MAX

/* Long enough for every time span that timespan_format() writes. */
#define TIMESPAN_MAX 128

/* Reads "500ms", "1min 30s", "2.5h", "infinity"; a number alone is seconds. Returns 0 with microseconds in `ret`,
 * -EINVAL for anything else, -ERANGE for more than fits. */
int timespan_parse(const char *text, uint64_t *ret);

/* Writes microseconds in such units ("1min 30s"), exactly; returns `buffer`. `size` is not 0. */
const char *timespan_format(uint64_t usec, char *buffer, size_t size);

/* The same for people: in full seconds, with the two largest units that it takes ("2h 3min", "0s"). */
const char *timespan_format_coarse(uint64_t usec, char *buffer, size_t size);
