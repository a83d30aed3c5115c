/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads what the kernel sent over XFRM, as it lies in a buffer: one or more netlink messages. Pure; whatever the bytes
 * are, reading them ends and never looks beyond them. */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "xfrm/entry.h"
#include "xfrm/netlink.h"

/* Looks for the answer to a request: a message of `type`, or an acknowledgement when `type` is NLMSG_ERROR. Returns 1
 * with `ret` within the buffer, 0 when it is not there, and an errno that is the kernel's answer (`refused`) or
 * -EBADMSG. */
int parse_answer(struct nlmsghdr *first, int length, uint32_t seq, uint16_t type, struct nlmsghdr **ret, bool *refused);

/* Copies an attribute of the answer to XFRM_MSG_GETSADINFO or _GETSPDINFO. -EBADMSG when it is not there or too short.
 */
int parse_info(struct nlmsghdr *answer, int attribute, void *ret, size_t size);

/* Reads one part of a dump. Returns 0 when there is more to come, 1 at its end, or a negative errno: that of the
 * kernel, of entry_decode() or of `fn`. XFRM never marks a dump as interrupted (NLM_F_DUMP_INTR). */
int parse_dump(struct nlmsghdr *first, int length, uint32_t seq, xfrm_entry_fn fn, void *userdata);

/* Calls `fn` for each request that the kernel refused, as it sends it back. A negative errno ends it. */
typedef int (*parse_refusal_fn)(const struct nlmsghdr *request, int error, void *userdata);
int parse_refusals(struct nlmsghdr *first, int length, parse_refusal_fn fn, void *userdata);

/* Calls `fn` for each SA and each policy that was added or updated. */
void parse_events(struct nlmsghdr *first, int length, void (*fn)(const struct entry *entry, void *userdata),
		  void *userdata);
