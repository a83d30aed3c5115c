/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Opens sockets of libnl, checks what the kernel sends through them, and frees objects of libnl for CLEANUP(). */

#include <netlink/addr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stddef.h>

/* Maximum time to wait for an answer, in seconds. The kernel answers during the request, so an answer that takes longer
 * is lost. */
#define NETLINK_ANSWER_SECONDS 30

/* Opens a socket in the network namespace of the calling thread. Returns 0 or a negative errno. */
int netlink_open(int protocol, struct nl_sock **ret);

/* Closes a socket and sets it to NULL. */
void netlink_close(struct nl_sock **sock);

/* Returns whether messages fill a datagram to its end. Readers would skip a message that is cut off or malformed, which
 * may be an entry of a list or the refusal of a change. */
bool netlink_is_whole(const struct nlmsghdr *first, size_t length);

static inline void free_message(struct nl_msg **message)
{
	nlmsg_free(*message);
}

static inline void put_address(struct nl_addr **address)
{
	nl_addr_put(*address);
}
