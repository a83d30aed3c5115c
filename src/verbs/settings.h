/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The settings of the operator (/etc/default/xfrmctl), which systemd puts into the environment of a unit's commands. */

#include <stdbool.h>
#include <stdint.h>

#include "verbs/options.h"
#include "xfrm/filter.h"

enum setting {
	SETTING_MODE,
	SETTING_SELECT,
	SETTING_ROUTES,
	SETTING_FLUSH_OPTIONS,
	SETTING_RELEASE_OPTIONS,
	SETTINGS,
};

/* A set of settings. */
#define SETTING(name) (1U << SETTING_##name)

struct settings {
	enum mode mode;
	struct filter filter; /* what is the daemon's; everything, if XFRMCTL_SELECT is wrong */
	uint32_t routes;      /* charon's table, or 0; 0 if XFRMCTL_ROUTES is wrong */
	uint32_t backups;     /* the same; the default table if it is wrong, since stand-ins are ours in each */
	bool force;
	uint64_t grace_usec;
	const char *socket;
	unsigned int wrong; /* a set of those that could not be used */

	/* What the above points into. */
	char *texts[SETTINGS], **words[SETTINGS];
};

/* Reads a set of settings from the environment; those that are missing there, and those that are not read, have their
 * defaults. Reports each that is wrong, once, with what counts instead. To be freed with settings_free(). */
void settings_read(unsigned int set, struct settings *ret);

void settings_free(struct settings *settings);
