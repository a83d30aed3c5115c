/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Shared parts of the unit tests: test cases from the rows of tables, and builders of SAs and policies. */

/* cmocka.h needs these four headers before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "xfrm/entry.h"

/* Test cases. The list may be longer than its contents, because cmocka skips entries without a name. */
struct cases {
	struct CMUnitTest list[512];
	size_t n;
};

static inline void add_case(struct cases *cases, const char *name, CMUnitTestFunction function, const void *row)
{
	assert_true(cases->n < ARRAY_SIZE(cases->list));
	cases->list[cases->n++] = (struct CMUnitTest){
		.name = name,
		.test_func = function,
		.initial_state = (void *)row,
	};
}

#define ADD_CASE(cases, function) add_case(cases, #function, function, NULL)

/* Adds a test case for each row of a table, so that a failure shows the row's `name`. The function gets its row in
 * *state. */
#define ADD_ROWS(cases, function, rows) \
	for (size_t row_ = 0; row_ < ARRAY_SIZE(rows); row_++) \
	add_case(cases, (rows)[row_].name, function, &(rows)[row_])

/* Writes a text about `what` into a buffer of `size` bytes. */
typedef void (*writer)(char *buffer, size_t size, const void *what);

/* Checks that a text fits into buffers of every size: test_malloc() detects a write behind a buffer, and as much of the
 * text as fits is there. A buffer of `max` bytes must hold all of it. */
static inline void check_text_fits(writer write, const void *what, size_t max)
{
	char whole[4096];

	write(whole, sizeof(whole), what);
	assert_true(strlen(whole) < max);
	for (size_t size = 1; size <= strlen(whole) + 1; size++) {
		char *buffer = test_malloc(size);
		memset(buffer, 'x', size);
		write(buffer, size, what);
		assert_int_equal(strnlen(buffer, size), size - 1);
		assert_memory_equal(buffer, whole, size - 1);
		test_free(buffer);
	}
}

static inline void check_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' does not say '%s'", text, part);
}

static inline xfrm_address_t make_address(const char *text)
{
	xfrm_address_t address = {0};

	assert_int_equal(inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, &address), 1);
	return address;
}

static inline sa_family_t family_of(const char *text)
{
	return strchr(text, ':') ? AF_INET6 : AF_INET;
}

static inline uint8_t split_prefix(const char *text, xfrm_address_t *address)
{
	char buffer[64];

	snprintf(buffer, sizeof(buffer), "%s", text);
	char *slash = strchr(buffer, '/');
	assert_non_null(slash);
	*slash = '\0';
	*address = make_address(buffer);
	return (uint8_t)strtoul(slash + 1, NULL, 10);
}

/* Returns the selector of two prefixes, each ADDRESS/LENGTH. */
static inline struct xfrm_selector make_selector(const char *src, const char *dst)
{
	struct xfrm_selector sel = {.family = family_of(src)};

	sel.prefixlen_s = split_prefix(src, &sel.saddr);
	sel.prefixlen_d = split_prefix(dst, &sel.daddr);
	return sel;
}

/* Values of members for which a test needs no value of its own. All differ. */
#define ANY_SPI 0xc1234567
#define ANY_REQID 11
#define ANY_PRIORITY 371327
#define ANY_INDEX 0xaa61

/* Returns a tunnel mode ESP SA between two addresses, with an empty selector, as charon installs it. */
static inline struct entry make_sa(const char *src, const char *dst)
{
	return (struct entry){
		.kind = ENTRY_SA,
		.sa =
			{
				.id = {.daddr = make_address(dst), .spi = htonl(ANY_SPI), .proto = IPPROTO_ESP},
				.saddr = make_address(src),
				.family = family_of(src),
				.reqid = ANY_REQID,
				.mode = XFRM_MODE_TUNNEL,
				.flags = XFRM_STATE_AF_UNSPEC,
			},
	};
}

static inline struct xfrm_user_tmpl make_template(uint8_t proto, uint8_t mode, const char *src, const char *dst)
{
	return (struct xfrm_user_tmpl){
		.id = {.daddr = make_address(dst), .proto = proto},
		.family = family_of(src),
		.saddr = make_address(src),
		.reqid = ANY_REQID,
		.mode = mode,
		.aalgos = UINT32_MAX,
		.ealgos = UINT32_MAX,
		.calgos = UINT32_MAX,
	};
}

/* Returns an outbound main policy. The caller keeps the templates as long as the policy. */
static inline struct entry make_policy(const char *src, const char *dst, const struct xfrm_user_tmpl *templates,
				       size_t n_templates)
{
	return (struct entry){
		.kind = ENTRY_POLICY,
		.policy =
			{
				.info =
					{
						.sel = make_selector(src, dst),
						.lft = {.hard_byte_limit = XFRM_INF, .hard_packet_limit = XFRM_INF},
						.priority = ANY_PRIORITY,
						.index = ANY_INDEX,
						.dir = XFRM_POLICY_OUT,
					},
				.ptype = XFRM_POLICY_TYPE_MAIN,
				.n_templates = n_templates,
				.templates = templates,
			},
	};
}

/* A security context as the kernel sends it: the text, with its NUL, follows the structure. */
struct context {
	struct xfrm_user_sec_ctx header;
	char text[32];
};

static inline struct context make_context(const char *text)
{
	struct context context = {
		.header =
			{
				.exttype = XFRMA_SEC_CTX,
				.ctx_alg = XFRM_SC_ALG_SELINUX,
				.ctx_doi = XFRM_SC_DOI_LSM,
				.ctx_len = (uint16_t)(strlen(text) + 1),
			},
	};

	assert_true(context.header.ctx_len <= sizeof(context.text));
	context.header.len = (uint16_t)(sizeof(context.header) + context.header.ctx_len);
	memcpy(context.text, text, context.header.ctx_len);
	return context;
}
