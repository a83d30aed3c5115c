/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* When a daemon that does not answer hangs, and when it is only slow. Pure. */

#include <stdbool.h>
#include <stdint.h>

struct liveness {
	uint64_t misses;     /* so many questions in a row have to go without an answer; at least 1 */
	uint64_t limit_usec; /* after so much silence, no sign of life counts any more; or TIMESPAN_INFINITY */
};

struct liveness_evidence {
	uint64_t misses;      /* questions without an answer, since the last answer */
	uint64_t silent_usec; /* since the last answer */
	uint64_t recent_usec; /* since the question before the last one, or the last answer; this is long ago enough,
			       * and short enough, for what a thread that still works has done in the meantime: */
	uint64_t busy_usec;   /* what all threads together have run in that time, or have waited for a processor */
	bool traced;	      /* somebody debugs it */
	bool stopped;	      /* by a signal, as SIGSTOP */
	bool on_disk;	      /* a thread waits for a disk, or for something else that no signal ends */
};

enum liveness_verdict {
	LIVENESS_WAIT,	  /* not enough was asked */
	LIVENESS_TRACED,  /* leave it alone: it is in the hands of a debugger */
	LIVENESS_BUSY,	  /* leave it alone: it works */
	LIVENESS_STOPPED, /* end it: it cannot work */
	LIVENESS_IDLE,	  /* end it: it does nothing, and that not for want of a processor */
	LIVENESS_LIMIT,	  /* end it: whatever it does, it does so for ever */
};

enum liveness_verdict liveness_judge(const struct liveness *liveness, const struct liveness_evidence *evidence);

/* Whether it is to be ended. */
bool liveness_failed(enum liveness_verdict verdict);

/* Whether a question that was to be given up at `planned` (microseconds) shows anything when it was given up at `now`
 * only: whoever asks may not have got a processor either. `deadline` is how long an answer may take. */
bool liveness_counts(uint64_t planned, uint64_t now, uint64_t deadline);
