/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Selects the SAs and policies that stay in use while the IKE daemon is away (`flush --keep`). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hold/shadow.h"
#include "xfrm/filter.h"
#include "xfrm/netlink.h"

/* Maximum time for which a kept SA exists after the flush, in seconds. Before that, the kernel removes the kept
 * policies that use the SA (KEPT_POLICY_SECONDS). It removes the guard SA later (GUARD_SA_SECONDS). */
#define KEEP_SA_SECONDS (KEPT_POLICY_SECONDS + 30)

/* An SA that a template of an outbound policy names. */
struct keep_sa {
	uint8_t proto;
	uint32_t spi; /* network byte order */
	uint32_t reqid;
	bool live; /* the kernel has the SA, and a guard SA if the SA needs one */
};

/* The SAs that may stay in use. Must be zeroed before use. Memory: about 20 bytes for each template that names an SA.
 */
struct keep {
	/* The SAs that policies name. keep_find() sorts them. */
	struct keep_sa *list;
	size_t n, allocated;
	/* The reqids of the live SAs, sorted. */
	uint32_t *reqids;
	size_t n_reqids;
};

/* Finds the SAs that stay in use: those that the selected outbound policies name and that the kernel has. Adds a guard
 * SA for each ESP and AH SA, so that no later policy finds the SA by its reqid alone. Limits the lifetime of each SA.
 * An SA is not kept if the kernel refuses the guard SA or the limit. With `dry_run`, changes nothing. Returns 0 or a
 * negative errno. */
int keep_find(struct keep *keep, struct xfrm *xfrm, const struct filter *filter, bool dry_run);

/* Returns whether a policy stays in use. An outbound policy stays if all the SAs that its templates name are live. Any
 * other policy stays if each of its templates has the reqid of a live SA. */
bool keep_has_policy(const struct keep *keep, const struct entry *policy);

/* Returns whether an SA stays in use: it has the reqid of a live SA, and is not larval. */
bool keep_has_sa(const struct keep *keep, const struct entry *sa);

/* Limits the lifetime of a kept SA to KEEP_SA_SECONDS, unless it is a guard SA or keep_find() has limited it. `sa` must
 * come from a dump that has not ended. Returns 0, or a negative errno if the SA must not stay. */
int keep_limit_sa(const struct keep *keep, struct xfrm *xfrm, const struct entry *sa);

void keep_free(struct keep *keep);
