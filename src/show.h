/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Lists entries for people, in the manner of `ip xfrm`, and for programs, as JSON (xfrmctl(8) documents the names).
 * Keys of SAs are never shown. */

#include <linux/netlink.h>
#include <stdbool.h>

#include "entry.h"
#include "route.h"

/* Prints one entry on standard output. `message` is what the entry was decoded from. Returns 0 or a negative errno. */
int show_text(const struct entry *entry, const struct nlmsghdr *message);

/* Prints one entry as a JSON object, without a line break behind it. */
int show_json(const struct entry *entry, const struct nlmsghdr *message);

/* Prints a route: a line in the manner of `ip route`, or a JSON object without a line break behind it. Returns 0 or a
 * negative errno. */
int show_route(const struct route *route, bool json);
