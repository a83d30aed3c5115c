/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define NSEC_PER_USEC 1000

int process_parse_stat(const char *line, uint64_t ticks, struct process *ret)
{
	/* The name of the program, in parentheses, can hold anything. */
	const char *behind_name = strrchr(line, ')');
	uint64_t user, system;
	int parent;
	char state;

	if (!behind_name || sscanf(behind_name, ") %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
				   &state, &parent, &user, &system) != 4)
		return -EBADMSG;
	*ret = (struct process){
		.state = state,
		.parent = parent,
		.cpu_usec = (user + system) * USEC_PER_SEC / ticks,
	};
	return 0;
}

static uint64_t read_number(const char *text, const char *name)
{
	const char *found = strstr(text, name);

	return found ? strtoull(found + strlen(name), NULL, 10) : 0;
}

void process_parse_status(const char *text, struct process *ret)
{
	ret->traced = read_number(text, "\nTracerPid:") > 0;
	ret->dumping = read_number(text, "\nCoreDumping:") > 0;
}

int process_parse_queued(const char *text, uint64_t *ret_usec)
{
	uint64_t queued;

	if (sscanf(text, "%*u %" SCNu64, &queued) != 1)
		return -EBADMSG;
	*ret_usec = queued / NSEC_PER_USEC;
	return 0;
}

int process_parse_blocked(const char *line, uint64_t *ret)
{
	return sscanf(line, "SigBlk: %" SCNx64, ret) == 1 ? 0 : -EBADMSG;
}

int process_parse_pid(const char *text, pid_t *ret)
{
	long pid = strtol(text, NULL, 10);

	if (pid < 1 || pid > INT_MAX)
		return -EBADMSG;
	*ret = (pid_t)pid;
	return 0;
}

static int read_stat(const char *path, struct process *ret)
{
	char text[1024];

	int r = read_text(path, text, sizeof(text));
	return r < 0 ? r : process_parse_stat(text, (uint64_t)sysconf(_SC_CLK_TCK), ret);
}

int process_find(pid_t pid, struct process *ret)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return read_stat(path, ret);
}

/* A thread may have gone by the time that it is looked at. */
static void add_thread(pid_t pid, const char *thread, struct process *process)
{
	char path[64], text[128];
	struct process of_thread;
	uint64_t queued_usec;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", pid, thread);
	if (read_stat(path, &of_thread) == 0 && of_thread.state == 'D')
		process->on_disk = true;
	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid, thread);
	if (read_text(path, text, sizeof(text)) == 0 && process_parse_queued(text, &queued_usec) == 0)
		process->queued_usec += queued_usec;
}

int process_look(pid_t pid, struct process *ret)
{
	CLEANUP(close_directory) DIR *threads = NULL;
	char path[64], status[4096];
	const struct dirent *thread;

	int r = process_find(pid, ret);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	r = read_text(path, status, sizeof(status));
	if (r < 0)
		return r;
	process_parse_status(status, ret);

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	threads = opendir(path);
	if (!threads)
		return -errno;
	while ((thread = readdir(threads)))
		if (*thread->d_name != '.')
			add_thread(pid, thread->d_name, ret);
	return 0;
}

bool process_descends(pid_t pid, pid_t from)
{
	struct process process;

	while (pid != from) {
		if (pid <= 1 || process_find(pid, &process) < 0)
			return false;
		pid = process.parent;
	}
	return true;
}
