/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/liveness.h"

/* A daemon with work to do keeps at least one thread running, or in the queue for a processor, all the time: its share
 * is 1 and more. One whose workers wait for each other still receives packets, some tens of microseconds each. */
#define BUSY_SHARE 10

enum patience_verdict patience_judge(const struct patience *patience, const struct patience_evidence *evidence)
{
	if (evidence->misses < patience->misses)
		return PATIENCE_WAIT;
	if (evidence->traced)
		return PATIENCE_TRACED;
	if (evidence->stopped)
		return PATIENCE_STOPPED;
	if (evidence->silent_usec >= patience->limit_usec)
		return PATIENCE_LIMIT;
	if (evidence->on_disk || evidence->busy_usec >= evidence->recent_usec / BUSY_SHARE)
		return PATIENCE_BUSY;
	return PATIENCE_IDLE;
}

bool patience_has_ended(enum patience_verdict verdict)
{
	return verdict >= PATIENCE_STOPPED;
}

bool patience_counts(uint64_t planned, uint64_t now, uint64_t deadline)
{
	return now <= planned || now - planned <= deadline / 2;
}
