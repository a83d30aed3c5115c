/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the running charon has routes, and addresses, for. */

#include "ike/vici.h"
#include "routes/route.h"

struct explanation {
	struct route_targets targets;	/* remote traffic selectors */
	struct route_targets addresses; /* that it has use for: virtual ones, and sources of its routes */
};

/* The commands `list-conns`, `list-policies` and `list-sas`. The targets are sorted, the addresses are not. */
int explanation_ask(struct vici *vici, uint64_t deadline, struct explanation *ret);
void explanation_free(struct explanation *explanation);
