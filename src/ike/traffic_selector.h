/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Traffic selectors as charon writes them over VICI: "10.2.0.0/24", "10.2.0.3..10.2.0.9" or "dynamic". Each may have a
 * suffix, such as "[tcp/80]". Pure. */

#include <stdbool.h>

#include "base/prefix.h"

struct traffic_selector {
	/* Network of the selector. For a range it is the smallest network around it, as in charon's policies. */
	struct prefix prefix;
	/* Whether the selector is `dynamic`: charon replaces it by an address during the negotiation. `prefix` is not
	 * set then. */
	bool dynamic;
	/* Whether the selector is limited to a single protocol. */
	bool protocol;
	/* Whether the selector is limited to a protocol or to ports. */
	bool limited;
	/* Whether the following members are set. They are not if charon writes a protocol or a port as a name that only
	 * /etc/protocols or /etc/services explains. */
	bool exact;
	/* Number of the protocol, or 0. */
	uint8_t number;
	/* Port and its mask in host byte order, as in charon's policies (ts2ports() of kernel_netlink_ipsec.c). */
	uint16_t port, port_mask;
};

/* Parses one traffic selector. Returns 0, or -EINVAL if the text is not a selector. */
int traffic_selector_parse(const char *text, struct traffic_selector *ret);
