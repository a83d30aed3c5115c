/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hold/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "xfrm/netlink.h"

/* Maximum number of passes over a list of which a part was lost. Each pass handles what the one before it missed. */
#define PASSES_MAX 5

static const char *plural(enum entry_kind kind)
{
	return kind == ENTRY_SA ? "SAs" : "policies";
}

struct surveying {
	struct shadow_survey *survey;
	const struct filter *filter;
};

static int survey_entry(const struct entry *entry, const struct nlmsghdr *message, void *userdata)
{
	struct surveying *surveying = userdata;

	(void)message;
	shadow_survey_add(surveying->survey, surveying->filter, entry);
	return 0;
}

static void begin_survey(void *userdata)
{
	struct surveying *surveying = userdata;

	*surveying->survey = (struct shadow_survey){0};
}

int sweep_survey(struct sweep *sweep, const struct filter *filter)
{
	struct surveying surveying = {&sweep->survey, filter};

	int r = kernel_dump_whole(sweep->kernel, ENTRY_POLICY, begin_survey, survey_entry, &surveying);
	if (r < 0 && r != -EAGAIN)
		return report_failure(r, REPORT_FAILED, "Could not list the policies: %s.", strerror(-r));
	/* What was not seen may be what matters. */
	for (uint8_t dir = 0; r == -EAGAIN && dir < XFRM_POLICY_MAX; dir++) {
		shadow_survey_stays(&sweep->survey, dir);
		sweep->survey.directions[dir].many = true;
	}
	sweep->ask_first = r == -EAGAIN || shadow_count(&sweep->survey);
	if (blocked_read(&sweep->blocked) < 0)
		sweep->blocked = (struct shadow_blocked){0};
	return 0;
}

static bool is_counted(const struct sweep *sweep, const struct entry *entry)
{
	uint32_t tag = shadow_tag(entry);

	/* Its policy is counted, when that goes. */
	if (sweep->renews && !sweep->keeps && shadow_is_kept(entry))
		return false;
	return !sweep->renews || (tag != SHADOW_GRACE && (sweep->keeps || (tag != SHADOW_CLOSE && tag != SHADOW_HOLD)));
}

static void on_refused(const struct kernel_refusal *refusal, void *userdata)
{
	struct sweep *sweep = userdata;

	if (is_counted(sweep, &refusal->entry))
		summary_take_back(&sweep->summary, &refusal->entry);
	if (refusal->addition) {
		sweep->summary.shadows--;
		/* A shadow of an earlier life, or one whose fate is unknown: the next pass takes a look first. */
		if (refusal->error == -EEXIST || refusal->error == -EAGAIN) {
			sweep->ask_first = sweep->again = true;
			return;
		}
	} else if (refusal->error == -ENOENT || refusal->error == -ESRCH) {
		sweep->n_gone++;
		return;
	} else if (refusal->error == -EEXIST) {
		sweep->n_hidden++;
	}
	/* Shadows that are made from now on must not stand behind it. */
	if (refusal->entry.kind == ENTRY_POLICY)
		shadow_survey_stays(&sweep->survey, refusal->entry.policy.info.dir);
	if (sweep->n_refused < REPORT_NAMED_MAX)
		sweep->refused[sweep->n_refused] = *refusal;
	sweep->n_refused++;
}

static void count(struct sweep *sweep, const struct entry *entry)
{
	sweep->n_changed++;
	if (!sweep->counted && is_counted(sweep, entry))
		summary_add(&sweep->summary, entry);
}

int sweep_remove(struct sweep *sweep, const struct entry *entry)
{
	count(sweep, entry);
	return kernel_delete(sweep->kernel, entry, on_refused, sweep);
}

int sweep_adopt(struct kernel *kernel, const struct entry *shadow)
{
	struct entry present = {0};

	int r = kernel_find_policy(kernel, shadow, &present);
	if (r == 0 && !shadow_suffices(&present, shadow))
		r = kernel_update_policy(kernel, shadow);
	return r;
}

int sweep_exchange(struct sweep *sweep, const struct entry *shadow, const struct entry *old)
{
	const struct entry *subject = old ? old : shadow;
	int r = sweep->ask_first ? sweep_adopt(sweep->kernel, shadow) : -ENOENT;

	count(sweep, subject);
	sweep->summary.shadows++;
	if (r == 0)
		return old ? kernel_delete(sweep->kernel, old, on_refused, sweep) : 0;
	if (r == -ENOENT)
		return kernel_exchange(sweep->kernel, shadow, old, on_refused, sweep);
	on_refused(&(struct kernel_refusal){*subject, r, true}, sweep);
	return kernel_refused(sweep->kernel) ? 0 : r;
}

int sweep_count_shadows(struct sweep *sweep, const struct filter *filter, bool kept)
{
	/* Nothing was there, and nothing went another way than counted. */
	if (!sweep->ask_first && !kept)
		return 0;
	int r = sweep_survey(sweep, filter);
	sweep->summary.shadows = sweep->survey.n_hold + sweep->survey.n_close;
	sweep->summary.carrying = sweep->survey.n_kept;
	return r;
}

static int visit(const struct entry *entry, const struct nlmsghdr *message, void *userdata)
{
	struct sweep *sweep = userdata;

	sweep->message = message;
	report_progress(++sweep->looked_at);
	return sweep->visit(sweep, entry);
}

/* One dump and what is done to its entries. -EAGAIN when something may have been missed, or has come to light. */
static int pass(struct sweep *sweep, enum entry_kind kind)
{
	sweep->n_changed = sweep->n_gone = sweep->n_hidden = sweep->n_refused = 0;
	sweep->again = false;
	if (sweep->keeps)
		sweep->summary = (struct summary){.failed = sweep->summary.failed};
	int dumped = kernel_dump(sweep->kernel, kind, visit, sweep);
	int r = kernel_commit(sweep->kernel, on_refused, sweep);
	if (dumped < 0 && dumped != -EAGAIN)
		return dumped;
	if (r < 0)
		return r;
	sweep->counted = kernel_lost_refusals(sweep->kernel);
	/* An SA that was hidden by one with a wider mark can be named once that one has gone. */
	bool unhidden = sweep->n_hidden && sweep->n_changed > sweep->n_refused + sweep->n_gone;
	return sweep->counted || unhidden || sweep->again ? -EAGAIN : dumped;
}

/* Names what the last pass could not do. */
static void report_refused(struct sweep *sweep)
{
	char description[ENTRY_DESCRIPTION_MAX];
	size_t n = sweep->n_refused < REPORT_NAMED_MAX ? sweep->n_refused : REPORT_NAMED_MAX;

	for (size_t i = 0; i < n; i++) {
		const struct kernel_refusal *refusal = &sweep->refused[i];
		entry_describe(&refusal->entry, description, sizeof(description));
		report_one(&sweep->summary.failed, REPORT_INCOMPLETE, "Could not %s %s: %s%s.", sweep->verb->infinitive,
			   description, refusal->addition ? "a shadow in its place was refused: " : "",
			   refusal->error == -EEXIST
				   ? "an SA with the same SPI and a wider mark is in its place; remove that one first"
				   : strerror(-refusal->error));
	}
	sweep->summary.failed += sweep->n_refused - n;
}

void sweep_report_unnamed(const struct sweep *sweep)
{
	char what[64];

	snprintf(what, sizeof(what), "could not be %s", sweep->verb->participle);
	report_rest(sweep->summary.failed, REPORT_INCOMPLETE, what);
}

int sweep_run(struct sweep *sweep, enum entry_kind kind)
{
	int r = -EAGAIN;

	sweep->counted = false;
	for (unsigned int i = 0; r == -EAGAIN && i < PASSES_MAX; i++) {
		r = pass(sweep, kind);
		report_detail("Pass %u over the %s%s; %" PRIu64 " had gone already.", i + 1, plural(kind),
			      r != -EAGAIN	? ""
			      : sweep->again	? " found shadows in the way"
			      : sweep->n_hidden ? " brought hidden ones to light"
						: " has lost a part",
			      sweep->n_gone);
	}
	report_refused(sweep);
	if (r == -EAGAIN)
		return report_failure(r, REPORT_FAILED,
				      "Could not get the kernel's whole list of %s in %d passes: some may be left. Run "
				      "this again.",
				      plural(kind), PASSES_MAX);
	if (r < 0)
		return report_failure(r, REPORT_FAILED, "Could not %s the %s: %s.", sweep->verb->infinitive,
				      plural(kind), strerror(-r));
	return 0;
}

int sweep_add(struct sweep *sweep, const struct entry *shadow)
{
	int r = sweep_adopt(sweep->kernel, shadow);

	sweep->again = false;
	sweep->n_refused = 0;
	if (r == 0)
		return 0;
	count(sweep, shadow);
	sweep->summary.shadows++;
	if (r == -ENOENT) {
		r = kernel_exchange(sweep->kernel, shadow, NULL, on_refused, sweep);
		if (r == 0)
			r = kernel_commit(sweep->kernel, on_refused, sweep);
	} else {
		on_refused(&(struct kernel_refusal){*shadow, r, true}, sweep);
		r = kernel_refused(sweep->kernel) ? 0 : r;
	}
	report_refused(sweep);
	return r < 0 ? r : sweep->again ? -EAGAIN : 0;
}

static int visit_passing(struct sweep *sweep, const struct entry *entry)
{
	if (!shadow_is_overtaken(&sweep->survey, entry))
		return 0;
	const struct entry real = shadow_covering(entry);
	int r = kernel_has_policy(sweep->kernel, &real);
	return r == 0 ? kernel_delete(sweep->kernel, entry, on_refused, sweep) : r < 0 ? r : 0;
}

int sweep_prepare(struct sweep *sweep, const struct filter *filter)
{
	int (*visit_then)(struct sweep *, const struct entry *) = sweep->visit;

	int r = sweep_survey(sweep, filter);
	if (r < 0 || !sweep->survey.n_real || !sweep->survey.n_passing)
		return r;
	sweep->visit = visit_passing;
	r = sweep_run(sweep, ENTRY_POLICY);
	sweep->visit = visit_then;
	return r;
}
