/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "report.h"
#include "routes.h"
#include "sweep.h"
#include "unit.h"
#include "util.h"
#include "verb.h"

enum {
	OPTION_MATCH = OPTION_OF_VERB,
	OPTION_EXCLUDE,
	OPTION_ROUTES,
};

struct arm {
	struct sweep sweep;
	struct filter filter;
	uint32_t routes; /* the table whose routes get stand-ins, or 0 */
};

static void print_help(void)
{
	printf("Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] arm [OPTION...]\n"
	       "\n"
	       "Puts a shadow behind each policy (main and sub, but never those of sockets), or those\n"
	       "that are selected, and removes nothing: when the IKE daemon takes its policies away,\n"
	       "nothing leaves or comes in in plaintext until `xfrmctl release`.\n"
	       "\n"
	       "As a command of a unit that systemd is stopping for good it does nothing.\n"
	       "\n"
	       "  --match=EXPR         Only what some --match holds for (repeatable)\n"
	       "  --exclude=EXPR       Not what some --exclude holds for (repeatable)\n"
	       "  --routes[=TABLE]     Put stand-ins behind the static routes of charon's routing table too\n"
	       "                       (default: 220), so that packets of this machine itself keep their\n"
	       "                       source, and are not let out in plaintext for another one\n"
	       "  -h, --help           Show this\n"
	       "\n"
	       "`xfrmctl flush --help` shows what EXPR can be.\n");
}

static int take_option(int option, const char *value, void *userdata)
{
	struct arm *arm = userdata;

	if (option == OPTION_ROUTES)
		return routes_parse_table(value, &arm->routes);
	return verb_add_selection(&arm->filter, option == OPTION_EXCLUDE, value);
}

static int visit(struct sweep *sweep, const struct entry *entry)
{
	struct arm *arm = CONTAINER_OF(sweep, struct arm, sweep);
	uint32_t tag = shadow_tag(entry);
	struct entry shadow;

	if (tag == SHADOW_HOLD || tag == SHADOW_CLOSE || (!tag && !filter_selects(&arm->filter, entry)))
		return 0;
	shadow_make(entry, &sweep->survey, &sweep->blocked, true, &shadow);
	/* A shadow that would go by itself has to stay now. */
	return sweep_exchange(sweep, &shadow, tag ? entry : NULL);
}

/* Whether the unit that runs this is being stopped for good. What cannot be found out is no reason to open a gap. */
static bool is_stopping(void)
{
	struct unit_state state;

	if (!report_in_unit())
		return false;
	int r = unit_find(NULL, &state);
	if (r < 0) {
		report_notice(
			REPORT_UNSURE,
			"Could not ask systemd whether this unit is being stopped for good: %s. Going on; after a "
			"stop, `xfrmctl release` removes the shadows.",
			strerror(-r));
		return false;
	}
	return state.job == UNIT_JOB_STOP;
}

static int arm_routes(struct arm *arm)
{
	struct routes_summary routes;

	int r = routes_arm(arm->routes, &routes);
	arm->sweep.summary.stand_ins = routes.stand_ins;
	arm->sweep.summary.failed += routes.failed;
	return r;
}

static int run(struct arm *arm, const struct globals *globals)
{
	CLEANUP(kernel_close) struct kernel *kernel = NULL;
	struct kernel_counts counts;

	int r = verb_open_kernel(globals, &kernel, &counts);
	if (r < 0)
		return r;
	uint64_t policies = kernel_sum_policies(&counts);

	struct sweep *sweep = &arm->sweep;
	sweep->kernel = kernel;
	report_begin(policies, NULL);
	if (policies) {
		r = sweep_prepare(sweep, &arm->filter);
		if (r == 0)
			r = sweep_run(sweep, ENTRY_POLICY);
		if (r == 0)
			r = sweep_count_shadows(sweep, &arm->filter, false);
	}
	sweep_report_unnamed(sweep);
	if (arm->routes) {
		int routes = arm_routes(arm);
		r = r < 0 ? r : routes;
	}
	sweep->summary.usec = report_end();
	report_armed(&sweep->summary);
	return r < 0 ? r : sweep->summary.failed ? -EIO : 0;
}

int verb_arm(struct globals *globals, int argc, char **argv)
{
	static const struct sweep_verb verb = {"put a shadow behind", "given one"};
	struct arm arm = {.sweep = {.visit = visit, .verb = &verb, .keeps = true, .renews = true}};

	static const struct option options[] = {
		GLOBAL_LONG_OPTIONS,
		{"match", required_argument, NULL, OPTION_MATCH},
		{"exclude", required_argument, NULL, OPTION_EXCLUDE},
		{"routes", optional_argument, NULL, OPTION_ROUTES},
		{NULL, 0, NULL, 0},
	};
	static const struct verb_syntax syntax = {options, print_help, take_option};

	int r = verb_parse(globals, argc, argv, &syntax, &arm);
	if (r < 0)
		return verb_parsed(r);
	if (is_stopping()) {
		report_detail("This unit is being stopped for good: it needs no shadows.");
		return STATUS_DONE;
	}
	return run(&arm, globals) < 0 ? STATUS_FAILED : STATUS_DONE;
}
