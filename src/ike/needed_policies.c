/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/needed_policies.h"

#include <stdlib.h>

struct needed_policy needed_policy_of(const struct entry *policy, size_t number)
{
	const struct xfrm_selector *sel = &policy->policy.info.sel;
	struct prefix src = {(sa_family_t)sel->family, sel->prefixlen_s, sel->saddr};
	struct prefix dst = {(sa_family_t)sel->family, sel->prefixlen_d, sel->daddr};
	const bool out = policy->policy.info.dir == XFRM_POLICY_OUT;

	prefix_clear_host_bits(&src);
	prefix_clear_host_bits(&dst);
	return (struct needed_policy){
		.local = out ? src : dst,
		.remote = out ? dst : src,
		.if_id = policy->if_id,
		.out = out,
		.number = number,
	};
}

static int compare(const void *a, const void *b)
{
	const struct needed_policy *left = a, *right = b;
	int r = prefix_compare(&left->local, &right->local);

	return r ? r : prefix_compare(&left->remote, &right->remote);
}

void needed_sort(struct needed_policy *list, size_t n)
{
	if (n)
		qsort(list, n, sizeof(*list), compare);
}

/* Marks a policy if it has the networks and the if_id of a pair. */
static void mark_one(struct needed_policy *policy, const struct needed_pair *pair)
{
	const uint32_t if_id = policy->out ? pair->if_id_out : pair->if_id_in;
	const struct traffic_selector *local = &pair->local, *remote = &pair->remote;

	policy->needed |= (local->dynamic || prefix_compare(&local->prefix, &policy->local) == 0) &&
			  (remote->dynamic || prefix_compare(&remote->prefix, &policy->remote) == 0) &&
			  (pair->any_if_id || policy->if_id == if_id);
}

void needed_mark(struct needed_policy *list, size_t n, const struct needed_pair *pair)
{
	const struct needed_policy key = {.local = pair->local.prefix, .remote = pair->remote.prefix};
	const bool dynamic = pair->local.dynamic || pair->remote.dynamic;
	size_t first = 0, end = n;

	while (!dynamic && first < end) {
		size_t middle = first + (end - first) / 2;
		if (compare(&list[middle], &key) < 0)
			first = middle + 1;
		else
			end = middle;
	}
	for (; first < n && (dynamic || compare(&list[first], &key) == 0); first++)
		mark_one(&list[first], pair);
}
