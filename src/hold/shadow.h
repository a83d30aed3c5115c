/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Shadows: policies that stand in for others, so that what those protected cannot leave, or come in, in plaintext while
 * the IKE daemon is away. Pure.
 *
 * The kernel stores a policy under its selector with all fields, `user` included, but compares `user` in no lookup
 * (xfrm_selector_match() in net/xfrm/xfrm_policy.c): a policy with a tag there matches the same packets as the policy
 * that it was made from, stands beside it, and can be told from any other. */

#include <stdbool.h>
#include <stdint.h>

#include "xfrm/counters.h"
#include "xfrm/entry.h"
#include "xfrm/filter.h"

/* The tags, in xfrm_selector.user. */
#define SHADOW_HOLD 0x58464d48U	    /* stays until it is released */
#define SHADOW_EXPIRING 0x58464d47U /* the kernel removes it when its time is up */
#define SHADOW_ADJACENT \
	0x58464d43U /* stands close behind its policy for now; flush --hold puts a SHADOW_HOLD in its place */

/* The tag of a kept shadow: a copy of a policy with its templates, in that policy's own place, which goes on sending
 * traffic through the SAs of an earlier life. All that looks at policies takes it for one, and it is no shadow to the
 * functions below; handover ends it. A guard SA (guard_sa.h) carries the tag too. */
#define KEPT_TAG 0x58464d4bU

/* Seconds after which the kernel removes a kept shadow: longer than a handover takes, and the most for which traffic
 * goes on through old SAs when no process ends that. */
#define KEPT_POLICY_SECONDS 300

/* Real policies at or above this priority leave no room for shadows behind them. */
#define SHADOW_PRIORITY 0x80000000U

/* Maximum number of different priorities that a survey distinguishes in each direction. */
#define SHADOW_PRIORITIES_MAX 128

/* What a survey found among the policies of one direction. */
struct shadow_direction {
	/* Some policy is not to be replaced; the highest priority of such policies. */
	bool stays;
	uint32_t last_stays;
	/* Some real policy lets traffic pass unprotected; the highest priority of such policies. */
	bool bypasses;
	uint32_t last_bypass;
	/* The direction has more than SHADOW_PRIORITIES_MAX different priorities; `at` has the first ones found. */
	bool many;
	size_t n;
	/* By priority, in ascending order. */
	struct {
		uint32_t priority;
		/* A real policy of this priority is not to be replaced. */
		bool stays;
		/* A policy, or the policy that a shadow was made from, lets traffic pass. */
		bool bypasses;
		/* A policy, or the policy that a shadow was made from, protects or blocks. */
		bool others;
		/* More has this priority than shadows that are to be replaced. */
		bool real;
	} at[SHADOW_PRIORITIES_MAX];
};

/* What was seen of the policies before shadows are made; zeroed to begin with. */
struct shadow_survey {
	uint64_t n_real;			 /* policies that are no shadows, */
	uint64_t n_hold, n_expiring, n_adjacent; /* and shadows that are there already, */
	uint64_t n_bypasses;			 /* so many of which let traffic pass */
	uint64_t n_kept;			 /* kept shadows */
	uint32_t newest; /* the index of the youngest real one that does not, but for its direction */
	bool high;	 /* a real policy has a priority of SHADOW_PRIORITY or above */
	bool incomplete; /* some policies may not have been seen */
	/* The counters at the time of the survey, for the shadows that are made of it. */
	struct xfrm_counters blocked;
	struct shadow_direction directions[XFRM_POLICY_MAX];
};

/* The tag of an entry, or 0 when it is no shadow. */
uint32_t shadow_tag(const struct entry *entry);

/* Whether this is a kept shadow. */
bool is_kept_policy(const struct entry *entry);

/* Makes the kept shadow of a policy: templates (which point to where the policy's do), action and priority are the
 * policy's. The kernel removes it after KEPT_POLICY_SECONDS. Of two policies of equal priority the kernel asks the
 * older one (xfrm_policy_insert_list()), and charon gives a policy the same priority each time, a trap a higher one:
 * what it installs later stands behind. */
void shadow_make_kept_policy(const struct entry *policy, struct entry *ret);

/* Makes a shadow that stands right behind its policy's place (SHADOW_ADJACENT), for where kept shadows stand in theirs:
 * otherwise those would come before the bypasses and blocks that decided before them. Else as shadow_make(). */
void shadow_make_adjacent(const struct entry *policy, const struct shadow_survey *survey, struct entry *ret);

/* Takes note of one policy; `filter` says which of them get a shadow. */
void shadow_survey_add(struct shadow_survey *survey, const struct filter *filter, const struct entry *policy);

/* Whether a shadow that lets traffic pass may be of an earlier life than a policy that does not: it was made before
 * that was installed. Indices grow (xfrm_gen_index() in net/xfrm/xfrm_policy.c). */
bool shadow_is_overtaken(const struct shadow_survey *survey, const struct entry *shadow);

/* How many shadows were seen. */
uint64_t shadow_count(const struct shadow_survey *survey);

/* Takes note that a policy of unknown priority is there, and stays. */
void shadow_survey_stays(struct shadow_survey *survey, uint8_t dir);

/* Makes the shadow of a policy, which may be a shadow of the other kind. It has the policy's selector, direction, type,
 * mark, interface, security context (which points to where the policy's does) and flags (icmp, localok), since these
 * say what it matches. It has no templates and no offload, and blocks where the policy had templates; else its action
 * is the policy's, so that bypasses and drops go on. Of the policy's lifetimes it has none: a shadow must outlive it.
 *
 * Its priority is behind that of every real policy, in the same order, by SHADOW_PRIORITY. Where that would let another
 * policy come in between (one that stays behind; one of a priority above SHADOW_PRIORITY) the shadow stands right
 * behind its policy. With `later`, when it is not we who remove the policy, it does so for the time being
 * (SHADOW_ADJACENT) if there is one behind it that lets traffic pass.
 *
 * The survey's counters are written into the limits of packets, which have no effect on a policy (xfrm_policy_timer()
 * looks at times only): so release finds it without a file. The shadow of a shadow keeps what that had. The limits of
 * bytes hold what the program has to know of a shadow itself. */
void shadow_make(const struct entry *policy, const struct shadow_survey *survey, bool later, struct entry *ret);

/* Whether the survey found a policy, or a shadow, that lets traffic pass. These have to be replaced first: while some
 * policies are replaced and others are not, a protected packet then never meets a bypass in place of its policy. A
 * packet that a bypass let pass may meet a policy that protects or blocks until all policies are replaced. */
bool shadow_survey_has_bypass(const struct shadow_survey *survey);

/* What a shadow was made from had this priority; kept in it, since its own does not always tell. Of a policy it is its
 * own. */
uint32_t shadow_original_priority(const struct entry *policy);
void shadow_set_original_priority(struct entry *shadow, uint32_t priority);

/* Turns a shadow into one that the kernel removes after this many seconds. `run` is kept in it, to know it again. */
void shadow_let_expire(struct entry *shadow, uint64_t seconds, uint64_t run);

/* Whether this shadow was made to expire by this run. */
bool shadow_is_of_run(const struct entry *entry, uint64_t run);

/* The counters at the time when a shadow was made, and another time to be written into it. */
struct xfrm_counters shadow_blocked_before(const struct entry *shadow);
void shadow_set_blocked(struct entry *shadow, const struct xfrm_counters *blocked);

/* Whether an entry lets traffic pass unprotected: no template, and no block. */
bool policy_is_bypass(const struct entry *policy);

/* Whether a shadow that is in the place of `wanted` will do. One that blocks is never to be replaced by one that lets
 * pass; one that expires has to be replaced to get a new time; a kept one has to have the same templates. */
bool shadow_suffices(const struct entry *present, const struct entry *wanted);

/* What a real policy that covers the shadow's traffic would be found by: the shadow's key without its tag. */
struct entry shadow_covering(const struct entry *shadow);

/* The key of the kept shadow that may stand in front of a shadow. */
struct entry shadow_kept_before(const struct entry *shadow);
