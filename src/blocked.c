/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "blocked.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

int blocked_read(struct shadow_blocked *ret)
{
	CLEANUP(close_file) FILE *f = fopen("/proc/net/xfrm_stat", "re");
	char name[64];
	uint64_t value;
	unsigned int found = 0;

	if (!f)
		return -errno;
	while (fscanf(f, "%63s %" SCNu64, name, &value) == 2) {
		if (strcmp(name, "XfrmOutPolBlock") == 0) {
			ret->out = value;
			found |= 1;
		} else if (strcmp(name, "XfrmInPolBlock") == 0) {
			ret->in = value;
			found |= 2;
		}
	}
	return found == 3 ? 0 : -EBADMSG;
}
