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

/* The daemon knows no such command or event; the connection goes on. */
#define UNKNOWN 1

struct vici {
	int fd; /* -1 after an error */
	pid_t peer;
	uint8_t *buffer; /* for one packet at a time, in either direction */
	size_t size;	 /* of the buffer, in bytes */
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

static int reserve(struct vici *vici, size_t size)
{
	if (size <= vici->size)
		return 0;
	size = size < BUFFER_MIN ? BUFFER_MIN : size;
	uint8_t *buffer = realloc(vici->buffer, size);
	if (!buffer)
		return -ENOMEM;
	vici->buffer = buffer;
	vici->size = size;
	return 0;
}

/* Sends or receives all these bytes. */
static int transfer(struct vici *vici, short direction, uint8_t *data, size_t size, uint64_t deadline)
{
	while (size) {
		/* Here, and not only where there is something to wait for: a daemon that never pauses is to end too. */
		uint64_t left = time_left(deadline);
		if (!left)
			return -ETIMEDOUT;

		ssize_t n = direction == POLLOUT ? send(vici->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
						 : recv(vici->fd, data, size, MSG_DONTWAIT);
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		} else if (n == 0) {
			return -ECONNRESET;
		} else if (errno == EAGAIN) {
			struct pollfd wanted = {.fd = vici->fd, .events = direction};
			const struct timespec timeout = timespec_of(left);
			if (ppoll(&wanted, 1, &timeout, NULL) < 0 && errno != EINTR)
				return -errno;
		} else if (errno != EINTR) {
			return errno == EPIPE ? -ECONNRESET : -errno;
		}
	}
	return 0;
}

static int send_packet(struct vici *vici, enum packet type, const char *name, const struct vici_writer *arguments,
		       uint64_t deadline)
{
	size_t name_length = strlen(name), message = arguments ? arguments->length : 0;
	size_t length = 2 + name_length + message;
	uint32_t header = htobe32((uint32_t)length);

	if (name_length > UINT8_MAX || (arguments && arguments->overflow) || length > VICI_MESSAGE_MAX)
		return -EMSGSIZE;
	int r = reserve(vici, sizeof(header) + length);
	if (r < 0)
		return r;

	uint8_t *next = mempcpy(vici->buffer, &header, sizeof(header));
	*next++ = (uint8_t)type;
	*next++ = (uint8_t)name_length;
	next = mempcpy(next, name, name_length);
	if (message)
		memcpy(next, arguments->buffer, message);
	return transfer(vici, POLLOUT, vici->buffer, sizeof(header) + length, deadline);
}

static int receive_packet(struct vici *vici, uint64_t deadline, struct received *ret)
{
	union {
		uint8_t bytes[sizeof(uint32_t)];
		uint32_t length;
	} header;

	int r = transfer(vici, POLLIN, header.bytes, sizeof(header), deadline);
	if (r < 0)
		return r;
	size_t length = be32toh(header.length), before = 1;
	if (length == 0 || length > VICI_MESSAGE_MAX)
		return -EBADMSG;
	r = reserve(vici, length);
	if (r == 0)
		r = transfer(vici, POLLIN, vici->buffer, length, deadline);
	if (r < 0)
		return r;

	*ret = (struct received){.type = vici->buffer[0]};
	if (ret->type == EVENT) {
		if (length < 2 || length - 2 < vici->buffer[1])
			return -EBADMSG;
		ret->name = (struct vici_text){(const char *)vici->buffer + 2, vici->buffer[1]};
		before = 2 + ret->name.length;
	}
	vici_read(&ret->message, vici->buffer + before, length - before);
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

/* Waits until charon has confirmed that it sends an event, or sends no more of them. Those that another of its threads
 * raised in the meantime may come before that. */
static int subscribe(struct vici *vici, enum packet type, const char *event, uint64_t deadline)
{
	struct received packet;

	int r = send_packet(vici, type, event, NULL, deadline);
	do
		r = r < 0 ? r : receive_packet(vici, deadline, &packet);
	while (r == 0 && packet.type == EVENT && vici_is(packet.name, event));
	if (r < 0)
		return r;
	return packet.type == EVENT_CONFIRM ? 0 : packet.type == EVENT_UNKNOWN ? UNKNOWN : -EBADMSG;
}

/* `event` may be NULL. charon sends no other one than we registered for (raise_event() of vici_dispatcher.c). */
static int call(struct vici *vici, const char *command, const char *event, const struct vici_writer *arguments,
		uint64_t deadline, vici_message_fn on_event, vici_message_fn fn, void *userdata)
{
	struct received packet;

	int r = send_packet(vici, CMD_REQUEST, command, arguments, deadline);
	while (r == 0) {
		r = receive_packet(vici, deadline, &packet);
		if (r < 0)
			break;
		if (packet.type == CMD_RESPONSE)
			return hand_out(&packet.message, fn, userdata);
		if (packet.type == CMD_UNKNOWN)
			return UNKNOWN;
		if (packet.type != EVENT || !event || !vici_is(packet.name, event))
			return -EBADMSG;
		r = hand_out(&packet.message, on_event, userdata);
	}
	return r;
}

/* What the caller is told. */
static int conclude(struct vici *vici, int r)
{
	if (r < 0)
		hang_up(vici);
	return r == UNKNOWN ? -EOPNOTSUPP : r;
}

int vici_request(struct vici *vici, const char *command, const struct vici_writer *arguments, uint64_t deadline,
		 vici_message_fn fn, void *userdata)
{
	if (vici->fd < 0)
		return -ECONNRESET;
	return conclude(vici, call(vici, command, NULL, arguments, deadline, NULL, fn, userdata));
}

int vici_stream(struct vici *vici, const char *command, const char *event, const struct vici_writer *arguments,
		uint64_t deadline, vici_message_fn on_event, vici_message_fn fn, void *userdata)
{
	if (vici->fd < 0)
		return -ECONNRESET;
	int r = subscribe(vici, EVENT_REGISTER, event, deadline);
	if (r == 0) {
		r = call(vici, command, event, arguments, deadline, on_event, fn, userdata);
		/* Not to know what it has just sent is no word of charon's. */
		int ended = r < 0 ? 0 : subscribe(vici, EVENT_UNREGISTER, event, deadline);
		r = ended == UNKNOWN ? -EBADMSG : ended < 0 ? ended : r;
	}
	return conclude(vici, r);
}
