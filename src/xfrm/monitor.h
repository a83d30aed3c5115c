/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What changes in XFRM, as the kernel tells of it (XFRMNLGRP_SA and XFRMNLGRP_POLICY), in the network namespace that
 * the calling thread was in when monitor_open() was called. */

#include "xfrm/entry.h"

struct monitor;

int monitor_open(struct monitor **ret);

/* The same for policies alone, without those whose selector.user has the bits of `user` under `mask`: the kernel does
 * not queue these (socket(7), SO_ATTACH_FILTER), so that a program's own additions cannot overflow the socket. */
int monitor_open_policies(uint32_t user, uint32_t mask, struct monitor **ret);

void monitor_close(struct monitor **monitor);

/* For poll(2): POLLIN when there is something to read. */
int monitor_fd(const struct monitor *monitor);

/* Called for each SA and each policy that was added or updated. */
typedef void (*monitor_fn)(const struct entry *entry, void *userdata);

/* Reads all that is there, without waiting. -ENOBUFS when the kernel had to drop some: look at everything again. After
 * that, none are dropped without another -ENOBUFS. */
int monitor_read(struct monitor *monitor, monitor_fn fn, void *userdata);
