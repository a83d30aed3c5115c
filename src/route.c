/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry.h"
#include "util.h"

#define TARGET_TEXT_MAX 128

bool route_is_stand_in(const struct route *route)
{
	return route->protocol == ROUTE_STAND_IN;
}

bool route_leads_to_gateway(const struct route *route)
{
	return route_is_stand_in(route) && route->metric == ROUTE_GATEWAY_METRIC && !route->has_gateway &&
	       route->dst.length == route_address_bits(route->dst.family);
}

bool route_covers_gateway(const struct route *cover, const struct route *route)
{
	const struct match_prefix gateway = {.family = route->dst.family,
					     .length = route_address_bits(route->dst.family),
					     .address = route->gateway};

	return route->has_gateway && route_contains(&cover->dst, &gateway);
}

int route_stand_in_metric(const struct route *route, uint32_t *ret)
{
	if (route->metric >= ROUTE_METRIC)
		return -ERANGE;
	*ret = route->metric | ROUTE_METRIC;
	return 0;
}

uint8_t route_address_bits(sa_family_t family)
{
	return family == AF_INET ? 32 : 128;
}

static int compare_numbers(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

int route_compare_prefixes(const struct match_prefix *a, const struct match_prefix *b)
{
	int r = compare_numbers(a->family, b->family);

	if (r == 0)
		r = memcmp(a->address.a6, b->address.a6, sizeof(a->address.a6));
	return r ? r : compare_numbers(a->length, b->length);
}

int route_compare(const struct route *a, const struct route *b)
{
	int r = route_compare_prefixes(&a->dst, &b->dst);

	if (r == 0)
		r = compare_numbers(a->tos, b->tos);
	if (r == 0)
		r = compare_numbers(a->metric, b->metric);
	return r ? r : compare_numbers(a->protocol, b->protocol);
}

bool route_competes(const struct route *a, const struct route *b)
{
	return route_compare_prefixes(&a->dst, &b->dst) == 0 && a->tos == b->tos;
}

struct match_prefix route_source(const struct route *route)
{
	return (struct match_prefix){
		.family = route->dst.family, .length = route_address_bits(route->dst.family), .address = route->src};
}

const char *route_type_name(uint8_t type, char buffer[ROUTE_TYPE_MAX])
{
	static const char *const names[] = {
		[RTN_UNSPEC] = "none",	       [RTN_UNICAST] = "unicast",	  [RTN_LOCAL] = "local",
		[RTN_BROADCAST] = "broadcast", [RTN_ANYCAST] = "anycast",	  [RTN_MULTICAST] = "multicast",
		[RTN_BLACKHOLE] = "blackhole", [RTN_UNREACHABLE] = "unreachable", [RTN_PROHIBIT] = "prohibit",
		[RTN_THROW] = "throw",
	};

	if (type < ARRAY_SIZE(names))
		return names[type];
	snprintf(buffer, ROUTE_TYPE_MAX, "%u", type);
	return buffer;
}

const char *route_describe(const struct route *route, char *buffer, size_t size)
{
	char dst[INET6_ADDRSTRLEN], gateway[INET6_ADDRSTRLEN], src[INET6_ADDRSTRLEN],
		metric[sizeof(" metric 4294967295")], type[ROUTE_TYPE_MAX];
	sa_family_t family = route->dst.family;
	bool plain = route->type == RTN_UNICAST;

	snprintf(metric, sizeof(metric), " metric %u", route->metric);
	snprintf(buffer, size, "%s%s%s/%u%s%s%s%s%s%s%s", plain ? "" : route_type_name(route->type, type),
		 plain ? "" : " ", entry_address(family, &route->dst.address, dst), route->dst.length,
		 route->has_gateway ? " via " : "",
		 route->has_gateway ? entry_address(family, &route->gateway, gateway) : "",
		 *route->device ? " dev " : "", route->device, route->has_src ? " src " : "",
		 route->has_src ? entry_address(family, &route->src, src) : "", route->metric ? metric : "");
	return buffer;
}

static uint8_t *address_bytes(xfrm_address_t *address)
{
	return (uint8_t *)address;
}

/* How many bits at their beginning two addresses have in common, up to `max`. */
static uint8_t common_bits(const xfrm_address_t *a, const xfrm_address_t *b, uint8_t max)
{
	const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
	uint8_t n = 0;

	while (n < max && ((x[n / 8] ^ y[n / 8]) & (0x80 >> n % 8)) == 0)
		n++;
	return n;
}

static void clear_host_bits(struct match_prefix *prefix)
{
	for (unsigned int i = prefix->length; i < route_address_bits(prefix->family); i++)
		address_bytes(&prefix->address)[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
}

static int parse_address(const char *text, sa_family_t *family, xfrm_address_t *ret)
{
	*ret = (xfrm_address_t){0};
	*family = strchr(text, ':') ? AF_INET6 : AF_INET;
	return inet_pton(*family, text, ret) == 1 ? 0 : -EINVAL;
}

/* Reads "ADDRESS/LENGTH", "ADDRESS..ADDRESS" or "ADDRESS"; writes into `text`. */
static int parse_target(char *text, struct match_prefix *ret)
{
	char *slash = strchr(text, '/'), *dots = strstr(text, ".."), *end;
	xfrm_address_t last;
	sa_family_t family;

	if (slash)
		*slash = '\0';
	if (dots)
		*dots = '\0';
	if ((slash && dots) || parse_address(text, &ret->family, &ret->address) < 0)
		return -EINVAL;
	ret->length = route_address_bits(ret->family);
	if (slash) {
		unsigned long length = strtoul(slash + 1, &end, 10);
		if (slash[1] < '0' || slash[1] > '9' || *end || length > ret->length)
			return -EINVAL;
		ret->length = (uint8_t)length;
	}
	if (dots) {
		if (parse_address(dots + 2, &family, &last) < 0 || family != ret->family)
			return -EINVAL;
		ret->length = common_bits(&ret->address, &last, ret->length);
	}
	clear_host_bits(ret);
	return 0;
}

int route_parse_selector(const char *text, struct route_selector *ret)
{
	char buffer[TARGET_TEXT_MAX];

	*ret = (struct route_selector){0};
	if ((size_t)snprintf(buffer, sizeof(buffer), "%s", text) >= sizeof(buffer))
		return -EINVAL;
	char *protocol = strchr(buffer, '[');
	if (protocol) {
		ret->protocol = strncmp(protocol, "[0", 2) != 0;
		*protocol = '\0';
	}
	ret->dynamic = strcmp(buffer, "dynamic") == 0;
	return ret->dynamic ? 0 : parse_target(buffer, &ret->prefix);
}

int route_targets_add(struct route_targets *targets, const char *text)
{
	struct route_selector selector;

	int r = route_parse_selector(text, &selector);
	/* add_policy() in kernel_netlink_ipsec.c; a range of ports alone may still have a route there. */
	if (selector.protocol)
		return 0;
	if (r == 0 && selector.dynamic) {
		targets->dynamic = true;
		return 0;
	}
	return r < 0 ? r : route_targets_add_prefix(targets, &selector.prefix);
}

int route_targets_add_prefix(struct route_targets *targets, const struct match_prefix *prefix)
{
	struct match_prefix *list = grow(targets->list, targets->n, &targets->allocated, sizeof(*list));

	if (!list)
		return -ENOMEM;
	targets->list = list;
	list[targets->n++] = *prefix;
	return 0;
}

bool route_contains(const struct match_prefix *outer, const struct match_prefix *inner)
{
	return outer->family == inner->family && outer->length <= inner->length &&
	       common_bits(&outer->address, &inner->address, outer->length) == outer->length;
}

static int compare_for_sort(const void *a, const void *b)
{
	return route_compare_prefixes(a, b);
}

/* Networks lie within each other or apart. Without those within others, a single one can contain a given address: the
 * last that begins at or before it. */
void route_targets_sort(struct route_targets *targets)
{
	size_t n = 0;

	if (!targets->n)
		return;
	qsort(targets->list, targets->n, sizeof(*targets->list), compare_for_sort);
	for (size_t i = 1; i < targets->n; i++)
		if (!route_contains(&targets->list[n], &targets->list[i]))
			targets->list[++n] = targets->list[i];
	targets->n = n + 1;
}

bool route_targets_explain(const struct route_targets *targets, const struct route *route)
{
	size_t first = 0, behind = targets->n;

	if (targets->dynamic && route->dst.length == route_address_bits(route->dst.family))
		return true;
	while (first < behind) {
		size_t middle = first + (behind - first) / 2;
		if (route_compare_prefixes(&targets->list[middle], &route->dst) <= 0)
			first = middle + 1;
		else
			behind = middle;
	}
	return first && route_contains(&targets->list[first - 1], &route->dst);
}

void route_targets_free(struct route_targets *targets)
{
	free(targets->list);
	*targets = (struct route_targets){0};
}
