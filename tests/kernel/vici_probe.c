/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Sends requests to a VICI server, and prints how xfrmctl's client handles the answers:
 *
 *     vici_probe SOCKET SECONDS COMMAND[+EVENT][=N]...
 *
 * A request has N kilobytes of arguments. All requests have to end within SECONDS. The output is `peer PID`, then
 * `COMMAND RESULT MESSAGES ELEMENTS` for each request, and `memory KIB` (the maximum of this process). If the
 * connection fails, it is only `open RESULT`. RESULT is the name of an errno, or OK. With $INTERRUPTED, a signal
 * arrives every 5 ms. */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#include "base/util.h"
#include "ike/vici.h"

/* Maximum size of the arguments of a request, in kilobytes. */
#define KILOBYTES_MAX 600

/* Number of messages that arrived for a request, and of their elements. */
struct seen {
	unsigned long messages, elements;
};

static void ignore(int number)
{
	(void)number;
}

/* Starts a timer whose signal interrupts system calls. Without SA_RESTART, the kernel does not restart them. */
static void be_interrupted(void)
{
	const struct sigaction action = {.sa_handler = ignore};
	const struct itimerval often = {{0, 5000}, {0, 5000}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
}

static int on_message(struct vici_reader *message, void *userdata)
{
	struct seen *seen = userdata;
	struct vici_item item;
	int r;

	seen->messages++;
	while ((r = vici_next(message, &item)) > 0)
		seen->elements++;
	return r;
}

static void put_arguments(struct vici_writer *arguments, size_t kilobytes)
{
	static char kilobyte[1000 + 1];
	const char *values[KILOBYTES_MAX];

	memset(kilobyte, 'x', sizeof(kilobyte) - 1);
	for (size_t i = 0; i < KILOBYTES_MAX; i++)
		values[i] = kilobyte;
	vici_put_list(arguments, "values", values, kilobytes < KILOBYTES_MAX ? kilobytes : KILOBYTES_MAX);
}

static void print_result(const char *what, int r)
{
	printf("%s %s", what, r < 0 ? strerrorname_np(-r) : "OK");
}

static void ask(struct vici *vici, char *request, uint64_t deadline)
{
	static uint8_t buffer[KILOBYTES_MAX * 1024];
	struct vici_writer arguments = {.buffer = buffer, .size = sizeof(buffer)};
	struct seen seen = {0};

	char *kilobytes = strchr(request, '='), *event = strchr(request, '+');
	if (kilobytes) {
		*kilobytes++ = '\0';
		put_arguments(&arguments, strtoul(kilobytes, NULL, 10));
	}
	if (event)
		*event++ = '\0';
	int r = event ? vici_stream(vici, request, event, &arguments, deadline, on_message, on_message, &seen)
		      : vici_request(vici, request, &arguments, deadline, on_message, &seen);
	print_result(request, r);
	printf(" %lu %lu\n", seen.messages, seen.elements);
}

/* Prints the maximum of resident memory. The maximum of getrusage(2) includes the process before its execve(2). */
static void print_memory(void)
{
	CLEANUP(close_file) FILE *f = fopen("/proc/self/status", "re");
	unsigned long kib;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %lu kB", &kib) == 1)
			printf("memory %lu\n", kib);
}

int main(int argc, char **argv)
{
	CLEANUP(vici_close) struct vici *vici = NULL;

	if (argc < 3)
		return 2;
	uint64_t deadline = now_usec() + (uint64_t)(strtod(argv[2], NULL) * (double)USEC_PER_SEC);
	if (getenv("INTERRUPTED"))
		be_interrupted();
	int r = vici_open(argv[1], deadline, &vici);
	if (r < 0) {
		print_result("open", r);
		putchar('\n');
		return 1;
	}
	printf("peer %d\n", vici_peer(vici));
	for (int i = 3; i < argc; i++)
		ask(vici, argv[i], deadline);
	print_memory();
	return 0;
}
