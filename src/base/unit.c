/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/unit.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>

#include "base/util.h"

/* Maximum time to wait for an answer of systemd, in microseconds. systemd answers while it starts and stops units. A
 * missing answer must not delay the stop of a unit for long. */
#define ANSWER_USEC UINT64_C(10000000)

#define SYSTEMD "org.freedesktop.systemd1"

static void close_bus(sd_bus **bus)
{
	sd_bus_flush_close_unref(*bus);
}

static void free_message(sd_bus_message **message)
{
	sd_bus_message_unref(*message);
}

/* Connects to the system manager by its private socket, as systemctl(1) does for root: there may be no message bus, and
 * at shutdown it has already ended. Returns 0 or a negative errno. */
static int connect_manager(sd_bus **ret)
{
	CLEANUP(close_bus) sd_bus *bus = NULL;

	int r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, "unix:path=/run/systemd/private");
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0)
		return r;
	sd_bus_set_method_call_timeout(bus, ANSWER_USEC);
	*ret = bus;
	bus = NULL;
	return 0;
}

/* Reads the ID of a unit's job, which is 0 without a job, and the job's object path. The path is valid as long as
 * `reply`. */
static int read_job(sd_bus *bus, const char *path, sd_bus_message **reply, uint32_t *id, const char **job)
{
	int r = sd_bus_get_property(bus, SYSTEMD, path, SYSTEMD ".Unit", "Job", NULL, reply, "(uo)");
	return r < 0 ? r : sd_bus_message_read(*reply, "(uo)", id, job);
}

static int find_job(sd_bus *bus, const char *path, enum unit_job *ret)
{
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	CLEANUP(free_text) char *type = NULL;
	const char *job;
	uint32_t id;

	int r = read_job(bus, path, &reply, &id, &job);
	if (r < 0)
		return r;
	if (!id) {
		*ret = UNIT_NO_JOB;
		return 0;
	}
	r = sd_bus_get_property_string(bus, SYSTEMD, job, SYSTEMD ".Job", "JobType", NULL, &type);
	if (r < 0)
		return r;
	*ret = strcmp(type, "stop") == 0      ? UNIT_JOB_STOP
	       : strcmp(type, "restart") == 0 ? UNIT_JOB_RESTART
					      : UNIT_JOB_OTHER;
	return 0;
}

/* Connects to systemd, and requests the object path of a unit. The path is valid as long as `reply`. Returns 0 or more,
 * or a negative errno. */
static int load_unit(const char *unit, sd_bus **bus, sd_bus_message **reply, const char **path)
{
	int r = connect_manager(bus);
	if (r >= 0)
		r = sd_bus_call_method(*bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager", "LoadUnit", NULL,
				       reply, "s", unit);
	return r < 0 ? r : sd_bus_message_read(*reply, "o", path);
}

int unit_find(const char *unit, struct unit_state *ret)
{
	CLEANUP(free_text) char *own = NULL, *netns = NULL;
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	CLEANUP(close_bus) sd_bus *bus = NULL;
	const char *path;

	int r = unit ? 0 : sd_pid_get_unit(0, &own);
	if (r >= 0)
		r = load_unit(unit ? unit : own, &bus, &reply, &path);
	if (r >= 0)
		r = find_job(bus, path, &ret->job);
	if (r < 0)
		return r;
	/* Units that are not services do not have these properties. */
	ret->netns[0] = '\0';
	ret->main_began_usec = 0;
	sd_bus_get_property_trivial(bus, SYSTEMD, path, SYSTEMD ".Service", "ExecMainStartTimestampMonotonic", NULL,
				    't', &ret->main_began_usec);
	if (sd_bus_get_property_string(bus, SYSTEMD, path, SYSTEMD ".Service", "NetworkNamespacePath", NULL, &netns) >=
	    0)
		snprintf(ret->netns, sizeof(ret->netns), "%s", netns);
	return 0;
}

int unit_is_shutdown(void)
{
	struct unit_state state;

	/* shutdown.target is ordered behind all units that are stopped (systemd.special(7)), so its start job lasts
	 * until they have ended. */
	int r = unit_find("shutdown.target", &state);
	return r < 0 ? r : state.job == UNIT_JOB_OTHER;
}

int unit_start(const char *unit)
{
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	CLEANUP(close_bus) sd_bus *bus = NULL;

	int r = connect_manager(&bus);
	if (r >= 0)
		r = sd_bus_call_method(bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager", "StartUnit", NULL,
				       &reply, "ss", unit, "ignore-dependencies");
	return r < 0 ? r : 0;
}

/* Clears `is` unless a property of a unit has the expected text. Returns 0 or a negative errno. */
static int check_text(sd_bus *bus, const char *path, const char *property, const char *expected, bool *is)
{
	CLEANUP(free_text) char *text = NULL;

	int r = sd_bus_get_property_string(bus, SYSTEMD, path, SYSTEMD ".Unit", property, NULL, &text);
	if (r >= 0)
		*is = *is && strcmp(text, expected) == 0;
	return r;
}

int unit_find_running(const char *unit, struct unit_running *ret)
{
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	CLEANUP(close_bus) sd_bus *bus = NULL;
	enum unit_job job = UNIT_NO_JOB;
	const char *path;
	uint32_t pid = 0;
	bool runs = true;

	int r = load_unit(unit, &bus, &reply, &path);
	if (r >= 0)
		r = check_text(bus, path, "ActiveState", "active", &runs);
	if (r >= 0)
		r = check_text(bus, path, "SubState", "running", &runs);
	if (r >= 0)
		r = check_text(bus, path, "FreezerState", "running", &runs);
	if (r >= 0)
		r = find_job(bus, path, &job);
	if (r >= 0)
		r = sd_bus_get_property_trivial(bus, SYSTEMD, path, SYSTEMD ".Service", "MainPID", NULL, 'u', &pid);
	if (r < 0)
		return r;
	*ret = (struct unit_running){.undisturbed = runs && job == UNIT_NO_JOB, .main_pid = (pid_t)pid};
	return 0;
}

/* Reads ActiveState= and SubState=. The caller frees both texts. Returns 0 or a negative errno. */
static int read_states(sd_bus *bus, const char *path, char **active, char **sub)
{
	int r = sd_bus_get_property_string(bus, SYSTEMD, path, SYSTEMD ".Unit", "ActiveState", NULL, active);

	return r < 0 ? r : sd_bus_get_property_string(bus, SYSTEMD, path, SYSTEMD ".Unit", "SubState", NULL, sub);
}

int unit_find_phase(const char *unit, enum unit_phase *ret)
{
	CLEANUP(free_text) char *active = NULL, *sub = NULL;
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	CLEANUP(close_bus) sd_bus *bus = NULL;
	const char *path;

	int r = load_unit(unit, &bus, &reply, &path);
	if (r >= 0)
		r = read_states(bus, path, &active, &sub);
	if (r < 0)
		return r;
	/* A unit that waits for its automatic restart is "activating" too. */
	*ret = strcmp(active, "active") == 0 || strcmp(active, "reloading") == 0 ? UNIT_UP
	       : strcmp(active, "activating") == 0 && strncmp(sub, "auto-restart", strlen("auto-restart")) != 0
		       ? UNIT_STARTING
		       : UNIT_DOWN;
	return 0;
}

struct unit_watch {
	sd_bus *bus;
	sd_bus_message *unit; /* the message that contains `path` */
	const char *path;     /* object path of the unit */
	bool has_changed;     /* a change was reported since unit_watch_wait() was called */
};

void unit_watch_close(struct unit_watch **watch)
{
	if (!*watch)
		return;
	free_message(&(*watch)->unit);
	close_bus(&(*watch)->bus);
	free(*watch);
}

static int note_change(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct unit_watch *watch = userdata;

	(void)message;
	(void)error;
	watch->has_changed = true;
	return 0;
}

int unit_watch_open(const char *unit, struct unit_watch **ret)
{
	CLEANUP(unit_watch_close) struct unit_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	int r = load_unit(unit, &watch->bus, &watch->unit, &watch->path);
	/* Without a message bus, systemd sends its signals to each connected client (bus_foreach_bus()). */
	if (r >= 0)
		r = sd_bus_match_signal(watch->bus, NULL, NULL, watch->path, "org.freedesktop.DBus.Properties",
					"PropertiesChanged", note_change, watch);
	if (r < 0)
		return r;
	*ret = watch;
	watch = NULL;
	return 0;
}

static int read_pid(const struct unit_watch *watch, const char *property, pid_t *ret)
{
	uint32_t pid = 0;

	int r = sd_bus_get_property_trivial(watch->bus, SYSTEMD, watch->path, SYSTEMD ".Service", property, NULL, 'u',
					    &pid);
	*ret = (pid_t)pid;
	return r;
}

/* Reads whether the start is over, and whether a command of ExecStartPost= runs. Reads the job after the states.
 * Returns 0 or a negative errno. */
static int read_phase(const struct unit_watch *watch, bool *is_over, bool *is_post_start)
{
	CLEANUP(free_text) char *active = NULL, *sub = NULL;
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	const char *job;
	uint32_t id;

	int r = read_states(watch->bus, watch->path, &active, &sub);
	if (r >= 0)
		r = read_job(watch->bus, watch->path, &reply, &id, &job);
	if (r < 0)
		return r;
	/* A unit that waits for its automatic restart has no job, and is "activating". */
	*is_over = id == 0 && strcmp(active, "activating") != 0 && strcmp(active, "deactivating") != 0;
	*is_post_start = strcmp(sub, "start-post") == 0;
	return 0;
}

int unit_watch_read(struct unit_watch *watch, struct unit_start *ret)
{
	pid_t main_pid = 0, last_main_pid = 0, control_pid = 0;
	bool is_over = false, is_post_start = false;
	uint64_t ended_usec = 0;

	int r = read_phase(watch, &is_over, &is_post_start);
	if (r >= 0)
		r = read_pid(watch, "MainPID", &main_pid);
	if (r >= 0)
		r = read_pid(watch, "ExecMainPID", &last_main_pid);
	/* This time is 0 while the main process runs, and for a service whose main process systemd does not know. */
	if (r >= 0)
		r = sd_bus_get_property_trivial(watch->bus, SYSTEMD, watch->path, SYSTEMD ".Service",
						"ExecMainExitTimestampMonotonic", NULL, 't', &ended_usec);
	if (r >= 0)
		r = read_pid(watch, "ControlPID", &control_pid);
	if (r < 0)
		return r;
	*ret = (struct unit_start){.is_over = is_over};
	if (is_post_start && !main_pid && ended_usec) {
		ret->ended_main_pid = last_main_pid;
		ret->post_start_pid = control_pid;
	}
	return 0;
}

int unit_watch_wait(struct unit_watch *watch)
{
	for (watch->has_changed = false; !watch->has_changed;) {
		int r = sd_bus_process(watch->bus, NULL);
		if (r == 0)
			r = sd_bus_wait(watch->bus, UINT64_MAX);
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}
