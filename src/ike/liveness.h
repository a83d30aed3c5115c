/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Decides whether a daemon that does not answer hangs, or is only slow. Pure. */

#include <stdbool.h>
#include <stdint.h>

/* Limits that the user sets. */
struct liveness {
	/* Number of questions in a row that must stay unanswered before the daemon is ended; at least 1. */
	uint64_t misses;
	/* Microseconds without an answer after which even a daemon that works is ended; or TIMESPAN_INFINITY. */
	uint64_t limit_usec;
};

/* Observations of a daemon that does not answer. */
struct liveness_evidence {
	/* Number of unanswered questions since the last answer. */
	uint64_t misses;
	/* Microseconds since the last answer. */
	uint64_t silent_usec;
	/* Microseconds since the previous unanswered question, or since the last answer if there is none. The period is
	 * long enough for a thread that works to have run, and short enough to leave out older work. */
	uint64_t recent_usec;
	/* Microseconds of that period in which threads ran or waited for a processor, summed over all threads. */
	uint64_t busy_usec;
	/* Whether a debugger traces the daemon. */
	bool traced;
	/* Whether a signal such as SIGSTOP has stopped the daemon. */
	bool stopped;
	/* Whether a thread waits for a disk, or for something else, in a way that no signal can end. */
	bool on_disk;
};

/* Decisions about a daemon that does not answer. */
enum liveness_verdict {
	LIVENESS_WAIT,	  /* wait: too few questions are unanswered */
	LIVENESS_TRACED,  /* do not end it: a debugger controls it */
	LIVENESS_BUSY,	  /* do not end it: it works */
	LIVENESS_STOPPED, /* end it: it cannot work */
	LIVENESS_IDLE,	  /* end it: it does nothing, although it could have a processor */
	LIVENESS_LIMIT,	  /* end it: it has not answered for too long, even if it works */
};

/* Returns the decision for the evidence. */
enum liveness_verdict liveness_judge(const struct liveness *liveness, const struct liveness_evidence *evidence);

/* Returns whether the decision is to end the daemon. */
bool liveness_failed(enum liveness_verdict verdict);

/* Returns whether an unanswered question counts against the daemon. The caller meant to give up at `planned`, and did
 * so at `now` (both in microseconds). If it is late, it may have lacked a processor itself, and so may the daemon.
 * `deadline` is the time allowed for an answer. */
bool liveness_counts(uint64_t planned, uint64_t now, uint64_t deadline);
