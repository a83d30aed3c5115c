/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Moves traffic from kept shadows to charon's own policies, group by group (connections.h): what handover does to the
 * kernel. The functions that return int report what fails and return 0 or a negative errno. */

#include <stdbool.h>
#include <stdint.h>

#include "handover/connections.h"
#include "xfrm/netlink.h"

struct migration {
	struct xfrm *xfrm;
	uint64_t timeout_usec; /* for messages */
	struct kept kept;
	bool reqid_conflict; /* a group has become so */
	uint64_t n_over;     /* groups, by their fate */
	uint64_t n_fell_back, n_removed;
	uint64_t n_sas;	   /* old SAs that were removed */
	uint64_t n_failed; /* entries that could not be removed */
};

/* Lists the kept shadows, their groups and the old SAs: those with the reqid and the end points of a group which are no
 * younger than the shadows. */
int migration_load(struct migration *migration);

/* Looks for groups that have become rivalled (kept_mark_conflicts()) among all policies. */
int migration_find_conflicts(struct migration *migration);

/* Whether charon's own policies stand behind all shadows of a group and send its traffic through new SAs: 1 if so. */
int migration_is_complete(struct migration *migration, struct kept_group *group);

/* Ends the old life of a group: its kept shadows go, then its SAs, then their stoppers, until which nothing else may go
 * through the SAs. A shadow that blocks never goes here: behind each kept shadow stands one, or charon's own policy. */
int migration_end(struct migration *migration, struct kept_group *group, enum kept_outcome outcome);

/* Removes all stoppers, and the SAs behind them, which a run that was stopped may have left: when no group goes on any
 * more. */
int migration_remove_guard_sas(struct migration *migration);
