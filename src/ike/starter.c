/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-login.h>

#include "base/log.h"
#include "base/pidfd.h"
#include "base/proc.h"
#include "base/util.h"

/* Interval between two checks, in milliseconds. starter gives no readiness signal, so poll it. */
#define PAUSE_MSEC 50

/* Time in milliseconds in which starter has to end after its charon. A starter that has stopped its charon ends within
 * milliseconds. A starter whose charon has ended by itself waits 5 s before it starts another one. */
#define STARTER_END_MSEC 2000

int starter_read_pid(const char *file, pid_t *ret)
{
	CLEANUP(close_fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
	char text[32];

	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return proc_parse_pid(text, ret);
}

/* Returns whether a process blocks no signal (proc(5), SigBlk). */
static bool takes_all_signals(pid_t pid)
{
	char path[64], line[256];
	uint64_t blocked;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	CLEANUP(close_file) FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (proc_parse_blocked(line, &blocked) == 0)
			return !blocked;
	return false;
}

/* Returns whether starter has given charon all connections. starter writes its PID file, blocks SIGTERM and other
 * signals, starts charon, and waits for charon's PID file. Then it gives charon one connection after the other; charon
 * acknowledges each when it has installed its trap policies. starter unblocks the signals (pselect(2)) only when it has
 * no work left. */
static bool has_loaded(pid_t main_pid)
{
	pid_t starter = 0;

	return starter_read_pid(STARTER_FILE, &starter) == 0 && (!main_pid || starter == main_pid) &&
	       takes_all_signals(starter);
}

/* Opens the process of charon's PID file. Returns a pidfd, or -1 if there is no such process yet. The file may still be
 * that of a charon that was killed before. */
static int open_charon(void)
{
	pid_t pid;

	return starter_read_pid(STARTER_CHARON_FILE, &pid) == 0 ? pidfd_open(pid, 0) : -1;
}

int starter_wait(uint64_t timeout_usec, uint64_t *ret_usec)
{
	const char *text = getenv("MAINPID");
	pid_t main_pid = text ? (pid_t)strtol(text, NULL, 10) : 0;
	CLEANUP(close_fd) int starter = main_pid ? pidfd_open(main_pid, 0) : -1;
	CLEANUP(close_fd) int charon = -1;
	uint64_t begun = now_usec();

	*ret_usec = 0;
	if (main_pid && starter < 0)
		return errno == ESRCH ? -ECHILD : -errno;
	for (;;) {
		if (charon < 0)
			charon = open_charon();
		/* Check this before poll(2): starter also unblocks the signals when charon has ended, and poll(2) then
		 * reports that end. */
		bool is_loaded = charon >= 0 && has_loaded(main_pid);
		*ret_usec = now_usec() - begun;
		bool is_late = *ret_usec >= timeout_usec;
		struct pollfd ends[] = {{.fd = starter, .events = POLLIN}, {.fd = charon, .events = POLLIN}};
		if (poll(ends, ARRAY_SIZE(ends), is_loaded || is_late ? 0 : PAUSE_MSEC) < 0 && errno != EINTR)
			return -errno;
		if (ends[0].revents)
			return -ECHILD;
		if (ends[1].revents)
			return -ESRCH;
		if (is_loaded || is_late)
			return is_loaded ? 0 : -ETIMEDOUT;
	}
}

/* Opens the process of a PID file. Returns a pidfd, -ESRCH if the file or the process does not exist, or another
 * negative errno. Reports all errors except -ESRCH. */
static int open_process(const char *file, pid_t *ret_pid)
{
	int fd = -1;

	int r = starter_read_pid(file, ret_pid);
	if (r == 0) {
		fd = pidfd_open(*ret_pid, 0);
		r = fd < 0 ? -errno : 0;
	}
	if (r == -ENOENT || r == -ESRCH)
		return -ESRCH;
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED, "Could not open the process that %s names: %s.", file,
				   r == -EBADMSG ? "the file does not begin with a process ID" : strerror(-r));
	return fd;
}

/* Waits until starter or charon has ended, or for `msec` milliseconds (-1: without a limit). charon's pidfd may be
 * negative; poll(2) ignores it then. Returns 1 if starter has ended, 0 if not, or a negative errno. */
static int wait_for_end(int starter, int charon, int msec)
{
	struct pollfd ends[] = {{.fd = starter, .events = POLLIN}, {.fd = charon, .events = POLLIN}};

	while (poll(ends, ARRAY_SIZE(ends), msec) < 0)
		if (errno != EINTR)
			return log_failure(-errno, MESSAGE_FAILED, "Could not wait for the end of a process: %s.",
					   strerror(errno));
	return ends[0].revents != 0;
}

/* Waits until charon has ended, and gives starter time to end as well. Returns 1 if starter has ended, 0 if not, or a
 * negative errno. */
static int wait_for_charon(int starter)
{
	CLEANUP(close_fd) int charon = -1;
	pid_t pid;

	charon = open_process(STARTER_CHARON_FILE, &pid);
	/* charon has crashed already, or starter is about to start it. */
	if (charon == -ESRCH) {
		int r = wait_for_end(starter, -1, STARTER_END_MSEC);
		if (r != 0)
			return r;
		charon = open_process(STARTER_CHARON_FILE, &pid);
		if (charon == -ESRCH)
			return 0;
	}
	if (charon < 0)
		return charon;
	int r = wait_for_end(starter, charon, -1);
	return r == 0 ? wait_for_end(starter, -1, STARTER_END_MSEC) : r;
}

int starter_watch(void)
{
	CLEANUP(free_text) char *unit = NULL;
	CLEANUP(close_fd) int starter = -1;
	pid_t pid;

	starter = open_process(STARTER_FILE, &pid);
	if (starter == -ESRCH)
		return log_failure(-ESRCH, MESSAGE_FAILED,
				   "Could not watch starter: no process runs with the PID in " STARTER_FILE
				   ". Run this command only beside strongSwan's starter.");
	if (starter < 0)
		return starter;
	if (sd_pid_get_unit(pid, &unit) >= 0)
		log_about_unit(unit);
	int r = wait_for_charon(starter);
	if (r != 0)
		return r;
	log_notice(MESSAGE_STARTER,
		   "charon has ended, and starter (PID %d) would start a new charon beside the old SAs and policies. "
		   "Killing starter, so that systemd restarts the service.",
		   pid);
	if (pidfd_send_signal(starter, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return log_failure(-errno, MESSAGE_FAILED, "Could not kill starter (PID %d): %s.", pid,
				   strerror(errno));
	return 0;
}
