/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What changes in XFRM, as the kernel tells of it (XFRMNLGRP_SA and XFRMNLGRP_POLICY), in the network namespace that
 * the calling thread was in when events_open() was called. */

#include "xfrm/entry.h"

struct events;

int events_open(struct events **ret);

/* The same for policies alone, without those whose selector.user has the bits of `user` under `mask`: the kernel does
 * not queue these (socket(7), SO_ATTACH_FILTER), so that a program's own additions cannot overflow the socket. */
int events_open_policies(uint32_t user, uint32_t mask, struct events **ret);

void events_close(struct events **events);

/* For poll(2): POLLIN when there is something to read. */
int events_fd(const struct events *events);

/* Called for each SA and each policy that was added or updated. */
typedef void (*events_fn)(const struct entry *entry, void *userdata);

/* Reads all that is there, without waiting. -ENOBUFS when the kernel had to drop some: look at everything again. After
 * that, none are dropped without another -ENOBUFS. */
int events_read(struct events *events, events_fn fn, void *userdata);
