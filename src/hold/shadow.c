/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hold/shadow.h"

#include <string.h>

#include "base/util.h"

uint32_t shadow_tag(const struct entry *entry)
{
	if (entry->kind != ENTRY_POLICY)
		return 0;
	uint32_t user = entry->policy.info.sel.user;
	return user == SHADOW_HOLD || user == SHADOW_EXPIRING || user == SHADOW_ADJACENT ? user : 0;
}

bool is_kept_policy(const struct entry *entry)
{
	return entry->kind == ENTRY_POLICY && entry->policy.info.sel.user == KEPT_TAG;
}

uint32_t shadow_original_priority(const struct entry *policy)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;

	return shadow_tag(policy) && info->lft.soft_byte_limit <= UINT32_MAX ? (uint32_t)info->lft.soft_byte_limit
									     : info->priority;
}

void shadow_set_original_priority(struct entry *shadow, uint32_t priority)
{
	shadow->policy.info.lft.soft_byte_limit = priority;
	shadow->policy.info.lft.hard_byte_limit = XFRM_INF;
}

/* Compares an element of shadow_direction.at, whose first member is its priority, with a priority. */
static int compare_priorities(const void *element, const void *priority)
{
	return compare_u32(*(const uint32_t *)element, *(const uint32_t *)priority);
}

/* Returns the index of a priority in the sorted list, or the index at which it would be. */
static size_t find_priority(const struct shadow_direction *direction, uint32_t priority)
{
	return lower_bound(&priority, direction->at, direction->n, sizeof(direction->at[0]), compare_priorities);
}

/* Returns whether a real policy, or the policy that a shadow was made from, has this priority. Returns true also if
 * that is unknown, because the list is incomplete. */
static bool has_priority(const struct shadow_direction *direction, uint32_t priority)
{
	size_t i = find_priority(direction, priority);

	return direction->many || (i < direction->n && direction->at[i].priority == priority && direction->at[i].real);
}

/* Adds a policy to the findings about a priority. The priority is the policy's own. If the policy is a shadow, it may
 * also be the priority of the policy that the shadow was made from. */
static void note_priority(struct shadow_direction *direction, uint32_t priority, const struct entry *policy, bool stays)
{
	size_t i = find_priority(direction, priority);

	if (i == direction->n || direction->at[i].priority != priority) {
		if (direction->n == SHADOW_PRIORITIES_MAX) {
			direction->many = true;
			return;
		}
		memmove(&direction->at[i + 1], &direction->at[i], (direction->n - i) * sizeof(direction->at[0]));
		memset(&direction->at[i], 0, sizeof(direction->at[i]));
		direction->at[i].priority = priority;
		direction->n++;
	}
	direction->at[i].stays |= stays;
	direction->at[i].bypasses |= policy_is_bypass(policy);
	direction->at[i].others |= !policy_is_bypass(policy);
	direction->at[i].real |= !shadow_tag(policy) || priority == shadow_original_priority(policy);
}

bool policy_is_bypass(const struct entry *policy)
{
	return policy->policy.info.action == XFRM_POLICY_ALLOW && policy->policy.n_templates == 0;
}

/* Returns a number that is greater for younger policies: the index without the three bits of the direction. */
static uint32_t age(const struct entry *policy)
{
	return policy->policy.info.index >> 3;
}

void shadow_survey_add(struct shadow_survey *survey, const struct filter *filter, const struct entry *policy)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;
	uint32_t tag = shadow_tag(policy);

	survey->n_hold += tag == SHADOW_HOLD;
	survey->n_expiring += tag == SHADOW_EXPIRING;
	survey->n_adjacent += tag == SHADOW_ADJACENT;
	survey->n_bypasses += tag && policy_is_bypass(policy);
	survey->n_kept += is_kept_policy(policy);
	/* The kernel tries the policies of sockets before all others, whatever their priority. */
	if (entry_is_per_socket(policy) || info->dir >= XFRM_POLICY_MAX)
		return;

	struct shadow_direction *direction = &survey->directions[info->dir];
	if (tag == SHADOW_HOLD) {
		/* An interrupted run may have left policies without shadows. This run has to place their shadows as
		 * that run would have, so count an existing shadow like its policy. */
		note_priority(direction, shadow_original_priority(policy), policy, false);
		survey->high |= shadow_original_priority(policy) >= SHADOW_PRIORITY;
		return;
	}
	bool stays = !tag && !filter_selects(filter, policy);
	note_priority(direction, info->priority, policy, stays);
	if (tag) {
		note_priority(direction, shadow_original_priority(policy), policy, false);
		return;
	}
	survey->n_real++;
	survey->high |= info->priority >= SHADOW_PRIORITY;
	if (stays) {
		direction->stays = true;
		direction->last_stays = max_u32(direction->last_stays, info->priority);
	}
	if (policy_is_bypass(policy)) {
		direction->bypasses = true;
		direction->last_bypass = max_u32(direction->last_bypass, info->priority);
		return;
	}
	/* A kept policy is younger than the policy that it was copied from, but it is no new decision of charon. */
	if (!is_kept_policy(policy))
		survey->newest = max_u32(survey->newest, age(policy));
}

bool shadow_is_overtaken(const struct shadow_survey *survey, const struct entry *shadow)
{
	return shadow_tag(shadow) && policy_is_bypass(shadow) && age(shadow) < survey->newest;
}

uint64_t shadow_count(const struct shadow_survey *survey)
{
	return survey->n_hold + survey->n_expiring + survey->n_adjacent;
}

void shadow_survey_stays(struct shadow_survey *survey, uint8_t dir)
{
	if (dir >= XFRM_POLICY_MAX)
		return;
	survey->directions[dir].stays = true;
	survey->directions[dir].last_stays = UINT32_MAX;
}

bool shadow_survey_has_bypass(const struct shadow_survey *survey)
{
	bool bypasses = survey->n_bypasses != 0;

	for (size_t dir = 0; dir < XFRM_POLICY_MAX; dir++)
		bypasses |= survey->directions[dir].bypasses;
	return bypasses;
}

/* Returns the priority right behind a policy. If another policy has that priority, returns the policy's own. A shadow
 * is behind the policy then too: of two policies with equal priority the kernel finds the older one. */
static uint32_t right_behind(const struct shadow_direction *direction, uint32_t priority)
{
	return priority == UINT32_MAX || has_priority(direction, priority + 1) ? priority : priority + 1;
}

/* Returns the priority right before all policies of a priority. If another policy has that priority, returns `priority`
 * itself. */
static uint32_t right_before(const struct shadow_direction *direction, uint32_t priority)
{
	return priority == 0 || has_priority(direction, priority - 1) ? priority : priority - 1;
}

/* Determines the tag and the priority of a policy's shadow, by the rules in the comment of shadow_make(). Beside a
 * bypass of the same priority, a shadow that blocks stands before that bypass, unless `later`. A bypass shadow stands
 * behind the other shadows of the same priority. */
static void place(const struct entry *policy, const struct shadow_survey *survey, bool later, uint32_t *tag,
		  uint32_t *priority)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;
	uint32_t original = shadow_original_priority(policy);

	*tag = SHADOW_HOLD;
	*priority = original | SHADOW_PRIORITY;
	if (shadow_tag(policy) == SHADOW_HOLD || shadow_tag(policy) == SHADOW_EXPIRING ||
	    info->dir >= XFRM_POLICY_MAX) {
		*priority = info->priority;
		return;
	}

	const struct shadow_direction *direction = &survey->directions[info->dir];
	size_t i = find_priority(direction, original);
	bool seen = i < direction->n && direction->at[i].priority == original, bypasses = policy_is_bypass(policy);
	bool beside_one_that_stays = !later && !bypasses && seen && direction->at[i].stays;
	bool close = survey->high || (direction->stays && original < direction->last_stays) || beside_one_that_stays;

	if (!close && later && direction->bypasses && original < direction->last_bypass) {
		close = true;
		*tag = SHADOW_ADJACENT;
	}
	if (close && !later && !bypasses && seen && direction->at[i].bypasses)
		*priority = right_before(direction, original);
	else if (close)
		*priority = right_behind(direction, original);
	else if (bypasses && *priority != UINT32_MAX && (seen ? direction->at[i].others : direction->many))
		++*priority;
}

/* Returns a copy of the fields that a shadow or a kept policy takes from its policy, with a tag and a priority. */
static struct entry copy_of(const struct entry *policy, uint32_t tag, uint32_t priority)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;
	struct entry copy = {
		.kind = ENTRY_POLICY,
		.mark = policy->mark,
		.if_id = policy->if_id,
		.policy =
			{
				.info =
					{
						.sel = info->sel,
						.priority = priority,
						.dir = info->dir,
						.action = info->action,
						.flags = info->flags,
						.share = info->share,
					},
				.ptype = policy->policy.ptype,
				.security_length = policy->policy.security_length,
				.security = policy->policy.security,
			},
	};

	copy.policy.info.sel.user = tag;
	return copy;
}

static void make(const struct entry *policy, const struct shadow_survey *survey, uint32_t tag, uint32_t priority,
		 struct entry *ret)
{
	const struct xfrm_counters before = shadow_tag(policy) ? shadow_blocked_before(policy) : survey->blocked;

	*ret = copy_of(policy, tag, priority);
	if (policy->policy.n_templates)
		ret->policy.info.action = XFRM_POLICY_BLOCK;
	shadow_set_original_priority(ret, shadow_original_priority(policy));
	shadow_set_blocked(ret, &before);
}

void shadow_make(const struct entry *policy, const struct shadow_survey *survey, bool later, struct entry *ret)
{
	uint32_t tag, priority;

	place(policy, survey, later, &tag, &priority);
	make(policy, survey, tag, priority, ret);
}

void shadow_make_adjacent(const struct entry *policy, const struct shadow_survey *survey, struct entry *ret)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;
	uint32_t priority = info->priority;

	if (info->dir < XFRM_POLICY_MAX)
		priority = right_behind(&survey->directions[info->dir], priority);
	make(policy, survey, SHADOW_ADJACENT, priority, ret);
}

void shadow_make_kept_policy(const struct entry *policy, struct entry *ret)
{
	*ret = copy_of(policy, KEPT_TAG, policy->policy.info.priority);
	ret->policy.info.lft.soft_byte_limit = ret->policy.info.lft.hard_byte_limit = XFRM_INF;
	ret->policy.info.lft.soft_packet_limit = ret->policy.info.lft.hard_packet_limit = XFRM_INF;
	ret->policy.info.lft.hard_add_expires_seconds = KEPT_POLICY_SECONDS;
	ret->policy.n_templates = policy->policy.n_templates;
	ret->policy.templates = policy->policy.templates;
}

void shadow_let_expire(struct entry *shadow, uint64_t seconds, uint64_t run)
{
	struct xfrm_userpolicy_info *info = &shadow->policy.info;

	info->sel.user = SHADOW_EXPIRING;
	info->lft.hard_add_expires_seconds = seconds;
	/* A limit of bytes has no effect on a policy, nor has a limit of packets. */
	info->lft.hard_byte_limit = run;
}

bool shadow_is_of_run(const struct entry *entry, uint64_t run)
{
	return shadow_tag(entry) == SHADOW_EXPIRING && entry->policy.info.lft.hard_byte_limit == run;
}

struct xfrm_counters shadow_blocked_before(const struct entry *shadow)
{
	const struct xfrm_lifetime_cfg *lft = &shadow->policy.info.lft;

	return (struct xfrm_counters){.out = lft->soft_packet_limit, .in = lft->hard_packet_limit};
}

void shadow_set_blocked(struct entry *shadow, const struct xfrm_counters *blocked)
{
	shadow->policy.info.lft.soft_packet_limit = blocked->out;
	shadow->policy.info.lft.hard_packet_limit = blocked->in;
}

bool shadow_suffices(const struct entry *present, const struct entry *wanted)
{
	const struct xfrm_userpolicy_info *have = &present->policy.info, *want = &wanted->policy.info;

	if (is_kept_policy(wanted) && (present->policy.n_templates != wanted->policy.n_templates ||
				       memcmp(present->policy.templates, wanted->policy.templates,
					      wanted->policy.n_templates * sizeof(*wanted->policy.templates)) != 0))
		return false;
	if (have->action == XFRM_POLICY_BLOCK && want->action != XFRM_POLICY_BLOCK)
		return true;
	return have->action == want->action && have->priority == want->priority && want->sel.user != SHADOW_EXPIRING;
}

struct entry shadow_covering(const struct entry *shadow)
{
	struct entry real = *shadow;

	real.policy.info.sel.user = 0;
	return real;
}

struct entry shadow_kept_before(const struct entry *shadow)
{
	struct entry kept = *shadow;

	kept.policy.info.sel.user = KEPT_TAG;
	return kept;
}
