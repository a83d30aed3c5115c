/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover/migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/timespan.h"
#include "base/util.h"
#include "handover/guard_sa.h"
#include "hold/shadow.h"

#define DESCRIPTION_MAX 256

static void on_refused(const struct kernel_refusal *refusal, void *userdata)
{
	struct moving *moving = userdata;
	char description[ENTRY_DESCRIPTION_MAX];

	if (refusal->error == -ENOENT || refusal->error == -ESRCH)
		return;
	report_one(&moving->n_failed, REPORT_INCOMPLETE, "Could not remove %s: %s.",
		   entry_describe(&refusal->entry, description, sizeof(description)), strerror(-refusal->error));
}

static int remove_shadows(struct moving *moving, const struct kept_group *group)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n; i++)
		r = kernel_delete(moving->kernel, &moving->kept.shadows[group->first + i].policy, on_refused, moving);
	return r;
}

/* Removes a group's SAs, or the stoppers in front of them. */
static int remove_sas(struct moving *moving, const struct kept_group *group, bool stoppers)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n_sas; i++) {
		const struct entry *sa = &moving->kept.sas[group->first_sa + i].sa;

		if (stopper_is(sa) != stoppers)
			continue;
		moving->n_sas += !stoppers;
		r = kernel_delete(moving->kernel, sa, on_refused, moving);
	}
	return r;
}

/* charon's policies decide on a group's traffic from now on: which others does that concern? */
static int look_for_rivals(struct moving *moving, const struct kept_group *group)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n; i++) {
		const struct entry real = shadow_covering(&moving->kept.shadows[group->first + i].policy);
		struct entry found = {0};

		r = kernel_find_policy(moving->kernel, &real, &found);
		if (r == 0)
			moving->rivalled |= kept_mark_rivals(&moving->kept, &found);
		else if (r == -ENOENT)
			r = 0;
	}
	return r;
}

static void name_fallen(const struct moving *moving, const struct kept_group *group)
{
	char description[DESCRIPTION_MAX], why[TIMESPAN_MAX + 64], timeout[TIMESPAN_MAX];

	if (moving->n_fell_back > REPORT_NAMED_MAX)
		return;
	kept_describe(&moving->kept, group, description, sizeof(description));
	timespan_format(moving->timeout_usec, timeout, sizeof(timeout));
	snprintf(why, sizeof(why), "there are no new SAs of it after %s", timeout);
	report_notice(
		REPORT_FELL_BACK, "%s is held: %s.", description,
		group->rivalled
			? "charon uses its reqid for another connection now, so its old SAs could not stay for long"
			: why);
}

int moving_end(struct moving *moving, struct kept_group *group, enum kept_fate fate)
{
	/* In one batch, unless there are very many: whoever is stopped leaves all of it or nothing. The shadows that
	 * block stay behind it, until the release or their grace removes them. */
	int r = remove_shadows(moving, group);
	if (r == 0)
		r = remove_sas(moving, group, false);
	if (r == 0)
		r = remove_sas(moving, group, true);
	int committed = kernel_commit(moving->kernel, on_refused, moving);
	r = r < 0 ? r : committed;
	if (r == 0) {
		group->fate = fate;
		moving->n_over += fate == KEPT_OVER;
		moving->n_removed += fate == KEPT_REMOVED;
		moving->n_fell_back += fate == KEPT_FELL_BACK;
		r = look_for_rivals(moving, group);
	}
	if (r < 0)
		return report_failure(r, REPORT_FAILED, "Could not remove what was kept: %s.", strerror(-r));
	if (fate == KEPT_FELL_BACK)
		name_fallen(moving, group);
	return 0;
}

static int add_shadow(const struct entry *policy, const struct nlmsghdr *message, void *userdata)
{
	struct moving *moving = userdata;

	(void)message;
	return kept_add_shadow(&moving->kept, policy);
}

static int add_sa(const struct entry *sa, const struct nlmsghdr *message, void *userdata)
{
	struct moving *moving = userdata;

	(void)message;
	/* What is younger than the shadows is charon's. */
	if (sa->larval || sa->sa.curlft.add_time > moving->kept.newest_time)
		return 0;
	return kept_add_sa(&moving->kept, sa);
}

static int add_rivals(const struct entry *policy, const struct nlmsghdr *message, void *userdata)
{
	struct moving *moving = userdata;

	(void)message;
	moving->rivalled |= kept_mark_rivals(&moving->kept, policy);
	return 0;
}

static int add_stopper(const struct entry *sa, const struct nlmsghdr *message, void *userdata)
{
	struct moving *moving = userdata;

	(void)message;
	if (!stopper_is(sa))
		return 0;
	struct entry *stoppers =
		grow(moving->stoppers, moving->n_stoppers, &moving->allocated_stoppers, sizeof(*stoppers));
	if (!stoppers)
		return -ENOMEM;
	moving->stoppers = stoppers;
	stoppers[moving->n_stoppers++] = *sa;
	return 0;
}

static void begin_shadows(void *userdata)
{
	struct moving *moving = userdata;

	kept_free(&moving->kept);
}

static void begin_sas(void *userdata)
{
	struct moving *moving = userdata;

	moving->kept.n_sas = 0;
}

static void begin_stoppers(void *userdata)
{
	struct moving *moving = userdata;

	moving->n_stoppers = 0;
}

static int load(struct moving *moving, enum entry_kind kind, void (*begin)(void *userdata), kernel_entry_fn fn)
{
	int r = kernel_dump_whole(moving->kernel, kind, begin, fn, moving);

	if (r < 0 && r != -EAGAIN)
		return report_failure(r, REPORT_FAILED, "Could not list what was kept: %s.", strerror(-r));
	return 0;
}

int moving_load(struct moving *moving)
{
	int r = load(moving, ENTRY_POLICY, begin_shadows, add_shadow);

	if (r == 0 && kept_sort(&moving->kept) < 0)
		r = report_failure(-ENOMEM, REPORT_FAILED, "Could not list what was kept: out of memory.");
	if (r == 0 && moving->kept.n_shadows)
		r = load(moving, ENTRY_SA, begin_sas, add_sa);
	kept_sort_sas(&moving->kept);
	return r;
}

int moving_find_rivals(struct moving *moving)
{
	return load(moving, ENTRY_POLICY, NULL, add_rivals);
}

/* Whether a policy sends its packets through SAs that are there, and new. */
static int names_new_sas(struct moving *moving, const struct kept_group *group, const struct entry *policy)
{
	struct xfrm_user_tmpl templates[ENTRY_TEMPLATES_MAX];
	size_t n = policy->policy.n_templates;
	int r = 0;

	/* The next question to the kernel takes the place of its last answer. */
	memcpy(templates, policy->policy.templates, n * sizeof(templates[0]));
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct entry sa = {.kind = ENTRY_SA, .mark = policy->mark}, found = {0};
		const struct xfrm_selector *sel = &policy->policy.info.sel;

		if (!templates[i].id.spi)
			return -ENOENT;
		sa.sa.id = templates[i].id;
		sa.sa.family = templates[i].family;
		/* Behind the first, and in transport mode, templates leave the end points to the packet. */
		if (templates[i].mode == XFRM_MODE_TRANSPORT && i)
			sa.sa.id.daddr = templates[0].id.daddr;
		else if (templates[i].mode == XFRM_MODE_TRANSPORT)
			sa.sa.id.daddr = sel->daddr;
		r = kernel_find_sa(moving->kernel, &sa, &found);
		if (r == 0 && (found.larval || kept_has_sa(&moving->kept, group, &found)))
			r = -ESRCH;
	}
	return r;
}

int moving_is_through(struct moving *moving, struct kept_group *group)
{
	group->half = false;
	for (size_t i = 0; i < group->n; i++) {
		const struct entry real = shadow_covering(&moving->kept.shadows[group->first + i].policy);
		struct entry found = {0};

		int r = kernel_find_policy(moving->kernel, &real, &found);
		if (r == 0 && real.policy.info.dir == XFRM_POLICY_OUT)
			r = names_new_sas(moving, group, &found);
		if (r == -ESRCH)
			group->half = true;
		if (r == -ENOENT || r == -ESRCH)
			return 0;
		if (r < 0)
			return report_failure(r, REPORT_FAILED, "Could not look for charon's policies and SAs: %s.",
					      strerror(-r));
	}
	return 1;
}

static bool same(const xfrm_address_t *a, const xfrm_address_t *b)
{
	return memcmp(a->a6, b->a6, sizeof(a->a6)) == 0;
}

/* Whether an SA, of either direction, was there before a stopper of its reqid and end points: charon's own are
 * younger. */
static bool is_behind(const struct entry *sa, const struct entry *stopper)
{
	const struct xfrm_usersa_info *a = &sa->sa, *b = &stopper->sa;

	return !stopper_is(sa) && a->reqid == b->reqid && a->family == b->family && a->mode == b->mode &&
	       a->curlft.add_time < b->curlft.add_time &&
	       ((same(&a->saddr, &b->saddr) && same(&a->id.daddr, &b->id.daddr)) ||
		(same(&a->saddr, &b->id.daddr) && same(&a->id.daddr, &b->saddr)));
}

static int remove_behind(const struct entry *sa, const struct nlmsghdr *message, void *userdata)
{
	struct moving *moving = userdata;

	(void)message;
	for (size_t i = 0; i < moving->n_stoppers; i++)
		if (is_behind(sa, &moving->stoppers[i])) {
			moving->n_sas++;
			return kernel_delete(moving->kernel, sa, on_refused, moving);
		}
	return 0;
}

int moving_remove_stoppers(struct moving *moving)
{
	int r = load(moving, ENTRY_SA, begin_stoppers, add_stopper);

	if (r == 0 && moving->n_stoppers)
		r = load(moving, ENTRY_SA, NULL, remove_behind);
	for (size_t i = 0; r == 0 && i < moving->n_stoppers; i++)
		r = kernel_delete(moving->kernel, &moving->stoppers[i], on_refused, moving);
	int committed = kernel_commit(moving->kernel, on_refused, moving);
	free(moving->stoppers);
	moving->stoppers = NULL;
	moving->n_stoppers = moving->allocated_stoppers = 0;
	return r < 0 ? r : committed;
}
