/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks how any message is read as an event list-sa or list-policy, and that each policy and each SA that charon lists
 * is found in the kernel. */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/xfrm.h>

#include "base/util.h"
#include "fuzz.h"
#include "ike/child_sa.h"

/* Returns charon's policy as the kernel has it. */
static struct entry entry_of(const struct child_sa_policy *ours)
{
	return (struct entry){
		.kind = ENTRY_POLICY,
		.mark = ours->mark,
		.if_id = ours->if_id,
		.policy =
			{
				.info =
					{
						.sel =
							{
								.family = ours->src.family,
								.saddr = ours->src.address,
								.daddr = ours->dst.address,
								.prefixlen_s = ours->src.length,
								.prefixlen_d = ours->dst.length,
								.proto = ours->limited ? ours->proto : 0,
								.sport = htons(ours->sport),
								.sport_mask = htons(ours->sport_mask),
								.dport = htons(ours->dport),
								.dport_mask = htons(ours->dport_mask),
							},
						.dir = ours->outbound ? XFRM_POLICY_OUT : XFRM_POLICY_IN,
					},
			},
	};
}

static void check_policy(struct child_sas *sas, const struct child_sa_policy *ours)
{
	const struct entry policy = entry_of(ours);
	const struct child_sa *sa = &sas->list[ours->owner];

	CHECK(ours->owner < sas->n && ours->src.family == ours->dst.family);
	CHECK(!(ours->expected & ~7) && (sa->installed || !ours->expected));
	CHECK(child_sas_explain(sas, &policy));
	CHECK(child_sas_need(sas, &policy) || !sa->has_policies);
	child_sas_find_policy(sas, &policy, false);
	CHECK(!ours->expected || !ours->exact || ours->found);
}

static void check_all(struct child_sas *sas)
{
	for (size_t i = 0; i < sas->n; i++) {
		CHECK(strnlen(sas->list[i].name.connection, CHARON_NAME_MAX) < CHARON_NAME_MAX);
		CHECK(strnlen(sas->list[i].name.child, CHARON_NAME_MAX) < CHARON_NAME_MAX);
	}
	for (size_t i = 0; i < sas->policies.n; i++)
		check_policy(sas, &sas->policies.list[i]);
	for (size_t i = 0; i < sas->spis.n; i++) {
		const struct child_sa_spi *spi = &sas->spis.list[i];
		const struct entry sa = {.sa.id = {.spi = htonl(spi->spi), .proto = spi->proto}};

		CHECK(spi->owner < sas->n);
		child_sas_find_sa(sas, &sa);
		CHECK(spi->found);
	}
}

/* Reads the input as the first, the second or both kinds of events: the bits of `kinds`. */
static void read_as(unsigned int kinds, const uint8_t *data, size_t size)
{
	CLEANUP(child_sas_free) struct child_sas sas = {0};
	struct vici_reader reader;
	int r = 0;

	vici_read(&reader, data, size);
	if (kinds & 1)
		r = child_sas_read(&reader, &sas);
	vici_read(&reader, data, size);
	if (r == 0 && kinds & 2)
		r = child_sas_read_policy(&reader, &sas);
	CHECK(r == 0 || r == -EBADMSG);
	/* The lists are sound after an error, too. */
	CHECK(child_sas_sort(&sas) == 0);
	check_all(&sas);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (unsigned int kinds = 1; kinds <= 3; kinds++)
		read_as(kinds, data, size);
	return 0;
}
