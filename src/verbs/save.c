/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/util.h"
#include "hold/boot_save.h"
#include "verbs/options.h"

enum {
	OPTION_MATCH = OPTION_OF_VERB,
	OPTION_EXCLUDE,
	OPTION_FILE,
	OPTION_UNIT,
};

struct save {
	struct filter filter;
	const char *file;
	const char *unit;
};

static void print_help(void)
{
	printf("Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] save --file=FILE [OPTION...]\n"
	       "\n"
	       "Writes down which policies there are, so that `xfrmctl restore` can close at boot what\n"
	       "they protect until the IKE daemon has started. Changes nothing in the kernel.\n"
	       "\n"
	       "  --file=FILE          Replace FILE, as a whole, unless it says all this already\n"
	       "  --unit=UNIT          Only while this service runs, and systemd is not changing that\n"
	       "  --match=EXPR         Only what some --match holds for (repeatable)\n"
	       "  --exclude=EXPR       Not what some --exclude holds for (repeatable)\n"
	       "  -h, --help           Show this\n"
	       "\n"
	       "`xfrmctl flush --help` shows what EXPR can be.\n");
}

static int parse_option(int option, const char *value, void *userdata)
{
	struct save *save = userdata;

	switch (option) {
	case OPTION_FILE:
		save->file = value;
		return 0;
	case OPTION_UNIT:
		save->unit = value;
		return 0;
	default:
		return verb_add_selection(&save->filter, option == OPTION_EXCLUDE, value);
	}
}

int verb_save(struct globals *globals, int argc, char **argv)
{
	CLEANUP(xfrm_close) struct xfrm *xfrm = NULL;
	struct xfrm_counts counts;
	struct save save = {0};

	static const struct option options[] = {
		GLOBAL_LONG_OPTIONS,
		{"file", required_argument, NULL, OPTION_FILE},
		{"unit", required_argument, NULL, OPTION_UNIT},
		{"match", required_argument, NULL, OPTION_MATCH},
		{"exclude", required_argument, NULL, OPTION_EXCLUDE},
		{NULL, 0, NULL, 0},
	};
	static const struct verb_syntax syntax = {options, print_help, parse_option};

	int r = verb_parse(globals, argc, argv, &syntax, &save);
	if (r < 0)
		return verb_exit_status(r);
	if (!save.file || !*save.file)
		return log_failure(STATUS_USAGE, MESSAGE_USAGE, "save needs the name of a file: --file=FILE.");
	r = verb_open_xfrm(globals, &xfrm, &counts);
	if (r == 0)
		r = boot_save(xfrm, &save.filter, save.file, save.unit);
	return r < 0 ? STATUS_FAILED : STATUS_DONE;
}
