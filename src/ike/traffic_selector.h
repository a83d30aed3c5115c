/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Traffic selectors as charon writes them over VICI: "10.2.0.0/24", "10.2.0.3..10.2.0.9", "dynamic", each perhaps with
 * "[tcp/80]" behind it. Pure. */

#include <stdbool.h>

#include "base/prefix.h"

struct traffic_selector {
	struct prefix prefix; /* of a range the smallest network around it, as charon makes its policies */
	bool dynamic;	      /* known only when the peer has its address; `prefix` is not set then */
	bool protocol;	      /* it is of a single protocol */
};

/* Parses one traffic selector. Returns 0, or -EINVAL for text that is none. */
int traffic_selector_parse(const char *text, struct traffic_selector *ret);
