/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Messages about routes, rules and addresses, as the kernel sends them. Pure. */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "route.h"

struct nl_msg;

/* Reads a message of a list of routes. Returns 1 with `ret`, whose `device` is still to be found by `ifindex` (0 when
 * it has none), and whose `object` the caller frees; 0 for a route of another family or table, or one that the kernel
 * has only cached; -EBADMSG; -ENOMEM. */
int routing_message_route(struct nlmsghdr *nlh, sa_family_t family, uint32_t table, struct route *ret,
			  unsigned int *ifindex);

/* Whether this is a rule of this family and protocol by which packets come to a table. */
bool routing_message_is_rule(struct nlmsghdr *nlh, sa_family_t family, uint32_t table, uint8_t protocol);

/* Writes a request of `type` about the same rule, but for its priority and protocol. -ERANGE when there is no priority
 * behind; -ENOMEM. */
int routing_message_copy_rule(struct nlmsghdr *nlh, int type, int flags, uint32_t behind, uint8_t protocol,
			      struct nl_msg **ret);

/* Whether this is about an address that has all its bits as prefix length. */
bool routing_message_address(struct nlmsghdr *nlh, sa_family_t *family, xfrm_address_t *ret, unsigned int *ifindex);
