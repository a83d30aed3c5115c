/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "xfrm/filter.h"

#define KEY(key) (1U << MATCH_##key)

/* Parsing: expressions that are accepted. */

static const struct accepted_row {
	const char *name; /* the expression */
	struct match match;
} accepted_rows[] = {
	{"proto=esp", {.keys = KEY(PROTO), .proto = IPPROTO_ESP}},
	{"proto=ah", {.keys = KEY(PROTO), .proto = IPPROTO_AH}},
	{"proto=comp", {.keys = KEY(PROTO), .proto = IPPROTO_COMP}},
	{"dir=in", {.keys = KEY(DIR), .dir = XFRM_POLICY_IN}},
	{"dir=out", {.keys = KEY(DIR), .dir = XFRM_POLICY_OUT}},
	{"dir=fwd", {.keys = KEY(DIR), .dir = XFRM_POLICY_FWD}},
	{"ptype=main", {.keys = KEY(PTYPE), .ptype = XFRM_POLICY_TYPE_MAIN}},
	{"ptype=sub", {.keys = KEY(PTYPE), .ptype = XFRM_POLICY_TYPE_SUB}},

	{"reqid=7", {.keys = KEY(REQID), .reqid = {7, 7}}},
	{"reqid=0", {.keys = KEY(REQID)}},
	{"reqid=4294967295", {.keys = KEY(REQID), .reqid = {UINT32_MAX, UINT32_MAX}}},
	{"reqid=0xffffffff", {.keys = KEY(REQID), .reqid = {UINT32_MAX, UINT32_MAX}}},
	{"reqid=7-9", {.keys = KEY(REQID), .reqid = {7, 9}}},
	{"reqid=7-7", {.keys = KEY(REQID), .reqid = {7, 7}}},
	{"reqid=0-4294967295", {.keys = KEY(REQID), .reqid = {0, UINT32_MAX}}},
	{"reqid=0x10-0X1f", {.keys = KEY(REQID), .reqid = {0x10, 0x1f}}},
	{"reqid=9-0x10", {.keys = KEY(REQID), .reqid = {9, 16}}},
	{"priority=371327", {.keys = KEY(PRIORITY), .priority = {371327, 371327}}},
	{"priority=0-0x7fffffff", {.keys = KEY(PRIORITY), .priority = {0, 0x7fffffff}}},

	{"spi=0", {.keys = KEY(SPI)}},
	{"spi=0xc1234567", {.keys = KEY(SPI), .spi = 0xc1234567}},
	{"spi=0xC1ABCDEF", {.keys = KEY(SPI), .spi = 0xc1abcdef}},
	{"spi=0XcDeF", {.keys = KEY(SPI), .spi = 0xcdef}},
	{"spi=1234567890", {.keys = KEY(SPI), .spi = 1234567890}},
	{"spi=0xfedcba98", {.keys = KEY(SPI), .spi = 0xfedcba98}},
	{"if-id=42", {.keys = KEY(IF_ID), .if_id = 42}},
	{"if-id=0", {.keys = KEY(IF_ID)}},
	{"if-id=00", {.keys = KEY(IF_ID)}},
	{"if-id=0x0", {.keys = KEY(IF_ID)}},
	{"if-id=010", {.keys = KEY(IF_ID), .if_id = 10}},
	{"if-id=089", {.keys = KEY(IF_ID), .if_id = 89}},
	{"if-id=0x010", {.keys = KEY(IF_ID), .if_id = 16}},
	{"if-id=00000000004294967295", {.keys = KEY(IF_ID), .if_id = UINT32_MAX}},
	{"if-id=0x00000000ffffffff", {.keys = KEY(IF_ID), .if_id = UINT32_MAX}},

	{"mark=0", {.keys = KEY(MARK)}},
	{"mark=5", {.keys = KEY(MARK), .mark = {5, 0}}},
	{"mark=4294967295", {.keys = KEY(MARK), .mark = {UINT32_MAX, 0}}},
	{"mark=5/255", {.keys = KEY(MARK), .mark = {5, 255}}},
	{"mark=0x500/0xFF00", {.keys = KEY(MARK), .mark = {0x500, 0xff00}}},
	{"mark=0/1", {.keys = KEY(MARK), .mark = {0, 1}}},
	{"mark=255/255", {.keys = KEY(MARK), .mark = {255, 255}}},
	{"mark=0xffffffff/0xffffffff", {.keys = KEY(MARK), .mark = {UINT32_MAX, UINT32_MAX}}},

	{"src=0.0.0.0/0", {.keys = KEY(SRC), .src = {AF_INET, 0, {0}}}},
	{"src=10.0.0.0/8", {.keys = KEY(SRC), .src = {AF_INET, 8, {.in6.s6_addr = {10}}}}},
	{"src=10.1.0.0/16", {.keys = KEY(SRC), .src = {AF_INET, 16, {.in6.s6_addr = {10, 1}}}}},
	{"src=128.0.0.0/1", {.keys = KEY(SRC), .src = {AF_INET, 1, {.in6.s6_addr = {128}}}}},
	{"src=10.128.0.0/9", {.keys = KEY(SRC), .src = {AF_INET, 9, {.in6.s6_addr = {10, 128}}}}},
	{"src=172.16.0.0/12", {.keys = KEY(SRC), .src = {AF_INET, 12, {.in6.s6_addr = {172, 16}}}}},
	{"src=192.0.2.4/30", {.keys = KEY(SRC), .src = {AF_INET, 30, {.in6.s6_addr = {192, 0, 2, 4}}}}},
	{"src=192.0.2.6/31", {.keys = KEY(SRC), .src = {AF_INET, 31, {.in6.s6_addr = {192, 0, 2, 6}}}}},
	{"src=192.0.2.7/32", {.keys = KEY(SRC), .src = {AF_INET, 32, {.in6.s6_addr = {192, 0, 2, 7}}}}},
	{"src=192.0.2.7", {.keys = KEY(SRC), .src = {AF_INET, 32, {.in6.s6_addr = {192, 0, 2, 7}}}}},
	{"src=255.255.255.255", {.keys = KEY(SRC), .src = {AF_INET, 32, {.in6.s6_addr = {255, 255, 255, 255}}}}},
	{"dst=10.1.0.0/16", {.keys = KEY(DST), .dst = {AF_INET, 16, {.in6.s6_addr = {10, 1}}}}},
	{"dst=::/0", {.keys = KEY(DST), .dst = {AF_INET6, 0, {0}}}},
	{"dst=2001:db8::/32", {.keys = KEY(DST), .dst = {AF_INET6, 32, {.in6.s6_addr = {0x20, 0x01, 0x0d, 0xb8}}}}},
	{"dst=2001:DB8::/33", {.keys = KEY(DST), .dst = {AF_INET6, 33, {.in6.s6_addr = {0x20, 0x01, 0x0d, 0xb8}}}}},
	{"dst=fe80::/10", {.keys = KEY(DST), .dst = {AF_INET6, 10, {.in6.s6_addr = {0xfe, 0x80}}}}},
	{"dst=2001:db8::fe/127",
	 {.keys = KEY(DST), .dst = {AF_INET6, 127, {.in6.s6_addr = {0x20, 0x01, 0x0d, 0xb8, [15] = 0xfe}}}}},
	{"dst=2001:db8::ff/128",
	 {.keys = KEY(DST), .dst = {AF_INET6, 128, {.in6.s6_addr = {0x20, 0x01, 0x0d, 0xb8, [15] = 0xff}}}}},
	{"dst=2001:db8::ff",
	 {.keys = KEY(DST), .dst = {AF_INET6, 128, {.in6.s6_addr = {0x20, 0x01, 0x0d, 0xb8, [15] = 0xff}}}}},
	{"dst=::ffff:192.0.2.7",
	 {.keys = KEY(DST), .dst = {AF_INET6, 128, {.in6.s6_addr = {[10] = 0xff, 0xff, 192, 0, 2, 7}}}}},
	{"peer=192.0.2.7", {.keys = KEY(PEER), .peer = {AF_INET, 32, {.in6.s6_addr = {192, 0, 2, 7}}}}},
	{"peer=2001:db8::/32", {.keys = KEY(PEER), .peer = {AF_INET6, 32, {.in6.s6_addr = {0x20, 0x01, 0x0d, 0xb8}}}}},

	{"src=10.1.0.0/16,dst=10.2.0.0/16",
	 {.keys = KEY(SRC) | KEY(DST),
	  .src = {AF_INET, 16, {.in6.s6_addr = {10, 1}}},
	  .dst = {AF_INET, 16, {.in6.s6_addr = {10, 2}}}}},
	{"spi=1,proto=ah", {.keys = KEY(SPI) | KEY(PROTO), .spi = 1, .proto = IPPROTO_AH}},
	{"if-id=1,mark=2/3,reqid=4,peer=192.0.2.7,src=0.0.0.0/0,dst=::/0,proto=esp,spi=6",
	 {.keys = KEY(IF_ID) | KEY(MARK) | KEY(REQID) | KEY(PEER) | KEY(SRC) | KEY(DST) | KEY(PROTO) | KEY(SPI),
	  .if_id = 1,
	  .mark = {2, 3},
	  .reqid = {4, 4},
	  .peer = {AF_INET, 32, {.in6.s6_addr = {192, 0, 2, 7}}},
	  .src = {AF_INET, 0, {0}},
	  .dst = {AF_INET6, 0, {0}},
	  .proto = IPPROTO_ESP,
	  .spi = 6}},
	/* the longest values that are useful */
	{"proto=comp,reqid=0xfffffffe-0xffffffff,mark=0xffffffff/0xffffffff,if-id=0xffffffff,dir=out,ptype=main,"
	 "src=1111:2222:3333:4444:5555:6666:255.255.255.254/127,dst=1111:2222:3333:4444:5555:6666:255.255.255.255/128,"
	 "peer=1111:2222:3333:4444:5555:6666:255.255.255.254/127,priority=4294967294-4294967295",
	 {.keys = ((1U << MATCH_KEYS) - 1) & ~KEY(SPI),
	  .proto = IPPROTO_COMP,
	  .reqid = {UINT32_MAX - 1, UINT32_MAX},
	  .mark = {UINT32_MAX, UINT32_MAX},
	  .if_id = UINT32_MAX,
	  .dir = XFRM_POLICY_OUT,
	  .ptype = XFRM_POLICY_TYPE_MAIN,
	  .src = {AF_INET6,
		  127,
		  {.in6.s6_addr = {17, 17, 34, 34, 51, 51, 68, 68, 85, 85, 102, 102, 255, 255, 255, 254}}},
	  .dst = {AF_INET6,
		  128,
		  {.in6.s6_addr = {17, 17, 34, 34, 51, 51, 68, 68, 85, 85, 102, 102, 255, 255, 255, 255}}},
	  .peer = {AF_INET6,
		   127,
		   {.in6.s6_addr = {17, 17, 34, 34, 51, 51, 68, 68, 85, 85, 102, 102, 255, 255, 255, 254}}},
	  .priority = {UINT32_MAX - 1, UINT32_MAX}}},
};

static void check_range(const struct match_range *range, const struct match_range *expected)
{
	assert_int_equal(range->first, expected->first);
	assert_int_equal(range->last, expected->last);
}

static void check_prefix(const struct prefix *prefix, const struct prefix *expected)
{
	assert_int_equal(prefix->family, expected->family);
	assert_int_equal(prefix->length, expected->length);
	assert_memory_equal(&prefix->address, &expected->address, sizeof(prefix->address));
}

static void check_match(const struct match *match, const struct match *expected)
{
	assert_int_equal(match->keys, expected->keys);
	assert_int_equal(match->proto, expected->proto);
	assert_int_equal(match->dir, expected->dir);
	assert_int_equal(match->ptype, expected->ptype);
	assert_int_equal(match->if_id, expected->if_id);
	assert_int_equal(match->spi, expected->spi);
	assert_int_equal(match->mark.v, expected->mark.v);
	assert_int_equal(match->mark.m, expected->mark.m);
	check_range(&match->reqid, &expected->reqid);
	check_range(&match->priority, &expected->priority);
	check_prefix(&match->src, &expected->src);
	check_prefix(&match->dst, &expected->dst);
	check_prefix(&match->peer, &expected->peer);
}

static struct match parse(const char *expression)
{
	struct match match;
	char why[MATCH_ERROR_MAX];

	/* Old contents must not remain. */
	memset(&match, 0xa5, sizeof(match));
	if (match_parse(expression, &match, why, sizeof(why)) != 0)
		fail_msg("'%s' is refused: %s", expression, why);
	return match;
}

static void accepts(void **state)
{
	const struct accepted_row *row = *state;
	const struct match match = parse(row->name);

	check_match(&match, &row->match);
}

/* Parsing: expressions that are refused, and the error texts. */

#define NOT_A_TERM "is not KEY=VALUE"
#define ALL_KEYS ". Use one of the keys proto, reqid, mark, if-id, dir, ptype, src, dst, peer, priority, spi"
#define TAKES_PROTO ". Use esp, ah or comp"
#define TAKES_DIR ". Use in, out or fwd"
#define TAKES_PTYPE ". Use main or sub"
#define TAKES_NUMBER ". Use a 32-bit number, decimal or 0x hex"
#define TAKES_RANGE ". Use N or N-M with N <= M, 32 bits each, decimal or 0x hex"
#define TAKES_MARK ". Use V or V/M, 32 bits each, decimal or 0x hex, M not 0, and no bit of V outside M"
#define TAKES_PREFIX \
	". Use an address, or a prefix with zeros behind its length, such as 192.0.2.7, 10.1.0.0/16 or " \
	"2001:db8::/32"

/* Expressions that are no list of KEY=VALUE, or whose terms exclude each other. */
static const struct refused_row {
	const char *name;
	const char *expression;
	const char *object; /* the part of the error text that names the mistake */
	const char *accepted;
} refused_rows[] = {
	{"empty expression", "", "'' " NOT_A_TERM, ALL_KEYS},
	{"comma alone", ",", "'' " NOT_A_TERM, ALL_KEYS},
	{"trailing comma", "reqid=7,", "'' " NOT_A_TERM, ALL_KEYS},
	{"leading comma", ",reqid=7", "'' " NOT_A_TERM, ALL_KEYS},
	{"empty term", "reqid=7,,proto=esp", "'' " NOT_A_TERM, ALL_KEYS},
	{"no value", "reqid", "'reqid' " NOT_A_TERM, ALL_KEYS},
	{"no value behind a good term", "proto=esp,reqid", "'reqid' " NOT_A_TERM, ALL_KEYS},
	{"no value before a good term", "reqid,proto=esp", "'reqid' " NOT_A_TERM, ALL_KEYS},
	{"space for a comma", "proto esp", "'proto esp' " NOT_A_TERM, ALL_KEYS},
	{"unknown key", "colour=red", "unknown key 'colour'", ALL_KEYS},
	{"unknown key behind a good term", "reqid=7,colour=red", "unknown key 'colour'", ALL_KEYS},
	{"no key", "=7", "unknown key ''", ALL_KEYS},
	{"key in capitals", "REQID=7", "unknown key 'REQID'", ALL_KEYS},
	{"key of a sentence", "if_id=7", "unknown key 'if_id'", ALL_KEYS},
	{"beginning of a key", "req=7", "unknown key 'req'", ALL_KEYS},
	{"key and more", "reqids=7", "unknown key 'reqids'", ALL_KEYS},
	{"space before a key", " reqid=7", "unknown key ' reqid'", ALL_KEYS},
	{"space behind a comma", "proto=esp, reqid=7", "unknown key ' reqid'", ALL_KEYS},
	{"space behind a key", "reqid =7", "unknown key 'reqid '", ALL_KEYS},
	{"key twice", "reqid=7,reqid=8", "'reqid' occurs twice", "an expression for each"},
	{"key twice, the same value", "proto=esp,reqid=7,proto=esp", "'proto' occurs twice", "an expression for each"},
	{"last key twice", "spi=1,spi=1", "'spi' occurs twice", "an expression for each"},
	{"spi with dir", "spi=1,dir=in", "both 'spi' (of SAs) and 'dir' (of policies)", "an expression for each"},
	{"spi with ptype", "ptype=sub,spi=1", "both 'spi' (of SAs) and 'ptype' (of policies)",
	 "an expression for each"},
	{"spi with priority", "spi=1,priority=1", "both 'spi' (of SAs) and 'priority' (of policies)",
	 "an expression for each"},
	{"spi with dir between others", "proto=esp,dir=out,reqid=7,spi=1,if-id=1", "both 'spi' (of SAs) and 'dir'",
	 "an expression for each"},
};

static const struct value_row {
	const char *name;
	const char *key, *value;
	const char *accepted;
} value_rows[] = {
	{"proto: empty", "proto", "", TAKES_PROTO},
	{"proto: unknown", "proto", "ipip", TAKES_PROTO},
	{"proto: number", "proto", "50", TAKES_PROTO},
	{"proto: capitals", "proto", "ESP", TAKES_PROTO},
	{"proto: space", "proto", "esp ", TAKES_PROTO},
	{"dir: empty", "dir", "", TAKES_DIR},
	{"dir: unknown", "dir", "forward", TAKES_DIR},
	{"dir: number", "dir", "0", TAKES_DIR},
	{"ptype: empty", "ptype", "", TAKES_PTYPE},
	{"ptype: unknown", "ptype", "any", TAKES_PTYPE},

	{"number: empty", "spi", "", TAKES_NUMBER},
	{"number: 0x alone", "spi", "0x", TAKES_NUMBER},
	{"number: 0X alone", "spi", "0X", TAKES_NUMBER},
	{"number: 2^32", "spi", "4294967296", TAKES_NUMBER},
	{"number: 2^32 in hex", "spi", "0x100000000", TAKES_NUMBER},
	{"number: 2^64", "if-id", "18446744073709551616", TAKES_NUMBER},
	{"number: 2^64 + 1 in hex", "if-id", "0x10000000000000001", TAKES_NUMBER},
	{"number: plus", "if-id", "+1", TAKES_NUMBER},
	{"number: minus", "if-id", "-1", TAKES_NUMBER},
	{"number: minus in hex", "if-id", "0x-1", TAKES_NUMBER},
	{"number: space before", "if-id", " 1", TAKES_NUMBER},
	{"number: space behind", "if-id", "1 ", TAKES_NUMBER},
	{"number: tab before", "if-id", "\t1", TAKES_NUMBER},
	{"number: newline behind", "if-id", "1\n", TAKES_NUMBER},
	{"number: hex digit in decimal", "if-id", "1a", TAKES_NUMBER},
	{"number: capital hex digit in decimal", "if-id", "1A", TAKES_NUMBER},
	{"number: g in hex", "if-id", "0xg", TAKES_NUMBER},
	{"number: G in hex", "if-id", "0xG", TAKES_NUMBER},
	{"number: 0x in the middle", "if-id", "10x1", TAKES_NUMBER},
	{"number: h behind", "if-id", "1h", TAKES_NUMBER},
	{"number: fraction", "if-id", "1.5", TAKES_NUMBER},
	{"number: second =", "if-id", "=1", TAKES_NUMBER},
	{"number: range for a number", "if-id", "1-2", TAKES_NUMBER},
	{"number: range for an SPI", "spi", "1-2", TAKES_NUMBER},

	{"range: empty", "reqid", "", TAKES_RANGE},
	{"range: reversed", "reqid", "9-7", TAKES_RANGE},
	{"range: reversed by one", "priority", "8-7", TAKES_RANGE},
	{"range: hyphen alone", "reqid", "-", TAKES_RANGE},
	{"range: no first", "reqid", "-7", TAKES_RANGE},
	{"range: no last", "reqid", "7-", TAKES_RANGE},
	{"range: three numbers", "reqid", "1-2-3", TAKES_RANGE},
	{"range: two hyphens", "reqid", "1--2", TAKES_RANGE},
	{"range: spaces", "reqid", "1 - 2", TAKES_RANGE},
	{"range: first too large", "priority", "4294967296-4294967297", TAKES_RANGE},
	{"range: last too large", "priority", "0-4294967296", TAKES_RANGE},
	{"range: last 0x alone", "priority", "0-0x", TAKES_RANGE},
	{"range: mask", "reqid", "1/2", TAKES_RANGE},

	{"mark: empty", "mark", "", TAKES_MARK},
	{"mark: mask 0", "mark", "0/0", TAKES_MARK},
	{"mark: value and mask 0", "mark", "5/0", TAKES_MARK},
	{"mark: bits outside of the mask", "mark", "0x105/0xff", TAKES_MARK},
	{"mark: highest bit outside of the mask", "mark", "0x80000000/0x7fffffff", TAKES_MARK},
	{"mark: all bits outside of the mask", "mark", "0x100/0xff", TAKES_MARK},
	{"mark: slash alone", "mark", "/", TAKES_MARK},
	{"mark: no value", "mark", "/0xff", TAKES_MARK},
	{"mark: no mask", "mark", "5/", TAKES_MARK},
	{"mark: two masks", "mark", "5/255/255", TAKES_MARK},
	{"mark: value too large", "mark", "4294967296", TAKES_MARK},
	{"mark: mask too large", "mark", "5/4294967296", TAKES_MARK},
	{"mark: signed mask", "mark", "5/-1", TAKES_MARK},
	{"mark: inverted mask", "mark", "5/~0xff", TAKES_MARK},

	{"prefix: empty", "src", "", TAKES_PREFIX},
	{"prefix: slash alone", "src", "/", TAKES_PREFIX},
	{"prefix: no address", "src", "/8", TAKES_PREFIX},
	{"prefix: no length", "dst", "10.0.0.0/", TAKES_PREFIX},
	{"prefix: two lengths", "dst", "10.0.0.0/8/8", TAKES_PREFIX},
	{"prefix: length 33 of IPv4", "dst", "10.0.0.0/33", TAKES_PREFIX},
	{"prefix: length 129 of IPv6", "dst", "2001:db8::/129", TAKES_PREFIX},
	{"prefix: length 2^32", "dst", "0.0.0.0/4294967296", TAKES_PREFIX},
	{"prefix: length 256 + 8", "dst", "10.0.0.0/264", TAKES_PREFIX},
	{"prefix: signed length", "dst", "10.0.0.0/+8", TAKES_PREFIX},
	{"prefix: netmask", "dst", "10.0.0.0/255.0.0.0", TAKES_PREFIX},
	{"prefix: host bits", "peer", "10.1.2.3/16", TAKES_PREFIX},
	{"prefix: lowest host bit", "peer", "10.1.0.1/16", TAKES_PREFIX},
	{"prefix: highest host bit", "peer", "10.1.128.0/16", TAKES_PREFIX},
	{"prefix: host bit of /31", "peer", "192.0.2.7/31", TAKES_PREFIX},
	{"prefix: host bit of /12", "peer", "172.24.0.0/12", TAKES_PREFIX},
	{"prefix: host bit of /0", "peer", "0.0.0.1/0", TAKES_PREFIX},
	{"prefix: highest host bit of /0", "peer", "128.0.0.0/0", TAKES_PREFIX},
	{"prefix: host bit of IPv6", "peer", "2001:db8::1/64", TAKES_PREFIX},
	{"prefix: host bit of IPv6 /33", "peer", "2001:db8:4000::/33", TAKES_PREFIX},
	{"prefix: host bit of IPv6 /127", "peer", "2001:db8::1/127", TAKES_PREFIX},
	{"prefix: address of three numbers", "src", "10.1.2/24", TAKES_PREFIX},
	{"prefix: number above 255", "src", "10.1.2.256", TAKES_PREFIX},
	{"prefix: octal-looking address", "src", "010.1.2.3", TAKES_PREFIX},
	{"prefix: space before", "src", " 10.1.2.3", TAKES_PREFIX},
	{"prefix: space before the length", "src", "10.1.0.0/ 16", TAKES_PREFIX},
	{"prefix: name", "src", "gateway.example", TAKES_PREFIX},
	{"prefix: two ::", "src", "2001::db8::1", TAKES_PREFIX},
	{"prefix: address with a scope", "src", "fe80::1%eth0", TAKES_PREFIX},
	{"prefix: range", "src", "10.1.0.0-10.1.0.9", TAKES_PREFIX},
	{"prefix: any", "src", "any", TAKES_PREFIX},
};

static void write_refusal(char *buffer, size_t size, const void *what)
{
	struct match match, before;

	memset(&before, 0x5a, sizeof(before));
	match = before;
	assert_int_equal(match_parse(what, &match, buffer, size), -EINVAL);
	assert_memory_equal(&match, &before, sizeof(match));
}

static void check_refusal(const char *expression, const char *object, const char *accepted)
{
	char why[MATCH_ERROR_MAX];

	write_refusal(why, sizeof(why), expression);
	check_contains(why, object);
	check_contains(why, accepted);
	check_text_fits(write_refusal, expression, MATCH_ERROR_MAX);
	/* The caller may pass no buffer. */
	write_refusal(NULL, 0, expression);
}

static void refuses(void **state)
{
	const struct refused_row *row = *state;

	check_refusal(row->expression, row->object, row->accepted);
}

static void refuses_value(void **state)
{
	const struct value_row *row = *state;
	char expression[64], object[96];

	snprintf(expression, sizeof(expression), "%s=%s", row->key, row->value);
	snprintf(object, sizeof(object), "'%s' is not a value of '%s'", row->value, row->key);
	check_refusal(expression, object, row->accepted);
}

/* Returns an expression of `length` characters: a beginning, a repeated character, and an end. The caller frees it. */
static char *make_long(const char *beginning, char filling, const char *end, size_t length)
{
	char *expression = malloc(length + 1);

	assert_non_null(expression);
	assert_true(strlen(beginning) + strlen(end) <= length);
	memset(expression, filling, length);
	memcpy(expression, beginning, strlen(beginning));
	memcpy(expression + length - strlen(end), end, strlen(end));
	expression[length] = '\0';
	return expression;
}

#define LONGEST MATCH_EXPRESSION_MAX

static const struct long_row {
	const char *name;
	const char *beginning;
	char filling;
	const char *end;
	size_t length;
	const char *object, *accepted;
} long_rows[] = {
	{"long: one character too many", "if-id=", '0', "7", LONGEST + 1, "more than 512 characters", "'if-id=000"},
	{"long: a megabyte", "if-id=", '0', "7", 1 << 20, "more than 512 characters", "'if-id=000"},
	{"long: a megabyte of commas", "", ',', "", 1 << 20, "more than 512 characters", "',,,"},
	{"long: commas", "", ',', "", LONGEST, "'' " NOT_A_TERM, ALL_KEYS},
	{"long: no =", "", 'x', "", LONGEST, "xxxxxxxxxxxxxxxx' " NOT_A_TERM, ALL_KEYS},
	{"long: no key", "", '=', "", LONGEST, "unknown key ''", ALL_KEYS},
	{"long: unknown key", "", 'x', "=7", LONGEST, "unknown key 'xxxxxxxxxxxxxxxx", ALL_KEYS},
	{"long: proto", "proto=", 'x', "", LONGEST, "xxx' is not a value of 'proto'", TAKES_PROTO},
	{"long: dir", "dir=", 'x', "", LONGEST, "xxx' is not a value of 'dir'", TAKES_DIR},
	{"long: ptype", "ptype=", 'x', "", LONGEST, "xxx' is not a value of 'ptype'", TAKES_PTYPE},
	{"long: reqid", "reqid=", '9', "", LONGEST, "999' is not a value of 'reqid'", TAKES_RANGE},
	{"long: reqid of hyphens", "reqid=", '-', "", LONGEST, "---' is not a value of 'reqid'", TAKES_RANGE},
	{"long: last of a range", "reqid=1-", '9', "", LONGEST, "999' is not a value of 'reqid'", TAKES_RANGE},
	{"long: priority", "priority=", '9', "", LONGEST, "999' is not a value of 'priority'", TAKES_RANGE},
	{"long: mark", "mark=", '/', "", LONGEST, "///' is not a value of 'mark'", TAKES_MARK},
	{"long: mask", "mark=1/", 'f', "", LONGEST, "fff' is not a value of 'mark'", TAKES_MARK},
	{"long: if-id", "if-id=", '9', "", LONGEST, "999' is not a value of 'if-id'", TAKES_NUMBER},
	{"long: spi", "spi=0x", 'f', "", LONGEST, "fff' is not a value of 'spi'", TAKES_NUMBER},
	{"long: src", "src=", ':', "", LONGEST, ":::' is not a value of 'src'", TAKES_PREFIX},
	{"long: dst", "dst=10.1.0.0/", '9', "", LONGEST, "999' is not a value of 'dst'", TAKES_PREFIX},
	{"long: peer", "peer=", '1', "", LONGEST, "111' is not a value of 'peer'", TAKES_PREFIX},
};

static void refuses_long(void **state)
{
	const struct long_row *row = *state;
	char *expression = make_long(row->beginning, row->filling, row->end, row->length);

	check_refusal(expression, row->object, row->accepted);
	free(expression);
}

static void accepts_the_longest(void **state)
{
	char *expression = make_long("if-id=", '0', "7", LONGEST);

	(void)state;
	assert_int_equal(parse(expression).if_id, 7);
	free(expression);
}

/* Values with a valid beginning. With any length, the mistake at their end must be detected. */
static const struct end_row {
	const char *name;
	const char *beginning;
} end_rows[] = {
	{"end counts: reqid", "reqid="},   {"end counts: range", "reqid=0-"},
	{"end counts: mark", "mark="},	   {"end counts: mask", "mark=0/1"},
	{"end counts: if-id", "if-id="},   {"end counts: spi in hex", "spi=0x"},
	{"end counts: length", "src=::/"}, {"end counts: priority", "priority=0x"},
};

static void refuses_whatever_the_length(void **state)
{
	const struct end_row *row = *state;

	for (size_t length = strlen(row->beginning) + 2; length <= LONGEST; length++) {
		char *expression = make_long(row->beginning, '0', "x", length), why[MATCH_ERROR_MAX];
		struct match match;
		if (match_parse(expression, &match, why, sizeof(why)) != -EINVAL)
			fail_msg("'%s' is accepted", expression);
		free(expression);
	}
}

/* Matching: entries to match. */

static struct entry tunnel_sa(void)
{
	return make_sa("192.0.2.1", "192.0.2.2");
}

static struct entry transport_sa(void)
{
	struct entry entry = tunnel_sa();

	entry.sa.mode = XFRM_MODE_TRANSPORT;
	entry.sa.sel = make_selector("192.0.2.1/32", "192.0.2.2/32");
	return entry;
}

static struct entry ipv6_sa(void)
{
	return make_sa("2001:db8:f::1", "2001:db8:f::2");
}

static struct entry sa_of(uint8_t proto)
{
	struct entry entry = tunnel_sa();

	entry.sa.id.proto = proto;
	return entry;
}

static struct entry ah_sa(void)
{
	return sa_of(IPPROTO_AH);
}

static struct entry comp_sa(void)
{
	return sa_of(IPPROTO_COMP);
}

/* Returns an SA that the kernel adds for IPComp. */
static struct entry ipip_sa(void)
{
	return sa_of(IPPROTO_IPIP);
}

/* Returns an SA of Mobile IPv6. */
static struct entry routing_sa(void)
{
	return sa_of(IPPROTO_ROUTING);
}

/* Returns an SA of Mobile IPv6. */
static struct entry dstopts_sa(void)
{
	return sa_of(IPPROTO_DSTOPTS);
}

static struct entry site_to_site(const struct xfrm_user_tmpl *templates, size_t n)
{
	return make_policy("10.1.0.0/16", "10.2.0.0/16", templates, n);
}

static struct entry tunnel_policy(void)
{
	static struct xfrm_user_tmpl tmpl;

	tmpl = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, "192.0.2.1", "192.0.2.2");
	return site_to_site(&tmpl, 1);
}

static struct entry beet_policy(void)
{
	static struct xfrm_user_tmpl tmpl;

	tmpl = make_template(IPPROTO_ESP, XFRM_MODE_BEET, "192.0.2.1", "192.0.2.2");
	return site_to_site(&tmpl, 1);
}

static struct entry ipv6_in_ipv4_policy(void)
{
	static struct xfrm_user_tmpl tmpl;

	tmpl = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, "192.0.2.1", "192.0.2.2");
	return make_policy("2001:db8:1::/48", "2001:db8:2::/48", &tmpl, 1);
}

static struct entry ipv4_in_ipv6_policy(void)
{
	static struct xfrm_user_tmpl tmpl;

	tmpl = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, "2001:db8:f::1", "2001:db8:f::2");
	return site_to_site(&tmpl, 1);
}

/* Returns a policy in transport mode as charon and `ip xfrm` install it: its template has no addresses. */
static struct entry transport_of(const char *src, const char *dst, const char *none)
{
	static struct xfrm_user_tmpl tmpl;

	tmpl = make_template(IPPROTO_ESP, XFRM_MODE_TRANSPORT, none, none);
	return make_policy(src, dst, &tmpl, 1);
}

static struct entry transport_policy(void)
{
	return transport_of("192.0.2.1/32", "192.0.2.2/32", "0.0.0.0");
}

static struct entry ipv6_transport_policy(void)
{
	return transport_of("2001:db8:f::1/128", "2001:db8:f::2/128", "::");
}

static struct entry wide_transport_policy(void)
{
	return transport_of("192.0.2.0/24", "198.51.100.0/24", "0.0.0.0");
}

static struct entry source_to_many_policy(void)
{
	return transport_of("192.0.2.1/32", "198.51.100.0/24", "0.0.0.0");
}

static struct entry many_to_destination_policy(void)
{
	return transport_of("198.51.100.0/24", "192.0.2.2/32", "0.0.0.0");
}

static struct entry bundle_of(bool transport_first)
{
	static struct xfrm_user_tmpl templates[2];

	templates[transport_first] = make_template(IPPROTO_COMP, XFRM_MODE_TUNNEL, "192.0.2.1", "192.0.2.2");
	templates[!transport_first] = make_template(IPPROTO_ESP, XFRM_MODE_TRANSPORT, "0.0.0.0", "0.0.0.0");
	templates[!transport_first].reqid = 12;
	return site_to_site(templates, 2);
}

/* Returns a policy with IPComp. The first template has the end points, and the second applies to the packets of the
 * first. */
static struct entry bundle_policy(void)
{
	return bundle_of(false);
}

static struct entry reversed_bundle_policy(void)
{
	return bundle_of(true);
}

static struct entry nested_policy(void)
{
	static struct xfrm_user_tmpl templates[2];

	templates[0] = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, "192.0.2.1", "192.0.2.2");
	templates[1] = make_template(IPPROTO_AH, XFRM_MODE_TUNNEL, "198.51.100.1", "198.51.100.2");
	return site_to_site(templates, 2);
}

static struct entry shunt(void)
{
	return site_to_site(NULL, 0);
}

static struct entry sub_policy(void)
{
	struct entry entry = tunnel_policy();

	entry.policy.ptype = XFRM_POLICY_TYPE_SUB;
	return entry;
}

static struct entry in_policy(void)
{
	struct entry entry = tunnel_policy();

	entry.policy.info.dir = XFRM_POLICY_IN;
	return entry;
}

static struct entry fwd_policy(void)
{
	struct entry entry = tunnel_policy();

	entry.policy.info.dir = XFRM_POLICY_FWD;
	return entry;
}

static struct entry socket_policy(void)
{
	struct entry entry = shunt();

	entry.policy.info.index = 0x1c0 | (XFRM_POLICY_MAX + XFRM_POLICY_OUT);
	return entry;
}

/* Returns an entry without values. A key that its kind lacks must not match the zeroed bytes where the other kind has
 * it. */
static struct entry zero_sa(void)
{
	return (struct entry){.kind = ENTRY_SA};
}

static struct entry zero_policy(void)
{
	return (struct entry){.kind = ENTRY_POLICY};
}

static const struct holds_row {
	const char *name;
	const char *expression;
	struct entry (*entry)(void);
	bool holds;
} holds_rows[] = {
	{"proto: esp of an SA", "proto=esp", tunnel_sa, true},
	{"proto: ah is not esp", "proto=esp", ah_sa, false},
	{"proto: ah of an SA", "proto=ah", ah_sa, true},
	{"proto: comp of an SA", "proto=comp", comp_sa, true},
	{"proto: esp of a policy", "proto=esp", tunnel_policy, true},
	{"proto: esp policy is not ah", "proto=ah", tunnel_policy, false},
	{"proto: first of a bundle", "proto=comp", bundle_policy, true},
	{"proto: last of a bundle", "proto=esp", bundle_policy, true},
	{"proto: none of a bundle", "proto=ah", bundle_policy, false},
	{"proto: a shunt has none", "proto=esp", shunt, false},
	{"reqid: of a shunt", "reqid=0-4294967295", shunt, false},
	{"reqid: first of a bundle", "reqid=11", bundle_policy, true},
	{"reqid: last of a bundle", "reqid=12", bundle_policy, true},
	{"reqid: none of a bundle", "reqid=13", bundle_policy, false},

	{"dir: out", "dir=out", tunnel_policy, true},
	{"dir: out is not in", "dir=in", tunnel_policy, false},
	{"dir: in", "dir=in", in_policy, true},
	{"dir: in is not fwd", "dir=fwd", in_policy, false},
	{"dir: fwd", "dir=fwd", fwd_policy, true},
	{"dir: fwd is not out", "dir=out", fwd_policy, false},
	{"dir: of a socket's policy", "dir=out", socket_policy, true},
	{"ptype: main", "ptype=main", tunnel_policy, true},
	{"ptype: main is not sub", "ptype=sub", tunnel_policy, false},
	{"ptype: sub", "ptype=sub", sub_policy, true},
	{"ptype: sub is not main", "ptype=main", sub_policy, false},

	{"an SA has no dir", "dir=in", zero_sa, false},
	{"an SA has no ptype", "ptype=main", zero_sa, false},
	{"an SA has no priority", "priority=0-4294967295", zero_sa, false},
	{"a policy has no spi", "spi=0", zero_policy, false},

	{"src: is not dst", "src=10.2.0.0/16", tunnel_policy, false},
	{"dst: is not src", "dst=10.1.0.0/16", tunnel_policy, false},
	{"src: of a policy", "src=10.1.0.0/16", tunnel_policy, true},
	{"dst: of a policy", "dst=10.2.0.0/16", tunnel_policy, true},
	{"src: a template is no selector", "src=192.0.2.1", tunnel_policy, false},
	{"src: end points of an SA are no selector", "src=192.0.2.1", tunnel_sa, false},
	{"src: an SA in tunnel mode has none", "src=0.0.0.0/0", tunnel_sa, false},
	{"src: an SA of IPv6 in tunnel mode has none", "src=::/0", ipv6_sa, false},
	{"src: of an SA", "src=192.0.2.1", transport_sa, true},
	{"dst: of an SA", "dst=192.0.2.2", transport_sa, true},
	{"src: of an SA is not dst", "src=192.0.2.2", transport_sa, false},
	{"dst: of an SA is not src", "dst=192.0.2.1", transport_sa, false},
	{"src: of a shunt", "src=10.1.0.0/16", shunt, true},

	{"peer: source of an SA", "peer=192.0.2.1", tunnel_sa, true},
	{"peer: destination of an SA", "peer=192.0.2.2", tunnel_sa, true},
	{"peer: both of an SA", "peer=192.0.2.0/30", tunnel_sa, true},
	{"peer: none of an SA", "peer=192.0.2.3", tunnel_sa, false},
	{"peer: an SA of the other family", "peer=::/0", tunnel_sa, false},
	{"peer: an SA of IPv6", "peer=2001:db8:f::2", ipv6_sa, true},
	{"peer: an SA of IPv6 is not of IPv4", "peer=0.0.0.0/0", ipv6_sa, false},
	{"peer: an SA in transport mode", "peer=192.0.2.2", transport_sa, true},
	{"peer: source of a tunnel", "peer=192.0.2.1", tunnel_policy, true},
	{"peer: destination of a tunnel", "peer=192.0.2.2", tunnel_policy, true},
	{"peer: neither of a tunnel", "peer=192.0.2.3", tunnel_policy, false},
	{"peer: network of a tunnel", "peer=192.0.2.0/24", tunnel_policy, true},
	{"peer: selector of a tunnel is none", "peer=10.1.0.0/16", tunnel_policy, false},
	{"peer: destination of a BEET tunnel", "peer=192.0.2.2", beet_policy, true},
	{"peer: selector of a BEET tunnel is none", "peer=10.2.0.0/16", beet_policy, false},
	{"peer: tunnel of IPv4 for IPv6", "peer=192.0.2.2", ipv6_in_ipv4_policy, true},
	{"peer: selector of IPv6 in IPv4", "peer=2001:db8:2::/48", ipv6_in_ipv4_policy, false},
	{"peer: tunnel of IPv6 for IPv4", "peer=2001:db8:f::1", ipv4_in_ipv6_policy, true},
	{"peer: nothing of IPv4 in a tunnel of IPv6", "peer=0.0.0.0/0", ipv4_in_ipv6_policy, false},
	{"peer: source in transport mode", "peer=192.0.2.1", transport_policy, true},
	{"peer: destination in transport mode", "peer=192.0.2.2", transport_policy, true},
	{"peer: network in transport mode", "peer=192.0.2.0/24", transport_policy, true},
	{"peer: neither in transport mode", "peer=192.0.2.3", transport_policy, false},
	{"peer: the template's 0.0.0.0 in transport mode", "peer=0.0.0.0", transport_policy, false},
	{"peer: the other family in transport mode", "peer=::/0", transport_policy, false},
	{"peer: transport mode of IPv6", "peer=2001:db8:f::2", ipv6_transport_policy, true},
	{"peer: network in transport mode of IPv6", "peer=2001:db8::/32", ipv6_transport_policy, true},
	{"peer: one of many in transport mode", "peer=192.0.2.1", wide_transport_policy, false},
	{"peer: all in transport mode", "peer=192.0.2.0/24", wide_transport_policy, true},
	{"peer: all destinations in transport mode", "peer=198.51.100.0/24", wide_transport_policy, true},
	{"peer: address of a source and many", "peer=192.0.2.1", source_to_many_policy, true},
	{"peer: one of many destinations", "peer=198.51.100.1", source_to_many_policy, false},
	{"peer: address of a destination of many", "peer=192.0.2.2", many_to_destination_policy, true},
	{"peer: one of many sources", "peer=198.51.100.1", many_to_destination_policy, false},
	{"peer: source of a bundle", "peer=192.0.2.1", bundle_policy, true},
	{"peer: destination of a bundle", "peer=192.0.2.2", bundle_policy, true},
	{"peer: selector of a bundle is none", "peer=10.1.0.0/16", bundle_policy, false},
	{"peer: 0.0.0.0 of a bundle", "peer=0.0.0.0", bundle_policy, false},
	{"peer: destination of a reversed bundle", "peer=192.0.2.2", reversed_bundle_policy, true},
	{"peer: selector of a reversed bundle is none", "peer=10.2.0.0/16", reversed_bundle_policy, false},
	{"peer: first tunnel of two", "peer=192.0.2.2", nested_policy, true},
	{"peer: last tunnel of two", "peer=198.51.100.2", nested_policy, true},
	{"peer: neither tunnel of two", "peer=203.0.113.1", nested_policy, false},
	{"peer: a shunt has none", "peer=0.0.0.0/0", shunt, false},
	{"peer: selector of a shunt is none", "peer=10.1.0.0/16", shunt, false},

	{"all keys hold", "src=10.1.0.0/16,dst=10.2.0.0/16,dir=out,proto=esp,peer=192.0.2.2,mark=0,if-id=0",
	 tunnel_policy, true},
	{"all keys but the first", "src=10.3.0.0/16,dst=10.2.0.0/16,dir=out", tunnel_policy, false},
	{"all keys but one in the middle", "src=10.1.0.0/16,dst=10.3.0.0/16,dir=out", tunnel_policy, false},
	{"all keys but the last", "src=10.1.0.0/16,dst=10.2.0.0/16,priority=1", tunnel_policy, false},
	{"all keys of an SA hold", "proto=esp,reqid=11,spi=0xc1234567,peer=192.0.2.1", tunnel_sa, true},
	{"all keys of an SA but spi", "proto=esp,reqid=11,spi=0xc1234568,peer=192.0.2.1", tunnel_sa, false},
};

static void check_holds(const char *expression, const struct entry *entry, bool holds)
{
	const struct match match = parse(expression);

	if (match_holds(&match, entry) != holds)
		fail_msg("'%s' %s", expression, holds ? "does not hold" : "holds");
}

static void holds(void **state)
{
	const struct holds_row *row = *state;
	const struct entry entry = row->entry();

	check_holds(row->expression, &entry, row->holds);
}

/* Matching: numbers, which each kind of entry has in its own place. */

static struct entry sa_with(enum match_key key, uint32_t number)
{
	struct entry entry = tunnel_sa();

	if (key == MATCH_REQID)
		entry.sa.reqid = number;
	else if (key == MATCH_SPI)
		entry.sa.id.spi = htonl(number);
	else if (key == MATCH_IF_ID)
		entry.if_id = number;
	return entry;
}

static struct entry policy_with(enum match_key key, uint32_t number)
{
	static struct xfrm_user_tmpl tmpl;
	struct entry entry = tunnel_policy();

	tmpl = entry.policy.templates[0];
	entry.policy.templates = &tmpl;
	if (key == MATCH_REQID)
		tmpl.reqid = number;
	else if (key == MATCH_PRIORITY)
		entry.policy.info.priority = number;
	else if (key == MATCH_IF_ID)
		entry.if_id = number;
	return entry;
}

static const struct number_row {
	const char *name;
	const char *expression;
	enum match_key key;
	uint32_t number;
	bool of_sa, of_policy;
} number_rows[] = {
	{"reqid=7 and 7", "reqid=7", MATCH_REQID, 7, true, true},
	{"reqid=7 and 8", "reqid=7", MATCH_REQID, 8, false, false},
	{"reqid=7 and 6", "reqid=7", MATCH_REQID, 6, false, false},
	{"reqid=0 and 0", "reqid=0", MATCH_REQID, 0, true, true},
	{"reqid=7-9 and 6", "reqid=7-9", MATCH_REQID, 6, false, false},
	{"reqid=7-9 and 7", "reqid=7-9", MATCH_REQID, 7, true, true},
	{"reqid=7-9 and 8", "reqid=7-9", MATCH_REQID, 8, true, true},
	{"reqid=7-9 and 9", "reqid=7-9", MATCH_REQID, 9, true, true},
	{"reqid=7-9 and 10", "reqid=7-9", MATCH_REQID, 10, false, false},
	{"reqid=0-4294967295 and 4294967295", "reqid=0-4294967295", MATCH_REQID, UINT32_MAX, true, true},
	{"reqid=1-4294967295 and 0", "reqid=1-4294967295", MATCH_REQID, 0, false, false},
	{"reqid=0-4294967294 and 4294967295", "reqid=0-4294967294", MATCH_REQID, UINT32_MAX, false, false},
	{"priority=371327 and 371327", "priority=371327", MATCH_PRIORITY, 371327, false, true},
	{"priority=371327 and 371328", "priority=371327", MATCH_PRIORITY, 371328, false, false},
	{"priority=10-0x80000000 and 9", "priority=10-0x80000000", MATCH_PRIORITY, 9, false, false},
	{"priority=10-0x80000000 and 10", "priority=10-0x80000000", MATCH_PRIORITY, 10, false, true},
	{"priority=10-0x80000000 and 0x80000000", "priority=10-0x80000000", MATCH_PRIORITY, 0x80000000, false, true},
	{"priority=10-0x80000000 and 0x80000001", "priority=10-0x80000000", MATCH_PRIORITY, 0x80000001, false, false},
	{"if-id=42 and 42", "if-id=42", MATCH_IF_ID, 42, true, true},
	{"if-id=42 and 43", "if-id=42", MATCH_IF_ID, 43, false, false},
	{"if-id=42 and 0", "if-id=42", MATCH_IF_ID, 0, false, false},
	{"if-id=0 and 0", "if-id=0", MATCH_IF_ID, 0, true, true},
	{"if-id=0 and 42", "if-id=0", MATCH_IF_ID, 42, false, false},
	{"spi=0x01020304 and 0x01020304", "spi=0x01020304", MATCH_SPI, 0x01020304, true, false},
	{"spi=0x01020304 and 0x04030201", "spi=0x01020304", MATCH_SPI, 0x04030201, false, false},
	{"spi=0x01020304 and 0x01020305", "spi=0x01020304", MATCH_SPI, 0x01020305, false, false},
	{"spi=0 and 0", "spi=0", MATCH_SPI, 0, true, false},
};

static void holds_number(void **state)
{
	const struct number_row *row = *state;
	const struct entry sa = sa_with(row->key, row->number), policy = policy_with(row->key, row->number);

	check_holds(row->expression, &sa, row->of_sa);
	check_holds(row->expression, &policy, row->of_policy);
}

/* Matching: marks. */

static const struct mark_row {
	const char *name;
	const char *expression;
	struct xfrm_mark mark;
	bool holds;
} mark_rows[] = {
	{"mark V: none", "mark=5", {0, 0}, false},
	{"mark V: value", "mark=5", {5, UINT32_MAX}, true},
	{"mark V: value under any mask", "mark=5", {5, 0xff}, true},
	{"mark V: another value", "mark=5", {6, 0xff}, false},
	{"mark V: more bits", "mark=5", {0x105, 0xfff}, false},
	{"mark V: 0 is none", "mark=0", {0, 0}, true},
	{"mark V: 0 is not 5", "mark=0", {5, 0xff}, false},
	{"mark V/M: none", "mark=5/0xff", {0, 0}, false},
	{"mark V/M: none, value 0", "mark=0/0xff", {0, 0}, false},
	{"mark V/M: the same", "mark=5/0xff", {5, 0xff}, true},
	{"mark V/M: wider mask", "mark=5/0xff", {5, UINT32_MAX}, true},
	{"mark V/M: more bits above the mask", "mark=5/0xff", {0x105, 0xfff}, true},
	{"mark V/M: narrower mask", "mark=5/0xff", {5, 0xf}, false},
	{"mark V/M: mask that lacks one bit", "mark=5/0xff", {5, 0xffffff7f}, false},
	{"mark V/M: another value", "mark=5/0xff", {6, 0xff}, false},
	{"mark V/M: value with one more bit", "mark=5/0xff", {7, 0xff}, false},
	{"mark V/M: value with one bit less", "mark=5/0xff", {4, 0xff}, false},
	{"mark V/M: value 0", "mark=0/0xff", {0x100, 0xfff}, true},
	{"mark V/M: highest bit", "mark=0x80000000/0x80000000", {0x80000000, 0x80000000}, true},
	{"mark V/M: not the highest bit", "mark=0x80000000/0x80000000", {0, 0x80000000}, false},
};

static void holds_mark(void **state)
{
	const struct mark_row *row = *state;
	struct entry sa = tunnel_sa(), policy = tunnel_policy();

	sa.mark = policy.mark = row->mark;
	check_holds(row->expression, &sa, row->holds);
	check_holds(row->expression, &policy, row->holds);
}

/* Matching: prefixes. */

static const struct prefix_row {
	const char *name;
	const char *prefix, *selector;
	bool within;
} prefix_rows[] = {
	{"within: the same", "10.1.0.0/16", "10.1.0.0/16", true},
	{"within: longer selector", "10.1.0.0/16", "10.1.0.0/17", true},
	{"within: longer selector at the end", "10.1.0.0/16", "10.1.128.0/17", true},
	{"within: address within", "10.1.0.0/16", "10.1.255.255/32", true},
	{"within: shorter selector", "10.1.0.0/16", "10.0.0.0/15", false},
	{"within: shorter selector with the same bits", "10.0.0.0/16", "10.0.0.0/15", false},
	{"within: everything", "10.1.0.0/16", "0.0.0.0/0", false},
	{"within: next", "10.1.0.0/16", "10.2.0.0/16", false},
	{"within: one before", "10.1.0.0/16", "10.0.255.255/32", false},
	{"within: first byte differs", "10.1.0.0/16", "11.1.0.0/16", false},
	{"within: /0 has every address", "0.0.0.0/0", "255.255.255.255/32", true},
	{"within: /0 has /0", "0.0.0.0/0", "0.0.0.0/0", true},
	{"within: /0 has nothing of the other family", "0.0.0.0/0", "2001:db8::/32", false},
	{"within: /0 of IPv6 has nothing of IPv4", "::/0", "10.1.0.0/16", false},
	{"within: /1", "128.0.0.0/1", "192.0.2.0/24", true},
	{"within: not /1", "128.0.0.0/1", "127.255.255.255/32", false},
	{"within: /7", "10.0.0.0/7", "11.255.0.0/16", true},
	{"within: not /7", "10.0.0.0/7", "12.0.0.0/16", false},
	{"within: /9", "10.128.0.0/9", "10.128.0.0/16", true},
	{"within: not /9", "10.128.0.0/9", "10.127.0.0/16", false},
	{"within: /12", "172.16.0.0/12", "172.31.0.0/16", true},
	{"within: not /12", "172.16.0.0/12", "172.32.0.0/16", false},
	{"within: not /12, last bit", "172.16.0.0/12", "172.0.0.0/16", false},
	{"within: not /12, byte before", "172.16.0.0/12", "173.16.0.0/16", false},
	{"within: /25", "192.0.2.128/25", "192.0.2.255/32", true},
	{"within: not /25", "192.0.2.128/25", "192.0.2.127/32", false},
	{"within: /30", "192.0.2.4/30", "192.0.2.7/32", true},
	{"within: not /30", "192.0.2.4/30", "192.0.2.8/32", false},
	{"within: /31", "192.0.2.6/31", "192.0.2.7/32", true},
	{"within: not /31", "192.0.2.6/31", "192.0.2.5/32", false},
	{"within: /32", "192.0.2.7/32", "192.0.2.7/32", true},
	{"within: not /32", "192.0.2.7/32", "192.0.2.6/32", false},
	{"within: /32 and a network", "192.0.2.7/32", "192.0.2.6/31", false},
	{"within: address without a length", "192.0.2.7", "192.0.2.7/32", true},
	{"within: /32 of IPv6", "2001:db8::/32", "2001:db8:ffff::/48", true},
	{"within: not /32 of IPv6", "2001:db8::/32", "2001:db9::/48", false},
	{"within: /33 of IPv6", "2001:db8:8000::/33", "2001:db8:ffff::/48", true},
	{"within: not /33 of IPv6", "2001:db8:8000::/33", "2001:db8:7fff::/48", false},
	{"within: /10 of IPv6", "fe80::/10", "febf::1/128", true},
	{"within: not /10 of IPv6", "fe80::/10", "fec0::1/128", false},
	{"within: /64 of IPv6", "2001:db8::/64", "2001:db8::1/128", true},
	{"within: not /64 of IPv6", "2001:db8::/64", "2001:db8:0:1::1/128", false},
	{"within: /127 of IPv6", "2001:db8::fe/127", "2001:db8::ff/128", true},
	{"within: not /127 of IPv6", "2001:db8::fe/127", "2001:db8::fd/128", false},
	{"within: /128 of IPv6", "2001:db8::ff/128", "2001:db8::ff/128", true},
	{"within: not /128 of IPv6", "2001:db8::ff/128", "2001:db8::fe/128", false},
	{"within: /128 and a network", "2001:db8::fe/128", "2001:db8::fe/127", false},
	{"within: IPv4 with the bits of IPv6", "32.1.13.184", "2001:db8::/32", false},
};

/* Checks a prefix as src and as dst, of a policy and of an SA. The other prefix of the selector contains all addresses.
 */
static void holds_prefix(void **state)
{
	const struct prefix_row *row = *state;
	const char *everything = strchr(row->selector, ':') ? "::/0" : "0.0.0.0/0";
	struct entry sa = tunnel_sa(), policy = shunt();
	char expression[64];

	snprintf(expression, sizeof(expression), "src=%s", row->prefix);
	sa.sa.sel = policy.policy.info.sel = make_selector(row->selector, everything);
	check_holds(expression, &sa, row->within);
	check_holds(expression, &policy, row->within);

	snprintf(expression, sizeof(expression), "dst=%s", row->prefix);
	sa.sa.sel = policy.policy.info.sel = make_selector(everything, row->selector);
	check_holds(expression, &sa, row->within);
	check_holds(expression, &policy, row->within);
}

/* Filters. */

static void add(struct filter *filter, bool exclude, const char *const *expressions, size_t n)
{
	char why[MATCH_ERROR_MAX];

	for (size_t i = 0; i < n && expressions[i]; i++)
		assert_int_equal(filter_add(filter, exclude, expressions[i], why, sizeof(why)), 0);
}

static const struct selects_row {
	const char *name;
	const char *include[2], *exclude[2];
	struct entry (*entry)(void);
	bool selects;
} selects_rows[] = {
	{"no filter: esp", {0}, {0}, tunnel_sa, true},
	{"no filter: ah", {0}, {0}, ah_sa, true},
	{"no filter: comp", {0}, {0}, comp_sa, true},
	{"no filter: transport", {0}, {0}, transport_sa, true},
	{"no filter: ipip", {0}, {0}, ipip_sa, false},
	{"no filter: routing header", {0}, {0}, routing_sa, false},
	{"no filter: destination options", {0}, {0}, dstopts_sa, false},
	{"no filter: no protocol", {0}, {0}, zero_sa, false},
	{"no filter: policy", {0}, {0}, tunnel_policy, true},
	{"no filter: sub policy", {0}, {0}, sub_policy, true},
	{"no filter: shunt", {0}, {0}, shunt, true},
	{"no filter: policy of a socket", {0}, {0}, socket_policy, false},

	{"include: holds", {"reqid=11"}, {0}, tunnel_sa, true},
	{"include: does not hold", {"reqid=12"}, {0}, tunnel_sa, false},
	{"include: first of two", {"reqid=11", "reqid=12"}, {0}, tunnel_sa, true},
	{"include: second of two", {"reqid=12", "reqid=11"}, {0}, tunnel_sa, true},
	{"include: none of two", {"reqid=12", "reqid=13"}, {0}, tunnel_sa, false},
	{"include: a key of policies", {"dir=out"}, {0}, tunnel_sa, false},
	{"include: a key of SAs", {"spi=0xc1234567"}, {0}, tunnel_policy, false},
	{"include: one for each kind", {"spi=0xc1234567", "dir=out"}, {0}, tunnel_policy, true},
	{"include: ipip", {"peer=192.0.2.1"}, {0}, ipip_sa, false},
	{"include: routing header", {"reqid=11", "spi=0xc1234567"}, {0}, routing_sa, false},
	{"include: policy of a socket", {"src=10.1.0.0/16", "dir=out"}, {0}, socket_policy, false},

	{"exclude: holds", {0}, {"reqid=11"}, tunnel_sa, false},
	{"exclude: does not hold", {0}, {"reqid=12"}, tunnel_sa, true},
	{"exclude: first of two", {0}, {"reqid=11", "reqid=12"}, tunnel_sa, false},
	{"exclude: second of two", {0}, {"reqid=12", "reqid=11"}, tunnel_sa, false},
	{"exclude: none of two", {0}, {"reqid=12", "reqid=13"}, tunnel_sa, true},
	{"exclude: a key of policies", {0}, {"dir=in"}, tunnel_sa, true},
	{"exclude: a key of SAs", {0}, {"spi=0xc1234567"}, tunnel_policy, true},
	{"exclude: ipip", {0}, {"reqid=12"}, ipip_sa, false},
	{"exclude: policy of a socket", {0}, {"dir=in"}, socket_policy, false},

	{"both: exclude beats include", {"reqid=11"}, {"proto=esp"}, tunnel_sa, false},
	{"both: exclude beats the same include", {"reqid=11"}, {"reqid=11"}, tunnel_policy, false},
	{"both: exclude does not hold", {"reqid=11"}, {"proto=ah"}, tunnel_sa, true},
	{"both: include does not hold", {"reqid=12"}, {"proto=ah"}, tunnel_sa, false},
	{"both: neither of the kind", {"dir=out"}, {"dir=in"}, tunnel_sa, false},
};

static void selects(void **state)
{
	const struct selects_row *row = *state;
	const struct entry entry = row->entry();
	struct filter filter = {0};

	assert_true(filter_is_empty(&filter));
	add(&filter, false, row->include, ARRAY_SIZE(row->include));
	add(&filter, true, row->exclude, ARRAY_SIZE(row->exclude));
	assert_int_equal(filter_is_empty(&filter), !row->include[0] && !row->exclude[0]);
	assert_int_equal(filter_selects(&filter, &entry), row->selects);
}

static const struct list_row {
	const char *name;
	bool exclude;
} list_rows[] = {
	{"64 includes and one more", false},
	{"64 excludes and one more", true},
};

static void takes_no_more(void **state)
{
	const struct list_row *row = *state;
	struct filter filter = {0};
	const size_t *n = row->exclude ? &filter.n_exclude : &filter.n_include;
	const size_t *other = row->exclude ? &filter.n_include : &filter.n_exclude;
	const struct match *list = row->exclude ? filter.exclude : filter.include;
	const struct match none = {0};
	char why[MATCH_ERROR_MAX], expression[32];

	for (uint32_t i = 0; i < MATCH_EXPRESSIONS_MAX; i++) {
		snprintf(expression, sizeof(expression), "reqid=%u", i);
		assert_int_equal(filter_add(&filter, row->exclude, expression, why, sizeof(why)), 0);
		assert_int_equal(*n, i + 1);
		/* A refused expression takes no place. */
		assert_int_equal(filter_add(&filter, row->exclude, "reqid=x", why, sizeof(why)), -EINVAL);
		assert_int_equal(*n, i + 1);
	}
	assert_int_equal(*other, 0);

	assert_int_equal(filter_add(&filter, row->exclude, "reqid=64", why, sizeof(why)), -EINVAL);
	check_contains(why, "more than 64 expressions");
	assert_int_equal(*n, MATCH_EXPRESSIONS_MAX);
	assert_int_equal(*other, 0);
	for (uint32_t i = 0; i < MATCH_EXPRESSIONS_MAX; i++)
		check_match(&list[i], &(struct match){.keys = KEY(REQID), .reqid = {i, i}});
	check_match(&(row->exclude ? filter.include : filter.exclude)[0], &none);

	/* The last expression counts, and the other list still accepts expressions. */
	struct entry sa = sa_with(MATCH_REQID, MATCH_EXPRESSIONS_MAX - 1);
	assert_int_equal(filter_selects(&filter, &sa), !row->exclude);
	assert_int_equal(filter_add(&filter, !row->exclude, "proto=esp", why, sizeof(why)), 0);
	assert_int_equal(*other, 1);
}

static void write_one_too_many(char *buffer, size_t size, const void *what)
{
	struct filter filter = {.n_include = MATCH_EXPRESSIONS_MAX};

	assert_int_equal(filter_add(&filter, false, what, buffer, size), -EINVAL);
}

static void says_it_takes_no_more(void **state)
{
	(void)state;
	check_text_fits(write_one_too_many, "reqid=7", MATCH_ERROR_MAX);
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, accepts, accepted_rows);
	ADD_ROWS(&cases, refuses, refused_rows);
	ADD_ROWS(&cases, refuses_value, value_rows);
	ADD_ROWS(&cases, refuses_long, long_rows);
	ADD_CASE(&cases, accepts_the_longest);
	ADD_ROWS(&cases, refuses_whatever_the_length, end_rows);
	ADD_ROWS(&cases, holds, holds_rows);
	ADD_ROWS(&cases, holds_number, number_rows);
	ADD_ROWS(&cases, holds_mark, mark_rows);
	ADD_ROWS(&cases, holds_prefix, prefix_rows);
	ADD_ROWS(&cases, selects, selects_rows);
	ADD_ROWS(&cases, takes_no_more, list_rows);
	ADD_CASE(&cases, says_it_takes_no_more);
	return cmocka_run_group_tests_name("filter", cases.list, NULL, NULL);
}
