/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Guard SAs: SAs that send no packet. Pure.
 *
 * At each start charon numbers the reqids of its policies from 1, in the order in which connections come up
 * (alloc_reqid() in kernel_interface.c). A new trap policy may therefore get the reqid of another connection's old SA.
 * The template of a trap policy names no SPI. Of all SAs with the template's reqid and end points the kernel takes the
 * youngest (xfrm_state_look_at()), which would be that old SA.
 *
 * A guard SA is like the old SA, but was added in a later second, so the kernel takes the guard SA. The second must
 * differ: between SAs of the same second the order in a hash chain decides. Each growth of the hash table reverses this
 * order. The output sequence number of a guard SA is at its end, so the kernel drops every packet for it
 * (xfrm_replay_overflow(), XfrmOutStateSeqError). The policies of a negotiated SA name the SPI of the old SA in their
 * templates, and continue to use the old SA. */

#include <stdbool.h>

#include "hold/shadow.h"
#include "xfrm/entry.h"

/* Lifetime of a guard SA, in seconds. It is longer than that of the guarded SA (KEEP_SA_SECONDS), because no other
 * policy may use that SA until its end. */
#define GUARD_SA_SECONDS (KEPT_POLICY_SECONDS + 60)

struct nl_msg;

/* The keys of a guard SA. The caller fills them with random bytes, so that no other host knows them. */
struct guard_sa_keys {
	char encryption[16], integrity[32];
};

/* Composes the request that adds the guard SA of an outbound ESP or AH SA (XFRM_MSG_NEWSA). Returns 0 with a message
 * that the caller frees (nlmsg_free()), or -ENOMEM. */
int guard_sa_compose(const struct entry *sa, const struct guard_sa_keys *keys, struct nl_msg **ret);

/* Returns the key of an SA's guard SA: the SA's destination, protocol and mark, and the complement of its SPI. */
struct entry guard_sa_of(const struct entry *sa);

/* Returns whether an SA is a guard SA: its selector has KEPT_TAG in `user`, which the kernel compares in no lookup. */
bool is_guard_sa(const struct entry *entry);
