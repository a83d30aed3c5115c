/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover/connections.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prefix.h"
#include "base/util.h"
#include "hold/shadow.h"

/* Maximum number of outbound kept policies of a group that are compared with children. */
#define PAIRS_MAX 64

/* Returns the group that a policy's first template and direction determine. The first template has the end points, also
 * in a policy with IPComp. */
static struct kept_group group_of(const struct entry *policy)
{
	const bool out = policy->policy.info.dir == XFRM_POLICY_OUT;
	struct xfrm_user_tmpl template;

	memcpy(&template, policy->policy.templates, sizeof(template));
	struct kept_group group = {.reqid = template.reqid,
				   .family = template.family,
				   .dirty = true,
				   .deadline = UINT64_MAX,
				   .retry = UINT64_MAX};
	group.end_points[out ? CHILDREN_LOCAL : CHILDREN_REMOTE] =
		entry_plain_address(template.family, &template.saddr);
	group.end_points[out ? CHILDREN_REMOTE : CHILDREN_LOCAL] =
		entry_plain_address(template.family, &template.id.daddr);
	return group;
}

static int compare_addresses(const xfrm_address_t *a, const xfrm_address_t *b)
{
	return memcmp(a->a6, b->a6, sizeof(a->a6));
}

static int compare_groups(const struct kept_group *a, const struct kept_group *b)
{
	if (a->reqid != b->reqid)
		return a->reqid < b->reqid ? -1 : 1;
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	int r = compare_addresses(&a->end_points[0], &b->end_points[0]);
	return r ? r : compare_addresses(&a->end_points[1], &b->end_points[1]);
}

/* Compares policies by the key under which the kernel stores them, without the tag, which is the selector's last
 * member. As the kernel does, compares all bytes before the tag, padding included (xfrm_policy_bysel_ctx()). */
static int compare_policies(const struct entry *a, const struct entry *b)
{
	const void *left = &a->policy.info.sel, *right = &b->policy.info.sel;
	int r = memcmp(left, right, offsetof(struct xfrm_selector, user));

	if (r == 0)
		r = a->policy.info.dir - b->policy.info.dir;
	if (r == 0)
		r = a->policy.ptype - b->policy.ptype;
	if (r == 0)
		r = memcmp(&a->mark, &b->mark, sizeof(a->mark));
	return r ? r : compare_u32(a->if_id, b->if_id);
}

static int compare_shadows(const void *a, const void *b)
{
	const struct kept_policy *left = a, *right = b;

	if (left->group != right->group)
		return left->group < right->group ? -1 : 1;
	return compare_policies(&left->policy, &right->policy);
}

int kept_add_policy(struct kept *kept, const struct entry *policy)
{
	if (!is_kept_policy(policy) || !policy->policy.n_templates)
		return 0;

	struct kept_group *groups = grow(kept->groups, kept->n_groups, &kept->allocated_groups, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	kept->groups = groups;
	struct kept_policy *shadows = grow(kept->shadows, kept->n_shadows, &kept->allocated_shadows, sizeof(*shadows));
	if (!shadows)
		return -ENOMEM;
	kept->shadows = shadows;

	/* Each policy has its own group until kept_sort() merges equal groups. */
	groups[kept->n_groups] = group_of(policy);
	groups[kept->n_groups].first = kept->n_shadows;
	struct kept_policy *new = &shadows[kept->n_shadows++];
	*new = (struct kept_policy){.policy = *policy, .group = kept->n_groups++};
	new->policy.policy.templates = NULL;
	new->policy.policy.security = NULL;
	new->policy.policy.n_templates = new->policy.policy.security_length = 0;
	if (policy->policy.info.curlft.add_time > kept->newest_time)
		kept->newest_time = policy->policy.info.curlft.add_time;
	return 0;
}

static int compare_groups_for_sort(const void *a, const void *b)
{
	return compare_groups(a, b);
}

static int compare_by_selector(const void *a, const void *b)
{
	const struct kept_pointer *left = a, *right = b;

	return compare_policies(&left->to->policy, &right->to->policy);
}

int kept_sort(struct kept *kept)
{
	size_t n = 0;

	if (!kept->n_groups)
		return 0;
	kept->by_selector = calloc(kept->n_shadows, sizeof(*kept->by_selector));
	if (!kept->by_selector)
		return -ENOMEM;

	qsort(kept->groups, kept->n_groups, sizeof(*kept->groups), compare_groups_for_sort);
	for (size_t i = 0; i < kept->n_groups; i++) {
		size_t shadow = kept->groups[i].first;

		if (i && compare_groups(&kept->groups[n], &kept->groups[i]) != 0)
			kept->groups[++n] = kept->groups[i];
		kept->shadows[shadow].group = n;
	}
	kept->n_groups = n + 1;

	qsort(kept->shadows, kept->n_shadows, sizeof(*kept->shadows), compare_shadows);
	for (size_t i = 0; i < kept->n_groups; i++)
		kept->groups[i].n = 0;
	for (size_t i = 0; i < kept->n_shadows; i++) {
		struct kept_group *group = &kept->groups[kept->shadows[i].group];
		if (!group->n++)
			group->first = i;
		kept->by_selector[i].to = &kept->shadows[i];
	}
	qsort(kept->by_selector, kept->n_shadows, sizeof(*kept->by_selector), compare_by_selector);
	return 0;
}

static int compare_reqids(const void *a, const void *b)
{
	return compare_u32(((const struct kept_group *)a)->reqid, ((const struct kept_group *)b)->reqid);
}

/* Returns the index of the first group with a reqid, or the index at which it would be. */
static size_t first_of_reqid(const struct kept *kept, uint32_t reqid)
{
	const struct kept_group key = {.reqid = reqid};

	return lower_bound(&key, kept->groups, kept->n_groups, sizeof(key), compare_reqids);
}

static bool is_none(const xfrm_address_t *address)
{
	static const xfrm_address_t none;

	return compare_addresses(address, &none) == 0;
}

/* Returns whether a group has these two end points, in either direction. In transport mode a group has no end points,
 * so any two fit. */
static bool goes_between(const struct kept_group *group, sa_family_t family, const xfrm_address_t *a,
			 const xfrm_address_t *b)
{
	const xfrm_address_t *ends = group->end_points;

	if (family != group->family)
		return false;
	return (is_none(&ends[0]) && is_none(&ends[1])) ||
	       (compare_addresses(&ends[0], a) == 0 && compare_addresses(&ends[1], b) == 0) ||
	       (compare_addresses(&ends[1], a) == 0 && compare_addresses(&ends[0], b) == 0);
}

int kept_add_sa(struct kept *kept, const struct entry *sa)
{
	const xfrm_address_t src = entry_plain_address(sa->sa.family, &sa->sa.saddr),
			     dst = entry_plain_address(sa->sa.family, &sa->sa.id.daddr);

	for (size_t i = first_of_reqid(kept, sa->sa.reqid); i < kept->n_groups && kept->groups[i].reqid == sa->sa.reqid;
	     i++) {
		if (!goes_between(&kept->groups[i], sa->sa.family, &src, &dst))
			continue;
		struct kept_sa *sas = grow(kept->sas, kept->n_sas, &kept->allocated_sas, sizeof(*sas));
		if (!sas)
			return -ENOMEM;
		kept->sas = sas;
		sas[kept->n_sas++] = (struct kept_sa){.sa = *sa, .group = i};
		return 0;
	}
	return 0;
}

static int compare_sas(const void *a, const void *b)
{
	const struct kept_sa *left = a, *right = b;

	return left->group < right->group ? -1 : left->group > right->group;
}

void kept_sort_sas(struct kept *kept)
{
	if (kept->n_sas)
		qsort(kept->sas, kept->n_sas, sizeof(*kept->sas), compare_sas);
	for (size_t i = 0; i < kept->n_groups; i++)
		kept->groups[i].n_sas = 0;
	for (size_t i = 0; i < kept->n_sas; i++) {
		struct kept_group *group = &kept->groups[kept->sas[i].group];
		if (!group->n_sas++)
			group->first_sa = i;
	}
}

void kept_free(struct kept *kept)
{
	free(kept->shadows);
	free(kept->sas);
	free(kept->groups);
	free(kept->by_selector);
	*kept = (struct kept){0};
}

bool kept_has_sa(const struct kept *kept, const struct kept_group *group, const struct entry *sa)
{
	for (size_t i = 0; i < group->n_sas; i++) {
		const struct xfrm_usersa_info *own = &kept->sas[group->first_sa + i].sa.sa;

		if (own->id.spi == sa->sa.id.spi && own->id.proto == sa->sa.id.proto &&
		    compare_addresses(&own->id.daddr, &sa->sa.id.daddr) == 0)
			return true;
	}
	return false;
}

const struct kept_policy *kept_find(const struct kept *kept, const struct entry *policy)
{
	const struct kept_policy own = {.policy = *policy};
	const struct kept_pointer key = {&own}, *list = kept->by_selector;
	const struct kept_pointer *found =
		kept->n_shadows ? bsearch(&key, list, kept->n_shadows, sizeof(key), compare_by_selector) : NULL;

	return found ? found->to : NULL;
}

/* Returns the networks that an outbound policy protects. */
static struct children_pair pair_of(const struct entry *policy)
{
	const struct xfrm_selector *sel = &policy->policy.info.sel;

	return (struct children_pair){{
		[CHILDREN_LOCAL] = {sel->family, sel->prefixlen_s, entry_plain_address(sel->family, &sel->saddr)},
		[CHILDREN_REMOTE] = {sel->family, sel->prefixlen_d, entry_plain_address(sel->family, &sel->daddr)},
	}};
}

/* Writes the networks of a group's outbound kept policies, at most PAIRS_MAX. Returns their number. */
static size_t collect_pairs(const struct kept *kept, const struct kept_group *group, struct children_pair *pairs)
{
	size_t n = 0;

	for (size_t i = 0; i < group->n && n < PAIRS_MAX; i++) {
		const struct entry *policy = &kept->shadows[group->first + i].policy;
		if (policy->policy.info.dir == XFRM_POLICY_OUT)
			pairs[n++] = pair_of(policy);
	}
	return n;
}

bool kept_find_child(const struct kept *kept, const struct kept_group *group, const struct children *children,
		     size_t *ret)
{
	struct children_pair pairs[PAIRS_MAX];
	struct prefix end_points[CHILDREN_SIDES];
	const uint8_t bits = group->family == AF_INET ? 32 : 128;
	unsigned int best = 0;

	size_t n = collect_pairs(kept, group, pairs);
	for (size_t side = 0; n && side < CHILDREN_SIDES; side++) {
		end_points[side] = (struct prefix){group->family, bits, group->end_points[side]};
		/* In transport mode the policy protects the end points themselves. */
		if (is_none(&group->end_points[side]))
			end_points[side] = pairs[0].networks[side];
	}
	for (size_t i = 0; n && i < children->n; i++) {
		const struct child *child = &children->list[i];
		unsigned int score = children_score(children, child, end_points, pairs, n);

		if (!score)
			continue;
		/* Of equal children, prefer one that charon can initiate. Then prefer one that no group has taken, so
		 * that two groups with equal traffic get different children. */
		score = score * 4 + 2 * children->connections[child->connection].can_initiate + !child->taken;
		if (score > best) {
			best = score;
			*ret = i;
		}
	}
	return best != 0;
}

bool kept_can_initiate(const struct kept *kept, const struct kept_group *group, const struct children *children,
		       const struct child *child)
{
	const struct children_networks *selectors = &child->selectors[CHILDREN_REMOTE];
	struct children_pair pairs[PAIRS_MAX];

	size_t n = collect_pairs(kept, group, pairs);
	for (size_t i = 0; i < n; i++) {
		const struct prefix *network = &pairs[i].networks[CHILDREN_REMOTE];
		bool configured = false;

		for (size_t j = 0; j < selectors->n; j++)
			configured |= prefix_contains(&selectors->list[j], network);
		if (!configured && !is_none(&group->end_points[CHILDREN_REMOTE]) &&
		    (network->family != group->family ||
		     compare_addresses(&network->address, &group->end_points[CHILDREN_REMOTE]) != 0))
			return false;
	}
	return children->connections[child->connection].can_initiate;
}

bool kept_is_in_use(const struct kept_group *group)
{
	return group->outcome == KEPT_PENDING || group->outcome == KEPT_NEGOTIATING;
}

/* Returns whether a policy is for the traffic of a group. Its selector may also be wider or narrower than the group's,
 * because the peer may have narrowed the selectors. */
static bool is_own(const struct kept *kept, const struct kept_group *group, const struct entry *policy)
{
	const struct children_pair theirs = pair_of(policy);

	for (size_t i = 0; i < group->n; i++) {
		const struct entry *own = &kept->shadows[group->first + i].policy;
		const struct children_pair ours = pair_of(own);

		if (own->policy.info.dir != policy->policy.info.dir)
			continue;
		if (prefix_contains(&ours.networks[0], &theirs.networks[0]) &&
		    prefix_contains(&ours.networks[1], &theirs.networks[1]))
			return true;
		if (prefix_contains(&theirs.networks[0], &ours.networks[0]) &&
		    prefix_contains(&theirs.networks[1], &ours.networks[1]))
			return true;
	}
	return false;
}

bool kept_mark_conflicts(struct kept *kept, const struct entry *policy)
{
	bool any = false;

	if (!policy->policy.n_templates || policy->policy.info.sel.user)
		return false;
	const struct kept_group wanted = group_of(policy);
	const struct kept_policy *guard = kept_find(kept, policy);
	if (guard && kept_is_in_use(&kept->groups[guard->group]))
		return false;
	for (size_t i = first_of_reqid(kept, wanted.reqid); i < kept->n_groups && kept->groups[i].reqid == wanted.reqid;
	     i++) {
		struct kept_group *group = &kept->groups[i];
		if (!kept_is_in_use(group) ||
		    !goes_between(group, wanted.family, &wanted.end_points[0], &wanted.end_points[1]) ||
		    is_own(kept, group, policy))
			continue;
		group->reqid_conflict = any = true;
	}
	return any;
}

const char *kept_describe(const struct kept *kept, const struct kept_group *group, char *buffer, size_t size)
{
	char ours[PREFIX_TEXT_MAX], theirs[PREFIX_TEXT_MAX], local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
	struct children_pair pairs[PAIRS_MAX] = {0};
	const struct prefix *networks = pairs[0].networks;
	size_t n = collect_pairs(kept, group, pairs);

	snprintf(buffer, size, "%s → %s%s (%s → %s, reqid %u)", prefix_format(&networks[0], ours),
		 prefix_format(&networks[1], theirs), n > 1 ? " and others" : "",
		 entry_address(group->family, &group->end_points[0], local),
		 entry_address(group->family, &group->end_points[1], remote), group->reqid);
	return buffer;
}
