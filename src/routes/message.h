/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Netlink messages about routes, nexthop objects, rules and addresses. Pure. */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "routes/route.h"

struct nl_msg;

/* A nexthop object (ip-nexthop(8)). A route can refer to it in place of a gateway and a device. */
struct rtnl_nexthop {
	/* ID of the object, or 0 if it has none yet. */
	uint32_t id;
	/* RTNH_F_ONLINK or 0. */
	uint32_t flags;
	/* Index of the interface, or 0. */
	uint32_t ifindex;
	/* Family of the gateway; AF_UNSPEC for a group of objects. */
	sa_family_t family;
	/* Protocol number (RTPROT_…) of the program that added the object. */
	uint8_t protocol;
	/* Whether `gateway` is set. */
	bool has_gateway;
	/* Address of the next hop. */
	xfrm_address_t gateway;
};

/* Reads a message of a dump of routes. Returns 1 for a route of this family and table. Returns 0 for another route, or
 * one that the kernel has only cached; -EBADMSG for a malformed message. `ifindex` is the interface of the first next
 * hop, or 0. The caller sets `device` of `ret` according to `ifindex`, and frees `object` of `ret`. */
int rtnl_message_route(struct nlmsghdr *nlh, sa_family_t family, uint32_t table, struct route *ret,
		       unsigned int *ifindex);

/* Builds a route to the only gateway of `route`, on the same device, with the source of `cover` if that has one.
 * Returns 0 with `ret`, whose `object` the caller frees, or -ENOMEM. */
int rtnl_message_to_gateway(const struct route *route, const struct route *cover, struct route *ret);

/* Describes the next hop of a route as a nexthop object without an ID. `onlink` adds RTNH_F_ONLINK if there is a
 * gateway. Returns 0, or -EOPNOTSUPP if the route does not have exactly one next hop. */
int rtnl_message_next_hop(const struct route *route, bool onlink, uint8_t protocol, struct rtnl_nexthop *ret);

/* Returns whether both objects have the same next hop. */
bool rtnl_message_is_same_hop(const struct rtnl_nexthop *a, const struct rtnl_nexthop *b);

/* Reads a message of a dump of nexthop objects. Returns false if the message is not about such an object. */
bool rtnl_message_nexthop(struct nlmsghdr *nlh, struct rtnl_nexthop *ret);

/* Builds a request of `type` about a nexthop object. Returns 0 with `ret`, which the caller frees, or -ENOMEM. */
int rtnl_message_change_nexthop(const struct rtnl_nexthop *nexthop, int type, int flags, struct nl_msg **ret);

/* Returns the ID of the nexthop object to which a route of a dump refers, or 0. */
uint32_t rtnl_message_used_nexthop(struct nlmsghdr *nlh);

/* Returns whether a message is about a rule of this family and protocol by which the kernel looks up this table. */
bool rtnl_message_is_rule(struct nlmsghdr *nlh, sa_family_t family, uint32_t table, uint8_t protocol);

/* Returns the same for a rule of any protocol. */
bool rtnl_message_leads_to(struct nlmsghdr *nlh, sa_family_t family, uint32_t table);

/* Builds a request of `type` with a copy of a rule. The copy has this protocol, and the rule's priority plus `behind`.
 * Returns 0 with `ret`, which the caller frees; -ERANGE if that priority is too large; or -ENOMEM. */
int rtnl_message_copy_rule(struct nlmsghdr *nlh, int type, int flags, uint32_t behind, uint8_t protocol,
			   struct nl_msg **ret);

/* Reads a message of a dump of addresses. Sets `host` if the prefix length of the address covers all its bits. Returns
 * whether the message is about an address. */
bool rtnl_message_any_address(struct nlmsghdr *nlh, sa_family_t *family, xfrm_address_t *ret, unsigned int *ifindex,
			      bool *host);

/* Reads a message of a dump of addresses. Returns whether the message is about an address whose prefix length covers
 * all its bits. */
bool rtnl_message_address(struct nlmsghdr *nlh, sa_family_t *family, xfrm_address_t *ret, unsigned int *ifindex);
