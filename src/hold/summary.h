/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a run removed, and how to say it. Pure. */

#include <linux/xfrm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xfrm/entry.h"

/* Long enough for every sentence that summary_sentence() writes. */
#define SUMMARY_SENTENCE_MAX 576

struct summary {
	uint64_t sas[UINT8_MAX + 1];	    /* removed, by protocol number */
	uint64_t policies[XFRM_POLICY_MAX]; /* removed, by direction */
	uint64_t shadows;		    /* hold the place of policies, or were made to expire */
	uint64_t carrying;		    /* kept shadows, through which traffic goes on */
	uint64_t routes;		    /* removed from charon's table */
	uint64_t backups;		    /* hold the place of routes */
	uint64_t failed;		    /* could not be removed, or got no shadow */
	uint64_t usec;			    /* how long it took */
};

/* What release has to say beside that. */
struct summary_release {
	uint64_t kept; /* shadows that stay; of these, some stand behind kept shadows, and stay for longer */
	uint64_t behind_kept, behind_kept_usec;
	uint64_t backups;    /* of routes, that stay */
	uint64_t grace_usec; /* for so long, or TIMESPAN_INFINITY */
	bool blocked_known;
	uint64_t blocked_out, blocked_in; /* packets that policies blocked since the shadows were made */
};

uint64_t summary_sas(const struct summary *summary);
uint64_t summary_policies(const struct summary *summary);

/* Adds one entry, or takes back one that was added. */
void summary_add(struct summary *summary, const struct entry *entry);
void summary_take_back(struct summary *summary, const struct entry *entry);

/* Each writes one sentence or two and returns `buffer`; `size` is not 0.
 * The first: what flush removed by protocol and direction and in how long, or with `dry_run` what it would; and how
 * many shadows hold the place of policies, and stand-ins that of routes. */
const char *summary_sentence(const struct summary *summary, bool dry_run, char *buffer, size_t size);
/* What arm did, */
const char *summary_of_arm(const struct summary *summary, char *buffer, size_t size);
/* and release, whose `summary` counts as removed the policies that it released and made to expire, the latter as
 * shadows too; its SAs are acquires. */
const char *summary_of_release(const struct summary *summary, const struct summary_release *release, char *buffer,
			       size_t size);

/* What save wrote down, where `failed` counts what it left out, */
const char *summary_of_save(const struct summary *summary, char *buffer, size_t size);
/* and what restore put in the place of that. */
const char *summary_of_restore(const struct summary *summary, char *buffer, size_t size);

/* How many shadows were released for good. */
uint64_t summary_released(const struct summary *summary);
