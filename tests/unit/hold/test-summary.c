/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "base/timespan.h"
#include "hold/summary.h"

static const struct sentence_row {
	const char *name;
	struct summary summary;
	bool dry_run;
	const char *sentence;
} sentence_rows[] = {
	{"nothing", {.usec = 1500}, false, "Nothing to remove."},
	{"nothing, dry run", {.usec = 1500}, true, "Nothing to remove."},
	{"one SA", {.sas[IPPROTO_ESP] = 1}, false, "Removed 1 SA (1 esp) and 0 policies in 0.000 ms."},
	{"two SAs", {.sas[IPPROTO_ESP] = 2}, false, "Removed 2 SAs (2 esp) and 0 policies in 0.000 ms."},
	{"one policy", {.policies[XFRM_POLICY_IN] = 1}, false, "Removed 0 SAs and 1 policy (1 in) in 0.000 ms."},
	{"two policies", {.policies[XFRM_POLICY_FWD] = 2}, false, "Removed 0 SAs and 2 policies (2 fwd) in 0.000 ms."},
	{"two SAs of two protocols",
	 {.sas = {[IPPROTO_AH] = 1, [IPPROTO_ESP] = 1}},
	 false,
	 "Removed 2 SAs (1 esp, 1 ah) and 0 policies in 0.000 ms."},
	{"every protocol and direction",
	 {.sas = {[IPPROTO_ESP] = 3, [IPPROTO_AH] = 2, [IPPROTO_COMP] = 1},
	  .policies = {[XFRM_POLICY_IN] = 4, [XFRM_POLICY_OUT] = 5, [XFRM_POLICY_FWD] = 6}},
	 false,
	 "Removed 6 SAs (3 esp, 2 ah, 1 comp) and 15 policies (4 in, 5 out, 6 fwd) in 0.000 ms."},
	{"protocol without a name", {.sas[IPPROTO_IPIP] = 1}, false, "Removed 1 SA and 0 policies in 0.000 ms."},
	{"protocol without a name among others",
	 {.sas = {[IPPROTO_IPIP] = 1, [IPPROTO_ESP] = 1}},
	 false,
	 "Removed 2 SAs (1 esp) and 0 policies in 0.000 ms."},
	{"dry run",
	 {.sas[IPPROTO_ESP] = 2, .policies[XFRM_POLICY_OUT] = 1, .usec = 1500},
	 true,
	 "Would remove 2 SAs (2 esp) and 1 policy (1 out)."},
	{"nothing but a failure", {.failed = 1, .usec = 1500}, false, "Removed 0 SAs and 0 policies in 1.500 ms."},
	{"99 µs", {.sas[IPPROTO_ESP] = 1, .usec = 99}, false, "Removed 1 SA (1 esp) and 0 policies in 0.099 ms."},
	{"100 µs", {.sas[IPPROTO_ESP] = 1, .usec = 100}, false, "Removed 1 SA (1 esp) and 0 policies in 0.100 ms."},
	{"999 µs", {.sas[IPPROTO_ESP] = 1, .usec = 999}, false, "Removed 1 SA (1 esp) and 0 policies in 0.999 ms."},
	{"1 ms", {.sas[IPPROTO_ESP] = 1, .usec = 1000}, false, "Removed 1 SA (1 esp) and 0 policies in 1.000 ms."},
	{"61 s",
	 {.sas[IPPROTO_ESP] = 1, .usec = 61002300},
	 false,
	 "Removed 1 SA (1 esp) and 0 policies in 61002.300 ms."},
	{"one shadow",
	 {.policies[XFRM_POLICY_OUT] = 1, .shadows = 1},
	 false,
	 "Removed 0 SAs and 1 policy (1 out) in 0.000 ms; 1 shadow is in place."},
	{"two shadows",
	 {.policies = {[XFRM_POLICY_IN] = 1, [XFRM_POLICY_OUT] = 1}, .shadows = 2, .usec = 1500},
	 false,
	 "Removed 0 SAs and 2 policies (1 in, 1 out) in 1.500 ms; 2 shadows are in place."},
	{"shadows and everything",
	 {.sas[IPPROTO_ESP] = 8,
	  .policies = {[XFRM_POLICY_IN] = 4, [XFRM_POLICY_OUT] = 4, [XFRM_POLICY_FWD] = 3},
	  .shadows = 11,
	  .usec = 1938},
	 false,
	 "Removed 8 SAs (8 esp) and 11 policies (4 in, 4 out, 3 fwd) in 1.938 ms; 11 shadows are in place."},
	{"more shadows than policies",
	 {.policies[XFRM_POLICY_FWD] = 1, .shadows = 12},
	 false,
	 "Removed 0 SAs and 1 policy (1 fwd) in 0.000 ms; 12 shadows are in place."},
	{"one shadow alone", {.shadows = 1, .usec = 1500}, false, "Nothing to remove; 1 shadow is in place."},
	{"shadows alone", {.shadows = 11, .usec = 1500}, false, "Nothing to remove; 11 shadows are in place."},
	{"shadows and a failure",
	 {.shadows = 3, .failed = 1},
	 false,
	 "Removed 0 SAs and 0 policies in 0.000 ms; 3 shadows are in place."},
	{"one route", {.routes = 1}, false, "Removed 0 SAs, 0 policies and 1 route in 0.000 ms."},
	{"routes and everything",
	 {.sas[IPPROTO_ESP] = 2, .policies[XFRM_POLICY_OUT] = 3, .shadows = 3, .routes = 2, .backups = 2, .usec = 1500},
	 false,
	 "Removed 2 SAs (2 esp), 3 policies (3 out) and 2 routes in 1.500 ms; 3 shadows and 2 backup routes are "
	 "in place."},
	{"routes, dry run",
	 {.sas[IPPROTO_ESP] = 2, .routes = 2},
	 true,
	 "Would remove 2 SAs (2 esp), 0 policies and 2 routes."},
	{"one backup route", {.backups = 1}, false, "Nothing to remove; 1 backup route is in place."},
	{"backup routes", {.backups = 2}, false, "Nothing to remove; 2 backup routes are in place."},
	{"one shadow and one backup route",
	 {.shadows = 1, .backups = 1},
	 false,
	 "Nothing to remove; 1 shadow and 1 backup route are in place."},
	{"hundred thousands",
	 {.sas[IPPROTO_ESP] = 65000, .policies[XFRM_POLICY_IN] = 195000, .usec = 940000},
	 false,
	 "Removed 65000 SAs (65000 esp) and 195000 policies (195000 in) in 940.000 ms."},
};

/* Sentences in which every number has as many digits as 64 bits can have. The totals wrap, but keep their 20 digits. */
static const struct sentence_row longest_rows[] = {
	{"longest",
	 {.sas = {[IPPROTO_ESP] = UINT64_MAX, [IPPROTO_AH] = UINT64_MAX, [IPPROTO_COMP] = UINT64_MAX},
	  .policies = {[XFRM_POLICY_IN] = UINT64_MAX, [XFRM_POLICY_OUT] = UINT64_MAX, [XFRM_POLICY_FWD] = UINT64_MAX},
	  .shadows = UINT64_MAX,
	  .routes = UINT64_MAX,
	  .backups = UINT64_MAX,
	  .failed = UINT64_MAX,
	  .usec = UINT64_MAX},
	 false,
	 "Removed 18446744073709551613 SAs (18446744073709551615 esp, 18446744073709551615 ah, 18446744073709551615 "
	 "comp), "
	 "18446744073709551613 policies (18446744073709551615 in, 18446744073709551615 out, 18446744073709551615 "
	 "fwd) and 18446744073709551615 routes "
	 "in 18446744073709551.615 ms; 18446744073709551615 shadows and 18446744073709551615 backup routes are "
	 "in place."},
	{"longest, dry run",
	 {.sas = {[IPPROTO_ESP] = UINT64_MAX, [IPPROTO_AH] = UINT64_MAX, [IPPROTO_COMP] = UINT64_MAX},
	  .policies = {[XFRM_POLICY_IN] = UINT64_MAX, [XFRM_POLICY_OUT] = UINT64_MAX, [XFRM_POLICY_FWD] = UINT64_MAX},
	  .failed = UINT64_MAX,
	  .usec = UINT64_MAX},
	 true,
	 "Would remove 18446744073709551613 SAs (18446744073709551615 esp, 18446744073709551615 ah, "
	 "18446744073709551615 "
	 "comp) and 18446744073709551613 policies (18446744073709551615 in, 18446744073709551615 out, "
	 "18446744073709551615 fwd)."},
};

/* Checks a sentence, that SUMMARY_SENTENCE_MAX suffices for it, and that smaller buffers hold as much as fits. */
static void check_sentence(writer write, const void *what, const char *sentence)
{
	char buffer[4 * SUMMARY_SENTENCE_MAX];

	write(buffer, sizeof(buffer), what);
	assert_string_equal(buffer, sentence);
	if (strlen(sentence) >= SUMMARY_SENTENCE_MAX)
		fail_msg("%zu bytes and the end do not fit into SUMMARY_SENTENCE_MAX", strlen(sentence));
	check_text_fits(write, what, SUMMARY_SENTENCE_MAX);
}

static void write_sentence(char *buffer, size_t size, const void *what)
{
	const struct sentence_row *row = what;

	assert_ptr_equal(summary_sentence(&row->summary, row->dry_run, buffer, size), buffer);
}

static void says(void **state)
{
	const struct sentence_row *row = *state;

	check_sentence(write_sentence, row, row->sentence);
}

/* Sentences about arm. */

static const struct arm_row {
	const char *name;
	struct summary summary;
	const char *sentence;
} arm_rows[] = {
	{"arm: nothing", {.usec = 1500}, "No policies: no shadows are needed."},
	{"arm: shadows that are there already", {.shadows = 3}, "No policies; 3 shadows are in place."},
	{"arm: one policy",
	 {.policies[XFRM_POLICY_OUT] = 1, .shadows = 1, .usec = 99},
	 "Put shadows behind 1 policy (1 out) in 0.099 ms."},
	{"arm: policies of each direction",
	 {.policies = {[XFRM_POLICY_IN] = 4, [XFRM_POLICY_OUT] = 4, [XFRM_POLICY_FWD] = 3},
	  .shadows = 11,
	  .usec = 1200},
	 "Put shadows behind 11 policies (4 in, 4 out, 3 fwd) in 1.200 ms."},
	{"arm: routes",
	 {.policies[XFRM_POLICY_OUT] = 1, .shadows = 1, .backups = 2},
	 "Put shadows behind 1 policy (1 out) and backup routes behind 2 routes in 0.000 ms."},
	{"arm: one route alone",
	 {.backups = 1},
	 "Put shadows behind 0 policies and backup routes behind 1 route in 0.000 ms."},
	{"arm: shadows and backup routes that are there already",
	 {.shadows = 3, .backups = 2},
	 "No policies; 3 shadows and 2 backup routes are in place."},
	{"arm: SAs do not matter",
	 {.sas[IPPROTO_ESP] = 5, .policies[XFRM_POLICY_IN] = 2, .shadows = 2},
	 "Put shadows behind 2 policies (2 in) in 0.000 ms."},
	{"arm: nothing but a failure", {.failed = 1}, "Put shadows behind 0 policies in 0.000 ms."},
	{"arm: longest",
	 {.sas[IPPROTO_ESP] = UINT64_MAX,
	  .policies = {[XFRM_POLICY_IN] = UINT64_MAX, [XFRM_POLICY_OUT] = UINT64_MAX, [XFRM_POLICY_FWD] = UINT64_MAX},
	  .shadows = UINT64_MAX,
	  .backups = UINT64_MAX,
	  .failed = UINT64_MAX,
	  .usec = UINT64_MAX},
	 "Put shadows behind 18446744073709551613 policies (18446744073709551615 in, 18446744073709551615 out, "
	 "18446744073709551615 fwd) and backup routes behind 18446744073709551615 routes in 18446744073709551.615 ms."},
};

static void write_of_arm(char *buffer, size_t size, const void *what)
{
	const struct arm_row *row = what;

	assert_ptr_equal(summary_of_arm(&row->summary, buffer, size), buffer);
}

static void says_of_arm(void **state)
{
	const struct arm_row *row = *state;

	check_sentence(write_of_arm, row, row->sentence);
}

/* Sentences about release. */

#define SECONDS(n) (UINT64_C(1000000) * (n))

static const struct release_row {
	const char *name;
	struct summary summary;
	struct summary_release release;
	uint64_t released;
	const char *sentence;
} release_rows[] = {
	{"release: nothing", {.usec = 1500}, {0}, 0, "No shadows."},
	{"release: nothing, with a grace", {.usec = 1500}, {.grace_usec = SECONDS(300)}, 0, "No shadows."},
	{"release: nothing, the counters known",
	 {.usec = 1500},
	 {.blocked_known = true, .blocked_out = 12, .blocked_in = 3},
	 0,
	 "No shadows."},
	{"release: one", {.policies[XFRM_POLICY_OUT] = 1, .usec = 900}, {0}, 1, "Released 1 shadow in 0.900 ms."},
	{"release: two",
	 {.policies = {[XFRM_POLICY_IN] = 1, [XFRM_POLICY_FWD] = 1}},
	 {0},
	 2,
	 "Released 2 shadows in 0.000 ms."},
	{"release: at once, grace 0 and infinity mean nothing",
	 {.policies[XFRM_POLICY_IN] = 3},
	 {.grace_usec = TIMESPAN_INFINITY},
	 3,
	 "Released 3 shadows in 0.000 ms."},

	{"release: one stays",
	 {.policies[XFRM_POLICY_OUT] = 12, .shadows = 1, .usec = 900},
	 {.kept = 1, .grace_usec = SECONDS(300)},
	 11,
	 "Released 11 shadows in 0.900 ms; 1 stays for 5min."},
	{"release: two stay",
	 {.policies[XFRM_POLICY_OUT] = 13, .shadows = 2, .usec = 900},
	 {.kept = 2, .grace_usec = SECONDS(300)},
	 11,
	 "Released 11 shadows in 0.900 ms; 2 stay for 5min."},
	{"release: all stay",
	 {.policies[XFRM_POLICY_OUT] = 5, .shadows = 5},
	 {.kept = 5, .grace_usec = SECONDS(90)},
	 0,
	 "Released 0 shadows in 0.000 ms; 5 stay for 1min 30s."},
	{"release: one goes and one stays",
	 {.policies[XFRM_POLICY_OUT] = 2, .shadows = 1},
	 {.kept = 1, .grace_usec = SECONDS(1) / 2},
	 1,
	 "Released 1 shadow in 0.000 ms; 1 stays for 500ms."},
	{"release: those of an earlier one stay",
	 {.usec = 900},
	 {.kept = 2, .grace_usec = SECONDS(300)},
	 0,
	 "Released 0 shadows in 0.900 ms; 2 stay for 5min."},
	{"release: more expire than were counted",
	 {.policies[XFRM_POLICY_OUT] = 1, .shadows = 2},
	 {.kept = 2, .grace_usec = SECONDS(1)},
	 0,
	 "Released 0 shadows in 0.000 ms; 2 stay for 1s."},
	{"release: one stays behind an old policy",
	 {.policies[XFRM_POLICY_OUT] = 12, .shadows = 1, .usec = 900},
	 {.kept = 1, .behind_kept = 1, .behind_kept_usec = SECONDS(590), .grace_usec = SECONDS(300)},
	 11,
	 "Released 11 shadows in 0.900 ms; 1 behind kept policies stays for 9min 50s at most."},
	{"release: some stay, behind kept policies and not",
	 {.policies[XFRM_POLICY_OUT] = 5, .shadows = 5},
	 {.kept = 5, .behind_kept = 3, .behind_kept_usec = SECONDS(600), .grace_usec = SECONDS(300)},
	 0,
	 "Released 0 shadows in 0.000 ms; 2 stay for 5min; 3 behind kept policies stay for 10min at most."},
	{"release: one stays, infinity",
	 {.policies[XFRM_POLICY_OUT] = 3},
	 {.kept = 1, .grace_usec = TIMESPAN_INFINITY},
	 3,
	 "Released 3 shadows in 0.000 ms; 1 stays."},
	{"release: all stay, infinity",
	 {.usec = 900},
	 {.kept = 4, .grace_usec = TIMESPAN_INFINITY},
	 0,
	 "Released 0 shadows in 0.900 ms; 4 stay."},

	{"release: blocked none",
	 {.policies[XFRM_POLICY_OUT] = 2},
	 {.blocked_known = true},
	 2,
	 "Released 2 shadows in 0.000 ms. Packets blocked meanwhile: 0 outgoing, 0 incoming."},
	{"release: blocked one",
	 {.policies[XFRM_POLICY_OUT] = 2},
	 {.blocked_known = true, .blocked_out = 1, .blocked_in = 1},
	 2,
	 "Released 2 shadows in 0.000 ms. Packets blocked meanwhile: 1 outgoing, 1 incoming."},
	{"release: blocked many",
	 {.policies[XFRM_POLICY_OUT] = 2},
	 {.blocked_known = true, .blocked_out = 12, .blocked_in = 3},
	 2,
	 "Released 2 shadows in 0.000 ms. Packets blocked meanwhile: 12 outgoing, 3 incoming."},
	{"release: blocked not known",
	 {.policies[XFRM_POLICY_OUT] = 2},
	 {.blocked_out = 12, .blocked_in = 3},
	 2,
	 "Released 2 shadows in 0.000 ms."},
	{"release: blocked, some stay",
	 {.policies[XFRM_POLICY_OUT] = 13, .shadows = 2, .usec = 900},
	 {.kept = 2, .grace_usec = SECONDS(300), .blocked_known = true, .blocked_out = 12, .blocked_in = 3},
	 11,
	 "Released 11 shadows in 0.900 ms; 2 stay for 5min. Packets blocked meanwhile: 12 outgoing, 3 incoming."},

	{"release: backup routes alone", {.routes = 2, .usec = 900}, {0}, 0, "No shadows. Removed 2 backup routes."},
	{"release: backup routes that stay, alone",
	 {.usec = 900},
	 {.backups = 1, .grace_usec = SECONDS(1)},
	 0,
	 "No shadows. 1 backup route stays."},
	{"release: shadows and backup routes",
	 {.policies[XFRM_POLICY_OUT] = 2, .routes = 1},
	 {.backups = 3, .grace_usec = SECONDS(1)},
	 2,
	 "Released 2 shadows in 0.000 ms. Removed 1 backup route; 3 stay."},
	{"release: blocked, and backup routes",
	 {.policies[XFRM_POLICY_OUT] = 2, .routes = 2},
	 {.backups = 1, .blocked_known = true},
	 2,
	 "Released 2 shadows in 0.000 ms. Packets blocked meanwhile: 0 outgoing, 0 incoming. Removed 2 "
	 "backup routes; 1 stays."},

	{"release: an acquire",
	 {.sas[IPPROTO_ESP] = 1, .usec = 900},
	 {0},
	 0,
	 "No shadows. Removed 1 pending acquire: the next packet causes a new one."},
	{"release: acquires and backup routes",
	 {.sas = {[IPPROTO_ESP] = 2, [IPPROTO_AH] = 1}, .routes = 1},
	 {0},
	 0,
	 "No shadows. Removed 3 pending acquires: the next packets cause new ones. Removed 1 backup route."},
	{"release: shadows, acquires and backup routes",
	 {.sas[IPPROTO_ESP] = 2, .policies[XFRM_POLICY_OUT] = 2, .routes = 1},
	 {.blocked_known = true},
	 2,
	 "Released 2 shadows in 0.000 ms. Packets blocked meanwhile: 0 outgoing, 0 incoming. Removed 2 pending "
	 "acquires: the next packets cause new ones. Removed 1 backup route."},
	{"release: acquires and failures",
	 {.sas[IPPROTO_ESP] = 1, .failed = 1},
	 {0},
	 0,
	 "Released 0 shadows in 0.000 ms. Removed 1 pending acquire: the next packet causes a new one."},

	{"release: nothing but a failure", {.failed = 1, .usec = 900}, {0}, 0, "Released 0 shadows in 0.900 ms."},
	{"release: nothing but failures, blocked known",
	 {.failed = 2, .usec = 900},
	 {.kept = 2, .grace_usec = SECONDS(1), .blocked_known = true, .blocked_out = 5},
	 0,
	 "Released 0 shadows in 0.900 ms; 2 stay for 1s. Packets blocked meanwhile: 5 outgoing, 0 incoming."},
	{"release: longest",
	 {.sas[IPPROTO_ESP] = UINT64_MAX,
	  .policies[XFRM_POLICY_OUT] = UINT64_MAX,
	  .routes = UINT64_MAX,
	  .failed = UINT64_MAX,
	  .usec = UINT64_MAX},
	 {.kept = UINT64_MAX,
	  .behind_kept = UINT64_C(1) << 63,
	  .behind_kept_usec = UINT64_MAX - 1,
	  .backups = UINT64_MAX,
	  /* 584541 years, and the maximum of each other unit */
	  .grace_usec = UINT64_C(584541) * SECONDS(31557600) + 11 * SECONDS(2629800) + SECONDS(30 * 86400 - 1) + 999999,
	  .blocked_known = true,
	  .blocked_out = UINT64_MAX,
	  .blocked_in = UINT64_MAX},
	 UINT64_MAX,
	 "Released 18446744073709551615 shadows in 18446744073709551.615 ms; 9223372036854775807 stay for 584541y "
	 "11month 4w 1d 23h 59min 59s 999ms 999us; 9223372036854775808 behind kept policies stay for 584542y 2w 2d 20h "
	 "1min 49s 551ms 614us at most. Packets blocked meanwhile: 18446744073709551615 outgoing, "
	 "18446744073709551615 incoming. Removed 18446744073709551615 pending acquires: the next packets cause "
	 "new ones. Removed 18446744073709551615 backup routes; 18446744073709551615 stay."},
};

static void write_of_release(char *buffer, size_t size, const void *what)
{
	const struct release_row *row = what;

	assert_ptr_equal(summary_of_release(&row->summary, &row->release, buffer, size), buffer);
}

static void says_of_release(void **state)
{
	const struct release_row *row = *state;

	assert_int_equal(summary_released(&row->summary), row->released);
	check_sentence(write_of_release, row, row->sentence);
}

/* Counting. */

static const struct count_row {
	const char *name;
	enum entry_kind kind;
	uint8_t proto, dir; /* `proto` for an SA, `dir` for a policy */
	uint64_t sas, policies;
} count_rows[] = {
	{"counts esp", ENTRY_SA, IPPROTO_ESP, 0, 1, 0},
	{"counts ah", ENTRY_SA, IPPROTO_AH, 0, 1, 0},
	{"counts comp", ENTRY_SA, IPPROTO_COMP, 0, 1, 0},
	{"counts the lowest protocol", ENTRY_SA, 0, 0, 1, 0},
	{"counts the highest protocol", ENTRY_SA, UINT8_MAX, 0, 1, 0},
	{"counts in", ENTRY_POLICY, 0, XFRM_POLICY_IN, 0, 1},
	{"counts out", ENTRY_POLICY, 0, XFRM_POLICY_OUT, 0, 1},
	{"counts fwd", ENTRY_POLICY, 0, XFRM_POLICY_FWD, 0, 1},
	{"does not count the first direction that is none", ENTRY_POLICY, 0, XFRM_POLICY_MAX, 0, 0},
	{"does not count the last direction that is none", ENTRY_POLICY, 0, UINT8_MAX, 0, 0},
};

static struct entry entry_of(const struct count_row *row)
{
	struct entry entry = row->kind == ENTRY_SA ? make_sa("192.0.2.1", "192.0.2.2")
						   : make_policy("10.1.0.0/16", "10.2.0.0/16", NULL, 0);

	if (row->kind == ENTRY_SA)
		entry.sa.id.proto = row->proto;
	else
		entry.policy.info.dir = row->dir;
	return entry;
}

static void counts(void **state)
{
	const struct count_row *row = *state;
	const struct entry entry = entry_of(row);
	struct summary summary = {0};

	for (uint64_t n = 1; n <= 3; n++) {
		summary_add(&summary, &entry);
		assert_int_equal(summary_sas(&summary), n * row->sas);
		assert_int_equal(summary_policies(&summary), n * row->policies);
		assert_int_equal(summary.failed, 0);
		if (row->sas)
			assert_int_equal(summary.sas[row->proto], n);
		if (row->policies)
			assert_int_equal(summary.policies[row->dir], n);
	}
	for (uint64_t n = 3; n-- > 0;) {
		summary_take_back(&summary, &entry);
		assert_int_equal(summary_sas(&summary), n * row->sas);
		assert_int_equal(summary_policies(&summary), n * row->policies);
	}
	/* Take back one more than was added. */
	summary_take_back(&summary, &entry);
	assert_memory_equal(&summary, &(struct summary){0}, sizeof(summary));
}

/* Checks that each entry is counted and taken back only in its own place. */
static void counts_apart(void **state)
{
	struct summary summary = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(count_rows); i++) {
		const struct entry entry = entry_of(&count_rows[i]);
		summary_add(&summary, &entry);
	}
	assert_int_equal(summary_sas(&summary), 5);
	assert_int_equal(summary_policies(&summary), 3);

	const struct entry esp = entry_of(&count_rows[0]);
	for (int n = 0; n < 2; n++) {
		summary_take_back(&summary, &esp);
		assert_int_equal(summary.sas[IPPROTO_ESP], 0);
		assert_int_equal(summary_sas(&summary), 4);
		assert_int_equal(summary_policies(&summary), 3);
	}
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, says, sentence_rows);
	ADD_ROWS(&cases, says, longest_rows);
	ADD_ROWS(&cases, says_of_arm, arm_rows);
	ADD_ROWS(&cases, says_of_release, release_rows);
	ADD_ROWS(&cases, counts, count_rows);
	ADD_CASE(&cases, counts_apart);
	return cmocka_run_group_tests_name("summary", cases.list, NULL, NULL);
}
