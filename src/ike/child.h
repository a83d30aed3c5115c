/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The children of charon's configuration, and which of them could have negotiated an SA of an earlier life. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefix.h"

/* Networks; a single address is one with all its bits. */
struct children_networks {
	struct prefix *list;
	size_t n, allocated;
	bool any; /* or any other: %any, a name, a selector that is `dynamic` */
};

/* Ours and the peer's; `side` below is an index. */
enum { CHILDREN_LOCAL, CHILDREN_REMOTE, CHILDREN_SIDES };

struct children_connection {
	char *name;
	struct children_networks addresses[CHILDREN_SIDES];
	bool can_initiate; /* charon knows an address, or a name, to which to send */
	bool busy;	   /* it had an IKE_SA when charon was asked for its configuration */
	bool begun;	   /* somebody has had charon begin with one of its children */
};

struct child {
	char *name;
	size_t connection; /* in children.connections */
	bool taken;	   /* somebody has been given it */
	struct children_networks selectors[CHILDREN_SIDES];
};

/* Zeroed to begin with. Memory: some 300 bytes for each child and as much for each connection. */
struct children {
	struct children_connection *connections;
	size_t n_connections, allocated_connections;
	struct child *list;
	size_t n, allocated;
	bool incomplete; /* charon has connections that it did not tell of */
};

/* The following add to what was added last; -ENOMEM, or -EINVAL for text that charon does not write. A connection comes
 * before its addresses ("192.0.2.1", "192.0.2.0/24", "%any", a name) and its children, a child before its traffic
 * selectors (as traffic_selector_parse() has them). */
int children_add_connection(struct children *children, const char *name);
int children_add_address(struct children *children, size_t side, const char *text);
int children_add(struct children *children, const char *name);
int children_add_selector(struct children *children, size_t side, const char *text);
void children_free(struct children *children);

/* What an old SA protected: a pair of networks, ours and the peer's. */
struct children_pair {
	struct prefix networks[CHILDREN_SIDES];
};

/* How well a child explains SAs between two end points that protected these pairs: 0 when it cannot have negotiated
 * them, since a pair is not within its selectors (peers may narrow these); the more the better. End points count less
 * than that: a peer may have moved. */
unsigned int children_score(const struct children *children, const struct child *child,
			    const struct prefix end_points[CHILDREN_SIDES], const struct children_pair *pairs,
			    size_t n);

/* Whether charon may use one IKE_SA for two connections: only when their addresses are the same. It looks for one of
 * the same configuration, whatever its name is (checkout_by_config() of ike_sa_manager.c). */
bool children_may_share(const struct children_connection *a, const struct children_connection *b);
