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

	int r = xfrm_dump_consistent(sweep->xfrm, ENTRY_POLICY, begin_survey, survey_entry, &surveying);
	if (r < 0 && r != -EAGAIN)
		return log_failure(r, MESSAGE_FAILED, "Could not list the policies: %s.", strerror(-r));
	/* What was not seen may be what matters. */
	for (uint8_t dir = 0; r == -EAGAIN && dir < XFRM_POLICY_MAX; dir++) {
		shadow_survey_stays(&sweep->survey, dir);
		sweep->survey.directions[dir].many = true;
	}
	sweep->ask_first = r == -EAGAIN || shadow_count(&sweep->survey);
	if (xfrm_read_counters(&sweep->blocked) < 0)
		sweep->blocked = (struct xfrm_counters){0};
	return 0;
}

static bool is_counted(const struct sweep *sweep, const struct entry *entry)
{
	uint32_t tag = shadow_tag(entry);

	/* Its policy is counted, when that goes. */
	if (sweep->renews && !sweep->keeps && is_kept_policy(entry))
		return false;
	return !sweep->renews ||
	       (tag != SHADOW_EXPIRING && (sweep->keeps || (tag != SHADOW_ADJACENT && tag != SHADOW_HOLD)));
}

static void on_refused(const struct xfrm_refusal *refusal, void *userdata)
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
	if (sweep->n_refused < LOG_NAMED_MAX)
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

int sweep_exchange(struct sweep *sweep, const struct entry *shadow, const struct entry *old)
{
	const struct entry *subject = old ? old : shadow;
	int r = sweep->ask_first ? sweep_adopt(sweep->xfrm, shadow) : -ENOENT;

	count(sweep, subject);
	sweep->summary.shadows++;
	if (r == 0)
		return old ? xfrm_delete(sweep->xfrm, old, on_refused, sweep) : 0;
	if (r == -ENOENT)
		return xfrm_exchange(sweep->xfrm, shadow, old, on_refused, sweep);
	on_refused(&(struct xfrm_refusal){*subject, r, true}, sweep);
	return xfrm_refused(sweep->xfrm) ? 0 : r;
}

int sweep_count_shadows(struct sweep *sweep, const struct filter *filter, bool kept)
{
	/* Nothing was there, and nothing went another way than counted. */
	if (!sweep->ask_first && !kept)
		return 0;
	int r = sweep_survey(sweep, filter);
	sweep->summary.shadows = sweep->survey.n_hold + sweep->survey.n_adjacent;
	sweep->summary.carrying = sweep->survey.n_kept;
	return r;
}

static int visit(const struct entry *entry, const struct nlmsghdr *message, void *userdata)
{
	struct sweep *sweep = userdata;

	sweep->message = message;
	progress_advance(++sweep->looked_at);
	return sweep->visit(sweep, entry);
}

/* One dump and what is done to its entries. -EAGAIN when something may have been missed, or has come to light. */
static int pass(struct sweep *sweep, enum entry_kind kind)
{
	sweep->n_changed = sweep->n_gone = sweep->n_hidden = sweep->n_refused = 0;
	sweep->again = false;
	if (sweep->keeps)
		sweep->summary = (struct summary){.failed = sweep->summary.failed};
	int dumped = xfrm_dump(sweep->xfrm, kind, visit, sweep);
	int r = xfrm_commit(sweep->xfrm, on_refused, sweep);
	if (dumped < 0 && dumped != -EAGAIN)
		return dumped;
	if (r < 0)
		return r;
	sweep->counted = xfrm_lost_refusals(sweep->xfrm);
	/* An SA that was hidden by one with a wider mark can be named once that one has gone. */
	bool unhidden = sweep->n_hidden && sweep->n_changed > sweep->n_refused + sweep->n_gone;
	return sweep->counted || unhidden || sweep->again ? -EAGAIN : dumped;
}

/* Names what the last pass could not do. */
static void report_refused(struct sweep *sweep)
{
	char description[ENTRY_DESCRIPTION_MAX];
	size_t n = sweep->n_refused < LOG_NAMED_MAX ? sweep->n_refused : LOG_NAMED_MAX;

	for (size_t i = 0; i < n; i++) {
		const struct xfrm_refusal *refusal = &sweep->refused[i];
		entry_describe(&refusal->entry, description, sizeof(description));
		log_one(&sweep->summary.failed, MESSAGE_INCOMPLETE, "Could not %s %s: %s%s.", sweep->verb->infinitive,
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
	log_rest(sweep->summary.failed, MESSAGE_INCOMPLETE, what);
}

int sweep_run(struct sweep *sweep, enum entry_kind kind)
{
	int r = -EAGAIN;

	sweep->counted = false;
	for (unsigned int i = 0; r == -EAGAIN && i < PASSES_MAX; i++) {
		r = pass(sweep, kind);
		log_detail("Pass %u over the %s%s; %" PRIu64 " had gone already.", i + 1, plural(kind),
			   r != -EAGAIN	     ? ""
			   : sweep->again    ? " found shadows in the way"
			   : sweep->n_hidden ? " brought hidden ones to light"
					     : " has lost a part",
			   sweep->n_gone);
	}
	report_refused(sweep);
	if (r == -EAGAIN)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not get the kernel's whole list of %s in %d passes: some may be left. Run "
				   "this again.",
				   plural(kind), PASSES_MAX);
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED, "Could not %s the %s: %s.", sweep->verb->infinitive, plural(kind),
				   strerror(-r));
	return 0;
}

int sweep_add(struct sweep *sweep, const struct entry *shadow)
{
	int r = sweep_adopt(sweep->xfrm, shadow);

	sweep->again = false;
	sweep->n_refused = 0;
	if (r == 0)
		return 0;
	count(sweep, shadow);
	sweep->summary.shadows++;
	if (r == -ENOENT) {
		r = xfrm_exchange(sweep->xfrm, shadow, NULL, on_refused, sweep);
		if (r == 0)
			r = xfrm_commit(sweep->xfrm, on_refused, sweep);
	} else {
		on_refused(&(struct xfrm_refusal){*shadow, r, true}, sweep);
		r = xfrm_refused(sweep->xfrm) ? 0 : r;
	}
	report_refused(sweep);
	return r < 0 ? r : sweep->again ? -EAGAIN : 0;
}

static int visit_passing(struct sweep *sweep, const struct entry *entry)
{
	if (!shadow_is_overtaken(&sweep->survey, entry))
		return 0;
	const struct entry real = shadow_covering(entry);
	int r = xfrm_has_policy(sweep->xfrm, &real);
	return r == 0 ? xfrm_delete(sweep->xfrm, entry, on_refused, sweep) : r < 0 ? r : 0;
}

int sweep_prepare(struct sweep *sweep, const struct filter *filter)
{
	int (*visit_then)(struct sweep *, const struct entry *) = sweep->visit;

	int r = sweep_survey(sweep, filter);
	if (r < 0 || !sweep->survey.n_real || !sweep->survey.n_bypasses)
		return r;
	sweep->visit = visit_passing;
	r = sweep_run(sweep, ENTRY_POLICY);
	sweep->visit = visit_then;
	return r;
}
