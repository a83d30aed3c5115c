/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <linux/rtnetlink.h>

#include "routes/print.h"
#include "routes/route.h"

static struct route make_route(const char *dst, uint32_t metric, uint8_t protocol)
{
	struct route route = {.table = ROUTE_TABLE, .metric = metric, .protocol = protocol, .type = RTN_UNICAST};

	route.dst.family = family_of(dst);
	route.dst.length = split_prefix(dst, &route.dst.address);
	return route;
}

/* Selectors of a configuration, and the routes that they explain. */

static const struct explained_row {
	const char *name;
	const char *targets[4];
	const char *dst;
	bool explained;
} explained_rows[] = {
	{"nothing explains nothing", {NULL}, "10.2.0.0/24", false},
	{"the same network", {"10.2.0.0/24"}, "10.2.0.0/24", true},
	{"a network within", {"10.2.0.0/16"}, "10.2.7.0/24", true},
	{"the first within", {"10.2.0.0/16"}, "10.2.0.0/32", true},
	{"the last within", {"10.2.0.0/16"}, "10.2.255.255/32", true},
	{"one behind", {"10.2.0.0/16"}, "10.3.0.0/24", false},
	{"one before", {"10.2.0.0/16"}, "10.1.255.0/24", false},
	{"a network around", {"10.2.0.0/24"}, "10.2.0.0/16", false},
	{"everything", {"0.0.0.0/0"}, "203.0.113.0/24", true},
	{"everything explains the default route", {"0.0.0.0/0"}, "0.0.0.0/0", true},
	{"everything of the other family", {"0.0.0.0/0"}, "fd00:2::/64", false},
	{"everything of IPv6", {"::/0"}, "fd00:2::/64", true},
	{"no address of IPv4 in IPv6", {"::/0"}, "0.0.0.0/0", false},
	{"bits behind the length do not matter", {"10.2.3.4/16"}, "10.2.7.0/24", true},
	{"IPv6", {"fd00:2::/48"}, "fd00:2:0:7::/64", true},
	{"IPv6, one behind", {"fd00:2::/48"}, "fd00:2:1::/64", false},
	{"an address alone", {"10.2.0.1"}, "10.2.0.1/32", true},
	{"one of several", {"10.9.0.0/24", "10.2.0.0/24", "fd00:2::/64"}, "10.2.0.0/24", true},
	{"the last of several", {"10.2.0.0/24", "fd00:2::/64", "10.9.0.0/24"}, "fd00:2::/64", true},
	{"between several", {"10.1.0.0/24", "10.3.0.0/24"}, "10.2.0.0/24", false},
	/* Of the networks that begin before the route, the last one does not contain it. */
	{"behind one within another", {"10.0.0.0/8", "10.1.0.0/16"}, "10.2.0.0/24", true},
	{"behind one within another, other order", {"10.1.0.0/16", "10.0.0.0/8"}, "10.2.0.0/24", true},
	{"in one within another", {"10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/24"}, "10.1.0.0/24", true},
	{"the same twice", {"10.1.0.0/16", "10.1.0.0/16"}, "10.1.2.0/24", true},

	{"a range that is a network", {"10.2.0.0..10.2.0.255"}, "10.2.0.0/24", true},
	{"a range counts as the network around it", {"10.2.0.3..10.2.0.9"}, "10.2.0.0/28", true},
	{"and no more", {"10.2.0.3..10.2.0.9"}, "10.2.0.0/24", false},
	{"a range of one", {"10.2.0.3..10.2.0.3"}, "10.2.0.3/32", true},
	{"a range of IPv6", {"fd00:2::..fd00:2::ffff"}, "fd00:2::/112", true},

	{"of a protocol", {"10.2.0.0/24[tcp]"}, "10.2.0.0/24", false},
	{"of a protocol by number", {"10.2.0.0/24[132]"}, "10.2.0.0/24", false},
	{"of a port", {"10.2.0.0/24[tcp/http]"}, "10.2.0.0/24", false},
	{"of ports alone", {"10.2.0.0/24[0/1024-65535]"}, "10.2.0.0/24", true},
	{"beside one of a protocol", {"10.2.0.0/24[tcp]", "10.2.0.0/24"}, "10.2.0.0/24", true},

	{"dynamic, an address", {"dynamic"}, "10.9.0.1/32", true},
	{"dynamic, an address of IPv6", {"dynamic"}, "2001:db8::7/128", true},
	{"dynamic, a network", {"dynamic"}, "10.9.0.0/24", false},
	{"dynamic, a network of IPv6 as long as an address of IPv4", {"dynamic"}, "2001:db8::/32", false},
	{"dynamic of a protocol", {"dynamic[udp/l2tp]"}, "10.9.0.1/32", false},
	{"an address without dynamic", {"10.2.0.0/24"}, "10.9.0.1/32", false},
};

static void explains(void **state)
{
	const struct explained_row *row = *state;
	const struct route route = make_route(row->dst, 0, RTPROT_STATIC);
	struct route_targets targets = {0};

	for (size_t i = 0; i < ARRAY_SIZE(row->targets) && row->targets[i]; i++)
		assert_int_equal(route_targets_add(&targets, row->targets[i]), 0);
	route_targets_sort(&targets);
	assert_int_equal(route_targets_explain(&targets, &route), row->explained);
	route_targets_free(&targets);
	assert_null(targets.list);
}

static const struct refused_row {
	const char *name;
} refused_rows[] = {
	{""},
	{"x"},
	{"10.2.0.0/33"},
	{"10.2.0.0/-1"},
	{"10.2.0.0/+8"},
	{"10.2.0.0/"},
	{"10.2.0.0/8x"},
	{"10.2.0.0/ 8"},
	{"10.2.0.0/99999999999999999999"},
	{"fd00::/129"},
	{"10.2.0/24"},
	{"10.2.0.0.."},
	{"..10.2.0.0"},
	{"10.2.0.0..fd00::"},
	{"10.2.0.0/24..10.2.0.9"},
	{"10.2.0.0..10.2.0.0/24"},
	{"fd00::%eth0/64"},
	{"dynamic/32"},
	{"10.2.0.0/24 "},
	{"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
	 "000000"
	 "0000000000000000000000000000000000000000"},
};

static void refuses(void **state)
{
	const struct refused_row *row = *state;
	struct route_targets targets = {0};

	assert_int_equal(route_targets_add(&targets, row->name), -EINVAL);
	assert_int_equal(targets.n, 0);
	assert_false(targets.dynamic);
	route_targets_free(&targets);
}

/* Checks as many selectors as a large gateway has, half of them nested, against a comparison with each selector. */
static void explains_many(void **state)
{
	struct route_targets targets = {0};
	char text[64];

	(void)state;
	for (unsigned int i = 0; i < 1024; i++) {
		unsigned int scattered = i * 2654435761U % 1024;
		snprintf(text, sizeof(text), "10.%u.%u.%u/%u", scattered / 32, scattered % 32 * 8, i % 2,
			 i % 2 ? 32 : 24);
		assert_int_equal(route_targets_add(&targets, text), 0);
	}
	route_targets_sort(&targets);
	for (unsigned int a = 0; a < 32; a++)
		for (unsigned int b = 0; b < 256; b++) {
			bool expected = false;
			struct route route;

			snprintf(text, sizeof(text), "10.%u.%u.1/32", a, b);
			route = make_route(text, 0, RTPROT_STATIC);
			for (size_t i = 0; i < targets.n; i++) {
				struct route_targets one = {.list = &targets.list[i], .n = 1};
				expected |= route_targets_explain(&one, &route);
			}
			assert_int_equal(route_targets_explain(&targets, &route), expected);
		}
	route_targets_free(&targets);
}

/* Backup routes. */

static const struct metric_row {
	const char *name;
	uint32_t metric;
	int r;
	uint32_t backup;
} metric_rows[] = {
	{"IPv4's default", 0, 0, 0x80000000},
	{"IPv6's default", 1024, 0, 0x80000400},
	{"the last that has one", 0x7fffffff, 0, 0xffffffff},
	{"the first that has none", 0x80000000, -ERANGE, 0},
	{"the last", 0xffffffff, -ERANGE, 0},
};

static void stands_behind(void **state)
{
	const struct metric_row *row = *state;
	const struct route route = make_route("10.2.0.0/24", row->metric, RTPROT_STATIC);
	uint32_t metric = 0;

	assert_int_equal(route_backup_metric(&route, &metric), row->r);
	assert_int_equal(metric, row->backup);
}

static void knows_backups(void **state)
{
	const struct route route = make_route("10.2.0.0/24", 0, RTPROT_STATIC);
	const struct route backup = make_route("10.2.0.0/24", 0, ROUTE_BACKUP);

	(void)state;
	assert_false(route_is_backup(&route));
	assert_true(route_is_backup(&backup));
}

/* Checks that each route is ordered before the next one. */
static void orders(void **state)
{
	struct route routes[] = {
		make_route("0.0.0.0/0", 0, RTPROT_STATIC),     make_route("10.0.0.0/8", 7, RTPROT_STATIC),
		make_route("10.0.0.0/16", 0, RTPROT_BOOT),     make_route("10.0.0.0/16", 0, RTPROT_STATIC),
		make_route("10.0.0.0/16", 1, RTPROT_STATIC),   make_route("10.0.0.0/16", 0x80000000, ROUTE_BACKUP),
		make_route("10.0.0.0/16", 0, RTPROT_STATIC),   make_route("10.1.0.0/8", 0, RTPROT_STATIC),
		make_route("200.0.0.0/8", 0, RTPROT_STATIC),   make_route("::/0", 0, RTPROT_STATIC),
		make_route("2001:db8::/32", 1, RTPROT_STATIC),
	};

	(void)state;
	routes[6].tos = 8;
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		for (size_t j = 0; j < ARRAY_SIZE(routes); j++) {
			int r = route_compare(&routes[i], &routes[j]);
			assert_int_equal((r > 0) - (r < 0), (i > j) - (i < j));
		}
}

static const struct competes_row {
	const char *name;
	const char *a, *b;
	uint8_t tos;
	bool competes;
} competes_rows[] = {
	{"the same", "10.2.0.0/24", "10.2.0.0/24", 0, true},
	{"another network", "10.2.0.0/24", "10.2.1.0/24", 0, false},
	{"another length", "10.2.0.0/24", "10.2.0.0/25", 0, false},
	{"another TOS", "10.2.0.0/24", "10.2.0.0/24", 8, false},
	{"another family", "0.0.0.0/0", "::/0", 0, false},
};

static void competes(void **state)
{
	const struct competes_row *row = *state;
	const struct route a = make_route(row->a, 0, RTPROT_STATIC);
	struct route b = make_route(row->b, 0x80000000, ROUTE_BACKUP);

	b.tos = row->tos;
	assert_int_equal(route_competes(&a, &b), row->competes);
}

/* Descriptions. */

static struct route whole_route(const char *dst, const char *gateway, const char *src, uint32_t metric)
{
	struct route route = make_route(dst, metric, RTPROT_STATIC);

	route.has_gateway = route.has_src = true;
	route.gateway = make_address(gateway);
	route.src = make_address(src);
	strcpy(route.device, "wan");
	return route;
}

static void describes(void **state)
{
	struct route whole = whole_route("10.2.0.0/24", "192.0.2.254", "10.1.0.1", 0);
	struct route bare = make_route("10.3.0.0/24", 0, RTPROT_STATIC);
	struct route v6 = whole_route("fd00:2::/64", "2001:db8:1::fe", "fd00:1::1", 1024);
	char text[ROUTE_DESCRIPTION_MAX];

	(void)state;
	bare.type = RTN_THROW;
	assert_string_equal(route_describe(&whole, text, sizeof(text)),
			    "10.2.0.0/24 via 192.0.2.254 dev wan src 10.1.0.1");
	assert_string_equal(route_describe(&bare, text, sizeof(text)), "throw 10.3.0.0/24");
	bare.type = RTN_UNREACHABLE;
	assert_string_equal(route_describe(&bare, text, sizeof(text)), "unreachable 10.3.0.0/24");
	/* A type of a later kernel. */
	bare.type = 200;
	assert_string_equal(route_describe(&bare, text, sizeof(text)), "200 10.3.0.0/24");
	assert_string_equal(route_describe(&v6, text, sizeof(text)),
			    "fd00:2::/64 via 2001:db8:1::fe dev wan src fd00:1::1 metric 1024");
}

static void write_description(char *buffer, size_t size, const void *route)
{
	assert_ptr_equal(route_describe(route, buffer, size), buffer);
}

static void description_fits(void **state)
{
	const char *longest = "2001:db8:1111:2222:3333:4444:5555:6666";
	struct route route = whole_route("2001:db8:1111:2222:3333:4444:5555:6666/128", longest, longest, UINT32_MAX);

	(void)state;
	route.type = RTN_THROW;
	strcpy(route.device, "fifteen-letters");
	check_text_fits(write_description, &route, ROUTE_DESCRIPTION_MAX);
}

static void sources(void **state)
{
	const struct route v4 = whole_route("10.2.0.0/24", "192.0.2.254", "10.1.0.1", 0);
	const struct route v6 = whole_route("fd00:2::/64", "2001:db8:1::fe", "fd00:1::1", 1024);

	const struct prefix source4 = route_source(&v4), source6 = route_source(&v6);

	(void)state;
	assert_int_equal(source4.length, 32);
	assert_int_equal(source6.length, 128);
	assert_memory_equal(&source6.address, &v6.src, sizeof(v6.src));
}

static const struct gateway_row {
	const char *name;
	const char *dst, *gateway;
	bool covered, leads;
} gateway_rows[] = {
	{"by everything", "::/0", "2001:db8::1", true, false},
	{"by its network", "2001:db8::/32", "2001:db8::1", true, false},
	{"by itself", "2001:db8::1/128", "2001:db8::1", true, true},
	{"not by another address", "2001:db8::2/128", "2001:db8::1", false, true},
	{"not by everything of the other family", "0.0.0.0/0", "2001:db8::1", false, false},
	{"IPv4, by itself", "10.8.0.2/32", "10.8.0.2", true, true},
	{"IPv4, not by a network of IPv6", "2001:db8::/32", "10.8.0.2", false, false},
};

static void covers_gateway(void **state)
{
	const struct gateway_row *row = *state;
	struct route cover = make_route(row->dst, ROUTE_GATEWAY_METRIC, ROUTE_BACKUP);
	struct route route = make_route(strchr(row->gateway, ':') ? "fd00:2::/64" : "10.2.0.0/24", 0, RTPROT_STATIC);

	assert_false(route_covers_gateway(&cover, &route));
	route.has_gateway = true;
	route.gateway = make_address(row->gateway);
	assert_int_equal(route_covers_gateway(&cover, &route), row->covered);

	assert_int_equal(route_leads_to_gateway(&cover), row->leads);
	cover.metric--;
	assert_false(route_leads_to_gateway(&cover));
	cover.metric++;
	cover.has_gateway = true;
	assert_false(route_leads_to_gateway(&cover));
	cover.has_gateway = false;
	cover.protocol = RTPROT_STATIC;
	assert_false(route_leads_to_gateway(&cover));
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, explains, explained_rows);
	ADD_ROWS(&cases, refuses, refused_rows);
	ADD_CASE(&cases, explains_many);
	ADD_ROWS(&cases, stands_behind, metric_rows);
	ADD_CASE(&cases, knows_backups);
	ADD_CASE(&cases, orders);
	ADD_ROWS(&cases, competes, competes_rows);
	ADD_CASE(&cases, describes);
	ADD_CASE(&cases, description_fits);
	ADD_CASE(&cases, sources);
	ADD_ROWS(&cases, covers_gateway, gateway_rows);
	return cmocka_run_group_tests_name("route", cases.list, NULL, NULL);
}
