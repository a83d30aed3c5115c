/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Puts shadows behind live policies, and backup routes behind routes. */

#include <stdint.h>

#include "verbs/options.h"
#include "xfrm/filter.h"

/* Options of arm_run(). If all are zero, arm_run() puts a shadow behind every policy and leaves routes alone. */
struct arm_options {
	struct filter filter; /* selects the policies that get a shadow */
	uint32_t routes;      /* routing table whose routes get backup routes; 0: none */
	const char *saved;    /* file to write for `restore` at the next boot; NULL: none */
};

/* Puts shadows behind policies, and backup routes behind routes. Reports the result. Returns 0 or a negative errno. */
int arm_run(const struct globals *globals, const struct arm_options *options);
