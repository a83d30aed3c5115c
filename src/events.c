/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "events.h"

#include <errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "answer.h"
#include "datagram.h"

/* Room for the events of some hundred negotiations; the kernel grants as much as net.core.rmem_max says, or all of it
 * to the privileged (SO_RCVBUFFORCE). */
#define RECEIVE_BUFFER (4 * 1024 * 1024)

/* No event is longer: an SA with all its attributes has less than a page. */
#define EVENT_SIZE (16 * 1024)

struct events {
	struct nl_sock *sock;
	union {
		struct nlmsghdr first;
		char bytes[EVENT_SIZE]; /* cppcheck-suppress unusedStructMember ; it is the size */
	} buffer;
};

int events_open(struct events **ret)
{
	const int size = RECEIVE_BUFFER;
	struct events *events = calloc(1, sizeof(*events));

	if (!events)
		return -ENOMEM;
	events->sock = nl_socket_alloc();
	if (!events->sock || nl_connect(events->sock, NETLINK_XFRM) < 0 ||
	    nl_socket_add_memberships(events->sock, XFRMNLGRP_SA, XFRMNLGRP_POLICY, 0) < 0 ||
	    nl_socket_set_nonblocking(events->sock) < 0) {
		/* libnl's own codes merge the reasons; the system call's errno is still there. */
		int r = errno ? -errno : -EIO;
		events_close(&events);
		return r;
	}
	setsockopt(nl_socket_get_fd(events->sock), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	*ret = events;
	return 0;
}

void events_close(struct events **events)
{
	if (!*events)
		return;
	nl_socket_free((*events)->sock);
	/* Events about SAs carry their keys. */
	explicit_bzero(*events, sizeof(**events));
	free(*events);
	*events = NULL;
}

int events_fd(const struct events *events)
{
	return nl_socket_get_fd(events->sock);
}

int events_read(struct events *events, events_fn fn, void *userdata)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof(from);

		ssize_t n = recvfrom(events_fd(events), events->buffer.bytes, sizeof(events->buffer.bytes), 0,
				     (struct sockaddr *)&from, &size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (from.nl_pid != 0)
			continue;
		if (!datagram_is_whole(&events->buffer.first, (size_t)n))
			return -ENOBUFS;
		answer_events(&events->buffer.first, (int)n, fn, userdata);
	}
}
