/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/vici.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/util.h"

/* Maximum wait of one system call, in microseconds. It keeps distant deadlines within the range of the kernel's clock.
 */
#define WAIT_MAX (3600 * USEC_PER_SEC)

/* Minimum size of the packet buffer, in bytes. */
#define BUFFER_MIN 4096

/* Size in bytes of the header before each packet. The header contains the packet's length. */
#define HEADER_SIZE sizeof(uint32_t)

/* Types of packets; the first byte of a packet is its type. */
enum packet {
	CMD_REQUEST = 0,
	CMD_RESPONSE = 1,
	CMD_UNKNOWN = 2,
	EVENT_REGISTER = 3,
	EVENT_UNREGISTER = 4,
	EVENT_CONFIRM = 5,
	EVENT_UNKNOWN = 6,
	EVENT = 7,
};

/* Packets that a call sends, in this order. The client receives the answer to each before it sends the next. A command
 * that does not stream sends CALL alone. */
enum step { REGISTER, CALL, UNREGISTER };

struct vici {
	/* Socket, or -1 after an error. */
	int fd;
	/* Process that listens on the socket, or 0 if that process is not visible. */
	pid_t peer;
	/* Call under way. */
	struct vici_call call;
	/* Current and last step of the call. */
	enum step step, last;
	/* True while the answer to the current step is received, false while the step's packet is sent. */
	bool receiving;
	/* Result of the call if no error closes the connection: 0 or -EOPNOTSUPP. */
	int result;
	/* Holds one packet at a time, with its header, in either direction. */
	uint8_t *buffer;
	/* Size of the buffer in bytes. */
	size_t size;
	/* Length of the packet with its header, and how much of it was sent or received, in bytes. */
	size_t length, done;
};

/* A packet in the buffer. */
struct received {
	enum packet type;
	struct vici_text name; /* name of the event; empty for other types */
	struct vici_reader message;
};

/* Returns the microseconds until the deadline, at most WAIT_MAX. */
static uint64_t time_left(uint64_t deadline)
{
	uint64_t now = now_usec();

	if (now >= deadline)
		return 0;
	return deadline - now < WAIT_MAX ? deadline - now : WAIT_MAX;
}

/* Connects by the deadline. The socket is a blocking one, since the kernel then lets connect() wait while the backlog
 * is full. A non-blocking socket would get EAGAIN, and poll(2) has no event for the end of that state
 * (unix_stream_connect()). Returns 0 or a negative errno. */
static int connect_until(int fd, const struct sockaddr_un *address, uint64_t deadline)
{
	for (;;) {
		uint64_t left = time_left(deadline);
		const struct timeval timeout = {
			.tv_sec = (time_t)(left / USEC_PER_SEC),
			.tv_usec = (suseconds_t)(left % USEC_PER_SEC),
		};

		/* To the kernel, a timeout of 0 means no timeout. */
		if (!left)
			return -ETIMEDOUT;
		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
			return -errno;
		if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}

static bool is_other_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISSOCK(st.st_mode);
}

/* Opens the socket, and connects to charon. Returns 0 or a negative errno. */
static int connect_charon(struct vici *vici, const char *path, uint64_t deadline)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer;

	vici->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (vici->fd < 0)
		return -errno;
	/* The kernel would interpret an empty path as an abstract address. */
	if (!*path)
		return -ENOENT;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	int r = connect_until(vici->fd, &address, deadline);
	if (r < 0)
		/* The kernel also returns ECONNREFUSED for a file that is not a socket. */
		return r == -ECONNREFUSED && is_other_file(path) ? -ENOTSOCK : r;
	if (getsockopt(vici->fd, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof(peer)}) == 0)
		vici->peer = peer.pid;
	return 0;
}

int vici_open(const char *path, uint64_t deadline, struct vici **ret)
{
	struct vici *vici = calloc(1, sizeof(*vici));
	if (!vici)
		return -ENOMEM;

	int r = connect_charon(vici, path, deadline);
	if (r < 0)
		vici_close(&vici);
	else
		*ret = vici;
	return r;
}

const char *vici_explain(int error)
{
	return error == -EACCES || error == -EPERM ? VICI_FORBIDDEN : strerror(-error);
}

/* Closes the connection. */
static void hang_up(struct vici *vici)
{
	close_fd(&vici->fd);
	vici->fd = -1;
}

void vici_close(struct vici **vici)
{
	if (!*vici)
		return;
	hang_up(*vici);
	free((*vici)->buffer);
	free(*vici);
	*vici = NULL;
}

pid_t vici_peer(const struct vici *vici)
{
	return vici->peer;
}

bool vici_is_connected(const struct vici *vici)
{
	return vici->fd >= 0;
}

/* Makes room for a packet of `length` bytes, header included. Returns 0 or -ENOMEM. */
static int reserve(struct vici *vici, size_t length)
{
	vici->length = length;
	if (length <= vici->size)
		return 0;
	size_t size = length < BUFFER_MIN ? BUFFER_MIN : length;
	uint8_t *buffer = realloc(vici->buffer, size);
	if (!buffer)
		return -ENOMEM;
	vici->buffer = buffer;
	vici->size = size;
	return 0;
}

/* Sends or receives the rest of the packet. Returns 0, -EAGAIN if that would block, or another negative errno. */
static int transfer(struct vici *vici)
{
	while (vici->done < vici->length) {
		uint8_t *next = vici->buffer + vici->done;
		size_t left = vici->length - vici->done;
		ssize_t n = vici->receiving ? recv(vici->fd, next, left, MSG_DONTWAIT)
					    : send(vici->fd, next, left, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			vici->done += (size_t)n;
		else if (n == 0 || errno == EPIPE)
			return -ECONNRESET;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* Writes the packet of a step into the buffer. Returns 0, -EMSGSIZE or -ENOMEM. */
static int begin_step(struct vici *vici, enum step step)
{
	static const enum packet types[] = {EVENT_REGISTER, CMD_REQUEST, EVENT_UNREGISTER};
	const char *name = step == CALL ? vici->call.command : vici->call.event;
	const struct vici_writer *arguments = step == CALL ? vici->call.arguments : NULL;
	size_t name_length = strlen(name), message = arguments ? arguments->length : 0;
	size_t length = 2 + name_length + message;
	uint32_t header = htobe32((uint32_t)length);

	if (name_length > UINT8_MAX || (arguments && arguments->overflow) || length > VICI_MESSAGE_MAX)
		return -EMSGSIZE;
	int r = reserve(vici, HEADER_SIZE + length);
	if (r < 0)
		return r;

	uint8_t *next = mempcpy(vici->buffer, &header, HEADER_SIZE);
	*next++ = (uint8_t)types[step];
	*next++ = (uint8_t)name_length;
	next = mempcpy(next, name, name_length);
	if (message)
		memcpy(next, arguments->buffer, message);
	vici->step = step;
	vici->receiving = false;
	vici->done = 0;
	return 0;
}

/* Receives a packet, or the part of it that has arrived. Returns 0 with `ret`, -EAGAIN, or another negative errno. */
static int receive_packet(struct vici *vici, struct received *ret)
{
	uint32_t header;

	/* Receive the header first, since it contains the length. */
	int r = vici->done < HEADER_SIZE ? reserve(vici, HEADER_SIZE) : 0;
	if (r == 0)
		r = transfer(vici);
	if (r < 0)
		return r;
	memcpy(&header, vici->buffer, HEADER_SIZE);
	size_t length = be32toh(header), before = 1;
	if (length == 0 || length > VICI_MESSAGE_MAX)
		return -EBADMSG;
	r = reserve(vici, HEADER_SIZE + length);
	if (r == 0)
		r = transfer(vici);
	if (r < 0)
		return r;

	vici->done = 0;
	const uint8_t *packet = vici->buffer + HEADER_SIZE;
	*ret = (struct received){.type = packet[0]};
	if (ret->type == EVENT) {
		if (length < 2 || length - 2 < packet[1])
			return -EBADMSG;
		ret->name = (struct vici_text){(const char *)packet + 2, packet[1]};
		before = 2 + ret->name.length;
	}
	vici_read(&ret->message, packet + before, length - before);
	return 0;
}

/* Passes a message to `fn`; if `fn` is NULL, only checks that the message is well-formed. Returns 0 or a negative
 * errno. */
static int hand_out(struct vici_reader *message, vici_message_fn fn, void *userdata)
{
	struct vici_item item;
	int r;

	if (fn) {
		r = fn(message, userdata);
		return r < 0 ? r : 0;
	}
	do
		r = vici_next(message, &item);
	while (r > 0);
	return r;
}

/* Handles a packet. Returns 1 for the answer to the step's packet, 0 for an event, or a negative errno. charon sends
 * only events for which the client has registered (raise_event() of vici_dispatcher.c). Events from other threads of
 * charon may arrive just before or after the confirmations; they are ignored unless the command is under way. */
static int take_packet(struct vici *vici, struct received *packet)
{
	const struct vici_call *call = &vici->call;
	const bool calling = vici->step == CALL;

	if (packet->type == EVENT && call->event && vici_is(packet->name, call->event))
		return calling ? hand_out(&packet->message, call->on_event, call->userdata) : 0;
	if (packet->type == CMD_RESPONSE && calling) {
		int r = hand_out(&packet->message, call->fn, call->userdata);
		return r < 0 ? r : 1;
	}
	if (packet->type == EVENT_CONFIRM && !calling)
		return 1;
	/* charon has confirmed the registration before. So EVENT_UNKNOWN as the answer to EVENT_UNREGISTER violates the
	 * protocol. */
	if (packet->type != (calling ? CMD_UNKNOWN : EVENT_UNKNOWN) || vici->step == UNREGISTER)
		return -EBADMSG;
	vici->result = -EOPNOTSUPP;
	if (vici->step == REGISTER)
		vici->last = REGISTER;
	return 1;
}

int vici_start(struct vici *vici, const struct vici_call *call)
{
	if (vici->fd < 0)
		return -ECONNRESET;
	vici->call = *call;
	vici->last = call->event ? UNREGISTER : CALL;
	vici->result = 0;
	int r = begin_step(vici, call->event ? REGISTER : CALL);
	if (r < 0)
		hang_up(vici);
	return r;
}

/* Carries on the call, up to the next packet at most. Returns 0 when the call has ended, -EAGAIN while it has not, or
 * another negative errno. */
static int carry_on(struct vici *vici)
{
	struct received packet;
	int r;

	/* Check the deadline in each call, not only before a wait: the call must also end if the daemon sends without a
	 * pause. */
	if (!time_left(vici->call.deadline))
		return -ETIMEDOUT;
	if (!vici->receiving) {
		r = transfer(vici);
		if (r < 0)
			return r;
		vici->receiving = true;
		vici->done = 0;
	}
	r = receive_packet(vici, &packet);
	if (r == 0)
		r = take_packet(vici, &packet);
	if (r == 1 && vici->step == vici->last)
		return 0;
	if (r == 1)
		r = begin_step(vici, vici->step + 1);
	return r < 0 ? r : -EAGAIN;
}

int vici_continue(struct vici *vici)
{
	int r = carry_on(vici);

	if (r < 0 && r != -EAGAIN)
		hang_up(vici);
	return r < 0 ? r : vici->result;
}

struct pollfd vici_poll(const struct vici *vici)
{
	return (struct pollfd){.fd = vici->fd, .events = vici->receiving ? POLLIN : POLLOUT};
}

int vici_request(struct vici *vici, const char *command, const struct vici_writer *arguments, uint64_t deadline,
		 vici_message_fn fn, void *userdata)
{
	return vici_stream(vici, command, NULL, arguments, deadline, NULL, fn, userdata);
}

int vici_stream(struct vici *vici, const char *command, const char *event, const struct vici_writer *arguments,
		uint64_t deadline, vici_message_fn on_event, vici_message_fn fn, void *userdata)
{
	const struct vici_call call = {command, event, arguments, deadline, on_event, fn, userdata};

	int r = vici_start(vici, &call);
	if (r < 0)
		return r;
	while ((r = vici_continue(vici)) == -EAGAIN) {
		struct pollfd wanted = vici_poll(vici);
		const struct timespec timeout = timespec_of(time_left(deadline));

		/* Ignore the result: vici_continue() detects events, errors and the deadline by itself. */
		ppoll(&wanted, 1, &timeout, NULL);
	}
	return r;
}
