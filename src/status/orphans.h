/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* SAs in the kernel that the running charon does not know. */

#include "base/util.h"
#include "ike/charon.h"
#include "xfrm/entry.h"
#include "xfrm/netlink.h"

/* Long enough for what is under way in charon to be over, short enough for somebody who waits; and the time over which
 * traffic is counted. */
#define ORPHANS_INTERVAL (2 * USEC_PER_SEC)

/* charon waits in turn for its threads that work on IKE_SAs. */
#define ORPHANS_TIMEOUT (30 * USEC_PER_SEC)

struct orphan {
	struct xfrm_usersa_info sa; /* as it was at the first look */
	struct xfrm_mark mark;
	uint32_t if_id;
	bool remains;		 /* at the second look */
	uint64_t packets, bytes; /* between the two looks */
	/* The connection of charon's configuration that it once belonged to, if exactly one fits. */
	char connection[CHARON_NAME_MAX];
};

struct orphans {
	struct orphan *list;
	size_t n, allocated;
	size_t n_first;		 /* so many looked like orphans at the first look */
	uint64_t usec;		 /* between the two looks at the kernel */
	struct charon_sas known; /* what charon said last; empty without it */
};

/* Looks twice at charon and the kernel, `interval` microseconds apart, and lists the SAs (ESP, AH, IPComp) that the
 * kernel had both times and charon neither time; larval SAs are none of them. With `vici` NULL there is no charon, and
 * every SA is an orphan. Memory: 8 bytes for each SA that charon knows, and an entry of the list for each orphan.
 * Each of charon's answers may take `timeout` microseconds. `visit`, unless NULL, gets every SA of the first look, and
 * before the first of them NULL, each time that the list is read again. Errors: those of xfrm_dump() and of
 * vici_stream(); -ENOMEM; -EMSGSIZE when charon has left out some of its SAs. */
int orphans_find(struct xfrm *xfrm, struct vici *vici, uint64_t interval, uint64_t timeout,
		 void (*visit)(const struct entry *entry, void *userdata), void *userdata, struct orphans *ret);
void orphans_free(struct orphans *orphans);

/* Whether an SA that a later dump hands out is one of them. */
bool orphans_contain(const struct orphans *orphans, const struct entry *entry);
