/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which SAs and policies go on carrying traffic while the IKE daemon is away (`flush --keep`). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hold/shadow.h"
#include "xfrm/filter.h"
#include "xfrm/netlink.h"

/* Seconds for which an SA that stays is there at most, from the flush on. Its kept shadows have ended before, and its
 * stopper stays longer (GUARD_SA_SECONDS). */
#define KEEP_SA_SECONDS (KEPT_POLICY_SECONDS + 30)

/* An SA that an outbound policy names. */
struct keep_sa {
	uint8_t proto;
	uint32_t spi; /* network byte order */
	uint32_t reqid;
	bool live; /* it is there, and behind a stopper if it needs one */
};

/* Zeroed to begin with. Memory: 16 bytes for each SA that is named. */
struct keep {
	struct keep_sa *list; /* by keep_find(): sorted */
	size_t n, allocated;
	uint32_t *reqids; /* of those that are live; sorted */
	size_t n_reqids;
};

/* Takes note of the SAs that the selected outbound policies name, looks whether they are there, and adds a stopper for
 * each that carries traffic, so that no policy that comes later sends anything through it by its reqid alone. SAs whose
 * stopper the kernel refuses are not kept. With `dry_run` nothing is added. Returns 0 or a negative errno. */
int keep_find(struct keep *keep, struct xfrm *xfrm, const struct filter *filter, bool dry_run);

/* Whether a policy goes on: an outbound one when all the SAs that its templates name are live; the others when their
 * templates have the reqid of one that is. */
bool keep_has_policy(const struct keep *keep, const struct entry *policy);

/* Whether an SA stays: it has the reqid of one that is live, and is not larval. */
bool keep_has_sa(const struct keep *keep, const struct entry *sa);

/* Has the kernel remove an SA that stays after KEEP_SA_SECONDS, as keep_find() did with those that policies name.
 * `sa` is of a dump under way. Returns 0 or a negative errno, upon which the SA must not stay. */
int keep_limit_sa(const struct keep *keep, struct xfrm *xfrm, const struct entry *sa);

void keep_free(struct keep *keep);
