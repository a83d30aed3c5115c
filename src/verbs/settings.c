/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "base/words.h"
#include "ike/vici.h"
#include "routes/route.h"
#include "routes/table.h"
#include "verbs/options.h"

#define DEFAULT_GRACE_USEC (UINT64_C(5) * 60 * USEC_PER_SEC)

/* Long enough for what any parser of options reports. */
#define MISTAKE_MAX 768

enum {
	OPTION_MATCH = OPTION_OF_VERB,
	OPTION_EXCLUDE,
	OPTION_ROUTES,
	OPTION_FORCE,
	OPTION_GRACE,
	OPTION_SOCKET,
};

static const struct option select_options[] = {
	VOICE_LONG_OPTIONS,
	{"match", required_argument, NULL, OPTION_MATCH},
	{"exclude", required_argument, NULL, OPTION_EXCLUDE},
	{NULL, 0, NULL, 0},
};
static const struct option routes_options[] = {
	VOICE_LONG_OPTIONS,
	{"routes", optional_argument, NULL, OPTION_ROUTES},
	{NULL, 0, NULL, 0},
};
static const struct option flush_options[] = {
	VOICE_LONG_OPTIONS,
	{"force", no_argument, NULL, OPTION_FORCE},
	{NULL, 0, NULL, 0},
};
static const struct option release_options[] = {
	VOICE_LONG_OPTIONS,
	{"grace", required_argument, NULL, OPTION_GRACE},
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{NULL, 0, NULL, 0},
};

static const struct {
	const char *name;
	const struct option *options; /* NULL: not made of options */
	const char *instead;	      /* what counts when it is wrong */
} rows[SETTINGS] = {
	[SETTING_MODE] = {"XFRMCTL_MODE", NULL, "The mode is hold instead."},
	[SETTING_SELECT] =
		{"XFRMCTL_SELECT", select_options,
		 "No SA or policy is removed, and what policies protect is blocked until the daemon protects "
		 "it or the service is stopped."},
	[SETTING_ROUTES] = {"XFRMCTL_ROUTES", routes_options,
			    "No route is removed, and stand-ins of routes are those of table 220."},
	[SETTING_FLUSH_OPTIONS] = {"XFRMCTL_FLUSH_OPTIONS", flush_options, "None of these options is used."},
	[SETTING_RELEASE_OPTIONS] = {"XFRMCTL_RELEASE_OPTIONS", release_options, "--grace=5min is used instead."},
};

/* A setting is no place to ask for help. */
static void refuse_help(void)
{
	log_failure(0, MESSAGE_USAGE, "-h is not an option of a setting.");
}

static int parse_option(int option, const char *value, void *userdata)
{
	struct settings *settings = userdata;

	switch (option) {
	case OPTION_MATCH:
	case OPTION_EXCLUDE:
		return verb_add_selection(&settings->filter, option == OPTION_EXCLUDE, value);
	case OPTION_ROUTES:
		return routes_parse_table(value, &settings->routes);
	case OPTION_FORCE:
		settings->force = true;
		return 0;
	case OPTION_GRACE:
		return verb_parse_time("grace", value, 0, &settings->grace_usec);
	case OPTION_SOCKET:
		settings->socket = value;
		return 0;
	default:
		return -EINVAL;
	}
}

/* Takes the options that a setting is made of. */
static int take_options(enum setting setting, const char *value, struct settings *settings)
{
	const struct verb_syntax syntax = {rows[setting].options, refuse_help, parse_option};
	static char verb[] = "service";
	struct globals globals = {0};

	char *text = settings->texts[setting] = strdup(value);
	/* Before the words the name of the verb, behind them NULL, as in the arguments of a program. */
	char **words = settings->words[setting] = calloc(WORDS_MAX(strlen(value)) + 2, sizeof(*words));
	if (!text || !words)
		return log_failure(-ENOMEM, MESSAGE_FAILED, "%s.", strerror(ENOMEM));
	words[0] = verb;
	size_t n = words_split(text, words + 1);
	/* 0 makes glibc read these from the start (getopt(3)). */
	optind = 0;
	return verb_parse(&globals, (int)n + 1, words, &syntax, settings);
}

/* Makes of a setting that is wrong what counts instead. */
static void use_instead(enum setting setting, struct settings *settings)
{
	settings->wrong |= 1U << setting;
	switch (setting) {
	case SETTING_MODE:
		settings->mode = MODE_HOLD;
		break;
	case SETTING_SELECT:
		settings->filter = (struct filter){0};
		break;
	case SETTING_ROUTES:
		settings->routes = 0;
		break;
	case SETTING_FLUSH_OPTIONS:
		settings->force = false;
		break;
	case SETTING_RELEASE_OPTIONS:
		settings->grace_usec = DEFAULT_GRACE_USEC;
		settings->socket = VICI_SOCKET;
		break;
	case SETTINGS:
		break;
	}
}

static void read_setting(enum setting setting, struct settings *settings)
{
	const char *value = getenv(rows[setting].name);
	char mistake[MISTAKE_MAX] = "";

	if (!value)
		return;
	log_capture(mistake, sizeof(mistake));
	int r = rows[setting].options ? take_options(setting, value, settings) : parse_mode(value, &settings->mode);
	log_capture(NULL, 0);
	if (r == 0)
		return;
	size_t length = strlen(mistake);
	if (length && mistake[length - 1] == '.')
		mistake[length - 1] = '\0';
	use_instead(setting, settings);
	log_failure(r, MESSAGE_SETTING, "%s is wrong: %s. %s Correct it in /etc/default/xfrmctl.", rows[setting].name,
		    mistake, rows[setting].instead);
}

void settings_read(unsigned int set, struct settings *ret)
{
	*ret = (struct settings){.mode = MODE_AUTO, .grace_usec = DEFAULT_GRACE_USEC, .socket = VICI_SOCKET};
	for (unsigned int i = 0; i < SETTINGS; i++)
		if (set & 1U << i)
			read_setting((enum setting)i, ret);
	/* To end the daemon without its goodbye is for those of whom it is known what is theirs. */
	if (ret->wrong & SETTING(SELECT))
		ret->mode = MODE_HOLD;
	ret->backups = (ret->wrong & SETTING(ROUTES)) ? ROUTE_TABLE : ret->routes;
}

void settings_free(struct settings *settings)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		free(settings->texts[i]);
		free(settings->words[i]);
	}
}
