/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Client of the kernel's routing interface (NETLINK_ROUTE). A socket works in the network namespace in which the
 * calling thread was when it called rtnl_open(). The caller decides which routes to change. Functions that return int
 * return 0 or a negative errno, except rtnl_compare(). */

#include <netlink/netlink.h>

#include "routes/table.h"

/* Opens a socket. The caller closes it with netlink_close(). */
int rtnl_open(struct nl_sock **ret);

/* Lists the routes of a table, of both families and all protocols, in the order of route_compare(). The list of a table
 * that does not exist is empty. The caller frees `ret` with routes_free(). */
int rtnl_list(struct nl_sock *sock, uint32_t table, struct routes *ret);

/* Orders two routes as route_compare() does, for qsort(3) and bsearch(3). */
int rtnl_compare(const void *a, const void *b);

/* Frees the memory that a route of a list refers to. routes_free() does the same for all routes of a list. */
void rtnl_free(struct route *route);

/* Properties in which a copy of a route differs from the route. */
struct rtnl_copy {
	uint8_t protocol;
	uint32_t metric;
	/* Whether the copy replaces a route with the same destination, TOS and metric. Otherwise the kernel refuses the
	 * copy if such a route exists (-EEXIST). */
	bool replace;
	/* Whether the kernel accepts the gateway without a check that it is reachable (RTNH_F_ONLINK). */
	bool onlink;
	/* ID of the nexthop object to which the copy refers, or 0 if the copy has the next hops of the route. */
	uint32_t nexthop;
};

/* Adds a copy of a route. */
int rtnl_copy(struct nl_sock *sock, const struct route *route, const struct rtnl_copy *copy);

/* Finds or adds a nexthop object with the next hop of a route, and writes its ID to `ret`. Returns -EOPNOTSUPP if the
 * kernel has no nexthop objects (before Linux 5.3), or if the route does not have exactly one next hop. Returns -ENOSPC
 * if there is no free ID. */
int rtnl_nexthop(struct nl_sock *sock, const struct route *route, bool onlink, uint8_t protocol, uint32_t *ret);

/* Removes the nexthop objects that rtnl_nexthop() added with this protocol, except those in use. An object is in use if
 * an IPv6 route of this protocol, in any table, refers to it. The kernel would remove such a route with the object. */
int rtnl_delete_nexthops(struct nl_sock *sock, uint8_t protocol);

/* Removes exactly this route. Returns -ESRCH if it does not exist any more. */
int rtnl_delete(struct nl_sock *sock, const struct route *route);

/* The following functions change the rules (ip-rule(8)) that make the kernel look up a table. charon's rules have no
 * protocol. rtnl_copy_rules() adds a copy with this protocol directly behind each rule of charon. rtnl_delete_rules()
 * removes the rules with this protocol. */
int rtnl_copy_rules(struct nl_sock *sock, uint32_t table, uint8_t protocol);
int rtnl_delete_rules(struct nl_sock *sock, uint32_t table, uint8_t protocol);

/* Finds out whether a rule of this family, by charon or by others, makes the kernel look up a table. */
int rtnl_has_rule(struct nl_sock *sock, sa_family_t family, uint32_t table, bool *ret);

/* Calls `fn` for each address of an interface, or for each whose prefix length covers all its bits. */
typedef void (*rtnl_address_fn)(sa_family_t family, const xfrm_address_t *address, unsigned int ifindex,
				void *userdata);
int rtnl_addresses(struct nl_sock *sock, rtnl_address_fn fn, void *userdata);
int rtnl_host_addresses(struct nl_sock *sock, rtnl_address_fn fn, void *userdata);
