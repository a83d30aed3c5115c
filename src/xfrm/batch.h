/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Queues changes to XFRM, so that many are sent at once: additions of policies, and deletions. A deletion can depend on
 * an addition: it is withdrawn when the addition fails. Evaluates the kernel's answers to the additions and to the
 * deletions. Pure. */

#include <stdbool.h>
#include <stdint.h>

#include "xfrm/build.h"
#include "xfrm/netlink.h"

/* Maximum number of messages in a batch. The kernel can answer each with an error message, which takes 832 bytes of the
 * receive buffer (Rmem in /proc/net/netlink, Linux 6.18). All of them fit even into the 64 KiB that libnl sets. */
#define BATCH_MESSAGES 64

/* Size of a batch, in bytes. */
#define BATCH_SIZE (BATCH_MESSAGES * 320)

/* Messages that are queued. */
struct batch {
	size_t length;	/* bytes of all messages */
	unsigned int n; /* number of messages */
	union {
		struct nlmsghdr first;
		char bytes[BATCH_SIZE];
	};
};

/* The queues of additions and of deletions. They are empty when all bytes are 0. */
struct batches {
	struct batch additions, deletions;
	/* The sequence number of each deletion, and the sequence number of the addition on which the deletion depends.
	 * The latter is 0 if the deletion depends on none. */
	struct {
		uint32_t deletion, addition;
	} depends_on[BATCH_MESSAGES];
};

/* Returns whether there is room for one more addition and one more deletion. */
bool batches_have_room(const struct batches *batches);

/* Queues the deletion of an entry. `seq` is the last sequence number in use, and is incremented. */
void batches_delete(struct batches *batches, const struct entry *entry, uint32_t *seq);

/* Queues the addition of a policy and the deletion of `old`, which depends on it and may be NULL. `seq` is the last
 * sequence number in use, and is incremented for each message. Returns 0, or an error of build_policy(). */
int batches_exchange(struct batches *batches, const struct entry *policy, const struct entry *old, uint32_t *seq);

/* Parses the kernel's answers to the additions. Withdraws each refused addition with the deletion that depends on it,
 * and reports it to `fn`. Returns 0 or a negative errno. */
int batches_read_additions(struct batches *batches, struct nlmsghdr *first, int length, xfrm_refused_fn fn,
			   void *userdata);

/* Withdraws all remaining additions with the deletions that depend on them, and reports them with `error`. The caller
 * calls it when the batch could not be sent or answers were lost, because then no addition is certain. */
void batches_retract_additions(struct batches *batches, int error, xfrm_refused_fn fn, void *userdata);

/* Parses the kernel's answers to the deletions, and reports refused ones to `fn`. Returns 0 or a negative errno. */
int batches_read_deletions(struct nlmsghdr *first, int length, xfrm_refused_fn fn, void *userdata);

/* Reports all deletions with `error`, because they could not be sent. */
void batches_report_deletions(struct batches *batches, int error, xfrm_refused_fn fn, void *userdata);

/* Removes all messages from a batch. */
void batch_empty(struct batch *batch);
