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
