/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reports the result of a verb: as a line on standard output, or in the journal with fields. */

#include "hold/summary.h"
#include "xfrm/entry.h"

/* Reports the result of flush, and makes it the unit's status too. The functions below set no status, because their
 * verbs run beside a daemon that sets it itself. */
void report_flushed(const struct summary *summary);

void report_armed(const struct summary *summary);
void report_saved(const struct summary *summary);
void report_restored(const struct summary *summary);
void report_released(const struct summary *summary, const struct summary_release *release);

/* Reports with log_one() that the kernel has refused to change an entry. `verb` is the change, for example "remove":
 * "Could not remove policy …: …". */
void report_refused(uint64_t *n, const char *verb, const struct entry *entry, int error);
