/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Goes through the kernel's entries and changes them one by one, in batches, until each was seen: what flush, arm and
 * release have in common. */

#include "base/log.h"
#include "hold/shadow.h"
#include "hold/summary.h"
#include "xfrm/netlink.h"

struct sweep;

/* Called for each entry of a sweep; calls the functions below, or nothing. */
typedef int (*sweep_fn)(struct sweep *sweep, const struct entry *entry);

/* What a verb wants of its sweeps. It stays as it is. */
struct sweep_config {
	/* For sentences: "Could not remove policy …", "3 more could not be removed". */
	const char *infinitive, *participle;
	bool only_adds; /* nothing is removed: each pass sees and counts everything once more */
	bool renews;	/* a shadow that is replaced by another is not worth counting */
};

/* The state of one pass over the entries of a kind. */
struct sweep_pass {
	sweep_fn fn;
	bool counted; /* a pass before has counted what comes up, and lost its refusals */
	bool again;   /* something has to be done in another pass */
	uint64_t n_changed, n_gone, n_hidden;
	struct log_list refused;
};

struct sweep {
	struct xfrm *xfrm;
	struct sweep_config config;
	struct shadow_survey survey;
	struct summary summary; /* the result */
	struct sweep_pass pass; /* the one under way */
	bool ask_first;		/* shadows may be in the way: look before one is added */
	uint64_t n_visited;	/* in all passes */
};

/* Looks at all policies, changing nothing, for what shadow_make() has to know, and at the counters of blocked packets.
 * Where a part of the list is lost each time, the survey says what is safe. Reports what fails. */
int sweep_survey(struct xfrm *xfrm, const struct filter *filter, struct shadow_survey *ret);

/* sweep_survey(), and removes shadows that let traffic pass for which there is no real policy any more, if there are
 * younger policies that do not: a shadow of a previous instance must not decide on what these protect. Reports what
 * fails. */
int sweep_prepare(struct sweep *sweep, const struct filter *filter);

/* Passes over all entries of a kind, again when something was missed or has come to light, a limited number of times.
 * Reports what could not be done. Returns 0 also when some entries were refused: summary.failed says how many. */
int sweep_run(struct sweep *sweep, enum entry_kind kind, sweep_fn fn);

/* Makes sure that a shadow is there, between passes. Counts it if it was not. Reports a refusal. Returns 0, or -EAGAIN
 * when another pass has to look. */
int sweep_add(struct sweep *sweep, const struct entry *shadow);

/* A shadow of a previous instance may be in the way: makes it as `shadow` is, unless it suffices. Returns -ENOENT when
 * none is there. */
int sweep_adopt(struct xfrm *xfrm, const struct entry *shadow);

/* Whether a real policy protects by now what a shadow covers: 1 or 0, or a negative errno. */
int sweep_is_covered(struct xfrm *xfrm, const struct entry *shadow);

/* To be called when all is done: reports how many there were beyond those that were named. */
void sweep_report_unnamed(const struct sweep *sweep);

/* Makes summary.shadows the number of shadows that hold a place if it may not be that already; with `kept` also
 * summary.carrying that of kept shadows. */
int sweep_count_shadows(struct sweep *sweep, const struct filter *filter, bool kept);

/* For a sweep_fn: removes an entry, */
int sweep_remove(struct sweep *sweep, const struct entry *entry);
/* or makes sure that a shadow is there and then removes `old`, which may be NULL. */
int sweep_exchange(struct sweep *sweep, const struct entry *shadow, const struct entry *old);
