/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Returns the structure of type `type` whose member `member` is at `pointer`. */
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Calls a function with the address of a variable when the variable goes out of scope. */
#define CLEANUP(function) __attribute__((cleanup(function)))

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

static inline void free_text(char **text)
{
	free(*text);
}

/* Reads the beginning of a text file, such as a file of /proc, into a buffer of `size` bytes. Returns 0 or a negative
 * errno. */
static inline int read_text(const char *path, char *text, size_t size)
{
	CLEANUP(close_file) FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	size_t length = fread(text, 1, size - 1, f);
	text[length] = '\0';
	return ferror(f) ? -errno : 0;
}

/* Makes room for one more element of `size` bytes behind the `n` elements of a list. The room doubles each time, so
 * that the cost of all additions is linear. Returns the list, or NULL when memory is short; the list is then unchanged.
 */
static inline void *grow(void *list, size_t n, size_t *allocated, size_t size)
{
	if (n < *allocated)
		return list;
	size_t wanted = *allocated ? *allocated * 2 : 64;
	list = reallocarray(list, wanted, size);
	if (list)
		*allocated = wanted;
	return list;
}

/* Appends an element to a structure with a `list`, the number `n` of its elements, and the number of `allocated` ones.
 * Returns 0, or -ENOMEM; the list is then unchanged. */
#define APPEND(to, ...) \
	__extension__({ \
		__typeof__((to)->list) grown_ = grow((to)->list, (to)->n, &(to)->allocated, sizeof(*grown_)); \
		if (grown_) { \
			(to)->list = grown_; \
			grown_[(to)->n++] = (__VA_ARGS__); \
		} \
		grown_ ? 0 : -ENOMEM; \
	})

/* Returns the index of the first element of a sorted list that is not before `key`. */
static inline size_t lower_bound(const void *key, const void *list, size_t n, size_t size,
				 int (*compare)(const void *, const void *))
{
	size_t first = 0, behind = n;

	while (first < behind) {
		size_t middle = first + (behind - first) / 2;
		if (compare((const char *)list + middle * size, key) < 0)
			first = middle + 1;
		else
			behind = middle;
	}
	return first;
}

/* Returns the time of CLOCK_MONOTONIC in microseconds. Deadlines are times of this clock. */
static inline uint64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* Adds a duration to a point in time. Returns the sum, or UINT64_MAX (never) when it does not fit. */
static inline uint64_t usec_add(uint64_t usec, uint64_t by)
{
	return __builtin_add_overflow(usec, by, &usec) ? UINT64_MAX : usec;
}

static inline uint64_t usec_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline struct timespec timespec_of(uint64_t usec)
{
	return (struct timespec){.tv_sec = (time_t)(usec / USEC_PER_SEC),
				 .tv_nsec = (long)(usec % USEC_PER_SEC) * 1000};
}

/* Sleeps until a time of CLOCK_MONOTONIC in microseconds, even when signals arrive. */
static inline void sleep_until(uint64_t usec)
{
	const struct timespec until = timespec_of(usec);

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

/* Compares two numbers for qsort(3). */
static inline int compare_u32(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

static inline uint32_t max_u32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}
