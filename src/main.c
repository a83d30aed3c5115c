/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/privileges.h"
#include "base/util.h"
#include "verbs/options.h"

enum {
	OPTION_VERSION = OPTION_OF_VERB,
};

static const struct verb {
	const char *name;
	int (*run)(struct globals *globals, int argc, char **argv);
	const char *purpose;
	uint64_t needs; /* PRIVILEGE_…; 0: it confines itself when it knows what it is to do */
} verbs[] = {
	{"flush", verb_flush, "Remove SAs and policies, as before the start of an IKE daemon",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"arm", verb_arm, "Put shadows behind live policies, as before a restart", PRIVILEGE_NETWORK | PRIVILEGE_ENTER},
	{"release", verb_release, "Remove what `flush --hold` and `arm` left in place",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"handover", verb_handover, "Move traffic to new SAs, then remove the old ones that `flush --keep` left",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"save", verb_save, "Write down what `restore` is to close at boot", PRIVILEGE_NETWORK | PRIVILEGE_ENTER},
	{"restore", verb_restore, "Block what was protected before the boot", PRIVILEGE_NETWORK | PRIVILEGE_ENTER},
	{"status", verb_status, "Show what is in the kernel, what charon knows, and what is orphaned",
	 PRIVILEGE_NETWORK | PRIVILEGE_ENTER | PRIVILEGE_OTHERS},
	{"wait", verb_wait, "Wait until the IKE daemon answers", 0},
	{"watch", verb_watch, "End an IKE daemon that has stopped answering",
	 PRIVILEGE_ENTER | PRIVILEGE_OTHERS | PRIVILEGE_KILL},
	{"service", verb_service, "Do what a service needs at its start and stop, with the settings of its unit", 0},
};

static void print_help(void)
{
	printf("Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] VERB [OPTION...]\n"
	       "\n"
	       "Gives an IKE daemon a clean kernel when it restarts after a crash.\n"
	       "\n"
	       "Verbs:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		printf("  %-20s %s\n", verbs[i].name, verbs[i].purpose);
	printf("\n"
	       "Options:\n"
	       "  --netns=NAME|PATH    Work in this network namespace (a name of `ip netns`, or a\n"
	       "                       path such as /proc/PID/ns/net)\n"
	       "  -q, --quiet          Say nothing but what failed\n"
	       "  -v, --verbose        Say what is done on the way\n"
	       "  -h, --help           Show this; behind a verb, the help of that verb\n"
	       "      --version        Show the version\n"
	       "\n"
	       "Exit status: 0 done, 1 failed, 2 wrong usage, 3 a live key manager owns the state,\n"
	       "4 status found orphans.\n"
	       "The manual is xfrmctl(8).\n");
}

/* Returns the exit status of a verb, or STATUS_FAILED if standard output did not take what it wrote. */
static int finish(int status)
{
	return status != STATUS_FAILED && log_finish_output() < 0 ? STATUS_FAILED : status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		GLOBAL_LONG_OPTIONS, {"version", no_argument, NULL, OPTION_VERSION}, {NULL, 0, NULL, 0}};
	struct globals globals = {0};
	int c;

	log_init();
	opterr = 0;
	/* "+": options behind the verb are the verb's. */
	while ((c = getopt_long(argc, argv, "+:" GLOBAL_SHORT_OPTIONS, options, NULL)) >= 0) {
		if (global_option(c, &globals))
			continue;
		switch (c) {
		case 'h':
			print_help();
			return finish(STATUS_DONE);
		case OPTION_VERSION:
			printf("xfrmctl %s\n", XFRMCTL_VERSION);
			return finish(STATUS_DONE);
		default:
			return usage_error(c, argv, NULL);
		}
	}
	if (optind == argc)
		return log_failure(STATUS_USAGE, MESSAGE_USAGE, "A verb is missing; `xfrmctl --help` shows them.");

	argc -= optind;
	argv += optind;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, argv[0]) == 0) {
			/* 0 makes glibc read the verb's options from the start (getopt(3)). */
			optind = 0;
			if (verbs[i].needs)
				privileges_confine(verbs[i].needs);
			return finish(verbs[i].run(&globals, argc, argv));
		}
	return log_failure(STATUS_USAGE, MESSAGE_USAGE, "Unknown verb '%.64s'; `xfrmctl --help` shows them.", argv[0]);
}
