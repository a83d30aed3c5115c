/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Removes shadows and stand-ins of routes, at once or after a grace, and pending acquires. */

#include <stdbool.h>
#include <stdint.h>

#include "verbs/options.h"
#include "xfrm/filter.h"

struct release_options {
	struct filter filter; /* the acquires that go; of shadows it says nothing */
	bool only_ours;	      /* no acquire goes */
	uint64_t grace_usec;  /* 0: all go at once */
	uint32_t routes;      /* the table whose stand-ins go as well, or 0 */
	const char *socket;   /* charon's */
};

/* Does what the options say, and reports it. Returns 0 or a negative errno. */
int release_run(const struct globals *globals, const struct release_options *options);
