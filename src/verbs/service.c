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

/* StateDirectory= of the units that save: %S/xfrmctl. */
#define SAVED_FOLDER "/var/lib/xfrmctl/"

/* systemd's own limit for names of units, UNIT_NAME_MAX. */
#define UNIT_MAX 256

/* systemd starts a daemon again at once (RestartSec=, 100 ms by default). One that fails so soon after its start is
 * given this pause before that, so that all the attempts that StartLimitBurst= allows outlast a passing cause. */
#define SHORT_RUN_USEC (10 * USEC_PER_SEC)
#define PAUSE_SECONDS 1

enum {
	OPTION_UNIT = OPTION_OF_VERB,
	OPTION_MODE,
};

struct service {
	const char *unit; /* of --unit=, or NULL */
	bool has_mode;	  /* of --mode=, which counts more than XFRMCTL_MODE */
	enum mode mode;
	bool is_own; /* this process belongs to the unit */
	char name[UNIT_MAX];
	char stem[UNIT_MAX];			     /* the name without its suffix, as %N of a unit */
	char saved[sizeof(SAVED_FOLDER) + UNIT_MAX]; /* what the next boot closes */
	struct unit_state state;
	struct settings settings;
};

static void print_help(void)
{
	printf("Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] service STEP [OPTION...]\n"
	       "\n"
	       "What the drop-in of an IKE daemon's service runs. It reads the settings of that from its\n"
	       "environment; with one that is wrong it goes on, and blocks rather than opens.\n"
	       "\n"
	       "  start-pre            Remove what an earlier life left behind, or hold it, or keep it\n"
	       "                       (XFRMCTL_MODE, XFRMCTL_SELECT, XFRMCTL_ROUTES, XFRMCTL_FLUSH_OPTIONS)\n"
	       "  start-post           Release what was held, and remove pending acquires\n"
	       "                       (XFRMCTL_SELECT, XFRMCTL_ROUTES, XFRMCTL_RELEASE_OPTIONS)\n"
	       "  stop                 Before a restart, put shadows behind policies; in the mode `handover`,\n"
	       "                       also end the main process, so that it cannot take them away\n"
	       "                       (XFRMCTL_MODE, XFRMCTL_SELECT, XFRMCTL_ROUTES)\n"
	       "  stop-post            When systemd stops the service for good, remove what is left; otherwise\n"
	       "                       put shadows behind policies, and pause for a second if the service has\n"
	       "                       failed within ten of its start\n"
	       "                       (XFRMCTL_MODE, XFRMCTL_SELECT, XFRMCTL_ROUTES, XFRMCTL_FLUSH_OPTIONS)\n"
	       "\n"
	       "  --unit=UNIT          The service (default: the one that this process belongs to). Of another\n"
	       "                       one, stop-post only removes what is left, also when that has failed\n"
	       "  --mode=MODE          auto, hold, handover or flush, whatever XFRMCTL_MODE says\n"
	       "  -h, --help           Show this\n"
	       "\n"
	       "xfrmctl.conf(5) explains the settings, and which options each can have.\n");
}

static int parse_option(int option, const char *value, void *userdata)
{
	struct service *service = userdata;

	if (option == OPTION_UNIT) {
		service->unit = value;
		return 0;
	}
	service->has_mode = true;
	return parse_mode(value, &service->mode);
}

/* Finds out which unit this is about. Reports what is wrong and returns -EINVAL. */
static int name_unit(struct service *service)
{
	CLEANUP(free_text) char *own = NULL;

	if (sd_pid_get_unit(0, &own) < 0)
		own = NULL;
	const char *unit = service->unit ? service->unit : own;
	const char *suffix = unit ? strrchr(unit, '.') : NULL;
	/* A shell belongs to a unit as well, which is no service. */
	if (!suffix || strcmp(suffix, ".service") != 0 || strchr(unit, '/') || strlen(unit) >= sizeof(service->name))
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "service needs the name of a service when systemd has not started it, as in "
				   "--unit=strongswan.service.");
	service->is_own = own && strcmp(own, unit) == 0;
	snprintf(service->name, sizeof(service->name), "%s", unit);
	snprintf(service->stem, sizeof(service->stem), "%.*s", (int)(suffix - unit), unit);
	snprintf(service->saved, sizeof(service->saved), SAVED_FOLDER "%s", service->stem);
	return 0;
}

static const struct settings *read_settings(struct service *service, unsigned int set)
{
	if (service->has_mode)
		set &= ~SETTING(MODE);
	settings_read(set, &service->settings);
	if (service->has_mode)
		service->settings.mode = service->mode;
	return &service->settings;
}

/* Asks systemd what it is about to do with the unit. An unknown job is no reason to open a gap, nor to end anything. */
static enum unit_job find_job(struct service *service)
{
	int r = unit_find(service->name, &service->state);

	if (r < 0) {
		log_notice(MESSAGE_UNSURE,
			   "Could not ask systemd whether %.64s is being stopped for good: %s. Going on; after a stop, "
			   "`xfrmctl release` removes the shadows.",
			   service->name, strerror(-r));
		return UNIT_NO_JOB;
	}
	return service->state.job;
}

/* `table`: whose routes get stand-ins, or 0; `saved`: the file to write anew, or NULL. */
static enum exit_status arm(const struct globals *globals, const struct settings *settings, uint32_t table,
			    const char *saved)
{
	const struct arm_options options = {.filter = settings->filter, .routes = table, .saved = saved};

	return arm_run(globals, &options) < 0 ? STATUS_FAILED : STATUS_DONE;
}

/* Has systemd start the unit that ends what was kept. */
static int start_handover(const struct service *service)
{
	char unit[UNIT_MAX + sizeof("xfrmctl-handover@.service")];

	snprintf(unit, sizeof(unit), "xfrmctl-handover@%s.service", service->stem);
	int r = unit_start(unit);
	return r < 0 ? log_failure(r, MESSAGE_FAILED,
				   "Could not have systemd start %.128s, which hands over what goes on: %s. It is "
				   "held instead.",
				   unit, r == -ERFKILL ? "it is masked" : strerror(-r))
		     : 0;
}

static enum exit_status start_pre(struct globals *globals, struct service *service)
{
	const struct settings *settings =
		read_settings(service, SETTING(MODE) | SETTING(SELECT) | SETTING(ROUTES) | SETTING(FLUSH_OPTIONS));
	struct flush_options options = {
		.filter = settings->filter,
		.hold = settings->mode != MODE_FLUSH,
		/* After a clean shutdown there is nothing to keep. */
		.keep = settings->mode == MODE_HANDOVER || settings->mode == MODE_AUTO,
		.force = settings->force,
		.routes = settings->routes,
	};
	bool kept = false;

	/* Anything may be somebody else's. */
	if (settings->wrong & SETTING(SELECT)) {
		privileges_give_up(PRIVILEGE_OTHERS);
		return arm(globals, settings, settings->backups, NULL);
	}
	enum exit_status status = flush_run(globals, &options, &kept);
	if (!kept || start_handover(service) == 0)
		return status;
	options.keep = false;
	options.again = true;
	/* This is the namespace of --netns= by now. */
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
		log_detail("%.64s is being stopped for good: it needs no shadows.", service->name);
		return STATUS_DONE;
	}
	const struct settings *settings = read_settings(service, SETTING(MODE) | SETTING(SELECT) | SETTING(ROUTES));
	if (settings->mode == MODE_FLUSH) {
		log_detail("In this mode (flush), nothing is held.");
		return STATUS_DONE;
	}
	bool ends = settings->mode == MODE_HANDOVER && job == UNIT_JOB_RESTART && service->is_own && report_in_unit();
	if (!ends)
		privileges_give_up(PRIVILEGE_KILL);
	/* What was saved before is better than what may be of others. */
	if (settings->wrong & SETTING(SELECT))
		saves = false;
	enum exit_status status = arm(globals, settings, settings->backups, saves ? service->saved : NULL);
	/* Whether or not there are shadows: the policies of a daemon that cannot remove them stay. */
	if (ends && main_process_end() < 0)
		return STATUS_FAILED;
	return status;
}

/* Frees what was held, and removes what is left of the daemon. */
static enum exit_status open_all(struct globals *globals, struct service *service)
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

/* For a service that is not that of this process: its own commands are not run when it has failed already, and then
 * there is no job. */
static enum exit_status stop_post_of_other(struct globals *globals, struct service *service)
{
	int r = unit_find(service->name, &service->state);

	if (r < 0)
		return log_failure(STATUS_FAILED, MESSAGE_FAILED,
				   "Could not ask systemd whether %.64s is being stopped: %s. Nothing was removed; "
				   "`xfrmctl flush` does it.",
				   service->name, strerror(-r));
	if (service->state.job != UNIT_JOB_STOP && service->state.job != UNIT_NO_JOB) {
		log_detail("%.64s is not being stopped for good: there is nothing to do.", service->name);
		return STATUS_DONE;
	}
	if (*service->state.netns && !globals->netns)
		globals->netns = service->state.netns;
	return open_all(globals, service);
}

/* Delays the automatic restart of a daemon that has failed soon after its start. */
static void pause_after_short_run(const struct service *service)
{
	const char *result = getenv("SERVICE_RESULT");
	const struct timespec pause = {.tv_sec = PAUSE_SECONDS};

	if (service->state.job != UNIT_NO_JOB || !result || strcmp(result, "success") == 0 ||
	    now_usec() >= usec_add(service->state.main_began_usec, SHORT_RUN_USEC))
		return;
	log_detail("%.64s has failed within %u s of its start: a pause of %u s.", service->name,
		   (unsigned int)(SHORT_RUN_USEC / USEC_PER_SEC), (unsigned int)PAUSE_SECONDS);
	nanosleep(&pause, NULL);
}

static enum exit_status stop_post(struct globals *globals, struct service *service)
{
	enum exit_status status = STATUS_DONE;

	if (!service->is_own)
		return stop_post_of_other(globals, service);
	if (find_job(service) == UNIT_JOB_STOP)
		return open_all(globals, service);
	privileges_give_up(PRIVILEGE_OTHERS);
	const struct settings *settings = read_settings(service, SETTING(MODE) | SETTING(SELECT));
	if (settings->mode == MODE_FLUSH)
		log_detail("In this mode (flush), nothing is held.");
	else
		status = arm(globals, settings, 0, NULL);
	pause_after_short_run(service);
	return status;
}

static const struct step {
	const char *name;
	enum exit_status (*run)(struct globals *globals, struct service *service);
	uint64_t needs; /* PRIVILEGE_… */
} steps[] = {
	{"start-pre", start_pre, PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"start-post", start_post, PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"stop", stop, PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_KILL},
	{"stop-post", stop_post, PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
};

static const struct step *find_step(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (strcmp(steps[i].name, name) == 0)
			return &steps[i];
	return NULL;
}

/* Takes the step, and the options before and behind it. */
static int parse(struct globals *globals, int argc, char **argv, struct service *service, const struct step **ret)
{
	static const struct option options[] = {
		GLOBAL_LONG_OPTIONS,
		{"unit", required_argument, NULL, OPTION_UNIT},
		{"mode", required_argument, NULL, OPTION_MODE},
		{NULL, 0, NULL, 0},
	};
	static const struct verb_syntax syntax = {options, print_help, parse_option};
	char *verb = argv[0];

	int r = verb_parse_options(globals, argc, argv, &syntax, service);
	if (r < 0)
		return r;
	const char *name = optind < argc ? argv[optind] : "";
	const struct step *step = find_step(name);
	if (!step)
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "'%.64s' is not a step of a service; it takes start-pre, start-post, stop or "
				   "stop-post.",
				   name);
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
	CLEANUP(service_free) struct service service = {0};
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
