/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/util.h"
#include "ike/child_sa.h"
#include "list_sa.h"

/* if_ids of a CHILD_SA, as charon writes them. */
static const char *if_id_in = "0000004d", *if_id_out = "0";

/* Adds a CHILD_SA as charon lists it. */
static void add(struct child_sas *sas, const char *state, const char *reqid, const char *local, const char *remote)
{
	uint8_t buffer[512];
	struct vici_writer message = {.buffer = buffer, .size = sizeof(buffer)};

	begin_child_sa(&message, "7", reqid, state);
	vici_put_value(&message, "mode", "TUNNEL");
	vici_put_value(&message, "protocol", "ESP");
	vici_put_value(&message, "spi-in", "c0000001");
	vici_put_value(&message, "spi-out", "c0000002");
	vici_put_value(&message, "mark-out", "0000002a");
	vici_put_value(&message, "mark-mask-out", "000000ff");
	vici_put_value(&message, "mark-in", "0000002b");
	vici_put_value(&message, "if-id-in", if_id_in);
	vici_put_value(&message, "if-id-out", if_id_out);
	vici_put_value(&message, "install-time", "90");
	end_child_sa(&message, local, remote, sas);
}

/* Adds a trap or a shunt as charon lists it. */
static void add_policy(struct child_sas *sas, const char *mode, const char *local, const char *remote)
{
	uint8_t buffer[256];
	struct vici_writer message = {.buffer = buffer, .size = sizeof(buffer)};
	struct vici_reader reader;

	vici_put_section(&message, "net/trap");
	vici_put_value(&message, "child", "trap");
	vici_put_value(&message, "ike", "net");
	vici_put_value(&message, "mode", mode);
	put_selector(&message, "local-ts", local);
	put_selector(&message, "remote-ts", remote);
	vici_put_section_end(&message);
	vici_read(&reader, buffer, message.length);
	assert_int_equal(child_sas_read_policy(&reader, sas), 0);
}

/* Returns a policy of the kernel between two IPv4 networks. */
static struct entry policy_of(const char *src, const char *dst, uint8_t dir)
{
	return (struct entry){
		.kind = ENTRY_POLICY,
		.policy = {.info = {.sel = make_selector(src, dst), .dir = dir, .index = ANY_INDEX}, .n_templates = 1},
	};
}

static void reads_child_sas(void **state)
{
	CLEANUP(child_sas_free) struct child_sas sas = {0};

	(void)state;
	add(&sas, "INSTALLED", "1", "10.1.0.0/16", "10.2.0.0/16");
	assert_int_equal(child_sas_sort(&sas), 0);
	assert_int_equal(sas.n, 1);
	assert_int_equal(sas.n_ike_sas, 1);
	assert_string_equal(sas.list[0].name.connection, "net");
	assert_int_equal(sas.list[0].name.id, 7);
	assert_int_equal(sas.list[0].age, 90);
	assert_true(sas.list[0].installed);
	assert_int_equal(sas.list[0].mark_out.m, 0xff);
	assert_int_equal(sas.list[0].mark_in.m, UINT32_MAX);
	assert_int_equal(sas.list[0].if_id_in, 77);
	assert_int_equal(sas.spis.n, 2);
	assert_int_equal(sas.policies.n, 2);
}

/* A policy is found by its networks, direction, mark and if_id. */
static void finds_policies(void **state)
{
	CLEANUP(child_sas_free) struct child_sas sas = {0};
	struct entry out = policy_of("10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT);
	struct entry in = policy_of("10.2.0.0/16", "10.1.0.0/16", XFRM_POLICY_IN);
	struct entry other = policy_of("10.1.0.0/16", "10.3.0.0/16", XFRM_POLICY_OUT);

	(void)state;
	add(&sas, "INSTALLED", "1", "10.1.0.0/16", "10.2.0.0/16");
	assert_int_equal(child_sas_sort(&sas), 0);
	const struct child_sa_policy *ours = &sas.policies.list[0];
	assert_true(ours->outbound);
	assert_int_equal(ours->expected, 1 << XFRM_POLICY_OUT);
	assert_int_equal(ours[1].expected, 1 << XFRM_POLICY_IN | 1 << XFRM_POLICY_FWD);
	child_sas_find_policy(&sas, &out, false);
	assert_int_equal(ours->found, 0);
	out.mark = (struct xfrm_mark){0x12a, 0xff};
	child_sas_find_policy(&sas, &out, false);
	assert_int_equal(ours->found, 1 << XFRM_POLICY_OUT);
	in.mark = (struct xfrm_mark){0x2b, UINT32_MAX};
	child_sas_find_policy(&sas, &in, true);
	assert_int_equal(ours[1].blocked, 0);
	in.if_id = 77;
	child_sas_find_policy(&sas, &in, true);
	assert_int_equal(ours[1].blocked, 1 << XFRM_POLICY_IN);
	in.mark.m = 0;
	assert_true(child_sas_explain(&sas, &in));
	assert_false(child_sas_explain(&sas, &other));
}

/* A port is compared if charon writes it as a number. */
static void compares_ports(void **state)
{
	static const struct {
		const char *selector;
		uint8_t proto;
		uint16_t port, mask;
		bool found;
	} cases[] = {
		{"10.2.0.0/16[tcp/8443]", IPPROTO_TCP, 8443, 0xffff, true},
		{"10.2.0.0/16[tcp/8443]", IPPROTO_TCP, 8444, 0xffff, false},
		{"10.2.0.0/16[tcp/8443]", IPPROTO_UDP, 8443, 0xffff, false},
		{"10.2.0.0/16[6/1024-2047]", IPPROTO_TCP, 1024, 0xfc00, true},
		{"10.2.0.0/16[udp]", IPPROTO_UDP, 0, 0, true},
		{"10.2.0.0/16[udp]", 0, 0, 0, false},
		{"10.2.0.0/16[0/80]", 0, 80, 0xffff, true},
		{"10.2.0.0/16[tcp/http]", IPPROTO_TCP, 80, 0xffff, true},
		{"10.2.0.0/16[tcp/http]", 0, 0, 0, false},
		{"10.2.0.0/16[icmp/8(0)]", IPPROTO_ICMP, 0, 0, true},
		{"10.2.0.0/16", IPPROTO_TCP, 80, 0xffff, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(child_sas_free) struct child_sas sas = {0};
		struct entry out = policy_of("10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT);

		add_policy(&sas, "TUNNEL", "10.1.0.0/16", cases[i].selector);
		assert_int_equal(child_sas_sort(&sas), 0);
		out.policy.info.sel.proto = cases[i].proto;
		out.policy.info.sel.dport = htons(cases[i].port);
		out.policy.info.sel.dport_mask = htons(cases[i].mask);
		out.if_id = 5;
		child_sas_find_policy(&sas, &out, false);
		bool found = sas.policies.list[0].found || sas.policies.list[1].found;
		if (found != cases[i].found)
			fail_msg("%s and port %u", cases[i].selector, cases[i].port);
	}
}

/* A CHILD_SA beside one of the same reqid that is being replaced is not judged. */
static void settles(void **state)
{
	CLEANUP(child_sas_free) struct child_sas sas = {0};

	(void)state;
	add(&sas, "INSTALLED", "1", "10.1.0.0/16", "10.2.0.0/16");
	add(&sas, "REKEYED", "1", "10.1.0.0/16", "10.2.0.0/16");
	add(&sas, "INSTALLED", "2", "10.1.0.0/16", "10.3.0.0/16");
	assert_int_equal(child_sas_sort(&sas), 0);
	assert_true(sas.list[0].unsettled && sas.list[1].unsettled);
	assert_false(sas.list[2].unsettled);
	for (size_t i = 0; i < sas.policies.n; i++)
		assert_int_equal(sas.policies.list[i].expected != 0, sas.policies.list[i].owner == 2);
}

/* Of traps with one selector, one is left. A dynamic selector stands for all addresses, and is not expected. */
static void merges_traps(void **state)
{
	CLEANUP(child_sas_free) struct child_sas sas = {0};

	(void)state;
	for (size_t i = 0; i < 5; i++)
		add_policy(&sas, "TUNNEL", "10.1.0.0/16", "10.2.0.0/16");
	add_policy(&sas, "PASS", "dynamic", "dynamic");
	assert_int_equal(child_sas_sort(&sas), 0);
	size_t expected = 0;
	for (size_t i = 0; i < sas.policies.n; i++)
		expected += sas.policies.list[i].expected != 0;
	assert_int_equal(expected, 2);
	const struct entry all = policy_of("0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_OUT);
	assert_true(child_sas_explain(&sas, &all));
}

static const struct needed_row {
	const char *name;
	/* Source and destination of the policy. */
	const char *src, *dst;
	uint8_t dir;
	uint32_t if_id;
	/* The pair of traffic selectors that charon lists, for a CHILD_SA in this state or, without one, for a trap. */
	const char *local, *remote;
	const char *state;
	const char *if_id_in, *if_id_out;
	bool needed;
} needed_rows[] = {
	{"out", "10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16", "INSTALLED",
	 .needed = true},
	{"in", "10.2.0.0/16", "10.1.0.0/16", XFRM_POLICY_IN, 0, "10.1.0.0/16", "10.2.0.0/16", "INSTALLED",
	 .needed = true},
	{"fwd", "10.2.0.0/16", "10.1.0.0/16", XFRM_POLICY_FWD, 0, "10.1.0.0/16", "10.2.0.0/16", "INSTALLED",
	 .needed = true},
	{"rekeying", "10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16", "REKEYING",
	 .needed = true},
	{"updating", "10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16", "UPDATING",
	 .needed = true},
	{"rekeyed", "10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16", "REKEYED"},
	{"deleting", "10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16", "DELETING"},
	{"the other way round", "10.2.0.0/16", "10.1.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16",
	 "INSTALLED"},
	{"another network", "10.1.0.0/16", "10.3.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16",
	 "INSTALLED"},
	{"a smaller network", "10.1.0.0/16", "10.2.1.0/24", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16",
	 "INSTALLED"},
	{"host bits", "10.1.2.3/16", "10.2.3.4/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16", "10.2.0.0/16", "INSTALLED",
	 .needed = true},
	{"IPv6", "2001:db8:1::/48", "2001:db8:2::/48", XFRM_POLICY_OUT, 0, "2001:db8:1::/48", "2001:db8:2::/48",
	 "INSTALLED", .needed = true},
	{"ports", "10.1.0.0/16", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "10.1.0.0/16[tcp/80]", "10.2.0.0/16[tcp]",
	 "INSTALLED", .needed = true},
	{"dynamic", "192.0.2.1/32", "10.2.0.0/16", XFRM_POLICY_OUT, 0, "dynamic", "10.2.0.0/16", "INSTALLED",
	 .needed = true},
	{"dynamic, in", "10.2.0.0/16", "192.0.2.1/32", XFRM_POLICY_IN, 0, "dynamic", "10.2.0.0/16", .needed = true},
	{"dynamic, another network", "192.0.2.1/32", "10.3.0.0/16", XFRM_POLICY_OUT, 0, "dynamic", "10.2.0.0/16",
	 "INSTALLED"},
	{"dynamic on both sides", "192.0.2.1/32", "192.0.2.2/32", XFRM_POLICY_OUT, 0, "dynamic", "dynamic",
	 .needed = true},
	{"if_id", "0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_OUT, 7, "0.0.0.0/0", "0.0.0.0/0", "INSTALLED", "6", "7",
	 .needed = true},
	{"if_id in", "0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_IN, 6, "0.0.0.0/0", "0.0.0.0/0", "INSTALLED", "6", "7",
	 .needed = true},
	{"if_id of the other direction", "0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_OUT, 6, "0.0.0.0/0", "0.0.0.0/0",
	 "INSTALLED", "6", "7"},
	{"if_id not listed", "0.0.0.0/0", "0.0.0.0/0", XFRM_POLICY_OUT, 6, "0.0.0.0/0", "0.0.0.0/0", .needed = true},
};

/* A lost policy is needed or not, beside other policies of charon, and whatever its mark is. */
static void needs(void **state)
{
	const struct needed_row *row = *state;
	CLEANUP(child_sas_free) struct child_sas sas = {0};
	struct entry policy = policy_of(row->src, row->dst, row->dir);
	const struct entry other = policy_of("10.8.0.0/16", "10.9.0.0/16", XFRM_POLICY_OUT);

	policy.if_id = row->if_id;
	policy.mark = (struct xfrm_mark){5, 0xff};
	if_id_in = row->if_id_in ? row->if_id_in : "0";
	if_id_out = row->if_id_out ? row->if_id_out : "0";
	if (row->state)
		add(&sas, row->state, "1", row->local, row->remote);
	else
		add_policy(&sas, "TUNNEL", row->local, row->remote);
	add(&sas, "INSTALLED", "2", "10.0.0.0/8", "10.2.0.0/16");
	add_policy(&sas, "DROP", "10.8.0.0/16", "10.9.0.0/16");
	assert_int_equal(child_sas_sort(&sas), 0);
	assert_int_equal(child_sas_need(&sas, &policy), row->needed);
	assert_int_equal(child_sas_need(&sas, &other), true);
}

/* Traps for all addresses do not stand for one that is dynamic on both sides. */
static void keeps_dynamic_traps(void **state)
{
	CLEANUP(child_sas_free) struct child_sas sas = {0};
	const struct entry policy = policy_of("192.0.2.1/32", "192.0.2.2/32", XFRM_POLICY_OUT);

	(void)state;
	add_policy(&sas, "TUNNEL", "dynamic", "0.0.0.0/0");
	add_policy(&sas, "TUNNEL", "dynamic", "::/0");
	add_policy(&sas, "TUNNEL", "dynamic", "dynamic");
	assert_int_equal(child_sas_sort(&sas), 0);
	assert_true(child_sas_need(&sas, &policy));
}

/* A message that ends in an element, or has keys before any element, does no harm. */
static void refuses_nonsense(void **state)
{
	CLEANUP(child_sas_free) struct child_sas sas = {0};
	uint8_t buffer[128];
	struct vici_writer message = {.buffer = buffer, .size = sizeof(buffer)};
	struct vici_reader reader;

	(void)state;
	vici_put_value(&message, "child", "x");
	vici_put_section(&message, "a");
	put_selector(&message, "local-ts", "nonsense");
	vici_read(&reader, buffer, message.length);
	assert_int_equal(child_sas_read_policy(&reader, &sas), -EBADMSG);
	vici_read(&reader, buffer, message.length);
	assert_int_equal(child_sas_read(&reader, &sas), -EBADMSG);
}

int main(void)
{
	static struct cases cases;

	ADD_CASE(&cases, reads_child_sas);
	ADD_CASE(&cases, finds_policies);
	ADD_CASE(&cases, compares_ports);
	ADD_CASE(&cases, settles);
	ADD_CASE(&cases, merges_traps);
	ADD_CASE(&cases, keeps_dynamic_traps);
	ADD_CASE(&cases, refuses_nonsense);
	ADD_ROWS(&cases, needs, needed_rows);
	return cmocka_run_group_tests_name("child_sa", cases.list, NULL, NULL);
}
