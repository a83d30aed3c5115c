/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Removes shadows, at once or after a grace, and backup routes and pending acquires. */

#include <stdbool.h>
#include <stdint.h>

#include "verbs/options.h"
#include "xfrm/filter.h"

/* Options of release_run(). */
struct release_options {
	/* Selects the acquires to remove. Shadows are removed regardless of it. */
	struct filter filter;
	/* Remove no acquire. */
	bool only_ours;
	/* Time after which a shadow expires that no real policy covers by now, in microseconds; 0: no grace. */
	uint64_t grace_usec;
	/* Routing table whose backup routes are removed; 0: none. */
	uint32_t routes;
	/* charon's VICI socket. */
	const char *socket;
};

/* Removes shadows, backup routes and acquires as the options require, and reports the result. Returns 0 or a negative
 * errno. */
int release_run(const struct globals *globals, const struct release_options *options);
