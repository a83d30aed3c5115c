/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The numbers of a run, and sentences about them. Pure. */

#include <linux/xfrm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xfrm/entry.h"

/* Size of a buffer that holds any sentence of the functions below, in bytes. */
#define SUMMARY_SENTENCE_MAX 576

struct summary {
	uint64_t sas[UINT8_MAX + 1];	    /* removed SAs, by protocol number */
	uint64_t policies[XFRM_POLICY_MAX]; /* removed policies, by direction */
	uint64_t shadows;		    /* shadows that are in place of policies, or that were made to expire */
	uint64_t kept;			    /* kept policies */
	uint64_t routes;		    /* routes removed from charon's table */
	uint64_t backups;		    /* backup routes in place of routes */
	uint64_t failed;		    /* entries that could not be removed, or got no shadow */
	uint64_t usec;			    /* duration of the run, in microseconds */
};

/* Further numbers of release. */
struct summary_release {
	/* Number of shadows that stay, those behind kept policies included. */
	uint64_t kept;
	/* Number of shadows behind kept policies, and the longest time for which these stay, in microseconds. */
	uint64_t behind_kept, behind_kept_usec;
	/* Number of backup routes that stay. */
	uint64_t backups;
	/* Time for which the other shadows stay, in microseconds; or TIMESPAN_INFINITY. */
	uint64_t grace_usec;
	/* `blocked_out` and `blocked_in` are valid. */
	bool blocked_known;
	/* Packets that policies have blocked since the shadows were made. */
	uint64_t blocked_out, blocked_in;
};

/* Returns the number of SAs of all protocols. */
uint64_t summary_sas(const struct summary *summary);

/* Returns the number of policies of all directions. */
uint64_t summary_policies(const struct summary *summary);

/* Counts one entry. */
void summary_add(struct summary *summary, const struct entry *entry);

/* Takes back the count of one entry. */
void summary_take_back(struct summary *summary, const struct entry *entry);

/* The functions below write one or two sentences into `buffer` and return it. `size` is not 0. */

/* Writes how many entries flush has removed, by protocol and direction, and in which time. With `dry_run`, writes how
 * many it would remove. Then writes how many shadows and backup routes are in place of policies and routes. */
const char *summary_sentence(const struct summary *summary, bool dry_run, char *buffer, size_t size);

/* Writes how many policies got a shadow from arm. */
const char *summary_of_arm(const struct summary *summary, char *buffer, size_t size);

/* Writes how many shadows release has released. In `summary`, `policies` counts the shadows that were removed or made
 * to expire, `shadows` only the latter, and `sas` the removed acquires. */
const char *summary_of_release(const struct summary *summary, const struct summary_release *release, char *buffer,
			       size_t size);

/* Writes how many policies save has saved. `summary.failed` is the number of those that it left out. */
const char *summary_of_save(const struct summary *summary, char *buffer, size_t size);

/* Writes how many policies of the file got a shadow from restore. */
const char *summary_of_restore(const struct summary *summary, char *buffer, size_t size);

/* Returns how many shadows release has removed for good. */
uint64_t summary_released(const struct summary *summary);
