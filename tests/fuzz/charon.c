/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks the functions of charon.h with any message of charon, as an answer to any command and as an event. Results
 * must be complete. This file replaces the functions of vici.h: each call receives the input as its events, then as its
 * answer. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/util.h"
#include "fuzz.h"
#include "ike/charon.h"
#include "routes/explain.h"

/* Number of events before an answer. */
#define EVENTS 2

struct vici {
	const uint8_t *data;   /* the input */
	size_t size;	       /* size of the input, in bytes */
	struct vici_call call; /* the call that vici_start() has started */
};

int vici_request(struct vici *vici, const char *command, const struct vici_writer *arguments, uint64_t deadline,
		 vici_message_fn fn, void *userdata)
{
	struct vici_reader reader;

	(void)deadline;
	CHECK(*command && (!arguments || arguments->length <= arguments->size));
	vici_read(&reader, vici->data, vici->size);
	int r = fn ? fn(&reader, userdata) : 0;
	return r < 0 ? r : 0;
}

int vici_stream(struct vici *vici, const char *command, const char *event, const struct vici_writer *arguments,
		uint64_t deadline, vici_message_fn on_event, vici_message_fn fn, void *userdata)
{
	int r = 0;

	CHECK(*event);
	for (unsigned int i = 0; r == 0 && i < EVENTS; i++)
		r = vici_request(vici, command, arguments, deadline, on_event, userdata);
	return r < 0 ? r : vici_request(vici, command, arguments, deadline, fn, userdata);
}

int vici_start(struct vici *vici, const struct vici_call *call)
{
	vici->call = *call;
	return 0;
}

int vici_continue(struct vici *vici)
{
	const struct vici_call *call = &vici->call;

	return call->event
		       ? vici_stream(vici, call->command, call->event, call->arguments, call->deadline, call->on_event,
				     call->fn, call->userdata)
		       : vici_request(vici, call->command, call->arguments, call->deadline, call->fn, call->userdata);
}

/* Checks that a result is one of those that are documented. Returns whether the call succeeded. */
static bool is_through(int r)
{
	CHECK(r == 0 || r == -EBADMSG || r == -EINVAL);
	return r == 0;
}

/* Checks that a text ends within its buffer. Returns true. */
static bool is_plain(const char *text, size_t size)
{
	CHECK(strnlen(text, size) < size);
	return true;
}

static void check_answers(struct vici *vici)
{
	struct charon_version version;
	struct charon_stats stats;
	struct charon_question question = {.connection = "ike", .child = "child"};

	if (is_through(charon_version(vici, 0, &version)))
		CHECK(is_plain(version.daemon, sizeof(version.daemon)) &&
		      is_plain(version.version, sizeof(version.version)));
	if (is_through(charon_stats(vici, 0, &stats)))
		CHECK(is_plain(stats.uptime, sizeof(stats.uptime)) && is_plain(stats.since, sizeof(stats.since)));
	CHECK(charon_ask_initiate(vici, &question, 0) == 0);
	if (is_through(vici_continue(vici)))
		CHECK(is_plain(question.why, sizeof(question.why)));
}

static void check_sas(struct vici *vici)
{
	CLEANUP(charon_free_sas) struct charon_sas sas = {0};
	struct charon_question question = {.connection = "ike", .child = "net4"};

	if (is_through(charon_sas(vici, 0, &sas)))
		for (size_t i = 0; i < sas.n; i++)
			CHECK(charon_knows(&sas, sas.list[i].proto, sas.list[i].spi));
	CHECK(!charon_knows(&sas, IPPROTO_IPIP, 0));
	CHECK(charon_ask_progress(vici, &question, 0) == 0);
	if (is_through(vici_continue(vici)))
		CHECK(question.progress <= CHARON_THERE);
}

static void check_configuration(struct vici *vici)
{
	CLEANUP(charon_free_configuration) struct charon_configuration configuration = {0};

	if (!is_through(charon_configuration(vici, 0, &configuration)))
		return;
	for (size_t i = 0; i < configuration.n; i++) {
		const struct charon_endpoints *ends = &configuration.list[i];
		const char *found = charon_connection_between(&configuration, ends->family, &ends->local, &ends->remote,
							      XFRM_MODE_TUNNEL);

		CHECK(is_plain(ends->connection, sizeof(ends->connection)));
		CHECK(!found || (ends->modes & 1U << XFRM_MODE_TUNNEL) || configuration.n > 1);
	}
}

static void check_children(struct vici *vici)
{
	CLEANUP(children_free) struct children children = {0};
	static const struct prefix ends[CHILDREN_SIDES] = {{.family = AF_INET, .length = 32},
							   {.family = AF_INET, .length = 32}};

	if (!is_through(charon_children(vici, 0, &children)))
		return;
	for (size_t i = 0; i < children.n; i++) {
		const struct child *child = &children.list[i];

		CHECK(child->name && child->connection < children.n_connections);
		CHECK(children.connections[child->connection].name);
		for (size_t side = 0; side < CHILDREN_SIDES; side++)
			for (size_t j = 0; j < child->selectors[side].n; j++) {
				const struct prefix *prefix = &child->selectors[side].list[j];
				const struct children_pair pair = {{*prefix, *prefix}};

				CHECK(prefix->length <= 128);
				children_score(&children, child, ends, &pair, 1);
			}
	}
}

static void check_reasons(struct vici *vici)
{
	struct explanation explanation;

	if (is_through(explanation_ask(vici, 0, &explanation)))
		for (size_t i = 0; i < explanation.targets.n; i++) {
			const struct route route = {.dst = explanation.targets.list[i]};
			CHECK(route_targets_explain(&explanation.targets, &route));
		}
	explanation_free(&explanation);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vici vici = {.data = data, .size = size};

	check_answers(&vici);
	check_sas(&vici);
	check_configuration(&vici);
	check_children(&vici);
	check_reasons(&vici);
	return 0;
}
