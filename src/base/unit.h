/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Asks systemd about units, and starts them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The change of a unit that systemd has queued or is making. */
enum unit_job {
	UNIT_NO_JOB,	  /* no change: the unit keeps its state, or has ended by itself */
	UNIT_JOB_STOP,	  /* the unit stops, and stays stopped */
	UNIT_JOB_RESTART, /* the unit stops, and starts again */
	UNIT_JOB_OTHER,	  /* the unit starts or reloads */
};

struct unit_state {
	enum unit_job job;
	char netns[256]; /* NetworkNamespacePath=, or "" without it */
	/* Time when the main process started, even if it has ended (CLOCK_MONOTONIC, in microseconds); 0 without
	 * one. */
	uint64_t main_began_usec;
};

/* Asks systemd about a unit of the system manager. With NULL, asks about the unit of this process. Returns 0 or a
 * negative errno. */
int unit_find(const char *unit, struct unit_state *ret);

/* Returns 1 when systemd is shutting the machine down, 0 when it is not, or a negative errno. */
int unit_is_shutdown(void);

/* Asks systemd to start a unit of the system manager at once, without regard to its ordering and dependencies. Does not
 * wait for the start. Returns 0 or a negative errno. */
int unit_start(const char *unit);

/* The state of a service that may be running. */
struct unit_running {
	bool undisturbed; /* the service runs, is not frozen, and systemd has no job for it */
	pid_t main_pid;	  /* 0 without a main process */
};

enum unit_phase {
	UNIT_DOWN,     /* the unit neither runs nor starts, or waits for its automatic restart */
	UNIT_STARTING, /* the unit starts */
	UNIT_UP,       /* the unit runs, or reloads */
};

/* Asks systemd about a unit of the system manager. Returns 0 or a negative errno. */
int unit_find_phase(const char *unit, enum unit_phase *ret);

/* Asks systemd about a service of the system manager. Returns 0 or a negative errno. */
int unit_find_running(const char *unit, struct unit_running *ret);

/* The progress of a service's start. */
struct unit_start {
	/* Whether systemd has no job for the service, and the service runs, has failed or is stopped. */
	bool is_over;
	/* The main process, if it ended while a command of ExecStartPost= runs; otherwise 0. */
	pid_t ended_main_pid;
	/* The command of ExecStartPost=, if `ended_main_pid` is not 0; otherwise 0. */
	pid_t post_start_pid;
};

/* A service of the system manager whose changes systemd reports. */
struct unit_watch;

/* Starts to watch a service. The caller closes `ret` with unit_watch_close(). Returns 0 or a negative errno. */
int unit_watch_open(const char *unit, struct unit_watch **ret);

/* Asks systemd for the progress of the service's start. Returns 0 or a negative errno. */
int unit_watch_read(struct unit_watch *watch, struct unit_start *ret);

/* Waits until systemd reports a change that came after the last unit_watch_read(). Returns 0 or a negative errno. */
int unit_watch_wait(struct unit_watch *watch);

/* Ends a watch, unless it is NULL. */
void unit_watch_close(struct unit_watch **watch);
