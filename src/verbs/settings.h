/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The operator's settings (/etc/default/xfrmctl). systemd passes them to a unit's commands in the environment. */

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

/* The set of one setting. Sets are combined by bitwise OR. */
#define SETTING(name) (1U << SETTING_##name)

struct settings {
	enum mode mode;
	/* Selects the entries of the daemon. Selects all entries if XFRMCTL_SELECT is wrong. */
	struct filter filter;
	/* charon's routing table; 0: none. Always 0 if XFRMCTL_ROUTES is wrong. */
	uint32_t routes;
	/* Routing table for backup routes: equal to `routes`, but the default table if XFRMCTL_ROUTES is wrong. Backup
	 * routes belong to xfrmctl in any table. */
	uint32_t backups;
	/* --force in XFRMCTL_FLUSH_OPTIONS. */
	bool force;
	/* --grace in XFRMCTL_RELEASE_OPTIONS, in microseconds. */
	uint64_t grace_usec;
	/* charon's VICI socket: --socket in XFRMCTL_RELEASE_OPTIONS. */
	const char *socket;
	/* The set of settings that were wrong. */
	unsigned int wrong;

	/* Memory that the other members point to: a copy of each setting, and pointers to its words. */
	char *texts[SETTINGS], **words[SETTINGS];
};

/* Reads a set of settings from the environment. Other settings, and those that are not in the environment, get their
 * defaults. Reports each wrong setting once, with the value that is used instead. The caller frees `ret` with
 * settings_free(). */
void settings_read(unsigned int set, struct settings *ret);

void settings_free(struct settings *settings);
