/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "base/util.h"

static int read_stat(const char *path, struct proc *ret)
{
	char text[1024];

	int r = read_text(path, text, sizeof(text));
	return r < 0 ? r : proc_parse_stat(text, (uint64_t)sysconf(_SC_CLK_TCK), ret);
}

int proc_read(pid_t pid, struct proc *ret)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return read_stat(path, ret);
}

/* Adds the values of a thread to those of its process. Skips a thread that has ended meanwhile. */
static void add_thread(pid_t pid, const char *thread, struct proc *process)
{
	char path[64], text[128];
	struct proc of_thread;
	uint64_t queued_usec;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", pid, thread);
	if (read_stat(path, &of_thread) == 0 && of_thread.state == 'D')
		process->on_disk = true;
	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid, thread);
	if (read_text(path, text, sizeof(text)) == 0 && proc_parse_queued(text, &queued_usec) == 0)
		process->queued_usec += queued_usec;
}

int proc_read_all(pid_t pid, struct proc *ret)
{
	CLEANUP(close_directory) DIR *threads = NULL;
	char path[64], status[4096];
	const struct dirent *thread;

	int r = proc_read(pid, ret);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	r = read_text(path, status, sizeof(status));
	if (r < 0)
		return r;
	proc_parse_status(status, ret);

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	threads = opendir(path);
	if (!threads)
		return -errno;
	while ((thread = readdir(threads)))
		if (*thread->d_name != '.')
			add_thread(pid, thread->d_name, ret);
	return 0;
}

bool proc_descends_from(pid_t pid, pid_t from)
{
	struct proc process;

	while (pid != from) {
		if (pid <= 1 || proc_read(pid, &process) < 0)
			return false;
		pid = process.parent;
	}
	return true;
}
