/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Messages about routes, rules and addresses, as the kernel sends them. Pure. */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "routes/route.h"

struct nl_msg;

/* A nexthop object (ip-nexthop(8)), which a route can name in the place of a gateway and a device. */
struct rtnl_nexthop {
	uint32_t id;
	uint32_t flags; /* RTNH_F_ONLINK, or 0 */
	uint32_t ifindex;
	sa_family_t family; /* AF_UNSPEC for a group */
	uint8_t protocol;
	bool has_gateway;
	xfrm_address_t gateway;
};

/* Reads a message of a list of routes. Returns 1 with `ret`, whose `device` is still to be found by `ifindex` (0 when
 * it has none), and whose `object` the caller frees; 0 for a route of another family or table, or one that the kernel
 * has only cached; -EBADMSG; -ENOMEM. */
int rtnl_message_route(struct nlmsghdr *nlh, sa_family_t family, uint32_t table, struct route *ret,
		       unsigned int *ifindex);

/* Makes a route to the only gateway of `route`, on its device, with the source of `cover`. Returns 0 with `ret`, whose
 * `object` the caller frees, or -ENOMEM. */
int rtnl_message_to_gateway(const struct route *route, const struct route *cover, struct route *ret);

/* Describes the next hop of a route as an object without an ID; `onlink` adds that flag. Returns 0, or -EOPNOTSUPP for
 * a route with no next hop or several. */
int rtnl_message_next_hop(const struct route *route, bool onlink, uint8_t protocol, struct rtnl_nexthop *ret);

/* Whether packets take the same way through these. */
bool rtnl_message_is_same_hop(const struct rtnl_nexthop *a, const struct rtnl_nexthop *b);

/* Reads a message of a list of nexthop objects. Returns whether it is one. */
bool rtnl_message_nexthop(struct nlmsghdr *nlh, struct rtnl_nexthop *ret);

/* Writes a request of `type` about a nexthop object. Returns 0 or -ENOMEM. */
int rtnl_message_change_nexthop(const struct rtnl_nexthop *nexthop, int type, int flags, struct nl_msg **ret);

/* Returns the ID of the nexthop object that a route of a list names, or 0. */
uint32_t rtnl_message_used_nexthop(struct nlmsghdr *nlh);

/* Whether this is a rule of this family and protocol by which packets come to a table. */
bool rtnl_message_is_rule(struct nlmsghdr *nlh, sa_family_t family, uint32_t table, uint8_t protocol);

/* Writes a request of `type` about the same rule, but for its priority and protocol. -ERANGE when there is no priority
 * behind; -ENOMEM. */
int rtnl_message_copy_rule(struct nlmsghdr *nlh, int type, int flags, uint32_t behind, uint8_t protocol,
			   struct nl_msg **ret);

/* Whether this is about an address that has all its bits as prefix length. */
bool rtnl_message_address(struct nlmsghdr *nlh, sa_family_t *family, xfrm_address_t *ret, unsigned int *ifindex);
