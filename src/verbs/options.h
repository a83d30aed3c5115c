/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/unit.h"
#include "xfrm/filter.h"
#include "xfrm/netlink.h"

/* The interface between main() and the verbs, and the functions that the verbs share. */

enum exit_status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_REFUSED = 3,  /* a live key manager owns the state */
	STATUS_DISAGREE = 4, /* only of `status`: kernel and charon disagree */
};

/* The general options that a verb needs. */
struct globals {
	const char *netns; /* --netns=; NULL: the current network namespace */
};

/* Sections of a help text, in the order in which they are printed. */
enum option_section {
	SECTION_SELECTION,
	SECTION_ACTION,
	SECTION_SERVICE,
	SECTION_GENERAL,
	SECTIONS,
};

/* Kind of an option. Each comment begins with the type of the variable that stores the value. */
enum option_kind {
	OPTION_FLAG,	/* bool: true if the option is given; it takes no value */
	OPTION_TEXT,	/* const char *: any text */
	OPTION_FILE,	/* const char *: name of a file, not empty */
	OPTION_TIME,	/* uint64_t: microseconds, from `min` to `max` */
	OPTION_NUMBER,	/* uint64_t: number, from `min` to `max` */
	OPTION_TABLE,	/* uint32_t: number of a routing table */
	OPTION_INCLUDE, /* struct filter: an expression of --match, which is added */
	OPTION_EXCLUDE, /* struct filter: an expression of --exclude, which is added */
	OPTION_MODE,	/* enum mode */
	/* Options without a variable. */
	OPTION_QUIET,
	OPTION_VERBOSE,
	OPTION_HELP,
	OPTION_VERSION,
};

/* A row in a verb's table of options. The parser and the help are made from this table, and the shell completions from
 * the help. tests/unit/verbs/test_manual.py compares the help with the manual. */
struct verb_option {
	const char *name;
	/* Placeholder of the value in the help, in brackets if the value is optional. NULL: the option takes no
	 * value. */
	const char *argument;
	enum option_section section;
	enum option_kind kind;
	/* Offset of the variable in the structure that verb_parse() gets, in bytes. */
	size_t offset;
	const char *help;
	/* Options of which at least one must be given too, such as "--json or --metrics"; NULL: none. */
	const char *needs;
	/* Options that must not be given too, such as "--hold, --keep"; NULL: none. */
	const char *excludes;
	/* Minimum and maximum of an OPTION_TIME or OPTION_NUMBER. An OPTION_TIME with a `max` of 0 has no maximum. */
	uint64_t min, max;
	/* The verb fails without this option. */
	bool required;
	/* Short form of the option; 0: none. */
	char letter;
};

/* Syntax of a verb's command line, and text of its help. */
struct verb_syntax {
	/* Name of the verb. NULL: the options of xfrmctl itself, before the verb. */
	const char *name;
	/* One or two forms of the command line after the name; the second may be NULL. */
	const char *usage[2];
	/* Purpose of the verb, in sentences. */
	const char *about;
	/* Prints the arguments that are not options, each with verb_print_row(); may be NULL. */
	void (*print_list)(void);
	/* Text after the options; may be NULL. */
	const char *more;
	/* Table of options; the last row has no name. */
	const struct verb_option *options;
	/* The options come from a unit's setting (settings.h). Of the general options, a setting takes only --quiet and
	 * --verbose. */
	bool setting;
};

/* Rows of the options that select entries, for a structure `type` with a member `filter`. */
#define SELECTION_OPTIONS(type) \
	/* clang-format off */ \
	{"match", "EXPR", SECTION_SELECTION, OPTION_INCLUDE, offsetof(type, filter), \
	 "Select only entries that EXPR matches (repeatable)"}, \
	{"exclude", "EXPR", SECTION_SELECTION, OPTION_EXCLUDE, offsetof(type, filter), \
	 "Leave out entries that EXPR matches (repeatable)"} \
	/* clang-format on */

/* Text after the options in the help of a verb with SELECTION_OPTIONS(). */
#define SELECTION_MORE "`xfrmctl flush --help` explains EXPR."

/* Enters a network namespace by name or path, unless `netns` is NULL. Returns 0, or a negative errno, which it
 * reports. */
int verb_enter_netns(const char *netns);

/* Makes later messages appear in the journal of a service, and sets globals->netns to its NetworkNamespacePath=, unless
 * --netns= has set it. Reports a failure, and leaves the current network namespace then. globals->netns may point into
 * `state`, which the caller owns. */
void verb_choose_unit(struct globals *globals, const char *unit, struct unit_state *state);

/* Opens an XFRM client in the network namespace of --netns=, which it enters. Counts SAs and policies, which shows
 * whether the kernel permits access. Gives up the capability to enter another namespace. Returns 0, or a negative
 * errno, which it reports. The caller closes `*ret` with xfrm_close(), after a failure too. */
int verb_open_xfrm(const struct globals *globals, struct xfrm **ret, struct xfrm_counts *counts);

/* How xfrmctl treats the state of an IKE daemon that restarts: XFRMCTL_MODE, and --mode= of `service`. */
enum mode {
	/* Acts like MODE_HANDOVER after a crash, and like MODE_HOLD at a planned restart. */
	MODE_AUTO,
	/* Removes the state and puts nothing in its place. */
	MODE_FLUSH,
	/* Removes the state and puts shadows in the place of policies. */
	MODE_HOLD,
	/* Keeps SAs in use until the new daemon has new ones. At a planned restart, xfrmctl therefore ends the old
	 * daemon without a clean shutdown. */
	MODE_HANDOVER,
	MODES,
};

/* Reads the name of a mode. Returns 0, or -EINVAL if the name is wrong, which it reports. */
int parse_mode(const char *value, enum mode *ret);

/* Reads the command line of a verb that takes only options. Stores their values in the verb's structure `userdata`.
 * Returns 0; -EINVAL for wrong usage, which it reports; or -ECANCELED after it has shown the help or the version. */
int verb_parse(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax, void *userdata);

/* Reads only the options, for a verb that takes other arguments too. Leaves optind at the first argument that is no
 * option. Returns as verb_parse(). */
int verb_parse_options(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax,
		       void *userdata);

/* Refuses arguments from optind on. Returns 0 if there are none, or -EINVAL, which it reports. */
int verb_refuse_arguments(int argc, char **argv);

/* Prints a row of a help: a name, and beside it a text, wrapped into as many lines as it needs. */
void verb_print_row(const char *name, const char *text);

/* Returns the exit status for a negative result of verb_parse(). */
enum exit_status verb_exit_status(int r);

/* Runs a verb. argv[0] is the verb's name, and its source file has the same name. Reports failures. Returns an exit
 * status. */
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
