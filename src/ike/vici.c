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

/* No system call waits longer at a time, so that no deadline is too far for its clock. */
#define WAIT_MAX (3600 * USEC_PER_SEC)

#define BUFFER_MIN 4096

/* Bytes before a packet, which have its length. */
#define HEADER_SIZE sizeof(uint32_t)

/* What a packet is, by its first byte. */
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

/* The packets that a call sends, in their order; each waits for its answer. A command that does not stream has the
 * second one alone. */
enum step { REGISTER, CALL, UNREGISTER };

struct vici {
	int fd; /* -1 after an error */
	pid_t peer;
	struct vici_call call;
	enum step step, last; /* of the call */
	bool receiving;	      /* the answer to the step's packet */
	int result;	      /* of the call, when it ends without an error */
	uint8_t *buffer;      /* for one packet at a time, in either direction */
	size_t size;	      /* of the buffer, in bytes */
	size_t length, done;  /* bytes of the packet, and how many of them were sent or received */
};

/* A packet that lies in the buffer. */
struct received {
	enum packet type;
	struct vici_text name; /* of an event */
	struct vici_reader message;
};

/* The microseconds until the deadline, or as long as a system call may wait. */
static uint64_t time_left(uint64_t deadline)
{
	uint64_t now = now_usec();

	if (now >= deadline)
		return 0;
	return deadline - now < WAIT_MAX ? deadline - now : WAIT_MAX;
}

/* The kernel lets connect() wait while the backlog is full; a socket that does not wait would get an EAGAIN for which
 * there is no event to poll for (unix_stream_connect()). */
static int connect_until(int fd, const struct sockaddr_un *address, uint64_t deadline)
{
	for (;;) {
		uint64_t left = time_left(deadline);
		const struct timeval timeout = {
			.tv_sec = (time_t)(left / USEC_PER_SEC),
			.tv_usec = (suseconds_t)(left % USEC_PER_SEC),
		};

		/* To the kernel a timeout of 0 is none. */
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

static int connect_charon(struct vici *vici, const char *path, uint64_t deadline)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer;

	vici->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (vici->fd < 0)
		return -errno;
	/* The kernel would take it for an abstract address. */
	if (!*path)
		return -ENOENT;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	int r = connect_until(vici->fd, &address, deadline);
	if (r < 0)
		/* The kernel refuses what is no socket with the same word. */
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

/* Makes room for a packet of this length, with its header. */
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

/* Sends or receives what is left of the packet; -EAGAIN when that has to wait. */
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

/* Writes the packet that a step sends. */
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

static int receive_packet(struct vici *vici, struct received *ret)
{
	uint32_t header;

	/* The header tells how long it is. */
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

/* Returns 1 when a packet is the answer to the step's. charon sends no other event than we registered for
 * (raise_event() of vici_dispatcher.c); those that another of its threads raised may come around the confirmations. */
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
	/* An event that charon has just sent is known to it. */
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

static int carry_on(struct vici *vici)
{
	struct received packet;
	int r;

	/* Here, and not only where there is something to wait for: a daemon that never pauses is to end too. */
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

		/* Whatever it says: the call itself tells what is the matter. */
		ppoll(&wanted, 1, &timeout, NULL);
	}
	return r;
}
