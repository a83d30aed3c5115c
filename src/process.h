/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What /proc shows of a process (proc(5)). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
	char state; /* of its main thread, a letter as ps(1) shows it */
	pid_t parent;
	uint64_t cpu_usec; /* that all its threads have used, the ended ones too */

	/* Of process_look() only: */
	uint64_t queued_usec; /* that its threads of now have waited for a processor; 0 where the kernel does not say */
	bool on_disk;	      /* one of them is in an uninterruptible sleep */
	bool traced;
	bool dumping; /* the kernel writes its core */
};

/* Reads a line of /proc/PID/stat; `ticks` is how many of its units of time make a second. -EBADMSG when it is none. */
int process_parse_stat(const char *line, uint64_t ticks, struct process *ret);

/* Each returns 0, or a negative errno: -ENOENT or -ESRCH when there is no such process. */
int process_find(pid_t pid, struct process *ret);
int process_look(pid_t pid, struct process *ret);

/* Whether a process is another, or a child of it, or a child's child. */
bool process_descends(pid_t pid, pid_t from);
