/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>

#include "util.h"

/* The manager answers while it starts and stops units; it must not hold up the stop of one for long. */
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

/* systemctl(1), as root, talks to the manager in the same way: there need not be a message bus, and at shutdown there
 * is none any more. */
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

static int find_job(sd_bus *bus, const char *path, enum unit_job *ret)
{
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	CLEANUP(free_text) char *type = NULL;
	const char *job;
	uint32_t id;

	int r = sd_bus_get_property(bus, SYSTEMD, path, SYSTEMD ".Unit", "Job", NULL, &reply, "(uo)");
	if (r >= 0)
		r = sd_bus_message_read(reply, "(uo)", &id, &job);
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

/* Asks for a unit's object. Its path is in `reply` and lives as long as that does. */
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
	/* Units that are no services have no such properties. */
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

	/* Ordered behind all that is stopped, its start waits for the end of that (systemd.special(7)). */
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

/* Whether a property of a unit is this text. */
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

int unit_find_phase(const char *unit, enum unit_phase *ret)
{
	CLEANUP(free_text) char *active = NULL, *sub = NULL;
	CLEANUP(free_message) sd_bus_message *reply = NULL;
	CLEANUP(close_bus) sd_bus *bus = NULL;
	const char *path;

	int r = load_unit(unit, &bus, &reply, &path);
	if (r >= 0)
		r = sd_bus_get_property_string(bus, SYSTEMD, path, SYSTEMD ".Unit", "ActiveState", NULL, &active);
	if (r >= 0)
		r = sd_bus_get_property_string(bus, SYSTEMD, path, SYSTEMD ".Unit", "SubState", NULL, &sub);
	if (r < 0)
		return r;
	/* "activating" is also a unit that waits for its automatic restart. */
	*ret = strcmp(active, "active") == 0 || strcmp(active, "reloading") == 0 ? UNIT_UP
	       : strcmp(active, "activating") == 0 && strncmp(sub, "auto-restart", strlen("auto-restart")) != 0
		       ? UNIT_STARTING
		       : UNIT_DOWN;
	return 0;
}
