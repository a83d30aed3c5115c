/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Writes and removes the file of the traffic that `restore` blocks at the next boot (boot_file.h). */

#include "xfrm/filter.h"
#include "xfrm/netlink.h"

/* Replaces the file by one with the shadows of all selected policies and the shadows that exist already. With
 * `service`, leaves the file as it is unless that service runs and is not about to change, because otherwise its
 * policies may be incomplete. Reports the result and each failure. Returns 0 or a negative errno. */
int boot_save(struct xfrm *xfrm, const struct filter *filter, const char *file, const char *service);

/* Returns 1 if the machine shuts down and the file exists, so that blocked traffic has to stay blocked, otherwise 0.
 * Reports a failure and returns a negative errno; the caller must not change anything then. */
int boot_save_is_shutdown(const char *file);

/* Removes the file after its service was stopped for good, unless the machine shuts down. An operator who stops the
 * service unblocks its traffic, also for the next boot. A shutdown stops the service too, but must not unblock traffic.
 * Reports failures. Returns 1 even if the file could not be removed, or 0 if the machine shuts down and all shadows
 * must stay. A negative errno means that the caller must not change anything. */
int boot_save_forget(const char *file);
