/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks that an accepted time span can be written and read again. Its coarse form must not be longer than the time
 * span. */

#include <errno.h>
#include <string.h>

#include "base/timespan.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), written[TIMESPAN_MAX];
	uint64_t usec, again;

	int r = timespan_parse(text, &usec);
	free(text);
	CHECK(r == 0 || r == -EINVAL || r == -ERANGE);
	if (r < 0)
		return 0;
	timespan_format(usec, written, sizeof(written));
	CHECK(strlen(written) < sizeof(written) - 1);
	CHECK(timespan_parse(written, &again) == 0 && again == usec);
	timespan_format_coarse(usec, written, sizeof(written));
	CHECK(timespan_parse(written, &again) == 0 && again <= usec);
	for (size_t i = 1; i < sizeof(written); i++)
		CHECK(strlen(timespan_format(usec, written, i)) < i);
	return 0;
}
