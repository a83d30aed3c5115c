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

/* Lists the SAs of charon and of the kernel twice, `interval` microseconds apart. An orphan is an ESP, AH or IPComp SA
 * that both lists of the kernel have and neither list of charon. Larval SAs and guard SAs are never orphans.
 *
 * `vici` is NULL if no charon runs; then every SA is an orphan. Each of charon's answers may take `timeout`
 * microseconds. `visit`, unless NULL, is called with each SA of the kernel's first list. It is called with NULL before
 * that list begins, and each time the list begins again because it was incomplete.
 *
 * Memory: 8 bytes for each SA that charon knows, and a struct orphan for each orphan. Returns 0 or a negative errno:
 * those of xfrm_dump() and of vici_stream(), -ENOMEM, or -EMSGSIZE if charon has left out some of its SAs. */
int orphans_find(struct xfrm *xfrm, struct vici *vici, uint64_t interval, uint64_t timeout,
		 void (*visit)(const struct entry *entry, void *userdata), void *userdata, struct orphans *ret);
void orphans_free(struct orphans *orphans);

/* Returns whether an SA of a later dump is one of the orphans. */
bool orphans_contain(const struct orphans *orphans, const struct entry *entry);
