/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Orphans: SAs in the kernel that the running charon does not know. */

#include "base/util.h"
#include "ike/charon.h"
#include "xfrm/entry.h"
#include "xfrm/netlink.h"

/* Time between the two lists of SAs, over which traffic is counted, in microseconds. It is long enough for charon to
 * complete a change of its SAs, and short enough for an operator who waits. */
#define ORPHANS_INTERVAL (2 * USEC_PER_SEC)

/* Time limit for one list of charon's SAs, in microseconds. charon waits in turn for each of its threads that works on
 * an IKE_SA. */
#define ORPHANS_TIMEOUT (30 * USEC_PER_SEC)

struct orphan {
	/* The SA as the first list had it. */
	struct xfrm_usersa_info sa;
	struct xfrm_mark mark;
	uint32_t if_id;
	/* The second list has the SA too. */
	bool remains;
	/* Traffic between the two lists. */
	uint64_t packets, bytes;
	/* The connection of charon's configuration that fits the SA, or "" if none or more than one fits. */
	char connection[CHARON_NAME_MAX];
};

struct orphans {
	struct orphan *list;
	size_t n, allocated;
	/* Number of SAs that looked like orphans in the first list. */
	size_t n_first;
	/* Microseconds between the two lists. */
	uint64_t usec;
	/* The SAs in charon's last answer; empty without charon. */
	struct charon_sas known;
};

/* What a caller does besides, at the times at which orphans_find() reads charon and the kernel. Each member may be
 * NULL. */
struct orphans_observer {
	/* Lists charon's SAs in place of charon_sas(). Returns 0 or a negative errno. */
	int (*ask)(struct vici *vici, uint64_t deadline, struct charon_sas *ret, void *userdata);
	/* Is called with each SA of the kernel; with NULL before the list begins, and each time it begins again. */
	void (*visit)(const struct entry *entry, void *userdata);
	/* Is called after the list of the kernel's SAs. Returns 1 if all has to be read again because of something
	 * other than an orphan, 0, or a negative errno. */
	int (*compare)(void *userdata);
	void *userdata;
};

/* Lists the SAs of charon and of the kernel; twice, `interval` microseconds apart, if the first lists give reason to.
 * An orphan is an ESP, AH or IPComp SA that both lists of the kernel have and neither list of charon. Larval SAs and
 * guard SAs are never orphans. Nor are kept SAs while charon runs, because the handover removes them.
 *
 * `vici` is NULL if no charon runs; then every other SA is an orphan. Each of charon's answers may take `timeout`
 * microseconds. `observer` may be NULL.
 *
 * Memory: 8 bytes for each SA that charon knows, and a struct orphan for each orphan. Returns 0 or a negative errno:
 * those of xfrm_dump(), of vici_stream() and of the observer, -ENOMEM, or -EMSGSIZE if charon has left out some of its
 * SAs. */
int orphans_find(struct xfrm *xfrm, struct vici *vici, uint64_t interval, uint64_t timeout,
		 const struct orphans_observer *observer, struct orphans *ret);
void orphans_free(struct orphans *orphans);

/* Returns whether an SA of a later dump is one of the orphans. */
bool orphans_contain(const struct orphans *orphans, const struct entry *entry);
