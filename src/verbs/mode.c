/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/mode.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

int mode_take(const char *value, enum mode *ret)
{
	static const char *const names[] = {
		[MODE_AUTO] = "auto",
		[MODE_FLUSH] = "flush",
		[MODE_HOLD] = "hold",
		[MODE_HANDOVER] = "handover",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(value, names[i]) == 0) {
			*ret = (enum mode)i;
			return 0;
		}
	return report_failure(-EINVAL, REPORT_USAGE, "'%.64s' is not a mode; it takes auto, hold, handover or flush.",
			      value);
}
