/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the kernel sends over netlink at a time. Pure. */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether messages fill a datagram to its end. What was cut off, or is none, is what readers would pass over: an entry
 * of a list, or the refusal of a change. */
bool datagram_is_whole(const struct nlmsghdr *first, size_t length);
