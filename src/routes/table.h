/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Operations of flush, arm, release and status on the routes in charon's table (see route.h). They work in the network
 * namespace of the calling thread, and change no route outside of the table. A table that does not exist counts as
 * empty. They return 0 or a negative errno. */

#include "ike/vici.h"
#include "routes/route.h"

/* Routes of one table. Memory: about 500 bytes per route. */
struct routes {
	/* Sorted in the order of route_compare(). */
	struct route *list;
	size_t n, allocated;
};

/* Result of a change. */
struct routes_summary {
	uint64_t removed; /* number of routes removed, backup routes included */
	uint64_t backups; /* number of backup routes that exist after the change */
	uint64_t failed;  /* number of changes that have failed */
};

/* Parses the number of a table, for --routes[=TABLE]; NULL stands for ROUTE_TABLE. Reports an invalid number, and
 * returns -EINVAL for it. */
int routes_parse_table(const char *text, uint32_t *ret);

/* Lists the static routes and the backup routes of a table, and marks those that the running charon explains. `vici` is
 * NULL if no charon runs: then no route is explained, and stale_address_on is not set. `deadline` applies to charon's
 * answers (vici.h). Returns 0, -ENOMEM, or an error of vici_stream() or of the kernel. */
int routes_find(uint32_t table, struct vici *vici, uint64_t deadline, struct routes *ret);
void routes_free(struct routes *routes);

/* What the kernel needs to send packets through charon's tunnels. */
struct routes_look {
	/* Static routes and backup routes of charon's table. */
	struct routes routes;
	/* Whether a rule makes the kernel look up the table, for IPv4 and for IPv6. */
	bool rules[2];
	/* Whether `routes` are those of the main table, since charon's has neither a route nor a rule. charon uses the
	 * main table if charon.routing_table is 0. */
	bool main_table;
	/* Addresses of this host, sorted. */
	struct routes_addresses {
		struct prefix *list;
		size_t n, allocated;
		int error; /* 0 or -ENOMEM */
	} addresses;
};

/* Reads routes, rules and addresses. The caller frees `ret` with routes_look_free(), also after an error. */
int routes_look(uint32_t table, struct routes_look *ret);
void routes_look_free(struct routes_look *look);

/* The following functions report errors. They name up to LOG_NAMED_MAX routes that could not be changed; `failed`
 * counts all of these, and the result does not depend on them. They return 0, or a negative errno if they could not
 * list the routes, ask charon, or change rules or nexthop objects. */

/* Removes the static routes and backup routes that the charon of `vici` does not explain, and unused nexthop objects.
 * With `vici` NULL, removes all these routes, and the rules that routes_arm() added. */
int routes_flush(uint32_t table, struct vici *vici, uint64_t deadline, struct routes_summary *summary);

/* Replaces each static route with a backup route. Adds the backup route first, so that one of them exists at any time.
 */
int routes_hold(uint32_t table, struct routes_summary *summary);

/* Adds a backup route for each static route, and a rule directly behind charon's, because charon removes its routes and
 * its rule when it ends. A backup route whose source is a virtual address may refer to a nexthop object; then the route
 * outlasts that address. routes_release(), and routes_flush() with `vici` NULL, remove the rule. Both remove unused
 * nexthop objects in any case. */
int routes_arm(uint32_t table, struct routes_summary *summary);

/* Removes backup routes, and the rules and unused nexthop objects of routes_arm(). Without `grace`, removes all backup
 * routes. With `grace`, removes those for which a real route exists (same destination and TOS), and those that the
 * charon at `socket` does not explain. If that charon does not answer, removes only the former. */
int routes_release(uint32_t table, bool grace, const char *socket, struct routes_summary *summary);
