/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "routes/route.h"

/* Size in bytes of a buffer for any text of route_describe(). */
#define ROUTE_DESCRIPTION_MAX 256

/* Writes a one-line description in the format of `ip route` ("10.2.0.0/24 via 192.0.2.254 dev wan src 10.1.0.1 …").
 * `size` is not 0. Returns `buffer`. Pure. */
const char *route_describe(const struct route *route, char *buffer, size_t size);

/* Returns a route as a JSON object with the member names of `ip -j route`, or NULL if there is no memory. Differs from
 * ip in two points: each destination has a prefix length, and a table is a number. Pure. */
json_t *route_to_json(const struct route *route);

/* Prints a route: a line in the format of `ip route`, or a JSON object without a line break at its end. Returns 0 or a
 * negative errno. */
int print_route(const struct route *route, bool json);
