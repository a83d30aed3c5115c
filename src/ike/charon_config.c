/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/charon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Size in bytes of a buffer for the longest name, address or traffic selector that charon writes. */
#define TEXT_MAX 512

/* Progress through an event list-conn. */
struct reading {
	/* Receives the elements. */
	struct children *children;
	/* Whether the current section of the connection is `children`. */
	bool in_children;
};

/* Adds an element of a list of a connection. Returns 0 or a negative errno. */
static int take_connection_item(struct children *children, const struct vici_item *item, const char *text)
{
	if (vici_is(item->name, "local_addrs"))
		return children_add_address(children, CHILDREN_LOCAL, text);
	if (vici_is(item->name, "remote_addrs"))
		return children_add_address(children, CHILDREN_REMOTE, text);
	return 0;
}

/* Adds an element of a list of a child. Returns 0 or a negative errno. */
static int take_child_item(struct children *children, const struct vici_item *item, const char *text)
{
	if (vici_is(item->name, "local-ts"))
		return children_add_selector(children, CHILDREN_LOCAL, text);
	if (vici_is(item->name, "remote-ts"))
		return children_add_selector(children, CHILDREN_REMOTE, text);
	return 0;
}

/* Reads an element of an event list-conn:
 * NAME { local_addrs [ ... ], remote_addrs [ ... ], ...,
 *        children { NAME { local-ts [ ... ], remote-ts [ ... ] } } } */
static int take_item(struct reading *reading, const struct vici_item *item)
{
	char text[TEXT_MAX];

	vici_copy(item->element == VICI_SECTION_START ? item->name : item->value, text, sizeof(text));
	if (item->element == VICI_SECTION_START && item->depth == 0)
		return children_add_connection(reading->children, text);
	if (item->element == VICI_SECTION_START && item->depth == 1)
		reading->in_children = vici_is(item->name, "children");
	if (item->element == VICI_SECTION_START && item->depth == 2 && reading->in_children)
		return children_add(reading->children, text);
	if (item->element == VICI_KEY_VALUE && item->depth == 3 && reading->in_children && vici_is(item->name, "mode"))
		children_set_mode(reading->children, text);
	if (item->element == VICI_LIST_ITEM && item->depth == 1)
		return take_connection_item(reading->children, item, text);
	if (item->element == VICI_LIST_ITEM && item->depth == 3 && reading->in_children)
		return take_child_item(reading->children, item, text);
	return 0;
}

static int on_list_conn(struct vici_reader *message, void *userdata)
{
	struct reading reading = {.children = userdata};
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		/* A malformed message may have addresses before any connection, or traffic selectors before any child.
		 */
		if (item.depth && !reading.children->n_connections)
			return -EBADMSG;
		if (item.depth == 3 && reading.in_children && !reading.children->n)
			return -EBADMSG;
		r = take_item(&reading, &item);
		if (r < 0)
			return r;
	}
	return r;
}

/* Counts the connections in the answer to get-conns: conns [ NAME ... ] */
static int on_get_conns(struct vici_reader *message, void *userdata)
{
	size_t *n = userdata;
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0)
		*n += item.element == VICI_LIST_ITEM;
	return r;
}

/* Marks the connection in an event list-sa as busy: NAME { ... } */
static int on_busy(struct vici_reader *message, void *userdata)
{
	struct children *children = userdata;
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0)
		for (size_t i = 0; item.element == VICI_SECTION_START && item.depth == 0 && i < children->n_connections;
		     i++)
			children->connections[i].busy |= vici_is(item.name, children->connections[i].name);
	return r;
}

int charon_connections(struct vici *vici, uint64_t deadline, struct children *ret)
{
	size_t n = 0;

	*ret = (struct children){0};
	int r = vici_stream(vici, "list-conns", "list-conn", NULL, deadline, on_list_conn, NULL, ret);
	if (r == 0)
		r = vici_request(vici, "get-conns", NULL, deadline, on_get_conns, &n);
	if (r < 0)
		children_free(ret);
	ret->incomplete = ret->n_connections < n;
	return r;
}

int charon_children(struct vici *vici, uint64_t deadline, struct children *ret)
{
	int r = charon_connections(vici, deadline, ret);

	if (r == 0)
		r = vici_stream(vici, "list-sas", "list-sa", NULL, deadline, on_busy, NULL, ret);
	if (r < 0)
		children_free(ret);
	return r;
}

/* Reads the progress of a child from an event list-sa:
 * NAME { state, tasks-queued [ ... ], tasks-active [ ... ], child-sas { NAME-ID { name, ... } } } */
static int on_list_sa(struct vici_reader *message, void *userdata)
{
	struct charon_question *question = userdata;
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		bool coming = false;

		if (item.element == VICI_KEY_VALUE && item.depth == 3 && vici_is(item.name, "name") &&
		    vici_is(item.value, question->child))
			question->progress = CHARON_THERE;
		if (item.element == VICI_KEY_VALUE && item.depth == 1 && vici_is(item.name, "state"))
			coming = vici_is(item.value, "CREATED") || vici_is(item.value, "CONNECTING");
		if (item.element == VICI_LIST_ITEM && item.depth == 1)
			coming = vici_is(item.value, "CHILD_CREATE") || vici_is(item.value, "QUICK_MODE");
		if (coming && question->progress == CHARON_ABSENT)
			question->progress = CHARON_COMING;
	}
	return r;
}

int charon_ask_progress(struct vici *vici, struct charon_question *question, uint64_t deadline)
{
	struct vici_writer *arguments = &question->arguments;
	const struct vici_call call = {"list-sas", "list-sa", arguments, deadline, on_list_sa, NULL, question};

	question->progress = CHARON_ABSENT;
	*arguments = (struct vici_writer){.buffer = question->buffer, .size = sizeof(question->buffer)};
	vici_put_value(arguments, "ike", question->connection);
	return vici_start(vici, &call);
}

/* Reads the answer to `initiate`: success, errmsg */
static int on_answer(struct vici_reader *message, void *userdata)
{
	struct charon_question *question = userdata;
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		if (item.element != VICI_KEY_VALUE)
			continue;
		if (vici_is(item.name, "success"))
			question->accepted = vici_is(item.value, "yes");
		else if (vici_is(item.name, "errmsg"))
			vici_copy(item.value, question->why, sizeof(question->why));
	}
	return r;
}

int charon_ask_initiate(struct vici *vici, struct charon_question *question, uint64_t deadline)
{
	struct vici_writer *arguments = &question->arguments;
	const struct vici_call call = {"initiate", NULL, arguments, deadline, NULL, on_answer, question};

	question->accepted = false;
	*question->why = '\0';
	*arguments = (struct vici_writer){.buffer = question->buffer, .size = sizeof(question->buffer)};
	vici_put_value(arguments, "child", question->child);
	vici_put_value(arguments, "ike", question->connection);
	vici_put_value(arguments, "timeout", "-1");
	return vici_start(vici, &call);
}
