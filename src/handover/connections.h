/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The kept shadows of an earlier life and the SAs behind them, by connection: what `handover` works on. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ike/child.h"
#include "xfrm/entry.h"

/* What becomes of the traffic of a group. */
enum kept_outcome {
	KEPT_PENDING,	  /* nobody has been asked yet */
	KEPT_NEGOTIATING, /* charon is negotiating, or the peer has to begin */
	KEPT_MIGRATED,	  /* it goes through new SAs */
	KEPT_BLOCKED,	  /* it is held */
	KEPT_REMOVED,	  /* charon has not loaded the connection */
};

struct kept_policy {
	struct entry policy; /* without its templates */
	size_t group;
};

/* An old SA, or the stopper of one. */
struct kept_sa {
	struct entry sa;
	size_t group;
};

/* Kept shadows with the same reqid between the same end points: one connection's. */
struct kept_group {
	uint32_t reqid;
	sa_family_t family;
	xfrm_address_t end_points[CHILDREN_SIDES]; /* zero in transport mode */
	size_t first, n;			   /* of its shadows */
	size_t first_sa, n_sas;
	enum kept_outcome outcome;
	size_t child;	     /* of charon's that takes over, if there is one */
	bool waits_for_peer; /* charon cannot begin */
	bool dirty;	     /* something has changed that may concern it */
	bool sa_pending;     /* there is a new policy, whose SA is not there yet */
	bool reqid_conflict; /* by kept_mark_conflicts(): it may not go on */
	unsigned int tries;
	uint64_t deadline, retry; /* now_usec(); UINT64_MAX when there is none */
};

/* Zeroed to begin with. Memory: about 270 bytes for each shadow and each SA. */
struct kept {
	struct kept_policy *shadows; /* by kept_sort(): by group, otherwise in the order of their selectors */
	size_t n_shadows, allocated_shadows;
	struct kept_sa *sas;
	size_t n_sas, allocated_sas;
	struct kept_group *groups; /* in the order of their reqids */
	size_t n_groups, allocated_groups;
	size_t *by_selector;  /* the shadows in the order of their selectors */
	uint64_t newest_time; /* when the last shadow was made: seconds since 1970, as the kernel has it */
};

/* Takes in a policy if it is a kept shadow. -ENOMEM. */
int kept_add_policy(struct kept *kept, const struct entry *policy);

/* To be called when all shadows are in it, before the following. -ENOMEM. */
int kept_sort(struct kept *kept);

/* Takes in an SA if it is one of a group's; -ENOMEM. kept_sort_sas() gives the groups theirs. */
int kept_add_sa(struct kept *kept, const struct entry *sa);
void kept_sort_sas(struct kept *kept);

void kept_free(struct kept *kept);

/* Whether an SA is one of a group's old ones. */
bool kept_has_sa(const struct kept *kept, const struct kept_group *group, const struct entry *sa);

/* The shadow that a policy has the selector, direction, type, mark and interface of; NULL when there is none. */
const struct kept_policy *kept_find(const struct kept *kept, const struct entry *policy);

/* Finds, among children, one that explains a group best; false when there is none. Those which charon can begin count
 * more than others. */
bool kept_find_child(const struct kept *kept, const struct kept_group *group, const struct children *children,
		     size_t *ret);

/* Whether charon can begin with a child to get new SAs for a group: it knows where the peer is, and has not given it an
 * address of its own (a selector that is `dynamic`, and traffic that is not for the peer's end point): only the peer
 * can ask for that again. */
bool kept_can_initiate(const struct kept *kept, const struct kept_group *group, const struct children *children,
		       const struct child *child);

/* Marks as rivalled the groups that may not go on beside a policy of charon's, which is no shadow: those whose reqid
 * the policy uses for other traffic between the same end points, so that this traffic would be let in through the
 * group's SAs. A kept shadow in front of the policy, of a group that goes on, prevents that. Returns whether there are
 * any. */
bool kept_mark_conflicts(struct kept *kept, const struct entry *policy);

/* Whether a group's traffic still goes through its old SAs. */
bool kept_is_in_use(const struct kept_group *group);

/* "10.1.0.0/24 → 10.2.0.0/24 (192.0.2.1 → 198.51.100.1, reqid 1)"; returns `buffer`. */
const char *kept_describe(const struct kept *kept, const struct kept_group *group, char *buffer, size_t size);
