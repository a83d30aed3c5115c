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

/* Time for the first answer, in microseconds. When it passes, the client asks again and allows twice as much: the
 * daemon may have lost the question, or may answer slowly. */
#define ANSWER_USEC (2 * USEC_PER_SEC)

/* Minimum and maximum pause between tries, in microseconds, where no event announces that another try can succeed. */
#define PAUSE_MIN_USEC (10 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC USEC_PER_SEC

/* inotify events of a folder. The kernel reports the removal of the folder itself in any case (IN_IGNORED). */
#define EVENTS (IN_CREATE | IN_MOVED_TO | IN_MOVE_SELF)

/* Copies a path without its last component. */
static void copy_folder(const char *path, char folder[PATH_MAX])
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		snprintf(folder, PATH_MAX, ".");
	else
		snprintf(folder, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

/* Watches the folder of a file, or the nearest folder above it that exists. Returns 0, or 1 if a missing folder has
 * appeared meanwhile, so that an event may have been missed. Otherwise returns a negative errno. */
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

/* Opens an inotify descriptor that reports when something appears at a path, or at a missing folder on the way to it.
 * Returns the descriptor, or a negative errno, for example if the user has too many inotify descriptors. */
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

/* Asks the daemon once. Returns 0 or a negative errno. */
static int ask(const struct readiness *readiness, uint64_t deadline, struct charon_version *ret)
{
	CLEANUP(vici_close) struct vici *vici = NULL;

	int r = vici_open(readiness->socket, deadline, &vici);
	if (r < 0)
		return r;
	/* The PID of a process in another PID namespace is 0 here. */
	pid_t peer = vici_peer(vici);
	if (readiness->process && peer && !proc_descends_from(peer, readiness->process))
		return -EADDRINUSE;
	return charon_version(vici, deadline, ret);
}

/* Returns whether another try can have a different result. A daemon that does not know the command may be about to
 * register it (-EOPNOTSUPP). */
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

/* Waits for an event, for the end of the process, or until `until`. Returns 1 for an event or a signal, -ECHILD for the
 * end of the process, 0 if the time is over, or another negative errno. */
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
		/* Watch before the try, so that each later change causes an event. */
		CLEANUP(close_fd) int events = watch_folder(readiness->socket);
		uint64_t until = usec_add(now_usec(), answer);

		r = ask(readiness, readiness->timeout_usec ? usec_min(until, deadline) : until, &ret->version);
		if (!is_passing(r))
			break;

		/* The appearance of a socket is an event. listen(), which follows bind() a moment later, causes no
		 * event, nor does a daemon that starts to answer. */
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
