/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "hold/shadow.h"

#define OUT XFRM_POLICY_OUT
#define IN XFRM_POLICY_IN
#define FWD XFRM_POLICY_FWD

#define LAST_BEFORE 0x7fffffff
#define HIGH 0x80000000

/* Tags: which entries are shadows. */

static const struct tag_row {
	const char *name;
	enum entry_kind kind;
	uint32_t user, tag;
} tag_rows[] = {
	{"tag: hold", ENTRY_POLICY, SHADOW_HOLD, SHADOW_HOLD},
	{"tag: grace", ENTRY_POLICY, SHADOW_EXPIRING, SHADOW_EXPIRING},
	{"tag: close", ENTRY_POLICY, SHADOW_ADJACENT, SHADOW_ADJACENT},
	{"tag: none", ENTRY_POLICY, 0, 0},
	{"tag: a user", ENTRY_POLICY, 1000, 0},
	{"tag: highest user", ENTRY_POLICY, UINT32_MAX, 0},
	{"tag: below grace", ENTRY_POLICY, SHADOW_EXPIRING - 1, 0},
	{"tag: above hold", ENTRY_POLICY, SHADOW_HOLD + 1, 0},
	{"tag: hold in the other byte order", ENTRY_POLICY, 0x484d4658, 0},
	{"tag: an SA is no shadow", ENTRY_SA, SHADOW_HOLD, 0},
	{"tag: an SA is none that expires", ENTRY_SA, SHADOW_EXPIRING, 0},
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
	/* In an SA, the bytes of a policy's tag have another meaning. */
	entry.policy.info.sel.user = row->user;
	assert_int_equal(shadow_tag(&entry), row->tag);
}

/* Surveys: policies in short form, each with its outcome. */

enum outcome {
	NONE,	       /* the end of a list */
	GOES,	       /* a policy that protects, and is replaced */
	GOES_PASSING,  /* a bypass that is replaced */
	GOES_BLOCKING, /* a discard that is replaced */
	STAYS,	       /* a policy that protects, and that the filter leaves out */
	STAYS_PASSING, /* a bypass that the filter leaves out */
	IS_GRACE,      /* an expiring shadow */
	IS_HOLD,       /* a shadow that stays until it is released */
	OF_SOCKET,     /* a per-socket policy */
};

struct policy {
	enum outcome outcome;
	uint8_t dir;
	uint32_t priority;
};

#define POLICIES_MAX 8
#define IF_ID_STAYS 9

static bool bypasses(enum outcome outcome)
{
	return outcome == GOES_PASSING || outcome == STAYS_PASSING;
}

static bool stays(enum outcome outcome)
{
	return outcome == STAYS || outcome == STAYS_PASSING;
}

static bool is_replaced(enum outcome outcome)
{
	return outcome == GOES || outcome == GOES_PASSING || outcome == GOES_BLOCKING || outcome == IS_GRACE;
}

static struct entry entry_of(const struct policy *policy)
{
	static struct xfrm_user_tmpl tmpl;
	const enum outcome outcome = policy->outcome;
	const bool protects = outcome == GOES || outcome == STAYS || outcome == OF_SOCKET;

	tmpl = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, "192.0.2.1", "192.0.2.2");
	struct entry entry = make_policy("10.1.0.0/16", "10.2.0.0/16", protects ? &tmpl : NULL, protects);
	struct xfrm_userpolicy_info *info = &entry.policy.info;

	info->dir = policy->dir;
	info->priority = policy->priority;
	if (outcome == GOES_BLOCKING || outcome == IS_GRACE || outcome == IS_HOLD)
		info->action = XFRM_POLICY_BLOCK;
	if (stays(outcome))
		entry.if_id = IF_ID_STAYS;
	if (outcome == OF_SOCKET)
		info->index = (info->index & ~7U) | (XFRM_POLICY_MAX + XFRM_POLICY_OUT);
	if (outcome == IS_HOLD || outcome == IS_GRACE) {
		info->sel.user = outcome == IS_HOLD ? SHADOW_HOLD : SHADOW_EXPIRING;
		info->lft.soft_byte_limit = info->priority & LAST_BEFORE;
	}
	return entry;
}

/* Returns the filter that leaves out the policies that stay. */
static const struct filter *but_those_that_stay(void)
{
	static struct filter filter;
	char why[MATCH_ERROR_MAX];

	if (filter_is_empty(&filter))
		assert_int_equal(filter_add(&filter, true, "if-id=9", why, sizeof(why)), 0);
	return &filter;
}

static size_t count(const struct policy *policies)
{
	size_t n = 0;

	while (n < POLICIES_MAX && policies[n].outcome != NONE)
		n++;
	return n;
}

static struct shadow_survey survey_of(const struct policy *policies)
{
	struct shadow_survey survey = {0};

	for (size_t i = 0; i < count(policies); i++) {
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
	{"survey: nothing", {{NONE}}, {.n_hold = 0}},
	{"survey: one that goes", {{GOES, OUT, 5}}, {.directions[OUT] = {.n = 1, .at = {{5}}}}},
	{"survey: one in each direction",
	 {{GOES, IN, 0}, {GOES, OUT, 5}, {GOES, FWD, 371327}},
	 {.directions =
		  {[IN] = {.n = 1, .at = {{0}}}, [OUT] = {.n = 1, .at = {{5}}}, [FWD] = {.n = 1, .at = {{371327}}}}}},
	{"survey: priorities in ascending order",
	 {{GOES, OUT, 9}, {GOES, OUT, 5}, {GOES, OUT, 7}, {GOES, OUT, 5}, {GOES, OUT, 8}, {GOES, OUT, 6}},
	 {.directions[OUT] = {.n = 5, .at = {{5}, {6}, {7}, {8}, {9}}}}},
	{"survey: the last priority with room",
	 {{GOES, OUT, LAST_BEFORE}},
	 {.directions[OUT] = {.n = 1, .at = {{LAST_BEFORE}}}}},
	{"survey: the first priority without",
	 {{GOES, OUT, HIGH}},
	 {.high = true, .directions[OUT] = {.n = 1, .at = {{HIGH}}}}},
	{"survey: the highest priority, among others",
	 {{GOES, IN, 1}, {GOES_PASSING, IN, UINT32_MAX}, {GOES, IN, 2}},
	 {.high = true,
	  .directions[IN] = {.bypasses = true, .last_bypass = UINT32_MAX, .n = 3, .at = {{1}, {2}, {UINT32_MAX}}}}},
	{"survey: a high one that stays",
	 {{STAYS, OUT, HIGH}},
	 {.high = true, .directions[OUT] = {.stays = true, .last_stays = HIGH, .n = 1, .at = {{HIGH, true}}}}},

	{"survey: one stays in each direction",
	 {{STAYS, FWD, 30}, {STAYS, IN, 10}, {STAYS, OUT, 0}},
	 {.directions = {[IN] = {.stays = true, .last_stays = 10, .n = 1, .at = {{10, true}}},
			 [OUT] = {.stays = true, .n = 1, .at = {{0, true}}},
			 [FWD] = {.stays = true, .last_stays = 30, .n = 1, .at = {{30, true}}}}}},
	{"survey: the last that stays",
	 {{STAYS, OUT, 5}, {STAYS, OUT, 9}, {GOES, OUT, 100}, {STAYS, OUT, 7}, {GOES, IN, 300}},
	 {.directions =
		  {[IN] = {.n = 1, .at = {{300}}},
		   [OUT] = {.stays = true, .last_stays = 9, .n = 4, .at = {{5, true}, {7, true}, {9, true}, {100}}}}}},
	{"survey: one stays and one goes with the same priority",
	 {{STAYS, OUT, 5}, {GOES, OUT, 5}},
	 {.directions[OUT] = {.stays = true, .last_stays = 5, .n = 1, .at = {{5, true}}}}},
	{"survey: one goes and one stays with the same priority",
	 {{GOES, OUT, 5}, {STAYS, OUT, 5}},
	 {.directions[OUT] = {.stays = true, .last_stays = 5, .n = 1, .at = {{5, true}}}}},

	{"survey: bypasses, and the others",
	 {{GOES_PASSING, OUT, 5}, {STAYS_PASSING, OUT, 9}, {GOES, OUT, 8}, {GOES_BLOCKING, OUT, 7}, {STAYS, OUT, 10}},
	 {.directions[OUT] = {.stays = true,
			      .last_stays = 10,
			      .bypasses = true,
			      .last_bypass = 9,
			      .n = 5,
			      .at = {{5}, {7}, {8}, {9, true}, {10, true}}}}},
	{"survey: the last bypass, the first policy that is none",
	 {{GOES_PASSING, OUT, 5}, {GOES_PASSING, OUT, 9}, {GOES_PASSING, OUT, 7}, {GOES, OUT, 4}, {GOES, OUT, 6}},
	 {.directions[OUT] = {.bypasses = true, .last_bypass = 9, .n = 5, .at = {{4}, {5}, {6}, {7}, {9}}}}},
	{"survey: one is a bypass",
	 {{GOES_PASSING, FWD, 0}},
	 {.directions[FWD] = {.bypasses = true, .n = 1, .at = {{0}}}}},

	/* No filter selects policies of sockets, but they do not count as policies that stay. */
	{"survey: those of sockets", {{OF_SOCKET, OUT, 5}, {OF_SOCKET, IN, HIGH}}, {.n_hold = 0}},
	{"survey: a shadow", {{IS_HOLD, OUT, 5}}, {.n_hold = 1, .directions[OUT] = {.n = 1, .at = {{5}}}}},
	{"survey: a shadow that expires",
	 {{IS_GRACE, OUT, HIGH | 5}},
	 {.n_expiring = 1, .directions[OUT] = {.n = 2, .at = {{5}, {HIGH | 5}}}}},
	{"survey: shadows by kind",
	 {{IS_HOLD, OUT, 5}, {IS_GRACE, OUT, 6}, {IS_HOLD, IN, 5}, {IS_HOLD, FWD, UINT32_MAX}, {IS_GRACE, IN, 5}},
	 {.n_hold = 3,
	  .n_expiring = 2,
	  .directions = {[IN] = {.n = 1, .at = {{5}}},
			 [OUT] = {.n = 2, .at = {{5}, {6}}},
			 [FWD] = {.n = 1, .at = {{LAST_BEFORE}}}}}},
	{"survey: of everything",
	 {{IS_HOLD, OUT, LAST_BEFORE},
	  {STAYS, OUT, 5},
	  {OF_SOCKET, OUT, UINT32_MAX},
	  {GOES_BLOCKING, OUT, 7},
	  {IS_GRACE, IN, HIGH},
	  {STAYS_PASSING, IN, 3},
	  {GOES, FWD, LAST_BEFORE}},
	 {.n_hold = 1,
	  .n_expiring = 1,
	  .directions = {[IN] = {.stays = true,
				 .last_stays = 3,
				 .bypasses = true,
				 .last_bypass = 3,
				 .n = 3,
				 .at = {{0}, {3, true}, {HIGH}}},
			 [OUT] = {.stays = true, .last_stays = 5, .n = 3, .at = {{5, true}, {7}, {LAST_BEFORE}}},
			 [FWD] = {.n = 1, .at = {{LAST_BEFORE}}}}}},

	{"survey: directions that are none",
	 {{GOES, XFRM_POLICY_MAX, 5}, {STAYS, XFRM_POLICY_MAX, HIGH}, {GOES, UINT8_MAX, 5}, {STAYS, UINT8_MAX, HIGH}},
	 {.n_hold = 0}},
};

static void check_direction(const struct shadow_direction *direction, const struct shadow_direction *expected)
{
	assert_int_equal(direction->stays, expected->stays);
	assert_int_equal(direction->last_stays, expected->last_stays);
	assert_int_equal(direction->bypasses, expected->bypasses);
	assert_int_equal(direction->last_bypass, expected->last_bypass);
	assert_int_equal(direction->many, expected->many);
	assert_int_equal(direction->n, expected->n);
	for (size_t i = 0; i < expected->n; i++) {
		assert_int_equal(direction->at[i].priority, expected->at[i].priority);
		assert_int_equal(direction->at[i].stays, expected->at[i].stays);
	}
}

static void surveys(void **state)
{
	const struct survey_row *row = *state;
	const struct shadow_survey survey = survey_of(row->policies);

	assert_int_equal(survey.n_hold, row->survey.n_hold);
	assert_int_equal(survey.n_expiring, row->survey.n_expiring);
	assert_int_equal(survey.high, row->survey.high);
	for (size_t dir = 0; dir < XFRM_POLICY_MAX; dir++)
		check_direction(&survey.directions[dir], &row->survey.directions[dir]);
}

/* Checks that a shadow that the filter leaves out counts as a shadow, and not as a policy that stays. */
static void surveys_shadows_left_out(void **state)
{
	struct shadow_survey survey = {0};

	(void)state;
	for (enum outcome outcome = IS_GRACE; outcome <= IS_HOLD; outcome++) {
		struct entry shadow = entry_of(&(struct policy){outcome, OUT, LAST_BEFORE});
		shadow.if_id = IF_ID_STAYS;
		shadow_survey_add(&survey, but_those_that_stay(), &shadow);
	}
	assert_int_equal(survey.n_hold, 1);
	assert_int_equal(survey.n_expiring, 1);
	assert_false(survey.directions[OUT].stays);
	assert_int_equal(survey.directions[OUT].n, 1);
	assert_false(survey.directions[OUT].at[0].stays);
}

/* Checks more priorities than a survey distinguishes. */
static void surveys_many_priorities(void **state)
{
	struct shadow_survey survey = {0};
	const struct shadow_direction *out = &survey.directions[OUT];

	(void)state;
	/* Add priorities from the middle to both sides. */
	for (uint32_t i = 0; i < SHADOW_PRIORITIES_MAX; i++) {
		assert_false(out->many);
		const struct entry policy = entry_of(&(struct policy){STAYS, OUT, i % 2 ? 1000 + i : 1000 - i});
		shadow_survey_add(&survey, but_those_that_stay(), &policy);
		assert_int_equal(out->n, i + 1);
	}
	for (size_t i = 1; i < out->n; i++)
		assert_true(out->at[i - 1].priority < out->at[i].priority);
	assert_false(out->many);

	/* Another policy with a known priority does not exceed the maximum. */
	const struct entry again = entry_of(&(struct policy){GOES, OUT, 1000});
	shadow_survey_add(&survey, but_those_that_stay(), &again);
	assert_false(out->many);

	const struct entry another = entry_of(&(struct policy){STAYS, OUT, 5000});
	shadow_survey_add(&survey, but_those_that_stay(), &another);
	assert_true(out->many);
	assert_false(survey.directions[IN].many);
	assert_int_equal(out->n, SHADOW_PRIORITIES_MAX);
	assert_int_equal(out->last_stays, 5000);
}

/* Making: what a shadow takes from its policy. */

static const struct xfrm_counters blocked = {.out = 12, .in = 3};
static const struct shadow_survey nothing_seen;

static struct shadow_survey with_counters(const struct shadow_survey *survey, const struct xfrm_counters *counters)
{
	struct shadow_survey with = *survey;

	with.blocked = *counters;
	return with;
}

/* Returns a policy with all members set, each to a different value. */
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

static struct entry make_shadow_of(const struct entry *policy, const struct shadow_survey *survey, bool later)
{
	const struct shadow_survey seen = with_counters(survey, &blocked);
	struct entry shadow;

	/* Old contents must not remain. */
	memset(&shadow, 0xa5, sizeof(shadow));
	shadow_make(policy, &seen, later, &shadow);
	return shadow;
}

static struct entry make_shadow(const struct entry *policy, const struct shadow_survey *survey)
{
	return make_shadow_of(policy, survey, false);
}

static void check_selector(const struct entry *shadow, const struct entry *policy, uint32_t user)
{
	struct xfrm_selector expected = policy->policy.info.sel;

	expected.user = user;
	assert_memory_equal(&shadow->policy.info.sel, &expected, sizeof(expected));
}

/* Checks the members that determine which packets a shadow matches, and for whom. */
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

/* Checks that neither time nor traffic ends a shadow, and that its limits of packets hold the counters. */
static void check_lifetimes(const struct entry *shadow, const struct xfrm_counters *counters)
{
	const struct xfrm_lifetime_cfg *lft = &shadow->policy.info.lft;
	const struct xfrm_lifetime_cur none = {0};

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
	/* The shadow holds its policy's priority here, because its own may differ. */
	assert_int_equal(shadow->policy.info.lft.soft_byte_limit, policy->policy.info.priority);
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

/* Returns a policy with an optional template: the kernel accepts its traffic also unprotected, but the policy is no
 * bypass. */
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

	/* A value of 0 with a mask is a mark too. */
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

/* Checks that a shadow has each possible value of some members of its policy. */
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

static const struct xfrm_counters counters[] = {{0, 0}, {1, 0}, {0, 1}, {UINT64_MAX, 7}, {7, UINT64_MAX}};

static void writes_counters(void **state)
{
	const struct entry policy = tunnel_policy();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		const struct shadow_survey survey = with_counters(&nothing_seen, &counters[i]);
		struct entry shadow;
		shadow_make(&policy, &survey, false, &shadow);
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
	struct policy policy; /* the survey counts it too */
	struct policy others[POLICIES_MAX - 1];
	/* Priorities of the shadow, when the policy is removed now, and when it is removed later. */
	uint32_t now, later;
} priority_rows[] = {
	{"priority: 0", {GOES, OUT, 0}, {{NONE}}, HIGH, HIGH},
	{"priority: charon's", {GOES, OUT, 371327}, {{NONE}}, HIGH | 371327, HIGH | 371327},
	{"priority: the last with room", {GOES, OUT, LAST_BEFORE}, {{NONE}}, UINT32_MAX, UINT32_MAX},
	{"priority: others that go", {GOES, OUT, 5}, {{GOES, OUT, 4}, {GOES, OUT, 6}}, HIGH | 5, HIGH | 5},
	{"priority: another with the same", {GOES, OUT, 5}, {{GOES, OUT, 5}}, HIGH | 5, HIGH | 5},

	{"priority: the first without room", {GOES, OUT, HIGH}, {{NONE}}, HIGH + 1, HIGH + 1},
	{"priority: without room, another behind", {GOES, OUT, HIGH}, {{GOES, OUT, HIGH + 1}}, HIGH, HIGH},
	{"priority: the highest but one", {GOES, OUT, UINT32_MAX - 1}, {{NONE}}, UINT32_MAX, UINT32_MAX},
	{"priority: the highest", {GOES, OUT, UINT32_MAX}, {{NONE}}, UINT32_MAX, UINT32_MAX},
	{"priority: a high one goes", {GOES, OUT, 5}, {{GOES, OUT, HIGH}}, 6, 6},
	{"priority: a high one goes, another behind", {GOES, OUT, 5}, {{GOES, OUT, HIGH}, {GOES, OUT, 6}}, 5, 5},
	{"priority: a high one goes, another not right behind",
	 {GOES, OUT, 5},
	 {{GOES, OUT, HIGH}, {GOES, OUT, 7}, {GOES, OUT, 4}},
	 6,
	 6},
	{"priority: the last with room, a high one goes",
	 {GOES, OUT, LAST_BEFORE},
	 {{GOES, OUT, UINT32_MAX}},
	 HIGH,
	 HIGH},
	{"priority: the last with room, a high one right behind",
	 {GOES, OUT, LAST_BEFORE},
	 {{GOES, OUT, HIGH}},
	 LAST_BEFORE,
	 LAST_BEFORE},
	{"priority: a high one stays", {GOES, OUT, 5}, {{STAYS, OUT, UINT32_MAX}}, 6, 6},
	{"priority: a high one of another direction", {GOES, OUT, 5}, {{GOES, IN, HIGH}, {GOES, IN, 6}}, 6, 6},
	{"priority: a high one of a socket", {GOES, OUT, 5}, {{OF_SOCKET, OUT, HIGH}}, HIGH | 5, HIGH | 5},
	{"priority: high shadows",
	 {GOES, OUT, 5},
	 {{IS_HOLD, OUT, HIGH | 5}, {IS_GRACE, OUT, UINT32_MAX}},
	 HIGH | 5,
	 HIGH | 5},

	{"priority: another stays right behind", {GOES, OUT, 5}, {{STAYS, OUT, 6}}, 5, 5},
	{"priority: another stays behind", {GOES, OUT, 5}, {{STAYS, OUT, 7}}, 6, 6},
	{"priority: another stays before", {GOES, OUT, 5}, {{STAYS, OUT, 4}}, HIGH | 5, HIGH | 5},
	{"priority: others stay before and behind", {GOES, OUT, 5}, {{STAYS, OUT, 4}, {STAYS, OUT, 9}}, 6, 6},
	{"priority: others stay behind and before", {GOES, OUT, 5}, {{STAYS, OUT, 9}, {STAYS, OUT, 4}}, 6, 6},
	{"priority: another stays with the same", {GOES, OUT, 5}, {{STAYS, OUT, 5}}, 6, HIGH | 5},
	{"priority: a bypass stays with the same", {GOES, OUT, 5}, {{STAYS_PASSING, OUT, 5}}, 4, HIGH | 5},
	{"priority: a bypass stays with the same, one before",
	 {GOES, OUT, 5},
	 {{STAYS_PASSING, OUT, 5}, {GOES, OUT, 4}},
	 5,
	 HIGH | 5},
	{"priority: a bypass has the same", {GOES, OUT, 5}, {{GOES_PASSING, OUT, 5}}, HIGH | 5, HIGH | 5},
	{"priority: of a bypass, another has the same", {GOES_PASSING, OUT, 5}, {{GOES, OUT, 5}}, HIGH | 6, HIGH | 6},
	{"priority: others stay with the same and behind", {GOES, OUT, 5}, {{STAYS, OUT, 5}, {STAYS, OUT, 9}}, 6, 6},
	{"priority: another stays far behind", {GOES, OUT, 0}, {{STAYS, OUT, LAST_BEFORE}}, 1, 1},
	{"priority: another stays far before", {GOES, OUT, LAST_BEFORE}, {{STAYS, OUT, 0}}, UINT32_MAX, UINT32_MAX},
	{"priority: another stays behind, one goes right behind",
	 {GOES, OUT, 5},
	 {{STAYS, OUT, 9}, {GOES, OUT, 6}},
	 5,
	 5},
	{"priority: another stays behind, a shadow expires right behind",
	 {GOES, OUT, 5},
	 {{STAYS, OUT, 9}, {IS_GRACE, OUT, 6}},
	 5,
	 5},
	{"priority: another stays behind in another direction",
	 {GOES, OUT, 5},
	 {{STAYS, IN, 9}, {STAYS, FWD, 9}},
	 HIGH | 5,
	 HIGH | 5},
	{"priority: another stays behind, in", {GOES, IN, 5}, {{STAYS, IN, 9}, {STAYS, OUT, 6}, {STAYS, FWD, 6}}, 6, 6},
	{"priority: another stays behind, fwd", {GOES, FWD, 5}, {{STAYS, FWD, 9}, {STAYS, OUT, 6}}, 6, 6},
	{"priority: one of a socket stays behind", {GOES, OUT, 5}, {{OF_SOCKET, OUT, 9}}, HIGH | 5, HIGH | 5},
	{"priority: shadows stay behind", {GOES, OUT, 5}, {{IS_HOLD, OUT, 9}, {IS_GRACE, OUT, 9}}, HIGH | 5, HIGH | 5},

	{"priority: a bypass goes behind", {GOES, OUT, 5}, {{GOES_PASSING, OUT, 9}}, HIGH | 5, 6},
	{"priority: a bypass goes right behind", {GOES, OUT, 5}, {{GOES_PASSING, OUT, 6}}, HIGH | 5, 5},
	{"priority: a bypass goes before", {GOES, OUT, 5}, {{GOES_PASSING, OUT, 4}}, HIGH | 5, HIGH | 5},
	{"priority: a bypass goes with the same", {GOES, OUT, 5}, {{GOES_PASSING, OUT, 5}}, HIGH | 5, HIGH | 5},
	{"priority: a bypass goes behind in another direction",
	 {GOES, OUT, 5},
	 {{GOES_PASSING, IN, 9}},
	 HIGH | 5,
	 HIGH | 5},
	{"priority: a drop goes behind", {GOES, OUT, 5}, {{GOES_BLOCKING, OUT, 9}}, HIGH | 5, HIGH | 5},
	{"priority: a bypass stays behind", {GOES, OUT, 5}, {{STAYS_PASSING, OUT, 9}}, 6, 6},
	{"priority: of a bypass, another goes behind", {GOES_PASSING, OUT, 5}, {{GOES, OUT, 9}}, HIGH | 5, HIGH | 5},
	{"priority: of a drop, a bypass goes behind", {GOES_BLOCKING, OUT, 5}, {{GOES_PASSING, OUT, 9}}, HIGH | 5, 6},

	{"priority: of a shadow", {IS_GRACE, OUT, HIGH | 5}, {{NONE}}, HIGH | 5, HIGH | 5},
	{"priority: of a shadow right behind its policy", {IS_GRACE, OUT, 6}, {{NONE}}, 6, 6},
	{"priority: of a shadow, another stays behind", {IS_GRACE, OUT, 6}, {{STAYS, OUT, 9}}, 6, 6},
	{"priority: of a shadow, another stays before", {IS_GRACE, OUT, 6}, {{STAYS, OUT, 4}}, 6, 6},
	{"priority: of a shadow, a bypass goes behind", {IS_GRACE, OUT, 6}, {{GOES_PASSING, OUT, 9}}, 6, 6},
	{"priority: of a shadow, a high one", {IS_GRACE, OUT, HIGH | 5}, {{GOES, OUT, UINT32_MAX}}, HIGH | 5, HIGH | 5},

	{"priority: no direction", {GOES, XFRM_POLICY_MAX, 5}, {{NONE}}, 5, 5},
	{"priority: the last direction that is none", {GOES, UINT8_MAX, 5}, {{STAYS, OUT, 9}}, 5, 5},
};

static void takes_priority(void **state)
{
	const struct priority_row *row = *state;
	const struct entry policy = entry_of(&row->policy);
	struct policy all[POLICIES_MAX] = {row->policy};

	memcpy(all + 1, row->others, sizeof(row->others));
	const struct shadow_survey survey = survey_of(all);
	assert_int_equal(make_shadow_of(&policy, &survey, false).policy.info.priority, row->now);
	assert_int_equal(make_shadow_of(&policy, &survey, true).policy.info.priority, row->later);
}

/* Checks more priorities than a survey distinguishes. The priority right behind a policy may belong to another one, so
 * the shadow takes the policy's own priority. */
static void takes_priority_among_many(void **state)
{
	struct shadow_survey survey = {0};

	(void)state;
	for (uint32_t i = 0; i <= SHADOW_PRIORITIES_MAX; i++) {
		const struct entry stays = entry_of(&(struct policy){STAYS, OUT, 1000 + 2 * i});
		shadow_survey_add(&survey, but_those_that_stay(), &stays);
	}
	const struct entry policy = entry_of(&(struct policy){GOES, OUT, 5});
	assert_int_equal(make_shadow(&policy, &survey).policy.info.priority, 5);
	const struct entry behind_all = entry_of(&(struct policy){GOES, OUT, 5000});
	assert_int_equal(make_shadow(&behind_all, &survey).policy.info.priority, HIGH | 5000);
}

/* Checks that an expiring shadow becomes a permanent one, and otherwise stays the same. */
static void makes_of_shadow(void **state)
{
	const struct entry policy = full_policy(), bypass = bypass_shunt();
	const struct shadow_survey surveys_seen[] = {
		{0},
		{.high = true},
		{.directions[FWD] = {.stays = true, .last_stays = UINT32_MAX}},
		{.n_hold = 5, .n_expiring = 7},
	};
	const struct xfrm_counters since = {100, 200};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(surveys_seen); i++) {
		const struct shadow_survey survey = with_counters(&surveys_seen[i / 2], &since);
		struct entry of_policy = make_shadow(&policy, &nothing_seen), renewed;
		struct entry of_bypass = make_shadow(&bypass, &nothing_seen);
		shadow_let_expire(&of_policy, 300, 1);
		shadow_let_expire(&of_bypass, 300, 1);

		shadow_make(&of_policy, &survey, i % 2, &renewed);
		check_shadow(&renewed, &policy, XFRM_POLICY_BLOCK);
		assert_int_equal(renewed.policy.info.priority, policy.policy.info.priority | SHADOW_PRIORITY);

		shadow_make(&of_bypass, &survey, i % 2, &renewed);
		check_shadow(&renewed, &bypass, XFRM_POLICY_ALLOW);
	}
}

/* Checks that flush --hold moves a shadow that arm put right behind its policy to a place behind all policies. */
static void makes_of_close_shadow(void **state)
{
	struct policy seen[POLICIES_MAX] = {{GOES, OUT, 5}, {GOES_PASSING, OUT, 9}};
	const struct shadow_survey seen_first = survey_of(seen), survey = with_counters(&seen_first, &blocked);
	const struct shadow_survey later_survey = with_counters(&survey, &(struct xfrm_counters){100, 200});
	const struct entry policy = entry_of(&seen[0]), bypass = entry_of(&seen[1]);
	struct entry close, hold;

	(void)state;
	shadow_make(&policy, &survey, true, &close);
	assert_int_equal(shadow_tag(&close), SHADOW_ADJACENT);
	assert_int_equal(close.policy.info.priority, 6);
	shadow_make(&close, &later_survey, false, &hold);
	check_shadow(&hold, &policy, XFRM_POLICY_BLOCK);
	check_lifetimes(&hold, &blocked);
	assert_int_equal(hold.policy.info.priority, 5 | SHADOW_PRIORITY);

	/* The last bypass has no bypass behind it. flush --hold removes policies in order, so it needs no adjacent
	 * shadow. */
	shadow_make(&bypass, &survey, true, &hold);
	check_shadow(&hold, &bypass, XFRM_POLICY_ALLOW);
	assert_int_equal(hold.policy.info.priority, 9 | SHADOW_PRIORITY);
	shadow_make(&policy, &survey, false, &hold);
	assert_int_equal(shadow_tag(&hold), SHADOW_HOLD);
	assert_int_equal(hold.policy.info.priority, 5 | SHADOW_PRIORITY);

	/* A bypass that stays behind the policy also stays there for flush --hold, so the shadow is right behind the
	 * policy. */
	seen[1].outcome = STAYS_PASSING;
	const struct shadow_survey staying = survey_of(seen);
	for (int later = 0; later < 2; later++) {
		shadow_make(&policy, &staying, later, &hold);
		assert_int_equal(shadow_tag(&hold), SHADOW_HOLD);
		assert_int_equal(hold.policy.info.priority, 6);
	}
}

/* Checks a policy of unknown priority that turns out to stay after the survey. No shadow may be behind it, so each
 * shadow is right behind its own policy. */
static void makes_where_one_stays(void **state)
{
	struct policy seen[POLICIES_MAX] = {{GOES, OUT, 5}, {GOES, OUT, 9}, {GOES, IN, 5}};
	struct shadow_survey survey = survey_of(seen);
	static const uint32_t expected[] = {6, 10, 5 | SHADOW_PRIORITY};

	(void)state;
	shadow_survey_stays(&survey, OUT);
	shadow_survey_stays(&survey, XFRM_POLICY_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct entry policy = entry_of(&seen[i]);
		assert_int_equal(make_shadow(&policy, &survey).policy.info.priority, expected[i]);
	}
}

/* Checks the numbers of real policies, of shadows by kind, and of shadows that are bypasses. */
static void counts_shadows(void **state)
{
	static const uint32_t tags[] = {SHADOW_HOLD, SHADOW_EXPIRING, SHADOW_ADJACENT, 0, 0};
	static const uint8_t actions[] = {XFRM_POLICY_ALLOW, XFRM_POLICY_BLOCK, XFRM_POLICY_ALLOW, XFRM_POLICY_ALLOW,
					  XFRM_POLICY_BLOCK};
	struct shadow_survey survey = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		struct entry policy = entry_of(&(struct policy){GOES_PASSING, OUT, 5});
		policy.policy.info.sel.user = tags[i];
		policy.policy.info.action = actions[i];
		shadow_survey_add(&survey, but_those_that_stay(), &policy);
	}
	assert_int_equal(survey.n_real, 2);
	assert_int_equal(shadow_count(&survey), 3);
	assert_int_equal(survey.n_adjacent, 1);
	assert_int_equal(survey.n_bypasses, 2);
}

/* The order of precedence. Of the policies that match a packet, the kernel takes the one with the lowest priority, and
 * of equal priorities the oldest. So a shadow comes behind real policies of its priority. A packet may match any subset
 * of the policies. The policy that decided on it before, or its shadow, must still decide. This is true for each subset
 * if it is true for each pair. The order of two policies with the same priority is not defined. */

/* The entry that represents a policy: the policy itself or its shadow. A policy that stays always represents itself. */
struct place {
	uint32_t priority;
	bool shadow;
};

static bool is_before(struct place a, struct place b)
{
	if (a.priority != b.priority)
		return a.priority < b.priority;
	return !a.shadow && b.shadow;
}

struct pair {
	struct policy first, second;	    /* in the order of their priorities */
	struct place now_first, now_second; /* the entries that represent them */
};

static void check_before(const struct pair *pair)
{
	if (!is_before(pair->now_first, pair->now_second))
		fail_msg("%s %#x stands for %#x, and no longer before %s %#x, which stands for %#x",
			 pair->now_first.shadow ? "a shadow of" : "a policy of", pair->now_first.priority,
			 pair->first.priority, pair->now_second.shadow ? "a shadow of" : "a policy of",
			 pair->now_second.priority, pair->second.priority);
}

/* Returns whether the order of an outcome is checked. Leaves out existing shadows: they block in this test, so traffic
 * that matches one of them first is blocked, and never unprotected. */
static bool is_in_order(enum outcome outcome)
{
	return outcome != OF_SOCKET && outcome != IS_HOLD && outcome != IS_GRACE;
}

struct order {
	const struct policy *policies;
	size_t n;
	struct shadow_survey survey;
	/* Priorities of the shadows of policies that are removed now, and later. */
	uint32_t now[POLICIES_MAX], later[POLICIES_MAX];
};

static void make_order(struct order *order, const struct policy *policies)
{
	*order = (struct order){.policies = policies, .n = count(policies), .survey = survey_of(policies)};
	for (size_t i = 0; i < order->n; i++) {
		const struct entry policy = entry_of(&policies[i]);
		order->now[i] = make_shadow_of(&policy, &order->survey, false).policy.info.priority;
		order->later[i] = make_shadow_of(&policy, &order->survey, true).policy.info.priority;
	}
}

/* Checks a pair at each time during flush --hold, which first replaces the bypasses, in any order, and then the other
 * policies. Meanwhile, a packet that a policy protects or drops must not match a bypass first. At the end, each packet
 * must match the entry that represents its policy. */
static void check_hold(const struct order *order, size_t first, size_t second)
{
	struct pair pair = {.first = order->policies[first], .second = order->policies[second]};
	const bool replaces[] = {is_replaced(pair.first.outcome), is_replaced(pair.second.outcome)};
	const bool bypass[] = {bypasses(pair.first.outcome), bypasses(pair.second.outcome)};

	for (unsigned int done = 0; done < 4; done++) {
		const bool of_first = done & 1, of_second = done & 2;
		const bool is_end = of_first == replaces[0] && of_second == replaces[1];
		if ((of_first && !replaces[0]) || (of_second && !replaces[1]))
			continue;
		if (of_first && !of_second && replaces[1] && !bypass[0] && bypass[1])
			continue;
		if (of_second && !of_first && replaces[0] && !bypass[1] && bypass[0])
			continue;
		if (!is_end && (bypass[0] || !bypass[1]))
			continue;
		pair.now_first =
			of_first ? (struct place){order->now[first], true} : (struct place){pair.first.priority, false};
		pair.now_second = of_second ? (struct place){order->now[second], true}
					    : (struct place){pair.second.priority, false};
		check_before(&pair);
	}
}

/* Checks a pair after arm, when the daemon removes the policies in any order: a packet that was protected or dropped
 * must not match a bypass first. */
static void check_arm(const struct order *order, size_t first, size_t second)
{
	struct pair pair = {.first = order->policies[first], .second = order->policies[second]};

	if (!is_replaced(pair.first.outcome))
		return;
	/* Both policies are removed. */
	pair.now_first = (struct place){order->later[first], true};
	if (is_replaced(pair.second.outcome)) {
		pair.now_second = (struct place){order->later[second], true};
		check_before(&pair);
	}
	/* Only the first is removed. */
	pair.now_second = (struct place){pair.second.priority, false};
	if (stays(pair.second.outcome) || (bypasses(pair.second.outcome) && !bypasses(pair.first.outcome)))
		check_before(&pair);
}

static void check_order(const struct policy *policies)
{
	struct order order;

	make_order(&order, policies);
	for (size_t i = 0; i < order.n; i++) {
		if (!is_replaced(policies[i].outcome))
			continue;
		/* A present policy comes before its shadow, which is younger. */
		assert_true(order.now[i] >= policies[i].priority);
		assert_true(order.later[i] >= policies[i].priority);
		/* If no policy prevents it, policies that the daemon installs next come before the shadow. */
		if (!order.survey.high && !order.survey.directions[policies[i].dir].stays)
			assert_true(order.now[i] >= SHADOW_PRIORITY || policies[i].outcome == IS_GRACE);
	}
	for (size_t i = 0; i < order.n; i++)
		for (size_t j = 0; j < order.n; j++) {
			const struct policy *first = &policies[i], *second = &policies[j];
			if (first->dir != second->dir || first->priority >= second->priority ||
			    !is_in_order(first->outcome) || !is_in_order(second->outcome))
				continue;
			check_hold(&order, i, j);
			check_arm(&order, i, j);
		}
}

static const struct order_row {
	const char *name;
	struct policy policies[POLICIES_MAX];
} order_rows[] = {
	{"order: charon's", {{GOES, OUT, 371327}, {GOES, OUT, 375423}, {GOES, OUT, 379519}, {GOES, OUT, 375423}}},
	{"order: a bypass before a policy", {{GOES_PASSING, OUT, 175423}, {GOES, OUT, 399999}}},
	{"order: a bypass behind a policy", {{GOES_PASSING, OUT, 399999}, {GOES, OUT, 175423}}},
	{"order: a bypass right behind a policy", {{GOES_PASSING, OUT, 6}, {GOES, OUT, 5}}},
	{"order: a bypass between drops", {{GOES_BLOCKING, OUT, 4}, {GOES_PASSING, OUT, 5}, {GOES_BLOCKING, OUT, 6}}},
	{"order: a bypass stays behind", {{GOES, OUT, 4}, {GOES_BLOCKING, OUT, 5}, {STAYS_PASSING, OUT, 6}}},
	{"order: equal ones", {{GOES, OUT, 5}, {GOES, OUT, 5}, {GOES, OUT, 5}}},
	{"order: one after the other", {{GOES, OUT, 5}, {GOES, OUT, 6}, {GOES, OUT, 7}, {STAYS, OUT, 8}}},
	{"order: one after the other in each direction",
	 {{GOES, OUT, 5},
	  {GOES, OUT, 6},
	  {GOES, IN, 6},
	  {GOES, IN, 7},
	  {STAYS, OUT, 8},
	  {GOES, FWD, 7},
	  {GOES, FWD, 8}}},
	{"order: from 0 to the last with room", {{GOES, OUT, 0}, {GOES, OUT, 1}, {GOES, OUT, LAST_BEFORE}}},
	{"order: around the first without room",
	 {{GOES, OUT, LAST_BEFORE - 1}, {GOES, OUT, LAST_BEFORE}, {GOES, OUT, HIGH}, {GOES, OUT, HIGH + 1}}},
	{"order: a policy and a high one with the same bits", {{GOES, OUT, 5}, {GOES, OUT, HIGH | 5}, {GOES, OUT, 6}}},
	{"order: from 0 to the highest", {{GOES, OUT, 0}, {GOES, OUT, HIGH}, {GOES, OUT, UINT32_MAX}}},
	{"order: a high one of another direction", {{GOES, OUT, 0}, {GOES, OUT, 5}, {GOES, IN, HIGH}, {GOES, IN, 7}}},
	{"order: one stays behind all", {{GOES, OUT, 1}, {GOES, OUT, 2}, {STAYS, OUT, 9}}},
	{"order: one stays before all", {{GOES, OUT, 5}, {GOES, OUT, 6}, {STAYS, OUT, 1}}},
	{"order: those that stay and go by turns",
	 {{GOES, OUT, 1}, {STAYS, OUT, 2}, {GOES, OUT, 3}, {STAYS, OUT, 4}, {GOES, OUT, 5}, {STAYS, OUT, 0}}},
	{"order: one stays in another direction", {{GOES, OUT, 1}, {GOES, OUT, 9}, {STAYS, IN, 5}, {GOES, IN, 3}}},
	{"order: a high one stays", {{GOES, OUT, 1}, {GOES, OUT, HIGH | 5}, {STAYS, OUT, HIGH | 3}}},
	{"order: a shadow that expires", {{GOES, OUT, 1}, {IS_GRACE, OUT, HIGH | 3}, {GOES, OUT, 5}, {STAYS, OUT, 3}}},
	{"order: those of sockets and shadows do not count",
	 {{GOES, OUT, 1}, {OF_SOCKET, OUT, 5}, {GOES, OUT, 9}, {IS_HOLD, IN, HIGH}, {IS_GRACE, IN, UINT32_MAX}}},
};

static void keeps_order(void **state)
{
	const struct order_row *row = *state;

	check_order(row->policies);
}

/* Checks all sets of policies with some of these priorities, each with one of the outcomes. */
static void keeps_order_of_all_sets(void **state)
{
	static const uint32_t priorities[] = {0, 1, 2, LAST_BEFORE, HIGH, UINT32_MAX};
	static const enum outcome outcomes[] = {NONE, GOES, GOES_PASSING, GOES_BLOCKING, STAYS, STAYS_PASSING};
	unsigned int n_sets = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(priorities); i++)
		n_sets *= ARRAY_SIZE(outcomes);
	for (unsigned int set = 0; set < n_sets; set++) {
		struct policy policies[POLICIES_MAX] = {0};
		unsigned int rest = set;
		size_t n = 0;
		for (size_t i = 0; i < ARRAY_SIZE(priorities); i++, rest /= ARRAY_SIZE(outcomes)) {
			enum outcome outcome = outcomes[rest % ARRAY_SIZE(outcomes)];
			if (outcome != NONE)
				policies[n++] = (struct policy){outcome, OUT, priorities[i]};
		}
		check_order(policies);
	}
}

/* Checks, with more priorities than a survey distinguishes, that a packet that was protected or dropped never matches a
 * bypass first. */
static void lets_nothing_pass_among_many(void **state)
{
	static const enum outcome outcomes[] = {GOES, GOES_PASSING, GOES_BLOCKING, GOES_PASSING, GOES, STAYS_PASSING};
	/* The policies that stay are at the beginning, in the middle, at the end, or absent. */
	static const uint32_t n_outcomes[] = {5, 6};
	enum { N = SHADOW_PRIORITIES_MAX + 7 };
	static struct order order; /* a few of the policies; the others only exceed the maximum */

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(n_outcomes); k++)
		for (uint32_t first = 0; first < N; first += 3) {
			struct policy policies[POLICIES_MAX] = {0};
			struct shadow_survey survey = {0};
			for (uint32_t i = 0; i < N; i++) {
				const struct policy policy = {outcomes[i % n_outcomes[k]], OUT, 2 * i};
				const struct entry entry = entry_of(&policy);
				shadow_survey_add(&survey, but_those_that_stay(), &entry);
				if (i >= first && i < first + POLICIES_MAX)
					policies[i - first] = policy;
			}
			assert_true(survey.directions[OUT].many);
			order = (struct order){.policies = policies, .n = count(policies), .survey = survey};
			for (size_t i = 0; i < order.n; i++) {
				const struct entry entry = entry_of(&policies[i]);
				order.now[i] = make_shadow(&entry, &survey).policy.info.priority;
				order.later[i] = make_shadow_of(&entry, &survey, true).policy.info.priority;
			}
			for (size_t i = 0; i < order.n; i++)
				for (size_t j = i + 1; j < order.n; j++) {
					if (!bypasses(policies[i].outcome) && bypasses(policies[j].outcome))
						check_hold(&order, i, j);
					check_arm(&order, i, j);
				}
		}
}

/* Checks that a survey finds the bypasses, which are replaced first. */
static void finds_bypasses(void **state)
{
	struct entry shadow = entry_of(&(struct policy){IS_HOLD, OUT, 5});
	struct policy others[POLICIES_MAX] = {
		{GOES, OUT, 5}, {GOES_BLOCKING, IN, 6}, {STAYS, FWD, 7}, {IS_GRACE, IN, 8}};
	struct policy real[POLICIES_MAX] = {{GOES, OUT, 5}, {GOES_PASSING, FWD, 6}};
	struct shadow_survey survey = survey_of(others);

	(void)state;
	assert_false(shadow_survey_has_bypass(&survey));
	shadow.policy.info.action = XFRM_POLICY_ALLOW;
	shadow_survey_add(&survey, but_those_that_stay(), &shadow);
	assert_true(shadow_survey_has_bypass(&survey));
	survey = survey_of(real);
	assert_true(shadow_survey_has_bypass(&survey));
}

/* Expiring shadows. */

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
	assert_int_equal(shadow_tag(&shadow), SHADOW_EXPIRING);
	assert_int_equal(shadow.policy.info.lft.hard_add_expires_seconds, row->seconds);
	assert_true(shadow_is_of_run(&shadow, row->run));
	assert_false(shadow_is_of_run(&shadow, row->run + 1));
	assert_false(shadow_is_of_run(&shadow, ~row->run));

	/* All other members are unchanged: only this time ends the shadow, and the shadow contains the counters. */
	check_selector(&shadow, &policy, SHADOW_EXPIRING);
	check_key(&shadow, &policy);
	assert_int_equal(shadow.policy.info.action, hold.policy.info.action);
	assert_int_equal(shadow.policy.info.priority, hold.policy.info.priority);
	shadow.policy.info.lft.hard_add_expires_seconds = 0;
	shadow.policy.info.lft.hard_byte_limit = XFRM_INF;
	check_lifetimes(&shadow, &blocked);
}

/* Checks that only an expiring shadow belongs to a run. */
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
	sa.policy.info.sel.user = SHADOW_EXPIRING;
	sa.policy.info.lft.hard_byte_limit = 5;
	assert_false(shadow_is_of_run(&sa, 5));
}

/* Shadows that are present where others are to be added. */

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

	{"suffices: expires, blocks", SHADOW_EXPIRING, BLOCK, BLOCK, HIGH | 5, HIGH | 5, false},
	{"suffices: expires, blocks, too early", SHADOW_EXPIRING, BLOCK, BLOCK, 5, HIGH | 5, false},
	{"suffices: expires, blocks, too late", SHADOW_EXPIRING, BLOCK, BLOCK, HIGH | 5, 5, false},
	{"suffices: expires, passes", SHADOW_EXPIRING, ALLOW, ALLOW, HIGH | 5, HIGH | 5, false},
	{"suffices: expires, passes, too early", SHADOW_EXPIRING, ALLOW, ALLOW, 5, HIGH | 5, false},
	{"suffices: expires, passes, too late", SHADOW_EXPIRING, ALLOW, ALLOW, HIGH | 5, 5, false},
	{"suffices: expires, passes what is to be blocked", SHADOW_EXPIRING, ALLOW, BLOCK, HIGH | 5, HIGH | 5, false},
	{"suffices: expires, passes what is to be blocked, too late", SHADOW_EXPIRING, ALLOW, BLOCK, HIGH | 5, 5,
	 false},
	{"suffices: expires, blocks what is to pass", SHADOW_EXPIRING, BLOCK, ALLOW, HIGH | 5, HIGH | 5, true},
	{"suffices: expires, blocks what is to pass, too late", SHADOW_EXPIRING, BLOCK, ALLOW, HIGH | 5, 5, true},
};

static struct entry shadow_with(uint32_t tag, uint8_t action, uint32_t priority)
{
	const struct entry policy = bypass_shunt();
	struct entry shadow = make_shadow(&policy, &nothing_seen);

	if (tag == SHADOW_EXPIRING)
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
	/* The existing shadow's time of addition, index and counters do not matter. */
	present.policy.info.index = ANY_INDEX;
	present.policy.info.curlft.add_time = 1;
	shadow_set_blocked(&present, &(struct xfrm_counters){99, 98});
	assert_int_equal(shadow_suffices(&present, &wanted), row->suffices);
}

/* Policies that protect the traffic of a shadow. */

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
	ADD_CASE(&cases, surveys_many_priorities);
	ADD_ROWS(&cases, makes, make_rows);
	ADD_CASE(&cases, keeps_what_it_matches);
	ADD_CASE(&cases, writes_counters);
	ADD_CASE(&cases, changes_counters_alone);
	ADD_ROWS(&cases, takes_priority, priority_rows);
	ADD_CASE(&cases, takes_priority_among_many);
	ADD_CASE(&cases, makes_of_shadow);
	ADD_CASE(&cases, makes_of_close_shadow);
	ADD_CASE(&cases, makes_where_one_stays);
	ADD_CASE(&cases, counts_shadows);
	ADD_ROWS(&cases, keeps_order, order_rows);
	ADD_CASE(&cases, keeps_order_of_all_sets);
	ADD_CASE(&cases, lets_nothing_pass_among_many);
	ADD_CASE(&cases, finds_bypasses);
	ADD_ROWS(&cases, expires, expire_rows);
	ADD_CASE(&cases, is_of_no_run);
	ADD_ROWS(&cases, suffices, suffices_rows);
	ADD_CASE(&cases, finds_covering);
	return cmocka_run_group_tests_name("shadow", cases.list, NULL, NULL);
}
