/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-login.h>
#include <time.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/unit.h"
#include "base/util.h"
#include "hold/boot_save.h"
#include "verbs/arm.h"
#include "verbs/flush.h"
#include "verbs/main_process.h"
#include "verbs/options.h"
#include "verbs/release.h"
#include "verbs/settings.h"

/* Directory of the files for the next boot: StateDirectory= of the units that save (%S/xfrmctl). */
#define SAVED_FOLDER "/var/lib/xfrmctl/"

/* Maximum size of a unit's name, in bytes; systemd's own limit (UNIT_NAME_MAX). */
#define UNIT_MAX 256

/* Maximum duration of a short run of the daemon, in microseconds. */
#define SHORT_RUN_USEC (10 * USEC_PER_SEC)

/* Pause before the automatic restart after a short run, in seconds. systemd alone would restart the daemon almost at
 * once (RestartSec=, 100 ms by default). The pause makes the attempts that StartLimitBurst= permits outlast a temporary
 * cause. */
#define PAUSE_SECONDS 1

struct service {
	/* --unit=; NULL: not given. */
	const char *unit;
	/* --mode=, which overrides XFRMCTL_MODE. MODES: not given. */
	enum mode mode;
	/* This process belongs to the service. */
	bool is_own;
	/* Name of the service. */
	char name[UNIT_MAX];
	/* Name without the suffix, like %N in a unit file. */
	char stem[UNIT_MAX];
	/* File from which `restore` blocks traffic at the next boot. */
	char saved[sizeof(SAVED_FOLDER) + UNIT_MAX];
	struct unit_state state;
	struct settings settings;
};

/* Determines the service: that of --unit=, or the unit of this process. Returns 0, or -EINVAL if that is not a service,
 * which it reports. */
static int name_unit(struct service *service)
{
	CLEANUP(free_text) char *own = NULL;

	if (sd_pid_get_unit(0, &own) < 0)
		own = NULL;
	const char *unit = service->unit ? service->unit : own;
	const char *suffix = unit ? strrchr(unit, '.') : NULL;
	/* The process of a user's shell belongs to a unit that is not a service. */
	if (!suffix || strcmp(suffix, ".service") != 0 || strchr(unit, '/') || strlen(unit) >= sizeof(service->name))
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "service needs --unit= when no service has started it. Use for example "
				   "--unit=strongswan.service.");
	service->is_own = own && strcmp(own, unit) == 0;
	snprintf(service->name, sizeof(service->name), "%s", unit);
	snprintf(service->stem, sizeof(service->stem), "%.*s", (int)(suffix - unit), unit);
	snprintf(service->saved, sizeof(service->saved), SAVED_FOLDER "%s", service->stem);
	return 0;
}

static const struct settings *read_settings(struct service *service, unsigned int set)
{
	const bool has_mode = service->mode != MODES;

	settings_read(has_mode ? set & ~SETTING(MODE) : set, &service->settings);
	if (has_mode)
		service->settings.mode = service->mode;
	return &service->settings;
}

/* Asks systemd for the unit's job. Returns UNIT_NO_JOB if systemd does not answer, which it reports. The caller then
 * neither leaves traffic unprotected nor ends a process. */
static enum unit_job find_job(struct service *service)
{
	int r = unit_find(service->name, &service->state);

	if (r < 0) {
		log_notice(MESSAGE_UNSURE,
			   "Could not ask systemd whether %.64s is being stopped for good: %s. Traffic is blocked. "
			   "After a stop, run `xfrmctl release`.",
			   service->name, strerror(-r));
		return UNIT_NO_JOB;
	}
	return service->state.job;
}

/* Puts shadows behind the selected policies, and backup routes behind the routes of `table`, unless that is 0. Writes
 * the file `saved` for the next boot, unless that is NULL. Returns an exit status. */
static enum exit_status arm(const struct globals *globals, const struct settings *settings, uint32_t table,
			    const char *saved)
{
	const struct arm_options options = {.filter = settings->filter, .routes = table, .saved = saved};

	return arm_run(globals, &options) < 0 ? STATUS_FAILED : STATUS_DONE;
}

/* Makes systemd start the unit that hands over the kept SAs. Returns 0, or a negative errno, which it reports. */
static int start_handover(const struct service *service)
{
	char unit[UNIT_MAX + sizeof("xfrmctl-handover@.service")];

	snprintf(unit, sizeof(unit), "xfrmctl-handover@%s.service", service->stem);
	int r = unit_start(unit);
	return r < 0 ? log_failure(r, MESSAGE_FAILED,
				   "Could not start %.128s for the handover: %s. Traffic is blocked instead.", unit,
				   r == -ERFKILL ? "the unit is masked" : strerror(-r))
		     : 0;
}

static enum exit_status start_pre(struct globals *globals, struct service *service)
{
	const struct settings *settings =
		read_settings(service, SETTING(MODE) | SETTING(SELECT) | SETTING(ROUTES) | SETTING(FLUSH_OPTIONS));
	struct flush_options options = {
		.filter = settings->filter,
		.hold = settings->mode != MODE_FLUSH,
		/* In MODE_AUTO, SAs are left only after a crash: after a clean shutdown there is nothing to keep. */
		.keep = settings->mode == MODE_HANDOVER || settings->mode == MODE_AUTO,
		.force = settings->force,
		.routes = settings->routes,
	};
	bool kept = false;

	/* If XFRMCTL_SELECT is wrong, any entry may belong to another program, so remove none. */
	if (settings->wrong & SETTING(SELECT)) {
		privileges_give_up(PRIVILEGE_OTHERS);
		return arm(globals, settings, settings->backups, NULL);
	}
	enum exit_status status = flush_run(globals, &options, &kept);
	if (!kept || start_handover(service) == 0)
		return status;
	options.keep = false;
	options.again = true;
	/* Pass no --netns=: this process is in that namespace already. */
	flush_run(&(struct globals){0}, &options, NULL);
	return STATUS_FAILED;
}

static enum exit_status start_post(struct globals *globals, struct service *service)
{
	const struct settings *settings =
		read_settings(service, SETTING(SELECT) | SETTING(ROUTES) | SETTING(RELEASE_OPTIONS));
	const struct release_options options = {
		.filter = settings->filter,
		.only_ours = settings->wrong & SETTING(SELECT),
		.grace_usec = settings->grace_usec,
		.routes = settings->backups,
		.socket = settings->socket,
	};

	return release_run(globals, &options) < 0 ? STATUS_FAILED : STATUS_DONE;
}

static enum exit_status stop(struct globals *globals, struct service *service)
{
	enum unit_job job = find_job(service);
	bool saves = job == UNIT_JOB_STOP && boot_save_is_shutdown(service->saved) > 0;

	if (job == UNIT_JOB_STOP && !saves) {
		log_detail("%.64s is being stopped for good: no shadows are needed.", service->name);
		return STATUS_DONE;
	}
	const struct settings *settings = read_settings(service, SETTING(MODE) | SETTING(SELECT) | SETTING(ROUTES));
	if (settings->mode == MODE_FLUSH) {
		log_detail("In the mode flush, no traffic is blocked.");
		return STATUS_DONE;
	}
	bool ends = settings->mode == MODE_HANDOVER && job == UNIT_JOB_RESTART && service->is_own && log_in_unit();
	if (!ends)
		privileges_give_up(PRIVILEGE_KILL);
	/* If XFRMCTL_SELECT is wrong, a new file could contain policies of other programs, so keep the previous
	 * file. */
	if (settings->wrong & SETTING(SELECT))
		saves = false;
	enum exit_status status = arm(globals, settings, settings->backups, saves ? service->saved : NULL);
	/* End the process even if some shadows are missing. Its policies stay then, because it cannot remove them any
	 * more. */
	if (ends && main_process_end() < 0)
		return STATUS_FAILED;
	return status;
}

/* Removes the file for the next boot, all shadows, and the state that the daemon left. Does nothing while the machine
 * shuts down. Returns an exit status. */
static enum exit_status unblock_all(struct globals *globals, struct service *service)
{
	int r = boot_save_forget(service->saved);

	if (r <= 0)
		return r < 0 ? STATUS_FAILED : STATUS_DONE;
	const struct settings *settings =
		read_settings(service, SETTING(SELECT) | SETTING(ROUTES) | SETTING(FLUSH_OPTIONS));
	const bool only_ours = settings->wrong & SETTING(SELECT);
	const struct flush_options options = {
		.filter = settings->filter,
		.stop = true,
		.only_ours = only_ours,
		.only_backups = only_ours || settings->wrong & SETTING(ROUTES),
		.force = settings->force,
		.routes = settings->backups,
	};
	return flush_run(globals, &options, NULL);
}

/* Performs stop-post for a service that this process does not belong to. If that service had failed already, systemd
 * runs none of its commands when it is stopped, and has no job for it. No job therefore counts as a stop. Returns an
 * exit status. */
static enum exit_status stop_post_of_other(struct globals *globals, struct service *service)
{
	int r = unit_find(service->name, &service->state);

	if (r < 0)
		return log_failure(STATUS_FAILED, MESSAGE_FAILED,
				   "Could not ask systemd whether %.64s is being stopped: %s. Nothing was removed. "
				   "`xfrmctl flush` removes the state.",
				   service->name, strerror(-r));
	if (service->state.job != UNIT_JOB_STOP && service->state.job != UNIT_NO_JOB) {
		log_detail("%.64s is not being stopped for good: there is nothing to do.", service->name);
		return STATUS_DONE;
	}
	if (*service->state.netns && !globals->netns)
		globals->netns = service->state.netns;
	return unblock_all(globals, service);
}

/* Delays the automatic restart of a daemon that failed within SHORT_RUN_USEC of its start. */
static void pause_after_short_run(const struct service *service)
{
	const char *result = getenv("SERVICE_RESULT");
	const struct timespec pause = {.tv_sec = PAUSE_SECONDS};

	if (service->state.job != UNIT_NO_JOB || !result || strcmp(result, "success") == 0 ||
	    now_usec() >= usec_add(service->state.main_began_usec, SHORT_RUN_USEC))
		return;
	log_detail("%.64s has failed within %u s of its start: pausing for %u s.", service->name,
		   (unsigned int)(SHORT_RUN_USEC / USEC_PER_SEC), (unsigned int)PAUSE_SECONDS);
	nanosleep(&pause, NULL);
}

static enum exit_status stop_post(struct globals *globals, struct service *service)
{
	enum exit_status status = STATUS_DONE;

	if (!service->is_own)
		return stop_post_of_other(globals, service);
	if (find_job(service) == UNIT_JOB_STOP)
		return unblock_all(globals, service);
	privileges_give_up(PRIVILEGE_OTHERS);
	const struct settings *settings = read_settings(service, SETTING(MODE) | SETTING(SELECT));
	if (settings->mode == MODE_FLUSH)
		log_detail("In the mode flush, no traffic is blocked.");
	else
		status = arm(globals, settings, 0, NULL);
	pause_after_short_run(service);
	return status;
}

static const struct step {
	const char *name;
	enum exit_status (*run)(struct globals *globals, struct service *service);
	/* Capabilities that the step needs (PRIVILEGE_…). */
	uint64_t needs;
	/* Texts of the help: the purpose of the step, and the settings that it reads. */
	const char *purpose, *settings;
} steps[] = {
	{"start-pre", start_pre, PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS,
	 "Remove, hold or keep the state of a previous instance",
	 "XFRMCTL_MODE, XFRMCTL_SELECT, XFRMCTL_ROUTES, XFRMCTL_FLUSH_OPTIONS"},
	{"start-post", start_post, PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS,
	 "Release blocked traffic, and remove pending acquires",
	 "XFRMCTL_SELECT, XFRMCTL_ROUTES, XFRMCTL_RELEASE_OPTIONS"},
	{"stop", stop, PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_KILL,
	 "Before a restart, put shadows behind policies. In the mode `handover`, end the main process without a clean "
	 "shutdown",
	 "XFRMCTL_MODE, XFRMCTL_SELECT, XFRMCTL_ROUTES"},
	{"stop-post", stop_post, PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS,
	 "At a stop for good, remove all state. Otherwise put shadows behind policies, and pause for a second if the "
	 "service failed within ten seconds of its start",
	 "XFRMCTL_MODE, XFRMCTL_SELECT, XFRMCTL_ROUTES, XFRMCTL_FLUSH_OPTIONS"},
};

static void print_steps(void)
{
	printf("Steps, and their settings:\n");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		verb_print_row(steps[i].name, steps[i].purpose);
		printf("    (%s)\n", steps[i].settings);
	}
}

static const struct step *find_step(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (strcmp(steps[i].name, name) == 0)
			return &steps[i];
	return NULL;
}

static const struct verb_option option_table[] = {
	{"mode", "MODE", SECTION_ACTION, OPTION_MODE, offsetof(struct service, mode),
	 "Use this mode instead of XFRMCTL_MODE (auto, hold, handover or flush)"},
	{"unit", "UNIT", SECTION_SERVICE, OPTION_TEXT, offsetof(struct service, unit),
	 "Work for this service (default: that of this process). For another service, stop-post only removes state, "
	 "and also after a failure"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "service",
	.usage = {"STEP [OPTION...]"},
	.about = "Runs a step for the service of an IKE daemon, from its drop-in. Reads the settings from the "
		 "environment. If a setting is wrong, uses a value that blocks traffic.",
	.print_list = print_steps,
	.more = "xfrmctl.conf(5) explains the settings and their options.",
	.options = option_table,
};

/* Reads the name of the step, and the options before and after it. Returns as verb_parse(). */
static int parse(struct globals *globals, int argc, char **argv, struct service *service, const struct step **ret)
{
	char *verb = argv[0];

	int r = verb_parse_options(globals, argc, argv, &syntax, service);
	if (r < 0)
		return r;
	const char *name = optind < argc ? argv[optind] : "";
	const struct step *step = find_step(name);
	if (!step)
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "Unknown step '%.64s'. Use start-pre, start-post, stop or stop-post.", name);
	*ret = step;
	argc -= optind;
	argv += optind;
	argv[0] = verb;
	optind = 0;
	r = verb_parse(globals, argc, argv, &syntax, service);
	return r < 0 ? r : name_unit(service);
}

static void service_free(struct service *service)
{
	settings_free(&service->settings);
}

int verb_service(struct globals *globals, int argc, char **argv)
{
	CLEANUP(service_free) struct service service = {.mode = MODES};
	const struct step *step = steps;

	int r = parse(globals, argc, argv, &service, &step);
	if (r < 0)
		return verb_exit_status(r);
	privileges_confine(step->needs);
	enum exit_status status = step->run(globals, &service);
	if (service.settings.wrong && status == STATUS_DONE)
		status = STATUS_FAILED;
	return status;
}
