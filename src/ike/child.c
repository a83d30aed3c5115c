/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/child.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "ike/traffic_selector.h"

/* Points in children_score(): for a child that fits at all, and for selectors equal to those of the SA. An end point
 * scores if the configuration allows its address (ANY), and scores more if the configuration names the address (NAMED).
 */
#define SCORE_FITS 1U
#define SCORE_SAME_SELECTORS 1U
#define SCORE_END_POINT_ANY 2U
#define SCORE_END_POINT_NAMED 4U

static int add_network(struct children_networks *networks, const struct prefix *prefix)
{
	return APPEND(networks, *prefix);
}

int children_add_connection(struct children *children, const char *name)
{
	struct children_connection *list =
		grow(children->connections, children->n_connections, &children->allocated_connections, sizeof(*list));

	if (!list)
		return -ENOMEM;
	children->connections = list;
	list[children->n_connections] = (struct children_connection){.name = strdup(name)};
	return list[children->n_connections++].name ? 0 : -ENOMEM;
}

static bool is_unspecified(const struct prefix *prefix)
{
	static const xfrm_address_t none;

	return memcmp(prefix->address.a6, none.a6, sizeof(none.a6)) == 0;
}

/* Returns whether a text is a range, such as "192.0.2.1-192.0.2.9". charon writes ranges as the configuration has them
 * (ike_cfg.c). Host names can contain a '-' too, so only a text with an address before the '-' is a range. */
static bool is_range(const char *text)
{
	char first[INET6_ADDRSTRLEN + 1];
	struct traffic_selector selector;
	const char *dash = strchr(text, '-');

	if (!dash || (size_t)(dash - text) >= sizeof(first))
		return false;
	snprintf(first, sizeof(first), "%.*s", (int)(dash - text), text);
	return traffic_selector_parse(first, &selector) == 0 && !selector.dynamic;
}

int children_add_address(struct children *children, size_t side, const char *text)
{
	struct children_connection *connection = &children->connections[children->n_connections - 1];
	struct traffic_selector selector;

	if (strcmp(text, "%any") == 0 || strcmp(text, "%any4") == 0 || strcmp(text, "%any6") == 0) {
		connection->addresses[side].any = true;
		return 0;
	}
	if (is_range(text)) {
		connection->addresses[side].any = true;
		return 0;
	}
	if (traffic_selector_parse(text, &selector) < 0 || selector.dynamic) {
		/* This is a host name. charon resolves it when it needs the address. */
		connection->addresses[side].any = true;
		connection->can_initiate |= side == CHILDREN_REMOTE;
		return 0;
	}
	if (is_unspecified(&selector.prefix)) {
		connection->addresses[side].any = true;
		return 0;
	}
	connection->can_initiate |= side == CHILDREN_REMOTE && !strchr(text, '/') && !strstr(text, "..");
	return add_network(&connection->addresses[side], &selector.prefix);
}

int children_add(struct children *children, const char *name)
{
	struct child *list = grow(children->list, children->n, &children->allocated, sizeof(*list));

	if (!list)
		return -ENOMEM;
	children->list = list;
	list[children->n] = (struct child){.name = strdup(name), .connection = children->n_connections - 1};
	return list[children->n++].name ? 0 : -ENOMEM;
}

int children_add_selector(struct children *children, size_t side, const char *text)
{
	struct children_networks *selectors = &children->list[children->n - 1].selectors[side];
	struct traffic_selector selector;

	int r = traffic_selector_parse(text, &selector);
	if (r < 0)
		return r;
	if (!selector.dynamic)
		return add_network(selectors, &selector.prefix);
	selectors->any = true;
	return 0;
}

void children_set_mode(struct children *children, const char *text)
{
	children->list[children->n - 1].shunt = strcmp(text, "PASS") == 0 || strcmp(text, "DROP") == 0;
}

void children_free(struct children *children)
{
	for (size_t i = 0; i < children->n_connections; i++) {
		for (size_t side = 0; side < CHILDREN_SIDES; side++)
			free(children->connections[i].addresses[side].list);
		free(children->connections[i].name);
	}
	for (size_t i = 0; i < children->n; i++) {
		for (size_t side = 0; side < CHILDREN_SIDES; side++)
			free(children->list[i].selectors[side].list);
		free(children->list[i].name);
	}
	free(children->connections);
	free(children->list);
	*children = (struct children){0};
}

/* Returns whether a network is within one of `networks`. Sets `same` if it is equal to one of them. */
static bool is_within(const struct children_networks *networks, const struct prefix *network, bool *same)
{
	bool within = networks->any;

	for (size_t i = 0; i < networks->n; i++) {
		if (!prefix_contains(&networks->list[i], network))
			continue;
		within = true;
		*same |= networks->list[i].length == network->length;
	}
	return within;
}

/* Returns the points of an end point. */
static unsigned int score_end_point(const struct children_networks *addresses, const struct prefix *address)
{
	bool same = false;

	/* Without configured addresses (local_addrs), charon uses any address that fits. */
	if (!is_within(addresses, address, &same))
		return addresses->n ? 0 : SCORE_END_POINT_ANY;
	return same ? SCORE_END_POINT_NAMED : SCORE_END_POINT_ANY;
}

unsigned int children_score(const struct children *children, const struct child *child,
			    const struct prefix end_points[CHILDREN_SIDES], const struct children_pair *pairs, size_t n)
{
	const struct children_connection *connection = &children->connections[child->connection];
	unsigned int score = SCORE_FITS;
	bool all_same = true;

	for (size_t i = 0; i < n; i++)
		for (size_t side = 0; side < CHILDREN_SIDES; side++) {
			bool same = child->selectors[side].any;

			if (!is_within(&child->selectors[side], &pairs[i].networks[side], &same))
				return 0;
			all_same &= same;
		}
	if (all_same)
		score += SCORE_SAME_SELECTORS;
	for (size_t side = 0; side < CHILDREN_SIDES; side++)
		score += score_end_point(&connection->addresses[side], &end_points[side]);
	return score;
}

/* Returns whether two sets have the same networks in the same order. */
static bool is_same(const struct children_networks *a, const struct children_networks *b)
{
	bool same = a->any == b->any && a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = prefix_compare(&a->list[i], &b->list[i]) == 0;
	return same;
}

bool children_may_share(const struct children_connection *a, const struct children_connection *b)
{
	return is_same(&a->addresses[CHILDREN_LOCAL], &b->addresses[CHILDREN_LOCAL]) &&
	       is_same(&a->addresses[CHILDREN_REMOTE], &b->addresses[CHILDREN_REMOTE]);
}
