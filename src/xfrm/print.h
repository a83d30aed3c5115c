/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Prints entries like `ip xfrm`, or as JSON. xfrmctl-json(5) documents the names in the JSON. The keys of SAs are never
 * printed. */

#include <stdbool.h>

#include "xfrm/entry.h"

/* Prints an entry of a dump on standard output: lines like those of `ip xfrm`, or a JSON object without a line break at
 * its end. Returns 0 or a negative errno. */
int print_entry(const struct entry *entry, bool json);
