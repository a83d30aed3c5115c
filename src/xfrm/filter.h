/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which entries to take: the expressions of --match and --exclude. Pure functions over plain data. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefix.h"
#include "xfrm/entry.h"

/* An expression of more characters is refused; all keys with their longest values fit. */
#define MATCH_EXPRESSION_MAX 512

/* How many expressions of each kind a filter takes. */
#define MATCH_EXPRESSIONS_MAX 64

/* Long enough for every sentence that match_parse() writes, whatever the expression. */
#define MATCH_ERROR_MAX 512

enum match_key {
	MATCH_PROTO,
	MATCH_REQID,
	MATCH_MARK,
	MATCH_IF_ID,
	MATCH_DIR,
	MATCH_PTYPE,
	MATCH_SRC,
	MATCH_DST,
	MATCH_PEER,
	MATCH_PRIORITY,
	MATCH_SPI,
	MATCH_KEYS,
};

struct match_range {
	uint32_t first, last; /* both included */
};

/* One expression: all keys whose bit is set in `keys` must hold. */
struct match {
	uint32_t keys; /* 1 << MATCH_… */
	uint8_t proto, dir, ptype;
	uint32_t if_id, spi;   /* host byte order */
	struct xfrm_mark mark; /* m is 0 when the expression names a value alone */
	struct match_range reqid, priority;
	struct prefix src, dst, peer;
};

struct filter {
	struct match include[MATCH_EXPRESSIONS_MAX], exclude[MATCH_EXPRESSIONS_MAX];
	size_t n_include, n_exclude;
};

/* Parses KEY=VALUE[,KEY=VALUE...]. Returns 0, or -EINVAL with one sentence in `why` that says what is wrong and what is
 * accepted. An expression that no entry could ever satisfy (a key of SAs beside a key of policies) is refused too: as
 * an --exclude it would protect nothing. */
int match_parse(const char *expression, struct match *ret, char *why, size_t size);

/* Whether every key of the expression holds for the entry. */
bool match_holds(const struct match *match, const struct entry *entry);

/* Parses an expression and appends it to the filter's includes or excludes. Errors as match_parse(). */
int filter_add(struct filter *filter, bool exclude, const char *expression, char *why, size_t size);

/* Whether the filter says nothing, so that it selects every entry. */
bool filter_is_empty(const struct filter *filter);

/* Whether an entry goes: some include holds (or there is none), no exclude holds, and it is one of those xfrmctl is
 * for: an ESP, AH or IPComp SA, or a policy that is not per-socket. */
bool filter_selects(const struct filter *filter, const struct entry *entry);
