/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Changes to XFRM that wait to be sent in one go: additions of policies, and deletions, some of which may only be
 * carried out when an addition was; and what the kernel's answers to them lead to. Pure. */

#include <stdbool.h>
#include <stdint.h>

#include "xfrm/build.h"
#include "xfrm/netlink.h"

/* Each can be answered by an error message, which takes 832 bytes of the receive buffer (Rmem in /proc/net/netlink,
 * Linux 6.18): all of them fit even into the 64 KiB that libnl sets. */
#define BATCH_MESSAGES 64
#define BATCH_SIZE (BATCH_MESSAGES * 320)

/* Messages that wait to be sent. */
struct batch {
	size_t length;
	unsigned int n;
	union {
		struct nlmsghdr first;
		char bytes[BATCH_SIZE];
	};
};

/* Zeroed to begin with. */
struct batches {
	struct batch additions, deletions;
	struct {
		uint32_t deletion, addition; /* sequence numbers; the second is 0 for a deletion on its own */
	} depends_on[BATCH_MESSAGES];
};

/* Whether there is room for one more of each. */
bool batches_have_room(const struct batches *batches);

/* Each takes in one change; `seq` is the last sequence number that was used, and is counted up. batches_exchange() is
 * for the addition of a policy, and behind it the deletion of `old`, which may be NULL; errors as build_policy(). */
void batches_delete(struct batches *batches, const struct entry *entry, uint32_t *seq);
int batches_exchange(struct batches *batches, const struct entry *policy, const struct entry *old, uint32_t *seq);

/* Reads what the kernel answered to the additions: takes back what depends on those that it refused, and reports it. */
int batches_read_additions(struct batches *batches, struct nlmsghdr *first, int length, xfrm_refused_fn fn,
			   void *userdata);
/* The same for all that were not refused, since none of them is certain. */
void batches_retract_additions(struct batches *batches, int error, xfrm_refused_fn fn, void *userdata);

/* Reads what the kernel answered to the deletions, and reports what it refused; */
int batches_read_deletions(struct nlmsghdr *first, int length, xfrm_refused_fn fn, void *userdata);
/* reports all, since they could not be sent. */
void batches_report_deletions(struct batches *batches, int error, xfrm_refused_fn fn, void *userdata);

void batch_empty(struct batch *batch);
