/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Lists entries for people, in the manner of `ip xfrm`, and for programs, as JSON (xfrmctl-json(5) documents the
 * names). Keys of SAs are never shown. */

#include <stdbool.h>

#include "xfrm/entry.h"

/* Prints an entry of a dump on standard output: lines in the manner of `ip xfrm`, or a JSON object without a line break
 * behind it. Returns 0 or a negative errno. */
int print_entry(const struct entry *entry, bool json);
