/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What /proc shows of a process (proc(5)). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc {
	char state; /* of its main thread, a letter as ps(1) shows it */
	pid_t parent;
	uint64_t cpu_usec; /* that all its threads have used, the ended ones too */

	/* Of proc_read_all() only: */
	uint64_t queued_usec; /* that its threads of now have waited for a processor; 0 where the kernel does not say */
	bool on_disk;	      /* one of them is in an uninterruptible sleep */
	bool traced;
	bool dumping; /* the kernel writes its core */
};

/* Reads a line of /proc/PID/stat; `ticks` is how many of its units of time make a second. -EBADMSG when it is none. */
int proc_parse_stat(const char *line, uint64_t ticks, struct proc *ret);

/* Takes from /proc/PID/status who traces it, and whether the kernel writes its core. */
void proc_parse_status(const char *text, struct proc *ret);

/* Each reads one thing, or says -EBADMSG: what /proc/PID/task/TID/schedstat says of the time in the queue, which
 * signals a line of /proc/PID/status says are blocked, the number that a process has written into its file. */
int proc_parse_queued(const char *text, uint64_t *ret_usec);
int proc_parse_blocked(const char *line, uint64_t *ret);
int proc_parse_pid(const char *text, pid_t *ret);

/* Each returns 0, or a negative errno: -ENOENT or -ESRCH when there is no such process. */
int proc_read(pid_t pid, struct proc *ret);
int proc_read_all(pid_t pid, struct proc *ret);

/* Whether a process is another, or a child of it, or a child's child. */
bool proc_descends_from(pid_t pid, pid_t from);
