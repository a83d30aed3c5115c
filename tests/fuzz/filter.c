/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks that any text is either accepted as an expression of --match, or refused with an error text. A filter that has
 * only this expression must select the entries that the expression matches. */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "fuzz.h"
#include "xfrm/filter.h"

#define ADDRESS(...) \
	{ \
		.a6 = { __VA_ARGS__ } \
	}

static const struct xfrm_user_tmpl template = {
	.id = {.daddr = ADDRESS(0x07640ac6), .proto = IPPROTO_ESP},
	.family = AF_INET,
	.saddr = ADDRESS(0x010200c0),
	.reqid = 7,
	.mode = XFRM_MODE_TUNNEL,
};

static const struct entry entries[] = {
	{.kind = ENTRY_SA,
	 .mark = {5, 0xff},
	 .if_id = 7,
	 .sa = {.id.proto = IPPROTO_ESP, .family = AF_INET, .reqid = 7}},
	{.kind = ENTRY_SA, .sa = {.id.proto = IPPROTO_AH, .family = AF_INET6, .sel.family = AF_INET6}},
	{.kind = ENTRY_POLICY,
	 .policy = {.info = {.sel = {.family = AF_INET, .prefixlen_s = 24}, .dir = XFRM_POLICY_OUT, .priority = 7},
		    .n_templates = 1,
		    .templates = &template}},
	{.kind = ENTRY_POLICY, .policy.info = {.sel.family = AF_INET6, .index = 8}},
};

static void check_prefix(const struct prefix *prefix)
{
	static const struct prefix none;

	if (memcmp(prefix, &none, sizeof(none)) != 0)
		CHECK(prefix->length <= (prefix->family == AF_INET ? 32 : 128));
}

static void check_match(const struct match *match)
{
	CHECK(match->keys && match->keys < 1U << MATCH_KEYS);
	CHECK(match->reqid.first <= match->reqid.last && match->priority.first <= match->priority.last);
	CHECK(!match->mark.m || !(match->mark.v & ~match->mark.m));
	check_prefix(&match->src);
	check_prefix(&match->dst);
	check_prefix(&match->peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct filter filter;
	char *text = fuzz_text(data, size), why[MATCH_ERROR_MAX] = "";
	struct match match;

	int r = match_parse(text, &match, why, sizeof(why));
	CHECK(r == 0 ? !*why : r == -EINVAL && *why && strlen(why) < sizeof(why) - 1);
	if (r == 0) {
		check_match(&match);
		filter.n_include = filter.n_exclude = 0;
		CHECK(filter_add(&filter, false, text, why, sizeof(why)) == 0 && !filter_is_empty(&filter));
		for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
			CHECK(filter_selects(&filter, &entries[i]) == match_holds(&match, &entries[i]));
		CHECK(filter_add(&filter, true, text, why, sizeof(why)) == 0);
		for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
			CHECK(!filter_selects(&filter, &entries[i]));
	}
	free(text);
	return 0;
}
