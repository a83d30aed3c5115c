/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Parses what the kernel sent over XFRM: a buffer with one or more netlink messages. Pure. Whatever the bytes are,
 * parsing comes to an end, and never reads beyond the buffer. */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "xfrm/entry.h"
#include "xfrm/netlink.h"

/* Finds the answer to a request: a message of `type`, or an acknowledgement if `type` is NLMSG_ERROR. Returns 1 with
 * `ret` within the buffer, 0 when the buffer does not contain the answer, or a negative errno. `refused` is set if the
 * errno is the kernel's answer; otherwise the errno is -EBADMSG. */
int parse_answer(struct nlmsghdr *first, int length, uint32_t seq, uint16_t type, struct nlmsghdr **ret, bool *refused);

/* Copies an attribute of the answer to XFRM_MSG_GETSADINFO or XFRM_MSG_GETSPDINFO. Returns 0, or -EBADMSG when the
 * attribute is absent or too short. */
int parse_info(struct nlmsghdr *answer, int attribute, void *ret, size_t size);

/* Parses one part of a dump and calls `fn` for each entry. Returns 0 when more parts follow, 1 at the end of the dump,
 * or a negative errno of the kernel, of entry_decode() or of `fn`. XFRM never marks a dump as interrupted
 * (NLM_F_DUMP_INTR). */
int parse_dump(struct nlmsghdr *first, int length, uint32_t seq, xfrm_entry_fn fn, void *userdata);

/* Handles one refused request, which the kernel has sent back. A negative errno ends parse_refusals(). */
typedef int (*parse_refusal_fn)(const struct nlmsghdr *request, int error, void *userdata);

/* Calls `fn` for each request that the kernel refused. Returns 0, -EBADMSG for a malformed answer, or an error of
 * `fn`. */
int parse_refusals(struct nlmsghdr *first, int length, parse_refusal_fn fn, void *userdata);

/* Returns whether the event in `entry->message` is about a deletion. XFRM_MSG_DELPOLICY is about one policy.
 * XFRM_MSG_FLUSHPOLICY is about all policies of a type: of the entry, only `policy.ptype` is set. nlmsg_pid of the
 * message is the number that the requester wrote into its request (c.portid in xfrm_get_policy()). */
bool event_is_deletion(const struct entry *entry);

/* Calls `fn` for each event about an SA or a policy that was added or updated, and about policies that were deleted. */
void parse_events(struct nlmsghdr *first, int length, void (*fn)(const struct entry *entry, void *userdata),
		  void *userdata);
