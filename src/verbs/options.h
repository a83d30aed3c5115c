/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

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

/* The general options, as far as a verb has to know them. */
struct globals {
	const char *netns; /* --netns=, or NULL for the namespace that we are in */
};

/* The sections of a help text, in their order. */
enum option_section {
	SECTION_SELECTION,
	SECTION_ACTION,
	SECTION_SERVICE,
	SECTION_GENERAL,
	SECTIONS,
};

/* The kind of an option, and the type of the variable that its value is stored in. */
enum option_kind {
	OPTION_FLAG,	/* bool: the option takes no value */
	OPTION_TEXT,	/* const char * */
	OPTION_FILE,	/* const char *: a name that is not empty */
	OPTION_TIME,	/* uint64_t: microseconds, from `min` to `max` */
	OPTION_NUMBER,	/* uint64_t: from `min` to `max` */
	OPTION_TABLE,	/* uint32_t: a routing table */
	OPTION_INCLUDE, /* struct filter: an expression of --match */
	OPTION_EXCLUDE, /* struct filter: an expression of --exclude */
	OPTION_MODE,	/* enum mode */
	/* General options without a variable. */
	OPTION_QUIET,
	OPTION_VERBOSE,
	OPTION_HELP,
	OPTION_VERSION,
};

/* A row of the table of a verb's options. The parser, the help, and through the help the completions come from it;
 * tests/unit/verbs/test_manual.py compares the help with the manual. */
struct verb_option {
	const char *name;
	const char *argument; /* stands for the value; in brackets if it may be left out; NULL if there is none */
	enum option_section section;
	enum option_kind kind;
	size_t offset; /* of the variable, in the structure that verb_parse() gets */
	const char *help;
	const char *needs;    /* options of which one has to be there as well, as "--json or --metrics" */
	const char *excludes; /* options that must not be there as well, as "--hold, --keep" */
	uint64_t min, max;    /* least and greatest value; a time span with a `max` of 0 may be of any length */
	bool required;
	char letter; /* the short form, or 0 */
};

/* The command line of a verb. */
struct verb_syntax {
	const char *name;		   /* NULL: the program itself, before the verb */
	const char *usage[2];		   /* what can follow the name; the second one may be NULL */
	const char *about;		   /* the purpose, in sentences */
	void (*print_list)(void);	   /* prints what it takes besides options, with verb_print_row(), or NULL */
	const char *more;		   /* what is to be known besides the options, or NULL */
	const struct verb_option *options; /* up to one without a name */
	bool setting; /* of a setting of a unit: only --quiet and --verbose of the options of all verbs */
};

/* The options that select entries, for a structure with a member `filter`. */
#define SELECTION_OPTIONS(type) \
	/* clang-format off */ \
	{"match", "EXPR", SECTION_SELECTION, OPTION_INCLUDE, offsetof(type, filter), \
	 "Only what some --match holds for (repeatable)"}, \
	{"exclude", "EXPR", SECTION_SELECTION, OPTION_EXCLUDE, offsetof(type, filter), \
	 "Not what some --exclude holds for (repeatable)"} \
	/* clang-format on */

/* What a help with these options says behind them. */
#define SELECTION_MORE "`xfrmctl flush --help` shows what EXPR can be."

/* Enters a network namespace by name or path, unless that is NULL. Reports what fails and returns a negative errno.
 */
int verb_enter_netns(const char *netns);

/* Opens the door to the kernel in the network namespace that --netns= names, and counts what is there, which shows
 * whether the kernel lets us. No other namespace can be entered then. Reports what fails and returns a negative errno.
 */
int verb_open_xfrm(const struct globals *globals, struct xfrm **ret, struct xfrm_counts *counts);

/* What becomes of the state of an IKE daemon that restarts: XFRMCTL_MODE, and --mode= of `service`. */
enum mode {
	MODE_AUTO,     /* after a crash as MODE_HANDOVER, at a planned restart as MODE_HOLD */
	MODE_FLUSH,    /* it goes, and nothing takes its place */
	MODE_HOLD,     /* it goes, and shadows take its place */
	MODE_HANDOVER, /* it carries the traffic until the new daemon does, for which a planned restart ends the old one
			*/
	MODES,
};

/* Takes the name of a mode. Reports what is wrong with it and returns -EINVAL. */
int parse_mode(const char *value, enum mode *ret);

/* Reads the options of a verb, which takes nothing else, into its structure `userdata`. Returns 0, -EINVAL for wrong
 * usage, which it reports, or -ECANCELED after it has shown the help or the version. */
int verb_parse(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax, void *userdata);

/* Do the same in two steps, for a verb that takes more than options: the first one leaves optind behind the options,
 * the second one refuses words from there on. */
int verb_parse_options(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax,
		       void *userdata);
int verb_refuse_arguments(int argc, char **argv);

/* Prints a row of a help: a name, and a text about it, which may take several lines. */
void verb_print_row(const char *name, const char *text);

/* Returns the exit status of a verb whose options were not used, from what verb_parse() has returned. */
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
