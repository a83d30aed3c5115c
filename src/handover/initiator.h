/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Asks charon to initiate its children. No function waits, because traffic has to be moved while charon works on an
 * answer; the caller polls. Several questions may be open at a time, but only one for children that may share an
 * IKE_SA. */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ike/charon.h"
#include "ike/child.h"
#include "ike/vici.h"

/* Maximum number of questions that are open at a time. charon uses one thread for the questions of a client
 * (process_queue() of vici_socket.c), and has 16 threads by default (charon.threads). */
#define INITIATOR_CLIENTS_MAX 4

/* A VICI client and its open question. */
struct initiator_client {
	struct vici *vici;
	/* The connection of the child in question, or NULL if no question is open. */
	struct children_connection *connection;
	struct charon_question question;
	/* The group that the question is for. */
	size_t group;
	/* charon was asked for this child before. */
	bool again;
	/* The question is to initiate the child; otherwise it asks for the child's progress. */
	bool initiating;
	/* Time by which charon must answer, as now_usec() returns it. */
	uint64_t deadline;
};

/* The clients, and the children that they ask for. Must be zeroed before use, except `children`. The children must not
 * move while questions are open. */
struct initiator {
	struct children *children;
	struct initiator_client clients[INITIATOR_CLIENTS_MAX];
};

struct initiator_answer {
	/* The group that the question was for. */
	size_t group;
	/* The child's progress before charon was asked to initiate it. */
	enum charon_progress found;
	/* 0, or a negative errno. -ENOENT: charon refuses. After any other error the client cannot be used again. */
	int error;
	/* charon's reason for -ENOENT. Valid until the client's next question. */
	const char *why;
};

/* Connects `wanted` clients, but at most INITIATOR_CLIENTS_MAX. Returns 0 if at least one client is connected, or an
 * error of vici_open(). */
int initiator_open(struct initiator *initiator, const char *socket, uint64_t deadline, size_t wanted);
void initiator_close(struct initiator *initiator);

/* Returns whether any client is still connected. */
bool initiator_is_open(const struct initiator *initiator);

/* Returns whether initiator_ask() can ask for a child now. A client must be free. No question may be open for a child
 * of the same connection, or of a connection that may share an IKE_SA with it (children_may_share()). */
bool initiator_is_free(const struct initiator *initiator, size_t child);

/* Asks charon to initiate a child for a group; `again` if charon was asked for the child before. Returns 0, -EAGAIN if
 * initiator_is_free() is false, or an error of vici_start(). */
int initiator_ask(struct initiator *initiator, size_t child, size_t group, bool again);

/* Fills in the descriptors and events that the caller waits for with poll(2). Returns the time at which the caller has
 * to call initiator_read() even without an event, or UINT64_MAX. */
uint64_t initiator_poll(const struct initiator *initiator, struct pollfd fds[INITIATOR_CLIENTS_MAX]);

/* Reads an answer. Returns 1 with the answer, or 0 if there is none yet. */
int initiator_read(struct initiator *initiator, struct initiator_answer *ret);
