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

/* starter gives no readiness signal, so poll it. */
#define PAUSE_MSEC 50

/* A starter that stops its charon ends within milliseconds; otherwise it waits 5 s before it starts another one. */
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

/* Whether a process blocks no signal (proc(5), SigBlk). */
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

/* starter writes its file, blocks SIGTERM and others, starts charon, waits for charon's file, and hands over one
 * connection after the other, each of which charon acknowledges when it has installed its trap policies. Only then,
 * when there is nothing left to do, does it let signals in (pselect(2)). */
static bool has_loaded(pid_t main_pid)
{
	pid_t starter = 0;

	return starter_read_pid(STARTER_FILE, &starter) == 0 && (!main_pid || starter == main_pid) &&
	       takes_all_signals(starter);
}

/* Opens the process in charon's file: a pidfd, or -1 if there is none yet. The file may still be that of a charon that
 * was killed before. */
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
		/* Before poll(2): starter takes all signals, too, when charon has ended. */
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

/* Opens the process whose id is in a file: a pidfd, -ESRCH when there is no such file or process, or another negative
 * errno; reports what is not -ESRCH. */
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
		return log_failure(r, MESSAGE_FAILED, "Could not find the process of %s: %s.", file,
				   r == -EBADMSG ? "it does not begin with a process id" : strerror(-r));
	return fd;
}

/* Waits until starter has ended, or charon, whose pidfd may be negative (poll(2) leaves that out). Returns 1 when it is
 * starter, 0 when it is not, or a negative errno. */
static int wait_for_end(int starter, int charon, int msec)
{
	struct pollfd ends[] = {{.fd = starter, .events = POLLIN}, {.fd = charon, .events = POLLIN}};

	while (poll(ends, ARRAY_SIZE(ends), msec) < 0)
		if (errno != EINTR)
			return log_failure(-errno, MESSAGE_FAILED, "Could not wait for the end of a process: %s.",
					   strerror(errno));
	return ends[0].revents != 0;
}

/* Waits for the end of charon; 1 when starter has ended too, or first. */
static int wait_for_charon(int starter)
{
	CLEANUP(close_fd) int charon = -1;
	pid_t pid;

	charon = open_process(STARTER_CHARON_FILE, &pid);
	/* It has crashed already, or is about to be started. */
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
				   "No process as in " STARTER_FILE ": strongSwan's starter does not run, and only "
				   "a charon that it has started needs this.");
	if (starter < 0)
		return starter;
	if (sd_pid_get_unit(pid, &unit) >= 0)
		log_about_unit(unit);
	int r = wait_for_charon(starter);
	if (r != 0)
		return r;
	log_notice(MESSAGE_STARTER,
		   "charon has ended, and starter (process %d) would start another one on the SAs and policies that "
		   "it left; killing starter, so that systemd starts the whole service again.",
		   pid);
	if (pidfd_send_signal(starter, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return log_failure(-errno, MESSAGE_FAILED, "Could not kill starter (process %d): %s.", pid,
				   strerror(errno));
	return 0;
}
