/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What systemd is about to do with a unit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum unit_job {
	UNIT_NO_JOB,	  /* nothing: the unit stays as it is, or has ended by itself */
	UNIT_JOB_STOP,	  /* it is being stopped, and stays so */
	UNIT_JOB_RESTART, /* it is being stopped, to be started again */
	UNIT_JOB_OTHER,	  /* it is being started, or reloaded */
};

struct unit_state {
	enum unit_job job;
	char netns[256];	  /* NetworkNamespacePath=; "" without */
	uint64_t main_began_usec; /* start of the main process, also when that has ended (CLOCK_MONOTONIC); 0 without
				     one */
};

/* Asks systemd about a unit of the system manager, or with NULL about the one that this process belongs to. Returns 0
 * or a negative errno. */
int unit_find(const char *unit, struct unit_state *ret);

/* Whether systemd is taking the machine down: 1 or 0, or a negative errno. */
int unit_is_shutdown(void);

/* Has systemd start a unit of the system manager at once, whatever other units it is ordered behind. Does not wait for
 * it. Returns 0 or a negative errno. */
int unit_start(const char *unit);

struct unit_running {
	bool undisturbed; /* it runs, and nobody is starting, stopping, reloading or freezing it */
	pid_t main_pid;	  /* 0 without one */
};

/* How far a unit is with its start. */
enum unit_phase {
	UNIT_DOWN, /* it neither runs nor starts */
	UNIT_STARTING,
	UNIT_UP,
};

/* Asks systemd about a unit of the system manager. Returns 0 or a negative errno. */
int unit_find_phase(const char *unit, enum unit_phase *ret);

/* Asks systemd about a service of the system manager. Returns 0 or a negative errno. */
int unit_find_running(const char *unit, struct unit_running *ret);

/* How the start of a service goes on. */
struct unit_start {
	bool is_over;	      /* the service runs, has failed or is stopped, and systemd has no job for it */
	pid_t ended_main_pid; /* the main process, if it has ended while a command of ExecStartPost= runs; otherwise 0
			       */
	pid_t post_start_pid; /* that command, if so; otherwise 0 */
};

/* A service of the system manager whose changes systemd reports. */
struct unit_watch;

/* Begins to watch a service. Returns 0 or a negative errno; to be closed by unit_watch_close(). */
int unit_watch_open(const char *unit, struct unit_watch **ret);

/* Asks systemd how the start of the service goes on. Returns 0 or a negative errno. */
int unit_watch_read(struct unit_watch *watch, struct unit_start *ret);

/* Waits until systemd reports a change that came after the last unit_watch_read(). Returns 0 or a negative errno. */
int unit_watch_wait(struct unit_watch *watch);

void unit_watch_close(struct unit_watch **watch);
