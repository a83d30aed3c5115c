/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* For CLEANUP() of what libnl allocates. */

#include <netlink/addr.h>
#include <netlink/msg.h>

static inline void free_message(struct nl_msg **message)
{
	nlmsg_free(*message);
}

static inline void put_address(struct nl_addr **address)
{
	nl_addr_put(*address);
}
