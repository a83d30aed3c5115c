/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "xfrm/policy_table.h"

/* Number of policies of the large table: more than the places of an empty one. */
#define MANY 5000

/* Returns a policy with a network of its own for each number. */
static struct entry numbered(uint32_t number)
{
	struct entry policy = make_policy("10.0.0.0/8", "0.0.0.0/0", NULL, 0);

	policy.policy.info.sel.daddr.a4 = htonl(number);
	policy.policy.info.sel.prefixlen_d = 32;
	policy.policy.info.priority = number;
	return policy;
}

static void finds_by_whole_key(void **state)
{
	struct policy_table table = {0};
	struct entry policy = make_policy("10.1.0.0/16", "10.2.0.0/16", NULL, 0), other;

	(void)state;
	assert_null(policy_table_find(&table, &policy));
	assert_non_null(policy_table_put(&table, &policy));
	assert_non_null(policy_table_find(&table, &policy));
#define OTHER(member, value) \
	do { \
		other = policy; \
		other.member = value; \
		assert_null(policy_table_find(&table, &other)); \
	} while (0)
	OTHER(policy.info.dir, policy.policy.info.dir ^ 1);
	OTHER(policy.info.sel.user, 1);
	OTHER(policy.info.sel.dport, 1);
	OTHER(policy.ptype, XFRM_POLICY_TYPE_SUB);
	OTHER(mark.v, 1);
	OTHER(if_id, 1);
#undef OTHER
	other = policy;
	other.policy.info.priority = other.policy.info.index = 77;
	assert_non_null(policy_table_find(&table, &other));
	policy_table_free(&table);
}

static void update_keeps_state(void **state)
{
	struct policy_table table = {0};
	struct entry policy = numbered(1);

	(void)state;
	struct policy_record *record = policy_table_put(&table, &policy);
	assert_int_equal(record->state, 0);
	record->state = 2;
	record->seen = 3;
	record->shadow = true;
	policy.policy.info.priority = 9;
	record = policy_table_put(&table, &policy);
	assert_int_equal(table.n, 1);
	assert_int_equal(record->priority, 9);
	assert_int_equal(record->state, 2);
	assert_int_equal(record->seen, 3);
	assert_true(record->shadow);
	policy_table_free(&table);
}

static void many_come_and_go(void **state)
{
	struct policy_table table = {0};
	struct entry policy;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		policy = numbered(i);
		assert_non_null(policy_table_put(&table, &policy));
	}
	for (uint32_t i = 0; i < MANY; i += 3) {
		policy = numbered(i);
		policy_table_remove(&table, policy_table_find(&table, &policy));
	}
	assert_int_equal(table.n, MANY - (MANY + 2) / 3);
	for (uint32_t i = 0; i < MANY; i++) {
		policy = numbered(i);
		const struct policy_record *record = policy_table_find(&table, &policy);
		assert_true((i % 3 == 0) == !record);
		assert_true(!record || record->priority == i);
	}
	policy_table_free(&table);
	assert_int_equal(table.n, 0);
}

static void entry_of_record(void **state)
{
	struct policy_table table = {0};
	struct entry policy = numbered(5);

	(void)state;
	policy.policy.n_templates = 2;
	policy.policy.info.action = XFRM_POLICY_BLOCK;
	policy.policy.info.flags = XFRM_POLICY_ICMP;
	policy.mark = (struct xfrm_mark){1, 2};
	policy.if_id = 7;
	const struct entry copy = policy_record_entry(policy_table_put(&table, &policy));
	assert_memory_equal(&copy.policy.info.sel, &policy.policy.info.sel, sizeof(copy.policy.info.sel));
	assert_int_equal(copy.policy.n_templates, 1);
	assert_int_equal(copy.policy.info.action, XFRM_POLICY_BLOCK);
	assert_int_equal(copy.policy.info.flags, XFRM_POLICY_ICMP);
	assert_int_equal(copy.policy.info.dir, policy.policy.info.dir);
	assert_int_equal(copy.policy.info.priority, 5);
	assert_int_equal(copy.mark.m, 2);
	assert_int_equal(copy.if_id, 7);
	policy_table_free(&table);
}

int main(void)
{
	static struct cases cases;

	ADD_CASE(&cases, finds_by_whole_key);
	ADD_CASE(&cases, update_keeps_state);
	ADD_CASE(&cases, many_come_and_go);
	ADD_CASE(&cases, entry_of_record);
	return cmocka_run_group_tests_name("policy_table", cases.list, NULL, NULL);
}
