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

/* Maximum number of sweeps. Each sweep handles the policies that the previous one missed. */
#define SWEEPS_MAX 5

/* The bits of selector.user in which the tags of shadows differ. */
#define TAG_BITS 0xffU

struct arm {
	struct sweep sweep;
	const struct arm_options *options;
	struct monitor *monitor; /* events about policies of other programs; NULL if it could not be opened */
	bool sweeps;		 /* another sweep of all policies is due */
	int error;		 /* first negative errno from the handling of an event, or 0 */
};

static int visit(struct sweep *sweep, const struct entry *entry)
{
	struct arm *arm = CONTAINER_OF(sweep, struct arm, sweep);
	uint32_t tag = shadow_tag(entry);
	struct entry shadow;

	if (tag == SHADOW_HOLD || tag == SHADOW_ADJACENT || (!tag && !filter_selects(&arm->options->filter, entry)))
		return 0;
	shadow_make(entry, &sweep->survey, true, &shadow);
	/* If `entry` has a tag, it is an expiring shadow. It becomes permanent, even outside the filter. */
	return sweep_exchange(sweep, &shadow, tag ? entry : NULL);
}

/* Returns whether shadow_make() may give the shadows of other policies another priority because of this policy. */
static bool changes_places(const struct arm *arm, const struct entry *policy)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;

	if (info->dir >= XFRM_POLICY_MAX)
		return false;
	const struct shadow_direction *direction = &arm->sweep.survey.directions[info->dir];
	return policy_is_bypass(policy) || !filter_selects(&arm->options->filter, policy) ||
	       info->priority >= SHADOW_PRIORITY || (direction->bypasses && info->priority <= direction->last_bypass);
}

/* Puts a shadow behind a policy that was added or updated after the dump began. Does so even if the policy is gone by
 * now, because the daemon may be stopping. Ignores a bypass that is gone, because other policies now decide on its
 * traffic. Returns 0 or a negative errno. */
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
				   "Could not put a shadow behind a policy that was installed meanwhile: %s.",
				   strerror(-arm->error));
	return 0;
}

static int sweep_all(struct arm *arm)
{
	struct sweep *sweep = &arm->sweep;

	arm->sweeps = false;
	/* This sweep tries again to add the shadows that the kernel refused before. */
	sweep->summary.failed = 0;
	int r = sweep_prepare(sweep, &arm->options->filter);
	return r < 0 ? r : sweep_run(sweep, ENTRY_POLICY, visit);
}

/* Puts shadows behind all policies. Sweeps if a sweep is due, and then handles events. Repeats both until no event
 * requires another sweep. A dump does not show policies that are added after it began (xfrm_policy_walk()); only events
 * do. Returns 0, or a negative errno, which it reports. */
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
			   "Could not put shadows behind all policies: policies changed during each of %d passes. Run "
			   "`xfrmctl arm` again.",
			   SWEEPS_MAX);
}

/* Subscribes to the kernel's events about policies of other programs. The caller calls it before the first dump, so
 * that the kernel queues events about all later policies. Returns 0, or a negative errno, which it reports. */
static int listen_to_others(struct arm *arm)
{
	int r = monitor_open_policies(false, SHADOW_HOLD, ~TAG_BITS, &arm->monitor);

	if (r < 0)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not listen to the kernel's events: %s. Policies that the IKE daemon installs "
				   "meanwhile may have no shadow. Run `xfrmctl arm` again.",
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
	/* If the policies cannot be saved for the next boot, they get shadows all the same. */
	int saved = options->saved ? boot_save(xfrm, &options->filter, options->saved, NULL) : 0;

	sweep->xfrm = xfrm;
	progress_begin(xfrm_sum_policies(&counts), NULL);
	int listens = listen_to_others(&arm);
	r = arm_policies(&arm);
	int routes = options->routes ? routes_arm(options->routes, &backups) : 0;
	/* Handle events once more, as late as possible: before a restart, the daemon runs until this command ends. */
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
	 "Add backup routes for the static routes of charon's routing table (default 220), so that this machine's own "
	 "packets keep their source"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "arm",
	.usage = {"[OPTION...]"},
	.about = "Puts a shadow behind each policy, or each selected one, and removes nothing. When the IKE daemon "
		 "removes its policies, their traffic is blocked until `xfrmctl release`. Policies of sockets get no "
		 "shadow.",
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
