/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Puts shadows behind live policies, and stand-ins behind routes. */

#include <stdint.h>

#include "verbs/options.h"
#include "xfrm/filter.h"

/* Zeroed, it puts a shadow behind every policy, and leaves routes alone. */
struct arm_options {
	struct filter filter;
	uint32_t routes;   /* the table whose routes get stand-ins, or 0 */
	const char *saved; /* the file to write anew for the next boot, or NULL */
};

/* Does what the options say, and reports it. Returns 0 or a negative errno. */
int arm_run(const struct globals *globals, const struct arm_options *options);
