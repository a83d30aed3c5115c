/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "routes/route.h"

/* Returns a route as a JSON object with the member names of `ip -j route`, or NULL for want of memory. Pure. Unlike ip,
 * it gives the prefix length of every destination and numbers a table. */
json_t *route_to_json(const struct route *route);

/* Prints a route: a line in the manner of `ip route`, or a JSON object without a line break behind it. Returns 0 or a
 * negative errno. */
int print_route(const struct route *route, bool json);
