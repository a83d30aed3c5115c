/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Moves the calling thread into a network namespace. `name` is a name of `ip netns` (a file in /run/netns). If it
 * contains a slash, it is the path of a namespace file, such as /proc/1234/ns/net. Returns 0 or a negative errno.
 * -ENOENT: the namespace does not exist. -EINVAL: the file is not a network namespace, or the name is empty or too
 * long. -EPERM: the caller lacks CAP_SYS_ADMIN. */
int netns_enter(const char *name);

/* Returns whether a process works in another network namespace than the calling thread, and false when /proc does not
 * show that. */
bool netns_is_elsewhere(pid_t pid);
