/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-login.h>

#include "base/log.h"
#include "base/pidfd.h"
#include "base/util.h"
#include "ike/starter.h"

/* A starter that stops its charon ends within milliseconds; otherwise it waits 5 s before it starts another one. */
#define PATIENCE_MSEC 2000

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
		return report_failure(r, REPORT_FAILED, "Could not find the process of %s: %s.", file,
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
			return report_failure(-errno, REPORT_FAILED, "Could not wait for the end of a process: %s.",
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
		int r = wait_for_end(starter, -1, PATIENCE_MSEC);
		if (r != 0)
			return r;
		charon = open_process(STARTER_CHARON_FILE, &pid);
		if (charon == -ESRCH)
			return 0;
	}
	if (charon < 0)
		return charon;
	int r = wait_for_end(starter, charon, -1);
	return r == 0 ? wait_for_end(starter, -1, PATIENCE_MSEC) : r;
}

int starter_watch(void)
{
	CLEANUP(free_text) char *unit = NULL;
	CLEANUP(close_fd) int starter = -1;
	pid_t pid;

	starter = open_process(STARTER_FILE, &pid);
	if (starter == -ESRCH)
		return report_failure(-ESRCH, REPORT_FAILED,
				      "No process as in " STARTER_FILE ": strongSwan's starter does not run, and only "
				      "a charon that it has started needs this.");
	if (starter < 0)
		return starter;
	if (sd_pid_get_unit(pid, &unit) >= 0)
		report_about(unit);
	int r = wait_for_charon(starter);
	if (r != 0)
		return r;
	report_notice(REPORT_STARTER,
		      "charon has ended, and starter (process %d) would start another one on the SAs and policies that "
		      "it left; killing starter, so that systemd starts the whole service again.",
		      pid);
	if (pidfd_send_signal(starter, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return report_failure(-errno, REPORT_FAILED, "Could not kill starter (process %d): %s.", pid,
				      strerror(errno));
	return 0;
}
