/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"

int netns_enter(const char *name)
{
	char path[PATH_MAX];

	const char *folder = strchr(name, '/') ? "" : "/run/netns/";
	if (!*name || snprintf(path, sizeof(path), "%s%s", folder, name) >= (int)sizeof(path))
		return -EINVAL;

	CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

bool netns_is_elsewhere(pid_t pid)
{
	struct stat here, there;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return pid && stat("/proc/thread-self/ns/net", &here) == 0 && stat(path, &there) == 0 &&
	       (here.st_ino != there.st_ino || here.st_dev != there.st_dev);
}
