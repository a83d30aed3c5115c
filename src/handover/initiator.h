/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Asks charon to begin with its children. It never waits, so that traffic moves while charon takes its time to answer:
 * the caller polls. Several questions are under way at a time, but one only for children that may share an IKE_SA. */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ike/charon.h"
#include "ike/child.h"
#include "ike/vici.h"

/* Maximum number of questions under way. charon answers each client's in a thread (process_queue() of vici_socket.c),
 * and has 16 unless told otherwise (charon.threads). */
#define INITIATOR_CLIENTS_MAX 4

/* A VICI client, and the question that it is at. */
struct initiator_client {
	struct vici *vici;
	struct children_connection *connection; /* NULL when no question is under way */
	struct charon_question question;
	size_t group;
	bool again;	   /* it was asked before */
	bool initiating;   /* charon is asked to begin, and not how far it is */
	uint64_t deadline; /* of charon's answer */
};

/* Zeroed to begin with, but for `children`, which must stay where they are while questions are under way. */
struct initiator {
	struct children *children;
	struct initiator_client clients[INITIATOR_CLIENTS_MAX];
};

struct initiator_answer {
	size_t group;
	enum charon_progress found; /* before charon was asked; it is asked when nobody is at it */
	int error;		    /* 0, or a negative errno; after any but -ENOENT its client is gone */
	const char *why;	    /* what charon says when it refuses (-ENOENT); until the next question */
};

/* Connects `wanted` clients, or INITIATOR_CLIENTS_MAX if that is less; one is enough. Errors: those of vici_open(). */
int initiator_open(struct initiator *initiator, const char *socket, uint64_t deadline, size_t wanted);
void initiator_close(struct initiator *initiator);

/* Returns whether a client is left. */
bool initiator_is_open(const struct initiator *initiator);

/* Returns whether a client is free, and no question under way for a child of the same connection, or of one with which
 * that may share an IKE_SA (children_may_share()). */
bool initiator_is_free(const struct initiator *initiator, size_t child);

/* Asks for a child of a group; `again` if that was asked before. -EAGAIN unless initiator_is_free() for it. */
int initiator_ask(struct initiator *initiator, size_t child, size_t group, bool again);

/* Writes for each of the clients what poll(2) has to wait for. Returns the time when initiator_read() is to be called
 * all the same, UINT64_MAX when there is none. */
uint64_t initiator_poll(const struct initiator *initiator, struct pollfd fds[INITIATOR_CLIENTS_MAX]);

/* Returns 1 with the next answer, or 0 when there is none yet. */
int initiator_read(struct initiator *initiator, struct initiator_answer *ret);
