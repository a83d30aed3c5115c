/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"
#include "base/pidfd.h"
#include "base/privileges.h"
#include "base/util.h"
#include "ike/readiness.h"
#include "ike/starter.h"
#include "ike/vici.h"
#include "verbs/options.h"

/* Default of --timeout, in microseconds. */
#define TIMEOUT_DEFAULT_USEC (30 * USEC_PER_SEC)

/* Time that systemd is asked for in addition to --timeout, in microseconds. With it, xfrmctl can report the failure
 * before systemd's own timeout. */
#define SLACK_USEC (10 * USEC_PER_SEC)

/* Timeout for systemd to read a notification, in microseconds. */
#define BARRIER_USEC (5 * USEC_PER_SEC)

/* Maximum size of a message, in bytes. */
#define SENTENCE_MAX 512

struct options {
	struct readiness readiness;
	bool exec, starter;
};

/* Returns a text about the error of the last attempt, with the remedy. */
static const char *explain(int r)
{
	switch (r) {
	case -ENOENT:
		return "the socket does not exist. Start charon with its plugin vici (Debian: package "
		       "strongswan-swanctl), or use the --socket= of charon.plugins.vici.socket";
	case -ENOTSOCK:
		return "the file is not a socket. Use the --socket= of charon.plugins.vici.socket";
	case -ECONNREFUSED:
		return "no process listens on the socket any more. The journal of the daemon shows why it has ended";
	case -ETIMEDOUT:
		return "the daemon accepts connections, but does not answer. It hangs, or is overloaded";
	case -ECONNRESET:
		return "the daemon closes the connection. The journal of the daemon shows why";
	case -EBADMSG:
	case -EOPNOTSUPP:
		return "another program than charon answers. Use the --socket= of charon.plugins.vici.socket";
	case -EADDRINUSE:
		return "another process than the started one answers. Stop that process, or set "
		       "charon.plugins.vici.socket for each";
	case -EACCES:
	case -EPERM:
		return VICI_FORBIDDEN;
	default:
		return strerror(-r);
	}
}

/* Reports how the wait ended. Returns the message, which it writes into `sentence`. */
static const char *report(const struct readiness *readiness, int r, const struct readiness_answer *answer,
			  char *sentence, size_t size)
{
	const struct log_field fields[] = {{"XFRM_WAIT_USEC", answer->usec}};
	uint64_t msec = answer->usec / USEC_PER_MSEC;

	if (r == 0)
		snprintf(sentence, size, "%s %s answers after %" PRIu64 ".%03" PRIu64 " s.", answer->version.daemon,
			 answer->version.version, msec / 1000, msec % 1000);
	else
		snprintf(sentence, size, "No IKE daemon answers at %.128s after %" PRIu64 ".%03" PRIu64 " s: %s.",
			 readiness->socket, msec / 1000, msec % 1000, explain(r));
	log_figures(r == 0 ? LOG_INFO : LOG_ERR, r == 0 ? MESSAGE_WAITED : MESSAGE_SILENT, sentence, fields,
		    ARRAY_SIZE(fields));
	return sentence;
}

/* Asks systemd for enough time if this is a command of a unit, because --timeout may exceed systemd's own timeout. */
static void ask_for_time(const struct readiness *readiness)
{
	if (readiness->timeout_usec && readiness->timeout_usec < UINT64_MAX - SLACK_USEC)
		sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, readiness->timeout_usec + SLACK_USEC);
}

/* Waits for the daemon's answer in the process that stays behind. Notifies systemd when the daemon answers, or ends the
 * daemon after the timeout. */
static void wait_beside(const struct readiness *readiness)
{
	struct readiness_answer answer = {0};
	char sentence[SENTENCE_MAX];

	privileges_confine(PRIVILEGE_OTHERS | PRIVILEGE_KILL | PRIVILEGE_SPEAK);

	/* Close all inherited descriptors, because the daemon has them too. The reader of a pipe must find its end when
	 * the daemon ends. */
	if (readiness->pidfd > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned int)readiness->pidfd - 1, 0);
	close_range((unsigned int)(readiness->pidfd > STDERR_FILENO ? readiness->pidfd : STDERR_FILENO) + 1, ~0U, 0);

	int r = readiness_answer(readiness, &answer);
	/* The daemon has ended. Its parent sees that, so do not report it. */
	if (r == -ECHILD)
		return;
	report(readiness, r, &answer, sentence, sizeof(sentence));
	if (r == 0) {
		sd_pid_notifyf(readiness->process, 0, "READY=1\nSTATUS=%s", sentence);
		/* Without CAP_SYS_ADMIN, the sender of the message is this process, not the daemon. systemd must read
		 * the message before this process ends, to identify its unit. */
		sd_notify_barrier(0, BARRIER_USEC);
	} else {
		pidfd_send_signal(readiness->pidfd, SIGTERM, NULL, 0);
		/* A stopped daemon handles SIGTERM only after SIGCONT. */
		pidfd_send_signal(readiness->pidfd, SIGCONT, NULL, 0);
	}
}

/* Replaces this process by the daemon, and leaves a second process behind that waits for the daemon's answer. The
 * daemon is then the unit's main process, and its PID, signals, exit status, core dump and descriptors need no
 * forwarding. With the daemon as a child, xfrmctl would have to imitate all of these. Returns only if it fails, with an
 * exit status.
 *
 * The second process is a child of PID 1, because the daemon does not expect a child. With CAP_SYS_ADMIN it can send
 * READY=1 in the daemon's name (sd_pid_notify(3)), and systemd accepts that even with NotifyAccess=main. Without that
 * capability, the unit needs NotifyAccess=all. */
static enum exit_status exec(struct readiness *readiness, char **command)
{
	readiness->process = getpid();
	readiness->pidfd = pidfd_open(readiness->process, 0);
	if (readiness->pidfd < 0)
		return log_failure(STATUS_FAILED, MESSAGE_SILENT,
				   "Could not open a pidfd for %.128s: %s. The command was not started.", *command,
				   strerror(errno));
	ask_for_time(readiness);

	/* Flush the buffers, because both processes would write their content. */
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		pid_t waiter = fork();
		if (waiter == 0) {
			wait_beside(readiness);
			fflush(NULL);
		}
		_exit(waiter < 0 ? STATUS_FAILED : STATUS_DONE);
	}
	int status = 0;
	if (child < 0 || (waitpid(child, &status, 0) == child && status != 0))
		return log_failure(STATUS_FAILED, MESSAGE_SILENT,
				   "Could not start a second process: there is no memory, or TasksMax= is reached. "
				   "%.128s was not started.",
				   *command);

	/* The second process reports readiness, so the daemon must not do so. */
	unsetenv("NOTIFY_SOCKET");
	execvp(*command, command);
	return log_failure(STATUS_FAILED, MESSAGE_SILENT, "Could not start %.128s: %s.", *command, strerror(errno));
}

static enum exit_status wait_for_starter(uint64_t timeout_usec)
{
	struct log_field field = {"XFRM_WAIT_USEC", 0};
	char sentence[SENTENCE_MAX];

	int r = starter_wait(timeout_usec, &field.value);
	double seconds = (double)field.value / (double)USEC_PER_SEC;
	if (r == 0)
		snprintf(sentence, sizeof(sentence), "charon has all its connections from starter after %.3f s.",
			 seconds);
	else
		snprintf(sentence, sizeof(sentence),
			 "charon does not have all its connections from starter after %.3f s: %s.", seconds,
			 r == -ECHILD	   ? "starter has ended. Its messages before this one show why"
			 : r == -ESRCH	   ? "charon has ended. Its messages before this one show why"
			 : r == -ETIMEDOUT ? "starter still starts charon, does not run, or waits for charon"
					   : strerror(-r));
	log_figures(r == 0 ? LOG_INFO : LOG_ERR, r == 0 ? MESSAGE_LOADED : MESSAGE_NOT_LOADED, sentence, &field, 1);
	return r == 0 ? STATUS_DONE : STATUS_FAILED;
}

static const struct verb_option option_table[] = {
	{"timeout", "TIME", SECTION_ACTION, OPTION_TIME, offsetof(struct options, readiness.timeout_usec),
	 "Fail after this time (500ms, 2min, infinity; default 30s; 0: one try)"},
	{"socket", "PATH", SECTION_SERVICE, OPTION_TEXT, offsetof(struct options, readiness.socket),
	 "Use this VICI socket of charon (default " VICI_SOCKET ")"},
	{"exec", NULL, SECTION_SERVICE, OPTION_FLAG, offsetof(struct options, exec),
	 "Become COMMAND, an IKE daemon. A second process sends READY=1 to systemd when the daemon answers, or ends "
	 "the daemon after the timeout",
	 .excludes = "--starter"},
	{"starter", NULL, SECTION_SERVICE, OPTION_FLAG, offsetof(struct options, starter),
	 "Wait until strongSwan's starter has loaded all connections of ipsec.conf into charon, without VICI"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "wait",
	.usage = {"[OPTION...]", "--exec [OPTION...] -- COMMAND [ARGUMENT...]"},
	.about = "Waits until the IKE daemon answers the VICI command `version`, or fails.",
	.options = option_table,
};

int verb_wait(struct globals *globals, int argc, char **argv)
{
	struct options options = {
		.readiness = {.socket = VICI_SOCKET, .timeout_usec = TIMEOUT_DEFAULT_USEC, .pidfd = -1}};
	struct readiness_answer answer = {0};
	char sentence[SENTENCE_MAX];

	int r = verb_parse_options(globals, argc, argv, &syntax, &options);
	if (r == 0 && !options.exec)
		r = verb_refuse_arguments(argc, argv);
	if (r < 0)
		return verb_exit_status(r);
	if (options.exec && optind == argc)
		return log_failure(STATUS_USAGE, MESSAGE_USAGE,
				   "--exec needs a command, as in `xfrmctl wait --exec -- /usr/lib/ipsec/charon`.");
	if (verb_enter_netns(globals->netns) < 0)
		return STATUS_FAILED;
	if (options.exec)
		return exec(&options.readiness, argv + optind);
	privileges_confine(PRIVILEGE_OTHERS);

	ask_for_time(&options.readiness);
	if (options.starter)
		return wait_for_starter(options.readiness.timeout_usec);
	r = readiness_answer(&options.readiness, &answer);
	report(&options.readiness, r, &answer, sentence, sizeof(sentence));
	return r == 0 ? STATUS_DONE : STATUS_FAILED;
}
