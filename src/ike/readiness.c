/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/readiness.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/proc.h"
#include "base/timespan.h"
#include "base/util.h"
#include "ike/vici.h"

/* A daemon that takes the connection and is silent is asked anew after this time, and each time after twice as much: it
 * may have lost the question, or answer slowly. */
#define ANSWER_USEC (2 * USEC_PER_SEC)

/* Between tries that no event tells apart. */
#define PAUSE_MIN_USEC (10 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC USEC_PER_SEC

/* That the folder itself is removed is told without being asked for (IN_IGNORED). */
#define EVENTS (IN_CREATE | IN_MOVED_TO | IN_MOVE_SELF)

/* Copies a path without its last part. */
static void copy_folder(const char *path, char folder[PATH_MAX])
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		snprintf(folder, PATH_MAX, ".");
	else
		snprintf(folder, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

/* Watches the folder of a file, or as long as there is no such folder, the one above it. 1 when something may have been
 * missed in the meantime. */
static int add_watch(int inotify, const char *file)
{
	char folder[PATH_MAX], missing[PATH_MAX] = "";

	copy_folder(file, folder);
	while (inotify_add_watch(inotify, folder, EVENTS | IN_ONLYDIR) < 0) {
		if (errno != ENOENT || strcmp(missing, folder) == 0)
			return -errno;
		memcpy(missing, folder, sizeof(missing));
		copy_folder(missing, folder);
	}
	return *missing && access(missing, F_OK) == 0;
}

/* An inotify descriptor that tells when something appears where a file is to be. Negative when there can be none, as
 * when the user has too many of them. */
static int watch_folder(const char *file)
{
	int fd, r;

	do {
		fd = inotify_init1(IN_CLOEXEC);
		r = fd < 0 ? -errno : add_watch(fd, file);
		if (r != 0)
			close_fd(&fd);
	} while (r > 0);
	return r < 0 ? r : fd;
}

static int ask(const struct readiness *readiness, uint64_t deadline, struct charon_version *ret)
{
	CLEANUP(vici_close) struct vici *vici = NULL;

	int r = vici_open(readiness->socket, deadline, &vici);
	if (r < 0)
		return r;
	/* A process of another PID namespace is 0 here. */
	pid_t peer = vici_peer(vici);
	if (readiness->process && peer && !proc_descends_from(peer, readiness->process))
		return -EADDRINUSE;
	return charon_version(vici, deadline, ret);
}

/* Whether another try can have another result. A daemon that does not know the command may be about to register it. */
static bool is_passing(int r)
{
	switch (r) {
	case -ENOENT:
	case -ENOTSOCK:
	case -ECONNREFUSED:
	case -ETIMEDOUT:
	case -ECONNRESET:
	case -EBADMSG:
	case -EOPNOTSUPP:
	case -EADDRINUSE:
		return true;
	default:
		return false;
	}
}

/* Waits until there is an event (1), until a time (0), or for the end of the process (-ECHILD). */
static int wait_event(int events, int pidfd, uint64_t until)
{
	struct pollfd fds[] = {{.fd = events, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
	uint64_t now = now_usec(), left = until > now ? until - now : 0;
	const struct timespec timeout = timespec_of(left);

	if (ppoll(fds, ARRAY_SIZE(fds), until == UINT64_MAX ? NULL : &timeout, NULL) < 0)
		return errno == EINTR ? 1 : -errno;
	return fds[1].revents ? -ECHILD : fds[0].revents ? 1 : 0;
}

int readiness_answer(const struct readiness *readiness, struct readiness_answer *ret)
{
	uint64_t begun = now_usec(), deadline = usec_add(begun, readiness->timeout_usec);
	uint64_t answer = ANSWER_USEC, pause = PAUSE_MIN_USEC;
	int r, event = 0;

	do {
		/* Before the try: what happens from then on is an event. */
		CLEANUP(close_fd) int events = watch_folder(readiness->socket);
		uint64_t until = usec_add(now_usec(), answer);

		r = ask(readiness, readiness->timeout_usec ? usec_min(until, deadline) : until, &ret->version);
		if (!is_passing(r))
			break;

		/* A socket that appears is an event. But listen(), which comes a moment after bind(), is none, nor is
		 * that a daemon has found its tongue. */
		bool tells = events >= 0 && (r == -ENOENT || r == -ENOTSOCK);
		event = wait_event(events, readiness->pidfd,
				   tells ? deadline : usec_min(usec_add(now_usec(), pause), deadline));
		pause = event > 0 ? PAUSE_MIN_USEC : usec_min(2 * pause, PAUSE_MAX_USEC);
		if (r == -ETIMEDOUT)
			answer = usec_add(answer, answer);
	} while (event >= 0 && now_usec() < deadline);
	ret->usec = now_usec() - begun;
	return event < 0 ? event : r;
}
