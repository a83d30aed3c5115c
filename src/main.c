/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/util.h"
#include "verbs/options.h"

static const struct verb {
	const char *name;
	int (*run)(struct globals *globals, int argc, char **argv);
	const char *purpose;
	/* Capabilities that the verb needs (PRIVILEGE_…). 0 if the verb itself calls privileges_confine(), after it has
	 * read its options. */
	uint64_t needs;
} verbs[] = {
	{"flush", verb_flush, "Remove SAs and policies, before an IKE daemon starts",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"arm", verb_arm, "Put shadows behind policies, before an IKE daemon restarts",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER},
	{"release", verb_release, "Remove the shadows of `flush --hold` and `arm`",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"handover", verb_handover, "Move traffic to new SAs, and remove the SAs that `flush --keep` kept",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"save", verb_save, "Save policies, so that `restore` can block their traffic at boot",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER},
	{"restore", verb_restore, "Block the traffic that was protected before the boot",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER},
	{"status", verb_status, "Show where kernel and charon disagree, and which connections are up",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"wait", verb_wait, "Wait until the IKE daemon answers", 0},
	{"watch", verb_watch, "End an IKE daemon that hangs, and watch its policies",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS | PRIVILEGE_KILL},
	{"service", verb_service, "Run a step of an IKE daemon's service, with the settings of its unit", 0},
};

static void print_verbs(void)
{
	printf("Verbs:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		verb_print_row(verbs[i].name, verbs[i].purpose);
}

static const struct verb_option option_table[] = {
	{"version", NULL, SECTION_GENERAL, OPTION_VERSION, 0, "Show the version"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.usage = {"VERB [OPTION...]"},
	.about = "Removes the stale SAs and policies of an IKE daemon, and blocks the traffic that they protected.",
	.print_list = print_verbs,
	.more = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 a live key manager owns the state, 4 kernel and "
		"charon disagree (status).\nSee xfrmctl(8) for the manual.",
	.options = option_table,
};

/* Checks that the verb's whole output was written. Returns STATUS_FAILED if it was not, otherwise `status`. */
static int finish(int status)
{
	return status != STATUS_FAILED && log_finish_output() < 0 ? STATUS_FAILED : status;
}

int main(int argc, char **argv)
{
	struct globals globals = {0};

	log_init();
	int r = verb_parse_options(&globals, argc, argv, &syntax, &globals);
	if (r < 0)
		return finish(verb_exit_status(r));
	if (optind == argc)
		return log_failure(STATUS_USAGE, MESSAGE_USAGE,
				   "The verb is missing. `xfrmctl --help` lists the verbs.");

	argc -= optind;
	argv += optind;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, argv[0]) == 0) {
			/* With 0, getopt_long() of glibc starts again, at the verb's first argument (getopt(3)). */
			optind = 0;
			if (verbs[i].needs)
				privileges_confine(verbs[i].needs);
			return finish(verbs[i].run(&globals, argc, argv));
		}
	return log_failure(STATUS_USAGE, MESSAGE_USAGE, "Unknown verb '%.64s'. `xfrmctl --help` lists the verbs.",
			   argv[0]);
}
