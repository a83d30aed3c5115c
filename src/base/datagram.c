/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/datagram.h"

#include <netlink/msg.h>

bool datagram_is_whole(const struct nlmsghdr *first, size_t length)
{
	int rest = (int)length;

	while (nlmsg_ok(first, rest))
		first = nlmsg_next((struct nlmsghdr *)first, &rest);
	return rest <= 0;
}
