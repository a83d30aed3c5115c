/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The location in the source does not help an operator, and differs between builds. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <systemd/sd-login.h>

#include "base/util.h"

/* Maximum size of a message, in bytes. */
#define MESSAGE_MAX 1024

/* Minimum number of entries for which progress_begin() asks for more time. Fewer are done long before any timeout. */
#define MANY_ENTRIES 10000

/* Time to ask for per entry, in microseconds. An entry takes about one microsecond. The margin is large because xfrmctl
 * cannot ask again during a flush. */
#define ENTRY_USEC USEC_PER_MSEC

/* Time that each request for more time asks for, in microseconds. The first request adds the time for the entries. */
#define EXTENSION_USEC (30 * USEC_PER_SEC)

/* Time between requests for more time, in microseconds. */
#define EXTENSION_INTERVAL_USEC (5 * USEC_PER_SEC)

/* Time until the progress bar appears, in microseconds. */
#define BAR_AFTER_USEC (500 * USEC_PER_MSEC)

/* Time between updates of the progress bar, in microseconds. */
#define BAR_INTERVAL_USEC (100 * USEC_PER_MSEC)

/* Width of the progress bar, in characters. */
#define BAR_WIDTH 40

static struct {
	/* Set by log_quiet() and by log_verbose(). */
	bool quiet, verbose;
	bool journal;	      /* standard error is a stream to the journal, so messages go there with fields */
	char *unit;	      /* unit that messages belong to, or NULL */
	char *captured;	      /* buffer that receives failures instead of the log, or NULL */
	size_t captured_size; /* size of `captured`, in bytes */

	/* Time at which progress_begin() was called, and the number of entries that it got. */
	uint64_t begun, total;
	/* Time of the last request for more time, and time of the last update of the progress bar. The latter is 0
	 * while there is no bar. */
	uint64_t extended, drawn;
} state;

/* Returns whether a descriptor is the stream that systemd connected to the journal. $JOURNAL_STREAM holds the device
 * and inode of that stream (systemd.exec(5)). They must be compared, because processes with redirected output inherit
 * the variable too. */
static bool is_journal_stream(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uint64_t device, inode;
	struct stat st;

	return stream && sscanf(stream, "%" SCNu64 ":%" SCNu64, &device, &inode) == 2 && fstat(fd, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}

void log_init(void)
{
	/* libsystemd reports no error when it cannot reach the socket, as in a unit with its own /run. */
	state.journal = is_journal_stream(STDERR_FILENO) && access("/run/systemd/journal/socket", W_OK) == 0;
	/* journald finds the unit of a message through /proc. A process as short-lived as this one may be gone by then.
	 * With this field, `journalctl -u` finds the message anyway (journalctl(1), --unit=). */
	if (state.journal && sd_pid_get_unit(0, &state.unit) < 0)
		state.unit = NULL;
}

void log_quiet(void)
{
	state.quiet = true;
}

bool log_is_quiet(void)
{
	return state.quiet;
}

void log_verbose(void)
{
	state.verbose = true;
}

bool log_in_unit(void)
{
	const char *pid = getenv("SYSTEMD_EXEC_PID");

	return pid && strtol(pid, NULL, 10) == getpid();
}

void log_about_unit(const char *unit)
{
	free(state.unit);
	state.unit = strdup(unit);
}

/* Sends a message to the journal with up to `n` additional fields. Returns false when that is not possible. */
static bool to_journal(int priority, const sd_id128_t *id, const char *message, const struct iovec *fields, size_t n)
{
	char text[sizeof("MESSAGE=") + MESSAGE_MAX], level[sizeof("PRIORITY=0")], unit[300];
	/* cppcheck-suppress variableScope ; sd_journal_sendv() reads it */
	char message_id[sizeof("MESSAGE_ID=") + SD_ID128_STRING_MAX];
	struct iovec iov[20];
	size_t used = 0;

	if (!state.journal)
		return false;

#define FIELD(buffer, ...) iov[used++] = (struct iovec){buffer, (size_t)snprintf(buffer, sizeof(buffer), __VA_ARGS__)}
	FIELD(text, "MESSAGE=%s", message);
	FIELD(level, "PRIORITY=%d", priority);
	if (id)
		FIELD(message_id, "MESSAGE_ID=" SD_ID128_FORMAT_STR, SD_ID128_FORMAT_VAL(*id));
	if (state.unit && strlen(state.unit) < sizeof(unit) - sizeof("OBJECT_SYSTEMD_UNIT="))
		FIELD(unit, "OBJECT_SYSTEMD_UNIT=%s", state.unit);
#undef FIELD
	for (size_t i = 0; i < n && used < ARRAY_SIZE(iov); i++)
		iov[used++] = fields[i];
	return sd_journal_sendv(iov, (int)used) >= 0;
}

static void erase_bar(void)
{
	if (state.drawn)
		fputs("\r\033[K", stderr);
	state.drawn = 0;
}

/* Returns the length of the UTF-8 sequence at the start of `text`, or 0 when it is invalid or a control character. */
static size_t printable_length(const unsigned char *text)
{
	size_t length = *text < 0x80 ? 1 : *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : *text >= 0xc2 ? 2 : 0;

	if (*text < ' ' || *text == 0x7f || *text > 0xf4)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

/* Replaces each byte that is not printable UTF-8 by '?'. Messages repeat arguments, which can contain any bytes, and
 * may cut off a character. journalctl would show such a message only as a blob, and a terminal obeys control
 * characters. */
static void make_printable(char *message)
{
	for (unsigned char *c = (unsigned char *)message; *c;) {
		size_t length = printable_length(c);
		if (!length)
			*c = '?';
		c += length ? length : 1;
	}
}

/* Writes one sentence to the journal or to standard error. Skips notices if the log is quiet, and details unless it is
 * verbose. Failures go to the buffer of log_capture(), if there is one. */
static void __attribute__((format(printf, 3, 0)))
say(int priority, const sd_id128_t *id, const char *format, va_list args)
{
	char message[MESSAGE_MAX];

	if ((priority == LOG_NOTICE && state.quiet) || (priority == LOG_DEBUG && !state.verbose))
		return;
	if (priority == LOG_ERR && state.captured) {
		vsnprintf(state.captured, state.captured_size, format, args);
		return;
	}
	vsnprintf(message, sizeof(message), format, args);
	make_printable(message);
	if (to_journal(priority, id, message, NULL, 0))
		return;
	erase_bar();
	fprintf(stderr, "xfrmctl: %s\n", message);
}

int log_failure(int error, sd_id128_t id, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(LOG_ERR, &id, format, args);
	va_end(args);
	return error;
}

void log_one(uint64_t *n, int priority, sd_id128_t id, const char *format, ...)
{
	va_list args;

	if ((*n)++ >= LOG_NAMED_MAX)
		return;
	va_start(args, format);
	say(priority, &id, format, args);
	va_end(args);
}

void log_rest(uint64_t n, int priority, sd_id128_t id, const char *what)
{
	uint64_t said = 0;

	if (n > LOG_NAMED_MAX)
		log_one(&said, priority, id, "%" PRIu64 " more %s.", n - LOG_NAMED_MAX, what);
}

void log_later(struct log_list *list, const char *format, ...)
{
	va_list args;

	if (list->n++ >= LOG_NAMED_MAX)
		return;
	va_start(args, format);
	vsnprintf(list->sentences[list->n - 1], LOG_SENTENCE_MAX, format, args);
	va_end(args);
}

void log_list(const struct log_list *list, uint64_t *n, int priority, sd_id128_t id)
{
	uint64_t i = 0;

	for (; i < list->n && i < LOG_NAMED_MAX; i++)
		log_one(n, priority, id, "%s", list->sentences[i]);
	*n += list->n - i;
}

int log_finish_output(void)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	int r = errno ? -errno : -EIO;
	return log_failure(r, MESSAGE_FAILED, "Could not write to standard output: %s.", strerror(-r));
}

void log_capture(char *text, size_t size)
{
	state.captured = text;
	state.captured_size = size;
}

void log_notice(sd_id128_t id, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(LOG_NOTICE, &id, format, args);
	va_end(args);
}

void log_detail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(LOG_DEBUG, &MESSAGE_DETAIL, format, args);
	va_end(args);
}

void progress_begin(uint64_t entries, const char *doing)
{
	state.begun = now_usec();
	state.extended = state.begun;
	state.total = entries;
	if (entries < MANY_ENTRIES)
		return;
	uint64_t extension = EXTENSION_USEC + entries * ENTRY_USEC;
	if (doing)
		sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=%s %" PRIu64 " SAs and policies…", extension,
			   doing, entries);
	else
		sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, extension);
}

static void draw_bar(uint64_t done)
{
	uint64_t total = done > state.total ? done : state.total;
	uint64_t filled = total ? done * BAR_WIDTH / total : 0;
	char bar[BAR_WIDTH + 1];

	for (size_t i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < filled ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr, "\r[%s] %" PRIu64 " of %" PRIu64 " entries\033[K", bar, done, total);
	fflush(stderr);
}

void progress_advance(uint64_t done)
{
	/* Check the time only for each 64th entry, because reading the clock for every entry would take too long. */
	if (done % 64 != 0)
		return;

	uint64_t now = now_usec();
	if (now - state.extended >= EXTENSION_INTERVAL_USEC) {
		sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, EXTENSION_USEC);
		state.extended = now;
	}
	if (now - state.begun >= BAR_AFTER_USEC && now - state.drawn >= BAR_INTERVAL_USEC && !state.quiet &&
	    isatty(STDERR_FILENO)) {
		draw_bar(done);
		state.drawn = now;
	}
}

uint64_t progress_end(void)
{
	erase_bar();
	return now_usec() - state.begun;
}

void log_figures(int priority, sd_id128_t id, const char *sentence, const struct log_field *fields, size_t n)
{
	char message[MESSAGE_MAX], texts[LOG_FIELDS_MAX][48];
	struct iovec iov[LOG_FIELDS_MAX];

	assert(n <= LOG_FIELDS_MAX);
	if (state.quiet && priority >= LOG_NOTICE)
		return;
	for (size_t i = 0; i < n; i++) {
		int length = snprintf(texts[i], sizeof(texts[i]), "%s=%" PRIu64, fields[i].name, fields[i].value);
		iov[i] = (struct iovec){texts[i], (size_t)length};
	}
	snprintf(message, sizeof(message), "%s", sentence);
	make_printable(message);
	if (to_journal(priority, &id, message, iov, n))
		return;
	if (priority >= LOG_INFO)
		printf("%s\n", message);
	else
		fprintf(stderr, "xfrmctl: %s\n", message);
}
