/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Moves the calling thread into a network namespace: a name as `ip netns` knows it (a file in /run/netns), or, with a
 * slash in it, the path of a namespace file such as /proc/1234/ns/net. Returns 0 or a negative errno: -ENOENT when
 * there is no such namespace, -EINVAL when the file is not a network namespace or the name is overlong, -EPERM without
 * CAP_SYS_ADMIN. */
int netns_enter(const char *name);

/* Whether a process works in another network namespace than the calling thread; false also when that cannot be seen. */
bool netns_is_elsewhere(pid_t pid);
