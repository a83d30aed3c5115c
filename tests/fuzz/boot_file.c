/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks that reading any bytes as a boot file ends and stays within them. A file that is read, written and read again
 * must be the same. */

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "hold/boot_file.h"
#include "hold/shadow.h"

static void write_entry(FILE *copy, const struct entry *entry)
{
	CHECK(entry->kind == ENTRY_POLICY && shadow_tag(entry) == SHADOW_HOLD);
	CHECK(!boot_file_obstacle(entry) && entry->policy.info.dir < XFRM_POLICY_MAX);
	boot_file_add(copy, entry);
}

/* Reads a whole file and writes its entries to `copy`. Returns the last result of boot_file_next(). */
static int copy_file(const uint8_t *data, size_t size, FILE *copy)
{
	struct boot_file_reader reader = {.f = fmemopen((void *)data, size, "r")};
	struct entry entry;
	int r;

	CHECK(reader.f);
	boot_file_begin(copy);
	while ((r = boot_file_next(&reader, &entry)) > 0)
		write_entry(copy, &entry);
	CHECK(r == 0 || (r == -EBADMSG && *reader.why && strlen(reader.why) < sizeof(reader.why) - 1));
	boot_file_end(copy, reader.n);
	fclose(reader.f);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *first = NULL, *second = NULL;
	size_t n_first, n_second;

	if (!size)
		return 0;
	FILE *copy = open_memstream(&first, &n_first);
	CHECK(copy);
	int r = copy_file(data, size, copy);
	fclose(copy);
	if (r == 0) {
		copy = open_memstream(&second, &n_second);
		CHECK(copy && copy_file((const uint8_t *)first, n_first, copy) == 0);
		fclose(copy);
		CHECK(n_first == n_second && memcmp(first, second, n_first) == 0);
	}
	free(first);
	free(second);
	return 0;
}
