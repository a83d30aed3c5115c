/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Writes down, and forgets, what `restore` closes at the next boot. */

#include "xfrm/filter.h"
#include "xfrm/netlink.h"

/* Replaces the file by one with the shadows of all policies that are selected, and those that are there; of a service
 * (unless that is NULL) only while it runs undisturbed, since policies may be missing at other times. Reports what it
 * did, and what fails. Returns 0 or a negative errno. */
int boot_save(struct xfrm *xfrm, const struct filter *filter, const char *file, const char *service);

/* Whether the machine goes down and the file is there, so that what is closed is to stay so: 1 or 0. Reports what
 * fails, upon which nothing should be changed, and returns a negative errno. */
int boot_save_is_shutdown(const char *file);

/* To be called when the service that the file is of is stopped for good: who stops it opens what it protected, also for
 * the next boot. Unless the machine goes down, which nobody does for that, the file is removed, and 1 returned. 0 when
 * all is to stay as it is. Reports what fails; a negative errno when nothing should be changed.
 */
int boot_save_forget(const char *file);
