/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "status/model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/netns.h"
#include "base/privileges.h"
#include "base/util.h"
#include "verbs/options.h"
#include "xfrm/netlink.h"

/* Default of --timeout, in microseconds. */
#define TIMEOUT_DEFAULT (5 * USEC_PER_SEC)

/* Ratio of the timeout for charon's lists to that for its other answers. For a list, charon waits in turn for each
 * thread that works on an IKE_SA. */
#define LIST_ANSWERS 6

/* Width of a terminal that does not report its width, in columns. */
#define WIDTH_DEFAULT 80

struct options {
	bool json, metrics, all;
	const char *output; /* file to replace; NULL: standard output */
	const char *socket;
	uint32_t table;
	uint64_t timeout_usec;
};

/* Refuses an output file that is not a regular file, because rename() would replace a device or a link by a regular
 * file. Returns 0, or -EINVAL, which it reports. */
static int check_output(const char *output)
{
	struct stat st;

	if (lstat(output, &st) == 0 && !S_ISREG(st.st_mode))
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "--output: %.128s is no regular file, and would be replaced by one.", output);
	return 0;
}

static const struct verb_option option_table[] = {
	{"all", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct options, all),
	 "Show all of each list, not only the first ten"},
	{"json", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct options, json), "As JSON", .excludes = "--metrics"},
	{"metrics", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct options, metrics),
	 "In the text format of Prometheus"},
	{"output", "FILE", SECTION_ACTION, OPTION_FILE, offsetof(struct options, output),
	 "replace FILE, at once and as a whole", .needs = "--json or --metrics"},
	{"routes", "TABLE", SECTION_SERVICE, OPTION_TABLE, offsetof(struct options, table),
	 "charon's routing table (default 220)"},
	{"socket", "PATH", SECTION_SERVICE, OPTION_TEXT, offsetof(struct options, socket),
	 "charon's VICI socket (default " VICI_SOCKET ")"},
	{"timeout", "TIME", SECTION_SERVICE, OPTION_TIME, offsetof(struct options, timeout_usec),
	 "How long each of charon's answers may take (default 5s)", .min = 1},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "status",
	.usage = {"[OPTION...]"},
	.about = "Shows what is in the kernel, where kernel and charon disagree, and which connections are up. Takes "
		 "two seconds when they disagree.",
	.more = "Exit status: 0 kernel and charon agree, 4 they disagree, 1 it could not be found out.",
	.options = option_table,
};

static int parse_options(struct globals *globals, int argc, char **argv, struct options *ret)
{
	int r = verb_parse(globals, argc, argv, &syntax, ret);
	if (r < 0)
		return r;
	return ret->output ? check_output(ret->output) : 0;
}

static void add_key_manager(const struct key_manager *key_manager, void *userdata)
{
	struct status *status = userdata;
	/* If the array is full, drop the key manager. The one with PID 0 stands for all processes that cannot be seen,
	 * and replaces the last one instead. */
	size_t i =
		status->n_key_managers < STATUS_KEY_MANAGERS_MAX ? status->n_key_managers : STATUS_KEY_MANAGERS_MAX - 1;

	status->n_key_managers++;
	if (i < status->n_key_managers - 1 && key_manager->pid)
		return;
	status->key_managers[i] = *key_manager;
	vici_copy((struct vici_text){key_manager->name, strlen(key_manager->name)}, status->key_managers[i].name,
		  sizeof(status->key_managers[i].name));
}

static void ask_charon(struct status_charon *charon, const char *socket, struct vici **vici)
{
	charon->error = vici_open(socket, usec_add(now_usec(), charon->timeout_usec), vici);
	if (charon->error < 0)
		return;
	charon->pid = vici_peer(*vici);
	charon->elsewhere = netns_is_elsewhere(charon->pid);
	charon->error = charon_version(*vici, usec_add(now_usec(), charon->timeout_usec), &charon->version);
	if (charon->error == 0) {
		int r = charon_stats(*vici, usec_add(now_usec(), charon->timeout_usec), &charon->stats);
		charon->has_stats = r == 0;
		charon->error = r == -EOPNOTSUPP ? 0 : r;
	}
}

static int count_policy(const struct entry *entry, void *userdata)
{
	status_add_policy(userdata, entry);
	return 0;
}

static void begin_policies(void *userdata)
{
	struct status_policies *policies = userdata;

	*policies = (struct status_policies){0};
}

static int count_policies(struct xfrm *xfrm, struct status_policies *policies)
{
	return xfrm_dump_consistent(xfrm, ENTRY_POLICY, begin_policies, count_policy, policies);
}

static uint64_t list_timeout(uint64_t timeout_usec)
{
	return timeout_usec > UINT64_MAX / LIST_ANSWERS ? UINT64_MAX : LIST_ANSWERS * timeout_usec;
}

/* The kernel and charon while they are compared. */
struct comparing {
	struct status *status;
	struct xfrm *xfrm;
	struct comparison comparison;
};

static void free_comparing(struct comparing *comparing)
{
	routes_look_free(&comparing->comparison.look);
	comparison_free(&comparing->comparison);
}

/* Lists what charon has and what is configured. Returns 0 or a negative errno. */
static int ask_all(struct vici *vici, uint64_t deadline, struct charon_sas *ret, void *userdata)
{
	struct comparing *comparing = userdata;
	struct comparison *comparison = &comparing->comparison;

	free_comparing(comparing);
	int r = charon_sas_and(vici, deadline, child_sas_read, &comparison->sas, ret);
	if (r == 0)
		r = charon_policies(vici, deadline, true, child_sas_read_policy, &comparison->sas);
	if (r == 0)
		r = child_sas_sort(&comparison->sas);
	return r < 0 ? r : charon_connections(vici, deadline, &comparison->children);
}

/* Counts an SA, and marks it as found. Resets the numbers if `entry` is NULL, because the list of SAs begins again. */
static void see_sa(const struct entry *entry, void *userdata)
{
	struct comparing *comparing = userdata;

	if (!entry) {
		comparing->status->states = (struct status_states){0};
		return;
	}
	status_add_sa(&comparing->status->states, entry);
	child_sas_find_sa(&comparing->comparison.sas, entry);
}

static void begin_comparing(void *userdata)
{
	struct comparing *comparing = userdata;

	comparing->status->policies = (struct status_policies){0};
	comparison_begin_policies(&comparing->comparison);
}

static int compare_policy(const struct entry *entry, void *userdata)
{
	struct comparing *comparing = userdata;

	status_add_policy(&comparing->status->policies, entry);
	return comparison_add_policy(&comparing->comparison, entry);
}

/* Reads policies, rules and routes, and compares all. Returns 1 if there are disagreements, 0, or a negative errno. */
static int compare_all(void *userdata)
{
	struct comparing *comparing = userdata;
	struct comparison *comparison = &comparing->comparison;
	struct status *status = comparing->status;
	CLEANUP(findings_free) struct findings earlier = status->findings;
	bool again = status->compared;

	status->findings = (struct findings){0};
	comparison->default_blocks = status->default_blocks;
	int r = xfrm_dump_consistent(comparing->xfrm, ENTRY_POLICY, begin_comparing, compare_policy, comparing);
	if (r < 0)
		return r;
	status->rules_error = comparison->routes_error = routes_look(status->table, &comparison->look);
	r = comparison_judge(comparison, &status->findings);
	if (again)
		findings_confirm(&status->findings, &earlier);
	connections_free(&status->connections);
	if (r == 0)
		r = connections_list(comparison, &status->connections);
	status->compared = r == 0;
	return r < 0 ? r : status->findings.n != 0;
}

static int count_sa(const struct entry *entry, void *userdata)
{
	see_sa(entry, userdata);
	return 0;
}

static void begin_sas(void *userdata)
{
	see_sa(NULL, userdata);
}

/* Counts SAs and policies. Returns 0 or a negative errno. */
static int count_all(struct comparing *comparing)
{
	int r = count_policies(comparing->xfrm, &comparing->status->policies);

	return r < 0 ? r : xfrm_dump_consistent(comparing->xfrm, ENTRY_SA, begin_sas, count_sa, comparing);
}

/* Counts SAs and policies, and finds orphans and other disagreements if status_can_find_orphans() permits it. Returns
 * 0, or a negative errno if the kernel's list is not known. */
static int look_at_kernel(struct status *status, struct xfrm *xfrm, struct vici *vici)
{
	struct status_charon *charon = &status->charon;
	bool up = status_charon_state(charon) == STATUS_CHARON_UP;
	CLEANUP(free_comparing) struct comparing comparing = {.status = status, .xfrm = xfrm};
	const struct orphans_observer observer = {
		.ask = ask_all, .visit = see_sa, .compare = up ? compare_all : NULL, .userdata = &comparing};

	status->default_known = xfrm_default_blocks(xfrm, &status->default_blocks) == 0;
	if (!status_can_find_orphans(status))
		return count_all(&comparing);
	int r = up ? 0 : count_policies(xfrm, &status->policies);
	if (r == 0)
		r = orphans_find(xfrm, up ? vici : NULL, ORPHANS_INTERVAL, list_timeout(charon->timeout_usec),
				 &observer, &status->orphans);
	status->orphans_known = r == 0;
	if (r == 0) {
		status_sort_orphans(&status->orphans);
		charon->ike_sas = status->orphans.known.n_ike_sas;
		charon->child_sas = status->orphans.known.n_child_sas;
		return 0;
	}
	status->compared = false;
	if (!up || r == -ENOMEM)
		return r;
	/* The error concerns charon if the connection is lost, or if charon left out some of its SAs (-EMSGSIZE). A
	 * charon that does not know a command answers, but leaves the rest unknown. */
	if (r == -EMSGSIZE || !vici_is_connected(vici))
		charon->error = r;
	else if (r != -EOPNOTSUPP)
		return r;
	free_comparing(&comparing);
	return count_all(&comparing);
}

static void look_at_routes(struct status *status, struct vici *vici)
{
	bool up = status_charon_state(&status->charon) == STATUS_CHARON_UP;

	if (!status_can_find_orphans(status))
		return;
	status->routes_error =
		routes_find(status->table, up ? vici : NULL,
			    usec_add(now_usec(), list_timeout(status->charon.timeout_usec)), &status->routes);
	status->routes_known = !status->routes_error;
}

static void look(struct status *status, const struct options *options)
{
	/* The directory of the output file may belong to another user, so keep the capability to write there. */
	const uint64_t to_write = options->output ? PRIVILEGE(CAP_DAC_OVERRIDE) : 0;
	CLEANUP(xfrm_close) struct xfrm *xfrm = NULL;
	CLEANUP(vici_close) struct vici *vici = NULL;
	struct timespec now;

	status->key_managers_error = key_manager_list(add_key_manager, status);
	ask_charon(&status->charon, options->socket, &vici);
	privileges_give_up(PRIVILEGE_OTHERS & ~to_write);
	clock_gettime(CLOCK_REALTIME, &now);
	status->now = (uint64_t)now.tv_sec;
	int r = xfrm_open(&xfrm);
	status->blocked_known = xfrm_read_counters(&status->blocked) == 0;
	if (r == 0)
		r = look_at_kernel(status, xfrm, vici);
	status->kernel_error = r;
	look_at_routes(status, vici);
}

static struct status_style terminal_style(bool all)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	struct status_style style = {.all = all};
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return style;
	style.width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : WIDTH_DEFAULT;
	style.colour = !(no_colour && *no_colour) && term && *term && strcmp(term, "dumb") != 0;
	return style;
}

/* Arguments of write_all(). */
struct writing {
	const struct status *status;
	const struct options *options;
};

/* Writes the status in the format that the options require. Returns 0, or a negative errno if it could not be written
 * completely. */
static int write_all(FILE *f, void *userdata)
{
	const struct writing *writing = userdata;
	const struct options *options = writing->options;
	const struct status_style style = terminal_style(options->all);
	int r = 0;

	errno = 0;
	if (options->json)
		r = status_json(writing->status, f);
	else if (options->metrics)
		status_metrics(writing->status, f);
	else
		status_text(writing->status, &style, f);
	if (fflush(f) != 0 || ferror(f))
		r = errno ? -errno : -EIO;
	return r;
}

static int show(const struct status *status, const struct options *options)
{
	struct writing writing = {status, options};
	int r;

	if (options->output) {
		/* The collector of node_exporter does not run as root, so the mode is 0644. It takes the file's time as
		 * the time of the figures, so the file is replaced even if nothing changed. */
		r = atomic_file_replace(options->output, 0644, false, write_all, &writing);
		return r < 0 ? log_failure(r, MESSAGE_UNKNOWN, "Could not write %.128s: %s. It is as it was.",
					   options->output, strerror(-r))
			     : 0;
	}
	if (log_is_quiet() && !options->json && !options->metrics)
		return 0;
	r = write_all(stdout, &writing);
	return r < 0 ? log_failure(r, MESSAGE_UNKNOWN, "Could not write the status: %s.", strerror(-r)) : 0;
}

/* Reports why the orphans are not known, unless the text output already does so. */
static void report_problems(const struct status *status, const struct options *options)
{
	char buffer[STATUS_PROBLEM_MAX];

	for (unsigned int part = 0; part < STATUS_PARTS; part++)
		if ((options->json || options->metrics || log_is_quiet()) && !status->orphans_known &&
		    status_problem(status, part, buffer))
			log_failure(0, MESSAGE_UNKNOWN, "%s", buffer);
}

static void status_free(struct status *status)
{
	orphans_free(&status->orphans);
	routes_free(&status->routes);
	findings_free(&status->findings);
	connections_free(&status->connections);
}

int verb_status(struct globals *globals, int argc, char **argv)
{
	struct options options = {.socket = VICI_SOCKET, .table = ROUTE_TABLE, .timeout_usec = TIMEOUT_DEFAULT};
	CLEANUP(status_free) struct status status = {0};
	char socket[PATH_MAX];

	int r = parse_options(globals, argc, argv, &options);
	if (r < 0)
		return verb_exit_status(r);
	if (verb_enter_netns(globals->netns) < 0)
		return STATUS_FAILED;
	privileges_give_up(PRIVILEGE_ENTER);

	vici_copy((struct vici_text){options.socket, strlen(options.socket)}, socket, sizeof(socket));
	status.charon.socket = socket;
	status.table = options.table;
	status.charon.timeout_usec = options.timeout_usec;
	look(&status, &options);
	privileges_give_up(~(options.output ? PRIVILEGE(CAP_DAC_OVERRIDE) : 0));
	r = show(&status, &options);
	report_problems(&status, &options);
	if (r < 0 || !status.orphans_known)
		return STATUS_FAILED;
	return status.orphans.n || status.findings.n ? STATUS_DISAGREE : STATUS_DONE;
}
