/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads the state of processes from /proc (proc(5)). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The state of a process. proc_read() sets the first three members, proc_read_all() sets all. */
struct proc {
	char state; /* of the main thread, as a letter of ps(1) */
	pid_t parent;
	uint64_t cpu_usec; /* processor time of all threads, also of ended ones, in microseconds */

	uint64_t queued_usec; /* time that existing threads waited for a processor; 0 if the kernel does not count it */
	bool on_disk;	      /* a thread is in an uninterruptible sleep */
	bool traced;	      /* another process traces it (ptrace(2)) */
	bool dumping;	      /* the kernel is writing its core */
};

/* Parses a line of /proc/PID/stat. `ticks` is the number of clock ticks per second. Returns 0, or -EBADMSG for other
 * text. */
int proc_parse_stat(const char *line, uint64_t ticks, struct proc *ret);

/* Parses /proc/PID/status: sets `traced` and `dumping`. */
void proc_parse_status(const char *text, struct proc *ret);

/* Parses /proc/PID/task/TID/schedstat: the time for which the thread has waited for a processor, in microseconds.
 * Returns 0 or -EBADMSG. */
int proc_parse_queued(const char *text, uint64_t *ret_usec);

/* Parses the blocked signals from a line of /proc/PID/status (SigBlk). Returns 0, or -EBADMSG for another line. */
int proc_parse_blocked(const char *line, uint64_t *ret);

/* Parses the number in the PID file of a process. Returns 0 or -EBADMSG. */
int proc_parse_pid(const char *text, pid_t *ret);

/* Reads the first three members. Returns 0 or a negative errno: -ENOENT or -ESRCH when there is no such process. */
int proc_read(pid_t pid, struct proc *ret);

/* Reads all members. Returns like proc_read(). */
int proc_read_all(pid_t pid, struct proc *ret);

/* Returns whether `pid` is `from` or a descendant of it. */
bool proc_descends_from(pid_t pid, pid_t from);
