/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "routes/route.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "ike/traffic_selector.h"

bool route_is_backup(const struct route *route)
{
	return route->protocol == ROUTE_BACKUP;
}

bool route_leads_to_gateway(const struct route *route)
{
	return route_is_backup(route) && route->metric == ROUTE_GATEWAY_METRIC && !route->has_gateway &&
	       route->dst.length == prefix_max_length(route->dst.family);
}

bool route_covers_gateway(const struct route *cover, const struct route *route)
{
	const struct prefix gateway = prefix_of_address(route->dst.family, &route->gateway);

	return route->has_gateway && prefix_contains(&cover->dst, &gateway);
}

int route_backup_metric(const struct route *route, uint32_t *ret)
{
	if (route->metric >= ROUTE_METRIC)
		return -ERANGE;
	*ret = route->metric | ROUTE_METRIC;
	return 0;
}

int route_compare(const struct route *a, const struct route *b)
{
	int r = prefix_compare(&a->dst, &b->dst);

	if (r == 0)
		r = compare_u32(a->tos, b->tos);
	if (r == 0)
		r = compare_u32(a->metric, b->metric);
	return r ? r : compare_u32(a->protocol, b->protocol);
}

bool route_competes(const struct route *a, const struct route *b)
{
	return prefix_compare(&a->dst, &b->dst) == 0 && a->tos == b->tos;
}

struct prefix route_source(const struct route *route)
{
	return prefix_of_address(route->dst.family, &route->src);
}

int route_targets_add(struct route_targets *targets, const char *text)
{
	struct traffic_selector selector;

	int r = traffic_selector_parse(text, &selector);
	/* charon adds no route for a single protocol (add_policy() in kernel_netlink_ipsec.c). It may add one for a
	 * selector that is limited to ports only. */
	if (selector.protocol)
		return 0;
	if (r == 0 && selector.dynamic) {
		targets->dynamic = true;
		return 0;
	}
	return r < 0 ? r : route_targets_add_prefix(targets, &selector.prefix);
}

int route_targets_add_prefix(struct route_targets *targets, const struct prefix *prefix)
{
	return APPEND(targets, *prefix);
}

static int compare_for_sort(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

/* Drops each network that is within another one. The others are disjoint, so at most one of them can contain an
 * address: the last one that begins at or before the address. */
void route_targets_sort(struct route_targets *targets)
{
	size_t n = 0;

	if (!targets->n)
		return;
	qsort(targets->list, targets->n, sizeof(*targets->list), compare_for_sort);
	for (size_t i = 1; i < targets->n; i++)
		if (!prefix_contains(&targets->list[n], &targets->list[i]))
			targets->list[++n] = targets->list[i];
	targets->n = n + 1;
}

bool route_targets_explain(const struct route_targets *targets, const struct route *route)
{
	const struct prefix *dst = &route->dst, *list = targets->list;
	size_t i = lower_bound(dst, list, targets->n, sizeof(*list), compare_for_sort);

	return (targets->dynamic && dst->length == prefix_max_length(dst->family)) ||
	       (i < targets->n && prefix_contains(&list[i], dst)) || (i && prefix_contains(&list[i - 1], dst));
}

void route_targets_free(struct route_targets *targets)
{
	free(targets->list);
	*targets = (struct route_targets){0};
}
