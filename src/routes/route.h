/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Routes of the table in which charon keeps its own, and what of charon's configuration explains them. Pure.
 *
 * For each outbound policy of a tunnel charon installs a route (protocol static) in a table of its own, whose source is
 * an address of this machine within the local traffic selector: the machine's own packets get that source, and so match
 * the policy. A stand-in is a copy of such a route that xfrmctl adds: it has a protocol number of its own, by which it
 * is known, and a metric behind every real route, so that it has a say only where the real one is missing. */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefix.h"

/* charon.rtnl_table, unless somebody has configured another. */
#define ROUTE_TABLE 220

/* The protocol number (rtm_protocol) of a stand-in; the kernel leaves it to programs what they write there, and
 * iproute2's rt_protos has no such number. */
#define ROUTE_BACKUP 88

/* Metrics at or above this one leave no room for stand-ins behind them. */
#define ROUTE_METRIC 0x80000000U

/* The metric of a stand-in that leads to the gateway of others. */
#define ROUTE_GATEWAY_METRIC UINT32_MAX

struct rtnl_route;

struct route {
	struct prefix dst;
	xfrm_address_t src;	/* the preferred source, if has_src; of the family of `dst` */
	xfrm_address_t gateway; /* likewise; none where there are several next hops */
	bool has_src, has_gateway;
	char device[IF_NAMESIZE]; /* of the first next hop; "" when it has none */
	uint32_t table, metric;
	uint8_t protocol, tos, type; /* RTPROT_STATIC or ROUTE_BACKUP; RTN_UNICAST, RTN_THROW, … */

	/* By routes_find(). */
	bool explained; /* a connection of the running charon may need it */
	/* The source is, with all bits as its prefix length, an address of an interface, and neither a virtual address
	 * of an IKE_SA of the running charon nor the source of a static route that is explained: probably one that an
	 * earlier charon installed. "" if it is not. */
	char stale_address_on[IF_NAMESIZE];

	struct rtnl_route *object; /* all of it, for the door */
};

/* Whether this is one that xfrmctl made. */
bool route_is_backup(const struct route *route);

/* Whether this is a stand-in that leads to the gateway of others: to a single address, through no gateway. */
bool route_leads_to_gateway(const struct route *route);

/* Whether the gateway of `route` lies within the destination of `cover`. */
bool route_covers_gateway(const struct route *cover, const struct route *route);

/* The metric of the stand-in of a route: behind every real one, and in their order. -ERANGE when there is no room. */
int route_backup_metric(const struct route *route, uint32_t *ret);

/* Orders by what the kernel tells routes of one table apart by, and by protocol. */
int route_compare(const struct route *a, const struct route *b);

/* Whether these have the same destination and TOS, so that the one with the lower metric decides. */
bool route_competes(const struct route *a, const struct route *b);

/* The preferred source, with all its bits; for a route that has one. */
struct prefix route_source(const struct route *route);

/* Where a configuration sends packets through its tunnels: remote traffic selectors. Zeroed to begin with. */
struct route_targets {
	struct prefix *list;
	size_t n, allocated;
	bool dynamic; /* some are known only when the peer has its address */
};

/* Takes in one traffic selector. Those of a single protocol have no route and are left out. Errors: those of
 * traffic_selector_parse(), -ENOMEM. */
int route_targets_add(struct route_targets *targets, const char *text);

/* Takes in a network. -ENOMEM. */
int route_targets_add_prefix(struct route_targets *targets, const struct prefix *prefix);

/* To be called when all are in it, before the following. */
void route_targets_sort(struct route_targets *targets);

/* Whether a route may be of one of these: its destination lies within a selector (peers may narrow them), or is a
 * single address and there are dynamic ones. */
bool route_targets_explain(const struct route_targets *targets, const struct route *route);

void route_targets_free(struct route_targets *targets);
