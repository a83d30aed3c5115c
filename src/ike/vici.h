/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The door to charon: a client of its VICI socket. It knows how to ask, not what. Every call ends by its deadline
 * (microseconds of CLOCK_MONOTONIC, now_usec()), whatever is at the other end. */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ike/vici_message.h"

/* Where charon listens unless told otherwise (charon.plugins.vici.socket; /var/run is /run). */
#define VICI_SOCKET CHARON_RUN_DIR "/charon.vici"

/* No message is longer: charon's own limit (VICI_MESSAGE_SIZE_MAX). An event that would be longer, as that of an IKE_SA
 * with more than some 1,300 CHILD_SAs, charon drops without a word to us (send_() of vici_socket.c). */
#define VICI_MESSAGE_MAX ((size_t)512 * 1024)

/* What -EACCES and -EPERM of vici_open() mean. Its socket belongs to the user that charon drops to (charon.user), with
 * the mode 0770, and connect() needs the right to write it (unix_find_bsd()). */
#define VICI_FORBIDDEN "no permission to connect; run as root, with CAP_DAC_OVERRIDE if the socket is another user's"

struct vici;

/* Connects. Errors: -ENOENT when there is no such socket, -ECONNREFUSED when nobody listens on it any more, -EACCES
 * without the privilege, -ENOTSOCK for a file that is no socket, -EPROTOTYPE for a socket of another kind,
 * -ENAMETOOLONG, -ETIMEDOUT when the daemon does not take the connection (its backlog is full). */
int vici_open(const char *path, uint64_t deadline, struct vici **ret);
void vici_close(struct vici **vici);

/* Returns what an error of vici_open() means, for the end of a sentence. */
const char *vici_explain(int error);

/* The process at the other end (SO_PEERCRED: the one that called listen()); 0 when it cannot be seen from here. */
pid_t vici_peer(const struct vici *vici);

/* Whether no error has ended the connection. */
bool vici_is_connected(const struct vici *vici);

/* Gets a message; a negative errno of its own, but not -EAGAIN, ends the call, which returns it. */
typedef int (*vici_message_fn)(struct vici_reader *message, void *userdata);

/* A command to charon. */
struct vici_call {
	const char *command;
	const char *event;		     /* of a command that streams, otherwise NULL: see vici_stream() */
	const struct vici_writer *arguments; /* may be NULL */
	uint64_t deadline;
	vici_message_fn on_event, fn; /* may be NULL */
	void *userdata;
};

/* Begins a call, which vici_continue() carries on, without waiting. One call at a time: charon answers the requests of
 * a connection one by one (process_queue() of vici_socket.c). What `call` points to must stay until it has ended.
 * Errors as those of vici_request(). */
int vici_start(struct vici *vici, const struct vici_call *call);

/* Carries on the call that was begun, up to the next message at most: -EAGAIN while it has not ended (to be called
 * again when poll(2) reports what vici_poll() says, and at the deadline), otherwise what vici_request() returns. */
int vici_continue(struct vici *vici);

/* Returns what the call under way waits for: the descriptor and its events. */
struct pollfd vici_poll(const struct vici *vici);

/* Sends a command and hands out the answer. `arguments` and `fn` may be NULL. Errors: -ETIMEDOUT; -EOPNOTSUPP when the
 * daemon does not know the command or event; -ECONNRESET when it hangs up; -EBADMSG when it does not speak the
 * protocol, also when the answer is malformed and `fn` is NULL; -EMSGSIZE when the arguments are too long. After any of
 * them but -EOPNOTSUPP the connection is of no more use. */
int vici_request(struct vici *vici, const char *command, const struct vici_writer *arguments, uint64_t deadline,
		 vici_message_fn fn, void *userdata);

/* The same for a command that streams: every `event` that comes before the answer goes to `on_event` (list-sas streams
 * list-sa, list-conns list-conn, list-policies list-policy, initiate control-log); the answer to `fn`. */
int vici_stream(struct vici *vici, const char *command, const char *event, const struct vici_writer *arguments,
		uint64_t deadline, vici_message_fn on_event, vici_message_fn fn, void *userdata);
