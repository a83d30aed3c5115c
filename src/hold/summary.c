/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hold/summary.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/timespan.h"
#include "base/util.h"

uint64_t summary_sas(const struct summary *summary)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(summary->sas); i++)
		n += summary->sas[i];
	return n;
}

uint64_t summary_policies(const struct summary *summary)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(summary->policies); i++)
		n += summary->policies[i];
	return n;
}

/* Returns the counter of entries like this one, or NULL for a policy with an invalid direction. */
static uint64_t *counter(struct summary *summary, const struct entry *entry)
{
	if (entry->kind == ENTRY_SA)
		return &summary->sas[entry->sa.id.proto];
	return entry->policy.info.dir < XFRM_POLICY_MAX ? &summary->policies[entry->policy.info.dir] : NULL;
}

void summary_add(struct summary *summary, const struct entry *entry)
{
	uint64_t *n = counter(summary, entry);

	if (n)
		(*n)++;
}

void summary_take_back(struct summary *summary, const struct entry *entry)
{
	uint64_t *n = counter(summary, entry);

	if (n && *n)
		(*n)--;
}

struct text {
	char *buffer;
	size_t size, used;
};

/* Appends to a text, and cuts it off at the end of the buffer. */
static void __attribute__((format(printf, 2, 3))) append(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf(text->buffer + text->used, text->size - text->used, format, args);
	va_end(args);
	text->used += n > 0 ? (size_t)n : 0;
	if (text->used >= text->size)
		text->used = text->size - 1;
}

/* Appends a total and the counts that it consists of: "3 SAs (2 esp, 1 ah)". */
static void append_counts(struct text *text, uint64_t total, const char *one, const char *many, const uint64_t *counts,
			  size_t n, const char *(*name)(uint8_t))
{
	bool any = false;

	append(text, "%" PRIu64 " %s", total, total == 1 ? one : many);
	for (size_t i = 0; i < n; i++) {
		const char *of = name((uint8_t)i);
		if (!counts[i] || !of)
			continue;
		append(text, "%s%" PRIu64 " %s", any ? ", " : " (", counts[i], of);
		any = true;
	}
	if (any)
		append(text, ")");
}

static void append_count(struct text *text, const char *before, uint64_t n, const char *one, const char *many)
{
	append(text, "%s%" PRIu64 " %s", before, n, n == 1 ? one : many);
}

static void append_shadows(struct text *text, const struct summary *summary)
{
	if (summary->shadows)
		append_count(text, "; ", summary->shadows, "shadow", "shadows");
	if (summary->backups)
		append_count(text, summary->shadows ? " and " : "; ", summary->backups, "backup route",
			     "backup routes");
	if (summary->shadows || summary->backups)
		append(text, "%s", summary->shadows + summary->backups == 1 ? " is in place" : " are in place");
	if (summary->kept)
		append(text, "; %" PRIu64 " kept %s in use", summary->kept,
		       summary->kept == 1 ? "policy stays" : "policies stay");
}

static void append_policies(struct text *text, const struct summary *summary)
{
	append_counts(text, summary_policies(summary), "policy", "policies", summary->policies,
		      ARRAY_SIZE(summary->policies), entry_dir_name);
}

static void append_duration(struct text *text, const struct summary *summary)
{
	append(text, " in %" PRIu64 ".%03" PRIu64 " ms", summary->usec / 1000, summary->usec % 1000);
}

const char *summary_sentence(const struct summary *summary, bool dry_run, char *buffer, size_t size)
{
	struct text text = {buffer, size, 0};
	uint64_t sas = summary_sas(summary);

	if (!sas && !summary_policies(summary) && !summary->routes && !summary->failed) {
		append(&text, "Nothing to remove");
	} else {
		append(&text, dry_run ? "Would remove " : "Removed ");
		append_counts(&text, sas, "SA", "SAs", summary->sas, ARRAY_SIZE(summary->sas), entry_proto_name);
		append(&text, summary->routes ? ", " : " and ");
		append_policies(&text, summary);
		if (summary->routes)
			append_count(&text, " and ", summary->routes, "route", "routes");
		if (!dry_run)
			append_duration(&text, summary);
	}
	append_shadows(&text, summary);
	append(&text, ".");
	return buffer;
}

const char *summary_of_arm(const struct summary *summary, char *buffer, size_t size)
{
	struct text text = {buffer, size, 0};

	if (!summary_policies(summary) && !summary->failed && (summary->shadows || !summary->backups)) {
		append(&text, summary->shadows ? "No policies" : "No policies: no shadows are needed");
		append_shadows(&text, summary);
		append(&text, ".");
		return buffer;
	}
	append(&text, "Put shadows behind ");
	append_policies(&text, summary);
	if (summary->backups)
		append_count(&text, " and backup routes behind ", summary->backups, "route", "routes");
	append_duration(&text, summary);
	append(&text, ".");
	return buffer;
}

const char *summary_of_save(const struct summary *summary, char *buffer, size_t size)
{
	struct text text = {buffer, size, 0};

	append(&text, "Saved ");
	append_policies(&text, summary);
	append_duration(&text, summary);
	if (summary->failed)
		append(&text, "; %" PRIu64 " left out", summary->failed);
	append(&text, ".");
	return buffer;
}

const char *summary_of_restore(const struct summary *summary, char *buffer, size_t size)
{
	struct text text = {buffer, size, 0};

	if (!summary_policies(summary) && !summary->failed) {
		append(&text, "The file contains no policies: nothing is blocked.");
		return buffer;
	}
	append(&text, "Put shadows in place of ");
	append_policies(&text, summary);
	append(&text, " of the file");
	append_duration(&text, summary);
	append(&text, ". `xfrmctl release` unblocks the traffic.");
	return buffer;
}

uint64_t summary_released(const struct summary *summary)
{
	uint64_t removed = summary_policies(summary);

	return removed > summary->shadows ? removed - summary->shadows : 0;
}

static void append_released_routes(struct text *text, const struct summary *summary,
				   const struct summary_release *release)
{
	if (summary->routes)
		append_count(text, " Removed ", summary->routes, "backup route", "backup routes");
	if (release->backups)
		append_count(text, summary->routes ? "; " : " ", release->backups,
			     summary->routes ? "stays" : "backup route stays",
			     summary->routes ? "stay" : "backup routes stay");
	if (summary->routes || release->backups)
		append(text, ".");
}

static void append_acquires(struct text *text, const struct summary *summary)
{
	uint64_t n = summary_sas(summary);

	if (n)
		append(text, " Removed %" PRIu64 " pending %s.", n,
		       n == 1 ? "acquire: the next packet causes a new one"
			      : "acquires: the next packets cause new ones");
}

const char *summary_of_release(const struct summary *summary, const struct summary_release *release, char *buffer,
			       size_t size)
{
	struct text text = {buffer, size, 0};
	uint64_t released = summary_released(summary);
	char grace[TIMESPAN_MAX];

	if (!released && !release->kept && !summary->failed) {
		append(&text, "No shadows.");
		append_acquires(&text, summary);
		append_released_routes(&text, summary, release);
		return buffer;
	}
	append(&text, "Released %" PRIu64 " %s", released, released == 1 ? "shadow" : "shadows");
	append_duration(&text, summary);
	if (release->kept && release->grace_usec == TIMESPAN_INFINITY)
		append(&text, "; %" PRIu64 " %s", release->kept, release->kept == 1 ? "stays" : "stay");
	else if (release->kept > release->behind_kept)
		append(&text, "; %" PRIu64 " %s for %s", release->kept - release->behind_kept,
		       release->kept - release->behind_kept == 1 ? "stays" : "stay",
		       timespan_format(release->grace_usec, grace, sizeof(grace)));
	if (release->behind_kept)
		append(&text, "; %" PRIu64 " behind kept policies %s for %s at most", release->behind_kept,
		       release->behind_kept == 1 ? "stays" : "stay",
		       timespan_format(release->behind_kept_usec, grace, sizeof(grace)));
	append(&text, ".");
	if (release->blocked_known)
		append(&text, " Packets blocked meanwhile: %" PRIu64 " outgoing, %" PRIu64 " incoming.",
		       release->blocked_out, release->blocked_in);
	append_acquires(&text, summary);
	append_released_routes(&text, summary, release);
	return buffer;
}
