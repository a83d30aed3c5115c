/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a run removed, and how to say it. Pure. */

#include <linux/xfrm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "entry.h"

/* Long enough for every sentence that summary_sentence() writes. */
#define SUMMARY_SENTENCE_MAX 256

struct summary {
	uint64_t sas[UINT8_MAX + 1];	    /* removed, by protocol number */
	uint64_t policies[XFRM_POLICY_MAX]; /* removed, by direction */
	uint64_t failed;		    /* could not be removed */
	uint64_t usec;			    /* how long it took */
};

uint64_t summary_sas(const struct summary *summary);
uint64_t summary_policies(const struct summary *summary);

/* Adds one entry, or takes back one that was added. */
void summary_add(struct summary *summary, const struct entry *entry);
void summary_take_back(struct summary *summary, const struct entry *entry);

/* Writes one sentence: what was removed by protocol and direction and in how long, or with `dry_run` what would be.
 * Returns `buffer`; `size` is not 0. */
const char *summary_sentence(const struct summary *summary, bool dry_run, char *buffer, size_t size);
