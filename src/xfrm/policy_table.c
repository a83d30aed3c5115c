/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/policy_table.h"

#include <stdlib.h>
#include <string.h>

/* For hsearch(3), <search.h> defines another struct entry. */
#define entry hsearch_entry
#include <search.h>
#undef entry

#include "base/util.h"

/* Compares records by their keys. As the kernel does, compares all bytes of the selectors, padding included
 * (xfrm_policy_bysel_ctx()). */
static int compare_keys(const void *a, const void *b)
{
	const struct policy_record *left = a, *right = b;
	const void *left_selector = &left->sel, *right_selector = &right->sel;
	int r = memcmp(left_selector, right_selector, sizeof(left->sel));

	if (r == 0)
		r = memcmp(&left->mark, &right->mark, sizeof(left->mark));
	if (r == 0)
		r = compare_u32(left->if_id, right->if_id);
	return r ? r : compare_u32(left->dir << 8 | left->ptype, right->dir << 8 | right->ptype);
}

static struct policy_record record_of(const struct entry *policy)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;

	return (struct policy_record){
		.sel = info->sel,
		.mark = policy->mark,
		.if_id = policy->if_id,
		.dir = info->dir,
		.ptype = policy->policy.ptype,
		.action = info->action,
		.flags = info->flags,
		.share = info->share,
		.has_templates = policy->policy.n_templates != 0,
		.priority = info->priority,
		.index = info->index,
	};
}

struct policy_record *policy_table_find(const struct policy_table *table, const struct entry *policy)
{
	const struct policy_record key = record_of(policy);
	struct policy_record *const *found = tfind(&key, &table->tree, compare_keys);

	return found ? *found : NULL;
}

/* Adds a record. Returns the copy in the table, or NULL when memory is short. */
static struct policy_record *add_record(struct policy_table *table, const struct policy_record *record)
{
	struct policy_record *added = malloc(sizeof(*added));

	if (!added)
		return NULL;
	*added = *record;
	added->number = table->n;
	if (APPEND(table, (struct policy_pointer){added}) < 0) {
		free(added);
		return NULL;
	}
	if (!tsearch(added, &table->tree, compare_keys)) {
		table->n--;
		free(added);
		return NULL;
	}
	return added;
}

struct policy_record *policy_table_put(struct policy_table *table, const struct entry *policy)
{
	struct policy_record new = record_of(policy), *old = policy_table_find(table, policy);

	if (!old)
		return add_record(table, &new);
	new.number = old->number;
	new.seen = old->seen;
	new.state = old->state;
	new.shadow = old->shadow;
	*old = new;
	return old;
}

void policy_table_remove(struct policy_table *table, struct policy_record *record)
{
	struct policy_record *last = table->list[--table->n].to;

	tdelete(record, &table->tree, compare_keys);
	last->number = record->number;
	table->list[last->number].to = last;
	free(record);
}

struct entry policy_record_entry(const struct policy_record *record)
{
	return (struct entry){
		.kind = ENTRY_POLICY,
		.mark = record->mark,
		.if_id = record->if_id,
		.policy =
			{
				.info =
					{
						.sel = record->sel,
						.priority = record->priority,
						.index = record->index,
						.dir = record->dir,
						.action = record->action,
						.flags = record->flags,
						.share = record->share,
					},
				.ptype = record->ptype,
				.n_templates = record->has_templates,
			},
	};
}

void policy_table_free(struct policy_table *table)
{
	while (table->n)
		policy_table_remove(table, table->list[table->n - 1].to);
	free(table->list);
	*table = (struct policy_table){0};
}
