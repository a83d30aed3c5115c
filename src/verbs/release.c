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

/* Maximum finite grace, in seconds: ten years. The kernel counts a policy's lifetime in signed jiffies, so a longer
 * grace counts as infinite. */
#define GRACE_SECONDS_MAX (UINT64_C(10) * 365 * 24 * 60 * 60)

/* Seconds for which a shadow outlasts the kept policy in front of it, in addition to the grace. */
#define KEPT_MARGIN_SECONDS 5

struct release {
	struct sweep sweep;
	const struct release_options *options;
	/* The grace of the options, in microseconds; TIMESPAN_INFINITY if that exceeds GRACE_SECONDS_MAX. */
	uint64_t grace_usec;
	/* Identifies the shadows that this run makes expire; nanoseconds since boot. */
	uint64_t run;
	/* Time of this run in seconds since 1970, by the clock with which the kernel dates policies. */
	uint64_t now;
	/* Number of shadows behind kept policies, and the longest time until one of them expires, in seconds. */
	uint64_t n_behind_kept, behind_kept_seconds;
	/* There was at least one shadow. */
	bool any;
	/* Counters of blocked packets at the time when the oldest shadow was made. */
	struct xfrm_counters before;
};

/* Finds the kept policy in front of a shadow. Returns 1 and the seconds until the kernel removes it; 0 if there is
 * none; or a negative errno. */
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

/* Makes a shadow expire when the grace is over. A shadow behind a kept policy has to block for the whole grace after
 * handover or the kernel has removed the kept policy. Returns 0 or a negative errno. */
static int let_expire(struct release *release, const struct entry *entry, bool behind_kept, uint64_t kept_seconds)
{
	struct sweep *sweep = &release->sweep;
	uint64_t seconds = grace_seconds(release);
	struct entry shadow;

	if (behind_kept) {
		/* The kernel removes each of the two within about a second of its time, so add a margin. */
		seconds += kept_seconds + KEPT_MARGIN_SECONDS;
		release->n_behind_kept++;
		if (seconds > release->behind_kept_seconds)
			release->behind_kept_seconds = seconds;
	}
	/* With `later` true, the new shadow stays in front of each bypass that is behind the old one. */
	shadow_make(entry, &sweep->survey, true, &shadow);
	/* Store the current counters, so that the next release does not report the same packets again. */
	shadow_set_blocked(&shadow, &sweep->survey.blocked);
	shadow_let_expire(&shadow, seconds, release->run);
	return sweep_exchange(sweep, &shadow, entry);
}

/* Returns whether an SA is a pending acquire. With an acquire message the kernel creates an SA in the state ACQ. While
 * that SA exists, xfrm_state_find() sends no other acquire. charon drops an acquire for a trap that it is still
 * installing, and would get the next one only after net.core.xfrm_acq_expires. charon does not need the SA of an
 * acquire that it negotiates: xfrm_state_add() accepts a new SA without it. SAs that charon allocates itself
 * (XFRM_MSG_ALLOCSPI) have an SPI above the reserved ones. */
static bool is_pending_acquire(const struct entry *sa)
{
	/* An acquire with a reserved SPI was left by a run of xfrmctl that was stopped before it could delete the
	 * SA. */
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

	/* A shadow that is a bypass protects nothing, and must not decide on traffic that the new configuration
	 * protects. */
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
		/* Leave ask_first unset, so that sweep_exchange() adds without a lookup. Only an expiring shadow of an
		 * earlier release can be in the way, and then the kernel refuses the addition. */
		r = sweep_survey(xfrm, &(struct filter){0}, &sweep->survey);
		if (r == 0)
			r = sweep_run(sweep, ENTRY_POLICY, visit_policy);
	}
	/* Remove acquires after the shadows, because a packet that a shadow blocks causes no acquire. */
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
	 "Remove only acquires that EXPR matches, but all shadows (repeatable)"},
	{"exclude", "EXPR", SECTION_SELECTION, OPTION_EXCLUDE, offsetof(struct release_options, filter),
	 "Leave acquires that EXPR matches (repeatable)"},
	{"grace", "TIME", SECTION_ACTION, OPTION_TIME, offsetof(struct release_options, grace_usec),
	 "Keep a shadow for this time unless a policy of the same selector covers it (500ms, 30s, 5min, infinity; "
	 "default 0)"},
	{"routes", "[TABLE]", SECTION_ACTION, OPTION_TABLE, offsetof(struct release_options, routes),
	 "Remove the backup routes in charon's routing table, too (default 220). With --grace, leave those that charon "
	 "may need"},
	{"socket", "PATH", SECTION_SERVICE, OPTION_TEXT, offsetof(struct release_options, socket),
	 "Use this VICI socket of charon (default " VICI_SOCKET ")"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "release",
	.usage = {"[OPTION...]"},
	.about = "Removes the shadows of `xfrmctl flush --hold` and `xfrmctl arm`, and pending acquires (larval SAs "
		 "without SPI), so that the next packets cause new ones. Run it when the IKE daemon has loaded its "
		 "connections.",
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
