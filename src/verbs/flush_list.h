/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The list that `flush --dry-run` prints. */

#include <stdbool.h>

#include "hold/summary.h"
#include "ike/vici.h"
#include "verbs/flush.h"

struct flush_list {
	const struct flush_options *options;
	struct xfrm *xfrm;
	struct vici *vici; /* client of the charon whose routes stay; NULL: no routes stay */
	bool routes;	   /* list the routes of the table options->routes too */
	/* Returns whether an entry would be removed. */
	bool (*goes)(const struct entry *entry, const void *userdata);
	const void *userdata;	/* argument of goes() */
	struct summary summary; /* numbers of listed entries and routes */
};

/* Prints the entries and routes that would be removed, as text or as JSON. Returns 0, or a negative errno, which it
 * reports. */
int flush_list(struct flush_list *list);
