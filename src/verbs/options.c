/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/netns.h"
#include "base/privileges.h"
#include "base/timespan.h"
#include "base/util.h"
#include "routes/table.h"

/* Maximum number of characters of an option that a message repeats. */
#define OPTION_MAX 64

/* Width of a help text, in characters. */
#define HELP_WIDTH 80

/* Number of characters before the second column of a help text. */
#define HELP_COLUMN 23

/* Maximum size of the text about an option, in bytes. */
#define HELP_TEXT_MAX 512

/* For an option without a short form, getopt_long(3) returns this number plus the option's index. The number is greater
 * than any character. */
#define LONG_OPTIONS 0x100

/* Options of all verbs, accepted before and after the verb. */
static const struct verb_option general_options[] = {
	{"quiet", NULL, SECTION_GENERAL, OPTION_QUIET, 0, "Report only failures", .letter = 'q'},
	{"verbose", NULL, SECTION_GENERAL, OPTION_VERBOSE, 0, "Report details, too", .letter = 'v'},
	{"netns", "NAME|PATH", SECTION_GENERAL, OPTION_TEXT, offsetof(struct globals, netns),
	 "Work in this network namespace (a name of `ip netns`, or a path such as /proc/PID/ns/net)"},
	{"help", NULL, SECTION_GENERAL, OPTION_HELP, 0, "Show this help; after a verb, that of the verb",
	 .letter = 'h'},
};

/* Number of general options that a setting accepts: the first ones of general_options. */
#define SETTING_OPTIONS 2

/* Maximum number of a verb's own options. */
#define VERB_OPTIONS_MAX 16

/* Maximum number of options that a verb accepts. */
#define OPTIONS_MAX (VERB_OPTIONS_MAX + ARRAY_SIZE(general_options))

/* The options that a verb accepts. */
struct option_list {
	/* The verb's own options, then the general ones. */
	const struct verb_option *options[OPTIONS_MAX];
	/* Number of all options, and of the verb's own. */
	size_t n, n_own;
};

static struct option_list list_options(const struct verb_syntax *syntax)
{
	const size_t n_general = syntax->setting ? SETTING_OPTIONS : ARRAY_SIZE(general_options);
	struct option_list list = {0};

	while (list.n_own < VERB_OPTIONS_MAX && syntax->options[list.n_own].name)
		list.options[list.n++] = &syntax->options[list.n_own++];
	for (size_t i = 0; i < n_general; i++)
		list.options[list.n++] = &general_options[i];
	return list;
}

/* Prints a text, wrapped between column `indent` and HELP_WIDTH, and ends the line. The cursor must be at column
 * `indent`. Keeps the line breaks of the text. */
static void print_wrapped(const char *text, int indent)
{
	int column = indent;

	while (*text) {
		const int length = (int)strcspn(text + 1, " \n") + 1;
		if (*text == '\n' || (*text == ' ' && column + length > HELP_WIDTH)) {
			printf("\n%*s", indent, "");
			column = indent;
			text++;
			continue;
		}
		/* Print a word with the blank before it. */
		printf("%.*s", length, text);
		column += length;
		text += length;
	}
	putchar('\n');
}

void verb_print_row(const char *name, const char *text)
{
	int length = printf("  %s", name);

	if (length + 2 > HELP_COLUMN)
		length = printf("\n") - 1;
	printf("%*s", HELP_COLUMN - length, "");
	print_wrapped(text, HELP_COLUMN);
}

static void print_option(const struct verb_option *option)
{
	const char letter[] = {'-', option->letter, ',', ' ', '\0'};
	const char *argument = option->argument ? option->argument : "";
	const char *needs = option->needs, *excludes = option->excludes;
	const bool optional = *argument == '[';
	char row[HELP_WIDTH], text[HELP_TEXT_MAX];

	snprintf(row, sizeof(row), "%s--%s%s%s%s", option->letter ? letter : "", option->name, optional ? "[" : "",
		 *argument ? "=" : "", argument + optional);
	snprintf(text, sizeof(text), "%s%s%s%s%s%s%s", needs ? "With " : "", needs ? needs : "", needs ? ": " : "",
		 option->help, excludes ? " (not with " : "", excludes ? excludes : "", excludes ? ")" : "");
	verb_print_row(row, text);
}

static void print_help(const struct verb_syntax *syntax, const struct option_list *list)
{
	static const char *const titles[SECTIONS] = {"Selection", "Action", "For services", "General"};

	for (size_t i = 0; i < ARRAY_SIZE(syntax->usage) && syntax->usage[i]; i++)
		printf("%s%s%s%s\n", i == 0 ? "Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] " : "       xfrmctl ",
		       syntax->name ? syntax->name : "", syntax->name ? " " : "", syntax->usage[i]);
	putchar('\n');
	print_wrapped(syntax->about, 0);
	if (syntax->print_list) {
		putchar('\n');
		syntax->print_list();
	}
	for (enum option_section section = 0; section < SECTIONS; section++) {
		bool begun = false;
		for (size_t i = 0; i < list->n; i++) {
			if (list->options[i]->section != section)
				continue;
			if (!begun)
				printf("\n%s:\n", titles[section]);
			begun = true;
			print_option(list->options[i]);
		}
	}
	if (syntax->more) {
		putchar('\n');
		print_wrapped(syntax->more, 0);
	}
}

/* Reports the mistake that getopt_long(3) found in an option. `c` is the result of getopt_long(3). Returns -EINVAL. */
static int refuse_option(int c, char **argv, const struct verb_syntax *syntax, const char *letters)
{
	const char *option = argv[optind - 1], *mistake = "is unknown or ambiguous";
	/* getopt_long(3) sets optopt to `val` of a long option that it recognizes, or to the character of an unknown
	 * short option, otherwise to 0. No short option takes a value. */
	const bool found = optopt >= LONG_OPTIONS || (optopt && strchr(letters + strlen("+:"), optopt));
	const char letter[] = {'-', (char)optopt, '\0'};
	int length = (int)strcspn(option, "=");

	if (c == ':') {
		mistake = "needs a value";
	} else if (found) {
		mistake = "takes no value";
	} else if (optopt) {
		/* Name the letter alone: the option may be inside a cluster, such as -qxv. */
		option = letter;
		length = (int)strlen(letter);
		mistake = "is unknown";
	}
	return log_failure(-EINVAL, MESSAGE_USAGE, "Option '%.*s' %s. `xfrmctl%s%s --help` lists the options.",
			   length < OPTION_MAX ? length : OPTION_MAX, option, mistake, syntax->name ? " " : "",
			   syntax->name ? syntax->name : "");
}

int verb_enter_netns(const char *netns)
{
	int r = netns ? netns_enter(netns) : 0;

	switch (r) {
	case 0:
		return 0;
	case -ENOENT:
		return log_failure(r, MESSAGE_FAILED,
				   "Could not enter the network namespace '%.64s': it does not exist. Use a name of "
				   "`ip netns list`, or a path such as /proc/PID/ns/net.",
				   netns);
	case -EINVAL:
		return log_failure(r, MESSAGE_FAILED,
				   "Could not enter '%.64s': it is not a network namespace. Use a name of `ip netns "
				   "list`, or a path such as /proc/PID/ns/net.",
				   netns);
	default:
		return log_failure(r, MESSAGE_FAILED, "Could not enter the network namespace '%.64s': %s%s.", netns,
				   strerror(-r),
				   r == -EPERM || r == -EACCES ? " (CAP_SYS_ADMIN is needed; run as root)" : "");
	}
}

void verb_choose_unit(struct globals *globals, const char *unit, struct unit_state *state)
{
	log_about_unit(unit);
	if (globals->netns)
		return;
	int r = unit_find(unit, state);
	if (r < 0)
		log_notice(MESSAGE_UNSURE,
			   "Could not ask systemd for the network namespace of %.64s: %s. The current one is used. Use "
			   "--netns= for another.",
			   unit, strerror(-r));
	else if (*state->netns)
		globals->netns = state->netns;
}

int verb_open_xfrm(const struct globals *globals, struct xfrm **ret, struct xfrm_counts *counts)
{
	int r = verb_enter_netns(globals->netns);
	if (r < 0)
		return r;
	privileges_give_up(PRIVILEGE_ENTER);

	r = xfrm_open(ret);
	if (r == -EPROTONOSUPPORT)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not use XFRM: this kernel lacks it. Load the module xfrm_user, or use a "
				   "kernel with CONFIG_XFRM_USER.");
	/* A filter of system calls caused this error: the kernel checks CAP_NET_ADMIN only when it receives a message
	 * (xfrm_user_rcv_msg()). */
	if (r == -EPERM || r == -EAFNOSUPPORT)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not open a netlink socket: a filter of system calls forbids it (%s). Allow "
				   "it in the unit (SystemCallFilter=, RestrictAddressFamilies=). If the unit allows "
				   "it, report this as a bug of xfrmctl.",
				   strerror(-r));
	if (r == 0)
		r = xfrm_count(*ret, counts);
	if (r == -EPERM)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not read and change XFRM state: CAP_NET_ADMIN is needed in the user "
				   "namespace of the network namespace. Run as root.");
	/* The structures of a 32-bit program have other padding, so the kernel refuses them (xfrm_user_rcv_msg(),
	 * in_compat_syscall()). */
	if (r == -EOPNOTSUPP)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not use XFRM: this kernel accepts no XFRM messages of a 32-bit program "
				   "(CONFIG_XFRM_USER_COMPAT). Install the xfrmctl of the kernel's architecture.");
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED, "Could not read XFRM state: %s.", strerror(-r));
	return 0;
}

static int parse_expression(const struct verb_option *option, const char *value, struct filter *filter)
{
	char why[MATCH_ERROR_MAX];

	if (filter_add(filter, option->kind == OPTION_EXCLUDE, value, why, sizeof(why)) < 0)
		return log_failure(-EINVAL, MESSAGE_USAGE, "--%s: %s.", option->name, why);
	return 0;
}

static int parse_time(const struct verb_option *option, const char *value, uint64_t *ret)
{
	char limit[TIMESPAN_MAX];

	if (timespan_parse(value, ret) < 0)
		return log_failure(
			-EINVAL, MESSAGE_USAGE,
			"--%s: '%.64s' is not a time span. Use for example 500ms, 30s, 5min, \"1min 30s\" or infinity.",
			option->name, value);
	if (*ret < option->min)
		return log_failure(-EINVAL, MESSAGE_USAGE, "--%s: '%.64s' is too short. Use at least %s.", option->name,
				   value, timespan_format(option->min, limit, sizeof(limit)));
	if (option->max && *ret > option->max)
		return log_failure(-EINVAL, MESSAGE_USAGE, "--%s: '%.64s' is too long. Use at most %s.", option->name,
				   value, timespan_format(option->max, limit, sizeof(limit)));
	return 0;
}

static int parse_number(const struct verb_option *option, const char *value, uint64_t *ret)
{
	char *end;

	*ret = strtoull(value, &end, 10);
	if (*value < '0' || *value > '9' || *end || *ret < option->min || *ret > option->max)
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "--%s: '%.64s' is not a number from %" PRIu64 " to %" PRIu64 ".", option->name,
				   value, option->min, option->max);
	return 0;
}

/* Stores the value of an option in its variable. An option without a variable takes effect at once. Returns 0; -EINVAL
 * if the value is wrong, which it reports; or -ECANCELED after it has shown the version. */
static int store_option(const struct verb_option *option, const char *value, void *variable)
{
	switch (option->kind) {
	case OPTION_FLAG:
		*(bool *)variable = true;
		return 0;
	case OPTION_FILE:
		if (!*value)
			return log_failure(-EINVAL, MESSAGE_USAGE, "--%s: the name is empty. Use the name of a file.",
					   option->name);
		*(const char **)variable = value;
		return 0;
	case OPTION_TEXT:
		*(const char **)variable = value;
		return 0;
	case OPTION_TIME:
		return parse_time(option, value, variable);
	case OPTION_NUMBER:
		return parse_number(option, value, variable);
	case OPTION_TABLE:
		return routes_parse_table(value, variable);
	case OPTION_INCLUDE:
	case OPTION_EXCLUDE:
		return parse_expression(option, value, variable);
	case OPTION_MODE:
		return parse_mode(value, variable);
	case OPTION_QUIET:
		log_quiet();
		return 0;
	case OPTION_VERBOSE:
		log_verbose();
		return 0;
	case OPTION_VERSION:
		printf("xfrmctl %s\n", XFRMCTL_VERSION);
		return -ECANCELED;
	case OPTION_HELP:
	default:
		return -EINVAL;
	}
}

/* Returns whether a text such as "--json or --metrics" names the option `name`. A NULL text names none. */
static bool names_option(const char *text, const char *name)
{
	const size_t length = strlen(name);

	for (const char *at = text; at && (at = strstr(at, "--")) != NULL; at += 2)
		if (strncmp(at + 2, name, length) == 0 && strcspn(at + 2, " ,") == length)
			return true;
	return false;
}

/* Checks that the given options meet `required`, `needs` and `excludes` of each row. Each row whose option was given
 * has its bit set in `given`. Returns 0, or -EINVAL, which it reports. */
static int check_together(const struct verb_syntax *syntax, uint32_t given)
{
	for (size_t i = 0; syntax->options[i].name; i++) {
		const struct verb_option *option = &syntax->options[i];
		bool complete = !option->needs;

		if (option->required && !(given & 1U << i))
			return log_failure(-EINVAL, MESSAGE_USAGE, "%s needs --%s=%s.", syntax->name, option->name,
					   option->argument);
		if (!(given & 1U << i))
			continue;
		for (size_t j = 0; syntax->options[j].name; j++) {
			const char *other = syntax->options[j].name;
			if (!(given & 1U << j))
				continue;
			if (names_option(option->excludes, other))
				return log_failure(-EINVAL, MESSAGE_USAGE,
						   "--%s and --%s exclude each other. Use one of them.", option->name,
						   other);
			complete |= names_option(option->needs, other);
		}
		if (!complete)
			return log_failure(-EINVAL, MESSAGE_USAGE, "--%s needs %s.", option->name, option->needs);
	}
	return 0;
}

int verb_parse_options(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax, void *userdata)
{
	const struct option_list list = list_options(syntax);
	struct option options[OPTIONS_MAX + 1] = {0};
	/* With "+", getopt_long(3) stops at the first argument that is no option. The rest belongs to the verb, or to a
	 * command. */
	char letters[sizeof("+:") + OPTIONS_MAX] = "+:";
	size_t n_letters = strlen(letters);
	uint32_t given = 0;
	int c;

	for (size_t i = 0; i < list.n; i++) {
		const struct verb_option *option = list.options[i];
		if (option->letter)
			letters[n_letters++] = option->letter;
		options[i].name = option->name;
		options[i].has_arg = !option->argument		? no_argument
				     : *option->argument == '[' ? optional_argument
								: required_argument;
		options[i].val = option->letter ? option->letter : LONG_OPTIONS + (int)i;
	}
	while ((c = getopt_long(argc, argv, letters, options, NULL)) >= 0) {
		size_t i = 0;

		if (c == '?' || c == ':')
			return refuse_option(c, argv, syntax, letters);
		while (options[i].val != c)
			i++;
		if (list.options[i]->kind == OPTION_HELP) {
			print_help(syntax, &list);
			return -ECANCELED;
		}
		char *base = i < list.n_own ? userdata : (void *)globals;
		int r = store_option(list.options[i], optarg, base + list.options[i]->offset);
		if (r < 0)
			return r;
		given |= i < list.n_own ? 1U << i : 0;
	}
	return check_together(syntax, given);
}

int verb_refuse_arguments(int argc, char **argv)
{
	if (optind < argc)
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "%s takes no argument such as '%.64s'. `xfrmctl %s --help` lists the options.",
				   argv[0], argv[optind], argv[0]);
	return 0;
}

int verb_parse(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax, void *userdata)
{
	int r = verb_parse_options(globals, argc, argv, syntax, userdata);

	return r < 0 ? r : verb_refuse_arguments(argc, argv);
}

enum exit_status verb_exit_status(int r)
{
	return r == -ECANCELED ? STATUS_DONE : STATUS_USAGE;
}

int parse_mode(const char *value, enum mode *ret)
{
	static const char *const names[] = {
		[MODE_AUTO] = "auto",
		[MODE_FLUSH] = "flush",
		[MODE_HOLD] = "hold",
		[MODE_HANDOVER] = "handover",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(value, names[i]) == 0) {
			*ret = (enum mode)i;
			return 0;
		}
	return log_failure(-EINVAL, MESSAGE_USAGE, "Invalid mode '%.64s'. Use auto, hold, handover or flush.", value);
}
