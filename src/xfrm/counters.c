/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/counters.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int counters_parse(const char *text, struct xfrm_counters *ret)
{
	unsigned int found = 0;
	char name[64];
	uint64_t value;
	int length;

	for (; sscanf(text, "%63s %" SCNu64 "%n", name, &value, &length) == 2; text += length) {
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
