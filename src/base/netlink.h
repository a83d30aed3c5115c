/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Sockets of libnl, what the kernel sends through them, and CLEANUP() of what libnl allocates. */

#include <netlink/addr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stddef.h>

/* Opens a socket that waits for so long for each answer: the kernel answers while it is asked, and an answer that is
 * this late will not come. Works in the network namespace of the calling thread. Returns 0 or a negative errno. */
#define NETLINK_ANSWER_SECONDS 30
int netlink_open(int protocol, struct nl_sock **ret);
void netlink_close(struct nl_sock **sock);

/* Whether messages fill a datagram to its end. What was cut off, or is none, is what readers would pass over: an entry
 * of a list, or the refusal of a change. */
bool netlink_is_whole(const struct nlmsghdr *first, size_t length);

static inline void free_message(struct nl_msg **message)
{
	nlmsg_free(*message);
}

static inline void put_address(struct nl_addr **address)
{
	nl_addr_put(*address);
}
