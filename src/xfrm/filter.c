/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Maximum number of characters of a key or value that an error text repeats, so that the text stays readable. */
#define SHOWN 64

static int __attribute__((format(printf, 3, 4))) refuse(char *why, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, size, format, args);
	va_end(args);
	return -EINVAL;
}

static int parse_name(const char *value, int (*lookup)(const char *), uint8_t *ret)
{
	int r = lookup(value);

	if (r < 0)
		return r;
	*ret = (uint8_t)r;
	return 0;
}

static int parse_proto(const char *value, void *ret)
{
	return parse_name(value, entry_proto_from_name, ret);
}

static int parse_dir(const char *value, void *ret)
{
	return parse_name(value, entry_dir_from_name, ret);
}

static int parse_ptype(const char *value, void *ret)
{
	return parse_name(value, entry_ptype_from_name, ret);
}

static int parse_number(const char *value, void *ret)
{
	return number_parse(value, ret);
}

static int parse_prefix(const char *value, void *ret)
{
	return prefix_parse(value, ret);
}

/* Reads one number, or two with a separator between them. Returns 1 with both, 0 with the first one alone, -EINVAL or
 * -ERANGE. */
static int parse_numbers(const char *value, char separator, uint32_t *first, uint32_t *second)
{
	char buffer[2 * SHOWN];

	if (snprintf(buffer, sizeof(buffer), "%s", value) >= (int)sizeof(buffer))
		return -EINVAL;
	char *at = strchr(buffer, separator);
	if (at)
		*at++ = '\0';
	int r = number_parse(buffer, first);
	if (r == 0 && at)
		r = number_parse(at, second);
	return r < 0 ? r : at != NULL;
}

static int parse_range(const char *value, void *userdata)
{
	struct match_range *ret = userdata;

	int r = parse_numbers(value, '-', &ret->first, &ret->last);
	if (r < 0)
		return r;
	if (r == 0)
		ret->last = ret->first;
	return ret->first <= ret->last ? 0 : -EINVAL;
}

static int parse_mark(const char *value, void *userdata)
{
	struct xfrm_mark *ret = userdata;

	int r = parse_numbers(value, '/', &ret->v, &ret->m);
	if (r <= 0)
		return r;
	/* A mask of 0 would match every entry, although it means "no mark" in `ip xfrm`. A value with bits outside the
	 * mask would match none. So both are mistakes. */
	return ret->m && (ret->v & ~ret->m) == 0 ? 0 : -EINVAL;
}

#define ACCEPTED_PREFIX \
	"an address, or a prefix with zeros behind its length, such as 192.0.2.7, 10.1.0.0/16 or 2001:db8::/32"
#define ACCEPTED_RANGE "N or N-M with N <= M, 32 bits each, decimal or 0x hex"
#define ACCEPTED_NUMBER "a 32-bit number, decimal or 0x hex"

/* The keys of expressions, in the order of enum match_key. */
static const struct key {
	const char *name;
	/* Whether SAs have the key, and whether policies have it. */
	bool of_sa, of_policy;
	int (*parse)(const char *value, void *ret);
	size_t offset;	      /* offset of the parsed value in struct match, in bytes */
	const char *accepted; /* description of valid values, for errors */
} keys[MATCH_KEYS] = {
	[MATCH_PROTO] = {"proto", true, true, parse_proto, offsetof(struct match, proto), "esp, ah or comp"},
	[MATCH_REQID] = {"reqid", true, true, parse_range, offsetof(struct match, reqid), ACCEPTED_RANGE},
	[MATCH_MARK] = {"mark", true, true, parse_mark, offsetof(struct match, mark),
			"V or V/M, 32 bits each, decimal or 0x hex, M not 0, and no bit of V outside M"},
	[MATCH_IF_ID] = {"if-id", true, true, parse_number, offsetof(struct match, if_id), ACCEPTED_NUMBER},
	[MATCH_DIR] = {"dir", false, true, parse_dir, offsetof(struct match, dir), "in, out or fwd"},
	[MATCH_PTYPE] = {"ptype", false, true, parse_ptype, offsetof(struct match, ptype), "main or sub"},
	[MATCH_SRC] = {"src", true, true, parse_prefix, offsetof(struct match, src), ACCEPTED_PREFIX},
	[MATCH_DST] = {"dst", true, true, parse_prefix, offsetof(struct match, dst), ACCEPTED_PREFIX},
	[MATCH_PEER] = {"peer", true, true, parse_prefix, offsetof(struct match, peer), ACCEPTED_PREFIX},
	[MATCH_PRIORITY] = {"priority", false, true, parse_range, offsetof(struct match, priority), ACCEPTED_RANGE},
	[MATCH_SPI] = {"spi", true, false, parse_number, offsetof(struct match, spi), ACCEPTED_NUMBER},
};

static const char *key_names(char *buffer, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < MATCH_KEYS && used < size; i++)
		used += (size_t)snprintf(buffer + used, size - used, "%s%s", i ? ", " : "", keys[i].name);
	return buffer;
}

static int parse_term(char *term, struct match *match, char *why, size_t size)
{
	char names[128];

	char *value = strchr(term, '=');
	if (!value)
		return refuse(why, size, "'%.*s' is not KEY=VALUE. Use one of the keys %s", SHOWN, term,
			      key_names(names, sizeof(names)));
	*value++ = '\0';

	size_t i = 0;
	while (i < MATCH_KEYS && strcmp(keys[i].name, term) != 0)
		i++;
	if (i == MATCH_KEYS)
		return refuse(why, size, "unknown key '%.*s'. Use one of the keys %s", SHOWN, term,
			      key_names(names, sizeof(names)));
	if (match->keys & (1U << i))
		return refuse(why, size, "'%s' occurs twice in one expression. Use an expression for each value",
			      keys[i].name);
	if (keys[i].parse(value, (char *)match + keys[i].offset) < 0)
		return refuse(why, size, "'%.*s' is not a value of '%s'. Use %s", SHOWN, value, keys[i].name,
			      keys[i].accepted);
	match->keys |= 1U << i;
	return 0;
}

int match_parse(const char *expression, struct match *ret, char *why, size_t size)
{
	char buffer[MATCH_EXPRESSION_MAX + 1];
	struct match match = {0};
	char *next = buffer, *term;

	if (strlen(expression) > MATCH_EXPRESSION_MAX)
		return refuse(why, size, "the expression has more than %d characters: '%.*s…'", MATCH_EXPRESSION_MAX,
			      SHOWN, expression);
	snprintf(buffer, sizeof(buffer), "%s", expression);

	while ((term = strsep(&next, ","))) {
		int r = parse_term(term, &match, why, size);
		if (r < 0)
			return r;
	}

	const char *of_sa = NULL, *of_policy = NULL;
	for (size_t i = 0; i < MATCH_KEYS; i++) {
		if (!(match.keys & (1U << i)))
			continue;
		if (!keys[i].of_policy)
			of_sa = keys[i].name;
		if (!keys[i].of_sa)
			of_policy = keys[i].name;
	}
	if (of_sa && of_policy)
		return refuse(why, size,
			      "no entry has both '%s' (of SAs) and '%s' (of policies). Use an expression for each",
			      of_sa, of_policy);

	*ret = match;
	return 0;
}

static bool range_contains(const struct match_range *range, uint32_t value)
{
	return range->first <= value && value <= range->last;
}

static bool mark_holds(const struct match *match, const struct xfrm_mark *mark)
{
	if (!match->mark.m)
		return mark->v == match->mark.v;
	/* V/M matches a mark if each packet that fits the mark has the value V under the mask M. A prefix contains
	 * smaller networks in the same way. */
	return (mark->m & match->mark.m) == match->mark.m && (mark->v & match->mark.m) == match->mark.v;
}

static bool proto_holds(const struct match *match, const struct entry *entry)
{
	if (entry->kind == ENTRY_SA)
		return entry->sa.id.proto == match->proto;
	for (size_t i = 0; i < entry->policy.n_templates; i++)
		if (entry->policy.templates[i].id.proto == match->proto)
			return true;
	return false;
}

static bool reqid_holds(const struct match *match, const struct entry *entry)
{
	if (entry->kind == ENTRY_SA)
		return range_contains(&match->reqid, entry->sa.reqid);
	for (size_t i = 0; i < entry->policy.n_templates; i++)
		if (range_contains(&match->reqid, entry->policy.templates[i].reqid))
			return true;
	return false;
}

static bool contains(const struct prefix *prefix, sa_family_t family, const xfrm_address_t *address, uint8_t length)
{
	const struct prefix inner = {.family = family, .length = length, .address = *address};

	return prefix_contains(prefix, &inner);
}

static bool endpoints_hold(const struct prefix *prefix, sa_family_t family, const xfrm_address_t *saddr,
			   uint8_t length_s, const xfrm_address_t *daddr, uint8_t length_d)
{
	return contains(prefix, family, saddr, length_s) || contains(prefix, family, daddr, length_d);
}

static bool peer_holds(const struct prefix *prefix, const struct entry *entry)
{
	const struct xfrm_selector *sel = entry_selector(entry);
	const uint8_t host = prefix_max_length(prefix->family);

	if (entry->kind == ENTRY_SA)
		return endpoints_hold(prefix, entry->sa.family, &entry->sa.saddr, host, &entry->sa.id.daddr, host);

	bool tunnel = false;
	for (size_t i = 0; i < entry->policy.n_templates; i++) {
		const struct xfrm_user_tmpl *tmpl = &entry->policy.templates[i];
		if (tmpl->mode == XFRM_MODE_TRANSPORT)
			continue;
		tunnel = true;
		if (endpoints_hold(prefix, tmpl->family, &tmpl->saddr, host, &tmpl->id.daddr, host))
			return true;
	}
	if (tunnel || entry->policy.n_templates == 0)
		return false;

	/* A template in transport mode has no addresses: the kernel uses those of the packet (xfrm_tmpl_resolve_one()
	 * in net/xfrm/xfrm_policy.c). So compare the addresses that the selector allows. */
	return endpoints_hold(prefix, sel->family, &sel->saddr, sel->prefixlen_s, &sel->daddr, sel->prefixlen_d);
}

static bool key_holds(enum match_key key, const struct match *match, const struct entry *entry)
{
	const struct xfrm_selector *sel = entry_selector(entry);

	switch (key) {
	case MATCH_PROTO:
		return proto_holds(match, entry);
	case MATCH_REQID:
		return reqid_holds(match, entry);
	case MATCH_MARK:
		return mark_holds(match, &entry->mark);
	case MATCH_IF_ID:
		return entry->if_id == match->if_id;
	case MATCH_DIR:
		return entry->policy.info.dir == match->dir;
	case MATCH_PTYPE:
		return entry->policy.ptype == match->ptype;
	case MATCH_SRC:
		return contains(&match->src, sel->family, &sel->saddr, sel->prefixlen_s);
	case MATCH_DST:
		return contains(&match->dst, sel->family, &sel->daddr, sel->prefixlen_d);
	case MATCH_PEER:
		return peer_holds(&match->peer, entry);
	case MATCH_PRIORITY:
		return range_contains(&match->priority, entry->policy.info.priority);
	case MATCH_SPI:
		return ntohl(entry->sa.id.spi) == match->spi;
	case MATCH_KEYS:
		break;
	}
	return false;
}

bool match_holds(const struct match *match, const struct entry *entry)
{
	for (size_t i = 0; i < MATCH_KEYS; i++) {
		if (!(match->keys & (1U << i)))
			continue;
		if (!(entry->kind == ENTRY_SA ? keys[i].of_sa : keys[i].of_policy))
			return false;
		if (!key_holds((enum match_key)i, match, entry))
			return false;
	}
	return true;
}

int filter_add(struct filter *filter, bool exclude, const char *expression, char *why, size_t size)
{
	struct match *list = exclude ? filter->exclude : filter->include;
	size_t *n = exclude ? &filter->n_exclude : &filter->n_include;

	if (*n == MATCH_EXPRESSIONS_MAX)
		return refuse(why, size, "there are more than %d expressions", MATCH_EXPRESSIONS_MAX);
	int r = match_parse(expression, &list[*n], why, size);
	if (r < 0)
		return r;
	(*n)++;
	return 0;
}

bool filter_is_empty(const struct filter *filter)
{
	return filter->n_include == 0 && filter->n_exclude == 0;
}

static bool any_holds(const struct match *list, size_t n, const struct entry *entry)
{
	for (size_t i = 0; i < n; i++)
		if (match_holds(&list[i], entry))
			return true;
	return false;
}

bool filter_selects(const struct filter *filter, const struct entry *entry)
{
	if (entry->kind == ENTRY_SA ? !entry_proto_name(entry->sa.id.proto) : entry_is_per_socket(entry))
		return false;
	if (any_holds(filter->exclude, filter->n_exclude, entry))
		return false;
	return filter->n_include == 0 || any_holds(filter->include, filter->n_include, entry);
}
