/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The kept policies of a previous instance of charon and the SAs that they use, in groups: one group for each
 * connection. `handover` works on these groups. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ike/child.h"
#include "xfrm/entry.h"

/* The outcome of the handover for the traffic of a group. */
enum kept_outcome {
	KEPT_PENDING,	  /* charon has not been asked yet */
	KEPT_NEGOTIATING, /* charon negotiates, or the peer has to initiate */
	KEPT_MIGRATED,	  /* new SAs protect the traffic */
	KEPT_BLOCKED,	  /* shadows block the traffic */
	KEPT_REMOVED,	  /* charon has not loaded the connection */
};

struct kept_policy {
	struct entry policy; /* without its templates and its security context */
	size_t group;	     /* index in kept.groups */
};

/* An old SA, or the guard SA of one. */
struct kept_sa {
	struct entry sa;
	size_t group; /* index in kept.groups */
};

/* The kept policies with the same reqid between the same end points, which belong to one connection. */
struct kept_group {
	uint32_t reqid;
	/* Address family of the end points. */
	sa_family_t family;
	/* Addresses of the two ends; zero in transport mode. */
	xfrm_address_t end_points[CHILDREN_SIDES];
	/* First kept policy of the group in kept.shadows, and number of its kept policies. */
	size_t first, n;
	/* First SA of the group in kept.sas, and number of its SAs. */
	size_t first_sa, n_sas;
	enum kept_outcome outcome;
	/* Index in children.list of the child that takes over the traffic, if there is one. */
	size_t child;
	/* charon cannot initiate the child. */
	bool waits_for_peer;
	/* A change of policies or SAs may concern the group. */
	bool dirty;
	/* charon has installed a policy, but not yet the SA of that policy. */
	bool sa_pending;
	/* kept_mark_conflicts() found a reqid conflict, so the old SAs must not stay in use. */
	bool reqid_conflict;
	/* Number of times that charon was asked for the child. */
	unsigned int tries;
	/* Maximum time for new SAs, from which `deadline` was computed. Only messages use it. */
	uint64_t timeout_usec;
	/* Time at which the group is blocked, and time of the next try, as now_usec() returns them. UINT64_MAX means
	 * never. */
	uint64_t deadline, retry;
};

/* All kept policies, their groups and their SAs. Must be zeroed before use. Memory: about 270 bytes for each policy and
 * each SA. */
struct kept {
	/* The kept policies. kept_sort() sorts them by group, and within a group by selector. */
	struct kept_policy *shadows;
	size_t n_shadows, allocated_shadows;
	struct kept_sa *sas;
	size_t n_sas, allocated_sas;
	/* The groups, sorted by reqid. */
	struct kept_group *groups;
	size_t n_groups, allocated_groups;
	/* All elements of `shadows`, sorted by selector. */
	struct kept_pointer {
		const struct kept_policy *to;
	} * by_selector;
	/* Time at which the newest kept policy was made: seconds since the epoch, as the kernel writes it. */
	uint64_t newest_time;
};

/* Adds a policy if it is a kept policy. Returns 0 or -ENOMEM. */
int kept_add_policy(struct kept *kept, const struct entry *policy);

/* Sorts the kept policies into groups. The functions below require that all policies were added and sorted. Returns 0
 * or -ENOMEM. */
int kept_sort(struct kept *kept);

/* Adds an SA if it has the reqid and the end points of a group. Returns 0 or -ENOMEM. */
int kept_add_sa(struct kept *kept, const struct entry *sa);

/* Sorts the SAs by group, after all SAs were added. */
void kept_sort_sas(struct kept *kept);

void kept_free(struct kept *kept);

/* Returns whether an SA is one of a group's old SAs. */
bool kept_has_sa(const struct kept *kept, const struct kept_group *group, const struct entry *sa);

/* Returns the kept policy with the selector, direction, ptype, mark and if_id of a policy, or NULL. */
const struct kept_policy *kept_find(const struct kept *kept, const struct entry *policy);

/* Finds the child that explains a group best, and prefers children that charon can initiate. Returns true with the
 * child's index, or false if no child explains the group. */
bool kept_find_child(const struct kept *kept, const struct kept_group *group, const struct children *children,
		     size_t *ret);

/* Returns whether charon can initiate a child to get new SAs for a group. charon must know an address of the peer.
 * Also, the peer must not have a virtual address from charon, because only the peer can request that address again.
 * Traffic for such an address is not for the peer's end point, and no configured selector contains it, because the
 * selector is `dynamic`. */
bool kept_can_initiate(const struct kept *kept, const struct kept_group *group, const struct children *children,
		       const struct child *child);

/* Marks the groups in use that have a reqid conflict with one of charon's policies. The policy has the reqid and the
 * end points of such a group, but is for other traffic. The other traffic would therefore be accepted through the
 * group's SAs. There is no conflict while a kept policy of a group in use has the policy's selector: the kernel finds
 * the kept policy first. Ignores policies of xfrmctl. Returns whether any group was marked. */
bool kept_mark_conflicts(struct kept *kept, const struct entry *policy);

/* Returns whether a group's traffic still uses its old SAs. */
bool kept_is_in_use(const struct kept_group *group);

/* Describes a group for messages: "10.1.0.0/24 → 10.2.0.0/24 (192.0.2.1 → 198.51.100.1, reqid 1)". Returns `buffer`. */
const char *kept_describe(const struct kept *kept, const struct kept_group *group, char *buffer, size_t size);
