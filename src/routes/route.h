/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Routes in charon's table, and which of them charon's configuration explains: those that one of its connections may
 * need. Pure.
 *
 * For each outbound policy of a tunnel, charon adds a route (protocol static) to a table of its own. The route's source
 * is an address of this host within the local traffic selector. So packets of the host itself get this source, and
 * match the policy. A backup route is a copy of such a route that xfrmctl adds. Its protocol number identifies it. Its
 * metric is higher than that of any real route: the kernel uses it only when the real route is absent. */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefix.h"

/* Number of charon's table, unless charon.routing_table sets another. */
#define ROUTE_TABLE 220

/* Protocol number (rtm_protocol) of a backup route. The kernel does not interpret the number, and iproute2's rt_protos
 * does not have it. */
#define ROUTE_BACKUP 88

/* Bit that is set in the metrics of backup routes. A real route whose metric is this number or higher can have no
 * backup route. */
#define ROUTE_METRIC 0x80000000U

/* Metric of a backup route that leads to the gateway of other backup routes. */
#define ROUTE_GATEWAY_METRIC UINT32_MAX

struct rtnl_route;

struct route {
	struct prefix dst;
	/* Preferred source, of the family of `dst`; set if `has_src`. */
	xfrm_address_t src;
	/* Gateway, of the family of `dst`; set if `has_gateway`. A route with several next hops has none here. */
	xfrm_address_t gateway;
	/* Whether `src` and `gateway` are set. */
	bool has_src, has_gateway;
	/* Name of the first next hop's device, or "". */
	char device[IF_NAMESIZE];
	/* Number of the table, and priority of the route in it. */
	uint32_t table, metric;
	/* Protocol number (RTPROT_STATIC for charon's routes, ROUTE_BACKUP for backup routes), TOS, and type
	 * (RTN_UNICAST, RTN_THROW, …). */
	uint8_t protocol, tos, type;

	/* Whether a connection of the running charon may need the route. Set by routes_find(). */
	bool explained;
	/* Name of the interface that has the source as a stale address, or "" if the source is not stale. The prefix
	 * length of a stale address covers all its bits. A stale address is no virtual address of an IKE_SA of the
	 * running charon, and no source of an explained static route. A previous instance has probably added it. Set by
	 * routes_find(). */
	char stale_address_on[IF_NAMESIZE];

	/* The complete route, for routes/netlink.h. */
	struct rtnl_route *object;
};

/* Returns whether xfrmctl has added the route as a backup route. */
bool route_is_backup(const struct route *route);

/* Returns whether this is a backup route that leads to the gateway of other backup routes. Its destination is a single
 * address, and it has no gateway. */
bool route_leads_to_gateway(const struct route *route);

/* Returns whether the gateway of `route` is within the destination of `cover`. */
bool route_covers_gateway(const struct route *cover, const struct route *route);

/* Computes the metric of the backup route of a route. It is higher than that of any real route, and keeps the order of
 * the routes. Returns 0, or -ERANGE if there is no such metric. */
int route_backup_metric(const struct route *route, uint32_t *ret);

/* Orders routes of one table by the properties that identify them to the kernel (destination, TOS, metric), and then by
 * protocol. Returns a number as for qsort(3). */
int route_compare(const struct route *a, const struct route *b);

/* Returns whether both routes have the same destination and TOS. If so, the kernel uses the one with the lower metric.
 */
bool route_competes(const struct route *a, const struct route *b);

/* Returns the preferred source of a route that has one, as a network of a single address. */
struct prefix route_source(const struct route *route);

/* Networks to which a configuration sends packets through its tunnels: its remote traffic selectors. The caller zeroes
 * it first. */
struct route_targets {
	struct prefix *list;
	size_t n, allocated;
	bool dynamic; /* whether one of the selectors is `dynamic` (see traffic_selector.h) */
};

/* Adds a traffic selector. Ignores one that is limited to a single protocol, since charon adds no route for it. Returns
 * 0, -ENOMEM, or an error of traffic_selector_parse(). */
int route_targets_add(struct route_targets *targets, const char *text);

/* Adds a network. Returns 0 or -ENOMEM. */
int route_targets_add_prefix(struct route_targets *targets, const struct prefix *prefix);

/* Sorts the networks. The caller does this after the last addition, and before it calls route_targets_explain(). */
void route_targets_sort(struct route_targets *targets);

/* Returns whether a route may be for one of these networks. It may be if its destination lies within one of them, since
 * peers may narrow selectors. A route to a single address may also be for a dynamic selector. */
bool route_targets_explain(const struct route_targets *targets, const struct route *route);

void route_targets_free(struct route_targets *targets);
