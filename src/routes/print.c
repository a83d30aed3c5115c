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

static void put_json(json_t **json)
{
	json_decref(*json);
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

/* A device's name need not be UTF-8. */
static void add_device(json_t *object, const char *name, const char *value)
{
	char device[IF_NAMESIZE];

	add_text(object, name, vici_copy((struct vici_text){value, strlen(value)}, device, sizeof(device)));
}

json_t *route_to_json(const struct route *route)
{
	char text[INET6_ADDRSTRLEN], type[ROUTE_TYPE_MAX];
	json_t *object = json_object();

	add_text(object, "type", route_type_name(route->type, type));
	json_object_set_new(
		object, "dst",
		json_sprintf("%s/%u", entry_address(route->dst.family, &route->dst.address, text), route->dst.length));
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

static int print_route_json(const struct route *route)
{
	CLEANUP(put_json) json_t *object = route_to_json(route);

	if (!object)
		return -ENOMEM;
	return json_dumpf(object, stdout, JSON_COMPACT) == 0 ? 0 : -EIO;
}

int print_route(const struct route *route, bool json)
{
	char text[ROUTE_DESCRIPTION_MAX];

	if (json)
		return print_route_json(route);
	printf("route %s table %" PRIu32 "%s\n", route_describe(route, text, sizeof(text)), route->table,
	       route_is_backup(route) ? " stand-in" : "");
	return 0;
}
