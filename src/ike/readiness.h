/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Waits until an IKE daemon answers. */

#include <stdint.h>
#include <sys/types.h>

#include "ike/charon.h"

/* The daemon to wait for. */
struct readiness {
	/* Path of the daemon's VICI socket. */
	const char *socket;
	/* Maximum wait in microseconds; 0 for one try, or TIMESPAN_INFINITY. */
	uint64_t timeout_usec;
	/* Process that has to answer, itself or through a descendant; 0 accepts any process. */
	pid_t process;
	/* pidfd of a process whose end also ends the wait, or -1. */
	int pidfd;
};

/* The daemon's answer. */
struct readiness_answer {
	struct charon_version version;
	/* Duration of the wait in microseconds, also if there was no answer. */
	uint64_t usec;
};

/* Waits until the daemon answers. Returns 0 if it has answered, or -ECHILD if the process of `pidfd` has ended. After
 * the timeout, returns the error of the last try. An error that waiting cannot resolve ends the wait at once, and is
 * returned. The error of a try is one of vici.h, or -EADDRINUSE if a process other than `process` answers. */
int readiness_answer(const struct readiness *readiness, struct readiness_answer *ret);
