/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Removes SAs, policies and routes, or puts shadows in their place. */

#include <stdbool.h>
#include <stdint.h>

#include "verbs/options.h"
#include "xfrm/filter.h"

/* Zeroed, it removes every SA and every policy. */
struct flush_options {
	struct filter filter;
	bool states_only, policies_only, orphans, dry_run, json, force;
	bool hold, keep;    /* the second implies the first */
	bool stop;	    /* the service is stopped: shadows go too, and a live key manager cleans up itself */
	bool only_ours;	    /* with `stop`: shadows, kept shadows and stoppers, whatever `filter` is */
	bool only_backups;  /* of the routes, only the stand-ins go */
	bool again;	    /* no key manager owns the state, as an earlier run has found out */
	uint32_t routes;    /* the table whose routes go as well, or 0 */
	const char *socket; /* charon's, or NULL for the default one */
};

/* Does what the options say, and reports it. `kept`, unless it is NULL, becomes whether traffic goes on through old
 * SAs, which has to be ended, also when not all went well. */
enum exit_status flush_run(const struct globals *globals, const struct flush_options *options, bool *kept);
