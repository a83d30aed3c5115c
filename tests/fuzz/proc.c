/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks that reading any text as a file of /proc, or as the PID file of a process, ends and stays within the text. */

#include <errno.h>
#include <string.h>

#include "base/proc.h"
#include "fuzz.h"
#include "ike/key_manager.h"
#include "xfrm/counters.h"

#define TICKS 100

static void read_line(const char *line)
{
	static int (*const readers[])(const char *, struct key_manager_socket *) = {
		key_manager_parse_netlink, key_manager_parse_pfkey, key_manager_parse_udp};
	uint64_t number;

	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
		struct key_manager_socket found = {0};

		int r = readers[i](line, &found);
		CHECK(r == 1 || r == 0 || r == -EBADMSG);
		CHECK(r == 1 || (!found.inode && !found.port));
		CHECK(!found.port || found.port == 500 || found.port == 4500);
	}
	int r = key_manager_parse_link(line, &number);
	CHECK(r == (strncmp(line, "socket:[", 8) == 0 ? r : -EBADMSG) && (r == 0 || r == -EBADMSG));
	CHECK(key_manager_classify(line, true) == KEY_MANAGER_IKE);
	CHECK(key_manager_classify(line, false) <= KEY_MANAGER_IKE);
	proc_parse_blocked(line, &number);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct xfrm_counters blocked = {0};
	struct proc process = {0};
	uint64_t usec;
	pid_t pid;

	counters_parse(text, &blocked);
	if (proc_parse_stat(text, TICKS, &process) < 0)
		CHECK(!process.state);
	proc_parse_status(text, &process);
	proc_parse_queued(text, &usec);
	CHECK(proc_parse_pid(text, &pid) < 0 || pid > 0);
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		read_line(line);
	free(text);
	return 0;
}
