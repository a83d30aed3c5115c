/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/options.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/netns.h"
#include "base/privileges.h"
#include "base/timespan.h"
#include "base/util.h"

/* Maximum number of characters of an option that a sentence repeats. */
#define OPTION_MAX 64

bool global_option(int option, struct globals *globals)
{
	switch (option) {
	case OPTION_NETNS:
		globals->netns = optarg;
		return true;
	case 'q':
		log_quiet();
		return true;
	case 'v':
		log_verbose();
		return true;
	default:
		return false;
	}
}

int usage_error(int c, char **argv, const char *verb)
{
	const char *option = argv[optind - 1], *mistake = "is unknown, or short for several";
	/* getopt_long(3) sets optopt to the value of a long option that it has found, to the character of a short one
	 * that there is not, and otherwise to 0. No short option takes a value. */
	const bool found = optopt >= OPTION_NETNS || (optopt && strchr(GLOBAL_SHORT_OPTIONS, optopt));
	const char letter[] = {'-', (char)optopt, '\0'};
	int length = (int)strcspn(option, "=");

	if (c == ':') {
		mistake = "needs a value";
	} else if (found) {
		mistake = "takes no value";
	} else if (optopt) {
		/* It may be in the middle of a cluster. */
		option = letter;
		length = (int)strlen(letter);
		mistake = "is unknown";
	}
	return log_failure(STATUS_USAGE, MESSAGE_USAGE, "Option '%.*s' %s; `xfrmctl%s%s --help` shows the options.",
			   length < OPTION_MAX ? length : OPTION_MAX, option, mistake, verb ? " " : "",
			   verb ? verb : "");
}

int verb_enter_netns(const char *netns)
{
	int r = netns ? netns_enter(netns) : 0;

	switch (r) {
	case 0:
		return 0;
	case -ENOENT:
		return log_failure(r, MESSAGE_FAILED,
				   "There is no network namespace '%.64s'; `ip netns list` shows those with a name, "
				   "others need a path such as /proc/PID/ns/net.",
				   netns);
	case -EINVAL:
		return log_failure(r, MESSAGE_FAILED, "'%.64s' is not a network namespace.", netns);
	default:
		return log_failure(r, MESSAGE_FAILED, "Could not enter the network namespace '%.64s': %s%s.", netns,
				   strerror(-r),
				   r == -EPERM || r == -EACCES ? " (CAP_SYS_ADMIN is needed: run as root)" : "");
	}
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
				   "This kernel has no XFRM (CONFIG_XFRM_USER, module xfrm_user), so it cannot be "
				   "asked for SAs and policies.");
	/* The kernel asks for a capability later (xfrm_user_rcv_msg()). */
	if (r == -EPERM || r == -EAFNOSUPPORT)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not open a netlink socket: a filter of system calls forbids it (%s). "
				   "Allow it in the unit (SystemCallFilter=, RestrictAddressFamilies=); if the unit "
				   "does, report this as a bug of xfrmctl's own filter.",
				   strerror(-r));
	if (r == 0)
		r = xfrm_count(*ret, counts);
	if (r == -EPERM)
		return log_failure(r, MESSAGE_FAILED,
				   "Not permitted to see and change XFRM state: CAP_NET_ADMIN is needed in the user "
				   "namespace that owns the network namespace; run as root.");
	/* Its structures differ by padding (xfrm_user_rcv_msg(), in_compat_syscall()). */
	if (r == -EOPNOTSUPP)
		return log_failure(r, MESSAGE_FAILED,
				   "This kernel takes no XFRM messages from a 32-bit program "
				   "(CONFIG_XFRM_USER_COMPAT). Install the xfrmctl of the kernel's architecture.");
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED, "Could not ask the kernel for XFRM state: %s.", strerror(-r));
	return 0;
}

int verb_add_selection(struct filter *filter, bool exclude, const char *expression)
{
	char why[MATCH_ERROR_MAX];

	if (filter_add(filter, exclude, expression, why, sizeof(why)) < 0)
		return log_failure(-EINVAL, MESSAGE_USAGE, "--%s: %s.", exclude ? "exclude" : "match", why);
	return 0;
}

int verb_parse_time(const char *option, const char *value, uint64_t min_usec, uint64_t *ret)
{
	if (timespan_parse(value, ret) < 0)
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "--%s: '%.64s' is not a time span; it takes such as 500ms, 30s, 5min, "
				   "\"1min 30s\" or infinity.",
				   option, value);
	if (*ret >= min_usec)
		return 0;
	char min[TIMESPAN_MAX];
	return log_failure(-EINVAL, MESSAGE_USAGE, "--%s: '%.64s' is too short; it takes %s and more.", option, value,
			   timespan_format(min_usec, min, sizeof(min)));
}

int verb_parse_options(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax, void *userdata)
{
	int c, r;

	while ((c = getopt_long(argc, argv, "+:" GLOBAL_SHORT_OPTIONS, syntax->options, NULL)) >= 0) {
		if (global_option(c, globals))
			continue;
		switch (c) {
		case 'h':
			syntax->print_help();
			return -ECANCELED;
		case '?':
		case ':':
			usage_error(c, argv, argv[0]);
			return -EINVAL;
		default:
			r = syntax->take(c, optarg, userdata);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int verb_refuse_arguments(int argc, char **argv)
{
	if (optind < argc)
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "%s takes no argument such as '%.64s'; `xfrmctl %s --help` shows its options.",
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
	return log_failure(-EINVAL, MESSAGE_USAGE, "'%.64s' is not a mode; it takes auto, hold, handover or flush.",
			   value);
}
