/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reports changes in XFRM as the kernel announces them (XFRMNLGRP_SA and XFRMNLGRP_POLICY). It works in the network
 * namespace in which the calling thread was when it called monitor_open(). */

#include "xfrm/parse.h"

struct monitor;

/* Opens a monitor of SAs and policies, which reports deletions of policies too. Returns 0 or a negative errno. */
int monitor_open(struct monitor **ret);

/* Opens a monitor of policies alone; with `deletions` it also reports which are deleted. It leaves out policies whose
 * selector.user has the bits of `user` under `mask`. The kernel does not queue events about them (socket(7),
 * SO_ATTACH_FILTER), so that a program's own additions cannot overflow the socket. Returns 0 or a negative errno. */
int monitor_open_policies(bool deletions, uint32_t user, uint32_t mask, struct monitor **ret);

/* Closes a monitor and erases the keys of SAs that it received. */
void monitor_close(struct monitor **monitor);

/* Returns a descriptor for poll(2), which reports POLLIN when there are events to read. */
int monitor_fd(const struct monitor *monitor);

/* Handles one SA or policy that was added or updated, or a deletion of policies (event_is_deletion()). */
typedef void (*monitor_fn)(const struct entry *entry, void *userdata);

/* Reads all queued events without waiting, and calls `fn` for each. Returns 0, -ENOBUFS when the kernel dropped events,
 * or another negative errno. After -ENOBUFS the caller must read all entries again; later losses cause another
 * -ENOBUFS. */
int monitor_read(struct monitor *monitor, monitor_fn fn, void *userdata);
