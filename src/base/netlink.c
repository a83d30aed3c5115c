/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/netlink.h"

#include <errno.h>
#include <netlink/socket.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/util.h"

int netlink_open(int protocol, struct nl_sock **ret)
{
	CLEANUP(netlink_close) struct nl_sock *sock = nl_socket_alloc();
	const struct timeval timeout = {.tv_sec = NETLINK_ANSWER_SECONDS};

	if (!sock)
		return -ENOMEM;
	/* libnl's error codes merge several reasons, but errno still holds that of the system call. */
	errno = 0;
	if (nl_connect(sock, protocol) < 0)
		return errno ? -errno : -EIO;
	setsockopt(nl_socket_get_fd(sock), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	*ret = sock;
	sock = NULL;
	return 0;
}

void netlink_close(struct nl_sock **sock)
{
	nl_socket_free(*sock);
	*sock = NULL;
}

bool netlink_is_whole(const struct nlmsghdr *first, size_t length)
{
	int rest = (int)length;

	while (nlmsg_ok(first, rest))
		first = nlmsg_next((struct nlmsghdr *)first, &rest);
	return rest <= 0;
}
