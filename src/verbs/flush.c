/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/util.h"
#include "handover/guard_sa.h"
#include "handover/keep.h"
#include "hold/report.h"
#include "hold/sweep.h"
#include "ike/key_manager.h"
#include "routes/table.h"
#include "status/orphans.h"
#include "verbs/flush.h"
#include "verbs/flush_list.h"
#include "verbs/flush_orphans.h"
#include "verbs/options.h"

/* The policies and shadows that one pass of --hold replaces. */
enum turn {
	TURN_ALL,
	TURN_BYPASSES, /* only bypasses */
	TURN_OTHERS,   /* all but bypasses */
};

struct flush {
	const struct flush_options *options;
	struct sweep sweep;
	struct vici *vici;	/* client of the running charon with --orphans, otherwise NULL */
	struct orphans orphans; /* with --orphans, the only SAs that are removed */
	struct keep keep;	/* with --keep, the SAs that stay in use */
	enum turn turn;		/* the current pass of --hold */
};

static void flush_free(struct flush *flush)
{
	xfrm_close(&flush->sweep.xfrm);
	vici_close(&flush->vici);
	orphans_free(&flush->orphans);
	keep_free(&flush->keep);
}

/* Returns whether any SA stays in use. If none does, --keep has the same effect as --hold. */
static bool keeps_traffic(const struct flush *flush)
{
	return flush->keep.n_reqids != 0;
}

/* Checks whether a key manager, other than the process `charon`, owns the state. Returns 0 if the state may be removed.
 * Returns -ECANCELED if the service is being stopped and an IKE daemon is still alive: it removes its own state.
 * Returns -EBUSY if a key manager owns the state, or another negative errno; it reports these two. */
static int check_key_manager(const struct flush_options *options, pid_t charon)
{
	struct key_manager key_manager;
	char who[sizeof(key_manager.name) + 32];

	int r = key_manager_find(charon, &key_manager);
	if (r < 0)
		return log_failure(
			r, MESSAGE_FAILED,
			"Could not find out whether a key manager is alive: %s. Mount /proc, or use --force.",
			strerror(-r));
	if (r == 0)
		return 0;

	if (key_manager.pid)
		snprintf(who, sizeof(who), "%s (PID %d)", *key_manager.name ? key_manager.name : "A process",
			 key_manager.pid);
	else
		snprintf(who, sizeof(who), "A process that /proc does not show");

	if (key_manager.kind == KEY_MANAGER_MONITOR) {
		log_detail("%s only monitors XFRM events, and is no key manager.", who);
		return 0;
	}
	if (options->stop && key_manager.kind == KEY_MANAGER_IKE) {
		log_detail("%s is alive, and removes its own SAs and policies.", who);
		return -ECANCELED;
	}
	if (options->dry_run) {
		log_notice(MESSAGE_UNSURE,
			   "%s listens for acquires, and may manage this state. A removal needs --force.", who);
		return 0;
	}
	if (key_manager.kind == KEY_MANAGER_IKE)
		return log_failure(-EBUSY, MESSAGE_REFUSED,
				   "%s is alive, and manages the SAs and policies of this network namespace. Nothing "
				   "was removed. Stop the process first, or use --force.",
				   who);
	/* In a unit, systemd runs this command only after the unit's own daemon has ended. A process without any sign
	 * of IKE must not prevent the removal of stale state. Outside a unit, the user can decide (--force). */
	if (log_in_unit()) {
		log_notice(MESSAGE_UNSURE,
			   "%s listens for acquires, but does not look like an IKE daemon. The removal continues.",
			   who);
		return 0;
	}
	return log_failure(-EBUSY, MESSAGE_REFUSED,
			   "%s listens for acquires, and may manage the SAs and policies of this network namespace. "
			   "Nothing was removed. Stop the process first, or use --force.",
			   who);
}

/* Returns whether xfrmctl made an entry. */
static bool is_ours(const struct entry *entry)
{
	return shadow_tag(entry) || is_kept_policy(entry) || is_guard_sa(entry);
}

static bool selects(const struct flush *flush, const struct entry *entry)
{
	if (flush->options->only_ours)
		return is_ours(entry);
	if (!filter_selects(&flush->options->filter, entry))
		return false;
	if (flush->options->orphans)
		return orphans_contain(&flush->orphans, entry);
	return !keeps_traffic(flush) ||
	       (entry->kind == ENTRY_SA ? !keep_has_sa(&flush->keep, entry) : !keep_has_policy(&flush->keep, entry));
}

/* Replaces a policy by a kept policy and a shadow behind it. If `policy` is a kept policy already, adds only the
 * shadow. Adds the kept policy first. If there is no room behind the kept policy, the shadow gets the same priority,
 * and of two such policies the kernel uses the older. Removes `policy` only after the kernel has confirmed the shadow,
 * because the shadow has to block when the kept policy expires. Returns 0 or a negative errno. */
static int keep_policy(struct flush *flush, const struct entry *policy)
{
	struct sweep *sweep = &flush->sweep;
	const bool is_kept = is_kept_policy(policy);
	struct entry kept, shadow;

	int r = 0;
	if (!is_kept) {
		shadow_make_kept_policy(policy, &kept);
		r = sweep_exchange(sweep, &kept, NULL);
	}
	shadow_make(policy, &sweep->survey, true, &shadow);
	return r < 0 ? r : sweep_exchange(sweep, &shadow, is_kept ? NULL : policy);
}

/* Limits the lifetime of a kept SA, so that the kernel removes it. Removes the SA now if the kernel refuses the limit.
 * Returns 0 or a negative errno. */
static int keep_sa(struct flush *flush, const struct entry *sa)
{
	char description[ENTRY_DESCRIPTION_MAX];

	int r = keep_limit_sa(&flush->keep, flush->sweep.xfrm, sa);
	if (r == 0 || r == -ESRCH)
		return 0;
	log_detail("Could not limit the lifetime of %s: %s. The SA is removed.",
		   entry_describe(sa, description, sizeof(description)), strerror(-r));
	return sweep_remove(&flush->sweep, sa);
}

static int hold_policy(struct sweep *sweep, const struct entry *policy)
{
	struct flush *flush = CONTAINER_OF(sweep, struct flush, sweep);
	const struct flush_options *options = flush->options;
	uint32_t tag = shadow_tag(policy);
	struct entry shadow;

	/* Expiring shadows become permanent, even outside the filter. Adjacent shadows are replaced too, unless SAs
	 * stay in use. */
	if (tag == SHADOW_HOLD || (keeps_traffic(flush) && tag == SHADOW_ADJACENT) ||
	    (!tag && !filter_selects(&options->filter, policy)) ||
	    (flush->turn != TURN_ALL && (flush->turn == TURN_BYPASSES) != policy_is_bypass(policy)))
		return 0;
	if (keeps_traffic(flush) && keep_has_policy(&flush->keep, policy))
		return keep_policy(flush, policy);
	if (keeps_traffic(flush) && !tag)
		shadow_make_adjacent(policy, &sweep->survey, &shadow);
	else
		shadow_make(policy, &sweep->survey, false, &shadow);
	return sweep_exchange(sweep, &shadow, policy);
}

static int remove_entry(struct sweep *sweep, const struct entry *entry)
{
	struct flush *flush = CONTAINER_OF(sweep, struct flush, sweep);
	const struct flush_options *options = flush->options;

	if (selects(flush, entry) || (options->stop && shadow_tag(entry)))
		return sweep_remove(sweep, entry);
	if (keeps_traffic(flush) && entry->kind == ENTRY_SA && filter_selects(&options->filter, entry))
		return keep_sa(flush, entry);
	return 0;
}

static bool selects_all(const struct flush_options *options)
{
	return !options->only_ours && filter_is_empty(&options->filter);
}

/* Removes all policies by the kernel's flush requests, which work without a dump and in constant memory. Some policies
 * may be left: a security module may refuse the request, or another program may be adding policies. Returns true if
 * none is left. Otherwise the caller removes the rest in a sweep. */
static bool flush_policies(struct flush *flush)
{
	struct xfrm_counts before, after;

	if (xfrm_count(flush->sweep.xfrm, &before) < 0)
		return false;
	int r = xfrm_flush_policies(flush->sweep.xfrm, XFRM_POLICY_TYPE_MAIN);
	if (r == 0)
		r = xfrm_flush_policies(flush->sweep.xfrm, XFRM_POLICY_TYPE_SUB);
	if (r == -EINVAL)
		log_detail("This kernel has no sub policies (CONFIG_XFRM_SUB_POLICY).");
	else if (r < 0)
		log_detail("Could not flush the policies at once: %s. They are removed one by one.", strerror(-r));
	if (xfrm_count(flush->sweep.xfrm, &after) < 0)
		return false;

	for (size_t dir = 0; dir < XFRM_POLICY_MAX; dir++)
		if (before.policies[dir] > after.policies[dir])
			flush->sweep.summary.policies[dir] += before.policies[dir] - after.policies[dir];
	return xfrm_sum_policies(&after) == 0;
}

static bool flush_sas(struct flush *flush)
{
	static const uint8_t protos[] = {IPPROTO_ESP, IPPROTO_AH, IPPROTO_COMP};
	struct xfrm_counts before, after;

	if (xfrm_count(flush->sweep.xfrm, &before) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		uint32_t comp = 0;

		/* Count IPComp SAs before the flush. For an IPComp SA in tunnel mode the kernel has made an IPIP SA
		 * (ipcomp_tunnel_attach()), and removes both. The difference of the totals would include the IPIP
		 * SAs. */
		if (protos[i] == IPPROTO_COMP && before.sas && xfrm_count_sas(flush->sweep.xfrm, protos[i], &comp) < 0)
			return false;
		int r = xfrm_flush_sas(flush->sweep.xfrm, protos[i]);
		if (r < 0)
			log_detail("Could not flush the %s SAs at once: %s. They are removed one by one.",
				   entry_proto_name(protos[i]), strerror(-r));
		/* The kernel does not return the number of removed SAs. */
		if (xfrm_count(flush->sweep.xfrm, &after) < 0)
			return false;
		if (protos[i] == IPPROTO_COMP && r == 0)
			flush->sweep.summary.sas[protos[i]] += comp;
		else if (before.sas > after.sas)
			flush->sweep.summary.sas[protos[i]] += before.sas - after.sas;
		before = after;
	}
	return before.sas == 0;
}

/* Finds the SAs that stay in use. Returns 0, or a negative errno, which it reports. */
static int find_kept(struct flush *flush, bool dry_run)
{
	int r = keep_find(&flush->keep, flush->sweep.xfrm, &flush->options->filter, dry_run);

	return r < 0 ? log_failure(r, MESSAGE_FAILED, "Could not find the SAs that are in use: %s.", strerror(-r)) : 0;
}

/* Replaces policies by shadows, bypasses first, for the reason given at shadow_survey_has_bypass(). If the kernel
 * refused to replace a bypass, the second pass skips bypasses. Returns 0 or a negative errno. */
static int hold_policies(struct flush *flush)
{
	struct sweep *sweep = &flush->sweep;
	int r = 0;

	flush->turn = TURN_ALL;
	if (shadow_survey_has_bypass(&sweep->survey)) {
		const uint64_t failed = sweep->summary.failed;

		flush->turn = TURN_BYPASSES;
		r = sweep_run(sweep, ENTRY_POLICY, hold_policy);
		flush->turn = sweep->summary.failed == failed ? TURN_ALL : TURN_OTHERS;
	}
	return r < 0 ? r : sweep_run(sweep, ENTRY_POLICY, hold_policy);
}

static int remove_policies(struct flush *flush)
{
	const struct flush_options *options = flush->options;

	if (!options->hold) {
		if (selects_all(options) && flush_policies(flush))
			return 0;
		return sweep_run(&flush->sweep, ENTRY_POLICY, remove_entry);
	}
	int r = sweep_prepare(&flush->sweep, &options->filter);
	if (r == 0 && options->keep)
		r = find_kept(flush, false);
	if (r == 0)
		r = hold_policies(flush);
	return r < 0 ? r : sweep_count_shadows(&flush->sweep, &options->filter, keeps_traffic(flush));
}

static int remove_sas(struct flush *flush)
{
	if (!flush->options->orphans && !keeps_traffic(flush) && selects_all(flush->options) && flush_sas(flush))
		return 0;
	return sweep_run(&flush->sweep, ENTRY_SA, remove_entry);
}

/* Returns whether routes are removed too. They stay if there is a filter and --force: a filter cannot select routes, so
 * the routes of a live daemon would be removed too. */
static bool takes_routes(const struct flush_options *options)
{
	return options->routes && (filter_is_empty(&options->filter) || !options->force);
}

static int remove_routes(struct flush *flush)
{
	const struct flush_options *options = flush->options;
	struct summary *summary = &flush->sweep.summary;
	struct routes_summary routes;

	int r = options->hold ? routes_hold(options->routes, &routes)
		: options->only_backups
			? routes_release(options->routes, false, NULL, &routes)
			: routes_flush(options->routes, flush->vici, usec_add(now_usec(), ORPHANS_TIMEOUT), &routes);
	summary->routes = routes.removed;
	summary->backups = routes.backups;
	summary->failed += routes.failed;
	return r;
}

static int remove_all(struct flush *flush, const struct xfrm_counts *counts)
{
	const struct flush_options *options = flush->options;
	const struct summary *summary = &flush->sweep.summary;
	int r = 0;

	progress_begin((options->policies_only ? 0 : counts->sas) +
			       (options->states_only ? 0 : xfrm_sum_policies(counts)),
		       "Removing");
	/* Remove policies first: without a policy, no packet can cause an acquire. */
	if (!options->states_only)
		r = remove_policies(flush);
	if (!options->policies_only) {
		int sas = remove_sas(flush);
		r = r < 0 ? r : sas;
	}
	sweep_report_unnamed(&flush->sweep);
	if (takes_routes(options)) {
		int routes = remove_routes(flush);
		r = r < 0 ? r : routes;
	}
	flush->sweep.summary.usec = progress_end();
	/* At a stop, report nothing if the IKE daemon has removed its state itself. */
	if (!options->stop || summary_sas(summary) || summary_policies(summary) || summary->routes || summary->failed)
		report_flushed(summary);
	return r < 0 ? r : summary->failed ? -EIO : 0;
}

/* Returns whether --dry-run lists an entry. */
static bool would_go(const struct entry *entry, const void *userdata)
{
	const struct flush *flush = userdata;

	return selects(flush, entry) && !(flush->options->hold && shadow_tag(entry) == SHADOW_HOLD);
}

static int list_all(struct flush *flush)
{
	const struct flush_options *options = flush->options;
	struct flush_list list = {
		.options = options,
		.xfrm = flush->sweep.xfrm,
		.vici = flush->vici,
		.routes = takes_routes(options),
		.goes = would_go,
		.userdata = flush,
	};

	int r = options->keep ? find_kept(flush, true) : 0;
	return r < 0 ? r : flush_list(&list);
}

enum exit_status flush_run(const struct globals *globals, const struct flush_options *options, bool *kept)
{
	CLEANUP(flush_free)
	struct flush flush = {
		.options = options,
		.sweep.config = {"remove", "removed", .renews = options->hold},
	};
	struct xfrm_counts counts = {0};

	if (verb_open_xfrm(globals, &flush.sweep.xfrm, &counts) < 0)
		return STATUS_FAILED;
	if (options->orphans && flush_open_charon(options->socket, &flush.vici) < 0)
		return STATUS_FAILED;
	if (!options->force && !options->again) {
		int r = check_key_manager(options, flush.vici ? vici_peer(flush.vici) : 0);
		if (r == -ECANCELED)
			return STATUS_DONE;
		if (r == -EBUSY)
			return STATUS_REFUSED;
		if (r < 0)
			return STATUS_FAILED;
	}
	if (options->orphans && flush_find_orphans(flush.sweep.xfrm, flush.vici, &flush.orphans) < 0)
		return STATUS_FAILED;
	privileges_give_up(PRIVILEGE_OTHERS);
	int r = options->dry_run ? list_all(&flush) : remove_all(&flush, &counts);
	if (kept)
		*kept = !options->dry_run && (flush.sweep.summary.kept || keeps_traffic(&flush));
	return r < 0 ? STATUS_FAILED : STATUS_DONE;
}

static const struct verb_option option_table[] = {
	SELECTION_OPTIONS(struct flush_options),
	{"states-only", NULL, SECTION_SELECTION, OPTION_FLAG, offsetof(struct flush_options, states_only),
	 "Remove only SAs", .excludes = "--policies-only"},
	{"policies-only", NULL, SECTION_SELECTION, OPTION_FLAG, offsetof(struct flush_options, policies_only),
	 "Remove only policies"},
	{"orphans", NULL, SECTION_SELECTION, OPTION_FLAG, offsetof(struct flush_options, orphans),
	 "Remove only SAs that the running charon does not know", .excludes = "--policies-only, --hold, --keep"},
	{"hold", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct flush_options, hold),
	 "Put a shadow in place of each policy, which blocks its traffic until `xfrmctl release`"},
	{"keep", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct flush_options, keep),
	 "Act like --hold, but keep the SAs that are in use, until `xfrmctl handover`", .excludes = "--states-only"},
	{"routes", "[TABLE]", SECTION_ACTION, OPTION_TABLE, offsetof(struct flush_options, routes),
	 "Remove the static routes of charon's routing table, too (default 220). With --hold, put backup routes in "
	 "their place. With --orphans, leave routes that charon may need"},
	{"dry-run", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct flush_options, dry_run),
	 "List what would be removed, and change nothing"},
	{"json", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct flush_options, json), "Print the list as JSON",
	 .needs = "--dry-run"},
	{"force", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct flush_options, force),
	 "Remove the state of a live key manager, too"},
	{"socket", "PATH", SECTION_SERVICE, OPTION_TEXT, offsetof(struct flush_options, socket),
	 "Use this VICI socket of charon (default " VICI_SOCKET ")", .needs = "--orphans"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "flush",
	.usage = {"[OPTION...]"},
	.about = "Removes all ESP, AH and IPComp SAs and all policies from the kernel, or the selected ones. Policies "
		 "of sockets stay.",
	.more = "EXPR is KEY=VALUE[,KEY=VALUE...]. An entry matches if all of these match:\n  proto=esp|ah|comp    "
		"reqid=N or N-M       mark=V or V/M       if-id=N\n  dir=in|out|fwd       ptype=main|sub       "
		"priority=N or N-M   spi=N\n  src=PREFIX and dst=PREFIX (traffic selector), peer=PREFIX (tunnel end "
		"point)\nNumbers are decimal or 0x hex. Only policies have dir, ptype and priority; only SAs have spi.",
	.options = option_table,
};

int verb_flush(struct globals *globals, int argc, char **argv)
{
	struct flush_options options = {0};

	int r = verb_parse(globals, argc, argv, &syntax, &options);
	if (r < 0)
		return verb_exit_status(r);
	options.hold |= options.keep;
	options.states_only |= options.orphans;
	return flush_run(globals, &options, NULL);
}
