/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pidfd.h"
#include "base/proc.h"
#include "base/util.h"

/* Nothing tells that starter is through: it has to be looked at again and again. */
#define PAUSE_MSEC 50

int starter_read_pid(const char *file, pid_t *ret)
{
	CLEANUP(close_fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
	char text[32];

	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return process_parse_pid(text, ret);
}

/* Whether a process blocks no signal (proc(5), SigBlk). */
static bool takes_all_signals(pid_t pid)
{
	char path[64], line[256];
	uint64_t blocked;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	CLEANUP(close_file) FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (process_parse_blocked(line, &blocked) == 0)
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
