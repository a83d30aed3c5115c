/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hold/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "xfrm/netlink.h"

/* Maximum number of passes in a sweep. Each pass handles the entries that the one before it missed. */
#define PASSES_MAX 5

static const char *plural(enum entry_kind kind)
{
	return kind == ENTRY_SA ? "SAs" : "policies";
}

struct surveying {
	struct shadow_survey *survey;
	const struct filter *filter;
};

static int survey_entry(const struct entry *entry, void *userdata)
{
	struct surveying *surveying = userdata;

	shadow_survey_add(surveying->survey, surveying->filter, entry);
	return 0;
}

static void begin_survey(void *userdata)
{
	struct surveying *surveying = userdata;

	*surveying->survey = (struct shadow_survey){0};
}

int sweep_survey(struct xfrm *xfrm, const struct filter *filter, struct shadow_survey *ret)
{
	struct surveying surveying = {ret, filter};

	int r = xfrm_dump_consistent(xfrm, ENTRY_POLICY, begin_survey, survey_entry, &surveying);
	if (r < 0 && r != -EAGAIN)
		return log_failure(r, MESSAGE_FAILED, "Could not list the policies: %s.", strerror(-r));
	/* A policy that was not seen may be one that stays. */
	ret->incomplete = r == -EAGAIN;
	for (uint8_t dir = 0; ret->incomplete && dir < XFRM_POLICY_MAX; dir++) {
		shadow_survey_stays(ret, dir);
		ret->directions[dir].many = true;
	}
	xfrm_read_counters(&ret->blocked);
	return 0;
}

/* Surveys the policies before they are changed. Reports what fails. */
static int survey(struct sweep *sweep, const struct filter *filter)
{
	int r = sweep_survey(sweep->xfrm, filter, &sweep->survey);

	sweep->ask_first = sweep->survey.incomplete || shadow_count(&sweep->survey);
	return r;
}

/* Returns whether the summary counts the change of an entry. */
static bool is_counted(const struct sweep *sweep, const struct entry *entry)
{
	const struct sweep_config *config = &sweep->config;
	uint32_t tag = shadow_tag(entry);

	/* The policy that the kept policy was made from is counted instead, at its own removal. */
	if (config->renews && !config->only_adds && is_kept_policy(entry))
		return false;
	return !config->renews ||
	       (tag != SHADOW_EXPIRING && (config->only_adds || (tag != SHADOW_ADJACENT && tag != SHADOW_HOLD)));
}

static void on_refused(const struct xfrm_refusal *refusal, void *userdata)
{
	struct sweep *sweep = userdata;
	struct sweep_pass *pass = &sweep->pass;
	char description[ENTRY_DESCRIPTION_MAX];

	if (is_counted(sweep, &refusal->entry))
		summary_take_back(&sweep->summary, &refusal->entry);
	if (refusal->addition) {
		sweep->summary.shadows--;
		/* The shadow of an earlier run exists, or the kernel's answer was lost. The next pass looks for shadows
		 * before it adds any. */
		if (refusal->error == -EEXIST || refusal->error == -EAGAIN) {
			sweep->ask_first = pass->again = true;
			return;
		}
	} else if (refusal->error == -ENOENT || refusal->error == -ESRCH) {
		pass->n_gone++;
		return;
	} else if (refusal->error == -EEXIST) {
		pass->n_hidden++;
	}
	/* The policy stays, so shadows that are made from now on must not stand behind it. */
	if (refusal->entry.kind == ENTRY_POLICY)
		shadow_survey_stays(&sweep->survey, refusal->entry.policy.info.dir);
	log_later(&pass->refused, "Could not %s %s: %s%s.", sweep->config.infinitive,
		  entry_describe(&refusal->entry, description, sizeof(description)),
		  refusal->addition ? "the kernel refused the shadow: " : "",
		  refusal->error == -EEXIST
			  ? "an SA with the same SPI and a wider mark hides this SA. Remove the other SA first"
			  : strerror(-refusal->error));
}

static void count(struct sweep *sweep, const struct entry *entry)
{
	sweep->pass.n_changed++;
	if (!sweep->pass.counted && is_counted(sweep, entry))
		summary_add(&sweep->summary, entry);
}

int sweep_remove(struct sweep *sweep, const struct entry *entry)
{
	count(sweep, entry);
	return xfrm_delete(sweep->xfrm, entry, on_refused, sweep);
}

int sweep_adopt(struct xfrm *xfrm, const struct entry *shadow)
{
	struct entry present = {0};

	int r = xfrm_find_policy(xfrm, shadow, &present);
	if (r == 0 && !shadow_suffices(&present, shadow))
		r = xfrm_update_policy(xfrm, shadow);
	return r;
}

/* Adds a shadow and removes `old`, which may be NULL. `adopted` is the result of sweep_adopt(): 0 if the shadow exists,
 * -ENOENT if it does not, or another negative errno after a failure. Returns 0 or a negative errno. */
static int exchange(struct sweep *sweep, const struct entry *shadow, const struct entry *old, int adopted)
{
	const struct entry *subject = old ? old : shadow;

	count(sweep, subject);
	sweep->summary.shadows++;
	if (adopted == 0)
		return old ? xfrm_delete(sweep->xfrm, old, on_refused, sweep) : 0;
	if (adopted == -ENOENT)
		return xfrm_exchange(sweep->xfrm, shadow, old, on_refused, sweep);
	on_refused(&(struct xfrm_refusal){*subject, adopted, true}, sweep);
	return xfrm_refused(sweep->xfrm) ? 0 : adopted;
}

int sweep_exchange(struct sweep *sweep, const struct entry *shadow, const struct entry *old)
{
	return exchange(sweep, shadow, old, sweep->ask_first ? sweep_adopt(sweep->xfrm, shadow) : -ENOENT);
}

int sweep_count_shadows(struct sweep *sweep, const struct filter *filter, bool kept)
{
	/* No shadow existed before, and no answer about an addition was lost, so the count is right. */
	if (!sweep->ask_first && !kept)
		return 0;
	int r = survey(sweep, filter);
	sweep->summary.shadows = sweep->survey.n_hold + sweep->survey.n_adjacent;
	sweep->summary.kept = sweep->survey.n_kept;
	return r;
}

static int visit(const struct entry *entry, void *userdata)
{
	struct sweep *sweep = userdata;

	progress_advance(++sweep->n_visited);
	return sweep->pass.fn(sweep, entry);
}

/* Dumps all entries of a kind and changes them. Returns 0, -EAGAIN if another pass is necessary, or another negative
 * errno. */
static int run_pass(struct sweep *sweep, enum entry_kind kind)
{
	struct sweep_pass *pass = &sweep->pass;

	if (sweep->config.only_adds)
		sweep->summary = (struct summary){.failed = sweep->summary.failed};
	int dumped = xfrm_dump(sweep->xfrm, kind, visit, sweep);
	int r = xfrm_commit(sweep->xfrm, on_refused, sweep);
	if (dumped < 0 && dumped != -EAGAIN)
		return dumped;
	if (r < 0)
		return r;
	pass->counted = xfrm_lost_refusals(sweep->xfrm);
	/* An SA that another SA with a wider mark hides can be deleted after that other one is gone. */
	bool unhidden = pass->n_hidden && pass->n_changed > pass->refused.n + pass->n_gone;
	return pass->counted || unhidden || pass->again ? -EAGAIN : dumped;
}

void sweep_report_unnamed(const struct sweep *sweep)
{
	char what[64];

	snprintf(what, sizeof(what), "could not be %s", sweep->config.participle);
	log_rest(sweep->summary.failed, LOG_ERR, MESSAGE_INCOMPLETE, what);
}

int sweep_run(struct sweep *sweep, enum entry_kind kind, sweep_fn fn)
{
	struct sweep_pass *pass = &sweep->pass;
	int r = -EAGAIN;

	pass->counted = false;
	for (unsigned int i = 0; r == -EAGAIN && i < PASSES_MAX; i++) {
		*pass = (struct sweep_pass){.fn = fn, .counted = pass->counted};
		r = run_pass(sweep, kind);
		log_detail("Pass %u over the %s%s; %" PRIu64 " were gone already.", i + 1, plural(kind),
			   r != -EAGAIN	    ? ""
			   : pass->again    ? " met shadows that existed already"
			   : pass->n_hidden ? " uncovered hidden SAs"
					    : " lost a part of the kernel's list",
			   pass->n_gone);
	}
	/* Only the refusals of the last pass are final. */
	log_list(&pass->refused, &sweep->summary.failed, LOG_ERR, MESSAGE_INCOMPLETE);
	if (r == -EAGAIN)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not read all %s in %d passes: some may be left. Run this command again.",
				   plural(kind), PASSES_MAX);
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED, "Could not %s the %s: %s.", sweep->config.infinitive,
				   plural(kind), strerror(-r));
	return 0;
}

int sweep_add(struct sweep *sweep, const struct entry *shadow)
{
	struct sweep_pass *pass = &sweep->pass;

	pass->again = false;
	pass->refused.n = 0;
	int r = sweep_adopt(sweep->xfrm, shadow);
	if (r == 0)
		return 0;
	r = exchange(sweep, shadow, NULL, r);
	if (r == 0)
		r = xfrm_commit(sweep->xfrm, on_refused, sweep);
	log_list(&pass->refused, &sweep->summary.failed, LOG_ERR, MESSAGE_INCOMPLETE);
	return r < 0 ? r : pass->again ? -EAGAIN : 0;
}

int sweep_is_covered(struct xfrm *xfrm, const struct entry *shadow)
{
	const struct entry covering = shadow_covering(shadow);

	return xfrm_has_policy(xfrm, &covering);
}

/* Removes a stale bypass shadow that has no real policy any more. */
static int visit_passing(struct sweep *sweep, const struct entry *entry)
{
	if (!shadow_is_overtaken(&sweep->survey, entry))
		return 0;
	int r = sweep_is_covered(sweep->xfrm, entry);
	return r == 0 ? xfrm_delete(sweep->xfrm, entry, on_refused, sweep) : r < 0 ? r : 0;
}

int sweep_prepare(struct sweep *sweep, const struct filter *filter)
{
	int r = survey(sweep, filter);

	if (r < 0 || !sweep->survey.n_real || !sweep->survey.n_bypasses)
		return r;
	return sweep_run(sweep, ENTRY_POLICY, visit_passing);
}
