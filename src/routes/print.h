/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "routes/route.h"

/* Long enough for every answer of route_describe(). */
#define ROUTE_DESCRIPTION_MAX 256

/* Writes a one-line description in the manner of `ip route` ("10.2.0.0/24 via 192.0.2.254 dev wan src 10.1.0.1 …");
 * returns `buffer`. `size` is not 0. Pure. */
const char *route_describe(const struct route *route, char *buffer, size_t size);

/* Returns a route as a JSON object with the member names of `ip -j route`, or NULL for want of memory. Pure. Unlike ip,
 * it gives the prefix length of every destination and numbers a table. */
json_t *route_to_json(const struct route *route);

/* Prints a route: a line in the manner of `ip route`, or a JSON object without a line break behind it. Returns 0 or a
 * negative errno. */
int print_route(const struct route *route, bool json);
