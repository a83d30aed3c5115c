/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>

#include "xfrm/build.h"

/* A message as the kernel sends it. */
struct message {
	union {
		struct nlmsghdr header;
		uint8_t bytes[2048];
	};
};

/* Appends data at the next multiple of 4 bytes. */
static void append(struct message *message, const void *data, size_t size)
{
	size_t used = NLMSG_ALIGN(message->header.nlmsg_len);

	assert_true(used + size <= sizeof(message->bytes));
	memcpy(message->bytes + used, data, size);
	message->header.nlmsg_len = (uint32_t)(used + size);
}

static void begin(struct message *message, uint16_t type, const void *payload, size_t size)
{
	memset(message, 0, sizeof(*message));
	message->header = (struct nlmsghdr){.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_flags = NLM_F_MULTI};
	append(message, payload, size);
}

static void add_attribute(struct message *message, uint16_t type, const void *data, size_t size)
{
	struct nlattr attribute = {.nla_len = (uint16_t)(NLA_HDRLEN + size), .nla_type = type};

	append(message, &attribute, sizeof(attribute));
	append(message, data, size);
	message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len);
}

/* Offsets of messages, in bytes. Netlink aligns to 4 bytes and the XFRM structures need 8, so both must work. */
static const size_t offsets[] = {0, 4};

/* Decodes a copy of a message. Its block ends with the message, so that memory checkers detect each read behind it. The
 * entry's templates point into `block`, which the caller frees. Returns the result of entry_decode(). */
static int decode(const struct message *message, size_t offset, struct entry *ret, void **block)
{
	size_t length = message->header.nlmsg_len;

	*block = malloc(offset + (length > NLMSG_HDRLEN ? length : NLMSG_HDRLEN));
	assert_non_null(*block);
	void *copy = (uint8_t *)*block + offset;
	memcpy(copy, message, length > NLMSG_HDRLEN ? length : NLMSG_HDRLEN);
	return entry_decode(copy, ret);
}

/* Checks that a message is refused at each offset, and that the entry stays unchanged. */
static void check_refused(const struct message *message, int result)
{
	struct entry entry, before;

	memset(&before, 0xa5, sizeof(before));
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		void *block;
		entry = before;
		int r = decode(message, offsets[i], &entry, &block);
		free(block);
		if (r != result)
			fail_msg("%d instead of %d for %u bytes", r, result, message->header.nlmsg_len);
		assert_memory_equal(&entry, &before, sizeof(entry));
	}
}

static const struct xfrm_mark mark = {.v = 0x5, .m = 0xff};
static const uint32_t if_id = 0xfedcba98;

static struct entry some_sa(void)
{
	return make_sa("2001:db8::1", "2001:db8::2");
}

static struct entry some_policy(void)
{
	return make_policy("10.1.0.0/16", "10.2.0.0/16", NULL, 0);
}

static bool is_sa(uint16_t type)
{
	return type == XFRM_MSG_NEWSA || type == XFRM_MSG_UPDSA || type == XFRM_MSG_DELSA;
}

/* Begins a message with the payload of its type, or with that of a policy if entry_decode() does not decode the
 * type. */
static void begin_any(struct message *message, uint16_t type)
{
	const struct entry sa = some_sa(), policy = some_policy();
	const struct xfrm_usersa_id sa_id = {
		.daddr = sa.sa.id.daddr,
		.spi = sa.sa.id.spi,
		.family = sa.sa.family,
		.proto = sa.sa.id.proto,
	};
	const struct xfrm_userpolicy_id policy_id = {
		.sel = policy.policy.info.sel,
		.index = policy.policy.info.index,
		.dir = policy.policy.info.dir,
	};

	if (type == XFRM_MSG_DELSA)
		begin(message, type, &sa_id, sizeof(sa_id));
	else if (type == XFRM_MSG_DELPOLICY)
		begin(message, type, &policy_id, sizeof(policy_id));
	else if (is_sa(type))
		begin(message, type, &sa.sa, sizeof(sa.sa));
	else
		begin(message, type, &policy.policy.info, sizeof(policy.policy.info));
}

/* One template more than the kernel allows. */
static struct xfrm_user_tmpl templates[ENTRY_TEMPLATES_MAX + 1];

static int make_templates(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(templates); i++) {
		templates[i] = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, "192.0.2.1", "192.0.2.2");
		templates[i].reqid = (uint32_t)(100 + i);
	}
	return 0;
}

/* Adds the attributes that a 6.1 kernel adds to charon's SAs, with their lengths there. xfrmctl does not read their
 * contents. */
static void add_sa_extras(struct message *message)
{
	static const uint8_t zeros[128];

	add_attribute(message, XFRMA_LASTUSED, zeros, sizeof(uint64_t));
	add_attribute(message, XFRMA_ALG_AUTH_TRUNC, zeros, sizeof(struct xfrm_algo_auth) + 32);
	add_attribute(message, XFRMA_ALG_CRYPT, zeros, sizeof(struct xfrm_algo) + 16);
	add_attribute(message, XFRMA_ENCAP, zeros, sizeof(struct xfrm_encap_tmpl));
	add_attribute(message, XFRMA_REPLAY_ESN_VAL, zeros, sizeof(struct xfrm_replay_state_esn) + 4);
}

/* Adds attributes of a kernel that is newer than the headers. */
static void add_unknown(struct message *message)
{
	static const uint8_t ones[] = {0xff, 0xff, 0xff, 0xff, 0xff};

	add_attribute(message, XFRMA_MAX + 1, ones, sizeof(ones));
	add_attribute(message, (uint16_t)NLA_TYPE_MASK, ones, 0);
	add_attribute(message, NLA_F_NESTED | (XFRMA_MAX + 2), ones, 3);
}

enum {
	WITH_MARK = 1 << 0,
	WITH_IF_ID = 1 << 1,
	WITH_MAIN = 1 << 2,
	WITH_SUB = 1 << 3,
	WITH_SA_EXTRAS = 1 << 4,
	WITH_UNKNOWN = 1 << 5,
	WITH_EMPTY_TEMPLATES = 1 << 6,
	WITH_SRCADDR = 1 << 7,
	WITH_SECURITY = 1 << 8,
	WITH_EMPTY_SECURITY = 1 << 9,
};

/* Text of the security context. */
#define CONTEXT "system_u:object_r:spd_t:s0"

/* Returns the size of the security context of a row, with its text or without, in bytes. */
static size_t security_length(unsigned int with)
{
	if (with & WITH_SECURITY)
		return sizeof(struct xfrm_user_sec_ctx) + sizeof(CONTEXT);
	return with & WITH_EMPTY_SECURITY ? sizeof(struct xfrm_user_sec_ctx) : 0;
}

static const struct decode_row {
	const char *name;
	uint16_t type;
	unsigned int with;
	size_t n_templates;
} decode_rows[] = {
	{"SA", XFRM_MSG_NEWSA, 0, 0},
	{"SA, updated", XFRM_MSG_UPDSA, 0, 0},
	{"SA with mark", XFRM_MSG_NEWSA, WITH_MARK, 0},
	{"SA with if_id", XFRM_MSG_NEWSA, WITH_IF_ID, 0},
	{"SA with mark and if_id", XFRM_MSG_NEWSA, WITH_MARK | WITH_IF_ID, 0},
	{"SA with keys, NAT and replay window", XFRM_MSG_NEWSA, WITH_SA_EXTRAS | WITH_MARK | WITH_IF_ID, 0},
	{"SA with unknown attributes", XFRM_MSG_NEWSA, WITH_UNKNOWN, 0},
	{"SA with known attributes between unknown ones", XFRM_MSG_NEWSA, WITH_UNKNOWN | WITH_MARK | WITH_IF_ID, 0},
	{"SA to delete", XFRM_MSG_DELSA, 0, 0},
	{"SA to delete with source", XFRM_MSG_DELSA, WITH_SRCADDR, 0},
	{"SA to delete with mark and unknown attributes", XFRM_MSG_DELSA, WITH_UNKNOWN | WITH_MARK | WITH_SRCADDR, 0},
	{"policy", XFRM_MSG_NEWPOLICY, 0, 0},
	{"policy, updated", XFRM_MSG_UPDPOLICY, 0, 0},
	{"policy with empty templates", XFRM_MSG_NEWPOLICY, WITH_EMPTY_TEMPLATES, 0},
	{"policy with 1 template", XFRM_MSG_NEWPOLICY, 0, 1},
	{"policy with 2 templates", XFRM_MSG_NEWPOLICY, 0, 2},
	{"policy with 3 templates", XFRM_MSG_NEWPOLICY, 0, 3},
	{"policy with 4 templates", XFRM_MSG_NEWPOLICY, 0, 4},
	{"policy with 5 templates", XFRM_MSG_NEWPOLICY, 0, 5},
	{"policy with 6 templates", XFRM_MSG_NEWPOLICY, 0, 6},
	{"policy of type main", XFRM_MSG_NEWPOLICY, WITH_MAIN, 1},
	{"policy of type sub", XFRM_MSG_NEWPOLICY, WITH_SUB, 1},
	{"policy with mark", XFRM_MSG_NEWPOLICY, WITH_MARK, 1},
	{"policy with if_id", XFRM_MSG_NEWPOLICY, WITH_IF_ID, 1},
	{"policy with everything", XFRM_MSG_NEWPOLICY, WITH_SUB | WITH_MARK | WITH_IF_ID, 6},
	{"policy with security context", XFRM_MSG_NEWPOLICY, WITH_SECURITY, 1},
	{"policy with security context, updated", XFRM_MSG_UPDPOLICY, WITH_SECURITY, 1},
	{"policy with security context alone", XFRM_MSG_NEWPOLICY, WITH_SECURITY, 0},
	{"policy with security context without text", XFRM_MSG_NEWPOLICY, WITH_EMPTY_SECURITY, 1},
	{"policy with security context and everything else", XFRM_MSG_NEWPOLICY,
	 WITH_SECURITY | WITH_SUB | WITH_MARK | WITH_IF_ID, 6},
	{"policy with security context between unknown attributes", XFRM_MSG_NEWPOLICY, WITH_UNKNOWN | WITH_SECURITY,
	 0},
	{"policy with unknown attributes", XFRM_MSG_NEWPOLICY, WITH_UNKNOWN, 0},
	{"policy with known attributes between unknown ones", XFRM_MSG_NEWPOLICY,
	 WITH_UNKNOWN | WITH_SUB | WITH_MARK | WITH_IF_ID, 2},
	{"policy to delete", XFRM_MSG_DELPOLICY, 0, 0},
	{"policy to delete with type, mark and if_id", XFRM_MSG_DELPOLICY, WITH_SUB | WITH_MARK | WITH_IF_ID, 0},
	{"policy to delete with security context", XFRM_MSG_DELPOLICY, WITH_SECURITY | WITH_MARK, 0},
	{"SA with security context", XFRM_MSG_NEWSA, WITH_SECURITY | WITH_MARK | WITH_IF_ID, 0},
};

/* Builds the message of a row, with the attributes in the kernel's order. */
static void build(const struct decode_row *row, struct message *message)
{
	struct xfrm_userpolicy_type ptype = {.type = row->with & WITH_SUB ? XFRM_POLICY_TYPE_SUB
									  : XFRM_POLICY_TYPE_MAIN};

	const xfrm_address_t source = some_sa().sa.saddr;
	const struct context context = make_context(CONTEXT);

	begin_any(message, row->type);
	if (row->with & WITH_UNKNOWN)
		add_unknown(message);
	if (row->with & WITH_SRCADDR)
		add_attribute(message, XFRMA_SRCADDR, &source, sizeof(source));
	if (row->with & WITH_SA_EXTRAS)
		add_sa_extras(message);
	if (row->n_templates || row->with & WITH_EMPTY_TEMPLATES)
		add_attribute(message, XFRMA_TMPL, templates, row->n_templates * sizeof(templates[0]));
	if (row->with & (WITH_SECURITY | WITH_EMPTY_SECURITY))
		add_attribute(message, XFRMA_SEC_CTX, &context, security_length(row->with));
	if (row->with & (WITH_MAIN | WITH_SUB))
		add_attribute(message, XFRMA_POLICY_TYPE, &ptype, sizeof(ptype));
	if (row->with & WITH_MARK)
		add_attribute(message, XFRMA_MARK, &mark, sizeof(mark));
	if (row->with & WITH_IF_ID)
		add_attribute(message, XFRMA_IF_ID, &if_id, sizeof(if_id));
	if (row->with & WITH_UNKNOWN)
		add_unknown(message);
}

/* Checks an SA. Members that a deletion does not carry must be 0. */
static void check_sa(const struct decode_row *row, const struct xfrm_usersa_info *sa)
{
	const struct xfrm_usersa_info expected = some_sa().sa;
	const bool whole = row->type != XFRM_MSG_DELSA;
	const xfrm_address_t none = {0};

	assert_memory_equal(&sa->id.daddr, &expected.id.daddr, sizeof(none));
	assert_int_equal(sa->id.spi, expected.id.spi);
	assert_int_equal(sa->id.proto, expected.id.proto);
	assert_int_equal(sa->family, expected.family);
	assert_memory_equal(&sa->saddr, whole || row->with & WITH_SRCADDR ? &expected.saddr : &none, sizeof(none));
	assert_int_equal(sa->reqid, whole ? expected.reqid : 0);
	assert_int_equal(sa->mode, whole ? expected.mode : 0);
	assert_int_equal(sa->flags, whole ? expected.flags : 0);
	assert_int_equal(sa->sel.family, 0);
}

static void check_policy(const struct decode_row *row, const struct xfrm_userpolicy_info *policy)
{
	const struct xfrm_userpolicy_info expected = some_policy().policy.info;
	const bool whole = row->type != XFRM_MSG_DELPOLICY;

	assert_int_equal(policy->sel.family, expected.sel.family);
	assert_memory_equal(&policy->sel.saddr, &expected.sel.saddr, sizeof(expected.sel.saddr));
	assert_memory_equal(&policy->sel.daddr, &expected.sel.daddr, sizeof(expected.sel.daddr));
	assert_int_equal(policy->sel.prefixlen_s, expected.sel.prefixlen_s);
	assert_int_equal(policy->sel.prefixlen_d, expected.sel.prefixlen_d);
	assert_int_equal(policy->index, expected.index);
	assert_int_equal(policy->dir, expected.dir);
	assert_int_equal(policy->priority, whole ? expected.priority : 0);
	assert_int_equal(policy->lft.hard_packet_limit, whole ? expected.lft.hard_packet_limit : 0);
}

/* Checks the security context. decode() ends its block with the message, so a read behind it would be detected. */
static void check_security(const struct decode_row *row, const struct entry *entry)
{
	const struct context context = make_context(CONTEXT);
	const size_t length = security_length(row->with);

	assert_int_equal(entry->policy.security_length, length);
	if (length)
		assert_memory_equal(entry->policy.security, &context, length);
	else
		assert_null(entry->policy.security);
}

static void check_decoded(const struct decode_row *row, const struct entry *entry)
{
	assert_int_equal(entry->mark.v, row->with & WITH_MARK ? mark.v : 0);
	assert_int_equal(entry->mark.m, row->with & WITH_MARK ? mark.m : 0);
	assert_int_equal(entry->if_id, row->with & WITH_IF_ID ? if_id : 0);
	if (is_sa(row->type)) {
		assert_int_equal(entry->kind, ENTRY_SA);
		assert_ptr_equal(entry_selector(entry), &entry->sa.sel);
		check_sa(row, &entry->sa);
		return;
	}
	assert_int_equal(entry->kind, ENTRY_POLICY);
	assert_ptr_equal(entry_selector(entry), &entry->policy.info.sel);
	check_policy(row, &entry->policy.info);
	check_security(row, entry);
	assert_int_equal(entry->policy.ptype, row->with & WITH_SUB ? XFRM_POLICY_TYPE_SUB : XFRM_POLICY_TYPE_MAIN);
	assert_int_equal(entry->policy.n_templates, row->n_templates);
	if (row->n_templates)
		assert_memory_equal(entry->policy.templates, templates, row->n_templates * sizeof(templates[0]));
}

static void decodes(void **state)
{
	struct message message;

	build(*state, &message);
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		struct entry entry;
		void *block;
		memset(&entry, 0xa5, sizeof(entry));
		assert_int_equal(decode(&message, offsets[i], &entry, &block), 0);
		check_decoded(*state, &entry);
		free(block);
	}
}

static const struct type_row {
	const char *name;
	uint16_t type;
} too_short_rows[] = {
	{"too short: SA", XFRM_MSG_NEWSA},	     {"too short: SA, updated", XFRM_MSG_UPDSA},
	{"too short: policy", XFRM_MSG_NEWPOLICY},   {"too short: policy, updated", XFRM_MSG_UPDPOLICY},
	{"too short: SA to delete", XFRM_MSG_DELSA}, {"too short: policy to delete", XFRM_MSG_DELPOLICY},
};

/* Checks each length below that of the structure, and each below that of the netlink header. */
static void refuses_too_short(void **state)
{
	const struct type_row *row = *state;
	struct message message;

	begin_any(&message, row->type);
	while (message.header.nlmsg_len > 0) {
		message.header.nlmsg_len--;
		check_refused(&message, -EBADMSG);
	}
}

static const struct malformed_row {
	const char *name;
	uint16_t message, attribute;
	size_t size;
} malformed_rows[] = {
	{"malformed: empty mark of an SA", XFRM_MSG_NEWSA, XFRMA_MARK, 0},
	{"malformed: mark of an SA without its mask", XFRM_MSG_NEWSA, XFRMA_MARK, sizeof(uint32_t)},
	{"malformed: mark of an SA, one byte short", XFRM_MSG_NEWSA, XFRMA_MARK, sizeof(struct xfrm_mark) - 1},
	{"malformed: mark of a policy, one byte short", XFRM_MSG_NEWPOLICY, XFRMA_MARK, sizeof(struct xfrm_mark) - 1},
	{"malformed: empty if_id", XFRM_MSG_NEWSA, XFRMA_IF_ID, 0},
	{"malformed: if_id, one byte short", XFRM_MSG_NEWPOLICY, XFRMA_IF_ID, sizeof(uint32_t) - 1},
	{"malformed: empty source of an SA to delete", XFRM_MSG_DELSA, XFRMA_SRCADDR, 0},
	{"malformed: source of an SA to delete, one byte short", XFRM_MSG_DELSA, XFRMA_SRCADDR,
	 sizeof(xfrm_address_t) - 1},
	{"malformed: mark of an SA to delete, one byte short", XFRM_MSG_DELSA, XFRMA_MARK,
	 sizeof(struct xfrm_mark) - 1},
	{"malformed: if_id of a policy to delete, one byte short", XFRM_MSG_DELPOLICY, XFRMA_IF_ID,
	 sizeof(uint32_t) - 1},
	{"malformed: empty policy type", XFRM_MSG_NEWPOLICY, XFRMA_POLICY_TYPE, 0},
	{"malformed: policy type, one byte short", XFRM_MSG_NEWPOLICY, XFRMA_POLICY_TYPE,
	 sizeof(struct xfrm_userpolicy_type) - 1},
	{"malformed: empty security context", XFRM_MSG_NEWPOLICY, XFRMA_SEC_CTX, 0},
	{"malformed: security context, one byte short", XFRM_MSG_NEWPOLICY, XFRMA_SEC_CTX,
	 sizeof(struct xfrm_user_sec_ctx) - 1},
	{"malformed: security context of an updated policy, one byte short", XFRM_MSG_UPDPOLICY, XFRMA_SEC_CTX,
	 sizeof(struct xfrm_user_sec_ctx) - 1},
	{"malformed: security context of a policy to delete, one byte short", XFRM_MSG_DELPOLICY, XFRMA_SEC_CTX,
	 sizeof(struct xfrm_user_sec_ctx) - 1},
	{"malformed: template of one byte", XFRM_MSG_NEWPOLICY, XFRMA_TMPL, 1},
	{"malformed: template, one byte short", XFRM_MSG_NEWPOLICY, XFRMA_TMPL, sizeof(struct xfrm_user_tmpl) - 1},
	{"malformed: template and one byte", XFRM_MSG_NEWPOLICY, XFRMA_TMPL, sizeof(struct xfrm_user_tmpl) + 1},
	{"malformed: 6 templates, one byte short", XFRM_MSG_NEWPOLICY, XFRMA_TMPL,
	 ENTRY_TEMPLATES_MAX * sizeof(struct xfrm_user_tmpl) - 1},
	{"malformed: 6 templates and one byte", XFRM_MSG_NEWPOLICY, XFRMA_TMPL,
	 ENTRY_TEMPLATES_MAX * sizeof(struct xfrm_user_tmpl) + 1},
	{"malformed: 7 templates", XFRM_MSG_NEWPOLICY, XFRMA_TMPL, sizeof(templates)},
	{"malformed: 7 templates of an updated policy", XFRM_MSG_UPDPOLICY, XFRMA_TMPL, sizeof(templates)},
};

static void refuses_malformed(void **state)
{
	const struct malformed_row *row = *state;
	struct message message;

	begin_any(&message, row->message);
	add_attribute(&message, row->attribute, templates, row->size);
	check_refused(&message, -EBADMSG);
	/* Valid attributes before and behind the malformed one make no difference. */
	begin_any(&message, row->message);
	add_unknown(&message);
	add_attribute(&message, row->attribute, templates, row->size);
	add_unknown(&message);
	check_refused(&message, -EBADMSG);
}

/* Lengths for an attribute that has a header and 8 bytes. */
static const struct length_row {
	const char *name;
	uint16_t length;
} length_rows[] = {
	{"wrong length: none", 0},
	{"wrong length: less than its own header", NLA_HDRLEN - 1},
	{"wrong length: one byte behind the message", NLA_HDRLEN + sizeof(struct xfrm_mark) + 1},
	{"wrong length: far behind the message", UINT16_MAX},
};

static void refuses_wrong_length(void **state)
{
	const struct length_row *row = *state;
	struct message message;

	begin_any(&message, XFRM_MSG_NEWSA);
	size_t at = message.header.nlmsg_len;
	add_attribute(&message, XFRMA_MARK, &mark, sizeof(mark));
	memcpy((uint8_t *)&message + at, &row->length, sizeof(row->length));
	check_refused(&message, -EBADMSG);
}

static const struct type_row other_rows[] = {
	{"other message: none", 0},
	{"other message: done", NLMSG_DONE},
	{"other message: error", NLMSG_ERROR},
	{"other message: GETSA", XFRM_MSG_GETSA},
	{"other message: GETPOLICY", XFRM_MSG_GETPOLICY},
	{"other message: ALLOCSPI", XFRM_MSG_ALLOCSPI},
	{"other message: ACQUIRE", XFRM_MSG_ACQUIRE},
	{"other message: EXPIRE", XFRM_MSG_EXPIRE},
	{"other message: POLEXPIRE", XFRM_MSG_POLEXPIRE},
	{"other message: FLUSHSA", XFRM_MSG_FLUSHSA},
	{"other message: FLUSHPOLICY", XFRM_MSG_FLUSHPOLICY},
	{"other message: MIGRATE", XFRM_MSG_MIGRATE},
	{"other message: highest", UINT16_MAX},
};

static void refuses_other_messages(void **state)
{
	const struct type_row *row = *state;
	struct message message;

	begin_any(&message, row->type);
	check_refused(&message, -ENOMSG);
	/* The contents do not matter. */
	message.header.nlmsg_len = NLMSG_HDRLEN;
	check_refused(&message, -ENOMSG);
}

static const struct name_row {
	const char *name;
	const char *(*name_of)(uint8_t value);
	int (*value_of)(const char *name); /* NULL when no function converts names to values */
	struct {
		int value;
		const char *name;
	} names[6];
	const char *no_names[6];
} name_rows[] = {
	{"names of protocols",
	 entry_proto_name,
	 entry_proto_from_name,
	 {{IPPROTO_ESP, "esp"}, {IPPROTO_AH, "ah"}, {IPPROTO_COMP, "comp"}},
	 {"ipip", "in", "main", "ESP", "50"}},
	{"names of directions",
	 entry_dir_name,
	 entry_dir_from_name,
	 {{XFRM_POLICY_IN, "in"}, {XFRM_POLICY_OUT, "out"}, {XFRM_POLICY_FWD, "fwd"}},
	 {"forward", "esp", "main", "OUT", "1"}},
	{"names of policy types",
	 entry_ptype_name,
	 entry_ptype_from_name,
	 {{XFRM_POLICY_TYPE_MAIN, "main"}, {XFRM_POLICY_TYPE_SUB, "sub"}},
	 {"any", "esp", "in", "MAIN", "0"}},
	{"names of modes",
	 entry_mode_name,
	 NULL,
	 {{XFRM_MODE_TRANSPORT, "transport"},
	  {XFRM_MODE_TUNNEL, "tunnel"},
	  {XFRM_MODE_ROUTEOPTIMIZATION, "ro"},
	  {XFRM_MODE_IN_TRIGGER, "in_trigger"},
	  {XFRM_MODE_BEET, "beet"}},
	 {0}},
};

/* Checks that only the values of a row have a name, and only the names of a row have a value. */
static void names(void **state)
{
	const struct name_row *row = *state;
	char text[32];

	for (int value = 0; value <= UINT8_MAX; value++) {
		const char *expected = NULL, *name = row->name_of((uint8_t)value);
		for (size_t i = 0; i < ARRAY_SIZE(row->names); i++)
			if (row->names[i].name && row->names[i].value == value)
				expected = row->names[i].name;
		if (!expected) {
			if (name)
				fail_msg("%d has the name '%s'", value, name);
			continue;
		}
		if (!name)
			fail_msg("%d has no name", value);
		assert_string_equal(name, expected);
		if (row->value_of)
			assert_int_equal(row->value_of(name), value);
	}

	if (!row->value_of)
		return;
	assert_int_equal(row->value_of(""), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(row->no_names) && row->no_names[i]; i++)
		if (row->value_of(row->no_names[i]) != -EINVAL)
			fail_msg("'%s' is taken for a name", row->no_names[i]);
	for (size_t i = 0; i < ARRAY_SIZE(row->names) && row->names[i].name; i++) {
		const char *name = row->names[i].name;
		snprintf(text, sizeof(text), "%s ", name);
		assert_int_equal(row->value_of(text), -EINVAL);
		snprintf(text, sizeof(text), "%.*s", (int)strlen(name) - 1, name);
		assert_int_equal(row->value_of(text), -EINVAL);
	}
}

static const struct per_socket_row {
	const char *name;
	enum entry_kind kind;
	uint32_t index;
	bool per_socket;
} per_socket_rows[] = {
	{"per socket: in", ENTRY_POLICY, XFRM_POLICY_IN, false},
	{"per socket: out", ENTRY_POLICY, XFRM_POLICY_OUT, false},
	{"per socket: fwd", ENTRY_POLICY, XFRM_POLICY_FWD, false},
	{"per socket: socket, in", ENTRY_POLICY, XFRM_POLICY_MAX + XFRM_POLICY_IN, true},
	{"per socket: socket, out", ENTRY_POLICY, XFRM_POLICY_MAX + XFRM_POLICY_OUT, true},
	{"per socket: highest direction", ENTRY_POLICY, 7, true},
	{"per socket: large index, in", ENTRY_POLICY, 0xfffffff8, false},
	{"per socket: large index, fwd", ENTRY_POLICY, 0xfffffffa, false},
	{"per socket: large index, socket", ENTRY_POLICY, 0xfffffffb, true},
	{"per socket: charon's bypass", ENTRY_POLICY, 0x1c3, true},
	{"per socket: an SA has no index", ENTRY_SA, 0xffffffff, false},
};

static void knows_per_socket(void **state)
{
	const struct per_socket_row *row = *state;
	struct entry entry = some_policy();

	/* In an SA these bytes are no index. */
	entry.policy.info.index = row->index;
	entry.kind = row->kind;
	assert_int_equal(entry_is_per_socket(&entry), row->per_socket);
}

static const struct address_row {
	const char *name;
	sa_family_t family;
	uint8_t address[16];
	const char *text;
} address_rows[] = {
	{"address: IPv4", AF_INET, {192, 0, 2, 1}, "192.0.2.1"},
	{"address: none of IPv4", AF_INET, {0}, "0.0.0.0"},
	{"address: longest of IPv4", AF_INET, {255, 255, 255, 255}, "255.255.255.255"},
	{"address: IPv6", AF_INET6, {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, "2001:db8::1"},
	{"address: none of IPv6", AF_INET6, {0}, "::"},
	{"address: longest of IPv6",
	 AF_INET6,
	 {0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x66, 0x66, 0x77, 0x77, 0x88, 0x88},
	 "1111:2222:3333:4444:5555:6666:7777:8888"},
	{"address: no family", AF_UNSPEC, {0}, "?"},
	{"address: another family", AF_UNIX, {0}, "?"},
};

static void writes_address(void **state)
{
	const struct address_row *row = *state;
	char *buffer = test_malloc(INET6_ADDRSTRLEN);
	xfrm_address_t address;

	memcpy(&address, row->address, sizeof(address));
	assert_ptr_equal(entry_address(row->family, &address, buffer), buffer);
	assert_string_equal(buffer, row->text);
	test_free(buffer);
}

static struct entry ipv4_sa(void)
{
	return make_sa("192.0.2.1", "192.0.2.2");
}

static struct entry larval_sa(void)
{
	struct entry entry = ipv4_sa();

	entry.sa.id.spi = htonl(0x1);
	entry.sa.reqid = 0;
	return entry;
}

static struct entry ipip_sa(void)
{
	struct entry entry = ipv4_sa();

	entry.sa.id.proto = IPPROTO_IPIP;
	return entry;
}

static struct entry marked(struct entry entry)
{
	entry.mark = mark;
	entry.if_id = if_id;
	return entry;
}

static struct entry marked_sa(void)
{
	return marked(some_sa());
}

static struct entry zero_marked_sa(void)
{
	struct entry entry = some_sa();

	entry.mark.m = 0xff;
	return entry;
}

static struct entry marked_policy(void)
{
	return marked(some_policy());
}

static struct entry if_id_policy(void)
{
	struct entry entry = marked_policy();

	entry.mark = (struct xfrm_mark){0};
	return entry;
}

static struct entry ipv6_policy(void)
{
	return make_policy("2001:db8:1::/48", "::/0", NULL, 0);
}

static struct entry strange_policy(void)
{
	struct entry entry = some_policy();

	entry.policy.info.dir = XFRM_POLICY_MAX;
	entry.policy.ptype = XFRM_POLICY_TYPE_MAX;
	return entry;
}

static struct entry policy_without_selector(void)
{
	return (struct entry){.kind = ENTRY_POLICY, .policy.info = {.index = ANY_INDEX, .dir = XFRM_POLICY_OUT}};
}

static struct entry fwd_sub_policy(void)
{
	struct entry entry = some_policy();

	entry.policy.info.dir = XFRM_POLICY_FWD;
	entry.policy.ptype = XFRM_POLICY_TYPE_SUB;
	return entry;
}

#define LONGEST_ADDRESS "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define LONGEST_PREFIX LONGEST_ADDRESS "/255"

/* Sets members to values with the longest texts, valid or not. */
static struct entry longest(struct entry entry)
{
	entry.mark = (struct xfrm_mark){.v = UINT32_MAX, .m = UINT32_MAX};
	entry.if_id = UINT32_MAX;
	return entry;
}

static struct entry longest_sa(void)
{
	struct entry entry = longest(make_sa(LONGEST_ADDRESS, LONGEST_ADDRESS));

	entry.sa.id.proto = UINT8_MAX;
	entry.sa.id.spi = UINT32_MAX;
	entry.sa.reqid = UINT32_MAX;
	return entry;
}

static struct entry longest_policy(void)
{
	struct entry entry = longest(make_policy(LONGEST_PREFIX, LONGEST_PREFIX, NULL, 0));

	entry.policy.info.dir = UINT8_MAX;
	entry.policy.ptype = UINT8_MAX;
	entry.policy.info.index = UINT32_MAX;
	return entry;
}

static const struct describe_row {
	const char *name;
	struct entry (*entry)(void);
	const char *parts[8];  /* texts in the description, which begins with the first */
	const char *not_there; /* a text that the description must not contain */
} describe_rows[] = {
	{"describes an SA", some_sa, {"esp SA", "2001:db8::1 → 2001:db8::2", "spi 0xc1234567", "reqid 11"}, "mark"},
	{"describes an SA of IPv4", ipv4_sa, {"esp SA", "192.0.2.1 → 192.0.2.2"}, "if_id"},
	{"describes a larval SA", larval_sa, {"esp SA", "spi 0x00000001"}, "reqid"},
	{"describes an SA of another protocol", ipip_sa, {"unknown SA", "192.0.2.1 → 192.0.2.2"}, "esp"},
	{"describes an SA with mark and if_id",
	 marked_sa,
	 {"esp SA", "reqid 11 ", " mark 0x5/0xff", " if_id 0xfedcba98"},
	 "policy"},
	{"describes an SA with mark 0", zero_marked_sa, {"esp SA", " mark 0x0/0xff"}, "if_id"},
	{"describes a policy",
	 some_policy,
	 {"policy 10.1.0.0/16 → 10.2.0.0/16", "dir out", "ptype main", "index 43617"},
	 "mark"},
	{"describes a policy of IPv6", ipv6_policy, {"policy 2001:db8:1::/48 → ::/0"}, "if_id"},
	{"describes a forward sub policy", fwd_sub_policy, {"policy ", "dir fwd", "ptype sub"}, "out"},
	{"describes a policy with mark and if_id",
	 marked_policy,
	 {"policy ", "index", " mark 0x5/0xff", " if_id 0xfedcba98"},
	 "SA"},
	{"describes a policy with if_id alone", if_id_policy, {"policy ", "index 43617 if_id 0xfedcba98"}, "mark"},
	{"describes a policy of no direction and type",
	 strange_policy,
	 {"policy ", "dir unknown", "ptype unknown"},
	 "(null)"},
	{"describes a policy without a selector",
	 policy_without_selector,
	 {"policy ", "dir out", "index 43617"},
	 "mark"},
	{"describes the longest SA",
	 longest_sa,
	 {("unknown SA " LONGEST_ADDRESS " → " LONGEST_ADDRESS), "spi 0xffffffff", "reqid 4294967295",
	  "mark 0xffffffff/0xffffffff", "if_id 0xffffffff"},
	 "policy"},
	{"describes the longest policy",
	 longest_policy,
	 {("policy " LONGEST_PREFIX " → " LONGEST_PREFIX), "dir unknown", "ptype unknown", "index 4294967295",
	  "mark 0xffffffff/0xffffffff", "if_id 0xffffffff"},
	 "SA"},
};

static void write_description(char *buffer, size_t size, const void *what)
{
	assert_ptr_equal(entry_describe(what, buffer, size), buffer);
}

static void describes(void **state)
{
	const struct describe_row *row = *state;
	const struct entry entry = row->entry();
	char buffer[ENTRY_DESCRIPTION_MAX];

	write_description(buffer, sizeof(buffer), &entry);
	assert_ptr_equal(strstr(buffer, row->parts[0]), buffer);
	for (size_t i = 0; i < ARRAY_SIZE(row->parts) && row->parts[i]; i++)
		check_contains(buffer, row->parts[i]);
	assert_null(strstr(buffer, row->not_there));
	assert_null(strchr(buffer, '\n'));
	check_text_fits(write_description, &entry, ENTRY_DESCRIPTION_MAX);
}

/* Checks that an offloaded policy is recognized. */
static void knows_offloading(void **state)
{
	static const struct xfrm_user_offload device = {.ifindex = 3};
	const struct xfrm_userpolicy_info info = {.dir = XFRM_POLICY_OUT};
	struct message message;
	struct entry entry;
	void *block;

	(void)state;
	for (int offloaded = 0; offloaded <= 1; offloaded++) {
		begin(&message, XFRM_MSG_NEWPOLICY, &info, sizeof(info));
		if (offloaded)
			add_attribute(&message, XFRMA_OFFLOAD_DEV, &device, sizeof(device));
		assert_int_equal(decode(&message, 0, &entry, &block), 0);
		assert_int_equal(entry.policy.offloaded, offloaded);
		free(block);
	}
}

/* Checks that the request that ends an SA contains all of the SA but its device. */
static void lets_an_sa_end(void **state)
{
	static const struct xfrm_user_offload device = {.ifindex = 3};
	static const uint32_t interface = 7;
	const struct entry sa = make_sa("192.0.2.1", "192.0.2.2");
	struct message message, without;
	union request request;
	struct entry updated;

	(void)state;
	for (int offloaded = 0; offloaded <= 1; offloaded++) {
		begin(&message, XFRM_MSG_NEWSA, &sa.sa, sizeof(sa.sa));
		add_sa_extras(&message);
		add_attribute(&message, XFRMA_IF_ID, &interface, sizeof(interface));
		if (!offloaded)
			without = message;
		else
			add_attribute(&message, XFRMA_OFFLOAD_DEV, &device, sizeof(device));

		assert_int_equal(build_sa_lifetime(&message.header, 330, &request.header, sizeof(request)), 0);
		assert_int_equal(request.header.nlmsg_type, XFRM_MSG_UPDSA);
		assert_int_equal(request.header.nlmsg_flags, NLM_F_REQUEST);
		assert_int_equal(request.header.nlmsg_len, without.header.nlmsg_len);
		assert_int_equal(entry_decode(&request.header, &updated), 0);
		assert_int_equal(updated.sa.lft.hard_add_expires_seconds, 330);
		updated.sa.lft.hard_add_expires_seconds = sa.sa.lft.hard_add_expires_seconds;
		assert_memory_equal(&updated.sa, &sa.sa, sizeof(sa.sa));
		assert_memory_equal(request.bytes + NLMSG_LENGTH(sizeof(sa.sa)),
				    without.bytes + NLMSG_LENGTH(sizeof(sa.sa)),
				    without.header.nlmsg_len - NLMSG_LENGTH(sizeof(sa.sa)));
	}
	assert_int_equal(build_sa_lifetime(&without.header, 330, &request.header, without.header.nlmsg_len), 0);
	assert_int_equal(build_sa_lifetime(&without.header, 330, &request.header, without.header.nlmsg_len - 1),
			 -EMSGSIZE);
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, decodes, decode_rows);
	ADD_ROWS(&cases, refuses_too_short, too_short_rows);
	ADD_ROWS(&cases, refuses_malformed, malformed_rows);
	ADD_ROWS(&cases, refuses_wrong_length, length_rows);
	ADD_ROWS(&cases, refuses_other_messages, other_rows);
	ADD_ROWS(&cases, names, name_rows);
	ADD_ROWS(&cases, knows_per_socket, per_socket_rows);
	ADD_ROWS(&cases, writes_address, address_rows);
	ADD_ROWS(&cases, describes, describe_rows);
	ADD_CASE(&cases, knows_offloading);
	ADD_CASE(&cases, lets_an_sa_end);
	return cmocka_run_group_tests_name("entry", cases.list, make_templates, NULL);
}
