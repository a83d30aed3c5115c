/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Lists entries for people, in the manner of `ip xfrm`, and for programs, as JSON (xfrmctl-json(5) documents the names).
 * Keys of SAs are never shown. */

#include <linux/netlink.h>

#include "xfrm/entry.h"

/* Prints one entry on standard output. `message` is what the entry was decoded from. Returns 0 or a negative errno. */
int print_entry_text(const struct entry *entry, const struct nlmsghdr *message);

/* Prints one entry as a JSON object, without a line break behind it. */
int print_entry_json(const struct entry *entry, const struct nlmsghdr *message);
