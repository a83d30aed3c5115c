/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>

#include "base/util.h"
#include "hold/boot_save.h"
#include "verbs/options.h"

struct save {
	struct filter filter;
	const char *file;
	const char *unit;
};

static const struct verb_option option_table[] = {
	SELECTION_OPTIONS(struct save),
	{"file", "FILE", SECTION_ACTION, OPTION_FILE, offsetof(struct save, file),
	 "Replace FILE as a whole, if the policies have changed", .required = true},
	{"unit", "UNIT", SECTION_SERVICE, OPTION_TEXT, offsetof(struct save, unit),
	 "Save only while this service runs, and does not start or stop"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "save",
	.usage = {"--file=FILE [OPTION...]"},
	.about = "Saves the policies of the kernel in a file, so that `xfrmctl restore` can block their traffic at "
		 "boot until the IKE daemon has started. Changes nothing in the kernel.",
	.more = SELECTION_MORE,
	.options = option_table,
};

int verb_save(struct globals *globals, int argc, char **argv)
{
	CLEANUP(xfrm_close) struct xfrm *xfrm = NULL;
	struct xfrm_counts counts;
	struct save save = {0};

	int r = verb_parse(globals, argc, argv, &syntax, &save);
	if (r < 0)
		return verb_exit_status(r);
	r = verb_open_xfrm(globals, &xfrm, &counts);
	if (r == 0)
		r = boot_save(xfrm, &save.filter, save.file, save.unit);
	return r < 0 ? STATUS_FAILED : STATUS_DONE;
}
