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

#include "base/netlink.h"
#include "base/util.h"
#include "xfrm/parse.h"

/* Size of the receive buffer, in bytes: room for the events of some hundred negotiations. With CAP_NET_ADMIN the kernel
 * grants it beyond net.core.rmem_max (SO_RCVBUFFORCE). Without that capability the buffer keeps its size. */
#define RECEIVE_BUFFER (4 * 1024 * 1024)

/* Maximum size of an event, in bytes: an SA with all its attributes takes less than a page. */
#define EVENT_SIZE (16 * 1024)

struct monitor {
	struct nl_sock *sock;
	union {
		struct nlmsghdr first;
		char bytes[EVENT_SIZE]; /* cppcheck-suppress unusedStructMember ; it sets the size */
	} buffer;
};

static int join(struct monitor *monitor, int group)
{
	return setsockopt(monitor_fd(monitor), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0 ? -errno
													       : 0;
}

/* Attaches a filter that accepts only events about policies: those that are added or updated and, with `deletions`,
 * those that are deleted. Of these it drops events about policies whose selector.user has the bits of `user` under
 * `mask`. The selector is the first member of the first structure of each message (xfrm_notify_policy() in
 * net/xfrm/xfrm_user.c); it is all zeros if a deletion names its policy by index, and a flush has none. The filter
 * loads numbers in network byte order. Returns 0 or a negative errno. */
static int filter_policies(struct monitor *monitor, bool deletions, uint32_t user, uint32_t mask)
{
	const uint32_t accepted = deletions ? UINT32_MAX : 0;
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(XFRM_MSG_FLUSHPOLICY), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, accepted),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(XFRM_MSG_NEWPOLICY), 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(XFRM_MSG_UPDPOLICY), 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(XFRM_MSG_DELPOLICY), 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_JUMP(BPF_JMP | BPF_JA, deletions ? 0 : 3, 0, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NLMSG_HDRLEN + offsetof(struct xfrm_userpolicy_info, sel.user)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, htonl(mask)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(user & mask), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog filter = {.len = ARRAY_SIZE(program), .filter = program};

	return setsockopt(monitor_fd(monitor), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0 ? -errno : 0;
}

/* Opens a monitor of all events if `mask` is 0; otherwise as monitor_open_policies(). */
static int open_monitor(bool deletions, uint32_t user, uint32_t mask, struct monitor **ret)
{
	CLEANUP(monitor_close) struct monitor *monitor = calloc(1, sizeof(*monitor));
	const int size = RECEIVE_BUFFER;

	if (!monitor)
		return -ENOMEM;
	int r = netlink_open(NETLINK_XFRM, &monitor->sock);
	if (r < 0)
		return r;
	setsockopt(monitor_fd(monitor), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	/* Attach the filter before joining a group: the kernel filters an event when it queues it. */
	r = mask ? filter_policies(monitor, deletions, user, mask) : join(monitor, XFRMNLGRP_SA);
	if (r == 0)
		r = join(monitor, XFRMNLGRP_POLICY);
	if (r < 0)
		return r;
	*ret = monitor;
	monitor = NULL;
	return 0;
}

int monitor_open(struct monitor **ret)
{
	return open_monitor(true, 0, 0, ret);
}

int monitor_open_policies(bool deletions, uint32_t user, uint32_t mask, struct monitor **ret)
{
	return open_monitor(deletions, user, mask, ret);
}

void monitor_close(struct monitor **monitor)
{
	if (!*monitor)
		return;
	nl_socket_free((*monitor)->sock);
	/* Events about SAs contain their keys. */
	explicit_bzero(*monitor, sizeof(**monitor));
	free(*monitor);
	*monitor = NULL;
}

int monitor_fd(const struct monitor *monitor)
{
	return nl_socket_get_fd(monitor->sock);
}

int monitor_read(struct monitor *monitor, monitor_fn fn, void *userdata)
{
	int r = 0;

	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof(from);

		ssize_t n = recvfrom(monitor_fd(monitor), monitor->buffer.bytes, sizeof(monitor->buffer.bytes),
				     MSG_DONTWAIT, (struct sockaddr *)&from, &size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ENOBUFS)
			return errno == EAGAIN ? r : -errno;
		/* The kernel reports ENOBUFS once, and drops events until the queue is empty (netlink_overrun()). So
		 * read on. */
		if (n < 0 || (from.nl_pid == 0 && !netlink_is_whole(&monitor->buffer.first, (size_t)n))) {
			r = -ENOBUFS;
			continue;
		}
		if (from.nl_pid != 0)
			continue;
		parse_events(&monitor->buffer.first, (int)n, fn, userdata);
	}
}
