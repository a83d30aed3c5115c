/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hold/report.h"

#include <netinet/in.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"
#include "base/util.h"

void report_flushed(const struct summary *summary)
{
	char sentence[SUMMARY_SENTENCE_MAX];

	summary_sentence(summary, false, sentence, sizeof(sentence));
	sd_notifyf(0, "STATUS=%s", sentence);
	const struct log_field fields[] = {
		{"XFRM_SAS", summary_sas(summary)},
		{"XFRM_SAS_ESP", summary->sas[IPPROTO_ESP]},
		{"XFRM_SAS_AH", summary->sas[IPPROTO_AH]},
		{"XFRM_SAS_COMP", summary->sas[IPPROTO_COMP]},
		{"XFRM_POLICIES", summary_policies(summary)},
		{"XFRM_POLICIES_IN", summary->policies[XFRM_POLICY_IN]},
		{"XFRM_POLICIES_OUT", summary->policies[XFRM_POLICY_OUT]},
		{"XFRM_POLICIES_FWD", summary->policies[XFRM_POLICY_FWD]},
		{"XFRM_SHADOWS", summary->shadows},
		{"XFRM_SHADOWS_CARRYING", summary->kept},
		{"XFRM_ROUTES", summary->routes},
		{"XFRM_ROUTE_STAND_INS", summary->backups},
		{"XFRM_FAILED", summary->failed},
		{"XFRM_DURATION_USEC", summary->usec},
	};
	log_figures(LOG_INFO, MESSAGE_FLUSHED, sentence, fields, ARRAY_SIZE(fields));
}

void report_armed(const struct summary *summary)
{
	char sentence[SUMMARY_SENTENCE_MAX];
	const struct log_field fields[] = {
		{"XFRM_POLICIES", summary_policies(summary)}, {"XFRM_SHADOWS", summary->shadows},
		{"XFRM_ROUTE_STAND_INS", summary->backups},   {"XFRM_FAILED", summary->failed},
		{"XFRM_DURATION_USEC", summary->usec},
	};

	log_figures(LOG_INFO, MESSAGE_ARMED, summary_of_arm(summary, sentence, sizeof(sentence)), fields,
		    ARRAY_SIZE(fields));
}

static void report_saving(sd_id128_t id, const struct summary *summary, const char *sentence)
{
	const struct log_field fields[] = {
		{"XFRM_POLICIES", summary_policies(summary)},
		{"XFRM_POLICIES_IN", summary->policies[XFRM_POLICY_IN]},
		{"XFRM_POLICIES_OUT", summary->policies[XFRM_POLICY_OUT]},
		{"XFRM_POLICIES_FWD", summary->policies[XFRM_POLICY_FWD]},
		{"XFRM_FAILED", summary->failed},
		{"XFRM_DURATION_USEC", summary->usec},
	};

	log_figures(LOG_INFO, id, sentence, fields, ARRAY_SIZE(fields));
}

void report_saved(const struct summary *summary)
{
	char sentence[SUMMARY_SENTENCE_MAX];

	report_saving(MESSAGE_SAVED, summary, summary_of_save(summary, sentence, sizeof(sentence)));
}

void report_restored(const struct summary *summary)
{
	char sentence[SUMMARY_SENTENCE_MAX];

	report_saving(MESSAGE_BLOCKED_AT_BOOT, summary, summary_of_restore(summary, sentence, sizeof(sentence)));
}

void report_released(const struct summary *summary, const struct summary_release *release)
{
	char sentence[SUMMARY_SENTENCE_MAX];
	const struct log_field fields[] = {
		{"XFRM_SHADOWS_RELEASED", summary_released(summary)},
		{"XFRM_SHADOWS_KEPT", release->kept},
		{"XFRM_GRACE_USEC", release->grace_usec},
		{"XFRM_BLOCKED_OUT", release->blocked_out},
		{"XFRM_BLOCKED_IN", release->blocked_in},
		{"XFRM_ACQUIRES", summary_sas(summary)},
		{"XFRM_ROUTES", summary->routes},
		{"XFRM_ROUTE_STAND_INS", release->backups},
		{"XFRM_FAILED", summary->failed},
		{"XFRM_DURATION_USEC", summary->usec},
	};

	log_figures(LOG_INFO, MESSAGE_RELEASED, summary_of_release(summary, release, sentence, sizeof(sentence)),
		    fields, ARRAY_SIZE(fields));
}

void report_refused(uint64_t *n, const char *verb, const struct entry *entry, int error)
{
	char description[ENTRY_DESCRIPTION_MAX];

	log_one(n, LOG_ERR, MESSAGE_INCOMPLETE, "Could not %s %s: %s.", verb,
		entry_describe(entry, description, sizeof(description)), strerror(-error));
}
