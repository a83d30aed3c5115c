/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/settings.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "base/words.h"
#include "ike/vici.h"
#include "routes/route.h"
#include "verbs/options.h"

/* Default grace of `release`, in microseconds: five minutes. */
#define DEFAULT_GRACE_USEC (UINT64_C(5) * 60 * USEC_PER_SEC)

/* Maximum size of a message about a wrong option, in bytes. */
#define MISTAKE_MAX 768

static const struct {
	const char *name;
	/* Sentence about the value that is used if the setting is wrong. */
	const char *instead;
	/* Options that the setting consists of; the last row has no name. No options: the setting is a mode. */
	struct verb_option options[3];
} rows[SETTINGS] = {
	[SETTING_MODE] = {"XFRMCTL_MODE", "The mode hold is used."},
	[SETTING_SELECT] = {"XFRMCTL_SELECT",
			    "No SA or policy is removed. Traffic is blocked until the daemon protects it, or the "
			    "service is stopped.",
			    {SELECTION_OPTIONS(struct settings)}},
	[SETTING_ROUTES] = {"XFRMCTL_ROUTES",
			    "No route is removed. Backup routes are those of table 220.",
			    {{"routes", "[TABLE]", SECTION_ACTION, OPTION_TABLE, offsetof(struct settings, routes)}}},
	[SETTING_FLUSH_OPTIONS] = {"XFRMCTL_FLUSH_OPTIONS",
				   "None of its options is used.",
				   {{"force", NULL, SECTION_ACTION, OPTION_FLAG, offsetof(struct settings, force)}}},
	[SETTING_RELEASE_OPTIONS] =
		{"XFRMCTL_RELEASE_OPTIONS",
		 "--grace=5min is used.",
		 {{"grace", "TIME", SECTION_ACTION, OPTION_TIME, offsetof(struct settings, grace_usec)},
		  {"socket", "PATH", SECTION_ACTION, OPTION_TEXT, offsetof(struct settings, socket)}}},
};

/* Reads a setting that consists of options. Returns 0, or a negative errno, which it reports. */
static int store_options(enum setting setting, const char *value, struct settings *settings)
{
	static char verb[] = "service";
	const struct verb_syntax syntax = {.name = verb, .setting = true, .options = rows[setting].options};
	struct globals globals = {0};

	char *text = settings->texts[setting] = strdup(value);
	/* As in the arguments of a program, the name of the verb precedes the words, and NULL follows them. */
	char **words = settings->words[setting] = calloc(WORDS_MAX(strlen(value)) + 2, sizeof(*words));
	if (!text || !words)
		return log_failure(-ENOMEM, MESSAGE_FAILED, "%s.", strerror(ENOMEM));
	words[0] = verb;
	size_t n = words_split(text, words + 1);
	/* With 0, getopt_long() of glibc starts again, at the first of these words (getopt(3)). */
	optind = 0;
	return verb_parse(&globals, (int)n + 1, words, &syntax, settings);
}

/* Marks a setting as wrong, and gives it the value that is used instead. */
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
	int r = setting != SETTING_MODE ? store_options(setting, value, settings) : parse_mode(value, &settings->mode);
	log_capture(NULL, 0);
	if (r == 0)
		return;
	size_t length = strlen(mistake);
	if (length && mistake[length - 1] == '.')
		mistake[length - 1] = '\0';
	use_instead(setting, settings);
	log_failure(r, MESSAGE_SETTING, "%s is wrong: %s. %s Correct %s in /etc/default/xfrmctl.", rows[setting].name,
		    mistake, rows[setting].instead, rows[setting].name);
}

void settings_read(unsigned int set, struct settings *ret)
{
	*ret = (struct settings){.mode = MODE_AUTO, .grace_usec = DEFAULT_GRACE_USEC, .socket = VICI_SOCKET};
	for (unsigned int i = 0; i < SETTINGS; i++)
		if (set & 1U << i)
			read_setting((enum setting)i, ret);
	/* If XFRMCTL_SELECT is wrong, it is unknown which entries belong to the daemon. The daemon must not be ended
	 * without a clean shutdown then. */
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
