/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <systemd/sd-login.h>

#include "report.h"
#include "util.h"
#include "verb.h"

/* Where strongSwan's starter keeps its process id and that of its charon. */
#define DAEMON_FILE "/run/charon.pid"
#define PARENT_FILE "/run/starter.charon.pid"

/* A parent that stops its daemon ends within milliseconds; starter waits 5 s before it starts another one. */
#define PATIENCE_MSEC 2000

enum {
	OPTION_DAEMON = OPTION_OF_VERB,
	OPTION_PARENT,
};

struct process {
	const char *file; /* of its id */
	pid_t pid;
	int fd; /* pidfd, or -1 */
};

struct bind {
	struct process daemon, parent;
};

static void print_help(void)
{
	printf("Usage: xfrmctl [-q|-v] bind [OPTION...]\n"
	       "\n"
	       "Waits until an IKE daemon has ended. If its parent process goes on, as strongSwan's\n"
	       "starter does to start another daemon on what the first left in the kernel, kills that\n"
	       "as well, so that systemd sees a crash and starts the whole service again.\n"
	       "\n"
	       "  --daemon=FILE        The daemon's process id (default " DAEMON_FILE ")\n"
	       "  --parent=FILE        Its parent's (default " PARENT_FILE ")\n"
	       "  -h, --help           Show this\n");
}

static int take_option(int option, const char *value, void *userdata)
{
	struct bind *bind = userdata;

	*(option == OPTION_DAEMON ? &bind->daemon.file : &bind->parent.file) = value;
	return 0;
}

/* Opens the process whose id a file holds. Returns 1, 0 when there is no such file or process, or a negative errno. */
static int open_process(struct process *process)
{
	CLEANUP(close_file) FILE *f = fopen(process->file, "re");
	long pid;

	if (!f)
		return errno == ENOENT ? 0 : -errno;
	if (fscanf(f, "%ld", &pid) != 1 || pid < 1 || pid > INT_MAX)
		return -EBADMSG;
	process->pid = (pid_t)pid;
	process->fd = pidfd_open(process->pid, 0);
	return process->fd >= 0 ? 1 : errno == ESRCH ? 0 : -errno;
}

/* Waits until the parent has ended, or the daemon, whose `daemon_fd` may be -1 (poll(2) leaves that out). Returns 1
 * when it is the parent, 0 when it is not, or a negative errno. */
static int wait_for_end(const struct bind *bind, int daemon_fd, int msec)
{
	struct pollfd ends[] = {{.fd = bind->parent.fd, .events = POLLIN}, {.fd = daemon_fd, .events = POLLIN}};

	while (poll(ends, ARRAY_SIZE(ends), msec) < 0)
		if (errno != EINTR)
			return report_failure(-errno, REPORT_FAILED, "Could not wait for the end of a process: %s.",
					      strerror(errno));
	return ends[0].revents != 0;
}

static int open_both(struct bind *bind)
{
	struct process *const both[] = {&bind->parent, &bind->daemon};

	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		int r = open_process(both[i]);
		if (r < 0)
			return report_failure(r, REPORT_FAILED, "Could not find the process of %s: %s.", both[i]->file,
					      r == -EBADMSG ? "it does not begin with a process id" : strerror(-r));
		/* Without the daemon, its end is what has happened; without its parent, there is nothing to do. */
		if (r == 0 && both[i] == &bind->parent)
			return report_failure(-ESRCH, REPORT_FAILED,
					      "No process as in %s: only a daemon whose parent starts it needs this.",
					      both[i]->file);
	}
	return 0;
}

static int run(struct bind *bind)
{
	CLEANUP(free_text) char *unit = NULL;

	int r = open_both(bind);
	if (r < 0)
		return r;
	if (sd_pid_get_unit(bind->parent.pid, &unit) >= 0)
		report_about(unit);
	r = bind->daemon.fd < 0 ? 0 : wait_for_end(bind, bind->daemon.fd, -1);
	if (r == 0)
		r = wait_for_end(bind, -1, PATIENCE_MSEC);
	if (r != 0)
		return r < 0 ? r : 0;
	report_notice(REPORT_BOUND,
		      "The IKE daemon has ended, and its parent (process %d) would start another one on the SAs and "
		      "policies that it left; killing that, so that systemd starts the whole service again.",
		      bind->parent.pid);
	if (pidfd_send_signal(bind->parent.fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return report_failure(-errno, REPORT_FAILED, "Could not kill process %d: %s.", bind->parent.pid,
				      strerror(errno));
	return 0;
}

int verb_bind(struct globals *globals, int argc, char **argv)
{
	struct bind bind = {{DAEMON_FILE, 0, -1}, {PARENT_FILE, 0, -1}};

	static const struct option options[] = {
		GLOBAL_LONG_OPTIONS,
		{"daemon", required_argument, NULL, OPTION_DAEMON},
		{"parent", required_argument, NULL, OPTION_PARENT},
		{NULL, 0, NULL, 0},
	};
	static const struct verb_syntax syntax = {options, print_help, take_option};

	int r = verb_parse(globals, argc, argv, &syntax, &bind);
	if (r < 0)
		return verb_parsed(r);
	return run(&bind) < 0 ? STATUS_FAILED : STATUS_DONE;
}
