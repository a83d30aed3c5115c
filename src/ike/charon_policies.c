/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/charon_policies.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "ike/charon.h"

/* Size in bytes of a buffer for a traffic selector. */
#define TEXT_MAX 128

/* Traffic selectors of one side of a CHILD_SA. */
struct selectors {
	struct traffic_selector *list;
	size_t n, allocated;
};

/* Progress through an event list-sa or list-policy. */
struct reading {
	struct needed_policy *policies;
	size_t n;
	/* Number of sections around the keys of a CHILD_SA. */
	unsigned int depth;
	/* Number of IKE_SAs. */
	uint64_t n_ike_sas;
	/* The current CHILD_SA, trap or shunt. */
	struct selectors local, remote;
	struct needed_pair pair;
	bool has_policies;
};

/* Returns whether a CHILD_SA in this state has policies in the kernel (child_sa_state_t of strongSwan). */
static bool has_policies(struct vici_text state)
{
	return vici_is(state, "INSTALLED") || vici_is(state, "REKEYING") || vici_is(state, "UPDATING");
}

/* Adds a traffic selector. Ignores a text that is no traffic selector. Returns 0 or -ENOMEM. */
static int take_selector(struct selectors *selectors, struct vici_text text)
{
	struct traffic_selector selector;
	char buffer[TEXT_MAX];

	vici_copy(text, buffer, sizeof(buffer));
	return traffic_selector_parse(buffer, &selector) < 0 ? 0 : APPEND(selectors, selector);
}

static uint32_t hexadecimal(struct vici_text text)
{
	uint64_t number = 0;

	vici_number(text, 16, &number);
	return (uint32_t)number;
}

/* Reads an element of a CHILD_SA, trap or shunt. Returns 0 or -ENOMEM. */
static int take_element(struct reading *reading, const struct vici_item *item)
{
	if (item->element == VICI_LIST_ITEM && vici_is(item->name, "local-ts"))
		return take_selector(&reading->local, item->value);
	if (item->element == VICI_LIST_ITEM && vici_is(item->name, "remote-ts"))
		return take_selector(&reading->remote, item->value);
	if (item->element != VICI_KEY_VALUE)
		return 0;
	if (vici_is(item->name, "state"))
		reading->has_policies = has_policies(item->value);
	else if (vici_is(item->name, "if-id-in"))
		reading->pair.if_id_in = hexadecimal(item->value);
	else if (vici_is(item->name, "if-id-out"))
		reading->pair.if_id_out = hexadecimal(item->value);
	return 0;
}

/* Starts to read a CHILD_SA, trap or shunt. */
static void begin(struct reading *reading)
{
	const bool is_trap = reading->depth == 1;

	reading->local.n = reading->remote.n = 0;
	reading->pair = (struct needed_pair){.any_if_id = is_trap};
	reading->has_policies = is_trap;
}

/* Marks the policies of the CHILD_SA, trap or shunt that was read: charon has a policy for each pair of its traffic
 * selectors. */
static void end(struct reading *reading)
{
	for (size_t i = 0; reading->has_policies && i < reading->local.n; i++)
		for (size_t j = 0; j < reading->remote.n; j++) {
			reading->pair.local = reading->local.list[i];
			reading->pair.remote = reading->remote.list[j];
			needed_mark(reading->policies, reading->n, &reading->pair);
		}
}

/* Reads an event list-sa or list-policy:
 * IKE_SA { ..., child-sas { NAME-ID { state, if-id-in, ..., local-ts [ ... ], remote-ts [ ... ] } } }
 * NAME { ..., local-ts [ ... ], remote-ts [ ... ] } */
static int on_event(struct vici_reader *message, void *userdata)
{
	struct reading *reading = userdata;
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		reading->n_ike_sas += item.element == VICI_SECTION_START && item.depth == 0;
		if (item.element == VICI_SECTION_START && item.depth == reading->depth - 1)
			begin(reading);
		else if (item.element == VICI_SECTION_END && item.depth == reading->depth - 1)
			end(reading);
		else if (item.depth == reading->depth)
			r = take_element(reading, &item);
		if (r < 0)
			return r;
	}
	return r;
}

int charon_find_needed(struct vici *vici, uint64_t timeout, struct needed_policy *list, size_t n)
{
	uint8_t buffer[64];
	struct vici_writer kinds = {.buffer = buffer, .size = sizeof(buffer)};
	struct reading reading = {.policies = list, .n = n, .depth = 3};
	struct charon_stats stats;

	needed_sort(list, n);
	vici_put_value(&kinds, "trap", "yes");
	vici_put_value(&kinds, "drop", "yes");
	int r = vici_stream(vici, "list-sas", "list-sa", NULL, usec_add(now_usec(), timeout), on_event, NULL, &reading);
	uint64_t n_ike_sas = reading.n_ike_sas;
	reading.depth = 1;
	if (r == 0)
		r = vici_stream(vici, "list-policies", "list-policy", &kinds, usec_add(now_usec(), timeout), on_event,
				NULL, &reading);
	if (r == 0)
		r = charon_stats(vici, usec_add(now_usec(), timeout), &stats);
	if (r == 0 && n_ike_sas < stats.ike_sas)
		r = -EMSGSIZE;
	free(reading.local.list);
	free(reading.remote.list);
	return r;
}
