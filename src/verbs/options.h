/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xfrm/filter.h"
#include "xfrm/netlink.h"

/* What main() and the verbs agree on, and what the verbs have in common. */

enum exit_status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_REFUSED = 3,
	STATUS_ORPHANS = 4, /* of status alone */
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
	VOICE_LONG_OPTIONS, \
	{"netns", required_argument, NULL, OPTION_NETNS} \
	/* clang-format on */

/* Those of them that a setting of a unit may have. */
#define VOICE_LONG_OPTIONS \
	/* clang-format off */ \
	{"quiet", no_argument, NULL, 'q'}, \
	{"verbose", no_argument, NULL, 'v'} \
	/* clang-format on */

/* Takes note of one of the global options but --help; returns whether `option` is one. */
bool global_option(int option, struct globals *globals);

/* Reports which mistake with an option getopt_long(3) has found and returns STATUS_USAGE. `c` is what it returned,
 * `verb` the verb whose options these are, or NULL before it. */
int usage_error(int c, char **argv, const char *verb);

/* Enters a network namespace by name or path, unless that is NULL. Reports what fails and returns a negative errno.
 */
int verb_enter_netns(const char *netns);

/* Opens the door to the kernel in the network namespace that --netns= names, and counts what is there, which shows
 * whether the kernel lets us. No other namespace can be entered then. Reports what fails and returns a negative errno.
 */
int verb_open_xfrm(const struct globals *globals, struct xfrm **ret, struct xfrm_counts *counts);

/* Takes the value of --match= or --exclude=. Reports what is wrong with it and returns -EINVAL. */
int verb_add_selection(struct filter *filter, bool exclude, const char *expression);

/* What becomes of the state of an IKE daemon that restarts: XFRMCTL_MODE, and --mode= of `service`. */
enum mode {
	MODE_AUTO,     /* after a crash as MODE_HANDOVER, at a planned restart as MODE_HOLD */
	MODE_FLUSH,    /* it goes, and nothing takes its place */
	MODE_HOLD,     /* it goes, and shadows take its place */
	MODE_HANDOVER, /* it carries the traffic until the new daemon does, for which a planned restart ends the old one
			*/
};

/* Takes the name of a mode. Reports what is wrong with it and returns -EINVAL. */
int parse_mode(const char *value, enum mode *ret);

/* The options of a verb. */
struct verb_syntax {
	const struct option *options; /* for getopt_long(3), the global ones included */
	void (*print_help)(void);
	/* Takes one that is not global, with its value; reports what is wrong with it and returns a negative errno. */
	int (*take)(int option, const char *value, void *userdata);
};

/* Reads the options of a verb, which takes nothing else. Reports what is wrong and returns -EINVAL; -ECANCELED when the
 * help was asked for, and shown. */
int verb_parse(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax, void *userdata);

/* The same for a verb that takes more than options, in two steps: the options, behind which optind is then, and that
 * there is nothing behind them. */
int verb_parse_options(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax,
		       void *userdata);
int verb_refuse_arguments(int argc, char **argv);

/* Takes the value of an option that is a time span, in microseconds. Reports what is wrong with it, or that it is less
 * than `min_usec`, and returns -EINVAL. */
int verb_parse_time(const char *option, const char *value, uint64_t min_usec, uint64_t *ret);

/* The exit status when a verb's options could not be used: -ECANCELED says that --help was asked for. */
enum exit_status verb_exit_status(int r);

/* Each verb in a file of its name: argv[0] is the verb. They report their failures and return an exit status. */
int verb_flush(struct globals *globals, int argc, char **argv);
int verb_arm(struct globals *globals, int argc, char **argv);
int verb_release(struct globals *globals, int argc, char **argv);
int verb_save(struct globals *globals, int argc, char **argv);
int verb_restore(struct globals *globals, int argc, char **argv);
int verb_handover(struct globals *globals, int argc, char **argv);
int verb_status(struct globals *globals, int argc, char **argv);
int verb_wait(struct globals *globals, int argc, char **argv);
int verb_watch(struct globals *globals, int argc, char **argv);
int verb_service(struct globals *globals, int argc, char **argv);
