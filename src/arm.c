/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <syslog.h>
#include <systemd/sd-login.h>

#include "mode.h"
#include "privileges.h"
#include "report.h"
#include "routes.h"
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

enum {
	OPTION_MATCH = OPTION_OF_VERB,
	OPTION_EXCLUDE,
	OPTION_ROUTES,
	OPTION_MODE,
};

struct arm {
	struct sweep sweep;
	struct filter filter;
	uint32_t routes; /* the table whose routes get stand-ins, or 0 */
	enum mode mode;
};

static void print_help(void)
{
	printf("Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] arm [OPTION...]\n"
	       "\n"
	       "Puts a shadow behind each policy (main and sub, but never those of sockets), or those\n"
	       "that are selected, and removes nothing: when the IKE daemon takes its policies away,\n"
	       "nothing leaves or comes in in plaintext until `xfrmctl release`.\n"
	       "\n"
	       "As a command of a unit that systemd is stopping for good it does nothing.\n"
	       "\n"
	       "  --match=EXPR         Only what some --match holds for (repeatable)\n"
	       "  --exclude=EXPR       Not what some --exclude holds for (repeatable)\n"
	       "  --routes[=TABLE]     Put stand-ins behind the static routes of charon's routing table too\n"
	       "                       (default: 220), so that packets of this machine itself keep their\n"
	       "                       source, and are not let out in plaintext for another one\n"
	       "  --mode=MODE          What the unit is for: with `flush`, do nothing; with `hold`, as without this;\n"
	       "                       with `handover`, also end the main process, as a command of a unit that\n"
	       "                       systemd restarts, so that it cannot take its SAs and policies away\n"
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

static int arm_routes(struct arm *arm)
{
	struct routes_summary routes;

	int r = routes_arm(arm->routes, &routes);
	arm->sweep.summary.stand_ins = routes.stand_ins;
	arm->sweep.summary.failed += routes.failed;
	return r;
}

static int run(struct arm *arm, const struct globals *globals)
{
	CLEANUP(kernel_close) struct kernel *kernel = NULL;
	struct kernel_counts counts;

	int r = verb_open_kernel(globals, &kernel, &counts);
	if (r < 0)
		return r;
	uint64_t policies = kernel_sum_policies(&counts);

	struct sweep *sweep = &arm->sweep;
	sweep->kernel = kernel;
	report_begin(policies, NULL);
	if (policies) {
		r = sweep_prepare(sweep, &arm->filter);
		if (r == 0)
			r = sweep_run(sweep, ENTRY_POLICY);
		if (r == 0)
			r = sweep_count_shadows(sweep, &arm->filter, false);
	}
	sweep_report_unnamed(sweep);
	if (arm->routes) {
		int routes = arm_routes(arm);
		r = r < 0 ? r : routes;
	}
	sweep->summary.usec = report_end();
	report_armed(&sweep->summary);
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
	if (job == UNIT_JOB_STOP) {
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
