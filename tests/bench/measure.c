/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Runs a command once, without its output, and prints three numbers: its duration in nanoseconds, its time on a
 * processor in nanoseconds (in user space and in the kernel), and its largest resident size in KiB.
 *
 *     measure COMMAND [ARGUMENT...]
 *
 * The program is small for two reasons. The larger a parent process is, the longer the start of its child takes. The
 * largest resident size of a child also includes its memory before execve() (getrusage(2), ru_maxrss). */

#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t nanoseconds(const struct timeval *tv)
{
	return ((int64_t)tv->tv_sec * 1000000 + tv->tv_usec) * 1000;
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	struct rusage usage;
	int status;
	pid_t pid;

	if (argc < 2) {
		fprintf(stderr, "Usage: measure COMMAND [ARGUMENT...]\n");
		return EXIT_FAILURE;
	}

	int error = posix_spawn_file_actions_init(&actions);
	if (!error)
		error = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	int64_t begun = now();
	if (!error)
		error = posix_spawnp(&pid, argv[1], &actions, NULL, argv + 1, environ);
	if (error) {
		fprintf(stderr, "measure: %s: %s\n", argv[1], strerror(error));
		return EXIT_FAILURE;
	}
	if (wait4(pid, &status, 0, &usage) < 0) {
		perror("measure");
		return EXIT_FAILURE;
	}
	int64_t taken = now() - begun;
	posix_spawn_file_actions_destroy(&actions);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "measure: %s failed (wait status 0x%x)\n", argv[1], (unsigned int)status);
		return EXIT_FAILURE;
	}
	printf("%" PRId64 " %" PRId64 " %ld\n", taken, nanoseconds(&usage.ru_utime) + nanoseconds(&usage.ru_stime),
	       usage.ru_maxrss);
	return EXIT_SUCCESS;
}
