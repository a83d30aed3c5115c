/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Sends a steady stream of small UDP packets, or receives one, until a signal ends it:
 *
 *     stream send COUNTS SOURCE DESTINATION PORT RATE
 *     stream receive COUNTS ADDRESS PORT
 *
 * RATE is in packets per second. SOURCE may be an address of another machine. COUNTS is a file that always holds the
 * current struct counts. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000
#define PAYLOAD_BYTES 64

/* Interval between two bursts, in nanoseconds. A sender with more than one packet per interval sends them in a row,
 * because sleeping is slow on an emulated processor. Reading a clock is slow there, too, so the program reads coarse
 * clocks where it can. */
#define TICK_NSEC (NSEC_PER_SEC / 200)

/* Maximum delay of a sender, in nanoseconds. After a longer delay it skips the packets that were due meanwhile. */
#define LATE_NSEC (NSEC_PER_SEC / 10)

struct counts {
	uint64_t passed;	/* packets sent or received */
	uint64_t refused;	/* packets that the kernel refused with EPERM, because a policy blocks them */
	uint64_t failed;	/* packets that could not be sent for another reason */
	uint64_t fastest;	/* maximum number of packets sent or refused in one second */
	uint64_t longest_pause; /* longest time between two received packets, in nanoseconds */
	uint64_t resumed;	/* end of the longest pause, in nanoseconds of CLOCK_REALTIME_COARSE */
};

/* Reports errno for `what`, and exits. */
static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

/* Maps the file of the counts, and creates it if it does not exist. Returns the mapping; exits on failure. */
static struct counts *map_counts(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || ftruncate(fd, sizeof(struct counts)) < 0)
		give_up(path);
	void *mapped = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		give_up(path);
	return mapped;
}

static struct sockaddr_in endpoint(const char *address, const char *port)
{
	struct sockaddr_in result = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, address, &result.sin_addr) != 1) {
		errno = EINVAL;
		give_up(address);
	}
	result.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	return result;
}

/* Returns a UDP socket bound to this address; exits on failure. */
static int bound_socket(const struct sockaddr_in *address)
{
	static const int yes = 1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* Transparent, because the address may be another machine's, or may not exist yet. */
	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &yes, sizeof(yes)) < 0 ||
	    bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		give_up("socket");
	return fd;
}

static uint64_t now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * NSEC_PER_SEC + (uint64_t)time.tv_nsec;
}

static void sleep_until(uint64_t moment)
{
	const struct timespec time = {.tv_sec = (time_t)(moment / NSEC_PER_SEC),
				      .tv_nsec = (long)(moment % NSEC_PER_SEC)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
		;
}

/* The second that is being measured for `fastest`. */
struct second {
	uint64_t began;	  /* start of the second, in nanoseconds of CLOCK_MONOTONIC */
	uint64_t packets; /* number of packets sent or refused before the second */
};

/* Updates `fastest` and starts the next second, if the measured one is over at this moment. */
static void note_rate(struct counts *counts, struct second *second, uint64_t moment)
{
	const uint64_t packets = counts->passed + counts->refused;

	if (moment <= second->began + NSEC_PER_SEC)
		return;
	const uint64_t rate = (packets - second->packets) * NSEC_PER_SEC / (moment - second->began);
	if (rate > counts->fastest)
		counts->fastest = rate;
	*second = (struct second){.began = moment, .packets = packets};
}

static _Noreturn void send_stream(struct counts *counts, const char *from, const char *to, const char *port,
				  uint64_t rate)
{
	static const char payload[PAYLOAD_BYTES];
	const struct sockaddr_in source = endpoint(from, "0"), destination = endpoint(to, port);
	const uint64_t interval = NSEC_PER_SEC / rate;
	int fd = bound_socket(&source);
	uint64_t due = now(CLOCK_MONOTONIC);
	struct second second = {.began = due};

	for (;;) {
		sleep_until(due);
		const uint64_t moment = now(CLOCK_MONOTONIC_COARSE);
		if (moment > due + LATE_NSEC)
			due = moment;
		note_rate(counts, &second, moment);

		for (const uint64_t end = due + TICK_NSEC; due < end; due += interval) {
			if (sendto(fd, payload, sizeof(payload), 0, (const struct sockaddr *)&destination,
				   sizeof(destination)) >= 0)
				counts->passed++;
			else if (errno == EPERM)
				counts->refused++;
			else
				counts->failed++;
		}
	}
}

static _Noreturn void receive_stream(struct counts *counts, const char *address, const char *port)
{
	const struct sockaddr_in here = endpoint(address, port);
	int fd = bound_socket(&here);
	uint64_t last = 0;

	for (;;) {
		char ignored;

		if (recv(fd, &ignored, sizeof(ignored), 0) < 0)
			give_up("recv");
		uint64_t moment = now(CLOCK_REALTIME_COARSE);
		if (last > 0 && moment - last > counts->longest_pause) {
			counts->longest_pause = moment - last;
			counts->resumed = moment;
		}
		last = moment;
		counts->passed++;
	}
}

int main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "send") == 0 && atoi(argv[6]) > 0)
		send_stream(map_counts(argv[2]), argv[3], argv[4], argv[5], strtoul(argv[6], NULL, 10));
	if (argc == 5 && strcmp(argv[1], "receive") == 0)
		receive_stream(map_counts(argv[2]), argv[3], argv[4]);

	fprintf(stderr, "Usage: stream send COUNTS SOURCE DESTINATION PORT RATE\n"
			"       stream receive COUNTS ADDRESS PORT\n");
	return EXIT_FAILURE;
}
