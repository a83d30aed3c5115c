/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/timespan.h"
#include "ike/liveness.h"

#define SEC UINT64_C(1000000)

/* The defaults of `xfrmctl watch`. */
static const struct liveness liveness = {.misses = 3, .limit_usec = 300 * SEC};

/* Evidence of a daemon that has not answered three questions in 30 s. */
#define SILENT .misses = 3, .silent_usec = 30 * SEC, .recent_usec = 10 * SEC

static const struct judge_row {
	const char *name;
	struct liveness_evidence evidence;
	enum liveness_verdict verdict;
} judge_rows[] = {
	{"answers", {.misses = 0}, LIVENESS_WAIT},
	{"one miss", {.misses = 1, .silent_usec = 10 * SEC, .recent_usec = 10 * SEC}, LIVENESS_WAIT},
	{"two misses, stopped",
	 {.misses = 2, .silent_usec = 20 * SEC, .recent_usec = 10 * SEC, .stopped = true},
	 LIVENESS_WAIT},
	{"two misses, beyond the limit",
	 {.misses = 2, .silent_usec = 400 * SEC, .recent_usec = 200 * SEC},
	 LIVENESS_WAIT},
	{"does nothing", {SILENT}, LIVENESS_IDLE},
	{"receives packets", {SILENT, .busy_usec = SEC - 1}, LIVENESS_IDLE},
	{"works a little", {SILENT, .busy_usec = SEC}, LIVENESS_BUSY},
	{"works with all its threads", {SILENT, .busy_usec = 160 * SEC}, LIVENESS_BUSY},
	{"waits for a disk", {SILENT, .on_disk = true}, LIVENESS_BUSY},
	{"stopped", {SILENT, .stopped = true}, LIVENESS_STOPPED},
	{"stopped after work", {SILENT, .stopped = true, .busy_usec = 9 * SEC}, LIVENESS_STOPPED},
	{"debugged", {SILENT, .traced = true}, LIVENESS_TRACED},
	{"stopped by a debugger", {SILENT, .traced = true, .stopped = true}, LIVENESS_TRACED},
	{"works, just before the limit",
	 {.misses = 30, .silent_usec = 300 * SEC - 1, .recent_usec = 10 * SEC, .busy_usec = 10 * SEC},
	 LIVENESS_BUSY},
	{"works, at the limit",
	 {.misses = 30, .silent_usec = 300 * SEC, .recent_usec = 10 * SEC, .busy_usec = 10 * SEC},
	 LIVENESS_LIMIT},
	{"waits for a disk, at the limit",
	 {.misses = 30, .silent_usec = 300 * SEC, .recent_usec = 10 * SEC, .on_disk = true},
	 LIVENESS_LIMIT},
	{"debugged, beyond the limit",
	 {.misses = 60, .silent_usec = 600 * SEC, .recent_usec = 10 * SEC, .traced = true},
	 LIVENESS_TRACED},
	{"no time between two questions", {.misses = 3, .silent_usec = 30 * SEC}, LIVENESS_BUSY},
};

static void judges(void **state)
{
	const struct judge_row *row = *state;

	assert_int_equal(liveness_judge(&liveness, &row->evidence), row->verdict);
}

static void has_no_limit(void **state)
{
	const struct liveness endless = {.misses = 1, .limit_usec = TIMESPAN_INFINITY};
	const struct liveness_evidence working = {
		.misses = 1000, .silent_usec = 1000000 * SEC, .recent_usec = SEC, .busy_usec = SEC};
	const struct liveness_evidence idle = {.misses = 1, .silent_usec = SEC, .recent_usec = SEC};

	(void)state;
	assert_int_equal(liveness_judge(&endless, &working), LIVENESS_BUSY);
	assert_int_equal(liveness_judge(&endless, &idle), LIVENESS_IDLE);
}

static void ends_only_who_hangs(void **state)
{
	(void)state;
	assert_false(liveness_failed(LIVENESS_WAIT));
	assert_false(liveness_failed(LIVENESS_TRACED));
	assert_false(liveness_failed(LIVENESS_BUSY));
	assert_true(liveness_failed(LIVENESS_STOPPED));
	assert_true(liveness_failed(LIVENESS_IDLE));
	assert_true(liveness_failed(LIVENESS_LIMIT));
}

static void counts_only_in_time(void **state)
{
	(void)state;
	assert_true(liveness_counts(100 * SEC, 100 * SEC, 10 * SEC));
	assert_true(liveness_counts(100 * SEC, 99 * SEC, 10 * SEC));
	assert_true(liveness_counts(100 * SEC, 105 * SEC, 10 * SEC));
	assert_false(liveness_counts(100 * SEC, 105 * SEC + 1, 10 * SEC));
	assert_false(liveness_counts(100 * SEC, 1000 * SEC, 10 * SEC));
}

/* A line that a 6.18 kernel wrote about charon, with another name and state. */
#define STAT(name, state) \
	"812 (" name ") " state " 1 812 812 0 -1 4194560 6311 0 21 0 137 45 0 0 20 0 18 0 2210 612450304 2945 " \
	"18446744073709551615 1 1 0 0 0 0 16387 4096 1134 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

static const struct stat_row {
	const char *name;
	const char *line;
	int result;
	char state;
} stat_rows[] = {
	{"charon", STAT("charon-systemd", "S"), 0, 'S'},
	{"stopped", STAT("charon-systemd", "T"), 0, 'T'},
	{"name with parentheses and spaces", STAT("a) R 1 (b", "D"), 0, 'D'},
	{"name without anything", STAT("", "Z"), 0, 'Z'},
	{"cut before the times", "812 (charon) S 1 812 812 0 -1 4194560 6311 0 21 0", -EBADMSG, 0},
	{"cut in the name", "812 (charon", -EBADMSG, 0},
	{"empty line", "", -EBADMSG, 0},
	{"nothing behind the name", "812 (charon)", -EBADMSG, 0},
};

static void parses_stat(void **state)
{
	const struct stat_row *row = *state;
	struct proc process = {.state = 'x'};

	assert_int_equal(proc_parse_stat(row->line, 100, &process), row->result);
	if (row->result < 0) {
		assert_int_equal(process.state, 'x');
		return;
	}
	assert_int_equal(process.state, row->state);
	assert_int_equal(process.parent, 1);
	assert_int_equal(process.cpu_usec, 1820000);
}

static void finds_itself(void **state)
{
	struct proc process;

	(void)state;
	assert_int_equal(proc_read_all(getpid(), &process), 0);
	assert_int_equal(process.state, 'R');
	assert_int_equal(process.parent, getppid());
	assert_false(process.dumping);
	assert_true(proc_descends_from(getpid(), getpid()));
	assert_true(proc_descends_from(getpid(), getppid()));
	assert_false(proc_descends_from(getppid(), getpid()));
	assert_false(proc_descends_from(0, getpid()));
	assert_int_equal(proc_read_all(INT32_MAX, &process), -ENOENT);
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, judges, judge_rows);
	ADD_CASE(&cases, has_no_limit);
	ADD_CASE(&cases, ends_only_who_hangs);
	ADD_CASE(&cases, counts_only_in_time);
	ADD_ROWS(&cases, parses_stat, stat_rows);
	ADD_CASE(&cases, finds_itself);
	return cmocka_run_group_tests_name("liveness", cases.list, NULL, NULL);
}
