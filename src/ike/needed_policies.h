/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Compares policies with the traffic selectors that charon lists, to find those that charon still needs. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefix.h"
#include "ike/traffic_selector.h"
#include "xfrm/entry.h"

/* A policy of the kernel, reduced to what charon lists about it. The comparison leaves out ports and protocols, because
 * charon lists none that could be compared exactly. It also leaves out marks, because charon lists them only in part.
 */
struct needed_policy {
	/* Networks of both ends. */
	struct prefix local, remote;
	uint32_t if_id;
	bool out;
	/* charon has listed the policy's traffic selectors. */
	bool needed;
	/* Number of the policy, for the caller. */
	size_t number;
};

/* A pair of traffic selectors, and the if_ids of their policies. `any_if_id`: charon does not list the if_ids. */
struct needed_pair {
	struct traffic_selector local, remote;
	uint32_t if_id_in, if_id_out;
	bool any_if_id;
};

/* Returns a policy for the comparison. */
struct needed_policy needed_policy_of(const struct entry *policy, size_t number);

/* Sorts policies, as needed_mark() requires. */
void needed_sort(struct needed_policy *list, size_t n);

/* Sets `needed` of the policies of a pair of traffic selectors. A dynamic selector stands for any network. Takes time
 * O(log n) and a step for each policy of the pair; O(n) with a dynamic selector. */
void needed_mark(struct needed_policy *list, size_t n, const struct needed_pair *pair);
