/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/main_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-login.h>

#include "base/log.h"
#include "base/pidfd.h"
#include "base/util.h"

/* Signal that ends the main process. charon has no handler for it, so it ends the process without a clean shutdown, as
 * SIGKILL does. No other program uses it, so the drop-in can name it in SuccessExitStatus=. A restart is then no
 * failure of the unit, but a SIGKILL from another sender is. */
#define END_SIGNAL SIGVTALRM

/* Timeout for the end of the process after END_SIGNAL, in milliseconds. */
#define END_MSEC (2 * 1000)

/* Timeout for the end of the process after SIGKILL, in milliseconds. */
#define KILL_MSEC (10 * 1000)

/* Returns the PID of the unit's main process, or 0 if there is none. systemd passes it to the commands of ExecStop=,
 * but not to those of ExecStopPost=. */
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

/* Sends a signal to a process and waits for its end. Returns 0; -ETIMEDOUT if it has not ended after `msec`; or another
 * negative errno. */
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
	const struct log_field fields[] = {
		{"XFRM_DAEMON_PID", (uint64_t)pid},
		{"XFRM_DURATION_USEC", usec},
		{"XFRM_KILLED", killed},
	};
	char sentence[160];

	snprintf(sentence, sizeof(sentence),
		 "Ended the main process (PID %d) without a clean shutdown in %.3f ms%s. Its SAs stay in use until the "
		 "handover.",
		 pid, (double)usec / 1e3, killed ? ", by SIGKILL" : "");
	log_figures(LOG_INFO, MESSAGE_NO_CLEAN_SHUTDOWN, sentence, fields, ARRAY_SIZE(fields));
}

int main_process_end(void)
{
	uint64_t begun = now_usec();
	pid_t pid = main_pid();
	/* Open the pidfd before the checks: the signal then never reaches another process that gets this PID later. */
	CLEANUP(close_fd) int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;

	if (pid <= 0 || (pidfd < 0 && errno == ESRCH)) {
		log_detail("The unit has no main process: there is nothing to end.");
		return 0;
	}
	if (pidfd >= 0 && !is_of_this_unit(pid))
		return log_failure(-ESRCH, MESSAGE_FAILED,
				   "Could not end process %d ($MAINPID): the process does not belong to this unit. "
				   "After its clean shutdown, charon negotiates all tunnels anew.",
				   pid);

	int r = pidfd < 0 ? -errno : end_by(pidfd, END_SIGNAL, END_MSEC);
	bool killed = r == -ETIMEDOUT;
	if (killed)
		r = end_by(pidfd, SIGKILL, KILL_MSEC);
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not end the main process (PID %d) without a clean shutdown: %s%s. After its "
				   "clean shutdown, charon negotiates all tunnels anew.",
				   pid, strerror(-r), r == -EPERM ? " (CAP_KILL is needed; run as root)" : "");
	report_ended(pid, now_usec() - begun, killed);
	return 0;
}
