/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "starter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pidfd.h"
#include "process.h"
#include "util.h"

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
	pid_t starter = 0, charon = 0;

	return starter_read_pid(STARTER_FILE, &starter) == 0 && (!main_pid || starter == main_pid) &&
	       starter_read_pid(STARTER_CHARON_FILE, &charon) == 0 && takes_all_signals(starter);
}

int starter_wait(uint64_t timeout_usec, uint64_t *ret_usec)
{
	const char *text = getenv("MAINPID");
	pid_t main_pid = text ? (pid_t)strtol(text, NULL, 10) : 0;
	CLEANUP(close_fd) int fd = main_pid ? pidfd_open(main_pid, 0) : -1;
	struct pollfd end = {.fd = fd, .events = POLLIN};
	uint64_t begun = now_usec();

	*ret_usec = 0;
	if (main_pid && fd < 0)
		return errno == ESRCH ? -ECHILD : -errno;
	while (!has_loaded(main_pid)) {
		*ret_usec = now_usec() - begun;
		if (*ret_usec >= timeout_usec)
			return -ETIMEDOUT;
		if (poll(&end, 1, PAUSE_MSEC) < 0 && errno != EINTR)
			return -errno;
		if (end.revents)
			return -ECHILD;
	}
	*ret_usec = now_usec() - begun;
	return 0;
}
