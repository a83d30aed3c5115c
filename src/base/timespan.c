/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/timespan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define USEC UINT64_C(1)
#define MSEC (1000 * USEC)
#define SEC (1000 * MSEC)
#define MINUTE (60 * SEC)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define WEEK (7 * DAY)
/* A month has 30.44 days, and a year 365.25. */
#define MONTH (UINT64_C(2629800) * SEC)
#define YEAR (UINT64_C(31557600) * SEC)

#define WHITE_SPACE " \t\n\r"
#define DIGITS "0123456789"

/* The units, from the longest to the shortest. timespan_format() writes the first name of a unit. */
static const struct unit {
	uint64_t usec;
	const char *names[6];
} units[] = {
	{YEAR, {"y", "year", "years"}},		  {MONTH, {"month", "months", "M"}},
	{WEEK, {"w", "week", "weeks"}},		  {DAY, {"d", "day", "days"}},
	{HOUR, {"h", "hr", "hour", "hours"}},	  {MINUTE, {"min", "m", "minute", "minutes"}},
	{SEC, {"s", "sec", "second", "seconds"}}, {MSEC, {"ms", "msec"}},
	{USEC, {"us", "usec", "µs", "μs"}},
};

/* Finds the unit whose name `text` begins with, or the second without a name. Sets `length` to the length of the name.
 * Returns NULL for another name. */
static const struct unit *find_unit(const char *text, size_t *length)
{
	*length = strcspn(text, WHITE_SPACE DIGITS ".+-");
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		for (size_t j = 0; j < ARRAY_SIZE(units[i].names) && units[i].names[j]; j++)
			if (*length ? strlen(units[i].names[j]) == *length &&
					      strncmp(units[i].names[j], text, *length) == 0
				    : units[i].usec == SEC)
				return &units[i];
	return NULL;
}

/* Adds to `sum` the number of `n` digits before a decimal point, in a unit of `unit` microseconds. Returns 0 or
 * -ERANGE. */
static int add_whole(const char *digits, size_t n, uint64_t unit, uint64_t *sum)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(digits[i] - '0'), &value))
			return -ERANGE;
	return __builtin_mul_overflow(value, unit, &value) || __builtin_add_overflow(*sum, value, sum) ? -ERANGE : 0;
}

/* Adds to `sum` the `n` digits behind a decimal point, and drops fractions of a microsecond. Returns 0 or -ERANGE. */
static int add_fraction(const char *digits, size_t n, uint64_t unit, uint64_t *sum)
{
	for (size_t i = 0; i < n; i++) {
		unit /= 10;
		if (__builtin_add_overflow(*sum, unit * (uint64_t)(digits[i] - '0'), sum))
			return -ERANGE;
	}
	return 0;
}

int timespan_parse(const char *text, uint64_t *ret)
{
	const char *next = text + strspn(text, WHITE_SPACE);
	uint64_t sum = 0;

	if (strncmp(next, "infinity", strlen("infinity")) == 0) {
		next += strlen("infinity");
		if (next[strspn(next, WHITE_SPACE)])
			return -EINVAL;
		*ret = TIMESPAN_INFINITY;
		return 0;
	}
	if (!*next)
		return -EINVAL;

	while (*next) {
		/* systemd reads numbers with strtoll(), which accepts a '+'. */
		next += *next == '+' && strspn(next + 1, DIGITS) > 0;
		const char *whole = next, *fraction = NULL;
		size_t n_whole = strspn(whole, DIGITS), n_fraction = 0, length;

		next += n_whole;
		if (*next == '.') {
			fraction = next + 1;
			n_fraction = strspn(fraction, DIGITS);
			next = fraction + n_fraction;
		}
		if (fraction ? !n_fraction : !n_whole)
			return -EINVAL;

		size_t space = strspn(next, WHITE_SPACE);
		next += space;
		const struct unit *unit = find_unit(next, &length);
		/* After a number without a unit, only white space or the end may come: "12.34.56" and "5+3" are
		 * invalid, "12.34 .56" is valid. */
		if (!unit || (!length && !space && *next))
			return -EINVAL;
		next += length;
		next += strspn(next, WHITE_SPACE);

		int r = add_whole(whole, n_whole, unit->usec, &sum);
		if (r == 0 && fraction)
			r = add_fraction(fraction, n_fraction, unit->usec, &sum);
		if (r < 0)
			return r;
	}
	if (sum == TIMESPAN_INFINITY)
		return -ERANGE;
	*ret = sum;
	return 0;
}

const char *timespan_format(uint64_t usec, char *buffer, size_t size)
{
	size_t used = 0;

	if (usec == TIMESPAN_INFINITY)
		snprintf(buffer, size, "infinity");
	else if (!usec)
		snprintf(buffer, size, "0");
	else
		for (size_t i = 0; i < ARRAY_SIZE(units) && used < size; i++) {
			if (usec < units[i].usec)
				continue;
			used += (size_t)snprintf(buffer + used, size - used, "%s%" PRIu64 "%s", used ? " " : "",
						 usec / units[i].usec, units[i].names[0]);
			usec %= units[i].usec;
		}
	return buffer;
}

const char *timespan_format_coarse(uint64_t usec, char *buffer, size_t size)
{
	if (usec < SEC) {
		snprintf(buffer, size, "0s");
		return buffer;
	}
	for (size_t i = 0; usec != TIMESPAN_INFINITY && i < ARRAY_SIZE(units); i++) {
		if (usec < units[i].usec)
			continue;
		usec -= usec % units[i].usec % (units[i].usec > SEC ? units[i + 1].usec : SEC);
		break;
	}
	return timespan_format(usec, buffer, size);
}
