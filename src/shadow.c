/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "shadow.h"

uint32_t shadow_tag(const struct entry *entry)
{
	if (entry->kind != ENTRY_POLICY)
		return 0;
	uint32_t user = entry->policy.info.sel.user;
	return user == SHADOW_HOLD || user == SHADOW_GRACE ? user : 0;
}

void shadow_survey_add(struct shadow_survey *survey, const struct filter *filter, const struct entry *policy)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;

	switch (shadow_tag(policy)) {
	case SHADOW_HOLD:
		survey->n_hold++;
		return;
	case SHADOW_GRACE:
		survey->n_grace++;
		return;
	default:
		break;
	}
	/* Those of sockets are asked before all others, whatever their priority. */
	if (entry_is_per_socket(policy) || info->dir >= XFRM_POLICY_MAX)
		return;
	if (info->priority >= SHADOW_PRIORITY)
		survey->high = true;
	if (!filter_selects(filter, policy)) {
		survey->stays[info->dir] = true;
		if (info->priority > survey->last_stays[info->dir])
			survey->last_stays[info->dir] = info->priority;
	}
}

static uint32_t priority_of(const struct entry *policy, const struct shadow_survey *survey)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;

	if (shadow_tag(policy) || info->dir >= XFRM_POLICY_MAX || survey->high)
		return info->priority;
	if (survey->stays[info->dir] && info->priority <= survey->last_stays[info->dir])
		return info->priority;
	return info->priority | SHADOW_PRIORITY;
}

void shadow_make(const struct entry *policy, const struct shadow_survey *survey, const struct shadow_blocked *blocked,
		 struct entry *ret)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;
	const struct shadow_blocked before = shadow_tag(policy) ? shadow_blocked_before(policy) : *blocked;

	*ret = (struct entry){
		.kind = ENTRY_POLICY,
		.mark = policy->mark,
		.if_id = policy->if_id,
		.policy =
			{
				.info =
					{
						.sel = info->sel,
						.lft =
							{
								.soft_byte_limit = XFRM_INF,
								.hard_byte_limit = XFRM_INF,
							},
						.priority = priority_of(policy, survey),
						.dir = info->dir,
						.action = policy->policy.n_templates ? XFRM_POLICY_BLOCK : info->action,
						.flags = info->flags,
						.share = info->share,
					},
				.ptype = policy->policy.ptype,
				.security_length = policy->policy.security_length,
				.security = policy->policy.security,
			},
	};
	ret->policy.info.sel.user = SHADOW_HOLD;
	shadow_set_blocked(ret, &before);
}

void shadow_let_expire(struct entry *shadow, uint64_t seconds, uint64_t run)
{
	struct xfrm_userpolicy_info *info = &shadow->policy.info;

	info->sel.user = SHADOW_GRACE;
	info->lft.hard_add_expires_seconds = seconds;
	/* As little in use as the limits of packets. */
	info->lft.hard_byte_limit = run;
}

bool shadow_is_of_run(const struct entry *entry, uint64_t run)
{
	return shadow_tag(entry) == SHADOW_GRACE && entry->policy.info.lft.hard_byte_limit == run;
}

struct shadow_blocked shadow_blocked_before(const struct entry *shadow)
{
	const struct xfrm_lifetime_cfg *lft = &shadow->policy.info.lft;

	return (struct shadow_blocked){.out = lft->soft_packet_limit, .in = lft->hard_packet_limit};
}

void shadow_set_blocked(struct entry *shadow, const struct shadow_blocked *blocked)
{
	shadow->policy.info.lft.soft_packet_limit = blocked->out;
	shadow->policy.info.lft.hard_packet_limit = blocked->in;
}

bool shadow_suffices(const struct entry *present, const struct entry *wanted)
{
	const struct xfrm_userpolicy_info *have = &present->policy.info, *want = &wanted->policy.info;

	if (have->action == XFRM_POLICY_BLOCK && want->action != XFRM_POLICY_BLOCK)
		return true;
	return have->action == want->action && have->priority == want->priority && want->sel.user == SHADOW_HOLD;
}

struct entry shadow_covering(const struct entry *shadow)
{
	struct entry real = *shadow;

	real.policy.info.sel.user = 0;
	return real;
}
