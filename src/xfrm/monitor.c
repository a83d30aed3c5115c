/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/monitor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/datagram.h"
#include "base/util.h"
#include "xfrm/parse.h"

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

/* Opens a socket that is in no group yet. */
static int connect_xfrm(struct events **ret)
{
	const int size = RECEIVE_BUFFER;
	struct events *events = calloc(1, sizeof(*events));

	if (!events)
		return -ENOMEM;
	events->sock = nl_socket_alloc();
	if (!events->sock || nl_connect(events->sock, NETLINK_XFRM) < 0 ||
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

static int join(struct events *events, int group)
{
	return setsockopt(events_fd(events), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0 ? -errno
													     : 0;
}

/* The policy is the first thing in its message (xfrm_notify_policy() in net/xfrm/xfrm_user.c). The filter takes numbers
 * for such in network byte order. */
static int ignore_policies_of(struct events *events, uint32_t user, uint32_t mask)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NLMSG_HDRLEN + offsetof(struct xfrm_userpolicy_info, sel.user)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, htonl(mask)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(user & mask), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(XFRM_MSG_NEWPOLICY), 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(XFRM_MSG_UPDPOLICY), 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog filter = {.len = ARRAY_SIZE(program), .filter = program};

	return setsockopt(events_fd(events), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0 ? -errno : 0;
}

int events_open(struct events **ret)
{
	int r = connect_xfrm(ret);

	if (r < 0)
		return r;
	r = join(*ret, XFRMNLGRP_SA);
	if (r == 0)
		r = join(*ret, XFRMNLGRP_POLICY);
	if (r < 0)
		events_close(ret);
	return r;
}

int events_open_policies(uint32_t user, uint32_t mask, struct events **ret)
{
	int r = connect_xfrm(ret);

	if (r < 0)
		return r;
	/* Before any event: the kernel filters what it queues. */
	r = ignore_policies_of(*ret, user, mask);
	if (r == 0)
		r = join(*ret, XFRMNLGRP_POLICY);
	if (r < 0)
		events_close(ret);
	return r;
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
	int r = 0;

	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof(from);

		ssize_t n = recvfrom(events_fd(events), events->buffer.bytes, sizeof(events->buffer.bytes), 0,
				     (struct sockaddr *)&from, &size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ENOBUFS)
			return errno == EAGAIN ? r : -errno;
		/* The kernel says so once, and drops events until the queue is empty (netlink_overrun()): read on. */
		if (n < 0 || (from.nl_pid == 0 && !datagram_is_whole(&events->buffer.first, (size_t)n))) {
			r = -ENOBUFS;
			continue;
		}
		if (from.nl_pid != 0)
			continue;
		answer_events(&events->buffer.first, (int)n, fn, userdata);
	}
}
