/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A table of policies, by the key under which the kernel finds them. It has what a shadow needs of each policy, so that
 * a policy can get its shadow after the kernel has lost it. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xfrm/entry.h"

/* A policy of the table. */
struct policy_record {
	/* The key. */
	struct xfrm_selector sel;
	struct xfrm_mark mark;
	uint32_t if_id;
	uint8_t dir, ptype;
	/* The rest of the policy. */
	uint8_t action, flags, share;
	bool has_templates;
	uint32_t priority, index;
	/* Index in policy_table.list. */
	size_t number;
	/* For the caller: all bits are 0 in a new record. */
	uint32_t seen;
	uint8_t state;
	bool shadow;
};

/* The table is empty when all bytes are 0. Memory: about 200 bytes for each policy. */
struct policy_table {
	/* All records, in no order. */
	struct policy_pointer {
		struct policy_record *to;
	} * list;
	size_t n, allocated;
	/* The records by their keys (tsearch(3)). */
	void *tree;
};

/* Returns the record of the policy with the key of `policy`, or NULL. It is valid until it is removed. */
struct policy_record *policy_table_find(const struct policy_table *table, const struct entry *policy);

/* Adds a policy to the table, or updates its record; leaves `seen`, `state` and `shadow` of a record alone. Returns the
 * record, which is valid until it is removed, or NULL when memory is short. */
struct policy_record *policy_table_put(struct policy_table *table, const struct entry *policy);

/* Removes a record from the table. The last record of the list takes its place in the list. */
void policy_table_remove(struct policy_table *table, struct policy_record *record);

/* Returns the policy of a record. Its number of templates is 1 if the policy had templates, otherwise 0. The templates
 * themselves are absent. */
struct entry policy_record_entry(const struct policy_record *record);

void policy_table_free(struct policy_table *table);
