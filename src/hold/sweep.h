/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Sweeps. A sweep consists of passes over all entries of the kernel, and changes some of these in batches. It repeats
 * the pass until it has seen every entry. flush, arm and release use sweeps. */

#include "base/log.h"
#include "hold/shadow.h"
#include "hold/summary.h"
#include "xfrm/netlink.h"

struct sweep;

/* A function that is called for each entry of a sweep. It calls sweep_remove() or sweep_exchange() if the entry has to
 * change. Returns 0, or a negative errno that ends the sweep. */
typedef int (*sweep_fn)(struct sweep *sweep, const struct entry *entry);

/* The settings of a verb for its sweeps. They do not change. */
struct sweep_config {
	/* Words for messages: "Could not remove policy …", "3 more could not be removed". */
	const char *infinitive, *participle;
	/* The verb removes no entries, so each pass sees and counts all of them again. */
	bool only_adds;
	/* The verb replaces shadows by other shadows, and does not count these. */
	bool renews;
};

/* The state of one pass over the entries of a kind. */
struct sweep_pass {
	sweep_fn fn;
	/* An earlier pass has counted the changes, but lost the kernel's refusals. Do not count them again. */
	bool counted;
	/* Another pass is necessary. */
	bool again;
	/* Numbers of entries that were to be changed, that were gone already, and that another SA hides. */
	uint64_t n_changed, n_gone, n_hidden;
	/* Messages about entries that the kernel refused to change. */
	struct log_list refused;
};

struct sweep {
	struct xfrm *xfrm;
	struct sweep_config config;
	struct shadow_survey survey;
	/* The result of all sweeps. */
	struct summary summary;
	/* The current or the last pass. */
	struct sweep_pass pass;
	/* Shadows may exist already, so look for one before each addition. */
	bool ask_first;
	/* Number of entries seen in all passes. */
	uint64_t n_visited;
};

/* Surveys all policies for shadow_make(), and reads the counters of blocked packets. Changes nothing. If the list of
 * policies is incomplete after all attempts, the survey assumes that some policy stays in each direction, because that
 * is safe. Reports a failure. Returns 0 or a negative errno. */
int sweep_survey(struct xfrm *xfrm, const struct filter *filter, struct shadow_survey *ret);

/* Surveys all policies as sweep_survey() does, and removes stale bypass shadows. Such a shadow has no real policy any
 * more, and there are younger policies that protect or block. A shadow of an earlier run must not decide on traffic
 * that these protect. Reports failures. Returns 0 or a negative errno. */
int sweep_prepare(struct sweep *sweep, const struct filter *filter);

/* Calls `fn` for all entries of a kind. Repeats this, up to a maximum number of passes, if the list was incomplete or
 * if entries have to be seen again. Reports failures. Returns 0 even if the kernel refused some changes, which
 * summary.failed counts, or a negative errno. */
int sweep_run(struct sweep *sweep, enum entry_kind kind, sweep_fn fn);

/* Makes sure, between passes, that a shadow exists, and counts it if it did not. Reports a refusal. Returns 0, -EAGAIN
 * if another pass is necessary, or another negative errno. */
int sweep_add(struct sweep *sweep, const struct entry *shadow);

/* Adopts the shadow with the key of `shadow` that an earlier run may have left: changes it to `shadow`, unless it
 * suffices. Returns 0, -ENOENT if there is no such shadow, or another negative errno. */
int sweep_adopt(struct xfrm *xfrm, const struct entry *shadow);

/* Returns 1 if a real policy covers the traffic of a shadow by now (shadow_covering()), 0 if not, or a negative errno.
 */
int sweep_is_covered(struct xfrm *xfrm, const struct entry *shadow);

/* Reports after all sweeps how many entries failed beyond those that were named. */
void sweep_report_unnamed(const struct sweep *sweep);

/* Counts the shadows and the kept policies anew for `summary`, if the count of shadows may be wrong or if `kept` is
 * true. Returns 0 or a negative errno. */
int sweep_count_shadows(struct sweep *sweep, const struct filter *filter, bool kept);

/* Removes an entry; for a sweep_fn. Returns 0 or a negative errno. */
int sweep_remove(struct sweep *sweep, const struct entry *entry);

/* Makes sure that a shadow exists, then removes `old` unless it is NULL; for a sweep_fn. Returns 0 or a negative errno.
 */
int sweep_exchange(struct sweep *sweep, const struct entry *shadow, const struct entry *old);
