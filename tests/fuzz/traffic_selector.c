/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks that any text is read as an address or a traffic selector of charon's configuration, or is refused. The
 * prefixes that are read must be valid. */

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "fuzz.h"
#include "ike/child.h"
#include "ike/traffic_selector.h"
#include "routes/print.h"
#include "routes/route.h"

static void check_prefix(const struct prefix *prefix)
{
	const uint8_t *bytes = (const uint8_t *)&prefix->address;
	unsigned int bits = prefix->family == AF_INET ? 32 : 128;

	CHECK(prefix->family == AF_INET || prefix->family == AF_INET6);
	CHECK(prefix->length <= bits && prefix_contains(prefix, prefix));
	for (unsigned int bit = prefix->length; bit < 128; bit++)
		CHECK(!(bytes[bit / 8] & 0x80 >> bit % 8));
}

static void check_route(const struct prefix *prefix, struct route_targets *targets)
{
	const struct route route = {.dst = *prefix};
	char description[ROUTE_DESCRIPTION_MAX];

	route_targets_sort(targets);
	CHECK(route_targets_explain(targets, &route));
	CHECK(route_compare(&route, &route) == 0 && route_competes(&route, &route));
	CHECK(strlen(route_describe(&route, description, sizeof(description))) < sizeof(description) - 1);
}

static void check_children(const char *text, const struct traffic_selector *selector)
{
	CLEANUP(children_free) struct children children = {0};
	struct prefix any[CHILDREN_SIDES] = {{.family = AF_INET, .length = 32}, {.family = AF_INET, .length = 32}};
	struct children_pair pair = {{any[0], any[1]}};

	CHECK(children_add_connection(&children, text) == 0 && children_add(&children, text) == 0);
	for (size_t side = 0; side < CHILDREN_SIDES; side++) {
		CHECK(children_add_address(&children, side, text) == 0);
		CHECK(children_add_selector(&children, side, text) == (selector ? 0 : -EINVAL));
		if (selector && !selector->dynamic)
			pair.networks[side] = selector->prefix;
	}
	unsigned int score = children_score(&children, &children.list[0], any, &pair, 1);
	CHECK(selector ? score > 0 : score == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(route_targets_free) struct route_targets targets = {0};
	CLEANUP(free_text) char *text = fuzz_text(data, size);
	struct traffic_selector selector;

	int r = traffic_selector_parse(text, &selector);
	CHECK(r == 0 || r == -EINVAL);
	check_children(text, r == 0 ? &selector : NULL);
	int added = route_targets_add(&targets, text);
	CHECK(added == r || (added == 0 && selector.protocol));
	if (r == 0 && !selector.dynamic) {
		check_prefix(&selector.prefix);
		if (!selector.protocol)
			check_route(&selector.prefix, &targets);
	}
	return 0;
}
