/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "routes/explain.h"

#include <errno.h>

#include "ike/charon.h"

/* Size in bytes of a buffer for a traffic selector or an address. */
#define SELECTOR_MAX 128

void explanation_free(struct explanation *explanation)
{
	route_targets_free(&explanation->targets);
	route_targets_free(&explanation->addresses);
}

/* Adds the remote traffic selectors and the virtual addresses that one message has at any depth. */
static int collect(struct vici_reader *message, void *userdata)
{
	struct explanation *explanation = userdata;
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		char text[SELECTOR_MAX];

		if (item.element != VICI_LIST_ITEM)
			continue;
		if (vici_is(item.name, "remote-ts"))
			r = route_targets_add(&explanation->targets, vici_copy(item.value, text, sizeof(text)));
		else if (vici_is(item.name, "local-vips"))
			r = route_targets_add(&explanation->addresses, vici_copy(item.value, text, sizeof(text)));
		/* A selector that cannot be parsed might explain any route, so fail. */
		if (r < 0)
			return r == -EINVAL ? -EBADMSG : r;
	}
	return r;
}

int explanation_ask(struct vici *vici, uint64_t deadline, struct explanation *ret)
{
	*ret = (struct explanation){0};
	int r = vici_stream(vici, "list-conns", "list-conn", NULL, deadline, collect, NULL, ret);
	if (r == 0)
		r = charon_policies(vici, deadline, true, collect, ret);
	if (r == 0)
		r = vici_stream(vici, "list-sas", "list-sa", NULL, deadline, collect, NULL, ret);
	route_targets_sort(&ret->targets);
	return r;
}
