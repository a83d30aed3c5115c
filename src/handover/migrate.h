/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Moves traffic from kept policies to charon's own policies, group by group (connections.h). All changes that handover
 * makes in the kernel are here. The functions report each failure, and return 0 or a negative errno unless stated
 * otherwise. */

#include <stdbool.h>
#include <stdint.h>

#include "handover/connections.h"
#include "xfrm/netlink.h"

struct migration {
	struct xfrm *xfrm;
	struct kept kept;
	/* A reqid conflict of a group was found. The caller clears this. */
	bool reqid_conflict;
	/* Number of groups with the outcome KEPT_MIGRATED. */
	uint64_t n_over;
	/* Numbers of groups with the outcomes KEPT_BLOCKED and KEPT_REMOVED. */
	uint64_t n_fell_back, n_removed;
	/* Number of old SAs that were removed. */
	uint64_t n_sas;
	/* Number of entries that the kernel did not remove. */
	uint64_t n_failed;
};

/* Lists the kept policies, their groups and their old SAs. An old SA has the reqid and the end points of a group, and
 * was not added after the newest kept policy. */
int migration_load(struct migration *migration);

/* Lists all policies, and marks the groups that have a reqid conflict with one of them (kept_mark_conflicts()). */
int migration_find_conflicts(struct migration *migration);

/* Checks whether a group's traffic can move to charon's own policies. There must be one for each kept policy of the
 * group, and the outbound ones must use new SAs. Returns 1 if so, 0 if not, or a negative errno. */
int migration_is_complete(struct migration *migration, struct kept_group *group);

/* Ends the use of a group's old SAs. Removes the kept policies, then the SAs, then the guard SAs. The guard SAs come
 * last, because without them other policies could use the old SAs. Shadows stay: behind each kept policy stands a
 * shadow that blocks, or charon's own policy. */
int migration_end(struct migration *migration, struct kept_group *group, enum kept_outcome outcome);

/* Removes all guard SAs and the SAs that they guard, which an interrupted run may have left. No group may be in use any
 * more. */
int migration_remove_guard_sas(struct migration *migration);
