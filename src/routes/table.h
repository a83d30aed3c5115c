/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What flush, release and status do with the routes in charon's table (see route.h). All functions work in the network
 * namespace of the calling thread, and nothing outside the table is touched. A table that does not exist is empty. They
 * return 0 or a negative errno. */

#include "ike/vici.h"
#include "routes/route.h"

/* Routes of one table, with what a dump tells of each. Memory: about 500 bytes a route. */
struct routes {
	struct route *list; /* in the order of route_compare() */
	size_t n, allocated;
};

/* What was done. */
struct routes_summary {
	uint64_t removed; /* routes, stand-ins included */
	uint64_t backups; /* are there in the end */
	uint64_t failed;
};

/* The number of a table, for --routes[=TABLE]; ROUTE_TABLE for NULL. Reports what is wrong with it and returns -EINVAL.
 */
int routes_parse_table(const char *text, uint32_t *ret);

/* Lists the static routes and the stand-ins of a table, and says which of them the running charon explains. With `vici`
 * NULL there is no charon: none is explained, and nothing is said of their sources. `deadline` is that of charon's
 * answers (vici.h). Errors: those of vici_stream(), -ENOMEM, and what the kernel says. */
int routes_find(uint32_t table, struct vici *vici, uint64_t deadline, struct routes *ret);
void routes_free(struct routes *routes);

/* The following report what fails, and name what could not be removed, up to a limit; the errno that they return is
 * about the way to the kernel, and `failed` counts the rest. */

/* Removes the static routes and stand-ins that the charon behind `vici` does not explain; with `vici` NULL, all. */
int routes_flush(uint32_t table, struct vici *vici, uint64_t deadline, struct routes_summary *summary);

/* Puts a stand-in in the place of each static route: at no time both are missing. */
int routes_hold(uint32_t table, struct routes_summary *summary);

/* Puts a stand-in behind each static route, and a rule of xfrmctl's own behind charon's, since charon takes its routes
 * and its rule away when it ends. A stand-in whose source is a virtual address names a nexthop object, and so outlasts
 * that address. routes_release() and routes_flush() remove rule and objects again. */
int routes_arm(uint32_t table, struct routes_summary *summary);

/* Removes stand-ins: those in front of which there is another route, and of the others all, or with `grace` those that
 * the charon at `socket` does not explain; when it does not answer, they stay. */
int routes_release(uint32_t table, bool grace, const char *socket, struct routes_summary *summary);
