/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

/* The packets that policies have blocked in this network namespace since it was made. */
struct xfrm_counters {
	uint64_t out, in; /* XfrmOutPolBlock and XfrmInPolBlock of /proc/net/xfrm_stat */
};

/* Reads both numbers from the text of /proc/net/xfrm_stat. Returns 0, or -EBADMSG when one is missing. */
int counters_parse(const char *text, struct xfrm_counters *ret);
