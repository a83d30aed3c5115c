/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Waiting until an IKE daemon answers. */

#include <stdint.h>
#include <sys/types.h>

#include "ike/charon.h"

struct readiness {
	const char *socket;    /* its VICI socket */
	uint64_t timeout_usec; /* 0 for one try, or TIMESPAN_INFINITY */
	pid_t process;	       /* who has to answer, itself or by a child; 0 for anybody */
	int pidfd;	       /* of it: when it ends, so does the wait; -1 without one */
};

struct readiness_answer {
	struct charon_version version;
	uint64_t usec; /* how long it took, also when there was no answer */
};

/* Returns 0 when the daemon answers. -ECHILD when `process` has ended. Otherwise what the last try before the timeout
 * met, or at once what no wait can help against: the errors of vici.h, and -EADDRINUSE when somebody else than
 * `process` answers. */
int readiness_answer(const struct readiness *readiness, struct readiness_answer *ret);
