/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "ike/needed_policies.h"

static const struct needed_row {
	const char *name;
	/* Source and destination of the policy. */
	const char *src, *dst;
	uint8_t dir;
	uint32_t if_id;
	/* The pair of traffic selectors that charon lists. */
	const char *local, *remote;
	uint32_t if_id_in, if_id_out;
	bool any_if_id, needed;
} needed_rows[] = {
	{"out", "10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16", .needed = true},
	{"in", "10.2.0.0/16", "10.1.0.0/16", XFRM_POLICY_IN, 0, "10.1.0.0/16", "10.2.0.0/16", .needed = true},
	{"fwd", "10.2.0.0/16", "10.1.0.0/16", XFRM_POLICY_FWD, 0, "10.1.0.0/16", "10.2.0.0/16", .needed = true},
	{"the other way round", "10.2.0.0/16", "10.1.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16"},
	{"another network", "10.1.0.0/16", "10.3.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16"},
	{"a smaller network", "10.1.0.0/16", "10.2.1.0/24", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16"},
	{"IPv6", "2001:db8:1::/48", "2001:db8:2::/48", XFRM_POLICY_OUT, 0, "2001:db8:1::/48", "2001:db8:2::/48",
	 .needed = true},
	{"ports", "10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16[tcp/80]", "10.2.0.0/16[tcp]",
	 .needed = true},
	{"dynamic", "192.0.2.1/32", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "dynamic", "10.2.0.0/16", .needed = true},
	{"dynamic, another network", "192.0.2.1/32", "10.3.0.0/16", XFRM_POLICY_OUT, 0, "dynamic", "10.2.0.0/16"},
	{"if_id", "0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_OUT, 7, "0.0.0.0/0", "0.0.0.0/0", 6, 7, .needed = true},
	{"if_id in", "0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_IN, 6, "0.0.0.0/0", "0.0.0.0/0", 6, 7, .needed = true},
	{"if_id of the other direction", "0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_OUT, 6, "0.0.0.0/0", "0.0.0.0/0", 6, 7},
	{"if_id not listed", "0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_OUT, 6, "0.0.0.0/0", "0.0.0.0/0", .any_if_id = true,
	 .needed = true},
};

static void compares(void **state)
{
	const struct needed_row *row = *state;
	struct entry policy = make_policy(row->src, row->dst, NULL, 0);
	struct entry others[] = {make_policy("10.0.0.0/8", "10.2.0.0/16", NULL, 0),
				 make_policy("10.9.0.0/16", "10.9.0.0/16", NULL, 0)};
	struct needed_policy list[3];
	struct needed_pair pair = {.if_id_in = row->if_id_in, .if_id_out = row->if_id_out, .any_if_id = row->any_if_id};
	size_t n = 0, number = 0;

	policy.policy.info.dir = row->dir;
	policy.if_id = row->if_id;
	assert_int_equal(traffic_selector_parse(row->local, &pair.local), 0);
	assert_int_equal(traffic_selector_parse(row->remote, &pair.remote), 0);
	list[0] = needed_policy_of(&others[0], 1);
	list[1] = needed_policy_of(&policy, 2);
	list[2] = needed_policy_of(&others[1], 3);
	needed_sort(list, ARRAY_SIZE(list));
	needed_mark(list, ARRAY_SIZE(list), &pair);
	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		if (list[i].number == 2)
			assert_int_equal(list[i].needed, row->needed);
		n += list[i].number == 2;
		number += list[i].number;
	}
	assert_int_equal(n, 1);
	assert_int_equal(number, 6);
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, compares, needed_rows);
	return cmocka_run_group_tests_name("needed_policies", cases.list, NULL, NULL);
}
