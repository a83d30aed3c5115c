/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/watch_load.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <syslog.h>

#include "base/log.h"
#include "base/pidfd.h"
#include "base/unit.h"
#include "base/util.h"

/* Maximum size of a process's name in /proc/PID/comm, with its newline, in bytes (proc(5)). */
#define NAME_SIZE 32

static void report_kill(const char *unit, pid_t main_pid, pid_t pid)
{
	const struct log_field fields[] = {{"XFRM_DAEMON_PID", (uint64_t)main_pid}};
	char path[64], name[NAME_SIZE], sentence[512];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (read_text(path, name, sizeof(name)) < 0)
		snprintf(name, sizeof(name), "a command");
	name[strcspn(name, "\n")] = '\0';
	snprintf(sentence, sizeof(sentence),
		 "The main process (PID %d) of %.64s has ended, but systemd waits for %s (PID %d) of ExecStartPost=. "
		 "Killing %s, so that Restart= takes effect at once.",
		 main_pid, unit, name, pid, name);
	log_figures(LOG_NOTICE, MESSAGE_LOST_AT_LOAD, sentence, fields, ARRAY_SIZE(fields));
}

/* Kills the command of ExecStartPost= whose PID systemd gave. Does not use systemd's KillUnit: that kills the command
 * that runs by then, which may be one of ExecStopPost=. Uses SIGKILL, because systemd treats an end by SIGTERM as
 * success (EXIT_CLEAN_DAEMON) and would run the next command, the release. Returns 0 or a negative errno. */
static int kill_command(struct unit_watch *watch, const char *unit, const struct unit_start *seen)
{
	CLEANUP(close_fd) int pidfd = pidfd_open(seen->post_start_pid, 0);
	struct unit_start now;

	if (pidfd < 0)
		return errno == ESRCH ? 0 : -errno;
	/* If systemd still gives this PID, the pidfd refers to that command, and not to a process that got the PID
	 * later. */
	int r = unit_watch_read(watch, &now);
	if (r < 0 || now.post_start_pid != seen->post_start_pid)
		return r;
	report_kill(unit, now.ended_main_pid, now.post_start_pid);
	return pidfd_send_signal(pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH ? -errno : 0;
}

int watch_load(const char *unit)
{
	CLEANUP(unit_watch_close) struct unit_watch *watch = NULL;
	struct unit_start start = {0};
	pid_t killed = 0;

	int r = unit_watch_open(unit, &watch);
	while (r >= 0) {
		r = unit_watch_read(watch, &start);
		if (r >= 0 && start.is_over)
			return 0;
		if (r >= 0 && start.post_start_pid && start.post_start_pid != killed) {
			r = kill_command(watch, unit, &start);
			killed = start.post_start_pid;
		}
		if (r >= 0)
			r = unit_watch_wait(watch);
	}
	return log_failure(r, MESSAGE_FAILED,
			   "Could not watch the start of %.64s: %s. If the main process ends before the end of the "
			   "start, the restart waits for TimeoutStartSec=.",
			   unit, strerror(-r));
}
