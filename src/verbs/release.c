/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/release.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/timespan.h"
#include "base/util.h"
#include "hold/report.h"
#include "hold/sweep.h"
#include "routes/table.h"
#include "verbs/options.h"
#include "xfrm/build.h"
#include "xfrm/netlink.h"

/* The kernel counts the time of a policy in signed jiffies; nobody waits for longer than this. */
#define GRACE_SECONDS_MAX (UINT64_C(10) * 365 * 24 * 60 * 60)

/* Seconds for which a shadow stands longer than a kept shadow in front of it, without a grace. */
#define KEPT_MARGIN_SECONDS 5

struct release {
	struct sweep sweep;
	const struct release_options *options;
	uint64_t grace_usec;
	uint64_t run; /* what the shadows that this run lets expire are known by */
	uint64_t now; /* seconds since 1970, as the kernel dates policies */
	/* Shadows behind kept shadows, and the longest time for which these two stand, with the grace. */
	uint64_t n_behind_kept, behind_kept_seconds;
	bool any;
	struct xfrm_counters before; /* the counters when the oldest shadow was made */
};

/* Finds the kept shadow in front of a shadow: 1 with the seconds after which the kernel removes it, or 0. */
static int find_kept(struct release *release, const struct entry *shadow, uint64_t *ret_seconds)
{
	const struct entry wanted = shadow_kept_before(shadow);
	struct entry kept = {0};

	if (!release->sweep.survey.n_kept)
		return 0;
	int r = xfrm_find_policy(release->sweep.xfrm, &wanted, &kept);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	const uint64_t end = kept.policy.info.curlft.add_time + kept.policy.info.lft.hard_add_expires_seconds;
	*ret_seconds = end > release->now ? end - release->now : 0;
	return 1;
}

static uint64_t grace_seconds(const struct release *release)
{
	return (release->grace_usec + USEC_PER_SEC - 1) / USEC_PER_SEC;
}

/* Lets a shadow expire when the grace is over. It has to block for as long as the grace after a kept shadow in front of
 * it has gone, whether handover or the kernel removes that. */
static int let_expire(struct release *release, const struct entry *entry, bool behind_kept, uint64_t kept_seconds)
{
	struct sweep *sweep = &release->sweep;
	uint64_t seconds = grace_seconds(release);
	struct entry shadow;

	if (behind_kept) {
		/* The kernel removes both within about a second of their time. */
		seconds += kept_seconds + KEPT_MARGIN_SECONDS;
		release->n_behind_kept++;
		if (seconds > release->behind_kept_seconds)
			release->behind_kept_seconds = seconds;
	}
	/* A bypass that stands behind the shadow must not get in front of it. */
	shadow_make(entry, &sweep->survey, true, &shadow);
	/* What this release reports, the next one need not. */
	shadow_set_blocked(&shadow, &sweep->survey.blocked);
	shadow_let_expire(&shadow, seconds, release->run);
	return sweep_exchange(sweep, &shadow, entry);
}

/* The kernel makes an SA in the state ACQ with its acquire message, and xfrm_state_find() sends no other one while that
 * is there. charon drops an acquire for a trap that it is still installing, and would get the next one only when
 * net.core.xfrm_acq_expires is over. One that it negotiates for does not need the SA: xfrm_state_add() takes a new one
 * without. The SAs that charon makes itself (ALLOCSPI) have an SPI. */
static bool is_pending_acquire(const struct entry *sa)
{
	/* With one that is reserved, a run that was stopped has left it. */
	return sa->larval && ntohl(sa->sa.id.spi) <= REQUEST_SPI_RESERVED_MAX;
}

static int visit_sa(struct sweep *sweep, const struct entry *sa)
{
	const struct release *release = CONTAINER_OF(sweep, struct release, sweep);

	return is_pending_acquire(sa) && filter_selects(&release->options->filter, sa) ? sweep_remove(sweep, sa) : 0;
}

static int visit_policy(struct sweep *sweep, const struct entry *entry)
{
	struct release *release = CONTAINER_OF(sweep, struct release, sweep);
	const struct xfrm_counters before = shadow_blocked_before(entry);
	uint64_t kept_seconds = 0;

	if (!shadow_tag(entry) || shadow_is_of_run(entry, release->run))
		return 0;
	if (!release->any || before.out < release->before.out)
		release->before.out = before.out;
	if (!release->any || before.in < release->before.in)
		release->before.in = before.in;
	release->any = true;

	/* One that lets traffic pass protects nothing, and must not decide on what the new configuration protects. */
	if (policy_is_bypass(entry))
		return sweep_remove(sweep, entry);
	int behind_kept = find_kept(release, entry, &kept_seconds);
	if (behind_kept < 0)
		return behind_kept;
	int covered = release->grace_usec || behind_kept ? sweep_is_covered(sweep->xfrm, entry) : 1;
	if (covered < 0)
		return covered;
	if (covered)
		return sweep_remove(sweep, entry);
	if (shadow_tag(entry) == SHADOW_EXPIRING || release->grace_usec == TIMESPAN_INFINITY)
		return 0;
	return let_expire(release, entry, behind_kept, kept_seconds);
}

static int release_routes(const struct release *release, struct summary *summary, struct summary_release *ret)
{
	struct routes_summary routes;

	int r = routes_release(release->options->routes, release->grace_usec != 0, release->options->socket, &routes);
	summary->routes = routes.removed;
	summary->failed += routes.failed;
	ret->backups = routes.backups;
	return r;
}

static int run(struct release *release, const struct globals *globals)
{
	CLEANUP(xfrm_close) struct xfrm *xfrm = NULL;
	struct sweep *sweep = &release->sweep;
	struct summary_release summary = {.grace_usec = release->grace_usec};
	struct xfrm_counts counts;

	int r = verb_open_xfrm(globals, &xfrm, &counts);
	if (r < 0)
		return r;
	uint64_t policies = xfrm_sum_policies(&counts), sas = release->options->only_ours ? 0 : counts.sas;
	if (!release->options->routes)
		privileges_give_up(PRIVILEGE_OTHERS);

	sweep->xfrm = xfrm;
	progress_begin(policies + sas, NULL);
	bool known = xfrm_read_counters(&sweep->survey.blocked) == 0;
	if (policies) {
		/* A shadow that expires is new: nothing is in its place but one of an earlier release. So none is
		 * looked for before it is added. */
		r = sweep_survey(xfrm, &(struct filter){0}, &sweep->survey);
		if (r == 0)
			r = sweep_run(sweep, ENTRY_POLICY, visit_policy);
	}
	/* Behind the policies: a packet that a shadow blocks asks for nothing. */
	if (sas) {
		int swept = sweep_run(sweep, ENTRY_SA, visit_sa);
		r = r < 0 ? r : swept;
	}
	if (known && release->any) {
		summary.blocked_known = true;
		summary.blocked_out = sweep->survey.blocked.out - release->before.out;
		summary.blocked_in = sweep->survey.blocked.in - release->before.in;
	}
	summary.behind_kept = release->n_behind_kept;
	summary.behind_kept_usec = release->behind_kept_seconds * USEC_PER_SEC;
	if (release->any && (release->grace_usec || release->n_behind_kept)) {
		int surveyed = sweep_survey(xfrm, &(struct filter){0}, &sweep->survey);
		r = r < 0 ? r : surveyed;
		summary.kept = shadow_count(&sweep->survey);
	}
	sweep_report_unnamed(sweep);
	if (release->options->routes) {
		int routes = release_routes(release, &sweep->summary, &summary);
		r = r < 0 ? r : routes;
	}
	sweep->summary.usec = progress_end();
	report_released(&sweep->summary, &summary);
	return r < 0 ? r : sweep->summary.failed ? -EIO : 0;
}

int release_run(const struct globals *globals, const struct release_options *options)
{
	struct release release = {
		.sweep.config = {"release", "released"},
		.options = options,
		.grace_usec = options->grace_usec,
	};
	struct timespec now, date;

	if (release.grace_usec / USEC_PER_SEC > GRACE_SECONDS_MAX)
		release.grace_usec = TIMESPAN_INFINITY;
	clock_gettime(CLOCK_BOOTTIME, &now);
	clock_gettime(CLOCK_REALTIME, &date);
	release.now = (uint64_t)date.tv_sec;
	release.run = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	return run(&release, globals);
}

static const struct verb_option option_table[] = {
	{"match", "EXPR", SECTION_SELECTION, OPTION_INCLUDE, offsetof(struct release_options, filter),
	 "Only acquires that some --match holds for (repeatable). Shadows go whatever it says"},
	{"exclude", "EXPR", SECTION_SELECTION, OPTION_EXCLUDE, offsetof(struct release_options, filter),
	 "Not the acquires that some --exclude holds for (repeatable)"},
	{"grace", "TIME", SECTION_ACTION, OPTION_TIME, offsetof(struct release_options, grace_usec),
	 "Shadows that no policy of the same selector covers by now go after this time (500ms, 30s, 5min, infinity; "
	 "default 0: at once)"},
	{"routes", "[TABLE]", SECTION_ACTION, OPTION_TABLE, offsetof(struct release_options, routes),
	 "Also the stand-ins that `flush --hold --routes` left in charon's routing table (default: 220); with --grace, "
	 "those stay that a connection of the running charon may need"},
	{"socket", "PATH", SECTION_SERVICE, OPTION_TEXT, offsetof(struct release_options, socket),
	 "charon's VICI socket (default " VICI_SOCKET ")"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "release",
	.usage = {"[OPTION...]"},
	.about = "Removes what `xfrmctl flush --hold` and `xfrmctl arm` left in the place of policies, and pending "
		 "acquires (larval SAs without SPI), so that the next packets ask the IKE daemon again. To be run when "
		 "that has loaded its connections.",
	.more = SELECTION_MORE,
	.options = option_table,
};

int verb_release(struct globals *globals, int argc, char **argv)
{
	struct release_options release = {.socket = VICI_SOCKET};

	int r = verb_parse(globals, argc, argv, &syntax, &release);
	if (r < 0)
		return verb_exit_status(r);
	return release_run(globals, &release) < 0 ? STATUS_FAILED : STATUS_DONE;
}
