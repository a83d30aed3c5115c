/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "shadow.h"

/* Reads how many packets policies have blocked so far in the network namespace of the calling process, from
 * /proc/net/xfrm_stat. -ENOENT when the kernel does not count them (CONFIG_XFRM_STATISTICS). */
int blocked_read(struct shadow_blocked *ret);

/* The same from the text of that file. -EBADMSG when it has not both numbers. */
int blocked_parse(const char *text, struct shadow_blocked *ret);
