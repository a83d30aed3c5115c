/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The door to the kernel's routes (NETLINK_ROUTE). It works in the network namespace that the calling thread was in
 * when rtnl_open() was called, and knows nothing of what should be removed or why. All functions return 0 or a
 * negative errno. */

#include <netlink/netlink.h>

#include "routes/table.h"

/* netlink_close() closes it. */
int rtnl_open(struct nl_sock **ret);

/* Lists the routes of one table, of both families and of all protocols, in the order of route_compare(). */
int rtnl_list(struct nl_sock *sock, uint32_t table, struct routes *ret);

/* route_compare() for qsort(3) and bsearch(3). */
int rtnl_compare(const void *a, const void *b);

/* Frees what a route of a list holds; routes_free() does it for all of them. */
void rtnl_free(struct route *route);

/* What a copy of a route has of its own. */
struct rtnl_copy {
	uint8_t protocol;
	uint32_t metric;
	bool replace;	  /* a route with the same destination, TOS and metric goes; without, it is -EEXIST */
	bool onlink;	  /* the kernel takes the gateway as it is (RTNH_F_ONLINK) */
	uint32_t nexthop; /* ID of the nexthop object that the copy names; 0: it has the next hops of the route */
};

/* Adds a copy of a route. */
int rtnl_copy(struct nl_sock *sock, const struct route *route, const struct rtnl_copy *copy);

/* Finds or makes a nexthop object with the next hop of a route, and writes its ID. -EOPNOTSUPP when the kernel has no
 * such objects (before Linux 5.3), or when the route has not exactly one next hop. */
int rtnl_nexthop(struct nl_sock *sock, const struct route *route, bool onlink, uint8_t protocol, uint32_t *ret);

/* Removes the nexthop objects that rtnl_nexthop() made with this protocol and that no IPv6 route of this protocol
 * uses, in whatever table: with an object the kernel removes its routes. */
int rtnl_delete_nexthops(struct nl_sock *sock, uint8_t protocol);

/* Removes just this route. -ESRCH when it has gone already. */
int rtnl_delete(struct nl_sock *sock, const struct route *route);

/* Rules (ip-rule(8)) by which packets come to a table. charon's are those without a protocol. The first puts a copy
 * with a protocol number right behind each of charon's, the second removes those with that number. */
int rtnl_copy_rules(struct nl_sock *sock, uint32_t table, uint8_t protocol);
int rtnl_delete_rules(struct nl_sock *sock, uint32_t table, uint8_t protocol);

/* Calls `fn` for each address of an interface that has all its bits as prefix length. */
typedef void (*rtnl_address_fn)(sa_family_t family, const xfrm_address_t *address, unsigned int ifindex,
				void *userdata);
int rtnl_host_addresses(struct nl_sock *sock, rtnl_address_fn fn, void *userdata);
