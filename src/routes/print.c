/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "routes/print.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "ike/vici_message.h"
#include "xfrm/entry.h"

/* Size in bytes of a buffer for the number of a type of route. */
#define TYPE_MAX 4

/* Returns the name of a type of route (RTN_…) in `ip route`. Writes the number of an unknown type into `buffer`, and
 * returns that. */
static const char *type_name(uint8_t type, char buffer[TYPE_MAX])
{
	static const char *const names[] = {
		[RTN_UNSPEC] = "none",	       [RTN_UNICAST] = "unicast",	  [RTN_LOCAL] = "local",
		[RTN_BROADCAST] = "broadcast", [RTN_ANYCAST] = "anycast",	  [RTN_MULTICAST] = "multicast",
		[RTN_BLACKHOLE] = "blackhole", [RTN_UNREACHABLE] = "unreachable", [RTN_PROHIBIT] = "prohibit",
		[RTN_THROW] = "throw",
	};

	if (type < ARRAY_SIZE(names))
		return names[type];
	snprintf(buffer, TYPE_MAX, "%u", type);
	return buffer;
}

const char *route_describe(const struct route *route, char *buffer, size_t size)
{
	char dst[PREFIX_TEXT_MAX], gateway[INET6_ADDRSTRLEN], src[INET6_ADDRSTRLEN],
		metric[sizeof(" metric 4294967295")], type[TYPE_MAX];
	sa_family_t family = route->dst.family;
	bool plain = route->type == RTN_UNICAST;

	snprintf(metric, sizeof(metric), " metric %u", route->metric);
	snprintf(buffer, size, "%s%s%s%s%s%s%s%s%s%s", plain ? "" : type_name(route->type, type), plain ? "" : " ",
		 prefix_format(&route->dst, dst), route->has_gateway ? " via " : "",
		 route->has_gateway ? entry_address(family, &route->gateway, gateway) : "",
		 *route->device ? " dev " : "", route->device, route->has_src ? " src " : "",
		 route->has_src ? entry_address(family, &route->src, src) : "", route->metric ? metric : "");
	return buffer;
}

static void add_text(json_t *object, const char *name, const char *value)
{
	json_object_set_new(object, name, json_string(value));
}

static void add_address(json_t *object, const char *name, sa_family_t family, const xfrm_address_t *value)
{
	char text[INET6_ADDRSTRLEN];

	add_text(object, name, entry_address(family, value, text));
}

/* Adds the name of a device, which need not be UTF-8. */
static void add_device(json_t *object, const char *name, const char *value)
{
	char device[IF_NAMESIZE];

	add_text(object, name, vici_copy((struct vici_text){value, strlen(value)}, device, sizeof(device)));
}

json_t *route_to_json(const struct route *route)
{
	char dst[PREFIX_TEXT_MAX], type[TYPE_MAX];
	json_t *object = json_object();

	add_text(object, "type", type_name(route->type, type));
	add_text(object, "dst", prefix_format(&route->dst, dst));
	if (route->has_gateway)
		add_address(object, "gateway", route->dst.family, &route->gateway);
	if (*route->device)
		add_device(object, "dev", route->device);
	json_object_set_new(object, "table", json_integer(route->table));
	if (route->protocol == RTPROT_STATIC)
		add_text(object, "protocol", "static");
	else
		json_object_set_new(object, "protocol", json_sprintf("%u", route->protocol));
	if (route->has_src)
		add_address(object, "prefsrc", route->dst.family, &route->src);
	if (route->metric)
		json_object_set_new(object, "metric", json_integer(route->metric));
	return object;
}

int print_route(const struct route *route, bool json)
{
	json_auto_t *object = json ? route_to_json(route) : NULL;
	char text[ROUTE_DESCRIPTION_MAX];

	if (json)
		return !object ? -ENOMEM : json_dumpf(object, stdout, JSON_COMPACT) == 0 ? 0 : -EIO;
	printf("route %s table %" PRIu32 "%s\n", route_describe(route, text, sizeof(text)), route->table,
	       route_is_backup(route) ? " backup" : "");
	return 0;
}
