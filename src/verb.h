/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What main() and the verbs agree on. */

enum exit_status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_REFUSED = 3,
};

struct globals {
	const char *netns; /* --netns=, or NULL for the namespace that we are in */
};

/* Values of long options that have no short form start behind every character. */
enum {
	OPTION_NETNS = 0x100,
	OPTION_OF_VERB,
};

/* Options that are accepted before and behind the verb, for getopt_long(3). */
#define GLOBAL_SHORT_OPTIONS "hqv"
#define GLOBAL_LONG_OPTIONS \
	/* clang-format off */ \
	{"help", no_argument, NULL, 'h'}, \
	{"quiet", no_argument, NULL, 'q'}, \
	{"verbose", no_argument, NULL, 'v'}, \
	{"netns", required_argument, NULL, OPTION_NETNS} \
	/* clang-format on */

/* Takes note of one of the global options but --help; returns whether `option` is one. */
bool global_option(int option, struct globals *globals);

/* Reports what getopt_long(3) did not understand and returns STATUS_USAGE. `c` is what it returned, `verb` the verb
 * whose options these are, or NULL before it. */
int usage_error(int c, char **argv, const char *verb);

/* Each verb in a file of its name: argv[0] is the verb. They report their failures and return an exit status. */
int verb_flush(struct globals *globals, int argc, char **argv);
