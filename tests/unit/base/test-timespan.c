/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/timespan.h"

#define MSEC UINT64_C(1000)
#define SEC (1000 * MSEC)
#define MINUTE (60 * SEC)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define WEEK (7 * DAY)
#define MONTH (UINT64_C(2629800) * SEC)
#define YEAR (UINT64_C(31557600) * SEC)

#define INFINITELY TIMESPAN_INFINITY

/* Parsing: texts that systemd and xfrmctl accept. */

static const struct accepted_row {
	const char *name; /* the text */
	uint64_t usec;
} accepted_rows[] = {
	{"1y", YEAR},
	{"1year", YEAR},
	{"2years", 2 * YEAR},
	{"1month", MONTH},
	{"2months", 2 * MONTH},
	{"1M", MONTH},
	{"1w", WEEK},
	{"1week", WEEK},
	{"2weeks", 2 * WEEK},
	{"1d", DAY},
	{"1day", DAY},
	{"2days", 2 * DAY},
	{"1h", HOUR},
	{"1hr", HOUR},
	{"1hour", HOUR},
	{"2hours", 2 * HOUR},
	{"1m", MINUTE},
	{"1min", MINUTE},
	{"1minute", MINUTE},
	{"2minutes", 2 * MINUTE},
	{"1s", SEC},
	{"1sec", SEC},
	{"1second", SEC},
	{"2seconds", 2 * SEC},
	{"1ms", MSEC},
	{"1msec", MSEC},
	{"1us", 1},
	{"1usec", 1},
	{"1\u00b5s", 1},
	{"1\u03bcs", 1},

	{"0", 0},
	{"5", 5 * SEC},
	{"300", 5 * MINUTE},
	{"007", 7 * SEC},
	{"0s", 0},
	{"0y", 0},
	{"500ms", 500 * MSEC},
	{"30s", 30 * SEC},
	{"5min", 5 * MINUTE},
	{"1000000us", SEC},

	{"1min 30s", 90 * SEC},
	{"1min30s", 90 * SEC},
	{"1h30", HOUR + 30 * SEC},
	{"30s 1min", 90 * SEC},
	{"1s 1s", 2 * SEC},
	{"5 5", 10 * SEC},
	{"5 5min", 5 * SEC + 5 * MINUTE},
	{"2 h", 2 * HOUR},
	{"2hours30min", 2 * HOUR + 30 * MINUTE},
	{"1m 1M", MINUTE + MONTH},
	{"1y 1month 1w 1d 1h 1min 1s 1ms 1us", YEAR + MONTH + WEEK + DAY + HOUR + MINUTE + SEC + MSEC + 1},
	{"1y12month", YEAR + 12 * MONTH},
	{"55s500ms", 55 * SEC + 500 * MSEC},
	{"300ms20s 5day", 300 * MSEC + 20 * SEC + 5 * DAY},

	{"0.5", 500 * MSEC},
	{".5", 500 * MSEC},
	{"00.50", 500 * MSEC},
	{"2.5h", 2 * HOUR + 30 * MINUTE},
	{".5h", 30 * MINUTE},
	{"1.5 min", 90 * SEC},
	{"0.25d", 6 * HOUR},
	{"0.1ms", 100},
	{"0.001ms", 1},
	{"0.0009ms", 0},
	{"0.9us", 0},
	{"1.9us", 1},
	{"0.000001", 1},
	{"0.0000019", 1},
	{"1.999999s", 2 * SEC - 1},
	{"1.00000000000000000000000000000000001s", SEC},
	{"0.5s 0.5s", SEC},
	{"1.5s2.5s", 4 * SEC},
	{"12.34 .56", 12 * SEC + 900 * MSEC},
	{"12.34s.56", 12 * SEC + 900 * MSEC},
	{"1.5y", YEAR + YEAR / 2},

	{"+5", 5 * SEC},
	{"+5s", 5 * SEC},
	{"+0", 0},
	{"+1.5s", 1500 * MSEC},
	{"1s+2s", 3 * SEC},
	{"1s +2s", 3 * SEC},
	{"5 +5", 10 * SEC},

	{"infinity", INFINITELY},

	{"9223372036854775807us", INT64_MAX},
	{"9223372036854775us", UINT64_C(9223372036854775)},
	{"584541y", 584541 * YEAR},
	{"292271y 292270y", UINT64_C(584541) * YEAR},
	{"9223372036854775807us 9223372036854775807us", UINT64_MAX - 1},
};

static void check_accepted(const char *text, uint64_t expected)
{
	uint64_t usec = 77;

	int r = timespan_parse(text, &usec);
	if (r != 0 || usec != expected)
		fail_msg("'%s' gives %d, and %" PRIu64 " µs instead of %" PRIu64, text, r, usec, expected);
}

static void accepts(void **state)
{
	const struct accepted_row *row = *state;

	check_accepted(row->name, row->usec);
}

/* Texts with white space. As names they would break the output of the test. */
static const struct space_row {
	const char *name, *text;
	uint64_t usec;
} space_rows[] = {
	{"white space before", " \t\n\r5s", 5 * SEC},
	{"white space behind", "5s \t\n\r", 5 * SEC},
	{"white space between a number and its unit", "5 \t\n\rs", 5 * SEC},
	{"white space between two", "5s \t\n\r1s", 6 * SEC},
	{"white space around a number alone", "\t5\n", 5 * SEC},
	{"white space around infinity", " \tinfinity\n", INFINITELY},
};

static void accepts_space(void **state)
{
	const struct space_row *row = *state;

	check_accepted(row->text, row->usec);
}

/* Parsing: texts that systemd and xfrmctl refuse. The result must stay unchanged. */

static const struct refused_row {
	const char *name; /* the text */
	int result;
} refused_rows[] = {
	{"s", -EINVAL},
	{"abc", -EINVAL},
	{"5x", -EINVAL},
	{"5sx", -EINVAL},
	{"5ss", -EINVAL},
	{"5 secs", -EINVAL},
	{"5seco", -EINVAL},
	{"5mi", -EINVAL},
	{"5S", -EINVAL},
	{"5MIN", -EINVAL},
	{"5Min", -EINVAL},
	{"5ns", -EINVAL},
	{"5nsec", -EINVAL},
	{"5µ", -EINVAL},
	{"5s x", -EINVAL},
	{"x 5s", -EINVAL},
	{"5s s", -EINVAL},
	{"5 min sec", -EINVAL},
	{"5s, 3s", -EINVAL},
	{"5s;", -EINVAL},
	{"1:30", -EINVAL},
	{"0x10", -EINVAL},
	{"1e3", -EINVAL},
	{"5%", -EINVAL},
	{"5\\n", -EINVAL},

	{"5.", -EINVAL},
	{"5.s", -EINVAL},
	{"5. 5s", -EINVAL},
	{".", -EINVAL},
	{".s", -EINVAL},
	{"1..5", -EINVAL},
	{"12.34.56", -EINVAL},
	{"1,5s", -EINVAL},
	{"0.-5", -EINVAL},
	{"0.+5", -EINVAL},

	{"+", -EINVAL},
	{"+s", -EINVAL},
	{"++5", -EINVAL},
	{"+ 5", -EINVAL},
	{"+.5", -EINVAL},
	{"5+3", -EINVAL},

	{"Infinity", -EINVAL},
	{"infinit", -EINVAL},
	{"infinityx", -EINVAL},
	{"infinity 5s", -EINVAL},
	{"5s infinity", -EINVAL},
	{"infinity infinity", -EINVAL},
	{"+infinity", -EINVAL},

	{"18446744073709551615us", -ERANGE},
	{"18446744073709551616us", -ERANGE},
	{"99999999999999999999999999us", -ERANGE},
	{"18446744073710s", -ERANGE},
	{"18446744073709551615", -ERANGE},
	{"584543y", -ERANGE},
	{"584542y 1y", -ERANGE},
	{"9223372036854775807us 9223372036854775807us 1us", -ERANGE},
	{"9223372036854775807us 9223372036854775807us 0.001ms", -ERANGE},
};

static void refuses(void **state)
{
	const struct refused_row *row = *state;
	uint64_t usec = 77;

	int r = timespan_parse(row->name, &usec);
	if (r != row->result)
		fail_msg("'%s' gives %d, and %" PRIu64 " µs, instead of %d", row->name, r, usec, row->result);
	assert_int_equal(usec, 77);
}

static const char *const nothings[] = {"", " ", "\t\n\r", "  \n"};

static void refuses_nothing(void **state)
{
	uint64_t usec = 77;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nothings); i++)
		assert_int_equal(timespan_parse(nothings[i], &usec), -EINVAL);
	assert_int_equal(usec, 77);
}

/* Negative time spans. systemd refuses them with EINVAL or ERANGE; either is correct. */
static const struct negative_row {
	const char *name;
} negative_rows[] = {
	{"-5"}, {"-5s"}, {"-0"}, {"- 5"}, {"5-3"}, {"5s-3s"}, {"5s -3s"}, {"-infinity"}, {"-.5"}, {"5s -"},
};

static void refuses_negative(void **state)
{
	const struct negative_row *row = *state;
	uint64_t usec = 77;

	assert_in_range(-timespan_parse(row->name, &usec), 1, INT32_MAX);
	assert_int_equal(usec, 77);
}

/* The answers of systemd about the same texts. */

/* Runs `systemd-analyze timespan` on a text, and reads its microseconds into `usec`. Returns its exit status. */
static int ask_systemd(const char *text, uint64_t *usec)
{
	char *argv[] = {(char *)"systemd-analyze", (char *)"timespan", (char *)"--", (char *)text, NULL};
	posix_spawn_file_actions_t actions;
	char line[256];
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);

	FILE *output = fdopen(fds[0], "r");
	assert_non_null(output);
	while (!error && fgets(line, sizeof(line), output)) {
		const char *value = strstr(line, "s: ");
		if (value && (strstr(line, "μs: ") || strstr(line, "us: ")))
			*usec = strtoull(value + strlen("s: "), NULL, 10);
	}
	fclose(output);
	if (error)
		return -error;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void check_systemd_accepts(const char *text, uint64_t expected)
{
	uint64_t usec = 77;

	int status = ask_systemd(text, &usec);
	if (status != 0 || usec != expected)
		fail_msg("systemd ends with %d on '%s', and %" PRIu64 " µs instead of %" PRIu64, status, text, usec,
			 expected);
}

static void check_systemd_refuses(const char *text)
{
	uint64_t usec = 77;

	if (ask_systemd(text, &usec) != EXIT_FAILURE)
		fail_msg("systemd takes '%s' for %" PRIu64 " µs", text, usec);
}

static void agrees_with_systemd(void **state)
{
	uint64_t usec;

	(void)state;
	if (ask_systemd("1s", &usec) != 0)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(accepted_rows); i++)
		check_systemd_accepts(accepted_rows[i].name, accepted_rows[i].usec);
	for (size_t i = 0; i < ARRAY_SIZE(space_rows); i++)
		check_systemd_accepts(space_rows[i].text, space_rows[i].usec);
	for (size_t i = 0; i < ARRAY_SIZE(refused_rows); i++)
		check_systemd_refuses(refused_rows[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(nothings); i++)
		check_systemd_refuses(nothings[i]);
	for (size_t i = 0; i < ARRAY_SIZE(negative_rows); i++)
		check_systemd_refuses(negative_rows[i].name);
}

/* Writing. */

static const struct written_row {
	const char *name; /* the text */
	uint64_t usec;
} written_rows[] = {
	{"0", 0},
	{"1us", 1},
	{"999us", 999},
	{"1ms", MSEC},
	{"1ms 1us", MSEC + 1},
	{"500ms", 500 * MSEC},
	{"999ms 999us", SEC - 1},
	{"1s", SEC},
	{"1s 500ms", 1500 * MSEC},
	{"1s 1us", SEC + 1},
	{"30s", 30 * SEC},
	{"59s", 59 * SEC},
	{"1min", MINUTE},
	{"1min 30s", 90 * SEC},
	{"5min", 5 * MINUTE},
	{"59min 59s", HOUR - SEC},
	{"1h", HOUR},
	{"1h 1s", HOUR + SEC},
	{"23h", 23 * HOUR},
	{"1d", DAY},
	{"6d 23h", WEEK - HOUR},
	{"1w", WEEK},
	{"2w 3d", 17 * DAY},
	{"1month", MONTH},
	{"11month", 11 * MONTH},
	{"1y", YEAR},
	{"10y", 10 * YEAR},
	{"1y 1month 1w 1d 1h 1min 1s 1ms 1us", YEAR + MONTH + WEEK + DAY + HOUR + MINUTE + SEC + MSEC + 1},
	{"infinity", INFINITELY},
};

static void write_timespan(char *buffer, size_t size, const void *what)
{
	const uint64_t *usec = what;

	assert_ptr_equal(timespan_format(*usec, buffer, size), buffer);
}

static void writes(void **state)
{
	const struct written_row *row = *state;
	char buffer[TIMESPAN_MAX];

	write_timespan(buffer, sizeof(buffer), &row->usec);
	assert_string_equal(buffer, row->name);
	check_text_fits(write_timespan, &row->usec, TIMESPAN_MAX);
}

/* Parsing is the inverse of writing. */

static void check_inverse(uint64_t usec)
{
	char buffer[TIMESPAN_MAX];
	uint64_t again = 77;

	write_timespan(buffer, sizeof(buffer), &usec);
	int r = timespan_parse(buffer, &again);
	if (r != 0 || again != usec)
		fail_msg("%" PRIu64 " µs are written as '%s', which gives %d and %" PRIu64 " µs", usec, buffer, r,
			 again);
}

static void is_inverse_around_units(void **state)
{
	static const uint64_t units[] = {1, MSEC, SEC, MINUTE, HOUR, DAY, WEEK, MONTH, YEAR};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		for (uint64_t n = 0; n <= 1000; n++)
			for (uint64_t more = 0; more <= 2; more++)
				check_inverse(n * units[i] + more - (n > 0));
}

static void is_inverse_around_powers(void **state)
{
	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++)
		for (uint64_t more = 0; more <= 2; more++)
			check_inverse((UINT64_C(1) << bit) + more - 1);
	for (uint64_t less = 0; less <= 1000; less++)
		check_inverse(UINT64_MAX - less);
}

/* Checks pseudo-random numbers of all lengths (Knuth's generator, MMIX). */
static void is_inverse_anywhere(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (unsigned int i = 0; i < 50000; i++) {
		random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		check_inverse(random >> (i % 64));
	}
}

/* Checks the longest text: each unit has a number with as many digits as possible. */
static void writes_the_longest(void **state)
{
	const uint64_t usec =
		584541 * YEAR + 11 * MONTH + 4 * WEEK + DAY + 23 * HOUR + 59 * MINUTE + 59 * SEC + 999 * MSEC + 999;
	char buffer[TIMESPAN_MAX];

	(void)state;
	write_timespan(buffer, sizeof(buffer), &usec);
	assert_string_equal(buffer, "584541y 11month 4w 1d 23h 59min 59s 999ms 999us");
	check_text_fits(write_timespan, &usec, TIMESPAN_MAX);
}

static const struct coarse_row {
	const char *name;
	uint64_t usec;
	const char *text;
} coarse_rows[] = {
	{"coarse: nothing", 0, "0s"},
	{"coarse: less than a second", 999999, "0s"},
	{"coarse: a second and more", 1999999, "1s"},
	{"coarse: a minute", UINT64_C(60000000), "1min"},
	{"coarse: minutes", UINT64_C(125999999), "2min 5s"},
	{"coarse: hours", UINT64_C(7384000000), "2h 3min"},
	{"coarse: hours without minutes", UINT64_C(7204000000), "2h"},
	{"coarse: days", UINT64_C(180000000000), "2d 2h"},
	{"coarse: years", UINT64_C(31557600000000) * 2 + UINT64_C(60000000), "2y"},
	{"coarse: the largest", TIMESPAN_INFINITY - 1, "584542y"},
	{"coarse: infinity", TIMESPAN_INFINITY, "infinity"},
};

static void writes_coarse(char *buffer, size_t size, const void *row)
{
	timespan_format_coarse(((const struct coarse_row *)row)->usec, buffer, size);
}

static void formats_coarse(void **state)
{
	const struct coarse_row *row = *state;
	char buffer[TIMESPAN_MAX];

	assert_string_equal(timespan_format_coarse(row->usec, buffer, sizeof(buffer)), row->text);
	check_text_fits(writes_coarse, row, TIMESPAN_MAX);
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, accepts, accepted_rows);
	ADD_ROWS(&cases, accepts_space, space_rows);
	ADD_ROWS(&cases, refuses, refused_rows);
	ADD_CASE(&cases, refuses_nothing);
	ADD_ROWS(&cases, refuses_negative, negative_rows);
	ADD_CASE(&cases, agrees_with_systemd);
	ADD_ROWS(&cases, writes, written_rows);
	ADD_CASE(&cases, is_inverse_around_units);
	ADD_CASE(&cases, is_inverse_around_powers);
	ADD_CASE(&cases, is_inverse_anywhere);
	ADD_CASE(&cases, writes_the_longest);
	ADD_ROWS(&cases, formats_coarse, coarse_rows);
	return cmocka_run_group_tests_name("timespan", cases.list, NULL, NULL);
}
