/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks that reading any bytes of the kernel ends and stays within them: as a part of a dump, as an answer, and as
 * events. Requests and shadows that are made from the entries must be read back with their intended values. */

#include <errno.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

#include "base/util.h"
#include "fuzz.h"
#include "handover/connections.h"
#include "handover/guard_sa.h"
#include "hold/shadow.h"
#include "hold/summary.h"
#include "status/model.h"
#include "xfrm/build.h"
#include "xfrm/parse.h"
#include "xfrm/print.h"

static const char *const expressions[] = {"reqid=1,proto=esp",
					  "mark=5/0xff,if-id=77",
					  "src=10.1.0.0/16,dst=10.2.0.0/16",
					  "peer=192.0.2.0/24,dir=out,ptype=main",
					  "peer=2001:db8::/32,priority=1-9",
					  "spi=0x101"};

/* The state of two passes over a dump: the second uses the results of the first. */
struct looking {
	struct filter filter;
	struct shadow_survey survey;
	struct kept kept;
	struct status_states states;
	struct status_policies policies;
	struct summary summary;
	size_t n; /* number of entries that only the first pass has seen */
};

static struct entry decode(const union request *request)
{
	struct entry entry = {0};

	CHECK(request->header.nlmsg_len <= sizeof(*request));
	CHECK(entry_decode(&request->header, &entry) == 0);
	return entry;
}

static void check_same_key(const struct entry *a, const struct entry *b)
{
	CHECK(a->kind == b->kind && a->if_id == b->if_id && memcmp(&a->mark, &b->mark, sizeof(a->mark)) == 0);
	if (a->kind == ENTRY_SA) {
		CHECK(a->sa.id.spi == b->sa.id.spi && a->sa.id.proto == b->sa.id.proto && a->sa.family == b->sa.family);
		CHECK(memcmp(&a->sa.id.daddr, &b->sa.id.daddr, sizeof(a->sa.id.daddr)) == 0);
	} else {
		CHECK(memcmp(&a->policy.info.sel, &b->policy.info.sel, sizeof(a->policy.info.sel)) == 0);
		CHECK(a->policy.info.dir == b->policy.info.dir && a->policy.ptype == b->policy.ptype);
	}
}

static void check_deletion(const struct entry *entry)
{
	union request request;

	build_deletion(&request.header, entry);
	const struct entry named = decode(&request);
	check_same_key(entry, &named);
	CHECK(entry->kind == ENTRY_SA || named.policy.info.index == entry->policy.info.index);
}

static void check_policy(const struct entry *policy)
{
	union request request;

	int r = build_policy(&request.header, XFRM_MSG_NEWPOLICY, policy);
	CHECK(r == (policy->policy.security_length > REQUEST_SECURITY_MAX ? -EMSGSIZE : 0));
	CHECK(build_find_policy(&request.header, policy) == r);
	if (r < 0)
		return;
	build_policy(&request.header, XFRM_MSG_NEWPOLICY, policy);
	const struct entry written = decode(&request);
	check_same_key(policy, &written);
	CHECK(written.policy.info.action == policy->policy.info.action && !written.policy.info.index);
	CHECK(written.policy.n_templates == policy->policy.n_templates);
	if (policy->policy.n_templates)
		CHECK(memcmp(written.policy.templates, policy->policy.templates,
			     policy->policy.n_templates * sizeof(*policy->policy.templates)) == 0);
	CHECK(!written.policy.security_length == !policy->policy.security_length);
}

/* Checks that the shadows of a policy block traffic that it protected, and belong to that policy alone. */
static void check_shadow(const struct looking *looking, const struct entry *policy)
{
	struct entry shadows[4];

	shadow_make(policy, &looking->survey, false, &shadows[0]);
	shadow_make(policy, &looking->survey, true, &shadows[1]);
	shadow_make_adjacent(policy, &looking->survey, &shadows[2]);
	shadows[3] = shadows[0];
	shadow_let_expire(&shadows[3], 60, 7);
	for (size_t i = 0; i < ARRAY_SIZE(shadows); i++) {
		const struct entry covering = shadow_covering(&shadows[i]);

		CHECK(shadow_tag(&shadows[i]) && !shadow_tag(&covering) && !shadows[i].policy.n_templates);
		CHECK(shadows[i].policy.info.action ==
		      (policy->policy.n_templates ? XFRM_POLICY_BLOCK : policy->policy.info.action));
		CHECK(i == 3 || shadow_suffices(&shadows[i], &shadows[i]));
		check_policy(&shadows[i]);
	}
	CHECK(shadow_is_of_run(&shadows[3], 7));
}

static void check_kept(struct looking *looking, const struct entry *policy)
{
	struct entry kept;

	shadow_make_kept_policy(policy, &kept);
	CHECK(is_kept_policy(&kept) && !shadow_tag(&kept));
	check_policy(&kept);
	CHECK(kept_add_policy(&looking->kept, &kept) == 0);
}

static void check_questions(const struct entry *sa)
{
	union request request;

	build_find_sa(&request.header, sa);
	CHECK(request.header.nlmsg_type == XFRM_MSG_GETSA && request.header.nlmsg_len <= sizeof(request));
	build_spi(&request.header, sa, 1);
	CHECK(request.header.nlmsg_type == XFRM_MSG_ALLOCSPI && request.header.nlmsg_len <= sizeof(request));
}

static void check_lifetime(const struct entry *sa)
{
	const struct nlmsghdr *message = sa->message;
	union request request;

	int r = build_sa_lifetime(message, 330, &request.header, sizeof(request));
	CHECK(r == (message->nlmsg_type != XFRM_MSG_NEWSA  ? -EBADMSG
		    : message->nlmsg_len > sizeof(request) ? -EMSGSIZE
							   : 0));
	if (r < 0)
		return;
	CHECK(request.header.nlmsg_len <= NLMSG_ALIGN(message->nlmsg_len));
	const struct entry updated = decode(&request);
	check_same_key(sa, &updated);
	CHECK(updated.sa.lft.hard_add_expires_seconds == 330);
}

static void check_guard_sa(struct looking *looking, const struct entry *sa)
{
	static const struct guard_sa_keys keys;
	struct entry written, guard_sa = guard_sa_of(sa);
	struct nl_msg *message;

	check_questions(sa);
	CHECK(guard_sa_compose(sa, &keys, &message) == 0);
	CHECK(entry_decode(nlmsg_hdr(message), &written) == 0 && is_guard_sa(&written) && !written.larval);
	check_same_key(&guard_sa, &written);
	nlmsg_free(message);
	CHECK(kept_add_sa(&looking->kept, sa) == 0);
}

/* Prints an entry to /dev/null. */
static void show(const struct entry *entry)
{
	static FILE *nowhere;
	FILE *before = stdout;

	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	CHECK(nowhere);
	stdout = nowhere;
	CHECK(print_entry(entry, false) == 0 && print_entry(entry, true) == 0);
	stdout = before;
}

static int look_first(const struct entry *entry, void *userdata)
{
	struct looking *looking = userdata;
	char description[ENTRY_DESCRIPTION_MAX];

	looking->n++;
	CHECK(strlen(entry_describe(entry, description, sizeof(description))) < sizeof(description) - 1);
	if (entry->kind == ENTRY_POLICY)
		shadow_survey_add(&looking->survey, &looking->filter, entry);
	return 0;
}

static int look_again(const struct entry *entry, void *userdata)
{
	struct looking *looking = userdata;

	CHECK(looking->n-- > 0);
	show(entry);
	check_deletion(entry);
	summary_add(&looking->summary, entry);
	if (entry->kind == ENTRY_SA) {
		status_add_sa(&looking->states, entry);
		check_lifetime(entry);
		check_guard_sa(looking, entry);
		return 0;
	}
	status_add_policy(&looking->policies, entry);
	check_shadow(looking, entry);
	check_kept(looking, entry);
	return 0;
}

static void make_filter(struct filter *ret)
{
	char why[MATCH_ERROR_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(expressions); i++)
		CHECK(filter_add(ret, i % 2, expressions[i], why, sizeof(why)) == 0);
}

static int take_back(const struct entry *entry, void *userdata)
{
	summary_take_back(userdata, entry);
	return 0;
}

static void check_groups(struct kept *kept)
{
	char description[512];
	size_t n = 0, n_sas = 0;

	CHECK(kept_sort(kept) == 0);
	kept_sort_sas(kept);
	for (size_t i = 0; i < kept->n_groups; i++) {
		const struct kept_group *group = &kept->groups[i];

		CHECK(group->first == n && group->n > 0);
		n += group->n;
		n_sas += group->n_sas;
		kept_describe(kept, group, description, sizeof(description));
		for (size_t j = 0; j < group->n; j++) {
			CHECK(kept_find(kept, &kept->shadows[group->first + j].policy));
			kept_mark_conflicts(kept, &kept->shadows[group->first + j].policy);
		}
		for (size_t j = 0; j < group->n_sas; j++)
			CHECK(kept_has_sa(kept, group, &kept->sas[group->first_sa + j].sa));
	}
	CHECK(n == kept->n_shadows && n_sas == kept->n_sas);
}

static void check_dump(struct nlmsghdr *first, int length, uint32_t seq)
{
	static struct looking looking;

	looking = (struct looking){.filter = looking.filter};
	if (filter_is_empty(&looking.filter))
		make_filter(&looking.filter);
	int r = parse_dump(first, length, seq, look_first, &looking);
	CHECK(r <= 1);
	CHECK(parse_dump(first, length, seq, look_again, &looking) == r && looking.n == 0);
	check_groups(&looking.kept);
	kept_free(&looking.kept);
	CHECK(parse_dump(first, length, seq, take_back, &looking.summary) == r);
	CHECK(summary_sas(&looking.summary) == 0 && summary_policies(&looking.summary) == 0);
}

static void check_answer(struct nlmsghdr *first, int length, uint32_t seq)
{
	static const uint16_t types[] = {NLMSG_ERROR, XFRM_MSG_NEWSA, XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSADINFO,
					 XFRM_MSG_NEWSPDINFO};
	struct xfrmu_spdinfo info;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct nlmsghdr *found = NULL;
		bool refused = false;

		int r = parse_answer(first, length, seq, types[i], &found, &refused);
		CHECK(r > 0 ? found && found->nlmsg_type == types[i] && found->nlmsg_seq == seq : !found);
		CHECK(r >= 0 || refused || r == -EBADMSG);
		if (r <= 0)
			continue;
		for (int attribute = 0; attribute <= XFRMA_SPD_MAX; attribute++) {
			r = parse_info(found, attribute, &info, sizeof(info));
			CHECK(r == 0 || r == -EBADMSG);
		}
	}
}

static void on_event(const struct entry *entry, void *userdata)
{
	size_t *n = userdata;

	CHECK(entry->kind == ENTRY_SA || entry->kind == ENTRY_POLICY);
	++*n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* libnl's functions take messages that are not const, but change nothing in them. */
	struct nlmsghdr *first = (struct nlmsghdr *)(uintptr_t)data;
	size_t n = 0;

	uint32_t seq = size >= sizeof(*first) ? first->nlmsg_seq : 0;
	check_dump(first, (int)size, seq);
	check_answer(first, (int)size, seq);
	parse_events(first, (int)size, on_event, &n);
	CHECK(n * sizeof(*first) <= size);
	return 0;
}
