/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/flush_list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "routes/print.h"
#include "routes/table.h"
#include "status/orphans.h"
#include "xfrm/print.h"

static int show_entry(const struct entry *entry, void *userdata)
{
	struct flush_list *list = userdata;

	if (!list->goes(entry, list->userdata))
		return 0;
	if (list->options->json) {
		bool first = entry->kind == ENTRY_SA ? !summary_sas(&list->summary) : !summary_policies(&list->summary);
		fputs(first ? "\n" : ",\n", stdout);
	}
	summary_add(&list->summary, entry);
	return print_entry(entry, list->options->json);
}

static int show_kind(struct flush_list *list, enum entry_kind kind)
{
	int r = xfrm_dump(list->xfrm, kind, show_entry, list);

	if (r == -EAGAIN) {
		log_notice(
			MESSAGE_UNSURE,
			"Could not read the kernel's whole list: entries may be missing here. Run this command again.");
		return 0;
	}
	return r < 0 ? log_failure(r, MESSAGE_FAILED, "Could not list what would be removed: %s.", strerror(-r)) : 0;
}

static int show_routes(struct flush_list *list)
{
	CLEANUP(routes_free) struct routes routes = {0};
	const struct flush_options *options = list->options;

	int r = routes_find(options->routes, list->vici, usec_add(now_usec(), ORPHANS_TIMEOUT), &routes);
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED, "Could not list the routes that would be removed: %s.",
				   strerror(-r));
	for (size_t i = 0; r == 0 && i < routes.n; i++) {
		if (routes.list[i].explained || (options->hold && route_is_backup(&routes.list[i])))
			continue;
		if (options->json)
			fputs(list->summary.routes ? ",\n" : "\n", stdout);
		r = print_route(&routes.list[i], options->json);
		list->summary.routes++;
	}
	return r;
}

static void show_counts(const struct flush_list *list)
{
	printf("], \"counts\": {\"policies\": %" PRIu64 ", \"sas\": %" PRIu64, summary_policies(&list->summary),
	       summary_sas(&list->summary));
	if (list->routes)
		printf(", \"routes\": %" PRIu64, list->summary.routes);
	printf("}}\n");
}

int flush_list(struct flush_list *list)
{
	const struct flush_options *options = list->options;
	char sentence[SUMMARY_SENTENCE_MAX];
	int r = 0;

	if (options->json)
		printf("{\"policies\": [");
	if (!options->states_only)
		r = show_kind(list, ENTRY_POLICY);
	if (options->json)
		printf("], \"sas\": [");
	if (!options->policies_only && r == 0)
		r = show_kind(list, ENTRY_SA);
	if (options->json && list->routes)
		printf("], \"routes\": [");
	if (list->routes && r == 0)
		r = show_routes(list);
	if (options->json)
		show_counts(list);
	else if (r == 0)
		printf("%s\n", summary_sentence(&list->summary, true, sentence, sizeof(sentence)));
	if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		return log_failure(-EIO, MESSAGE_FAILED, "Could not write the list: %s.", strerror(errno));
	return r;
}
