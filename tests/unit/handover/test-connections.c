/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netlink/msg.h>

#include "handover/connections.h"
#include "handover/guard_sa.h"
#include "hold/shadow.h"

#define HERE "192.0.2.1"
#define THERE "198.51.100.1"
#define OURS "10.1.0.0/16"

/* Templates of policies. They must exist as long as the policies. */
static struct xfrm_user_tmpl templates[64];
static size_t n_templates;

static void start(void)
{
	n_templates = 0;
}

static struct entry make_shadow(const char *theirs, uint32_t reqid, uint8_t dir, const char *here, const char *there)
{
	const bool out = dir == XFRM_POLICY_OUT;
	struct xfrm_user_tmpl *template = &templates[n_templates++];

	assert_true(n_templates <= ARRAY_SIZE(templates));
	*template = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, out ? here : there, out ? there : here);
	template->reqid = reqid;
	struct entry policy = make_policy(out ? OURS : theirs, out ? theirs : OURS, template, 1);
	policy.policy.info.dir = dir;
	policy.policy.info.sel.user = KEPT_TAG;
	return policy;
}

static struct entry make_real(const char *theirs, uint32_t reqid, uint8_t dir, const char *here, const char *there)
{
	struct entry policy = make_shadow(theirs, reqid, dir, here, there);

	policy.policy.info.sel.user = 0;
	return policy;
}

static void add(struct kept *kept, const struct entry *policy)
{
	assert_int_equal(kept_add_policy(kept, policy), 0);
}

static const uint8_t directions[] = {XFRM_POLICY_FWD, XFRM_POLICY_IN, XFRM_POLICY_OUT};

static void add_connection(struct kept *kept, const char *theirs, uint32_t reqid, const char *here, const char *there)
{
	for (size_t i = 0; i < ARRAY_SIZE(directions); i++) {
		struct entry shadow = make_shadow(theirs, reqid, directions[i], here, there);
		add(kept, &shadow);
	}
}

/* Returns connections 2 and 1, in this order. */
static struct kept make_two(void)
{
	struct kept kept = {0};

	add_connection(&kept, "10.12.0.0/16", 2, HERE, THERE);
	add_connection(&kept, "10.11.0.0/16", 1, HERE, THERE);
	assert_int_equal(kept_sort(&kept), 0);
	return kept;
}

static void all_directions_are_one_group(void **state)
{
	(void)state;
	struct kept kept = make_two();

	assert_int_equal(kept.n_groups, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct kept_group *group = &kept.groups[i];

		assert_int_equal(group->reqid, i + 1);
		assert_int_equal(group->n, 3);
		assert_int_equal(group->outcome, KEPT_PENDING);
		assert_int_equal(group->end_points[CHILDREN_LOCAL].a4, inet_addr(HERE));
		assert_int_equal(group->end_points[CHILDREN_REMOTE].a4, inet_addr(THERE));
		for (size_t j = 0; j < group->n; j++)
			assert_int_equal(kept.shadows[group->first + j].group, i);
	}
	kept_free(&kept);
}

static const struct apart_row {
	const char *name;
	uint32_t reqid;
	const char *here, *there;
	size_t n;
} apart_rows[] = {
	{"groups: another network of one reqid is of the same", 1, HERE, THERE, 1},
	{"groups: another reqid is another", 2, HERE, THERE, 2},
	{"groups: another peer is another", 1, HERE, "198.51.100.2", 2},
	{"groups: another address of ours is another", 1, "192.0.2.9", THERE, 2},
	{"groups: another family is another", 1, "2001:db8::1", "2001:db8::2", 2},
};

static void groups_are_distinguished(void **state)
{
	const struct apart_row *row = *state;
	struct kept kept = {0};

	start();
	add_connection(&kept, "10.11.0.0/16", 1, HERE, THERE);
	add_connection(&kept, "10.12.0.0/16", row->reqid, row->here, row->there);
	assert_int_equal(kept_sort(&kept), 0);
	assert_int_equal(kept.n_groups, row->n);
	kept_free(&kept);
}

static void only_kept_policies_are_taken(void **state)
{
	(void)state;
	static const uint32_t tags[] = {0, SHADOW_HOLD, SHADOW_EXPIRING, SHADOW_ADJACENT};
	struct kept kept = {0};

	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		struct entry policy = make_shadow("10.11.0.0/16", 1, XFRM_POLICY_OUT, HERE, THERE);
		policy.policy.info.sel.user = tags[i];
		add(&kept, &policy);
	}
	assert_int_equal(kept.n_shadows, 0);
	assert_int_equal(kept_sort(&kept), 0);
	kept_sort_sas(&kept);
	struct entry real = make_real("10.11.0.0/16", 1, XFRM_POLICY_OUT, HERE, THERE);
	assert_null(kept_find(&kept, &real));
	assert_false(kept_mark_conflicts(&kept, &real));
	kept_free(&kept);
}

static void the_newest_time_is_that_of_the_last_shadow(void **state)
{
	(void)state;
	static const uint64_t times[] = {1000, 1002, 1001};
	struct kept kept = {0};

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		struct entry shadow = make_shadow("10.11.0.0/16", (uint32_t)i, XFRM_POLICY_OUT, HERE, THERE);
		shadow.policy.info.curlft.add_time = times[i];
		add(&kept, &shadow);
	}
	assert_int_equal(kept.newest_time, 1002);
	kept_free(&kept);
}

static const struct find_row {
	const char *name, *theirs;
	uint8_t dir;
	uint32_t if_id, mark;
	bool found;
} find_rows[] = {
	{"find: outbound", "10.11.0.0/16", XFRM_POLICY_OUT, 0, 0, true},
	{"find: forwarded", "10.12.0.0/16", XFRM_POLICY_FWD, 0, 0, true},
	{"find: a narrower network", "10.11.0.0/24", XFRM_POLICY_OUT, 0, 0, false},
	{"find: another network", "10.13.0.0/16", XFRM_POLICY_OUT, 0, 0, false},
	{"find: another interface", "10.11.0.0/16", XFRM_POLICY_OUT, 7, 0, false},
	{"find: another mark", "10.11.0.0/16", XFRM_POLICY_OUT, 0, 7, false},
};

static void shadows_are_found(void **state)
{
	const struct find_row *row = *state;

	start();
	struct kept kept = make_two();
	/* The reqid, end points and priority of the real policy do not matter. */
	struct entry real = make_real(row->theirs, 99, row->dir, "192.0.2.77", "198.51.100.77");
	real.policy.info.priority = 1;
	real.if_id = row->if_id;
	real.mark = (struct xfrm_mark){row->mark, row->mark};
	const struct kept_policy *found = kept_find(&kept, &real);
	assert_int_equal(found != NULL, row->found);
	if (found)
		assert_int_equal(found->policy.policy.info.dir, row->dir);
	kept_free(&kept);
}

static const struct sa_row {
	const char *name;
	uint32_t reqid;
	const char *src, *dst;
	size_t group; /* SIZE_MAX: in no group */
} sa_rows[] = {
	{"SA: out", 1, HERE, THERE, 0},
	{"SA: in", 2, THERE, HERE, 1},
	{"SA: another reqid", 3, HERE, THERE, SIZE_MAX},
	{"SA: reqid 0", 0, HERE, THERE, SIZE_MAX},
	{"SA: another peer", 1, HERE, "198.51.100.2", SIZE_MAX},
	{"SA: another family", 1, "2001:db8::1", "2001:db8::2", SIZE_MAX},
	{"SA: between us alone", 1, HERE, HERE, SIZE_MAX},
};

static void sas_find_their_group(void **state)
{
	const struct sa_row *row = *state;
	struct entry sa = make_sa(row->src, row->dst);

	start();
	struct kept kept = make_two();
	sa.sa.reqid = row->reqid;
	assert_int_equal(kept_add_sa(&kept, &sa), 0);
	kept_sort_sas(&kept);
	for (size_t i = 0; i < kept.n_groups; i++) {
		assert_int_equal(kept.groups[i].n_sas, i == row->group);
		assert_int_equal(kept_has_sa(&kept, &kept.groups[i], &sa), i == row->group);
	}
	sa.sa.id.spi++;
	for (size_t i = 0; i < kept.n_groups; i++)
		assert_false(kept_has_sa(&kept, &kept.groups[i], &sa));
	kept_free(&kept);
}

/* A connection with one child, as `list-conns` describes it. */
struct child_of_test {
	const char *name, *local, *remote, *ours, *theirs;
};

static struct children make_children(const struct child_of_test *list)
{
	struct children children = {0};

	for (; list->name; list++) {
		assert_int_equal(children_add_connection(&children, list->name), 0);
		if (list->local)
			assert_int_equal(children_add_address(&children, CHILDREN_LOCAL, list->local), 0);
		assert_int_equal(children_add_address(&children, CHILDREN_REMOTE, list->remote), 0);
		assert_int_equal(children_add(&children, list->name), 0);
		assert_int_equal(children_add_selector(&children, CHILDREN_LOCAL, list->ours), 0);
		assert_int_equal(children_add_selector(&children, CHILDREN_REMOTE, list->theirs), 0);
	}
	return children;
}

static const struct child_row {
	const char *name;
	struct child_of_test list[4];
	const char *best; /* name of the child for the connection to 10.11.0.0/16, or NULL */
} child_rows[] = {
	{"child: none is loaded", {{0}}, NULL},
	{"child: its own selectors", {{"own", HERE, THERE, OURS, "10.11.0.0/16"}}, "own"},
	{"child: wider selectors, which the peer narrowed", {{"wide", HERE, THERE, OURS, "10.0.0.0/8"}}, "wide"},
	{"child: narrower selectors", {{"narrow", HERE, THERE, OURS, "10.11.7.0/24"}}, NULL},
	{"child: other selectors", {{"other", HERE, THERE, OURS, "10.13.0.0/16"}}, NULL},
	{"child: other selectors of ours", {{"other", HERE, THERE, "10.2.0.0/16", "10.11.0.0/16"}}, NULL},
	{"child: a virtual address", {{"virtual", HERE, "%any", OURS, "dynamic"}}, "virtual"},
	{"child: any peer", {{"any", HERE, "%any", OURS, "10.11.0.0/16"}}, "any"},
	{"child: another address of the peer, who may have moved",
	 {{"moved", HERE, "198.51.100.9", OURS, "10.11.0.0/16"}},
	 "moved"},
	{"child: own selectors before wider ones",
	 {{"wide", HERE, THERE, OURS, "10.0.0.0/8"}, {"own", HERE, THERE, OURS, "10.11.0.0/16"}},
	 "own"},
	{"child: the named peer before any",
	 {{"any", HERE, "%any", OURS, "10.11.0.0/16"}, {"named", HERE, THERE, OURS, "10.11.0.0/16"}},
	 "named"},
	{"child: any peer before another one",
	 {{"other", HERE, "198.51.100.9", OURS, "10.11.0.0/16"}, {"any", HERE, "%any", OURS, "10.11.0.0/16"}},
	 "any"},
	{"child: without an address of ours", {{"own", NULL, THERE, OURS, "10.11.0.0/16"}}, "own"},
};

static void the_best_child_is_found(void **state)
{
	const struct child_row *row = *state;
	size_t found = SIZE_MAX;

	start();
	struct kept kept = make_two();
	struct children children = make_children(row->list);
	bool any = kept_find_child(&kept, &kept.groups[0], &children, &found);
	assert_int_equal(any, row->best != NULL);
	if (row->best)
		assert_string_equal(children.list[found].name, row->best);
	children_free(&children);
	kept_free(&kept);
}

static void children_alike_are_shared_out(void **state)
{
	(void)state;
	static const struct child_of_test alike[] = {
		{"a", HERE, THERE, OURS, "10.0.0.0/8"}, {"b", HERE, THERE, OURS, "10.0.0.0/8"}, {0}};
	struct kept kept = make_two();
	struct children children = make_children(alike);
	size_t first, second;

	assert_true(kept_find_child(&kept, &kept.groups[0], &children, &first));
	children.list[first].taken = true;
	assert_true(kept_find_child(&kept, &kept.groups[1], &children, &second));
	assert_int_not_equal(first, second);
	children.list[second].taken = true;
	/* Without a free child, a taken one is found. */
	assert_true(kept_find_child(&kept, &kept.groups[0], &children, &first));
	children_free(&children);
	kept_free(&kept);
}

static void every_network_of_a_group_counts(void **state)
{
	(void)state;
	static const struct child_of_test one[] = {{"one", HERE, THERE, OURS, "10.11.0.0/16"}, {0}};
	struct kept kept = {0};
	size_t found;

	add_connection(&kept, "10.11.0.0/16", 1, HERE, THERE);
	add_connection(&kept, "10.12.0.0/16", 1, HERE, THERE);
	assert_int_equal(kept_sort(&kept), 0);
	assert_int_equal(kept.n_groups, 1);
	struct children children = make_children(one);
	assert_false(kept_find_child(&kept, &kept.groups[0], &children, &found));
	assert_int_equal(children_add_selector(&children, CHILDREN_REMOTE, "10.12.0.0/16"), 0);
	assert_true(kept_find_child(&kept, &kept.groups[0], &children, &found));
	children_free(&children);
	kept_free(&kept);
}

static const struct begin_row {
	const char *name, *remote;
	bool can_initiate;
} begin_rows[] = {
	{"begin: an address", "198.51.100.1", true},
	{"begin: an IPv6 address", "2001:db8::1", true},
	{"begin: a name", "peer.example.com", true},
	{"begin: %any", "%any", false},
	{"begin: %any6", "%any6", false},
	{"begin: 0.0.0.0", "0.0.0.0", false},
	{"begin: ::", "::", false},
	{"begin: a range", "198.51.100.1-198.51.100.9", false},
	{"begin: a network", "198.51.100.0/24", false},
	{"begin: all", "0.0.0.0/0", false},
	{"begin: a range", "198.51.100.1-198.51.100.9", false},
	{"begin: a name with a dash", "peer-1.example.com", true},
};

static void who_can_begin(void **state)
{
	const struct begin_row *row = *state;
	struct children children = {0};

	assert_int_equal(children_add_connection(&children, "site"), 0);
	assert_int_equal(children_add_address(&children, CHILDREN_LOCAL, HERE), 0);
	assert_false(children.connections[0].can_initiate);
	assert_int_equal(children_add_address(&children, CHILDREN_REMOTE, row->remote), 0);
	assert_int_equal(children.connections[0].can_initiate, row->can_initiate);
	children_free(&children);
}

static const struct share_row {
	const char *name, *here, *there;
	bool may_share;
} share_rows[] = {
	{"share: the same addresses", HERE, THERE, true},
	{"share: another peer", HERE, "203.0.113.1", false},
	{"share: another address of ours", "192.0.2.9", THERE, false},
	{"share: the peer's network", HERE, "198.51.100.0/24", false},
	{"share: any peer", HERE, "%any", false},
};

static void who_may_share(void **state)
{
	const struct share_row *row = *state;
	const char *const addresses[][CHILDREN_SIDES] = {{HERE, THERE}, {row->here, row->there}};
	struct children children = {0};

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		assert_int_equal(children_add_connection(&children, "site"), 0);
		for (size_t side = 0; side < CHILDREN_SIDES; side++)
			assert_int_equal(children_add_address(&children, side, addresses[i][side]), 0);
	}
	assert_int_equal(children_may_share(&children.connections[0], &children.connections[1]), row->may_share);
	assert_true(children_may_share(&children.connections[1], &children.connections[1]));
	children_free(&children);
}

static const struct virtual_row {
	const char *name, *theirs, *selector;
	bool can_initiate;
} virtual_rows[] = {
	{"begin: a network", "10.11.0.0/16", "10.11.0.0/16", true},
	{"begin: a narrowed network", "10.11.1.0/24", "10.11.0.0/16", true},
	{"begin: the peer itself", THERE "/32", "dynamic", true},
	{"begin: a virtual address of ours", "10.9.0.1/32", "dynamic", false},
	{"begin: an address that is configured", "10.9.0.1/32", "10.9.0.0/24", true},
};

static void who_has_a_virtual_address_begins(void **state)
{
	const struct virtual_row *row = *state;
	const struct child_of_test list[] = {{"site", HERE, THERE, OURS, row->selector}, {0}};
	struct kept kept = {0};

	start();
	add_connection(&kept, row->theirs, 1, HERE, THERE);
	assert_int_equal(kept_sort(&kept), 0);
	struct children children = make_children(list);
	assert_int_equal(kept_can_initiate(&kept, &kept.groups[0], &children, &children.list[0]), row->can_initiate);
	children_free(&children);
	kept_free(&kept);
}

static const struct conflict_row {
	const char *name, *theirs;
	uint32_t reqid;
	uint8_t dir;
	const char *there;
	uint32_t user;
	bool conflicts; /* whether it conflicts with group 1 */
} conflict_rows[] = {
	{"reqid conflict: other traffic with its reqid", "10.13.0.0/16", 1, XFRM_POLICY_OUT, THERE, 0, true},
	{"reqid conflict: the same, inbound", "10.13.0.0/16", 1, XFRM_POLICY_IN, THERE, 0, true},
	{"reqid conflict: with another reqid", "10.13.0.0/16", 3, XFRM_POLICY_OUT, THERE, 0, false},
	{"reqid conflict: to another peer", "10.13.0.0/16", 1, XFRM_POLICY_OUT, "198.51.100.9", 0, false},
	{"reqid conflict: its own policy", "10.11.0.0/16", 1, XFRM_POLICY_OUT, THERE, 0, false},
	{"reqid conflict: its own, narrower", "10.11.7.0/24", 1, XFRM_POLICY_OUT, THERE, 0, false},
	{"reqid conflict: its own, wider", "10.0.0.0/8", 1, XFRM_POLICY_OUT, THERE, 0, false},
	{"reqid conflict: a shadow", "10.13.0.0/16", 1, XFRM_POLICY_OUT, THERE, SHADOW_HOLD, false},
	{"reqid conflict: a kept policy", "10.13.0.0/16", 1, XFRM_POLICY_OUT, THERE, KEPT_TAG, false},
	{"reqid conflict: behind the kept policy of another group", "10.12.0.0/16", 1, XFRM_POLICY_OUT, THERE, 0,
	 false},
};

static void conflicts_are_marked(void **state)
{
	const struct conflict_row *row = *state;

	start();
	struct kept kept = make_two();
	struct entry policy = make_shadow(row->theirs, row->reqid, row->dir, HERE, row->there);
	policy.policy.info.sel.user = row->user;
	assert_int_equal(kept_mark_conflicts(&kept, &policy), row->conflicts);
	assert_int_equal(kept.groups[0].reqid_conflict, row->conflicts);
	assert_false(kept.groups[1].reqid_conflict);
	kept_free(&kept);
}

static void a_guard_that_has_gone_guards_no_more(void **state)
{
	(void)state;
	static const enum kept_outcome ended[] = {KEPT_MIGRATED, KEPT_BLOCKED, KEPT_REMOVED};
	struct entry policy = make_real("10.12.0.0/16", 1, XFRM_POLICY_OUT, HERE, THERE);

	for (size_t i = 0; i < ARRAY_SIZE(ended); i++) {
		struct kept kept = make_two();

		kept.groups[1].outcome = KEPT_NEGOTIATING;
		assert_false(kept_mark_conflicts(&kept, &policy));
		kept.groups[1].outcome = ended[i];
		assert_true(kept_mark_conflicts(&kept, &policy));
		assert_true(kept.groups[0].reqid_conflict);
		kept_free(&kept);
	}
}

static void ended_groups_have_no_conflicts(void **state)
{
	(void)state;
	struct entry policy = make_real("10.13.0.0/16", 1, XFRM_POLICY_OUT, HERE, THERE);
	struct kept kept = make_two();

	kept.groups[0].outcome = KEPT_MIGRATED;
	assert_false(kept_mark_conflicts(&kept, &policy));
	policy.policy.n_templates = 0;
	kept.groups[0].outcome = KEPT_NEGOTIATING;
	assert_false(kept_mark_conflicts(&kept, &policy));
	kept_free(&kept);
}

static void describe(char *buffer, size_t size, const void *what)
{
	const struct kept *kept = what;

	assert_ptr_equal(kept_describe(kept, &kept->groups[0], buffer, size), buffer);
}

static void descriptions(void **state)
{
	(void)state;
	struct kept kept = make_two();
	char text[256];

	describe(text, sizeof(text), &kept);
	assert_string_equal(text, "10.1.0.0/16 → 10.11.0.0/16 (192.0.2.1 → 198.51.100.1, reqid 1)");
	check_text_fits(describe, &kept, sizeof(text));
	kept_free(&kept);
}

static const struct guard_sa_keys keys;

/* Returns the guard SA of an SA, decoded from the request. */
static struct entry composed(const struct entry *sa, struct nl_msg **message)
{
	struct entry entry;

	assert_int_equal(guard_sa_compose(sa, &keys, message), 0);
	assert_int_equal(nlmsg_hdr(*message)->nlmsg_type, XFRM_MSG_NEWSA);
	assert_int_equal(nlmsg_hdr(*message)->nlmsg_flags, NLM_F_REQUEST);
	assert_int_equal(entry_decode(nlmsg_hdr(*message), &entry), 0);
	return entry;
}

static void a_guard_sa_is_like_its_sa(void **state)
{
	(void)state;
	struct entry sa = make_sa(HERE, THERE);
	struct nl_msg *message;

	sa.sa.sel.sport = htons(500);
	sa.sa.sel.sport_mask = 0xffff;
	sa.sa.sel.prefixlen_d = 24;
	sa.mark = (struct xfrm_mark){0x10, 0xff};
	sa.if_id = 7;
	sa.sa.flags |= XFRM_STATE_ESN;
	struct entry guard_sa = composed(&sa, &message);
	assert_true(is_guard_sa(&guard_sa));
	assert_false(is_guard_sa(&sa));
	assert_false(guard_sa.larval);
	assert_int_equal(guard_sa.sa.id.spi, ~sa.sa.id.spi);
	assert_int_equal(guard_sa.sa.id.proto, IPPROTO_ESP);
	assert_memory_equal(&guard_sa.sa.id.daddr, &sa.sa.id.daddr, sizeof(sa.sa.id.daddr));
	assert_memory_equal(&guard_sa.sa.saddr, &sa.sa.saddr, sizeof(sa.sa.saddr));
	assert_int_equal(guard_sa.sa.reqid, sa.sa.reqid);
	assert_int_equal(guard_sa.sa.mode, XFRM_MODE_TUNNEL);
	assert_int_equal(guard_sa.if_id, 7);
	assert_memory_equal(&guard_sa.mark, &sa.mark, sizeof(sa.mark));
	/* With XFRM_STATE_ESN the sequence number of the guard SA would not be at its end. */
	assert_int_equal(guard_sa.sa.flags, XFRM_STATE_AF_UNSPEC);
	assert_int_equal(guard_sa.sa.lft.hard_byte_limit, XFRM_INF);
	assert_int_equal(guard_sa.sa.lft.hard_add_expires_seconds, GUARD_SA_SECONDS);

	struct xfrm_selector selector = sa.sa.sel;
	selector.user = KEPT_TAG;
	assert_memory_equal(&guard_sa.sa.sel, &selector, sizeof(selector));
	const struct xfrm_replay_state *replay =
		nla_data(nlmsg_find_attr(nlmsg_hdr(message), sizeof(struct xfrm_usersa_info), XFRMA_REPLAY_VAL));
	assert_int_equal(replay->oseq, UINT32_MAX);
	nlmsg_free(message);

	const struct entry name = guard_sa_of(&sa);
	assert_int_equal(name.sa.id.spi, guard_sa.sa.id.spi);
	assert_memory_equal(&name.mark, &sa.mark, sizeof(sa.mark));
}

static void a_guard_sa_has_the_keys_it_is_given(void **state)
{
	(void)state;
	static const uint8_t protos[] = {IPPROTO_ESP, IPPROTO_AH};

	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		struct nl_msg *first, *second;
		struct entry sa = make_sa("2001:db8::1", "2001:db8::2");

		sa.sa.id.proto = protos[i];
		composed(&sa, &first);
		assert_int_equal(guard_sa_compose(&sa, &(struct guard_sa_keys){.integrity = "b"}, &second), 0);
		assert_int_equal(nlmsg_hdr(first)->nlmsg_len, nlmsg_hdr(second)->nlmsg_len);
		assert_memory_not_equal(nlmsg_hdr(first), nlmsg_hdr(second), nlmsg_hdr(first)->nlmsg_len);
		nlmsg_free(first);
		nlmsg_free(second);
	}
}

int main(void)
{
	struct cases cases = {.n = 0};

	ADD_CASE(&cases, all_directions_are_one_group);
	ADD_ROWS(&cases, groups_are_distinguished, apart_rows);
	ADD_CASE(&cases, only_kept_policies_are_taken);
	ADD_CASE(&cases, the_newest_time_is_that_of_the_last_shadow);
	ADD_ROWS(&cases, shadows_are_found, find_rows);
	ADD_ROWS(&cases, sas_find_their_group, sa_rows);
	ADD_ROWS(&cases, the_best_child_is_found, child_rows);
	ADD_CASE(&cases, children_alike_are_shared_out);
	ADD_CASE(&cases, every_network_of_a_group_counts);
	ADD_ROWS(&cases, who_can_begin, begin_rows);
	ADD_ROWS(&cases, who_may_share, share_rows);
	ADD_ROWS(&cases, who_has_a_virtual_address_begins, virtual_rows);
	ADD_ROWS(&cases, conflicts_are_marked, conflict_rows);
	ADD_CASE(&cases, a_guard_that_has_gone_guards_no_more);
	ADD_CASE(&cases, ended_groups_have_no_conflicts);
	ADD_CASE(&cases, descriptions);
	ADD_CASE(&cases, a_guard_sa_is_like_its_sa);
	ADD_CASE(&cases, a_guard_sa_has_the_keys_it_is_given);
	return cmocka_run_group_tests_name("connections", cases.list, NULL, NULL);
}
