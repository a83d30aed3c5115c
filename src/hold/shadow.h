/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Shadows. A shadow replaces another policy, so that the traffic of that policy is not sent or accepted in plaintext
 * while the IKE daemon is away. Pure.
 *
 * The kernel stores the selector of a policy with all its fields, including `user`, but compares `user` in no lookup
 * (xfrm_selector_match() in net/xfrm/xfrm_policy.c). A copy of a policy with a tag in `user` therefore matches the same
 * packets as that policy, and may exist beside it. By the tag xfrmctl recognizes its own policies.
 *
 * The kernel tries policies in ascending order of their priorities. A policy with a higher number stands "behind" one
 * with a lower number. */

#include <stdbool.h>
#include <stdint.h>

#include "xfrm/counters.h"
#include "xfrm/entry.h"
#include "xfrm/filter.h"

/* The tags of shadows, in xfrm_selector.user. */

/* A shadow that stays until it is released. */
#define SHADOW_HOLD 0x58464d48U
/* A shadow that the kernel removes when its time is over. */
#define SHADOW_EXPIRING 0x58464d47U
/* A shadow right behind its policy. flush --hold replaces it by a SHADOW_HOLD. */
#define SHADOW_ADJACENT 0x58464d43U

/* The tag of a kept policy: a copy of a policy with its templates and its priority. Through it, traffic still uses the
 * SAs of a previous instance. It is no shadow for the functions below, but a policy like others. handover removes it. A
 * guard SA (guard_sa.h) has this tag too. */
#define KEPT_TAG 0x58464d4bU

/* Lifetime of a kept policy, in seconds, after which the kernel removes it. It is longer than a handover takes. It is
 * also the maximum time for which traffic uses old SAs if no process removes the kept policy before. */
#define KEPT_POLICY_SECONDS 300

/* Lowest priority of the shadows behind all real policies. A real policy with this priority or a higher number leaves
 * no room for them. */
#define SHADOW_PRIORITY 0x80000000U

/* Maximum number of different priorities that a survey distinguishes in each direction. */
#define SHADOW_PRIORITIES_MAX 128

/* The findings of a survey about the policies of one direction. */
struct shadow_direction {
	/* At least one policy will not be replaced. */
	bool stays;
	/* The priority of the last policy that will not be replaced. */
	uint32_t last_stays;
	/* At least one real policy is a bypass. */
	bool bypasses;
	/* The priority of the last real bypass. */
	uint32_t last_bypass;
	/* There are more than SHADOW_PRIORITIES_MAX different priorities. `at` has the first ones found. */
	bool many;
	size_t n;
	/* The priorities, in ascending order. A shadow counts with the priority of the policy that it was made from. An
	 * expiring or adjacent shadow also counts with its own priority. */
	struct {
		uint32_t priority;
		/* A real policy that will not be replaced counts here. */
		bool stays;
		/* A bypass counts here, or the shadow of one. */
		bool bypasses;
		/* A policy that protects or blocks counts here, or the shadow of one. */
		bool others;
		/* A real policy counts here, or a shadow with the priority of its policy. False if only shadows that
		 * will be replaced count here. */
		bool real;
	} at[SHADOW_PRIORITIES_MAX];
};

/* The findings of a survey of all policies, taken before shadows are made. Must be zeroed before use. */
struct shadow_survey {
	/* Number of policies that are no shadows. Kept policies are included. */
	uint64_t n_real;
	/* Numbers of shadows, by tag. */
	uint64_t n_hold, n_expiring, n_adjacent;
	/* Number of shadows that are bypasses. */
	uint64_t n_bypasses;
	/* Number of kept policies. */
	uint64_t n_kept;
	/* Index, without the direction, of the youngest real policy that is no bypass. */
	uint32_t newest;
	/* A real policy has a priority of SHADOW_PRIORITY or higher. */
	bool high;
	/* The survey may have missed policies. */
	bool incomplete;
	/* The kernel's counters at the time of the survey, which the shadows will contain. */
	struct xfrm_counters blocked;
	struct shadow_direction directions[XFRM_POLICY_MAX];
};

/* Returns the tag of a shadow, or 0 if an entry is no shadow. */
uint32_t shadow_tag(const struct entry *entry);

/* Returns whether an entry is a kept policy. */
bool is_kept_policy(const struct entry *entry);

/* Makes the kept policy of a policy. It has the policy's action, priority and templates; `templates` points to those of
 * the policy. The kernel removes it after KEPT_POLICY_SECONDS.
 *
 * Of two policies with equal priority the kernel finds the older one (xfrm_policy_insert_list()). charon gives a policy
 * the same priority each time, and a trap a higher one. So a policy that charon installs later stands behind the kept
 * policy. */
void shadow_make_kept_policy(const struct entry *policy, struct entry *ret);

/* Makes a shadow right behind the place of its policy (SHADOW_ADJACENT). It is needed while kept policies remain in
 * their places. Before the flush, a kept policy may have stood behind a bypass or a discard. It would match their
 * traffic first if their shadows stood behind all policies. Otherwise as shadow_make(). */
void shadow_make_adjacent(const struct entry *policy, const struct shadow_survey *survey, struct entry *ret);

/* Adds one policy to a survey. `filter` selects the policies that will be replaced by shadows. */
void shadow_survey_add(struct shadow_survey *survey, const struct filter *filter, const struct entry *policy);

/* Returns whether a bypass shadow is older than a real policy that protects or blocks, and so may be stale. A younger
 * policy has a greater index (xfrm_gen_index() in net/xfrm/xfrm_policy.c). */
bool shadow_is_overtaken(const struct shadow_survey *survey, const struct entry *shadow);

/* Returns the number of shadows that a survey has found. */
uint64_t shadow_count(const struct shadow_survey *survey);

/* Notes in a survey that a policy of unknown priority exists, and will not be replaced. */
void shadow_survey_stays(struct shadow_survey *survey, uint8_t dir);

/* Makes the shadow of a policy, which may itself be a shadow with another tag.
 *
 * The shadow has to match the same packets as the policy. It therefore has the policy's selector, direction, ptype,
 * mark, if_id, flags (icmp, localok) and security context (`security` points to the policy's). It has no templates and
 * no offload. It blocks if the policy has templates. Otherwise it has the policy's action, so that bypasses and
 * discards remain in effect. It has no lifetime, because it must outlive the policy.
 *
 * Shadows stand behind all real policies (SHADOW_PRIORITY), in the order of their policies. In two cases a shadow
 * stands right behind its policy instead. Either another policy would stand in between: one that is not replaced, or
 * one with a priority of SHADOW_PRIORITY or higher. Or `later` is true, because the caller does not remove the policy,
 * and a bypass stands behind the policy. The shadow then stands there for the time being (SHADOW_ADJACENT).
 *
 * The limits of a shadow's lifetime can contain data, because xfrm_policy_timer() evaluates only the times. The limits
 * of packets are the survey's counters, so that release needs no file to find them. A shadow made from a shadow
 * inherits that shadow's counters. The limits of bytes are the policy's priority and the run that lets the shadow
 * expire. */
void shadow_make(const struct entry *policy, const struct shadow_survey *survey, bool later, struct entry *ret);

/* Returns whether a survey has found a bypass, either real or a shadow. The caller replaces bypasses first. While only
 * some policies are replaced, a protected packet then never matches a bypass instead of its policy. A packet of a
 * bypass may match a policy that protects or blocks until all policies are replaced. */
bool shadow_survey_has_bypass(const struct shadow_survey *survey);

/* Returns the priority of the policy that a shadow was made from. The shadow contains it, because its own priority does
 * not always determine it. Returns a policy's own priority if the policy is no shadow. */
uint32_t shadow_original_priority(const struct entry *policy);

/* Writes the priority of the policy into its shadow. */
void shadow_set_original_priority(struct entry *shadow, uint32_t priority);

/* Turns a shadow into an expiring shadow, which the kernel removes after `seconds`. Writes `run` into it, for
 * shadow_is_of_run(). */
void shadow_let_expire(struct entry *shadow, uint64_t seconds, uint64_t run);

/* Returns whether an entry is an expiring shadow that shadow_let_expire() made with this `run`. */
bool shadow_is_of_run(const struct entry *entry, uint64_t run);

/* Returns the kernel's counters at the time when a shadow was made. */
struct xfrm_counters shadow_blocked_before(const struct entry *shadow);

/* Writes counters into a shadow. */
void shadow_set_blocked(struct entry *shadow, const struct xfrm_counters *blocked);

/* Returns whether a policy is a bypass: it has no templates, and its action is to allow. */
bool policy_is_bypass(const struct entry *policy);

/* Returns whether an existing shadow or kept policy suffices in place of `wanted`, which has the same key. It must have
 * the same action and priority. A shadow that blocks always suffices in place of a bypass. If `wanted` is an expiring
 * shadow, no existing one suffices, because `wanted` has a new time. A kept policy must also have the same templates.
 */
bool shadow_suffices(const struct entry *present, const struct entry *wanted);

/* Returns the key of a real policy that covers the traffic of a shadow: the shadow's key without the tag. */
struct entry shadow_covering(const struct entry *shadow);

/* Returns the key of the kept policy that may stand before a shadow. */
struct entry shadow_kept_before(const struct entry *shadow);
