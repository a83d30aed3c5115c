/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/arm.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "hold/boot_save.h"
#include "hold/report.h"
#include "hold/sweep.h"
#include "routes/table.h"
#include "verbs/options.h"
#include "xfrm/monitor.h"

/* Maximum number of sweeps, each of which makes up for what the one before it missed. */
#define SWEEPS_MAX 5

/* The tags of shadows differ in these bits of selector.user, no more. */
#define TAG_BITS 0xffU

struct arm {
	struct sweep sweep;
	const struct arm_options *options;
	struct monitor *monitor; /* of the policies of others; NULL when there are none to be had */
	bool sweeps;		 /* another sweep has to look at all policies */
	int error;		 /* of what was done for events */
};

static int visit(struct sweep *sweep, const struct entry *entry)
{
	struct arm *arm = CONTAINER_OF(sweep, struct arm, sweep);
	uint32_t tag = shadow_tag(entry);
	struct entry shadow;

	if (tag == SHADOW_HOLD || tag == SHADOW_ADJACENT || (!tag && !filter_selects(&arm->options->filter, entry)))
		return 0;
	shadow_make(entry, &sweep->survey, true, &shadow);
	/* A shadow that would go by itself has to stay now. */
	return sweep_exchange(sweep, &shadow, tag ? entry : NULL);
}

/* Whether the shadows of other policies may have to stand elsewhere because of this one: see shadow_make(). */
static bool changes_places(const struct arm *arm, const struct entry *policy)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;

	if (info->dir >= XFRM_POLICY_MAX)
		return false;
	const struct shadow_direction *direction = &arm->sweep.survey.directions[info->dir];
	return policy_is_bypass(policy) || !filter_selects(&arm->options->filter, policy) ||
	       info->priority >= SHADOW_PRIORITY || (direction->bypasses && info->priority <= direction->last_bypass);
}

/* Puts a shadow behind a policy that was added or updated since the dump began, also when it has been removed again:
 * the daemon may be on its way down. A bypass that has been removed must not get one, since other policies decide on
 * its traffic now. */
static int follow(struct arm *arm, const struct entry *policy)
{
	struct sweep *sweep = &arm->sweep;
	struct entry shadow;
	int r = 1;

	if (policy_is_bypass(policy))
		r = xfrm_has_policy(sweep->xfrm, policy);
	if (r <= 0)
		return r;
	arm->sweeps |= changes_places(arm, policy);
	if (!filter_selects(&arm->options->filter, policy))
		return 0;
	shadow_make(policy, &sweep->survey, true, &shadow);
	r = sweep_add(sweep, &shadow);
	arm->sweeps |= r == -EAGAIN;
	return r == -EAGAIN ? 0 : r;
}

static void on_event(const struct entry *entry, void *userdata)
{
	struct arm *arm = userdata;

	if (arm->error == 0)
		arm->error = follow(arm, entry);
}

static int read_events(struct arm *arm)
{
	if (!arm->monitor)
		return 0;
	int r = monitor_read(arm->monitor, on_event, arm);
	if (r == -ENOBUFS) {
		arm->sweeps = true;
		r = 0;
	}
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED, "Could not read the kernel's events: %s.", strerror(-r));
	if (arm->error < 0)
		return log_failure(arm->error, MESSAGE_FAILED,
				   "Could not put a shadow behind a policy that was installed at the same time: %s.",
				   strerror(-arm->error));
	return 0;
}

static int sweep_all(struct arm *arm)
{
	struct sweep *sweep = &arm->sweep;

	arm->sweeps = false;
	/* What was refused before is tried again. */
	sweep->summary.failed = 0;
	int r = sweep_prepare(sweep, &arm->options->filter);
	return r < 0 ? r : sweep_run(sweep, ENTRY_POLICY, visit);
}

/* Goes through all policies if that is due, and through those that others have added or updated since, until no event
 * is left. A dump does not show policies that are added after its beginning (xfrm_policy_walk()); only events do. */
static int arm_policies(struct arm *arm)
{
	for (unsigned int i = 0; i < SWEEPS_MAX; i++) {
		int r = arm->sweeps ? sweep_all(arm) : 0;
		if (r == 0)
			r = read_events(arm);
		if (r < 0 || !arm->sweeps)
			return r;
	}
	return log_failure(-EAGAIN, MESSAGE_FAILED,
			   "The policies changed during each of %d passes: some may have no shadow. Run `xfrmctl arm` "
			   "again.",
			   SWEEPS_MAX);
}

/* To be called before the first dump: the events of all policies that are installed from then on wait there. */
static int listen_to_others(struct arm *arm)
{
	int r = monitor_open_policies(SHADOW_HOLD, ~TAG_BITS, &arm->monitor);

	if (r < 0)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not listen to the kernel's events: %s. Policies that the IKE daemon installs "
				   "at the same time may have no shadow: run `xfrmctl arm` again.",
				   strerror(-r));
	return 0;
}

static void arm_free(struct arm *arm)
{
	monitor_close(&arm->monitor);
}

int arm_run(const struct globals *globals, const struct arm_options *options)
{
	CLEANUP(xfrm_close) struct xfrm *xfrm = NULL;
	CLEANUP(arm_free)
	struct arm arm = {
		.sweep.config = {"put a shadow behind", "given one", .only_adds = true, .renews = true},
		.options = options,
		.sweeps = true,
	};
	struct sweep *sweep = &arm.sweep;
	struct xfrm_counts counts;
	struct routes_summary backups = {0};

	int r = verb_open_xfrm(globals, &xfrm, &counts);
	if (r < 0)
		return r;
	/* What keeps it from being saved need not keep it from being blocked. */
	int saved = options->saved ? boot_save(xfrm, &options->filter, options->saved, NULL) : 0;

	sweep->xfrm = xfrm;
	progress_begin(xfrm_sum_policies(&counts), NULL);
	int listens = listen_to_others(&arm);
	r = arm_policies(&arm);
	int routes = options->routes ? routes_arm(options->routes, &backups) : 0;
	/* As late as can be: the daemon goes on until this ends. */
	if (r == 0)
		r = arm_policies(&arm);
	if (r == 0)
		r = sweep_count_shadows(sweep, &options->filter, false);
	sweep_report_unnamed(sweep);
	sweep->summary.backups = backups.backups;
	sweep->summary.failed += backups.failed;
	sweep->summary.usec = progress_end();
	report_armed(&sweep->summary);
	r = r < 0 ? r : routes < 0 ? routes : listens < 0 ? listens : saved;
	return r < 0 ? r : sweep->summary.failed ? -EIO : 0;
}

static const struct verb_option option_table[] = {
	SELECTION_OPTIONS(struct arm_options),
	{"routes", "[TABLE]", SECTION_ACTION, OPTION_TABLE, offsetof(struct arm_options, routes),
	 "Put stand-ins behind the static routes of charon's routing table too (default: 220), so that packets of this "
	 "machine itself keep their source, and are not let out in plaintext for another one"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "arm",
	.usage = {"[OPTION...]"},
	.about = "Puts a shadow behind each policy (main and sub, but never those of sockets), or those that are "
		 "selected, and removes nothing: when the IKE daemon takes its policies away, nothing leaves or comes "
		 "in in plaintext until `xfrmctl release`.",
	.more = SELECTION_MORE,
	.options = option_table,
};

int verb_arm(struct globals *globals, int argc, char **argv)
{
	struct arm_options arm = {0};

	int r = verb_parse(globals, argc, argv, &syntax, &arm);
	if (r < 0)
		return verb_exit_status(r);
	return arm_run(globals, &arm) < 0 ? STATUS_FAILED : STATUS_DONE;
}
