/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The door to the kernel's routes (NETLINK_ROUTE). It works in the network namespace that the calling thread was in
 * when routing_open() was called, and knows nothing of what should be removed or why. All functions return 0 or a
 * negative errno. */

#include <netlink/netlink.h>

#include "routes.h"

int routing_open(struct nl_sock **ret);
void routing_close(struct nl_sock **sock);

/* Lists the routes of one table, of both families and of all protocols, in the order of route_compare(). */
int routing_list(struct nl_sock *sock, uint32_t table, struct routes *ret);

/* route_compare() for qsort(3) and bsearch(3). */
int routing_compare(const void *a, const void *b);

/* Frees what a route of a list holds; routes_free() does it for all of them. */
void routing_free(struct route *route);

/* Adds a copy of a route with another protocol and metric. `replace` says what happens if there is one with the same
 * destination, TOS and metric: it goes, or -EEXIST. */
int routing_copy(struct nl_sock *sock, const struct route *route, uint8_t protocol, uint32_t metric, bool replace);

/* Removes just this route. -ESRCH when it has gone already. */
int routing_delete(struct nl_sock *sock, const struct route *route);

/* Rules (ip-rule(8)) by which packets come to a table. charon's are those without a protocol. The first puts a copy
 * with a protocol number right behind each of charon's, the second removes those with that number. */
int routing_copy_rules(struct nl_sock *sock, uint32_t table, uint8_t protocol);
int routing_delete_rules(struct nl_sock *sock, uint32_t table, uint8_t protocol);

/* Calls `fn` for each address of an interface that has all its bits as prefix length. */
typedef void (*routing_address_fn)(sa_family_t family, const xfrm_address_t *address, unsigned int ifindex,
				   void *userdata);
int routing_host_addresses(struct nl_sock *sock, routing_address_fn fn, void *userdata);
