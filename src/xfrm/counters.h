/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

/* Numbers of packets that policies have blocked in a network namespace since its creation. */
struct xfrm_counters {
	uint64_t out, in; /* XfrmOutPolBlock and XfrmInPolBlock of /proc/net/xfrm_stat */
};

/* Parses both numbers in the text of /proc/net/xfrm_stat. Returns 0, or -EBADMSG when one is missing. */
int counters_parse(const char *text, struct xfrm_counters *ret);
