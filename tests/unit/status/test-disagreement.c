/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>

#include "base/util.h"
#include "hold/shadow.h"
#include "list_sa.h"
#include "status/disagreement.h"

/* What a CHILD_SA of the tests is like. */
struct sample {
	const char *state, *id, *reqid, *local, *remote;
};

static const struct sample in_use = {"INSTALLED", "7", "1", "10.1.0.0/16", "10.2.0.0/16"};

/* Adds a CHILD_SA without SPIs. */
static void add(struct comparison *comparison, const struct sample *sample)
{
	uint8_t buffer[512];
	struct vici_writer message = {.buffer = buffer, .size = sizeof(buffer)};

	begin_child_sa(&message, sample->id, sample->reqid, sample->state);
	end_child_sa(&message, sample->local, sample->remote, &comparison->sas);
	assert_int_equal(child_sas_sort(&comparison->sas), 0);
}

/* Configures the connection "net" with the child "net". */
static void configure(struct comparison *comparison)
{
	assert_int_equal(children_add_connection(&comparison->children, "net"), 0);
	assert_int_equal(children_add(&comparison->children, "net"), 0);
}

static struct entry policy_of(const char *src, const char *dst, uint8_t dir)
{
	return (struct entry){
		.kind = ENTRY_POLICY,
		.policy = {.info = {.sel = make_selector(src, dst), .dir = dir, .index = ANY_INDEX}, .n_templates = 1},
	};
}

static void judge(const struct comparison *comparison, struct findings *ret)
{
	findings_free(ret);
	assert_int_equal(comparison_judge(comparison, ret), 0);
}

/* Without policies in the kernel, each direction is missing. What covers its packets blocks them. */
static void tells_unprotected_from_blocked(void **state)
{
	CLEANUP(comparison_free) struct comparison comparison = {.routes_error = -1};
	CLEANUP(findings_free) struct findings findings = {0};
	struct entry all = policy_of("0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_OUT);
	struct entry bypass = policy_of("0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_IN);

	(void)state;
	add(&comparison, &in_use);
	configure(&comparison);
	judge(&comparison, &findings);
	assert_int_equal(findings.counts[FINDING_MISSING_POLICY], 3);
	assert_int_equal(findings.unprotected, 3);

	bypass.policy.n_templates = 0;
	assert_int_equal(comparison_add_policy(&comparison, &all), 0);
	assert_int_equal(comparison_add_policy(&comparison, &bypass), 0);
	judge(&comparison, &findings);
	assert_int_equal(findings.unprotected, 2);
	assert_int_equal(findings.counts[FINDING_UNEXPLAINED_POLICY], 2);

	comparison.default_blocks = 1 << XFRM_POLICY_FWD;
	comparison_begin_policies(&comparison);
	judge(&comparison, &findings);
	assert_int_equal(findings.unprotected, 2);
	assert_int_equal(findings.counts[FINDING_UNEXPLAINED_POLICY], 0);
}

/* Only what both comparisons find counts. Another CHILD_SA with the same selectors is another finding. */
static void confirms(void **state)
{
	CLEANUP(comparison_free) struct comparison first = {.routes_error = -1}, second = {.routes_error = -1};
	CLEANUP(findings_free) struct findings earlier = {0}, again = {0}, other = {0};
	const struct sample next = {"INSTALLED", "8", "1", "10.1.0.0/16", "10.2.0.0/16"};

	(void)state;
	add(&first, &in_use);
	configure(&first);
	add(&second, &next);
	configure(&second);
	judge(&first, &earlier);
	judge(&first, &again);
	judge(&second, &other);
	findings_confirm(&again, &earlier);
	assert_int_equal(again.counts[FINDING_MISSING_POLICY], 3);
	assert_int_equal(other.n, 3);
	findings_confirm(&other, &earlier);
	assert_int_equal(other.n, 0);
	assert_int_equal(other.unprotected, 0);
}

/* A CHILD_SA whose names are not configured is found. */
static void finds_unconfigured(void **state)
{
	CLEANUP(comparison_free) struct comparison comparison = {.routes_error = -1};
	CLEANUP(findings_free) struct findings findings = {0};
	char mend[FINDING_MEND_MAX];

	(void)state;
	add(&comparison, &in_use);
	judge(&comparison, &findings);
	assert_int_equal(findings.counts[FINDING_UNCONFIGURED], 1);
	assert_string_equal(finding_mend(&findings.list[findings.n - 1], 220, mend),
			    "swanctl --terminate --child-id 7");
	comparison.children.incomplete = true;
	judge(&comparison, &findings);
	assert_int_equal(findings.counts[FINDING_UNCONFIGURED], 0);
}

/* Rules and routes are missing only if charon needs them: this host has an address in the local network. */
static void finds_rules_and_routes(void **state)
{
	CLEANUP(comparison_free) struct comparison comparison = {0};
	CLEANUP(findings_free) struct findings findings = {0};
	struct route route = {.protocol = RTPROT_STATIC};
	struct prefix address;

	(void)state;
	assert_int_equal(prefix_parse("10.9.0.1", &address), 0);
	assert_int_equal(prefix_parse("10.2.0.0/16", &route.dst), 0);
	add(&comparison, &in_use);
	configure(&comparison);
	comparison.look.addresses.list = &address;
	comparison.look.addresses.n = 1;
	judge(&comparison, &findings);
	assert_int_equal(findings.counts[FINDING_MISSING_RULE] + findings.counts[FINDING_MISSING_ROUTE], 0);

	assert_int_equal(prefix_parse("10.1.2.3", &address), 0);
	judge(&comparison, &findings);
	assert_int_equal(findings.counts[FINDING_MISSING_RULE], 1);
	assert_int_equal(findings.counts[FINDING_MISSING_ROUTE], 1);

	/* The main table has the route: charon uses that table. */
	comparison.look.routes.list = &route;
	comparison.look.routes.n = 1;
	comparison.look.main_table = true;
	judge(&comparison, &findings);
	assert_int_equal(findings.counts[FINDING_MISSING_RULE] + findings.counts[FINDING_MISSING_ROUTE], 0);

	comparison.look.main_table = false;
	judge(&comparison, &findings);
	assert_int_equal(findings.counts[FINDING_MISSING_RULE], 1);
	assert_int_equal(findings.counts[FINDING_MISSING_ROUTE], 0);
	comparison.look.rules[0] = true;
	judge(&comparison, &findings);
	assert_int_equal(findings.counts[FINDING_MISSING_RULE], 0);
}

/* The command that deletes a policy names all that identifies it. A name with quotes stays one word for the shell. */
static void names_commands(void **state)
{
	struct finding finding = {.kind = FINDING_UNEXPLAINED_POLICY,
				  .dir = XFRM_POLICY_OUT,
				  .index = 9,
				  .ptype = XFRM_POLICY_TYPE_SUB,
				  .mark = {0x10, 0xff},
				  .if_id = 0x2a};
	char mend[FINDING_MEND_MAX];

	(void)state;
	assert_string_equal(finding_mend(&finding, 220, mend),
			    "ip xfrm policy delete dir out index 9 ptype sub mark 0x10 mask 0xff if_id 0x2a");
	finding = (struct finding){.kind = FINDING_MISSING_RULE, .dst.family = AF_INET6};
	assert_string_equal(finding_mend(&finding, 221, mend), "ip -6 rule add priority 221 table 221");
	finding = (struct finding){.kind = FINDING_MISSING_POLICY, .owner = {.kind = CHILD_SA_TRAP, .child = "x"}};
	assert_string_equal(finding_mend(&finding, 220, mend),
			    "swanctl --uninstall --child 'x'; swanctl --install --child 'x'");
	finding.owner = (struct child_sa_name){.kind = CHILD_SA_NEGOTIATED, .id = 7, .connection = "a'", .child = "'b"};
	assert_string_equal(finding_mend(&finding, 220, mend),
			    "swanctl --terminate --child-id 7; swanctl --initiate --ike 'a'\\''' --child ''\\''b'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_unprotected_from_blocked),
		cmocka_unit_test(confirms),
		cmocka_unit_test(finds_unconfigured),
		cmocka_unit_test(finds_rules_and_routes),
		cmocka_unit_test(names_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
