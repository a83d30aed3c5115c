/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Selects entries by the expressions of --match and --exclude. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefix.h"
#include "xfrm/entry.h"

/* Maximum number of characters of an expression. All keys with their longest values fit. */
#define MATCH_EXPRESSION_MAX 512

/* Maximum number of expressions of each kind in a filter. */
#define MATCH_EXPRESSIONS_MAX 64

/* Maximum size of an error text of match_parse(), in bytes, for any expression. */
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
	uint32_t first, last; /* both belong to the range */
};

/* One expression. An entry must match all keys whose bit is set in `keys`. */
struct match {
	uint32_t keys; /* bits 1 << MATCH_… */
	uint8_t proto, dir, ptype;
	uint32_t if_id, spi;   /* in host byte order */
	struct xfrm_mark mark; /* m is 0 when the expression has a value without a mask */
	struct match_range reqid, priority;
	struct prefix src, dst, peer;
};

struct filter {
	struct match include[MATCH_EXPRESSIONS_MAX], exclude[MATCH_EXPRESSIONS_MAX];
	size_t n_include, n_exclude;
};

/* Parses KEY=VALUE[,KEY=VALUE...]. Also refuses an expression with a key that only SAs have and a key that only
 * policies have. No entry can match such an expression, so it would protect no entry as an --exclude. Returns 0, or
 * -EINVAL with a sentence in `why` that names the error and the accepted values. */
int match_parse(const char *expression, struct match *ret, char *why, size_t size);

/* Returns whether an entry matches all keys of an expression. */
bool match_holds(const struct match *match, const struct entry *entry);

/* Parses an expression and adds it to the includes or the excludes of a filter. Returns like match_parse(), and -EINVAL
 * when the filter is full. */
int filter_add(struct filter *filter, bool exclude, const char *expression, char *why, size_t size);

/* Returns whether a filter has no expression, and so selects all entries that xfrmctl may change. */
bool filter_is_empty(const struct filter *filter);

/* Returns whether a filter selects an entry. It selects only ESP, AH and IPComp SAs, and policies that are not
 * per-socket. The entry must match an include, unless there are none, and must not match an exclude. */
bool filter_selects(const struct filter *filter, const struct entry *entry);
