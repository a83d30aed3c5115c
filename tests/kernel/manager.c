/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A service manager with one service, whose state the test sets:
 *
 *     manager SOCKET ACTIVE-STATE SUB-STATE FREEZER-STATE JOB MAIN-PID SHUTDOWN-JOB REFUSE MAIN-BEGAN NETNS
 *
 * JOB is the type of the service's job, such as "restart", or "" for none. SHUTDOWN-JOB is that of shutdown.target.
 * MAIN-BEGAN is the start time of the main process, in microseconds of CLOCK_MONOTONIC. NETNS is the path of the
 * service's network namespace, or "". The manager prints "ready" when it listens. It then prints `start UNIT MODE` for
 * each unit that a client starts; if REFUSE is "refuse", it refuses instead. It ends when its standard input ends. Each
 * line there is a new state of the service, with "-" for no job, and USEC for the time at which the last main process
 * exited:
 *
 *     [next] ACTIVE-STATE SUB-STATE JOB MAIN-PID LAST-MAIN-PID USEC CONTROL-PID
 *
 * The manager prints "changed" when its client has read the whole state. A client reads the control process last.
 * Without a client, the manager prints "changed" immediately. After "next", it prints "kept" instead: the state takes
 * effect later, when the client has read the control process in the sub-state "start-post".
 */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define SYSTEMD "org.freedesktop.systemd1"
#define UNIT_PATH "/org/freedesktop/systemd1/unit/test"
#define SHUTDOWN_PATH "/org/freedesktop/systemd1/unit/shutdown"
#define JOB_PATH "/org/freedesktop/systemd1/job/1"
#define SHUTDOWN_JOB_PATH "/org/freedesktop/systemd1/job/2"

/* The properties of a unit, and the D-Bus path of its job. Times are in microseconds of CLOCK_MONOTONIC. */
static struct service {
	const char *active, *sub, *freezer, *job, *job_path, *netns;
	uint32_t main_pid, last_main_pid, control_pid;
	uint64_t main_began, main_exit_usec;
} service = {.job_path = JOB_PATH}, shutdown_target = {"", "", "", "", SHUTDOWN_JOB_PATH, "", 0, 0, 0, 0, 0},
  next_state;

/* Whether StartUnit fails, and whether next_state is set. */
static bool refuses, has_next;

/* Progress of the client with a new state: it has read all, was sent a signal, or has read ActiveState. */
static enum { READ, SIGNALED, BEGUN } reading;

static int load_unit(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	const char *unit;

	(void)userdata;
	(void)error;
	int r = sd_bus_message_read(message, "s", &unit);
	if (r < 0)
		return r;
	return sd_bus_reply_method_return(message, "o",
					  strcmp(unit, "shutdown.target") == 0 ? SHUTDOWN_PATH : UNIT_PATH);
}

static int start_unit(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	const char *unit, *mode;

	(void)userdata;
	int r = sd_bus_message_read(message, "ss", &unit, &mode);
	if (r < 0)
		return r;
	if (refuses)
		return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "no such unit");
	printf("start %s %s\n", unit, mode);
	fflush(stdout);
	return sd_bus_reply_method_return(message, "o", JOB_PATH);
}

static int get_job(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		   void *userdata, sd_bus_error *error)
{
	const struct service *of = userdata;

	(void)bus, (void)path, (void)interface, (void)property, (void)error;
	return sd_bus_message_append(reply, "(uo)", *of->job ? 1 : 0, *of->job ? of->job_path : "/");
}

static int get_text(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		    void *userdata, sd_bus_error *error)
{
	(void)bus, (void)path, (void)interface, (void)property, (void)error;
	return sd_bus_message_append(reply, "s", *(const char **)userdata);
}

static int get_active(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
		      void *userdata, sd_bus_error *error)
{
	const struct service *of = userdata;

	(void)bus, (void)path, (void)interface, (void)property, (void)error;
	if (reading == SIGNALED)
		reading = BEGUN;
	return sd_bus_message_append(reply, "s", of->active);
}

static void say(const char *word)
{
	puts(word);
	fflush(stdout);
}

static int signal_change(sd_bus *bus)
{
	int r = sd_bus_emit_properties_changed(bus, UNIT_PATH, SYSTEMD ".Unit", "ActiveState", "SubState", "Job", NULL);
	return r < 0 ? r
		     : sd_bus_emit_properties_changed(bus, UNIT_PATH, SYSTEMD ".Service", "MainPID", "ControlPID",
						      NULL);
}

static int get_control_pid(sd_bus *bus, const char *path, const char *interface, const char *property,
			   sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct service *of = userdata;

	(void)path, (void)interface, (void)property, (void)error;
	int r = sd_bus_message_append(reply, "u", of->control_pid);
	if (has_next && strcmp(service.sub, "start-post") == 0) {
		has_next = false;
		service = next_state;
		reading = SIGNALED;
		return r < 0 ? r : signal_change(bus);
	}
	if (reading == BEGUN) {
		reading = READ;
		say("changed");
	}
	return r;
}

static const sd_bus_vtable of_manager[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("LoadUnit", "s", "o", load_unit, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("StartUnit", "ss", "o", start_unit, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};
static const sd_bus_vtable of_unit[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("ActiveState", "s", get_active, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("SubState", "s", get_text, (char *)&service.sub - (char *)&service,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("FreezerState", "s", get_text, (char *)&service.freezer - (char *)&service, 0),
	SD_BUS_PROPERTY("Job", "(uo)", get_job, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};
static const sd_bus_vtable of_service[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("MainPID", "u", NULL, (char *)&service.main_pid - (char *)&service,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("ExecMainPID", "u", NULL, (char *)&service.last_main_pid - (char *)&service, 0),
	SD_BUS_PROPERTY("ExecMainStartTimestampMonotonic", "t", NULL, (char *)&service.main_began - (char *)&service,
			0),
	SD_BUS_PROPERTY("ExecMainExitTimestampMonotonic", "t", NULL, (char *)&service.main_exit_usec - (char *)&service,
			0),
	SD_BUS_PROPERTY("NetworkNamespacePath", "s", get_text, (char *)&service.netns - (char *)&service, 0),
	SD_BUS_PROPERTY("ControlPID", "u", get_control_pid, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};
static const sd_bus_vtable of_job[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("JobType", "s", get_text, (char *)&service.job - (char *)&service, 0),
	SD_BUS_VTABLE_END,
};

/* Reads a state from standard input. The line is never freed, because the state points to its words. Returns false at
 * the end of standard input. */
static bool take_line(sd_bus *bus)
{
	char *line = NULL, *rest;
	size_t size = 0;

	if (getline(&line, &size, stdin) <= 0)
		return false;
	rest = line;
	bool is_next = strncmp(line, "next ", strlen("next ")) == 0;
	if (is_next)
		strsep(&rest, " ");
	struct service state = service;
	state.active = strsep(&rest, " ");
	state.sub = strsep(&rest, " ");
	state.job = strsep(&rest, " ");
	if (!rest)
		exit(EXIT_FAILURE);
	if (strcmp(state.job, "-") == 0)
		state.job = "";
	state.main_pid = (uint32_t)strtoul(rest, &rest, 10);
	state.last_main_pid = (uint32_t)strtoul(rest, &rest, 10);
	state.main_exit_usec = strtoull(rest, &rest, 10);
	state.control_pid = (uint32_t)strtoul(rest, &rest, 10);
	if (is_next) {
		next_state = state;
		has_next = true;
		say("kept");
		return true;
	}
	service = state;
	if (!bus) {
		say("changed");
		return true;
	}
	reading = SIGNALED;
	return signal_change(bus) >= 0;
}

/* Serves one client until it hangs up, or standard input ends. */
static void serve(int fd)
{
	sd_bus *bus = NULL;
	sd_id128_t id;

	if (sd_id128_randomize(&id) < 0 || sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
	    sd_bus_set_server(bus, 1, id) < 0 ||
	    sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/systemd1", SYSTEMD ".Manager", of_manager, NULL) <
		    0 ||
	    sd_bus_add_object_vtable(bus, NULL, UNIT_PATH, SYSTEMD ".Unit", of_unit, &service) < 0 ||
	    sd_bus_add_object_vtable(bus, NULL, UNIT_PATH, SYSTEMD ".Service", of_service, &service) < 0 ||
	    sd_bus_add_object_vtable(bus, NULL, SHUTDOWN_PATH, SYSTEMD ".Unit", of_unit, &shutdown_target) < 0 ||
	    sd_bus_add_object_vtable(bus, NULL, SHUTDOWN_JOB_PATH, SYSTEMD ".Job", of_job, &shutdown_target) < 0 ||
	    sd_bus_add_object_vtable(bus, NULL, JOB_PATH, SYSTEMD ".Job", of_job, &service) < 0 ||
	    sd_bus_start(bus) < 0)
		exit(EXIT_FAILURE);
	for (;;) {
		int r = sd_bus_process(bus, NULL);
		if (r < 0)
			break;
		if (r > 0)
			continue;
		struct pollfd fds[] = {{.fd = fd, .events = (short)sd_bus_get_events(bus)},
				       {.fd = STDIN_FILENO, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0)
			break;
		if (fds[1].revents && !take_line(bus))
			exit(EXIT_SUCCESS);
	}
	sd_bus_unref(bus);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (argc != 11 || strlen(argv[1]) >= sizeof(address.sun_path))
		return EXIT_FAILURE;
	memcpy(address.sun_path, argv[1], strlen(argv[1]));
	service.active = argv[2];
	service.sub = argv[3];
	service.freezer = argv[4];
	service.job = argv[5];
	shutdown_target.job = argv[7];
	refuses = strcmp(argv[8], "refuse") == 0;
	service.main_pid = (uint32_t)strtoul(argv[6], NULL, 10);
	service.main_began = strtoull(argv[9], NULL, 10);
	service.netns = argv[10];

	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 5) < 0)
		return EXIT_FAILURE;
	/* poll(2) does not see lines that are in a buffer already. */
	setvbuf(stdin, NULL, _IONBF, 0);
	say("ready");

	struct pollfd fds[] = {{.fd = listener, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	while (poll(fds, 2, -1) > 0 && (!fds[1].revents || take_line(NULL))) {
		int fd = fds[0].revents ? accept(listener, NULL, NULL) : -1;
		if (fd >= 0)
			serve(fd);
	}
	return EXIT_SUCCESS;
}
