/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Stoppers: SAs through which nothing goes. Pure.
 *
 * charon numbers the reqids of its policies from 1 at each start, in the order in which connections come up
 * (alloc_reqid() in kernel_interface.c), so that a new trap policy may have the reqid of another connection's old SA.
 * Its template names no SPI, and of all SAs with the same reqid and end points the kernel would take the youngest
 * (xfrm_state_look_at()): the old one, of another connection. A stopper is an SA like the old one, but of a later
 * second (of equal ones the order in a hash chain decides, which turns with each growth of the table). Its output
 * sequence number is at its end, so that the kernel drops whatever comes to it (xfrm_replay_overflow(),
 * XfrmOutStateSeqError). Policies whose templates name the SPI of the old SA, as those of a negotiated SA do, go on
 * using that. */

#include <stdbool.h>

#include "hold/shadow.h"
#include "xfrm/entry.h"

/* Seconds after which the kernel removes a stopper. The SA that it guards has ended before (KEEP_SA_SECONDS): until
 * then nothing else may use that. */
#define GUARD_SA_SECONDS (KEPT_POLICY_SECONDS + 60)

struct nl_msg;

/* Keys of an SA that nobody else knows: the caller fills them with random bytes. */
struct guard_sa_keys {
	char encryption[16], integrity[32];
};

/* Composes the request that adds the stopper of an outbound ESP or AH SA (XFRM_MSG_NEWSA). Returns 0 with the message,
 * which the caller frees (nlmsg_free()), or -ENOMEM. */
int guard_sa_compose(const struct entry *sa, const struct guard_sa_keys *keys, struct nl_msg **ret);

/* By what the stopper of an SA is found: destination, SPI (the complement of the SA's), protocol and mark. */
struct entry guard_sa_of(const struct entry *sa);

/* Whether an SA is a stopper: its selector has KEPT_TAG in `user`, which no lookup compares. */
bool is_guard_sa(const struct entry *entry);
