/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/proc.h"
#include "base/util.h"

#define NSEC_PER_USEC 1000

int proc_parse_stat(const char *line, uint64_t ticks, struct proc *ret)
{
	/* The name of the program, in parentheses, can contain any character. */
	const char *behind_name = strrchr(line, ')');
	uint64_t user, system;
	int parent;
	char state;

	if (!behind_name || sscanf(behind_name, ") %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
				   &state, &parent, &user, &system) != 4)
		return -EBADMSG;
	*ret = (struct proc){
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

void proc_parse_status(const char *text, struct proc *ret)
{
	ret->traced = read_number(text, "\nTracerPid:") > 0;
	ret->dumping = read_number(text, "\nCoreDumping:") > 0;
}

int proc_parse_queued(const char *text, uint64_t *ret_usec)
{
	uint64_t queued;

	if (sscanf(text, "%*u %" SCNu64, &queued) != 1)
		return -EBADMSG;
	*ret_usec = queued / NSEC_PER_USEC;
	return 0;
}

int proc_parse_blocked(const char *line, uint64_t *ret)
{
	return sscanf(line, "SigBlk: %" SCNx64, ret) == 1 ? 0 : -EBADMSG;
}

int proc_parse_pid(const char *text, pid_t *ret)
{
	long pid = strtol(text, NULL, 10);

	if (pid < 1 || pid > INT_MAX)
		return -EBADMSG;
	*ret = (pid_t)pid;
	return 0;
}
