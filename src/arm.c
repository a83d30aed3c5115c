/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-login.h>

#include "events.h"
#include "mode.h"
#include "pidfd.h"
#include "privileges.h"
#include "report.h"
#include "routes.h"
#include "saving.h"
#include "sweep.h"
#include "unit.h"
#include "util.h"
#include "verb.h"

/* What ends the main process. charon has no handler for it and nothing else uses it, so that it ends a process as
 * SIGKILL does; and the drop-in names it in SuccessExitStatus=: a restart is no failure of the unit, a SIGKILL from
 * elsewhere is. */
#define END_SIGNAL SIGVTALRM

/* How long a process may take to end of that, and then of SIGKILL. */
#define END_MSEC (2 * 1000)
#define KILL_MSEC (10 * 1000)

/* Maximum number of sweeps, each of which makes up for what the one before it missed. */
#define SWEEPS_MAX 5

/* The tags of shadows differ in these bits of selector.user, no more. */
#define TAG_BITS 0xffU

enum {
	OPTION_MATCH = OPTION_OF_VERB,
	OPTION_EXCLUDE,
	OPTION_ROUTES,
	OPTION_MODE,
	OPTION_SAVED,
};

struct arm {
	struct sweep sweep;
	struct filter filter;
	struct events *events; /* of the policies of others; NULL when there are none to be had */
	bool sweeps;	       /* another sweep has to look at all policies */
	int error;	       /* of what was done for events */
	uint32_t routes;       /* the table whose routes get stand-ins, or 0 */
	enum mode mode;
	const char *saved; /* what the next boot closes, or NULL */
	bool saves;
};

static void print_help(void)
{
	printf("Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] arm [OPTION...]\n"
	       "\n"
	       "Puts a shadow behind each policy (main and sub, but never those of sockets), or those\n"
	       "that are selected, and removes nothing: when the IKE daemon takes its policies away,\n"
	       "nothing leaves or comes in in plaintext until `xfrmctl release`.\n"
	       "\n"
	       "As a command of a unit that systemd is stopping for good it does nothing, unless the\n"
	       "machine goes down as well and what it protects is to stay closed (--saved).\n"
	       "\n"
	       "  --match=EXPR         Only what some --match holds for (repeatable)\n"
	       "  --exclude=EXPR       Not what some --exclude holds for (repeatable)\n"
	       "  --routes[=TABLE]     Put stand-ins behind the static routes of charon's routing table too\n"
	       "                       (default: 220), so that packets of this machine itself keep their\n"
	       "                       source, and are not let out in plaintext for another one\n"
	       "  --mode=MODE          What the unit is for: with `flush`, do nothing; with `hold`, as without this;\n"
	       "                       with `handover`, also end the main process, as a command of a unit that\n"
	       "                       systemd restarts, so that it cannot take its SAs and policies away\n"
	       "  --saved=FILE         If FILE (see `xfrmctl save`) is there, what is protected stays closed when\n"
	       "                       the machine goes down, and FILE is written anew\n"
	       "  -h, --help           Show this\n"
	       "\n"
	       "`xfrmctl flush --help` shows what EXPR can be.\n");
}

static int take_option(int option, const char *value, void *userdata)
{
	struct arm *arm = userdata;

	if (option == OPTION_ROUTES)
		return routes_parse_table(value, &arm->routes);
	if (option == OPTION_MODE)
		return mode_take(value, &arm->mode);
	if (option == OPTION_SAVED) {
		arm->saved = value;
		return 0;
	}
	return verb_add_selection(&arm->filter, option == OPTION_EXCLUDE, value);
}

static int visit(struct sweep *sweep, const struct entry *entry)
{
	struct arm *arm = CONTAINER_OF(sweep, struct arm, sweep);
	uint32_t tag = shadow_tag(entry);
	struct entry shadow;

	if (tag == SHADOW_HOLD || tag == SHADOW_CLOSE || (!tag && !filter_selects(&arm->filter, entry)))
		return 0;
	shadow_make(entry, &sweep->survey, &sweep->blocked, true, &shadow);
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
	return shadow_lets_pass(policy) || !filter_selects(&arm->filter, policy) || info->priority >= SHADOW_PRIORITY ||
	       (direction->passes && info->priority <= direction->last_passes);
}

/* Whether a policy is still there. */
static int find(struct kernel *kernel, const struct entry *policy)
{
	struct entry found = {0};

	int r = kernel_find_policy(kernel, policy, &found);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

/* Puts a shadow behind a policy that was added or updated since the dump began, also when it has been removed again:
 * the daemon may be on its way down. A bypass that has been removed must not get one, since other policies decide on
 * its traffic now. */
static int follow(struct arm *arm, const struct entry *policy)
{
	struct sweep *sweep = &arm->sweep;
	struct entry shadow;
	int r = 1;

	if (shadow_lets_pass(policy))
		r = find(sweep->kernel, policy);
	if (r <= 0)
		return r;
	arm->sweeps |= changes_places(arm, policy);
	if (!filter_selects(&arm->filter, policy))
		return 0;
	shadow_make(policy, &sweep->survey, &sweep->blocked, true, &shadow);
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
	if (!arm->events)
		return 0;
	int r = events_read(arm->events, on_event, arm);
	if (r == -ENOBUFS) {
		arm->sweeps = true;
		r = 0;
	}
	if (r < 0)
		return report_failure(r, REPORT_FAILED, "Could not read the kernel's events: %s.", strerror(-r));
	if (arm->error < 0)
		return report_failure(arm->error, REPORT_FAILED,
				      "Could not put a shadow behind a policy that was installed at the same time: %s.",
				      strerror(-arm->error));
	return 0;
}

static int sweep_all(struct arm *arm)
{
	struct sweep *sweep = &arm->sweep;

	arm->sweeps = false;
	/* What was refused before is tried again. */
	sweep->summary.failed = sweep->n_named = 0;
	int r = sweep_prepare(sweep, &arm->filter);
	return r < 0 ? r : sweep_run(sweep, ENTRY_POLICY);
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
	return report_failure(
		-EAGAIN, REPORT_FAILED,
		"The policies changed during each of %d passes: some may have no shadow. Run `xfrmctl arm` "
		"again.",
		SWEEPS_MAX);
}

/* What systemd is about to do with the unit that runs this. What cannot be found out is no reason to open a gap, nor to
 * end anything. */
static enum unit_job find_job(void)
{
	struct unit_state state;

	if (!report_in_unit())
		return UNIT_NO_JOB;
	int r = unit_find(NULL, &state);
	if (r < 0) {
		report_notice(
			REPORT_UNSURE,
			"Could not ask systemd whether this unit is being stopped for good: %s. Going on; after a "
			"stop, `xfrmctl release` removes the shadows.",
			strerror(-r));
		return UNIT_NO_JOB;
	}
	return state.job;
}

/* The main process as systemd names it to the commands of ExecStop=, and not to those of ExecStopPost=; 0 without one.
 */
static pid_t main_pid(void)
{
	const char *pid = getenv("MAINPID");

	return pid ? (pid_t)strtol(pid, NULL, 10) : 0;
}

static bool is_of_this_unit(pid_t pid)
{
	CLEANUP(free_text) char *own = NULL, *its = NULL;

	return sd_pid_get_unit(0, &own) >= 0 && sd_pid_get_unit(pid, &its) >= 0 && strcmp(own, its) == 0;
}

/* Sends a signal and waits for the end. Returns 0, or a negative errno: -ETIMEDOUT when the process is still there. */
static int end_by(int pidfd, int signal, int msec)
{
	struct pollfd fds = {.fd = pidfd, .events = POLLIN};

	if (pidfd_send_signal(pidfd, signal, NULL, 0) < 0)
		return errno == ESRCH ? 0 : -errno;
	int n = poll(&fds, 1, msec);
	return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
}

static void report_ended(pid_t pid, uint64_t usec, bool killed)
{
	const struct report_field fields[] = {
		{"XFRM_DAEMON_PID", (uint64_t)pid},
		{"XFRM_DURATION_USEC", usec},
		{"XFRM_KILLED", killed},
	};
	char sentence[160];

	snprintf(sentence, sizeof(sentence),
		 "Ended the main process (PID %d) without its goodbye in %.3f ms%s: its SAs go on until the next one "
		 "takes over.",
		 pid, (double)usec / 1e3, killed ? ", by SIGKILL" : "");
	report_figures(LOG_INFO, REPORT_NO_GOODBYE, sentence, fields, ARRAY_SIZE(fields));
}

/* A daemon that is told to stop takes its SAs, policies and routes away, and tells its peers. Before a restart that is
 * to hand over, it is ended before it is told. */
static int end_main_process(void)
{
	uint64_t begun = now_usec();
	pid_t pid = main_pid();
	/* Before anything is found out: it is then of this process, and of none that got its PID later. */
	CLEANUP(close_fd) int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;

	if (pid <= 0 || (pidfd < 0 && errno == ESRCH)) {
		report_detail("This unit has no main process any more that could say goodbye.");
		return 0;
	}
	if (pidfd >= 0 && !is_of_this_unit(pid))
		return report_failure(
			-ESRCH, REPORT_FAILED,
			"Process %d ($MAINPID) is none of this unit, so it is not ended: when it stops as "
			"usual, its tunnels are negotiated anew.",
			pid);

	int r = pidfd < 0 ? -errno : end_by(pidfd, END_SIGNAL, END_MSEC);
	bool killed = r == -ETIMEDOUT;
	if (killed)
		r = end_by(pidfd, SIGKILL, KILL_MSEC);
	if (r < 0)
		return report_failure(
			r, REPORT_FAILED,
			"Could not end the main process (PID %d) before its goodbye: %s%s. When it stops as "
			"usual, its tunnels are negotiated anew.",
			pid, strerror(-r), r == -EPERM ? " (CAP_KILL is needed: run as root)" : "");
	report_ended(pid, now_usec() - begun, killed);
	return 0;
}

/* To be called before the first dump: the events of all policies that are installed from then on wait there. */
static int listen_to_others(struct arm *arm)
{
	int r = events_open_policies(SHADOW_HOLD, ~TAG_BITS, &arm->events);

	if (r < 0)
		return report_failure(
			r, REPORT_FAILED,
			"Could not listen to the kernel's events: %s. Policies that the IKE daemon installs "
			"at the same time may have no shadow: run `xfrmctl arm` again.",
			strerror(-r));
	return 0;
}

static int run(struct arm *arm, const struct globals *globals)
{
	CLEANUP(kernel_close) struct kernel *kernel = NULL;
	struct kernel_counts counts;
	struct routes_summary stand_ins = {0};

	int r = verb_open_kernel(globals, &kernel, &counts);
	if (r < 0)
		return r;
	/* What keeps it from being saved need not keep it from being blocked. */
	int saved = arm->saves ? saving_run(kernel, &arm->filter, arm->saved, NULL) : 0;

	struct sweep *sweep = &arm->sweep;
	sweep->kernel = kernel;
	arm->sweeps = true;
	report_begin(kernel_sum_policies(&counts), NULL);
	int listens = listen_to_others(arm);
	r = arm_policies(arm);
	int routes = arm->routes ? routes_arm(arm->routes, &stand_ins) : 0;
	/* As late as can be: the daemon goes on until this ends. */
	if (r == 0)
		r = arm_policies(arm);
	if (r == 0)
		r = sweep_count_shadows(sweep, &arm->filter, false);
	sweep_report_unnamed(sweep);
	sweep->summary.stand_ins = stand_ins.stand_ins;
	sweep->summary.failed += stand_ins.failed;
	sweep->summary.usec = report_end();
	report_armed(&sweep->summary);
	events_close(&arm->events);
	r = r < 0 ? r : routes < 0 ? routes : listens < 0 ? listens : saved;
	return r < 0 ? r : sweep->summary.failed ? -EIO : 0;
}

int verb_arm(struct globals *globals, int argc, char **argv)
{
	static const struct sweep_verb verb = {"put a shadow behind", "given one"};
	struct arm arm = {
		.sweep = {.visit = visit, .verb = &verb, .keeps = true, .renews = true},
		.mode = MODE_HOLD,
	};

	static const struct option options[] = {
		GLOBAL_LONG_OPTIONS,
		{"match", required_argument, NULL, OPTION_MATCH},
		{"exclude", required_argument, NULL, OPTION_EXCLUDE},
		{"routes", optional_argument, NULL, OPTION_ROUTES},
		{"mode", required_argument, NULL, OPTION_MODE},
		{"saved", required_argument, NULL, OPTION_SAVED},
		{NULL, 0, NULL, 0},
	};
	static const struct verb_syntax syntax = {options, print_help, take_option};

	int r = verb_parse(globals, argc, argv, &syntax, &arm);
	if (r < 0)
		return verb_parsed(r);
	if (arm.mode == MODE_FLUSH) {
		report_detail("In this mode (flush), nothing is held.");
		return STATUS_DONE;
	}
	enum unit_job job = find_job();
	arm.saves = job == UNIT_JOB_STOP && arm.saved && saving_is_shutdown(arm.saved) > 0;
	if (job == UNIT_JOB_STOP && !arm.saves) {
		report_detail("This unit is being stopped for good: it needs no shadows.");
		return STATUS_DONE;
	}
	bool ends = arm.mode == MODE_HANDOVER && job == UNIT_JOB_RESTART;
	if (!ends)
		privileges_give_up(PRIVILEGE_KILL);
	r = run(&arm, globals);
	/* Whether or not there are shadows: the policies of a daemon that cannot remove them stay. */
	if (ends) {
		int ended = end_main_process();
		r = r < 0 ? r : ended;
	}
	return r < 0 ? STATUS_FAILED : STATUS_DONE;
}
