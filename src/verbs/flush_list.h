/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What `flush --dry-run` shows. */

#include <stdbool.h>

#include "hold/summary.h"
#include "ike/vici.h"
#include "verbs/flush.h"

struct flush_list {
	const struct flush_options *options;
	struct xfrm *xfrm;
	struct vici *vici; /* the charon whose routes stay, or NULL */
	bool routes;	   /* the routes of options->routes are listed, too */
	/* Whether an entry would go. */
	bool (*goes)(const struct entry *entry, const void *userdata);
	const void *userdata;
	struct summary summary; /* what was listed */
};

/* Writes to standard output what would go, as text or as JSON. Reports what fails and returns 0 or a negative errno. */
int flush_list(struct flush_list *list);
