/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/options.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/netns.h"
#include "base/privileges.h"
#include "base/timespan.h"

int verb_enter_netns(const char *netns)
{
	int r = netns ? netns_enter(netns) : 0;

	switch (r) {
	case 0:
		return 0;
	case -ENOENT:
		return report_failure(r, REPORT_FAILED,
				      "There is no network namespace '%.64s'; `ip netns list` shows those with a name, "
				      "others need a path such as /proc/PID/ns/net.",
				      netns);
	case -EINVAL:
		return report_failure(r, REPORT_FAILED, "'%.64s' is not a network namespace.", netns);
	default:
		return report_failure(r, REPORT_FAILED, "Could not enter the network namespace '%.64s': %s%s.", netns,
				      strerror(-r),
				      r == -EPERM || r == -EACCES ? " (CAP_SYS_ADMIN is needed: run as root)" : "");
	}
}

int verb_open_kernel(const struct globals *globals, struct kernel **ret, struct kernel_counts *counts)
{
	int r = verb_enter_netns(globals->netns);
	if (r < 0)
		return r;
	privileges_give_up(PRIVILEGE_ENTER);

	r = kernel_open(ret);
	if (r == -EPROTONOSUPPORT)
		return report_failure(r, REPORT_FAILED,
				      "This kernel has no XFRM (CONFIG_XFRM_USER, module xfrm_user), so it cannot be "
				      "asked for SAs and policies.");
	/* The kernel asks for a capability later (xfrm_user_rcv_msg()). */
	if (r == -EPERM || r == -EAFNOSUPPORT)
		return report_failure(r, REPORT_FAILED,
				      "Could not open a netlink socket: a filter of system calls forbids it (%s). "
				      "Allow it in the unit (SystemCallFilter=, RestrictAddressFamilies=); if the unit "
				      "does, report this as a bug of xfrmctl's own filter.",
				      strerror(-r));
	if (r == 0)
		r = kernel_count(*ret, counts);
	if (r == -EPERM)
		return report_failure(r, REPORT_FAILED,
				      "Not permitted to see and change XFRM state: CAP_NET_ADMIN is needed in the user "
				      "namespace that owns the network namespace; run as root.");
	/* Its structures differ by padding (xfrm_user_rcv_msg(), in_compat_syscall()). */
	if (r == -EOPNOTSUPP)
		return report_failure(r, REPORT_FAILED,
				      "This kernel takes no XFRM messages from a 32-bit program "
				      "(CONFIG_XFRM_USER_COMPAT). Install the xfrmctl of the kernel's architecture.");
	if (r < 0)
		return report_failure(r, REPORT_FAILED, "Could not ask the kernel for XFRM state: %s.", strerror(-r));
	return 0;
}

int verb_add_selection(struct filter *filter, bool exclude, const char *expression)
{
	char why[MATCH_ERROR_MAX];

	if (filter_add(filter, exclude, expression, why, sizeof(why)) < 0)
		return report_failure(-EINVAL, REPORT_USAGE, "--%s: %s.", exclude ? "exclude" : "match", why);
	return 0;
}

int verb_take_time(const char *option, const char *value, uint64_t min_usec, uint64_t *ret)
{
	if (timespan_parse(value, ret) < 0)
		return report_failure(-EINVAL, REPORT_USAGE,
				      "--%s: '%.64s' is not a time span; it takes such as 500ms, 30s, 5min, "
				      "\"1min 30s\" or infinity.",
				      option, value);
	if (*ret >= min_usec)
		return 0;
	char min[TIMESPAN_MAX];
	return report_failure(-EINVAL, REPORT_USAGE, "--%s: '%.64s' is too short; it takes %s and more.", option, value,
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
		return report_failure(-EINVAL, REPORT_USAGE,
				      "%s takes no argument such as '%.64s'; `xfrmctl %s --help` shows its options.",
				      argv[0], argv[optind], argv[0]);
	return 0;
}

int verb_parse(struct globals *globals, int argc, char **argv, const struct verb_syntax *syntax, void *userdata)
{
	int r = verb_parse_options(globals, argc, argv, syntax, userdata);

	return r < 0 ? r : verb_refuse_arguments(argc, argv);
}

enum exit_status verb_parsed(int r)
{
	return r == -ECANCELED ? STATUS_DONE : STATUS_USAGE;
}
