/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/policy_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* Initial number of places. */
#define PLACES_MIN 256

/* Adds bytes to a hash (FNV-1a). */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static size_t hash_key(const struct policy_record *key)
{
	uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), &key->sel, sizeof(key->sel));

	hash = hash_bytes(hash, &key->mark, sizeof(key->mark));
	hash = hash_bytes(hash, &key->if_id, sizeof(key->if_id));
	hash = hash_bytes(hash, &key->dir, sizeof(key->dir));
	hash = hash_bytes(hash, &key->ptype, sizeof(key->ptype));
	/* The low bits of the product depend on few bits of the key. */
	return (size_t)(hash ^ hash >> 32);
}

static bool is_same(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

/* Returns whether two records have the same key. As the kernel does, compares all bytes of the selectors, padding
 * included (xfrm_policy_bysel_ctx()). */
static bool is_same_key(const struct policy_record *a, const struct policy_record *b)
{
	return is_same(&a->sel, &b->sel, sizeof(a->sel)) && is_same(&a->mark, &b->mark, sizeof(a->mark)) &&
	       a->if_id == b->if_id && a->dir == b->dir && a->ptype == b->ptype;
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

/* Returns the place of the record with this key, or the free place where it would be. The table has free places. */
static size_t find_place(const struct policy_table *table, const struct policy_record *key)
{
	size_t place = hash_key(key) & (table->n_places - 1);

	while (table->places[place] && !is_same_key(&table->list[table->places[place] - 1], key))
		place = (place + 1) & (table->n_places - 1);
	return place;
}

struct policy_record *policy_table_find(const struct policy_table *table, const struct entry *policy)
{
	const struct policy_record key = record_of(policy);

	if (!table->n_places)
		return NULL;
	uint32_t number = table->places[find_place(table, &key)];
	return number ? &table->list[number - 1] : NULL;
}

/* Makes sure that at most half of the places are taken after one more addition. Returns 0 or -ENOMEM. */
static int make_room(struct policy_table *table)
{
	if (table->n_places && (table->n + 1) * 2 <= table->n_places)
		return 0;
	size_t n_places = table->n_places ? table->n_places * 2 : PLACES_MIN;
	uint32_t *places = calloc(n_places, sizeof(*places));
	if (!places)
		return -ENOMEM;
	free(table->places);
	table->places = places;
	table->n_places = n_places;
	for (size_t i = 0; i < table->n; i++)
		places[find_place(table, &table->list[i])] = (uint32_t)i + 1;
	return 0;
}

struct policy_record *policy_table_put(struct policy_table *table, const struct entry *policy)
{
	struct policy_record new = record_of(policy), *old = policy_table_find(table, policy);

	if (old) {
		new.seen = old->seen;
		new.state = old->state;
		new.shadow = old->shadow;
		*old = new;
		return old;
	}
	if (make_room(table) < 0 || APPEND(table, new) < 0)
		return NULL;
	table->places[find_place(table, &new)] = (uint32_t)table->n;
	return &table->list[table->n - 1];
}

/* Frees a place. Moves later records forward, so that no free place is between the place of a record's hash and the
 * record. */
static void free_place(struct policy_table *table, size_t hole)
{
	const size_t mask = table->n_places - 1;

	for (size_t place = (hole + 1) & mask; table->places[place]; place = (place + 1) & mask) {
		size_t wanted = hash_key(&table->list[table->places[place] - 1]) & mask;
		/* The record may move if the hole is between the place of its hash and its own place. */
		if (((place - wanted) & mask) < ((place - hole) & mask))
			continue;
		table->places[hole] = table->places[place];
		hole = place;
	}
	table->places[hole] = 0;
}

void policy_table_remove(struct policy_table *table, struct policy_record *record)
{
	const struct policy_record *last = &table->list[table->n - 1];

	free_place(table, find_place(table, record));
	if (record != last) {
		table->places[find_place(table, last)] = (uint32_t)(record - table->list) + 1;
		*record = *last;
	}
	table->n--;
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
	free(table->list);
	free(table->places);
	*table = (struct policy_table){0};
}
