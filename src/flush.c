/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "match.h"
#include "netns.h"
#include "owner.h"
#include "report.h"
#include "show.h"
#include "util.h"
#include "verb.h"

/* How often a dump is taken again that was interrupted. Each takes what the one before it missed. */
#define PASSES_MAX 5

/* So many entries that could not be removed are named; the others are counted. */
#define NAMED_MAX 10

enum {
	OPTION_MATCH = OPTION_OF_VERB,
	OPTION_EXCLUDE,
	OPTION_STATES_ONLY,
	OPTION_POLICIES_ONLY,
	OPTION_DRY_RUN,
	OPTION_JSON,
	OPTION_FORCE,
};

struct options {
	struct filter filter;
	bool states_only, policies_only, dry_run, json, force;
};

struct flush {
	struct kernel *kernel;
	const struct options *options;
	struct summary summary;
	uint64_t looked_at;

	/* Of the pass under way. */
	bool counted; /* what comes up was counted in a pass before, whose refusals were lost */
	uint64_t n_selected, n_gone, n_hidden, n_refused;
	struct kernel_refusal refused[NAMED_MAX];
};

static void print_help(void)
{
	printf("Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] flush [OPTION...]\n"
	       "\n"
	       "Removes every ESP, AH and IPComp SA and every policy (main and sub, but never those\n"
	       "of sockets) from the kernel, or those that are selected.\n"
	       "\n"
	       "  --match=EXPR         Only what some --match holds for (repeatable)\n"
	       "  --exclude=EXPR       Not what some --exclude holds for (repeatable)\n"
	       "  --states-only        Only SAs\n"
	       "  --policies-only      Only policies\n"
	       "  --dry-run            List what would go and change nothing\n"
	       "  --json               With --dry-run: as JSON\n"
	       "  --force              Also when a live key manager owns the state\n"
	       "  -h, --help           Show this\n"
	       "\n"
	       "EXPR is KEY=VALUE[,KEY=VALUE...], all of which must hold:\n"
	       "  proto=esp|ah|comp    reqid=N or N-M       mark=V or V/M       if-id=N\n"
	       "  dir=in|out|fwd       ptype=main|sub       priority=N or N-M   spi=N\n"
	       "  src=PREFIX and dst=PREFIX (traffic selector), peer=PREFIX (tunnel end point)\n"
	       "Numbers are decimal or 0x hex. dir, ptype and priority are of policies, spi of SAs.\n");
}

static int parse_options(struct globals *globals, int argc, char **argv, struct options *ret)
{
	static const struct option long_options[] = {
		GLOBAL_LONG_OPTIONS,
		{"match", required_argument, NULL, OPTION_MATCH},
		{"exclude", required_argument, NULL, OPTION_EXCLUDE},
		{"states-only", no_argument, NULL, OPTION_STATES_ONLY},
		{"policies-only", no_argument, NULL, OPTION_POLICIES_ONLY},
		{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
		{"json", no_argument, NULL, OPTION_JSON},
		{"force", no_argument, NULL, OPTION_FORCE},
		{NULL, 0, NULL, 0},
	};
	char why[MATCH_ERROR_MAX];
	int c;

	while ((c = getopt_long(argc, argv, "+:" GLOBAL_SHORT_OPTIONS, long_options, NULL)) >= 0) {
		if (global_option(c, globals))
			continue;
		switch (c) {
		case 'h':
			print_help();
			return -ECANCELED;
		case OPTION_MATCH:
		case OPTION_EXCLUDE:
			if (filter_add(&ret->filter, c == OPTION_EXCLUDE, optarg, why, sizeof(why)) < 0)
				return report_failure(-EINVAL, REPORT_USAGE, "--%s: %s.",
						      c == OPTION_EXCLUDE ? "exclude" : "match", why);
			break;
		case OPTION_STATES_ONLY:
			ret->states_only = true;
			break;
		case OPTION_POLICIES_ONLY:
			ret->policies_only = true;
			break;
		case OPTION_DRY_RUN:
			ret->dry_run = true;
			break;
		case OPTION_JSON:
			ret->json = true;
			break;
		case OPTION_FORCE:
			ret->force = true;
			break;
		default:
			usage_error(c, argv, "flush");
			return -EINVAL;
		}
	}

	if (optind < argc)
		return report_failure(
			-EINVAL, REPORT_USAGE,
			"flush takes no argument such as '%.64s'; `xfrmctl flush --help` shows its options.",
			argv[optind]);
	if (ret->states_only && ret->policies_only)
		return report_failure(-EINVAL, REPORT_USAGE,
				      "--states-only and --policies-only exclude each other; without them both go.");
	if (ret->json && !ret->dry_run)
		return report_failure(-EINVAL, REPORT_USAGE, "--json goes with --dry-run only.");
	return 0;
}

static int enter_netns(const char *netns)
{
	int r = netns_enter(netns);

	switch (r) {
	case 0:
		return 0;
	case -ENOENT:
		return report_failure(r, REPORT_FAILED,
				      "There is no network namespace '%.64s'; `ip netns list` shows those with a name, "
				      "others need a path such as /proc/PID/ns/net.",
				      netns);
	case -EINVAL:
		return report_failure(r, REPORT_FAILED, "'%.64s' is not a network namespace.", netns);
	default:
		return report_failure(r, REPORT_FAILED, "Could not enter the network namespace '%.64s': %s%s.", netns,
				      strerror(-r),
				      r == -EPERM || r == -EACCES ? " (CAP_SYS_ADMIN is needed: run as root)" : "");
	}
}

/* Returns 0 when the state may be removed, -EBUSY when somebody else owns it. */
static int check_owner(bool dry_run)
{
	struct owner owner;
	char who[sizeof(owner.name) + 32];

	int r = owner_find(&owner);
	if (r < 0)
		return report_failure(r, REPORT_FAILED,
				      "Could not find out whether a key manager is alive: %s; is /proc mounted? "
				      "--force goes on without.",
				      strerror(-r));
	if (r == 0)
		return 0;

	if (owner.pid)
		snprintf(who, sizeof(who), "%s (PID %d)", *owner.name ? owner.name : "A process", owner.pid);
	else
		snprintf(who, sizeof(who), "A process that cannot be seen from here");

	if (owner.kind == OWNER_MONITOR) {
		report_detail("%s looks on at XFRM events; it is no key manager.", who);
		return 0;
	}
	if (dry_run) {
		report_notice(
			"%s is told of acquires and may own this state: without --dry-run, --force would be needed.",
			who);
		return 0;
	}
	if (owner.kind == OWNER_KEY_MANAGER)
		return report_failure(
			-EBUSY, REPORT_REFUSED,
			"%s is alive and owns the SAs and policies of this network namespace: nothing was "
			"removed. Stop it first, or use --force.",
			who);
	/* systemd has seen the end of the unit's own daemon before it starts us: a process without any sign of IKE must
	 * not keep stale state alive. Somebody at a prompt can be asked. */
	if (report_in_unit()) {
		report_notice("%s is told of acquires, but is no IKE daemon as far as can be seen: going on.", who);
		return 0;
	}
	return report_failure(-EBUSY, REPORT_REFUSED,
			      "%s is told of acquires and may be a key manager that owns the SAs and policies of this "
			      "network namespace: nothing was removed. Stop it first, or use --force.",
			      who);
}

static void on_refused(const struct kernel_refusal *refusal, void *userdata)
{
	struct flush *flush = userdata;

	summary_take_back(&flush->summary, &refusal->entry);
	if (refusal->error == -ENOENT || refusal->error == -ESRCH) {
		flush->n_gone++;
		return;
	}
	if (refusal->error == -EEXIST)
		flush->n_hidden++;
	if (flush->n_refused < NAMED_MAX)
		flush->refused[flush->n_refused] = *refusal;
	flush->n_refused++;
}

static int remove_entry(const struct entry *entry, const struct nlmsghdr *message, void *userdata)
{
	struct flush *flush = userdata;

	(void)message;
	report_progress(++flush->looked_at);
	if (!filter_selects(&flush->options->filter, entry))
		return 0;
	flush->n_selected++;
	if (!flush->counted)
		summary_add(&flush->summary, entry);
	return kernel_delete(flush->kernel, entry, on_refused, flush);
}

/* One dump and the deletion of what is selected. -EAGAIN when something may have been missed, or has come to light. */
static int pass(struct flush *flush, enum entry_kind kind)
{
	flush->n_selected = flush->n_gone = flush->n_hidden = flush->n_refused = 0;
	int dumped = kernel_dump(flush->kernel, kind, remove_entry, flush);
	int r = kernel_commit(flush->kernel, on_refused, flush);
	if (dumped < 0 && dumped != -EAGAIN)
		return dumped;
	if (r < 0)
		return r;
	flush->counted = kernel_lost_refusals(flush->kernel);
	/* An SA that was hidden by one with a wider mark can be named once that one has gone. */
	bool unhidden = flush->n_hidden && flush->n_selected > flush->n_refused + flush->n_gone;
	return flush->counted || unhidden ? -EAGAIN : dumped;
}

/* Names what the last pass could not remove. */
static void report_refused(struct flush *flush)
{
	char description[ENTRY_DESCRIPTION_MAX];
	size_t n_named = flush->n_refused < NAMED_MAX ? flush->n_refused : NAMED_MAX;

	for (size_t i = 0; i < n_named; i++) {
		const struct kernel_refusal *refusal = &flush->refused[i];
		entry_describe(&refusal->entry, description, sizeof(description));
		report_failure(0, REPORT_INCOMPLETE, "Could not remove %s: %s.", description,
			       refusal->error == -EEXIST ? "an SA with the same SPI and a wider mark is in its place; "
							   "remove that one first"
							 : strerror(-refusal->error));
	}
	if (flush->n_refused > n_named)
		report_failure(0, REPORT_INCOMPLETE, "%" PRIu64 " more could not be removed.",
			       flush->n_refused - n_named);
	flush->summary.failed += flush->n_refused;
}

/* Removes the selected entries of a kind one by one. */
static int sweep(struct flush *flush, enum entry_kind kind)
{
	const char *what = kind == ENTRY_SA ? "SAs" : "policies";
	int r = -EAGAIN;

	flush->counted = false;
	for (unsigned int i = 0; r == -EAGAIN && i < PASSES_MAX; i++) {
		r = pass(flush, kind);
		report_detail("Pass %u over the %s%s; %" PRIu64 " had gone already.", i + 1, what,
			      r != -EAGAIN	? ""
			      : flush->n_hidden ? " brought hidden ones to light"
						: " was interrupted",
			      flush->n_gone);
	}
	report_refused(flush);
	if (r == -EAGAIN)
		return report_failure(r, REPORT_FAILED,
				      "The kernel's list of %s changed during each of %d passes: some may be left; run "
				      "this again.",
				      what, PASSES_MAX);
	if (r < 0)
		return report_failure(r, REPORT_FAILED, "Could not remove the %s: %s.", what, strerror(-r));
	return 0;
}

/* The kernel's own flush calls: constant memory and no dump, whatever the number. Whatever they leave (a security
 * module may refuse to flush; somebody may be adding) is the sweep's. Returns false when something is left. */
static bool flush_policies(struct flush *flush)
{
	struct kernel_counts before, after;

	if (kernel_count(flush->kernel, &before) < 0)
		return false;
	int r = kernel_flush_policies(flush->kernel, XFRM_POLICY_TYPE_MAIN);
	if (r == 0)
		r = kernel_flush_policies(flush->kernel, XFRM_POLICY_TYPE_SUB);
	if (r == -EINVAL)
		report_detail("This kernel has no sub policies (CONFIG_XFRM_SUB_POLICY).");
	else if (r < 0)
		report_detail("The kernel refuses to flush policies: %s; removing them one by one.", strerror(-r));
	if (kernel_count(flush->kernel, &after) < 0)
		return false;

	bool left = false;
	for (size_t dir = 0; dir < XFRM_POLICY_MAX; dir++) {
		if (before.policies[dir] > after.policies[dir])
			flush->summary.policies[dir] += before.policies[dir] - after.policies[dir];
		left |= after.policies[dir] != 0;
	}
	return !left;
}

static bool flush_sas(struct flush *flush)
{
	static const uint8_t protos[] = {IPPROTO_ESP, IPPROTO_AH, IPPROTO_COMP};
	struct kernel_counts before, after;

	if (kernel_count(flush->kernel, &before) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		uint32_t comp = 0;

		/* With an IPComp SA in tunnel mode goes the IPIP SA that the kernel made for it
		 * (ipcomp_tunnel_attach()), so that the difference does not tell. */
		if (protos[i] == IPPROTO_COMP && before.sas && kernel_count_sas(flush->kernel, protos[i], &comp) < 0)
			return false;
		int r = kernel_flush_sas(flush->kernel, protos[i]);
		if (r < 0)
			report_detail("The kernel refuses to flush %s SAs: %s; removing them one by one.",
				      entry_proto_name(protos[i]), strerror(-r));
		/* The kernel does not say how many it removed. */
		if (kernel_count(flush->kernel, &after) < 0)
			return false;
		if (protos[i] == IPPROTO_COMP && r == 0)
			flush->summary.sas[protos[i]] += comp;
		else if (before.sas > after.sas)
			flush->summary.sas[protos[i]] += before.sas - after.sas;
		before = after;
	}
	return before.sas == 0;
}

static int remove_all(struct flush *flush)
{
	const struct options *options = flush->options;
	bool all = filter_is_empty(&options->filter);
	int r = 0;

	/* Policies first: without them no packet can ask for a new SA. */
	if (!options->states_only && !(all && flush_policies(flush)))
		r = sweep(flush, ENTRY_POLICY);
	if (!options->policies_only && !(all && flush_sas(flush))) {
		int sas = sweep(flush, ENTRY_SA);
		r = r < 0 ? r : sas;
	}
	flush->summary.usec = report_end();
	report_summary(&flush->summary);
	return r < 0 ? r : flush->summary.failed ? -EIO : 0;
}

static int show_entry(const struct entry *entry, const struct nlmsghdr *message, void *userdata)
{
	struct flush *flush = userdata;

	if (!filter_selects(&flush->options->filter, entry))
		return 0;
	if (flush->options->json) {
		bool first =
			entry->kind == ENTRY_SA ? !summary_sas(&flush->summary) : !summary_policies(&flush->summary);
		fputs(first ? "\n" : ",\n", stdout);
	}
	summary_add(&flush->summary, entry);
	return flush->options->json ? show_json(entry, message) : show_text(entry, message);
}

static int show_kind(struct flush *flush, enum entry_kind kind)
{
	int r = kernel_dump(flush->kernel, kind, show_entry, flush);

	if (r == -EAGAIN) {
		report_notice("The kernel's list changed while it was read: it may lack entries.");
		return 0;
	}
	return r < 0 ? report_failure(r, REPORT_FAILED, "Could not list what would go: %s.", strerror(-r)) : 0;
}

static int show_all(struct flush *flush)
{
	const struct options *options = flush->options;
	char sentence[SUMMARY_SENTENCE_MAX];
	int r = 0;

	if (options->json)
		printf("{\"policies\": [");
	if (!options->states_only)
		r = show_kind(flush, ENTRY_POLICY);
	if (options->json)
		printf("], \"sas\": [");
	if (!options->policies_only && r == 0)
		r = show_kind(flush, ENTRY_SA);
	if (options->json)
		printf("], \"counts\": {\"policies\": %" PRIu64 ", \"sas\": %" PRIu64 "}}\n",
		       summary_policies(&flush->summary), summary_sas(&flush->summary));
	else if (r == 0)
		printf("%s\n", summary_sentence(&flush->summary, true, sentence, sizeof(sentence)));
	if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		return report_failure(-EIO, REPORT_FAILED, "Could not write the list: %s.", strerror(errno));
	return r;
}

static int open_kernel(struct kernel **ret, struct kernel_counts *counts)
{
	int r = kernel_open(ret);
	if (r == -EPROTONOSUPPORT)
		return report_failure(r, REPORT_FAILED,
				      "This kernel has no XFRM (CONFIG_XFRM_USER, module xfrm_user), so it cannot be "
				      "asked for SAs and policies.");
	if (r == 0)
		r = kernel_count(*ret, counts);
	if (r == -EPERM)
		return report_failure(r, REPORT_FAILED,
				      "Not permitted to see and change XFRM state: CAP_NET_ADMIN is needed in the user "
				      "namespace that owns the network namespace; run as root.");
	if (r < 0)
		return report_failure(r, REPORT_FAILED, "Could not ask the kernel for XFRM state: %s.", strerror(-r));
	return 0;
}

static enum exit_status run(const struct globals *globals, const struct options *options)
{
	CLEANUP(kernel_close) struct kernel *kernel = NULL;
	struct flush flush = {.options = options};
	struct kernel_counts counts = {0};

	if (globals->netns && enter_netns(globals->netns) < 0)
		return STATUS_FAILED;
	if (open_kernel(&kernel, &counts) < 0)
		return STATUS_FAILED;
	flush.kernel = kernel;
	if (!options->force) {
		int r = check_owner(options->dry_run);
		if (r < 0)
			return r == -EBUSY ? STATUS_REFUSED : STATUS_FAILED;
	}
	if (options->dry_run)
		return show_all(&flush) < 0 ? STATUS_FAILED : STATUS_DONE;

	uint64_t entries = options->policies_only ? 0 : counts.sas;
	for (size_t dir = 0; dir < XFRM_POLICY_MAX; dir++)
		entries += options->states_only ? 0 : counts.policies[dir];
	report_begin(entries);
	return remove_all(&flush) < 0 ? STATUS_FAILED : STATUS_DONE;
}

int verb_flush(struct globals *globals, int argc, char **argv)
{
	struct options options = {0};

	switch (parse_options(globals, argc, argv, &options)) {
	case 0:
		return run(globals, &options);
	case -ECANCELED:
		return STATUS_DONE;
	default:
		return STATUS_USAGE;
	}
}
