/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The output of xfrmctl. On a terminal or a pipe it consists of sentences. In a unit of systemd, messages go to the
 * journal with fields; xfrmctl also sets the unit's status and asks systemd for more time. */

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>
#include <systemd/sd-id128.h>

/* Maximum number of fields of log_figures(). */
#define LOG_FIELDS_MAX 16

/* MESSAGE_IDs of the messages that the journal catalog (units/xfrmctl.catalog) explains. */
#define MESSAGE_FLUSHED SD_ID128_MAKE(3f, 52, a1, 35, 7c, 9d, 46, b7, 91, 44, b6, 7f, 54, 2e, b3, d8)
#define MESSAGE_ARMED SD_ID128_MAKE(3e, 4c, 0f, 6a, 8b, 52, 4d, 0e, a0, 7d, 5f, 19, 62, c8, 11, e7)
#define MESSAGE_RELEASED SD_ID128_MAKE(b7, 1d, 90, 43, 5e, 2a, 4f, 6c, 8d, c3, 07, 9a, f4, 36, e2, 5b)
#define MESSAGE_INCOMPLETE SD_ID128_MAKE(da, 61, 1f, af, 26, da, 49, 23, 81, 64, 9f, de, 84, d2, 44, 58)
#define MESSAGE_REFUSED SD_ID128_MAKE(9e, ba, e0, 76, 30, 92, 44, 89, 9a, 60, 04, 8c, 42, d1, c8, 00)
#define MESSAGE_FAILED SD_ID128_MAKE(fa, 39, b7, b7, 19, a8, 4b, 36, 96, 44, 71, 0a, 18, 19, bd, 28)
#define MESSAGE_USAGE SD_ID128_MAKE(c9, 3d, 11, 3f, 02, c2, 4b, b9, 99, 94, 23, be, ba, b9, d8, b2)
#define MESSAGE_SETTING SD_ID128_MAKE(6e, 0d, 7b, 91, a4, 53, 4c, f8, 9d, 26, 3b, e8, 15, c7, 4a, 70)
#define MESSAGE_UNKNOWN SD_ID128_MAKE(e8, 09, f5, 2f, 6b, 3d, 47, 5a, 92, 3f, c4, 71, 8d, 44, a5, 2e)
#define MESSAGE_WAITED SD_ID128_MAKE(ad, 29, 34, a4, 39, 05, 4f, 1c, 85, e3, bb, 47, 7f, be, 4b, cb)
#define MESSAGE_SILENT SD_ID128_MAKE(a9, 86, f4, 31, ca, 7a, 49, 14, a6, f3, 77, 98, eb, 1d, f8, a6)
#define MESSAGE_SLOW SD_ID128_MAKE(0f, 80, db, f2, 1e, 6f, 40, 38, af, 7e, 9b, f0, c6, 57, 19, e2)
#define MESSAGE_HUNG SD_ID128_MAKE(e2, c3, 25, a2, 8b, fc, 4b, 4c, 8e, d7, e0, 8c, a6, 94, cf, 6a)
#define MESSAGE_ENDED SD_ID128_MAKE(05, 73, 03, be, b6, c5, 42, 10, 86, 52, 62, 23, c1, ed, 0b, 63)
#define MESSAGE_ANSWERS SD_ID128_MAKE(d4, b8, 85, 0d, 2e, 1d, 44, 4a, a1, 1e, 4e, 9c, f8, bf, c7, e6)
#define MESSAGE_UNWATCHED SD_ID128_MAKE(9b, 92, 87, 41, 5f, b8, 42, 57, 9b, dd, c0, d6, 91, 86, 19, ac)

#define MESSAGE_MISSING SD_ID128_MAKE(6c, 0b, 1e, 84, 97, d3, 4f, 2a, b5, 68, 0e, c1, 7a, f4, 39, 52)
#define MESSAGE_BACK SD_ID128_MAKE(e3, 57, a8, 0c, 1b, 96, 48, df, 92, 4e, b7, 05, 63, da, 8c, 1f)

#define MESSAGE_FELL_BACK SD_ID128_MAKE(f1, 35, 07, 93, d1, c5, 47, 89, 8b, 4d, 2e, e2, db, cf, 40, 64)
#define MESSAGE_NO_CLEAN_SHUTDOWN SD_ID128_MAKE(32, 5f, 81, fa, 64, 77, 4d, c2, b1, e0, 67, 04, 32, d1, ac, e2)
#define MESSAGE_HANDED_OVER SD_ID128_MAKE(ca, 34, 2f, ee, b8, 8b, 4c, dc, be, 18, b6, f3, 60, b7, 5c, d0)

#define MESSAGE_SAVED SD_ID128_MAKE(0b, 64, 3d, e9, 72, 5a, 41, 8e, 9c, 0f, d3, 66, b8, 1e, a4, 57)
#define MESSAGE_LEFT_OUT SD_ID128_MAKE(7e, 18, c2, 05, d9, 4b, 43, f6, a3, 6d, 51, 8a, 2f, 90, ec, 13)
#define MESSAGE_BLOCKED_AT_BOOT SD_ID128_MAKE(c5, 29, 97, 4e, 1a, 83, 4d, 60, b7, f2, 08, 3c, 6e, d5, 9b, 41)
#define MESSAGE_NOT_BLOCKED_AT_BOOT SD_ID128_MAKE(5d, f0, 6b, 38, e4, 17, 4c, 92, 8a, 35, c9, 7e, 02, 4f, b1, d6)

#define MESSAGE_STARTER SD_ID128_MAKE(49, 2b, 0a, 0d, be, f0, 48, f8, b5, 33, a7, 2c, 24, e8, d2, 45)
#define MESSAGE_LOADED SD_ID128_MAKE(98, fe, b8, 57, 31, 3e, 46, f5, 8b, 8d, cd, 2d, 48, ab, cb, 7a)
#define MESSAGE_NOT_LOADED SD_ID128_MAKE(3a, 4a, 7f, d0, 2f, ad, 45, e3, 87, a3, 19, 26, fc, 0a, 7b, 78)
#define MESSAGE_LOST_AT_LOAD SD_ID128_MAKE(4d, 46, 7b, 8e, 75, 5b, 45, 7a, a6, 0d, f6, 4e, b3, a5, 85, 93)
#define MESSAGE_UNSURE SD_ID128_MAKE(f9, e7, f3, 26, d1, 21, 4a, d7, aa, 46, 5d, a0, ff, 00, 74, e6)
#define MESSAGE_STALE_ADDRESS SD_ID128_MAKE(db, 7a, 5b, d8, a7, 15, 4a, da, 81, 17, 9a, 4d, 4d, 41, 52, a6)
#define MESSAGE_DETAIL SD_ID128_MAKE(88, 0a, 51, ba, 41, fa, 4b, 61, b0, 7a, 80, 58, 19, d9, 03, 5d)

/* Detects whether standard error goes to the journal. The program calls it once, before the other functions. */
void log_init(void);

/* Turns notices and summaries off. */
void log_quiet(void);

/* Returns whether log_quiet() was called. */
bool log_is_quiet(void);

/* Turns details on. */
void log_verbose(void);

/* Returns whether systemd started this very process as a command of a unit. */
bool log_in_unit(void);

/* Makes `journalctl -u UNIT` find all later messages, also when this process belongs to another unit. */
void log_about_unit(const char *unit);

/* Reports a failure in one sentence, with `id` as MESSAGE_ID in the journal. Returns `error`, so that a caller can
 * report and return in one line. */
int log_failure(int error, sd_id128_t id, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Maximum number of similar events that are reported one by one. Further ones are only counted. */
#define LOG_NAMED_MAX 10

/* Increments `*n`, and reports the sentence unless LOG_NAMED_MAX were reported before. With LOG_ERR it reports like
 * log_failure(), with LOG_NOTICE like log_notice(). */
void log_one(uint64_t *n, int priority, sd_id128_t id, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Reports how many of `n` events were only counted, if any ("3 more routes could not be changed."). The caller calls it
 * after the last log_one(). */
void log_rest(uint64_t n, int priority, sd_id128_t id, const char *what);

/* Maximum size of a sentence in a list, in bytes. */
#define LOG_SENTENCE_MAX 512

/* Sentences that are reported later, or not at all. A list is empty when `n` is 0. */
struct log_list {
	uint64_t n; /* number of events, also of those whose sentence the list does not have */
	char sentences[LOG_NAMED_MAX][LOG_SENTENCE_MAX]; /* sentences of the first events */
};

/* Counts an event in a list, and adds its sentence unless the list has LOG_NAMED_MAX sentences. */
void log_later(struct log_list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reports the sentences of a list like log_one(), and adds the number of all its events to `*n`. */
void log_list(const struct log_list *list, uint64_t *n, int priority, sd_id128_t id);

/* Flushes standard output at the end of the program, and reports an error of this write or an earlier one. Returns 0 or
 * a negative errno. */
int log_finish_output(void);

/* Writes later failures into `text`, a buffer of `size` bytes, instead of reporting them. NULL ends that. */
void log_capture(char *text, size_t size);

/* Reports, in one sentence, an event that an operator should see although no operation failed. */
void log_notice(sd_id128_t id, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reports a detail, if log_verbose() was called. */
void log_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A figure of a message. In the journal it is a field. */
struct log_field {
	const char *name; /* in capitals, as XFRM_SAS */
	uint64_t value;
};

/* Reports one sentence with its figures. In the journal the message has `priority` (syslog(3)) and up to LOG_FIELDS_MAX
 * fields. Otherwise the sentence goes to standard output, or to standard error with LOG_NOTICE and more urgent
 * priorities. log_quiet() turns off LOG_NOTICE and less urgent ones. */
void log_figures(int priority, sd_id128_t id, const char *sentence, const struct log_field *fields, size_t n);

/* Starts work on a number of entries, and the clock of the progress bar. When there are many, asks the service manager
 * for the time that they may take (sd_notify(3), EXTEND_TIMEOUT_USEC=). The unit's status then begins with `doing`
 * ("Removing"), unless that is NULL. */
void progress_begin(uint64_t entries, const char *doing);

/* Reports progress: `done` entries are finished. It is cheap enough to be called for each entry. If standard error is a
 * terminal, draws a progress bar after half a second of work. Asks the service manager for more time at intervals. */
void progress_advance(uint64_t done);

/* Ends the work and erases the progress bar. Returns the microseconds since progress_begin(). */
uint64_t progress_end(void);
