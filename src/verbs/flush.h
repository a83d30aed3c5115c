/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Removes SAs, policies and routes. Can put shadows in the place of policies, and backup routes in the place of
 * routes. */

#include <stdbool.h>
#include <stdint.h>

#include "verbs/options.h"
#include "xfrm/filter.h"

/* Options of flush_run(). If all are zero, flush_run() removes every SA and every policy, but no route. */
struct flush_options {
	struct filter filter;
	/* Options of the command line with these names. */
	bool states_only, policies_only, orphans, dry_run, json, force;
	/* Options of the command line with these names. If `keep` is set, `hold` must be set too. */
	bool hold, keep;
	/* The service is being stopped. Remove shadows too, even outside the filter. Remove nothing if an IKE daemon is
	 * still alive, because it removes its own state. */
	bool stop;
	/* With `stop`: remove only entries that xfrmctl made (shadows, kept policies, guard SAs), and ignore
	 * `filter`. */
	bool only_ours;
	/* Of the routes, remove only backup routes. */
	bool only_backups;
	/* Do not check for a key manager: an earlier run has already checked that. */
	bool again;
	/* Routing table whose routes are removed too; 0: none. */
	uint32_t routes;
	/* charon's VICI socket; NULL: the default socket. */
	const char *socket;
};

/* Removes SAs, policies and routes as the options require, and reports the result. Sets `*kept`, unless `kept` is NULL,
 * to whether old SAs stay in use. The caller then has to arrange a handover, even if the result is STATUS_FAILED.
 * Leaves `*kept` alone if the removal does not begin. Returns an exit status. */
enum exit_status flush_run(const struct globals *globals, const struct flush_options *options, bool *kept);
