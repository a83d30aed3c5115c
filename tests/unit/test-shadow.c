/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "shadow.h"

#define OUT XFRM_POLICY_OUT
#define IN XFRM_POLICY_IN
#define FWD XFRM_POLICY_FWD

#define LAST_BEFORE 0x7fffffff
#define HIGH 0x80000000

/* The tag: which entries are shadows. */

static const struct tag_row {
	const char *name;
	enum entry_kind kind;
	uint32_t user, tag;
} tag_rows[] = {
	{"tag: hold", ENTRY_POLICY, SHADOW_HOLD, SHADOW_HOLD},
	{"tag: grace", ENTRY_POLICY, SHADOW_GRACE, SHADOW_GRACE},
	{"tag: none", ENTRY_POLICY, 0, 0},
	{"tag: a user", ENTRY_POLICY, 1000, 0},
	{"tag: highest user", ENTRY_POLICY, UINT32_MAX, 0},
	{"tag: below grace", ENTRY_POLICY, SHADOW_GRACE - 1, 0},
	{"tag: above hold", ENTRY_POLICY, SHADOW_HOLD + 1, 0},
	{"tag: hold in the other byte order", ENTRY_POLICY, 0x484d4658, 0},
	{"tag: an SA is no shadow", ENTRY_SA, SHADOW_HOLD, 0},
	{"tag: an SA is none that expires", ENTRY_SA, SHADOW_GRACE, 0},
};

static void knows_tag(void **state)
{
	const struct tag_row *row = *state;
	struct entry entry = row->kind == ENTRY_SA ? make_sa("192.0.2.1", "192.0.2.2")
						   : make_policy("10.1.0.0/16", "10.2.0.0/16", NULL, 0);

	if (row->kind == ENTRY_SA)
		entry.sa.sel.user = row->user;
	else
		entry.policy.info.sel.user = row->user;
	assert_int_equal(shadow_tag(&entry), row->tag);
	/* Where a policy has it, an SA has something else. */
	entry.policy.info.sel.user = row->user;
	assert_int_equal(shadow_tag(&entry), row->tag);
}

/* Surveys: policies in short, each with what becomes of it. */

enum fate {
	NONE, /* the end of a list */
	GOES,
	STAYS,
	OF_SOCKET,
	IS_HOLD,
	IS_GRACE,
};

struct policy {
	enum fate fate;
	uint8_t dir;
	uint32_t priority;
};

#define POLICIES_MAX 8
#define IF_ID_STAYS 9

static struct entry entry_of(const struct policy *policy)
{
	static struct xfrm_user_tmpl tmpl;

	tmpl = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, "192.0.2.1", "192.0.2.2");
	struct entry entry = make_policy("10.1.0.0/16", "10.2.0.0/16", &tmpl, 1);
	struct xfrm_userpolicy_info *info = &entry.policy.info;

	info->dir = policy->dir;
	info->priority = policy->priority;
	if (policy->fate == STAYS)
		entry.if_id = IF_ID_STAYS;
	if (policy->fate == OF_SOCKET)
		info->index = (info->index & ~7U) | (XFRM_POLICY_MAX + XFRM_POLICY_OUT);
	if (policy->fate == IS_HOLD)
		info->sel.user = SHADOW_HOLD;
	if (policy->fate == IS_GRACE)
		info->sel.user = SHADOW_GRACE;
	return entry;
}

/* What leaves those alone that stay. */
static const struct filter *but_those_that_stay(void)
{
	static struct filter filter;
	char why[MATCH_ERROR_MAX];

	if (filter_is_empty(&filter))
		assert_int_equal(filter_add(&filter, true, "if-id=9", why, sizeof(why)), 0);
	return &filter;
}

static struct shadow_survey survey_of(const struct policy *policies)
{
	struct shadow_survey survey = {0};

	for (size_t i = 0; i < POLICIES_MAX && policies[i].fate != NONE; i++) {
		const struct entry entry = entry_of(&policies[i]);
		shadow_survey_add(&survey, but_those_that_stay(), &entry);
	}
	return survey;
}

static const struct survey_row {
	const char *name;
	struct policy policies[POLICIES_MAX];
	struct shadow_survey survey;
} survey_rows[] = {
	{"survey: nothing", {{NONE}}, {0}},
	{"survey: one that goes", {{GOES, OUT, 5}}, {0}},
	{"survey: all that go", {{GOES, IN, 0}, {GOES, OUT, 5}, {GOES, FWD, 371327}}, {0}},
	{"survey: the last priority with room", {{GOES, OUT, LAST_BEFORE}}, {0}},
	{"survey: the first priority without", {{GOES, OUT, HIGH}}, {.high = true}},
	{"survey: the highest priority", {{GOES, IN, UINT32_MAX}}, {.high = true}},
	{"survey: a high one among others", {{GOES, OUT, 1}, {GOES, FWD, HIGH + 1}, {GOES, OUT, 2}}, {.high = true}},
	{"survey: a high one that stays",
	 {{STAYS, OUT, HIGH}},
	 {.high = true, .stays[OUT] = true, .last_stays[OUT] = HIGH}},

	{"survey: one stays in", {{STAYS, IN, 5}}, {.stays[IN] = true, .last_stays[IN] = 5}},
	{"survey: one stays out", {{STAYS, OUT, 5}}, {.stays[OUT] = true, .last_stays[OUT] = 5}},
	{"survey: one stays fwd", {{STAYS, FWD, 5}}, {.stays[FWD] = true, .last_stays[FWD] = 5}},
	{"survey: one stays in each direction",
	 {{STAYS, FWD, 30}, {STAYS, IN, 10}, {STAYS, OUT, 20}},
	 {.stays = {true, true, true}, .last_stays = {[IN] = 10, [OUT] = 20, [FWD] = 30}}},
	{"survey: one stays with priority 0", {{STAYS, OUT, 0}}, {.stays[OUT] = true}},
	{"survey: the last that stays, at the end",
	 {{STAYS, OUT, 5}, {STAYS, OUT, 7}, {STAYS, OUT, 9}},
	 {.stays[OUT] = true, .last_stays[OUT] = 9}},
	{"survey: the last that stays, at the beginning",
	 {{STAYS, OUT, 9}, {STAYS, OUT, 7}, {STAYS, OUT, 5}},
	 {.stays[OUT] = true, .last_stays[OUT] = 9}},
	{"survey: those that go do not stay",
	 {{GOES, OUT, 100}, {STAYS, OUT, 5}, {GOES, OUT, 200}, {GOES, IN, 300}},
	 {.stays[OUT] = true, .last_stays[OUT] = 5}},

	/* No filter selects these, and yet they do not stay behind anything. */
	{"survey: those of sockets", {{OF_SOCKET, OUT, 5}, {OF_SOCKET, IN, HIGH}}, {0}},
	{"survey: one of a socket among others",
	 {{STAYS, OUT, 5}, {OF_SOCKET, OUT, 9}, {GOES, OUT, 7}},
	 {.stays[OUT] = true, .last_stays[OUT] = 5}},

	{"survey: a shadow", {{IS_HOLD, OUT, 5}}, {.n_hold = 1}},
	{"survey: a shadow that expires", {{IS_GRACE, OUT, 5}}, {.n_grace = 1}},
	{"survey: shadows by kind",
	 {{IS_HOLD, OUT, 5}, {IS_GRACE, OUT, 5}, {IS_HOLD, IN, 5}, {IS_HOLD, FWD, 5}, {IS_GRACE, IN, 5}},
	 {.n_hold = 3, .n_grace = 2}},
	{"survey: shadows are no high ones",
	 {{IS_HOLD, OUT, HIGH | 5}, {IS_GRACE, OUT, UINT32_MAX}},
	 {.n_hold = 1, .n_grace = 1}},
	{"survey: of everything",
	 {{IS_HOLD, OUT, UINT32_MAX},
	  {STAYS, OUT, 5},
	  {OF_SOCKET, OUT, UINT32_MAX},
	  {GOES, OUT, 7},
	  {IS_GRACE, IN, HIGH},
	  {STAYS, IN, 3},
	  {GOES, FWD, LAST_BEFORE}},
	 {.n_hold = 1, .n_grace = 1, .stays = {true, true, false}, .last_stays = {[IN] = 3, [OUT] = 5}}},

	{"survey: the first direction that is none", {{GOES, XFRM_POLICY_MAX, 5}, {STAYS, XFRM_POLICY_MAX, 5}}, {0}},
	{"survey: the last direction that is none", {{GOES, UINT8_MAX, 5}, {STAYS, UINT8_MAX, 5}}, {0}},
};

static void surveys(void **state)
{
	const struct survey_row *row = *state;
	const struct shadow_survey survey = survey_of(row->policies);

	assert_int_equal(survey.n_hold, row->survey.n_hold);
	assert_int_equal(survey.n_grace, row->survey.n_grace);
	assert_int_equal(survey.high, row->survey.high);
	for (size_t dir = 0; dir < XFRM_POLICY_MAX; dir++) {
		assert_int_equal(survey.stays[dir], row->survey.stays[dir]);
		assert_int_equal(survey.last_stays[dir], row->survey.last_stays[dir]);
	}
}

/* A shadow that the filter leaves out is a shadow all the same, and stays behind nothing. */
static void surveys_shadows_left_out(void **state)
{
	struct shadow_survey survey = {0};

	(void)state;
	for (enum fate fate = IS_HOLD; fate <= IS_GRACE; fate++) {
		struct entry shadow = entry_of(&(struct policy){fate, OUT, UINT32_MAX});
		shadow.if_id = IF_ID_STAYS;
		shadow_survey_add(&survey, but_those_that_stay(), &shadow);
	}
	assert_int_equal(survey.n_hold, 1);
	assert_int_equal(survey.n_grace, 1);
	assert_false(survey.high);
	assert_false(survey.stays[OUT]);
}

/* Making: what a shadow has of its policy. */

static const struct shadow_blocked blocked = {.out = 12, .in = 3};
static const struct shadow_survey nothing_seen;

/* Everything that a policy can have, each value its own. */
static struct entry full_policy(void)
{
	static struct xfrm_user_tmpl templates[2];
	static struct context context;

	templates[0] = make_template(IPPROTO_COMP, XFRM_MODE_TUNNEL, "2001:db8:f::1", "2001:db8:f::2");
	templates[1] = make_template(IPPROTO_ESP, XFRM_MODE_TRANSPORT, "2001:db8:f::1", "2001:db8:f::2");
	context = make_context("system_u:object_r:spd_t:s0");
	struct entry entry = make_policy("2001:db8:1::/48", "2001:db8:2::/49", templates, ARRAY_SIZE(templates));
	struct xfrm_userpolicy_info *info = &entry.policy.info;

	info->sel.sport = htons(1);
	info->sel.sport_mask = htons(0xfffe);
	info->sel.dport = htons(500);
	info->sel.dport_mask = htons(0xffff);
	info->sel.proto = IPPROTO_UDP;
	info->sel.ifindex = 7;
	info->sel.user = 1000;
	info->lft = (struct xfrm_lifetime_cfg){11, 12, 13, 14, 15, 16, 17, 18};
	info->curlft = (struct xfrm_lifetime_cur){21, 22, 23, 24};
	info->dir = XFRM_POLICY_FWD;
	info->action = XFRM_POLICY_ALLOW;
	info->flags = XFRM_POLICY_LOCALOK | XFRM_POLICY_ICMP;
	info->share = XFRM_SHARE_USER;
	entry.policy.ptype = XFRM_POLICY_TYPE_SUB;
	entry.policy.security_length = context.header.len;
	entry.policy.security = &context.header;
	entry.mark = (struct xfrm_mark){.v = 0x500, .m = 0xff00};
	entry.if_id = 42;
	return entry;
}

static struct entry make_shadow(const struct entry *policy, const struct shadow_survey *survey)
{
	struct entry shadow;

	/* What was in it must not show through. */
	memset(&shadow, 0xa5, sizeof(shadow));
	shadow_make(policy, survey, &blocked, &shadow);
	return shadow;
}

static void check_selector(const struct entry *shadow, const struct entry *policy, uint32_t user)
{
	struct xfrm_selector expected = policy->policy.info.sel;

	expected.user = user;
	assert_memory_equal(&shadow->policy.info.sel, &expected, sizeof(expected));
}

/* What says which packets it is for, and to whom. */
static void check_key(const struct entry *shadow, const struct entry *policy)
{
	assert_int_equal(shadow->kind, ENTRY_POLICY);
	assert_int_equal(shadow->policy.info.dir, policy->policy.info.dir);
	assert_int_equal(shadow->policy.ptype, policy->policy.ptype);
	assert_int_equal(shadow->mark.v, policy->mark.v);
	assert_int_equal(shadow->mark.m, policy->mark.m);
	assert_int_equal(shadow->if_id, policy->if_id);
	assert_int_equal(shadow->policy.security_length, policy->policy.security_length);
	assert_ptr_equal(shadow->policy.security, policy->policy.security);
	assert_int_equal(shadow->policy.info.flags, policy->policy.info.flags);
	assert_int_equal(shadow->policy.info.share, policy->policy.info.share);
}

/* No time and no amount ends it. */
static void check_lifetimes(const struct entry *shadow, const struct shadow_blocked *counters)
{
	const struct xfrm_lifetime_cfg *lft = &shadow->policy.info.lft;
	const struct xfrm_lifetime_cur none = {0};

	assert_int_equal(lft->soft_byte_limit, XFRM_INF);
	assert_int_equal(lft->hard_byte_limit, XFRM_INF);
	assert_int_equal(lft->soft_packet_limit, counters->out);
	assert_int_equal(lft->hard_packet_limit, counters->in);
	assert_int_equal(lft->soft_add_expires_seconds, 0);
	assert_int_equal(lft->hard_add_expires_seconds, 0);
	assert_int_equal(lft->soft_use_expires_seconds, 0);
	assert_int_equal(lft->hard_use_expires_seconds, 0);
	assert_memory_equal(&shadow->policy.info.curlft, &none, sizeof(none));
}

static void check_shadow(const struct entry *shadow, const struct entry *policy, uint8_t action)
{
	check_selector(shadow, policy, SHADOW_HOLD);
	check_key(shadow, policy);
	check_lifetimes(shadow, &blocked);
	assert_int_equal(shadow->policy.info.action, action);
	assert_int_equal(shadow->policy.n_templates, 0);
	assert_null(shadow->policy.templates);
	assert_int_equal(shadow->policy.info.index, 0);
	assert_int_equal(shadow_tag(shadow), SHADOW_HOLD);
}

static struct entry protecting(size_t n_templates)
{
	static struct xfrm_user_tmpl templates[ENTRY_TEMPLATES_MAX];

	for (size_t i = 0; i < n_templates; i++)
		templates[i] = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, "192.0.2.1", "192.0.2.2");
	return make_policy("10.1.0.0/16", "10.2.0.0/16", n_templates ? templates : NULL, n_templates);
}

static struct entry tunnel_policy(void)
{
	return protecting(1);
}

static struct entry deepest_policy(void)
{
	return protecting(ENTRY_TEMPLATES_MAX);
}

/* Its traffic may pass unprotected, but the daemon wanted it protected. */
static struct entry optional_policy(void)
{
	struct entry entry = protecting(1);
	static struct xfrm_user_tmpl optional;

	optional = entry.policy.templates[0];
	optional.optional = 1;
	entry.policy.templates = &optional;
	return entry;
}

static struct entry blocking_policy_with_template(void)
{
	struct entry entry = protecting(1);

	entry.policy.info.action = XFRM_POLICY_BLOCK;
	return entry;
}

static struct entry bypass_shunt(void)
{
	return protecting(0);
}

static struct entry drop_shunt(void)
{
	struct entry entry = protecting(0);

	entry.policy.info.action = XFRM_POLICY_BLOCK;
	return entry;
}

static struct entry ipv6_bypass(void)
{
	struct entry entry = make_policy("fe80::/10", "::/0", NULL, 0);

	entry.policy.info.sel.proto = IPPROTO_ICMPV6;
	entry.policy.info.sel.sport = htons(135);
	entry.policy.info.sel.sport_mask = htons(0xffff);
	return entry;
}

static struct entry marked_policy(void)
{
	struct entry entry = protecting(1);

	/* A mark of 0 is one too. */
	entry.mark = (struct xfrm_mark){.v = 0, .m = UINT32_MAX};
	return entry;
}

static struct entry interface_policy(void)
{
	struct entry entry = protecting(1);

	entry.if_id = UINT32_MAX;
	return entry;
}

static struct entry everything_policy(void)
{
	return make_policy("0.0.0.0/0", "0.0.0.0/0", NULL, 0);
}

static const struct make_row {
	const char *name;
	struct entry (*policy)(void);
	uint8_t action;
} make_rows[] = {
	{"makes: of everything that a policy can have", full_policy, XFRM_POLICY_BLOCK},
	{"makes: of a policy with a template", tunnel_policy, XFRM_POLICY_BLOCK},
	{"makes: of a policy with 6 templates", deepest_policy, XFRM_POLICY_BLOCK},
	{"makes: of a policy with an optional template", optional_policy, XFRM_POLICY_BLOCK},
	{"makes: of a blocking policy with a template", blocking_policy_with_template, XFRM_POLICY_BLOCK},
	{"makes: of a bypass shunt", bypass_shunt, XFRM_POLICY_ALLOW},
	{"makes: of a drop shunt", drop_shunt, XFRM_POLICY_BLOCK},
	{"makes: of a bypass for neighbour discovery", ipv6_bypass, XFRM_POLICY_ALLOW},
	{"makes: of a bypass of everything", everything_policy, XFRM_POLICY_ALLOW},
	{"makes: of a policy with mark 0", marked_policy, XFRM_POLICY_BLOCK},
	{"makes: of a policy with if_id", interface_policy, XFRM_POLICY_BLOCK},
};

static void makes(void **state)
{
	const struct make_row *row = *state;
	const struct entry policy = row->policy();
	struct entry before;

	memcpy(&before, &policy, sizeof(before));
	const struct entry shadow = make_shadow(&policy, &nothing_seen);
	check_shadow(&shadow, &policy, row->action);
	assert_int_equal(shadow.policy.info.priority, policy.policy.info.priority | SHADOW_PRIORITY);
	assert_memory_equal(&policy, &before, sizeof(before));
}

/* Each field alone, with every value that it can have. */
static void keeps_what_it_matches(void **state)
{
	(void)state;
	for (unsigned int value = 0; value <= UINT8_MAX; value++) {
		struct entry policy = bypass_shunt();
		policy.policy.info.flags = (uint8_t)value;
		policy.policy.info.share = (uint8_t)(value % (XFRM_SHARE_UNIQUE + 1));
		policy.policy.info.dir = (uint8_t)(value % XFRM_POLICY_MAX);
		policy.policy.ptype = (uint8_t)(value % XFRM_POLICY_TYPE_ANY);
		policy.policy.info.sel.proto = (uint8_t)value;
		policy.policy.info.sel.prefixlen_d = (uint8_t)(value % 33);
		const struct entry shadow = make_shadow(&policy, &nothing_seen);
		check_shadow(&shadow, &policy, XFRM_POLICY_ALLOW);
	}
}

static const struct shadow_blocked counters[] = {{0, 0}, {1, 0}, {0, 1}, {UINT64_MAX, 7}, {7, UINT64_MAX}};

static void writes_counters(void **state)
{
	const struct entry policy = tunnel_policy();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		struct entry shadow;
		shadow_make(&policy, &nothing_seen, &counters[i], &shadow);
		check_lifetimes(&shadow, &counters[i]);
		assert_int_equal(shadow_blocked_before(&shadow).out, counters[i].out);
		assert_int_equal(shadow_blocked_before(&shadow).in, counters[i].in);
	}
}

static void changes_counters_alone(void **state)
{
	const struct entry policy = full_policy();
	const struct entry shadow = make_shadow(&policy, &nothing_seen);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		struct entry changed = shadow;
		shadow_set_blocked(&changed, &counters[i]);
		assert_int_equal(shadow_blocked_before(&changed).out, counters[i].out);
		assert_int_equal(shadow_blocked_before(&changed).in, counters[i].in);
		shadow_set_blocked(&changed, &blocked);
		check_shadow(&changed, &policy, XFRM_POLICY_BLOCK);
		assert_int_equal(changed.policy.info.priority, shadow.policy.info.priority);
	}
}

/* Priorities. */

static const struct priority_row {
	const char *name;
	struct policy policy;
	struct policy others[POLICIES_MAX];
	uint32_t priority;
} priority_rows[] = {
	{"priority: 0", {GOES, OUT, 0}, {{NONE}}, HIGH},
	{"priority: charon's", {GOES, OUT, 371327}, {{NONE}}, HIGH | 371327},
	{"priority: the last with room", {GOES, OUT, LAST_BEFORE}, {{NONE}}, UINT32_MAX},
	{"priority: the first without", {GOES, OUT, HIGH}, {{NONE}}, HIGH},
	{"priority: between", {GOES, OUT, HIGH + 5}, {{NONE}}, HIGH + 5},
	{"priority: the highest", {GOES, OUT, UINT32_MAX}, {{NONE}}, UINT32_MAX},
	{"priority: others that go", {GOES, OUT, 5}, {{GOES, OUT, 4}, {GOES, OUT, 5}, {GOES, OUT, 6}}, HIGH | 5},

	{"priority: a high one that goes", {GOES, OUT, 5}, {{GOES, OUT, HIGH}}, 5},
	{"priority: a high one that stays", {GOES, OUT, 5}, {{STAYS, OUT, UINT32_MAX}}, 5},
	{"priority: a high one of another direction", {GOES, OUT, 5}, {{GOES, IN, HIGH}}, 5},
	{"priority: a high one of a socket", {GOES, OUT, 5}, {{OF_SOCKET, OUT, HIGH}}, HIGH | 5},
	{"priority: a high shadow", {GOES, OUT, 5}, {{IS_HOLD, OUT, HIGH | 5}, {IS_GRACE, OUT, UINT32_MAX}}, HIGH | 5},

	{"priority: another stays behind", {GOES, OUT, 5}, {{STAYS, OUT, 6}}, 5},
	{"priority: another stays before", {GOES, OUT, 5}, {{STAYS, OUT, 4}}, HIGH | 5},
	{"priority: another stays with the same", {GOES, OUT, 5}, {{STAYS, OUT, 5}}, 5},
	{"priority: others stay before and behind", {GOES, OUT, 5}, {{STAYS, OUT, 4}, {STAYS, OUT, 6}}, 5},
	{"priority: others stay behind and before", {GOES, OUT, 5}, {{STAYS, OUT, 6}, {STAYS, OUT, 4}}, 5},
	{"priority: another stays far behind", {GOES, OUT, 0}, {{STAYS, OUT, LAST_BEFORE}}, 0},
	{"priority: another stays far before", {GOES, OUT, LAST_BEFORE}, {{STAYS, OUT, 0}}, UINT32_MAX},
	{"priority: 0, another stays with the same", {GOES, OUT, 0}, {{STAYS, OUT, 0}}, 0},
	{"priority: another stays behind in another direction", {GOES, OUT, 5}, {{STAYS, IN, 6}}, HIGH | 5},
	{"priority: another stays behind, in", {GOES, IN, 5}, {{STAYS, IN, 6}, {STAYS, OUT, 1}, {STAYS, FWD, 1}}, 5},
	{"priority: another stays behind, fwd", {GOES, FWD, 5}, {{STAYS, FWD, 6}, {STAYS, OUT, 1}}, 5},
	{"priority: one of a socket stays behind", {GOES, OUT, 5}, {{OF_SOCKET, OUT, 6}}, HIGH | 5},
	{"priority: shadows stay behind", {GOES, OUT, 5}, {{IS_HOLD, OUT, 6}, {IS_GRACE, OUT, 7}}, HIGH | 5},

	{"priority: of a shadow", {IS_GRACE, OUT, HIGH | 5}, {{NONE}}, HIGH | 5},
	{"priority: of a shadow with its policy's own", {IS_GRACE, OUT, 5}, {{NONE}}, 5},
	{"priority: of a shadow, another stays behind", {IS_GRACE, OUT, 5}, {{STAYS, OUT, 6}}, 5},
	{"priority: of a shadow, another stays before", {IS_GRACE, OUT, 5}, {{STAYS, OUT, 4}}, 5},
	{"priority: of a shadow, a high one", {IS_GRACE, OUT, HIGH | 5}, {{GOES, OUT, UINT32_MAX}}, HIGH | 5},
	{"priority: of a shadow that is none to expire", {IS_HOLD, OUT, 5}, {{NONE}}, 5},

	{"priority: no direction", {GOES, XFRM_POLICY_MAX, 5}, {{NONE}}, 5},
	{"priority: the last direction that is none", {GOES, UINT8_MAX, 5}, {{NONE}}, 5},
};

static void has_priority(void **state)
{
	const struct priority_row *row = *state;
	const struct shadow_survey survey = survey_of(row->others);
	const struct entry policy = entry_of(&row->policy);

	assert_int_equal(make_shadow(&policy, &survey).policy.info.priority, row->priority);
}

/* A shadow that would expire becomes one that stays: it is what it was but for its time. */
static void makes_of_shadow(void **state)
{
	const struct entry policy = full_policy(), bypass = bypass_shunt();
	const struct shadow_survey surveys[] = {
		{0}, {.high = true}, {.stays[FWD] = true, .last_stays[FWD] = UINT32_MAX}, {.n_hold = 5, .n_grace = 7}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(surveys); i++) {
		struct entry of_policy = make_shadow(&policy, &nothing_seen), renewed;
		struct entry of_bypass = make_shadow(&bypass, &nothing_seen);
		shadow_let_expire(&of_policy, 300, 1);
		shadow_let_expire(&of_bypass, 300, 1);

		/* Packets have been blocked since. */
		shadow_make(&of_policy, &surveys[i], &(struct shadow_blocked){100, 200}, &renewed);
		check_shadow(&renewed, &policy, XFRM_POLICY_BLOCK);
		assert_int_equal(renewed.policy.info.priority, policy.policy.info.priority | SHADOW_PRIORITY);

		shadow_make(&of_bypass, &surveys[i], &(struct shadow_blocked){100, 200}, &renewed);
		check_shadow(&renewed, &bypass, XFRM_POLICY_ALLOW);
	}
}

/* The order of precedence: of policies that match a packet the kernel takes that with the lowest priority, and of equal
 * ones the oldest. */

static int compare(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

static void check_order_of(const struct policy *a, uint32_t shadow_a, const struct policy *b, uint32_t shadow_b)
{
	if (compare(a->priority, b->priority) != compare(shadow_a, shadow_b))
		fail_msg("shadows of %#x and %#x have %#x and %#x", a->priority, b->priority, shadow_a, shadow_b);
}

static void check_order(const struct policy *policies)
{
	const struct shadow_survey survey = survey_of(policies);
	uint32_t shadows[POLICIES_MAX];
	size_t n = 0;

	for (; n < POLICIES_MAX && policies[n].fate != NONE; n++) {
		const struct entry policy = entry_of(&policies[n]);
		shadows[n] = make_shadow(&policy, &survey).policy.info.priority;
	}
	for (size_t i = 0; i < n; i++) {
		const struct policy *policy = &policies[i];
		if (policy->fate != GOES)
			continue;
		/* The shadow is younger: with the same priority it is behind its policy. */
		assert_true(shadows[i] >= policy->priority);
		for (size_t j = 0; j < n; j++) {
			const struct policy *other = &policies[j];
			if (other->dir != policy->dir)
				continue;
			if (other->fate == GOES)
				check_order_of(policy, shadows[i], other, shadows[j]);
			/* What stays is what it was, and older than any shadow. */
			if (other->fate == STAYS)
				check_order_of(policy, shadows[i], other, other->priority);
			/* Where nothing is in the way, what the IKE daemon installs next comes first. */
			if (!survey.high && !survey.stays[policy->dir])
				assert_true(shadows[i] > other->priority);
		}
	}
}

static const struct order_row {
	const char *name;
	struct policy policies[POLICIES_MAX];
} order_rows[] = {
	{"order: charon's", {{GOES, OUT, 371327}, {GOES, OUT, 375423}, {GOES, OUT, 379519}, {GOES, OUT, 375423}}},
	{"order: a bypass before a policy", {{GOES, OUT, 175423}, {GOES, OUT, 399999}}},
	{"order: equal ones", {{GOES, OUT, 5}, {GOES, OUT, 5}, {GOES, OUT, 5}}},
	{"order: from 0 to the last with room", {{GOES, OUT, 0}, {GOES, OUT, 1}, {GOES, OUT, LAST_BEFORE}}},
	{"order: around the first without room",
	 {{GOES, OUT, LAST_BEFORE - 1}, {GOES, OUT, LAST_BEFORE}, {GOES, OUT, HIGH}, {GOES, OUT, HIGH + 1}}},
	{"order: a policy and a high one with the same bits", {{GOES, OUT, 5}, {GOES, OUT, HIGH | 5}, {GOES, OUT, 6}}},
	{"order: from 0 to the highest", {{GOES, OUT, 0}, {GOES, OUT, HIGH}, {GOES, OUT, UINT32_MAX}}},
	{"order: a high one of another direction", {{GOES, OUT, 0}, {GOES, OUT, 5}, {GOES, IN, HIGH}, {GOES, IN, 7}}},
	{"order: one stays behind all", {{GOES, OUT, 1}, {GOES, OUT, 2}, {STAYS, OUT, 9}}},
	{"order: one stays before all", {{GOES, OUT, 5}, {GOES, OUT, 6}, {STAYS, OUT, 1}}},
	{"order: one stays in the middle", {{GOES, OUT, 1}, {GOES, OUT, 9}, {STAYS, OUT, 5}}},
	{"order: one stays beside one", {{GOES, OUT, 1}, {GOES, OUT, 5}, {GOES, OUT, 9}, {STAYS, OUT, 5}}},
	{"order: those that stay and go by turns",
	 {{GOES, OUT, 1}, {STAYS, OUT, 2}, {GOES, OUT, 3}, {STAYS, OUT, 4}, {GOES, OUT, 5}, {STAYS, OUT, 0}}},
	{"order: one stays in another direction", {{GOES, OUT, 1}, {GOES, OUT, 9}, {STAYS, IN, 5}, {GOES, IN, 3}}},
	{"order: a high one stays", {{GOES, OUT, 1}, {GOES, OUT, HIGH | 5}, {STAYS, OUT, HIGH | 3}}},
	{"order: those of sockets and shadows do not count",
	 {{GOES, OUT, 1}, {OF_SOCKET, OUT, 5}, {GOES, OUT, 9}, {IS_HOLD, IN, HIGH}, {IS_GRACE, IN, UINT32_MAX}}},
};

static void keeps_order(void **state)
{
	const struct order_row *row = *state;

	check_order(row->policies);
}

/* All sets of policies with some of these priorities, each of which goes or stays. */
static void keeps_order_of_all_sets(void **state)
{
	static const uint32_t priorities[] = {0, 1, 371327, LAST_BEFORE, HIGH, HIGH | 371327, UINT32_MAX};
	static const enum fate fates[] = {NONE, GOES, STAYS};
	unsigned int n_sets = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(priorities); i++)
		n_sets *= ARRAY_SIZE(fates);
	for (unsigned int set = 0; set < n_sets; set++) {
		struct policy policies[POLICIES_MAX] = {0};
		unsigned int rest = set;
		size_t n = 0;
		for (size_t i = 0; i < ARRAY_SIZE(priorities); i++, rest /= ARRAY_SIZE(fates)) {
			enum fate fate = fates[rest % ARRAY_SIZE(fates)];
			if (fate != NONE)
				policies[n++] = (struct policy){fate, OUT, priorities[i]};
		}
		check_order(policies);
	}
}

/* Shadows that expire. */

static const struct expire_row {
	const char *name;
	uint64_t seconds, run;
} expire_rows[] = {
	{"expires: in a second", 1, 1},
	{"expires: in 5 minutes", 300, 1234567890123456789},
	{"expires: in 10 years", 315360000, UINT64_MAX - 1},
	{"expires: run 0", 30, 0},
};

static void expires(void **state)
{
	const struct expire_row *row = *state;
	const struct entry policy = full_policy();
	const struct entry hold = make_shadow(&policy, &nothing_seen);
	struct entry shadow = hold;

	shadow_let_expire(&shadow, row->seconds, row->run);
	assert_int_equal(shadow_tag(&shadow), SHADOW_GRACE);
	assert_int_equal(shadow.policy.info.lft.hard_add_expires_seconds, row->seconds);
	assert_true(shadow_is_of_run(&shadow, row->run));
	assert_false(shadow_is_of_run(&shadow, row->run + 1));
	assert_false(shadow_is_of_run(&shadow, ~row->run));

	/* It is what it was otherwise: nothing but this time ends it, and the counters are there. */
	check_selector(&shadow, &policy, SHADOW_GRACE);
	check_key(&shadow, &policy);
	assert_int_equal(shadow.policy.info.action, hold.policy.info.action);
	assert_int_equal(shadow.policy.info.priority, hold.policy.info.priority);
	shadow.policy.info.lft.hard_add_expires_seconds = 0;
	shadow.policy.info.lft.hard_byte_limit = XFRM_INF;
	check_lifetimes(&shadow, &blocked);
}

/* Only a shadow that expires is of any run. */
static void is_of_no_run(void **state)
{
	const struct entry policy = full_policy();
	struct entry shadow = make_shadow(&policy, &nothing_seen), sa = make_sa("192.0.2.1", "192.0.2.2"), other;

	(void)state;
	assert_false(shadow_is_of_run(&shadow, XFRM_INF));
	shadow_let_expire(&shadow, 1, 5);
	assert_true(shadow_is_of_run(&shadow, 5));

	other = shadow;
	other.policy.info.sel.user = SHADOW_HOLD;
	assert_false(shadow_is_of_run(&other, 5));
	other.policy.info.sel.user = 0;
	assert_false(shadow_is_of_run(&other, 5));
	sa.policy.info.sel.user = SHADOW_GRACE;
	sa.policy.info.lft.hard_byte_limit = 5;
	assert_false(shadow_is_of_run(&sa, 5));
}

/* Shadows in the way of others. */

#define ALLOW XFRM_POLICY_ALLOW
#define BLOCK XFRM_POLICY_BLOCK

static const struct suffices_row {
	const char *name;
	uint32_t tag;
	uint8_t have, want;
	uint32_t have_priority, want_priority;
	bool suffices;
} suffices_rows[] = {
	{"suffices: blocks as it should", SHADOW_HOLD, BLOCK, BLOCK, HIGH | 5, HIGH | 5, true},
	{"suffices: blocks, too early", SHADOW_HOLD, BLOCK, BLOCK, 5, HIGH | 5, false},
	{"suffices: blocks, too late", SHADOW_HOLD, BLOCK, BLOCK, HIGH | 5, 5, false},
	{"suffices: passes as it should", SHADOW_HOLD, ALLOW, ALLOW, HIGH | 5, HIGH | 5, true},
	{"suffices: passes, too early", SHADOW_HOLD, ALLOW, ALLOW, 5, HIGH | 5, false},
	{"suffices: passes, too late", SHADOW_HOLD, ALLOW, ALLOW, HIGH | 5, 5, false},
	{"suffices: passes what is to be blocked", SHADOW_HOLD, ALLOW, BLOCK, HIGH | 5, HIGH | 5, false},
	{"suffices: passes what is to be blocked, too early", SHADOW_HOLD, ALLOW, BLOCK, 5, HIGH | 5, false},
	{"suffices: passes what is to be blocked, too late", SHADOW_HOLD, ALLOW, BLOCK, HIGH | 5, 5, false},
	{"suffices: blocks what is to pass", SHADOW_HOLD, BLOCK, ALLOW, HIGH | 5, HIGH | 5, true},
	{"suffices: blocks what is to pass, too early", SHADOW_HOLD, BLOCK, ALLOW, 5, HIGH | 5, true},
	{"suffices: blocks what is to pass, too late", SHADOW_HOLD, BLOCK, ALLOW, HIGH | 5, 5, true},

	{"suffices: expires, blocks", SHADOW_GRACE, BLOCK, BLOCK, HIGH | 5, HIGH | 5, false},
	{"suffices: expires, blocks, too early", SHADOW_GRACE, BLOCK, BLOCK, 5, HIGH | 5, false},
	{"suffices: expires, blocks, too late", SHADOW_GRACE, BLOCK, BLOCK, HIGH | 5, 5, false},
	{"suffices: expires, passes", SHADOW_GRACE, ALLOW, ALLOW, HIGH | 5, HIGH | 5, false},
	{"suffices: expires, passes, too early", SHADOW_GRACE, ALLOW, ALLOW, 5, HIGH | 5, false},
	{"suffices: expires, passes, too late", SHADOW_GRACE, ALLOW, ALLOW, HIGH | 5, 5, false},
	{"suffices: expires, passes what is to be blocked", SHADOW_GRACE, ALLOW, BLOCK, HIGH | 5, HIGH | 5, false},
	{"suffices: expires, passes what is to be blocked, too late", SHADOW_GRACE, ALLOW, BLOCK, HIGH | 5, 5, false},
	{"suffices: expires, blocks what is to pass", SHADOW_GRACE, BLOCK, ALLOW, HIGH | 5, HIGH | 5, true},
	{"suffices: expires, blocks what is to pass, too late", SHADOW_GRACE, BLOCK, ALLOW, HIGH | 5, 5, true},
};

static struct entry shadow_with(uint32_t tag, uint8_t action, uint32_t priority)
{
	const struct entry policy = bypass_shunt();
	struct entry shadow = make_shadow(&policy, &nothing_seen);

	if (tag == SHADOW_GRACE)
		shadow_let_expire(&shadow, 30, 1);
	shadow.policy.info.action = action;
	shadow.policy.info.priority = priority;
	return shadow;
}

static void suffices(void **state)
{
	const struct suffices_row *row = *state;
	struct entry present = shadow_with(row->tag, row->have, row->have_priority);
	const struct entry wanted = shadow_with(row->tag, row->want, row->want_priority);

	assert_int_equal(shadow_suffices(&present, &wanted), row->suffices);
	/* The time at which it was made does not matter, nor what the kernel calls it. */
	present.policy.info.index = ANY_INDEX;
	present.policy.info.curlft.add_time = 1;
	shadow_set_blocked(&present, &(struct shadow_blocked){99, 98});
	assert_int_equal(shadow_suffices(&present, &wanted), row->suffices);
}

/* What protects a shadow's traffic. */

static void finds_covering(void **state)
{
	static struct entry (*const policies[])(void) = {full_policy, tunnel_policy, bypass_shunt,    drop_shunt,
							 ipv6_bypass, marked_policy, interface_policy};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		const struct entry policy = policies[i]();
		struct entry shadow = make_shadow(&policy, &nothing_seen), before;
		for (unsigned int expiring = 0; expiring <= 1; expiring++) {
			if (expiring)
				shadow_let_expire(&shadow, 30, 1);
			memcpy(&before, &shadow, sizeof(before));
			const struct entry covering = shadow_covering(&shadow);
			check_selector(&covering, &policy, 0);
			check_key(&covering, &policy);
			assert_int_equal(shadow_tag(&covering), 0);
			assert_memory_equal(&shadow, &before, sizeof(before));
		}
	}
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, knows_tag, tag_rows);
	ADD_ROWS(&cases, surveys, survey_rows);
	ADD_CASE(&cases, surveys_shadows_left_out);
	ADD_ROWS(&cases, makes, make_rows);
	ADD_CASE(&cases, keeps_what_it_matches);
	ADD_CASE(&cases, writes_counters);
	ADD_CASE(&cases, changes_counters_alone);
	ADD_ROWS(&cases, has_priority, priority_rows);
	ADD_CASE(&cases, makes_of_shadow);
	ADD_ROWS(&cases, keeps_order, order_rows);
	ADD_CASE(&cases, keeps_order_of_all_sets);
	ADD_ROWS(&cases, expires, expire_rows);
	ADD_CASE(&cases, is_of_no_run);
	ADD_ROWS(&cases, suffices, suffices_rows);
	ADD_CASE(&cases, finds_covering);
	return cmocka_run_group_tests_name("shadow", cases.list, NULL, NULL);
}
