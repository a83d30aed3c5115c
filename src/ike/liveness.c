/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/liveness.h"

/* A daemon counts as busy if its threads ran, or waited for a processor, for 1/BUSY_SHARE of the period or more. A
 * daemon that works always has at least one such thread: its share is 1 or more. A daemon whose workers wait for each
 * other still receives packets, but each packet takes only some tens of microseconds. */
#define BUSY_SHARE 10

enum liveness_verdict liveness_judge(const struct liveness *liveness, const struct liveness_evidence *evidence)
{
	if (evidence->misses < liveness->misses)
		return LIVENESS_WAIT;
	if (evidence->traced)
		return LIVENESS_TRACED;
	if (evidence->stopped)
		return LIVENESS_STOPPED;
	if (evidence->silent_usec >= liveness->limit_usec)
		return LIVENESS_LIMIT;
	if (evidence->on_disk || evidence->busy_usec >= evidence->recent_usec / BUSY_SHARE)
		return LIVENESS_BUSY;
	return LIVENESS_IDLE;
}

bool liveness_failed(enum liveness_verdict verdict)
{
	return verdict >= LIVENESS_STOPPED;
}

bool liveness_counts(uint64_t planned, uint64_t now, uint64_t deadline)
{
	return now <= planned || now - planned <= deadline / 2;
}
