/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover/initiator.h"

#include <errno.h>

#include "base/util.h"

/* Maximum time for an answer of charon, in microseconds. */
#define ANSWER_USEC (30 * USEC_PER_SEC)

int initiator_open(struct initiator *initiator, const char *socket, uint64_t deadline, size_t wanted)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < wanted && i < INITIATOR_CLIENTS_MAX; i++)
		r = vici_open(socket, deadline, &initiator->clients[i].vici);
	return initiator->clients[0].vici ? 0 : r;
}

void initiator_close(struct initiator *initiator)
{
	for (size_t i = 0; i < INITIATOR_CLIENTS_MAX; i++)
		vici_close(&initiator->clients[i].vici);
	*initiator = (struct initiator){.children = initiator->children};
}

static bool is_connected(const struct initiator_client *client)
{
	return client->vici && vici_is_connected(client->vici);
}

bool initiator_is_open(const struct initiator *initiator)
{
	bool open = false;

	for (size_t i = 0; i < INITIATOR_CLIENTS_MAX; i++)
		open |= is_connected(&initiator->clients[i]);
	return open;
}

static struct children_connection *connection_of(const struct initiator *initiator, size_t child)
{
	return &initiator->children->connections[initiator->children->list[child].connection];
}

/* Returns the index of a client that can ask for a child now, or INITIATOR_CLIENTS_MAX.
 *
 * If charon initiates two children at the same moment that could share an IKE_SA, it makes an IKE_SA for each. The
 * second one's INITIAL_CONTACT may cause the peer to remove the first. */
static size_t find_free(const struct initiator *initiator, size_t child)
{
	size_t found = INITIATOR_CLIENTS_MAX;

	for (size_t i = 0; i < INITIATOR_CLIENTS_MAX; i++) {
		const struct initiator_client *client = &initiator->clients[i];

		if (client->connection && children_may_share(client->connection, connection_of(initiator, child)))
			return INITIATOR_CLIENTS_MAX;
		if (!client->connection && is_connected(client))
			found = i;
	}
	return found;
}

bool initiator_is_free(const struct initiator *initiator, size_t child)
{
	return find_free(initiator, child) < INITIATOR_CLIENTS_MAX;
}

/* Sends the question: with `initiate` to initiate the child, otherwise for the child's progress. Returns 0 or an error
 * of vici_start(). */
static int ask(struct initiator_client *client, bool initiate)
{
	client->initiating = initiate;
	client->deadline = usec_add(now_usec(), ANSWER_USEC);
	return initiate ? charon_ask_initiate(client->vici, &client->question, client->deadline)
			: charon_ask_progress(client->vici, &client->question, client->deadline);
}

int initiator_ask(struct initiator *initiator, size_t child, size_t group, bool again)
{
	const size_t i = find_free(initiator, child);
	struct initiator_client *client = &initiator->clients[i];

	if (i == INITIATOR_CLIENTS_MAX)
		return -EAGAIN;
	client->connection = connection_of(initiator, child);
	client->question.connection = client->connection->name;
	client->question.child = initiator->children->list[child].name;
	client->question.progress = CHARON_ABSENT;
	client->group = group;
	client->again = again;
	/* To list the SAs of one connection, charon waits until its threads have finished with the IKE_SAs of all
	 * connections (create_enumerator() of its IKE_SA manager). So do not ask for the progress of a child whose
	 * connection had no IKE_SA: charon can initiate it at once. */
	return ask(client, !again && !client->connection->busy);
}

uint64_t initiator_poll(const struct initiator *initiator, struct pollfd fds[INITIATOR_CLIENTS_MAX])
{
	uint64_t first = UINT64_MAX;

	for (size_t i = 0; i < INITIATOR_CLIENTS_MAX; i++) {
		const struct initiator_client *client = &initiator->clients[i];

		fds[i] = client->connection ? vici_poll(client->vici) : (struct pollfd){.fd = -1};
		if (client->connection)
			first = usec_min(first, client->deadline);
	}
	return first;
}

/* Returns whether charon has to initiate a client's child, after it was asked for the child's progress. If the child's
 * connection is coming up, charon may already initiate this child: because of start_action=start, or of an earlier
 * question. But if xfrmctl has initiated another child of the connection (`begun`), the connection may come up for that
 * one. Then charon has to initiate this child too, but only once. */
static bool is_wanted(const struct initiator_client *client)
{
	const enum charon_progress found = client->question.progress;

	return found == CHARON_ABSENT || (found == CHARON_COMING && client->connection->begun && !client->again);
}

/* Continues a client's question. Returns 0 with the answer, -EAGAIN while there is none, -ENOENT if charon refuses to
 * initiate the child, or an error of vici_continue(). */
static int carry_on(struct initiator_client *client)
{
	int r = vici_continue(client->vici);

	if (r < 0)
		return r;
	if (client->initiating) {
		client->connection->begun |= client->question.accepted;
		return client->question.accepted ? 0 : -ENOENT;
	}
	if (!is_wanted(client))
		return 0;
	r = ask(client, true);
	return r < 0 ? r : -EAGAIN;
}

int initiator_read(struct initiator *initiator, struct initiator_answer *ret)
{
	for (size_t i = 0; i < INITIATOR_CLIENTS_MAX; i++) {
		struct initiator_client *client = &initiator->clients[i];
		int r = client->connection ? carry_on(client) : -EAGAIN;

		if (r == -EAGAIN)
			continue;
		*ret = (struct initiator_answer){client->group, client->question.progress, r, client->question.why};
		client->connection = NULL;
		return 1;
	}
	return 0;
}
