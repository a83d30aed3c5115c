/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Children of charon's configuration, and which of them can have negotiated an SA of the previous instance. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefix.h"

/* A set of networks. A single address is a network whose prefix length covers all bits. */
struct children_networks {
	struct prefix *list;
	size_t n, allocated;
	/* Whether the set also contains unknown addresses: those of %any, a host name, a range, or a selector
	 * `dynamic`. */
	bool any;
};

/* Both ends: this host and the peer. A parameter `side` is one of these. */
enum { CHILDREN_LOCAL, CHILDREN_REMOTE, CHILDREN_SIDES };

/* A connection of the configuration. */
struct children_connection {
	char *name;
	/* Addresses of both ends (local_addrs, remote_addrs). */
	struct children_networks addresses[CHILDREN_SIDES];
	/* Whether charon can initiate: it knows an address or a host name of the peer. */
	bool can_initiate;
	/* Whether the connection had an IKE_SA when charon was asked for its configuration. */
	bool busy;
	/* Whether the caller has made charon begin to negotiate a child of this connection. */
	bool begun;
};

/* A child of a connection. */
struct child {
	char *name;
	/* Index in children.connections. */
	size_t connection;
	/* Whether the child is a shunt (mode PASS or DROP), which never has SAs. */
	bool shunt;
	/* Whether the caller has assigned the child to kept SAs. */
	bool taken;
	/* Traffic selectors of both ends. */
	struct children_networks selectors[CHILDREN_SIDES];
};

/* All children of a configuration. The caller zeroes it first. Memory: some 300 bytes for each child, and as much for
 * each connection. */
struct children {
	struct children_connection *connections;
	size_t n_connections, allocated_connections;
	struct child *list;
	size_t n, allocated;
	bool incomplete; /* whether charon has connections that it has not listed */
};

/* The following functions add an element, or a property of the element that was added last. They return 0, -ENOMEM, or
 * -EINVAL for a text that charon does not write. The caller adds a connection before its addresses ("192.0.2.1",
 * "192.0.2.0/24", "%any", a host name) and its children. It adds a child before its traffic selectors, which
 * traffic_selector_parse() parses. */
int children_add_connection(struct children *children, const char *name);
int children_add_address(struct children *children, size_t side, const char *text);
int children_add(struct children *children, const char *name);
int children_add_selector(struct children *children, size_t side, const char *text);
void children_set_mode(struct children *children, const char *text);
void children_free(struct children *children);

/* A pair of networks between which an old SA protected traffic: one at this host, one at the peer. */
struct children_pair {
	struct prefix networks[CHILDREN_SIDES];
};

/* Rates how well a child explains old SAs, which had two end points and protected `n` pairs of networks. Returns a
 * score (the higher, the better), or 0 if the child cannot have negotiated the SAs. It can have negotiated them if each
 * network is within one of its selectors, because a peer may narrow selectors. An end point that does not match lowers
 * the score, but excludes no child: the peer's address may have changed. */
unsigned int children_score(const struct children *children, const struct child *child,
			    const struct prefix end_points[CHILDREN_SIDES], const struct children_pair *pairs,
			    size_t n);

/* Returns whether charon may use one IKE_SA for two connections: only if their addresses are the same. charon searches
 * for an IKE_SA by its configuration, not by its name (checkout_by_config() of ike_sa_manager.c). */
bool children_may_share(const struct children_connection *a, const struct children_connection *b);
