/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Sockets of libnl. */

#include <netlink/netlink.h>

/* Opens a socket that waits for so long for each answer: the kernel answers while it is asked, and an answer that is
 * this late will not come. Works in the network namespace of the calling thread. Returns 0 or a negative errno. */
#define NETLINK_ANSWER_SECONDS 30
int netlink_open(int protocol, struct nl_sock **ret);
void netlink_close(struct nl_sock **sock);
