/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Asks the running charon for the networks to which it needs routes, and for the addresses that it uses. */

#include "ike/vici.h"
#include "routes/route.h"

/* Networks and addresses that charon uses. */
struct explanation {
	/* Remote traffic selectors. */
	struct route_targets targets;
	/* Virtual addresses of IKE_SAs. The caller may add sources of routes. */
	struct route_targets addresses;
};

/* Sends the commands `list-conns`, `list-policies` and `list-sas`. Fills `ret`, and sorts `targets`, but not
 * `addresses`. The caller frees `ret`, also after an error. Returns 0, -ENOMEM, or an error of vici_stream(); -EBADMSG
 * also if a selector or an address cannot be parsed. */
int explanation_ask(struct vici *vici, uint64_t deadline, struct explanation *ret);
void explanation_free(struct explanation *explanation);
