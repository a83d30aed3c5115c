/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "base/log.h"
#include "base/pidfd.h"
#include "base/privileges.h"
#include "base/proc.h"
#include "base/unit.h"
#include "base/util.h"
#include "ike/charon.h"
#include "ike/liveness.h"
#include "ike/starter.h"
#include "verbs/options.h"
#include "verbs/watch_load.h"
#include "verbs/watch_policies.h"

/* Default of --unit. */
#define UNIT_DEFAULT "strongswan.service"

/* Minimum of --interval and --deadline, in microseconds. */
#define INTERVAL_MIN_USEC (100 * USEC_PER_MSEC)

/* Maximum of --interval and --deadline, in microseconds: one day. */
#define INTERVAL_MAX_USEC (UINT64_C(24) * 60 * 60 * USEC_PER_SEC)

/* Maximum of --misses. */
#define MISSES_MAX 1000

/* Options for asking the daemon. --starter and --load exclude them. */
#define OF_DAEMON "--socket, --interval, --deadline, --misses, --limit, --on-missing"

/* Time after which lost policies are judged, in microseconds: one report names all that are lost together. */
#define BURST_USEC (100 * USEC_PER_MSEC)

/* Timeout for the end of a process after SIGABRT, in milliseconds. */
#define ABORT_MSEC (10 * 1000)

/* Additional timeout while the kernel writes the core dump, in milliseconds. */
#define DUMP_MSEC (120 * 1000)

/* Timeout for the end of a process after SIGKILL, in milliseconds. */
#define KILL_MSEC (10 * 1000)

/* Maximum size of a message, in bytes. */
#define SENTENCE_MAX 512

struct options {
	const char *socket, *unit, *on_missing;
	uint64_t interval_usec, deadline_usec;
	struct liveness liveness;
	bool starter, load;
};

/* The state of a daemon at one time. */
struct observation {
	uint64_t usec; /* the time (now_usec()) */
	struct proc process;
};

struct watch {
	const struct options *options;
	/* Name of the daemon, for messages. */
	char daemon[CHARON_NAME_MAX];
	/* PID of the process that answered, or at least accepted the connection; 0: none yet. */
	pid_t pid;
	/* State at the last answer, and at the last question. */
	struct observation answered, recent;
	/* Number of unanswered questions in a row, and the longest time for an answer, in microseconds. */
	uint64_t misses, slowest_usec;
	/* Number of questions in a row that could not be asked. */
	unsigned int unreachable;
	/* xfrmctl has reported why the daemon is not ended. */
	bool reported;
	/* charon's policies; NULL if they are not watched. */
	struct policy_watch *policies;
	/* PID of the process that was ended because of lost policies. */
	pid_t ended;
};

static uint64_t since(uint64_t later, uint64_t earlier)
{
	return later > earlier ? later - earlier : 0;
}

/* Asks charon for its version. Opens a new connection for each question: this also tests whether charon accepts one,
 * and SO_PEERCRED identifies the process that was asked. Leaves `*pid` alone if there is no connection. Returns 0 or a
 * negative errno. */
static int ask(const struct options *options, uint64_t deadline, struct charon_version *version, pid_t *pid)
{
	CLEANUP(vici_close) struct vici *vici = NULL;

	int r = vici_open(options->socket, deadline, &vici);
	if (r < 0)
		return r;
	*pid = vici_peer(vici);
	r = charon_version(vici, deadline, version);
	/* An error about an unknown command is an answer too. */
	return r == -EOPNOTSUPP ? 0 : r;
}

/* Resets the counts, for a daemon with this PID; 0: no daemon. */
static void forget(struct watch *watch, pid_t pid)
{
	if (pid != watch->pid) {
		watch->slowest_usec = 0;
		snprintf(watch->daemon, sizeof(watch->daemon), "The IKE daemon");
	}
	watch->pid = pid;
	watch->misses = 0;
	watch->reported = false;
	watch->answered = (struct observation){.usec = now_usec()};
	/* Ignore an error: if the process is already gone, the next question shows that. */
	if (pid)
		proc_read_all(pid, &watch->answered.process);
	watch->recent = watch->answered;
}

/* Times in microseconds. silent_usec: since the last answer. cpu_usec and queued_usec: on a processor, and in the queue
 * for one, since the last answer. recent_usec: since the last question. busy_usec: on a processor or in the queue for
 * one, since the last question. */
struct figures {
	uint64_t silent_usec, cpu_usec, queued_usec, recent_usec, busy_usec;
};

static struct figures figures_of(const struct watch *watch, const struct observation *now)
{
	const struct proc *answered = &watch->answered.process, *recent = &watch->recent.process;
	const struct proc *process = &now->process;

	return (struct figures){
		.silent_usec = since(now->usec, watch->answered.usec),
		.cpu_usec = since(process->cpu_usec, answered->cpu_usec),
		/* A thread that ends takes its queue time out of the sum, so the sum may have become smaller. */
		.queued_usec = since(process->queued_usec, answered->queued_usec),
		.recent_usec = since(now->usec, watch->recent.usec),
		.busy_usec =
			since(process->cpu_usec, recent->cpu_usec) + since(process->queued_usec, recent->queued_usec),
	};
}

static const char *explain(enum liveness_verdict verdict)
{
	switch (verdict) {
	case LIVENESS_TRACED:
		return "a debugger is attached, so xfrmctl does not end it";
	case LIVENESS_BUSY:
		return "it is busy, so xfrmctl does not end it";
	case LIVENESS_STOPPED:
		return "it is stopped, so xfrmctl ends it (SIGABRT)";
	case LIVENESS_IDLE:
		return "it hangs, so xfrmctl ends it (SIGABRT)";
	case LIVENESS_LIMIT:
		return "the maximum time has passed (--limit), so xfrmctl ends it (SIGABRT)";
	case LIVENESS_WAIT:
	default:
		return "these are too few to judge it";
	}
}

/* Reports the verdict, and whether the daemon will be ended, with the figures. */
static void report_verdict(const struct watch *watch, enum liveness_verdict verdict, const struct figures *figures,
			   const struct proc *process)
{
	const struct log_field fields[] = {
		{"XFRM_DAEMON_PID", (uint64_t)watch->pid},
		{"XFRM_MISSES", watch->misses},
		{"XFRM_SILENT_USEC", figures->silent_usec},
		{"XFRM_CPU_USEC", figures->cpu_usec},
		{"XFRM_QUEUED_USEC", figures->queued_usec},
		{"XFRM_RECENT_USEC", figures->recent_usec},
		{"XFRM_RECENT_BUSY_USEC", figures->busy_usec},
		{"XFRM_SLOWEST_USEC", watch->slowest_usec},
		{"XFRM_LIMIT_USEC", watch->options->liveness.limit_usec},
	};
	char sentence[SENTENCE_MAX];
	bool ends = liveness_failed(verdict);

	snprintf(sentence, sizeof(sentence),
		 "%s (PID %d) has not answered for %.1f s, %" PRIu64
		 " questions in a row. Since then its threads have run for %.3f s, and waited %.3f s for a processor; "
		 "in the last %.1f s, %.3f s together. It is in state %c%s. Its slowest answer took %.3f s: %s.",
		 watch->daemon, watch->pid, (double)figures->silent_usec / 1e6, watch->misses,
		 (double)figures->cpu_usec / 1e6, (double)figures->queued_usec / 1e6,
		 (double)figures->recent_usec / 1e6, (double)figures->busy_usec / 1e6, process->state,
		 process->on_disk ? ", a thread in state D" : "", (double)watch->slowest_usec / 1e6, explain(verdict));
	log_figures(ends ? LOG_WARNING : LOG_NOTICE, ends ? MESSAGE_HUNG : MESSAGE_SLOW, sentence, fields,
		    ARRAY_SIZE(fields));
}

/* Reports why a daemon is not ended, unless that was reported since the last forget(). */
static void __attribute__((format(printf, 2, 3))) report_not_ended(struct watch *watch, const char *format, ...)
{
	char sentence[SENTENCE_MAX];
	va_list args;

	if (watch->reported)
		return;
	watch->reported = true;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	log_notice(MESSAGE_UNWATCHED, "%s", sentence);
}

/* Returns whether the daemon is the unit's main process or a descendant of it. If not, reports that watch does not end
 * it. */
static bool is_main(struct watch *watch, struct unit_running *state)
{
	const char *unit = watch->options->unit;

	int r = unit_find_running(unit, state);
	if (r < 0)
		report_not_ended(watch, "Could not ask systemd about %.128s: %s. xfrmctl does not end %s (PID %d).",
				 unit, strerror(-r), watch->daemon, watch->pid);
	else if (!state->main_pid || !proc_descends_from(watch->pid, state->main_pid))
		report_not_ended(
			watch,
			"%s (PID %d) is neither the main process of %.128s nor a child of it, so xfrmctl does not end "
			"it. Correct --unit or --socket.",
			watch->daemon, watch->pid, unit);
	else
		return true;
	return false;
}

/* Returns whether watch may end the daemon: it belongs to the unit, and systemd is not changing the unit. If not,
 * reports that. */
static bool may_end(struct watch *watch)
{
	struct unit_running state;

	if (!is_main(watch, &state))
		return false;
	if (!state.undisturbed)
		report_not_ended(watch, "systemd is changing %.128s, so xfrmctl does not end %s (PID %d).",
				 watch->options->unit, watch->daemon, watch->pid);
	return state.undisturbed;
}

static bool ends_within(int pidfd, int msec)
{
	struct pollfd fds = {.fd = pidfd, .events = POLLIN};

	return poll(&fds, 1, msec) > 0;
}

/* Ends the process by SIGABRT, or by SIGKILL if that is not enough, and reports the result. charon has no handler for
 * SIGABRT, so it cannot delay the core dump. A stopped process handles SIGABRT only after SIGCONT. */
static void end_process(const struct watch *watch, int pidfd)
{
	uint64_t begun = now_usec();
	char sentence[SENTENCE_MAX];
	struct proc process;
	bool killed = false;

	if (pidfd_send_signal(pidfd, SIGABRT, NULL, 0) < 0 && errno != ESRCH) {
		log_failure(-errno, MESSAGE_UNWATCHED,
			    "Could not send SIGABRT to %s (PID %d): %s (CAP_KILL is needed: run as root).",
			    watch->daemon, watch->pid, strerror(errno));
		return;
	}
	pidfd_send_signal(pidfd, SIGCONT, NULL, 0);
	bool ended = ends_within(pidfd, ABORT_MSEC);
	if (!ended && proc_read_all(watch->pid, &process) == 0 && process.dumping)
		ended = ends_within(pidfd, DUMP_MSEC);
	if (!ended) {
		killed = true;
		pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
		ended = ends_within(pidfd, KILL_MSEC);
	}

	const struct log_field fields[] = {
		{"XFRM_DAEMON_PID", (uint64_t)watch->pid},
		{"XFRM_DURATION_USEC", now_usec() - begun},
		{"XFRM_KILLED", killed},
		{"XFRM_ENDED", ended},
	};
	snprintf(sentence, sizeof(sentence), "%s (PID %d) %s %.3f s after SIGABRT%s.", watch->daemon, watch->pid,
		 ended ? "ended" : "is still there", (double)(now_usec() - begun) / 1e6, killed ? ", by SIGKILL" : "");
	log_figures(ended ? LOG_NOTICE : LOG_ERR, MESSAGE_ENDED, sentence, fields, ARRAY_SIZE(fields));
}

/* Judges the daemon after an unanswered question. Reports the verdict, and ends the daemon if the verdict requires
 * that. */
static void judge(struct watch *watch)
{
	struct observation now = {.usec = now_usec()};
	/* Open the pidfd before the state is read: the signal then never reaches another process that gets this PID
	 * later. */
	CLEANUP(close_fd) int pidfd = watch->pid ? pidfd_open(watch->pid, 0) : -1;

	if (pidfd < 0 || proc_read_all(watch->pid, &now.process) < 0) {
		if (watch->misses >= watch->options->liveness.misses)
			report_not_ended(
				watch,
				"Could not connect to %.128s: no process accepts the connection, and xfrmctl cannot "
				"see which one listens. Correct --socket.",
				watch->options->socket);
		return;
	}
	const struct figures figures = figures_of(watch, &now);
	const struct liveness_evidence evidence = {
		.misses = watch->misses,
		.silent_usec = figures.silent_usec,
		.recent_usec = figures.recent_usec,
		.busy_usec = figures.busy_usec,
		.traced = now.process.traced || now.process.state == 't',
		.stopped = now.process.state == 'T',
		.on_disk = now.process.on_disk,
	};

	enum liveness_verdict verdict = liveness_judge(&watch->options->liveness, &evidence);
	if (liveness_failed(verdict)) {
		if (may_end(watch)) {
			report_verdict(watch, verdict, &figures, &now.process);
			end_process(watch, pidfd);
			forget(watch, 0);
			return;
		}
	} else if (verdict != LIVENESS_WAIT && !watch->reported) {
		report_verdict(watch, verdict, &figures, &now.process);
		watch->reported = true;
	}
	watch->recent = now;
}

static void report_answers_again(const struct watch *watch, uint64_t usec)
{
	const struct log_field fields[] = {
		{"XFRM_DAEMON_PID", (uint64_t)watch->pid},
		{"XFRM_MISSES", watch->misses},
		{"XFRM_SILENT_USEC", since(now_usec(), watch->answered.usec)},
		{"XFRM_WAIT_USEC", usec},
	};
	char sentence[SENTENCE_MAX];

	snprintf(sentence, sizeof(sentence),
		 "%s (PID %d) answers again, after %.1f s with %" PRIu64 " unanswered questions.", watch->daemon,
		 watch->pid, (double)fields[2].value / 1e6, watch->misses);
	log_figures(LOG_NOTICE, MESSAGE_ANSWERS, sentence, fields, ARRAY_SIZE(fields));
}

static void take_answer(struct watch *watch, pid_t pid, uint64_t usec, const struct charon_version *version)
{
	struct unit_running state;
	bool is_new = pid != watch->pid;

	if (watch->misses && !is_new)
		report_answers_again(watch, usec);
	forget(watch, pid);
	if (*version->daemon)
		snprintf(watch->daemon, sizeof(watch->daemon), "%s", version->daemon);
	/* Report a wrong --unit or --socket now, not only when the daemon hangs. */
	if (is_new)
		is_main(watch, &state);
	if (usec > watch->slowest_usec)
		watch->slowest_usec = usec;
	if (watch->policies)
		policy_watch_set_daemon(watch->policies, pid);
	log_detail("%s (PID %d) answers after %.3f s.", watch->daemon, pid, (double)usec / 1e6);
}

/* Asks one question and handles the answer. `planned` is when the question was due. */
static void turn(struct watch *watch, uint64_t planned)
{
	const struct options *options = watch->options;
	struct charon_version version = {0};
	uint64_t begun = now_usec();
	pid_t pid = watch->pid;

	int r = ask(options, begun + options->deadline_usec, &version, &pid);
	uint64_t now = now_usec();
	if (r == 0 || r == -ETIMEDOUT)
		watch->unreachable = 0;
	if (r == 0) {
		take_answer(watch, pid, now - begun, &version);
	} else if (r != -ETIMEDOUT) {
		/* There is no daemon that could hang. A daemon that ends or starts causes this error for a moment, and
		 * systemd handles that. Report the error only when it repeats. */
		forget(watch, 0);
		if (++watch->unreachable == 2)
			log_notice(MESSAGE_UNWATCHED,
				   "Could not ask an IKE daemon on %.128s: %s. Start the daemon, or correct --socket. "
				   "xfrmctl watches the daemon as soon as it answers.",
				   options->socket, vici_explain(r));
	} else if (!liveness_counts(planned + options->deadline_usec, now, options->deadline_usec)) {
		log_detail("A question does not count: xfrmctl itself was late, by %.3f s.",
			   (double)(now - planned - options->deadline_usec) / 1e6);
	} else {
		if (pid != watch->pid)
			forget(watch, pid);
		watch->misses++;
		log_detail("%s (PID %d): question %" PRIu64 " in a row is unanswered.", watch->daemon, pid,
			   watch->misses);
		judge(watch);
	}
}

/* Ends the daemon because the kernel has lost policies that it needs, once for each process. */
static void end_for_policies(struct watch *watch)
{
	CLEANUP(close_fd) int pidfd = pidfd_open(watch->pid, 0);

	if (pidfd < 0 || watch->ended == watch->pid || !may_end(watch))
		return;
	watch->ended = watch->pid;
	end_process(watch, pidfd);
}

/* Judges lost policies. A question about them may take longer than until `*planned`, when the next question about
 * liveness is due; then moves that to now, since xfrmctl itself is not late. Returns 0, or a negative errno if policies
 * cannot be watched any more, which is reported. */
static int judge_policies(struct watch *watch, uint64_t *planned)
{
	const struct policy_owner owner = {
		.name = watch->daemon,
		.socket = watch->options->socket,
		.unit = watch->options->unit,
		.deadline_usec = watch->options->deadline_usec,
	};

	int r = policy_watch_turn(watch->policies, &owner);
	if (r > 0)
		end_for_policies(watch);
	fflush(stdout);
	uint64_t now = now_usec();
	*planned = *planned > now ? *planned : now;
	return r < 0 ? r : 0;
}

/* Waits until the next question is due, and judges policies that are lost meanwhile. A daemon that left the last
 * question unanswered is not asked about policies: lost ones stay blocked. Returns 0 or a negative errno, which is
 * reported. */
static int wait_for_turn(struct watch *watch, uint64_t *planned)
{
	const bool judges = watch->policies && !watch->misses;
	struct pollfd news = {.fd = judges ? policy_watch_fd(watch->policies) : -1, .events = POLLIN};
	int r = judges ? judge_policies(watch, planned) : 0;

	for (uint64_t now = now_usec(); r == 0 && now < *planned; now = now_usec()) {
		const struct timespec timeout = timespec_of(*planned - now);

		if (ppoll(&news, 1, &timeout, NULL) <= 0)
			continue;
		sleep_until(now_usec() + BURST_USEC);
		r = judge_policies(watch, planned);
	}
	return r;
}

/* Watches the daemon until an error, which is reported. */
static void watch_daemon(struct watch *watch)
{
	const uint64_t interval = watch->options->interval_usec;

	forget(watch, 0);
	for (uint64_t planned = now_usec();;) {
		turn(watch, planned);
		fflush(stdout);
		uint64_t now = now_usec();
		planned = planned + interval > now ? planned + interval : now;
		if (wait_for_turn(watch, &planned) < 0)
			return;
	}
}

/* Reads the value of --on-missing. Returns 0, or -EINVAL if it is wrong, which it reports. */
static int parse_on_missing(const char *value, enum on_missing *ret)
{
	static const char *const names[] = {
		[ON_MISSING_REPORT] = "report", [ON_MISSING_BLOCK] = "block", [ON_MISSING_RESTART] = "restart"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(value, names[i]) == 0) {
			*ret = (enum on_missing)i;
			return 0;
		}
	return log_failure(-EINVAL, MESSAGE_USAGE,
			   "Invalid value '%.64s' of --on-missing. Use report, block or restart.", value);
}

static const struct verb_option option_table[] = {
	{"interval", "TIME", SECTION_ACTION, OPTION_TIME, offsetof(struct options, interval_usec),
	 "Time between two questions (default 5s)", .min = INTERVAL_MIN_USEC, .max = INTERVAL_MAX_USEC},
	{"deadline", "TIME", SECTION_ACTION, OPTION_TIME, offsetof(struct options, deadline_usec),
	 "Time for an answer (default 10s)", .min = INTERVAL_MIN_USEC, .max = INTERVAL_MAX_USEC},
	{"misses", "N", SECTION_ACTION, OPTION_NUMBER, offsetof(struct options, liveness.misses),
	 "Number of unanswered questions in a row after which the daemon is judged (default 3)", .min = 1,
	 .max = MISSES_MAX},
	{"limit", "TIME", SECTION_ACTION, OPTION_TIME, offsetof(struct options, liveness.limit_usec),
	 "Time without an answer after which even a busy daemon is ended (default 5min; infinity)"},
	{"on-missing", "ACTION", SECTION_ACTION, OPTION_TEXT, offsetof(struct options, on_missing),
	 "When the kernel has lost a policy that charon needs: report; block, until charon has it back; or restart "
	 "(default report)"},
	{"unit", "UNIT", SECTION_SERVICE, OPTION_TEXT, offsetof(struct options, unit),
	 "Service whose main process is watched (default " UNIT_DEFAULT ")"},
	{"socket", "PATH", SECTION_SERVICE, OPTION_TEXT, offsetof(struct options, socket),
	 "charon's VICI socket (default " VICI_SOCKET ")"},
	{"starter", NULL, SECTION_SERVICE, OPTION_FLAG, offsetof(struct options, starter),
	 "Wait instead until strongSwan's starter has lost its charon, and end starter then, so that systemd starts "
	 "both again",
	 .excludes = "--load, --unit, " OF_DAEMON},
	{"load", NULL, SECTION_SERVICE, OPTION_FLAG, offsetof(struct options, load),
	 "Wait instead until the start of UNIT is over, and end a command of its ExecStartPost= when its main "
	 "process has ended",
	 .excludes = OF_DAEMON},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "watch",
	.usage = {"[OPTION...]"},
	.about = "Asks the IKE daemon repeatedly over VICI, and ends a daemon that hangs, with a core dump, so that "
		 "Restart=on-failure starts it again. Also watches the daemon's policies in the kernel.",
	.options = option_table,
};

int verb_watch(struct globals *globals, int argc, char **argv)
{
	struct options options = {
		.socket = VICI_SOCKET,
		.unit = UNIT_DEFAULT,
		.on_missing = "report",
		.interval_usec = 5 * USEC_PER_SEC,
		.deadline_usec = 10 * USEC_PER_SEC,
		.liveness = {.misses = 3, .limit_usec = 300 * USEC_PER_SEC},
	};
	struct watch watch = {.options = &options};
	struct unit_state state;
	enum on_missing action = ON_MISSING_REPORT;

	int r = verb_parse(globals, argc, argv, &syntax, &options);
	if (r == 0)
		r = parse_on_missing(options.on_missing, &action);
	if (r < 0)
		return verb_exit_status(r);
	if (!options.starter && !options.load)
		verb_choose_unit(globals, options.unit, &state);
	if (verb_enter_netns(globals->netns) < 0)
		return STATUS_FAILED;
	privileges_give_up(PRIVILEGE_ENTER);
	if (options.starter || options.load)
		privileges_give_up(PRIVILEGE_NETWORK);
	if (options.starter)
		return starter_watch() < 0 ? STATUS_FAILED : STATUS_DONE;

	if (options.load) {
		log_about_unit(options.unit);
		privileges_give_up(PRIVILEGE_OTHERS);
		return watch_load(options.unit) < 0 ? STATUS_FAILED : STATUS_DONE;
	}
	policy_watch_open(action, &watch.policies);
	watch_daemon(&watch);
	return STATUS_FAILED;
}
