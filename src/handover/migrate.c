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
#include "hold/report.h"
#include "hold/shadow.h"

/* Maximum size of the description of a group, in bytes. */
#define DESCRIPTION_MAX 256

static void on_refused(const struct xfrm_refusal *refusal, void *userdata)
{
	struct migration *migration = userdata;

	if (refusal->error != -ENOENT && refusal->error != -ESRCH)
		report_refused(&migration->n_failed, "remove", &refusal->entry, refusal->error);
}

static int remove_shadows(struct migration *migration, const struct kept_group *group)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n; i++)
		r = xfrm_delete(migration->xfrm, &migration->kept.shadows[group->first + i].policy, on_refused,
				migration);
	return r;
}

/* Removes a group's old SAs or, with `guard_sas`, their guard SAs. Returns 0 or a negative errno. */
static int remove_sas(struct migration *migration, const struct kept_group *group, bool guard_sas)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n_sas; i++) {
		const struct entry *sa = &migration->kept.sas[group->first_sa + i].sa;

		if (is_guard_sa(sa) != guard_sas)
			continue;
		migration->n_sas += !guard_sas;
		r = xfrm_delete(migration->xfrm, sa, on_refused, migration);
	}
	return r;
}

/* Looks up charon's own policies for the traffic of `group`. Marks the other groups that have a reqid conflict with one
 * of these. The caller has removed the kept policies of `group`, so the kernel uses charon's policies from now on.
 * Returns 0 or a negative errno. */
static int find_conflicts(struct migration *migration, const struct kept_group *group)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n; i++) {
		const struct entry real = shadow_covering(&migration->kept.shadows[group->first + i].policy);
		struct entry found = {0};

		r = xfrm_find_policy(migration->xfrm, &real, &found);
		if (r == 0)
			migration->reqid_conflict |= kept_mark_conflicts(&migration->kept, &found);
		else if (r == -ENOENT)
			r = 0;
	}
	return r;
}

/* Reports that the traffic of a group is blocked, and why. */
static void name_fallen(struct migration *migration, const struct kept_group *group)
{
	char description[DESCRIPTION_MAX], why[TIMESPAN_MAX + 64], timeout[TIMESPAN_MAX];

	kept_describe(&migration->kept, group, description, sizeof(description));
	timespan_format(group->timeout_usec, timeout, sizeof(timeout));
	snprintf(why, sizeof(why), "charon has no new SAs for the connection after %s", timeout);
	log_one(&migration->n_fell_back, LOG_NOTICE, MESSAGE_FELL_BACK,
		"Could not hand over %s: %s. The connection is blocked until charon protects it.", description,
		group->reqid_conflict
			? "charon uses the reqid for another connection now, so the kept SAs were removed early"
			: why);
}

int migration_end(struct migration *migration, struct kept_group *group, enum kept_outcome outcome)
{
	/* Unless a group is very large, all deletions are one batch, so an interrupted run leaves all of the group or
	 * nothing of it. The shadows that block stay until release removes them or their grace is over. */
	int r = remove_shadows(migration, group);
	if (r == 0)
		r = remove_sas(migration, group, false);
	if (r == 0)
		r = remove_sas(migration, group, true);
	int committed = xfrm_commit(migration->xfrm, on_refused, migration);
	r = r < 0 ? r : committed;
	if (r == 0) {
		group->outcome = outcome;
		migration->n_over += outcome == KEPT_MIGRATED;
		migration->n_removed += outcome == KEPT_REMOVED;
		if (outcome == KEPT_BLOCKED)
			name_fallen(migration, group);
		r = find_conflicts(migration, group);
	}
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED, "Could not remove kept policies and SAs: %s.", strerror(-r));
	return 0;
}

static int add_shadow(const struct entry *policy, void *userdata)
{
	struct migration *migration = userdata;

	return kept_add_policy(&migration->kept, policy);
}

static int add_sa(const struct entry *sa, void *userdata)
{
	struct migration *migration = userdata;

	/* An SA that is younger than the kept policies is one of charon's new SAs. */
	if (sa->larval || sa->sa.curlft.add_time > migration->kept.newest_time)
		return 0;
	return kept_add_sa(&migration->kept, sa);
}

static int add_conflicts(const struct entry *policy, void *userdata)
{
	struct migration *migration = userdata;

	migration->reqid_conflict |= kept_mark_conflicts(&migration->kept, policy);
	return 0;
}

static void begin_shadows(void *userdata)
{
	struct migration *migration = userdata;

	kept_free(&migration->kept);
}

static void begin_sas(void *userdata)
{
	struct migration *migration = userdata;

	migration->kept.n_sas = 0;
}

/* Lists all entries of a kind. Returns 0, also if the list is incomplete, or a negative errno after a report. */
static int load(struct xfrm *xfrm, enum entry_kind kind, void (*begin)(void *userdata), xfrm_entry_fn fn,
		void *userdata)
{
	int r = xfrm_dump_consistent(xfrm, kind, begin, fn, userdata);

	if (r < 0 && r != -EAGAIN)
		return log_failure(r, MESSAGE_FAILED, "Could not list kept policies and SAs: %s.", strerror(-r));
	return 0;
}

int migration_load(struct migration *migration)
{
	int r = load(migration->xfrm, ENTRY_POLICY, begin_shadows, add_shadow, migration);

	if (r == 0 && kept_sort(&migration->kept) < 0)
		r = log_failure(-ENOMEM, MESSAGE_FAILED, "Could not list kept policies and SAs: out of memory.");
	if (r == 0 && migration->kept.n_shadows)
		r = load(migration->xfrm, ENTRY_SA, begin_sas, add_sa, migration);
	kept_sort_sas(&migration->kept);
	return r;
}

int migration_find_conflicts(struct migration *migration)
{
	return load(migration->xfrm, ENTRY_POLICY, NULL, add_conflicts, migration);
}

/* Checks whether all SAs that a policy's templates name are new. Returns 0 if so, -ENOENT if a template names no SA,
 * -ESRCH if an SA is missing, larval or old, or another negative errno. */
static int names_new_sas(struct migration *migration, const struct kept_group *group, const struct entry *policy)
{
	struct xfrm_user_tmpl templates[ENTRY_TEMPLATES_MAX];
	size_t n = policy->policy.n_templates;
	int r = 0;

	/* The templates are in the kernel's last answer, which xfrm_find_sa() overwrites. */
	memcpy(templates, policy->policy.templates, n * sizeof(templates[0]));
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct entry sa = {.kind = ENTRY_SA, .mark = policy->mark}, found = {0};
		const struct xfrm_selector *sel = &policy->policy.info.sel;

		if (!templates[i].id.spi)
			return -ENOENT;
		sa.sa.id = templates[i].id;
		sa.sa.family = templates[i].family;
		/* A template in transport mode names no end points; they are those of the packet. The first template
		 * gets the packet of the policy, the others get the packet that the first one made. */
		if (templates[i].mode == XFRM_MODE_TRANSPORT && i)
			sa.sa.id.daddr = templates[0].id.daddr;
		else if (templates[i].mode == XFRM_MODE_TRANSPORT)
			sa.sa.id.daddr = sel->daddr;
		r = xfrm_find_sa(migration->xfrm, &sa, &found);
		if (r == 0 && (found.larval || kept_has_sa(&migration->kept, group, &found)))
			r = -ESRCH;
	}
	return r;
}

int migration_is_complete(struct migration *migration, struct kept_group *group)
{
	group->sa_pending = false;
	for (size_t i = 0; i < group->n; i++) {
		const struct entry real = shadow_covering(&migration->kept.shadows[group->first + i].policy);
		struct entry found = {0};

		int r = xfrm_find_policy(migration->xfrm, &real, &found);
		if (r == 0 && real.policy.info.dir == XFRM_POLICY_OUT)
			r = names_new_sas(migration, group, &found);
		if (r == -ESRCH)
			group->sa_pending = true;
		if (r == -ENOENT || r == -ESRCH)
			return 0;
		if (r < 0)
			return log_failure(r, MESSAGE_FAILED, "Could not read charon's policies and SAs: %s.",
					   strerror(-r));
	}
	return 1;
}

static bool same(const xfrm_address_t *a, const xfrm_address_t *b)
{
	return memcmp(a->a6, b->a6, sizeof(a->a6)) == 0;
}

/* Returns whether a guard SA guards an SA, or the SA of the opposite direction. Both have the same reqid, mode and end
 * points, and the SA is older. charon's new SAs are younger than the guard SA. */
static bool is_behind(const struct entry *sa, const struct entry *guard_sa)
{
	const struct xfrm_usersa_info *a = &sa->sa, *b = &guard_sa->sa;

	return !is_guard_sa(sa) && a->reqid == b->reqid && a->family == b->family && a->mode == b->mode &&
	       a->curlft.add_time < b->curlft.add_time &&
	       ((same(&a->saddr, &b->saddr) && same(&a->id.daddr, &b->id.daddr)) ||
		(same(&a->saddr, &b->id.daddr) && same(&a->id.daddr, &b->saddr)));
}

/* All guard SAs. */
struct guard_sas {
	struct migration *migration;
	struct entry *list;
	size_t n, allocated;
};

static void free_guard_sas(struct guard_sas *guard_sas)
{
	free(guard_sas->list);
}

static void begin_guard_sas(void *userdata)
{
	struct guard_sas *guard_sas = userdata;

	guard_sas->n = 0;
}

static int add_guard_sa(const struct entry *sa, void *userdata)
{
	struct guard_sas *guard_sas = userdata;

	return is_guard_sa(sa) ? APPEND(guard_sas, *sa) : 0;
}

/* Removes an SA that one of the guard SAs guards. Returns 0 or a negative errno. */
static int remove_behind(const struct entry *sa, void *userdata)
{
	const struct guard_sas *guard_sas = userdata;
	struct migration *migration = guard_sas->migration;

	for (size_t i = 0; i < guard_sas->n; i++)
		if (is_behind(sa, &guard_sas->list[i])) {
			migration->n_sas++;
			return xfrm_delete(migration->xfrm, sa, on_refused, migration);
		}
	return 0;
}

int migration_remove_guard_sas(struct migration *migration)
{
	CLEANUP(free_guard_sas) struct guard_sas guard_sas = {.migration = migration};
	struct xfrm *xfrm = migration->xfrm;

	int r = load(xfrm, ENTRY_SA, begin_guard_sas, add_guard_sa, &guard_sas);
	if (r == 0 && guard_sas.n)
		r = load(xfrm, ENTRY_SA, NULL, remove_behind, &guard_sas);
	int removed = 0;
	for (size_t i = 0; r == 0 && removed == 0 && i < guard_sas.n; i++)
		removed = xfrm_delete(xfrm, &guard_sas.list[i], on_refused, migration);
	int committed = xfrm_commit(xfrm, on_refused, migration);
	removed = removed < 0 ? removed : committed;
	if (removed < 0)
		log_failure(removed, MESSAGE_FAILED,
			    "Could not remove guard SAs: %s. The kernel removes them after six minutes.",
			    strerror(-removed));
	return r < 0 ? r : removed;
}
