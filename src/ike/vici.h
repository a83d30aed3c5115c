/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* VICI client: sends commands to charon over its VICI socket. The caller chooses the commands, and interprets the
 * answers. Each call ends by its deadline, even if charon does not answer. A deadline is in microseconds of
 * CLOCK_MONOTONIC, as now_usec() returns them. */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ike/vici_message.h"

/* Default path of charon's VICI socket (charon.plugins.vici.socket). /var/run is the same as /run. */
#define VICI_SOCKET CHARON_RUN_DIR "/charon.vici"

/* Maximum length of a message in bytes: charon's own limit (VICI_MESSAGE_SIZE_MAX). charon drops a longer event without
 * informing the client (send_() of vici_socket.c). The event of an IKE_SA with more than about 1,300 CHILD_SAs is
 * longer. */
#define VICI_MESSAGE_MAX ((size_t)512 * 1024)

/* Explanation of -EACCES and -EPERM from vici_open(). The socket belongs to the user as which charon runs
 * (charon.user), and has the mode 0770. connect() needs write permission (unix_find_bsd()). */
#define VICI_FORBIDDEN "no permission to connect; run as root, with CAP_DAC_OVERRIDE if the socket is another user's"

struct vici;

/* Connects to charon. Returns 0 or a negative errno:
 * -ENOENT: the socket does not exist
 * -ECONNREFUSED: no process listens on the socket any more
 * -EACCES, -EPERM: the caller lacks permission
 * -ENOTSOCK: the file is not a socket
 * -EPROTOTYPE: the socket is of another type
 * -ENAMETOOLONG: the path is too long for a socket address
 * -ETIMEDOUT: the daemon has not accepted the connection by the deadline (its backlog is full)
 * -ENOMEM, or another errno of socket(2) or connect(2) */
int vici_open(const char *path, uint64_t deadline, struct vici **ret);
void vici_close(struct vici **vici);

/* Returns a text that explains an error of vici_open(), for the end of a sentence. */
const char *vici_explain(int error);

/* Returns the PID of the process that called listen() on the socket (SO_PEERCRED). Returns 0 if that process is not
 * visible to the caller. */
pid_t vici_peer(const struct vici *vici);

/* Returns false once an error has closed the connection, otherwise true. */
bool vici_is_connected(const struct vici *vici);

/* Handles a message. If it returns a negative errno, the call ends and returns that errno. It must not return -EAGAIN.
 */
typedef int (*vici_message_fn)(struct vici_reader *message, void *userdata);

/* A command to charon. */
struct vici_call {
	/* Name of the command. */
	const char *command;
	/* Name of the event that the command streams (see vici_stream()); NULL for a command that does not stream. */
	const char *event;
	/* Arguments of the command, or NULL. */
	const struct vici_writer *arguments;
	/* Time at which the call ends at the latest. */
	uint64_t deadline;
	/* Functions that handle each event, and the answer. Both may be NULL. */
	vici_message_fn on_event, fn;
	/* Argument for both functions. */
	void *userdata;
};

/* Begins a call without waiting; vici_continue() carries it on. A client has one call at a time, because charon answers
 * the requests of a connection one by one (process_queue() of vici_socket.c). All that the members of `call` point to
 * must stay valid until the call has ended. Returns 0 or an error of vici_request(). */
int vici_start(struct vici *vici, const struct vici_call *call);

/* Carries on the call that was begun, up to the next message at most. Returns -EAGAIN while the call has not ended. The
 * caller then repeats it when poll(2) reports an event of vici_poll(), and at the deadline. When the call has ended,
 * returns what vici_request() returns. */
int vici_continue(struct vici *vici);

/* Returns the descriptor and the events for which the call under way waits. */
struct pollfd vici_poll(const struct vici *vici);

/* Sends a command, and passes the answer to `fn`. `arguments` and `fn` may be NULL. Returns 0 or a negative errno:
 * -ETIMEDOUT: the deadline has passed
 * -EOPNOTSUPP: the daemon does not know the command or the event
 * -ECONNRESET: the daemon, or an earlier error, has closed the connection
 * -EBADMSG: the daemon violates the protocol, or the answer is malformed (also if `fn` is NULL)
 * -EMSGSIZE: the arguments are too long
 * -ENOMEM, an errno of `fn`, or one of the socket
 * Each error except -EOPNOTSUPP closes the connection. */
int vici_request(struct vici *vici, const char *command, const struct vici_writer *arguments, uint64_t deadline,
		 vici_message_fn fn, void *userdata);

/* Does the same for a command that streams. Passes each `event` that comes before the answer to `on_event`, and the
 * answer to `fn`. The commands that stream, with their events, are list-sas (list-sa), list-conns (list-conn),
 * list-policies (list-policy) and initiate (control-log). */
int vici_stream(struct vici *vici, const char *command, const char *event, const struct vici_writer *arguments,
		uint64_t deadline, vici_message_fn on_event, vici_message_fn fn, void *userdata);
