/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include "summary.h"

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
	{"hundred thousands",
	 {.sas[IPPROTO_ESP] = 65000, .policies[XFRM_POLICY_IN] = 195000, .usec = 940000},
	 false,
	 "Removed 65000 SAs (65000 esp) and 195000 policies (195000 in) in 940.000 ms."},
};

/* Every number with as many digits as 64 bits can have; the totals wrap, but keep their 20 digits. */
static const struct sentence_row longest_rows[] = {
	{"longest",
	 {.sas = {[IPPROTO_ESP] = UINT64_MAX, [IPPROTO_AH] = UINT64_MAX, [IPPROTO_COMP] = UINT64_MAX},
	  .policies = {[XFRM_POLICY_IN] = UINT64_MAX, [XFRM_POLICY_OUT] = UINT64_MAX, [XFRM_POLICY_FWD] = UINT64_MAX},
	  .failed = UINT64_MAX,
	  .usec = UINT64_MAX},
	 false,
	 "Removed 18446744073709551613 SAs (18446744073709551615 esp, 18446744073709551615 ah, 18446744073709551615 "
	 "comp) "
	 "and 18446744073709551613 policies (18446744073709551615 in, 18446744073709551615 out, 18446744073709551615 "
	 "fwd) "
	 "in 18446744073709551.615 ms."},
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

static void write_sentence(char *buffer, size_t size, const void *what)
{
	const struct sentence_row *row = what;

	assert_ptr_equal(summary_sentence(&row->summary, row->dry_run, buffer, size), buffer);
}

static void says(void **state)
{
	const struct sentence_row *row = *state;
	char buffer[SUMMARY_SENTENCE_MAX];

	write_sentence(buffer, sizeof(buffer), row);
	assert_string_equal(buffer, row->sentence);
	check_text_fits(write_sentence, row, SUMMARY_SENTENCE_MAX);
}

static const struct count_row {
	const char *name;
	enum entry_kind kind;
	uint8_t proto, dir; /* of an SA, of a policy */
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
	/* One more than there are. */
	summary_take_back(&summary, &entry);
	assert_memory_equal(&summary, &(struct summary){0}, sizeof(summary));
}

/* Every entry is counted, or taken back, in its own place alone. */
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
	ADD_ROWS(&cases, counts, count_rows);
	ADD_CASE(&cases, counts_apart);
	return cmocka_run_group_tests_name("summary", cases.list, NULL, NULL);
}
