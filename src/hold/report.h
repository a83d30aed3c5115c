/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reports what a verb did. */

#include "hold/summary.h"
#include "xfrm/entry.h"

/* Each says what a verb did: one line on standard output, or the journal with fields. What flush did becomes the unit's
 * status too; the others run beside a daemon that has a status of its own. */
void report_flushed(const struct summary *summary);
void report_armed(const struct summary *summary);
void report_saved(const struct summary *summary);
void report_restored(const struct summary *summary);
void report_released(const struct summary *summary, const struct summary_release *release);

/* Reports by log_one() that an entry was refused what `verb` says ("Could not remove policy …: …"). */
void report_refused(uint64_t *n, const char *verb, const struct entry *entry, int error);
