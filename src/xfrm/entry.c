/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/entry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static const struct name {
	int value;
	const char *name;
} protos[] = {{IPPROTO_ESP, "esp"}, {IPPROTO_AH, "ah"}, {IPPROTO_COMP, "comp"}},
  dirs[] = {{XFRM_POLICY_IN, "in"}, {XFRM_POLICY_OUT, "out"}, {XFRM_POLICY_FWD, "fwd"}},
  ptypes[] = {{XFRM_POLICY_TYPE_MAIN, "main"}, {XFRM_POLICY_TYPE_SUB, "sub"}},
  modes[] = {{XFRM_MODE_TRANSPORT, "transport"},
	     {XFRM_MODE_TUNNEL, "tunnel"},
	     {XFRM_MODE_ROUTEOPTIMIZATION, "ro"},
	     {XFRM_MODE_IN_TRIGGER, "in_trigger"},
	     {XFRM_MODE_BEET, "beet"}};

static const char *name_of(const struct name *names, size_t n, int value)
{
	for (size_t i = 0; i < n; i++)
		if (names[i].value == value)
			return names[i].name;
	return NULL;
}

static int value_of(const struct name *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].value;
	return -EINVAL;
}

const char *entry_proto_name(uint8_t proto)
{
	return name_of(protos, ARRAY_SIZE(protos), proto);
}

const char *entry_dir_name(uint8_t dir)
{
	return name_of(dirs, ARRAY_SIZE(dirs), dir);
}

const char *entry_ptype_name(uint8_t ptype)
{
	return name_of(ptypes, ARRAY_SIZE(ptypes), ptype);
}

const char *entry_mode_name(uint8_t mode)
{
	return name_of(modes, ARRAY_SIZE(modes), mode);
}

int entry_proto_from_name(const char *name)
{
	return value_of(protos, ARRAY_SIZE(protos), name);
}

int entry_dir_from_name(const char *name)
{
	return value_of(dirs, ARRAY_SIZE(dirs), name);
}

int entry_ptype_from_name(const char *name)
{
	return value_of(ptypes, ARRAY_SIZE(ptypes), name);
}

/* Lengths of attributes, in bytes. libnl checks them before an attribute is read. */
static const struct nla_policy attributes[XFRMA_MAX + 1] = {
	[XFRMA_MARK] = {.minlen = sizeof(struct xfrm_mark)},
	[XFRMA_IF_ID] = {.minlen = sizeof(uint32_t)},
	[XFRMA_POLICY_TYPE] = {.minlen = sizeof(struct xfrm_userpolicy_type)},
	[XFRMA_SRCADDR] = {.minlen = sizeof(xfrm_address_t)},
	[XFRMA_POLICY] = {.minlen = sizeof(struct xfrm_userpolicy_info)},
	[XFRMA_TMPL] = {.maxlen = ENTRY_TEMPLATES_MAX * sizeof(struct xfrm_user_tmpl)},
	[XFRMA_SEC_CTX] = {.minlen = sizeof(struct xfrm_user_sec_ctx)},
};

/* Copies the structure that a message of this type begins with into `entry`, unless `data` is NULL. Returns the size of
 * that structure, or -ENOMSG for a type that entry_decode() does not decode. */
static int decode_header(uint16_t type, const void *data, struct entry *entry)
{
	struct xfrm_userpolicy_id policy;
	struct xfrm_usersa_id sa;

	switch (type) {
	case XFRM_MSG_NEWSA:
	case XFRM_MSG_UPDSA:
		entry->kind = ENTRY_SA;
		if (data)
			memcpy(&entry->sa, data, sizeof(entry->sa));
		return sizeof(entry->sa);
	case XFRM_MSG_DELSA:
		entry->kind = ENTRY_SA;
		if (data) {
			memcpy(&sa, data, sizeof(sa));
			entry->sa.id = (struct xfrm_id){.daddr = sa.daddr, .spi = sa.spi, .proto = sa.proto};
			entry->sa.family = sa.family;
		}
		return sizeof(sa);
	case XFRM_MSG_NEWPOLICY:
	case XFRM_MSG_UPDPOLICY:
		entry->kind = ENTRY_POLICY;
		if (data)
			memcpy(&entry->policy.info, data, sizeof(entry->policy.info));
		return sizeof(entry->policy.info);
	case XFRM_MSG_DELPOLICY:
		entry->kind = ENTRY_POLICY;
		if (data) {
			memcpy(&policy, data, sizeof(policy));
			entry->policy.info = (struct xfrm_userpolicy_info){
				.sel = policy.sel, .index = policy.index, .dir = policy.dir};
		}
		return sizeof(policy);
	default:
		return -ENOMSG;
	}
}

int entry_decode(const struct nlmsghdr *message, struct entry *ret)
{
	struct nlattr *tb[XFRMA_MAX + 1];
	/* libnl's functions take messages that are not const, but change nothing in them. */
	struct nlmsghdr *nlh = (struct nlmsghdr *)message;
	struct entry entry = {.message = message};

	int header = decode_header(nlh->nlmsg_type, NULL, &entry);
	if (header < 0)
		return header;
	if (nlmsg_parse(nlh, header, tb, XFRMA_MAX, attributes) < 0)
		return -EBADMSG;
	/* nlmsg_parse() stops at an attribute that does not fit, and reports no error. The entry could then seem to
	 * have no mark, and an --exclude would not match it. */
	struct nlattr *attr;
	int rest;
	nlmsg_for_each_attr(attr, nlh, header, rest)
		;
	if (rest > 0)
		return -EBADMSG;
	decode_header(nlh->nlmsg_type, nlmsg_data(nlh), &entry);

	if (entry.kind == ENTRY_SA) {
		if (tb[XFRMA_SRCADDR])
			memcpy(&entry.sa.saddr, nla_data(tb[XFRMA_SRCADDR]), sizeof(entry.sa.saddr));
		/* The kernel shows no algorithm of an SA that only has an SPI, or that stands for an acquire
		 * (copy_to_user_state_extra()). */
		entry.larval = !tb[XFRMA_ALG_AEAD] && !tb[XFRMA_ALG_CRYPT] && !tb[XFRMA_ALG_AUTH] &&
			       !tb[XFRMA_ALG_AUTH_TRUNC] && !tb[XFRMA_ALG_COMP];
	} else {
		/* An event about a deletion carries the policy in an attribute, whether the request named it by
		 * selector or by index (xfrm_notify_policy()). */
		if (nlh->nlmsg_type == XFRM_MSG_DELPOLICY && tb[XFRMA_POLICY])
			memcpy(&entry.policy.info, nla_data(tb[XFRMA_POLICY]), sizeof(entry.policy.info));
		if (tb[XFRMA_POLICY_TYPE])
			entry.policy.ptype = *(uint8_t *)nla_data(tb[XFRMA_POLICY_TYPE]);
		if (tb[XFRMA_TMPL]) {
			size_t length = (size_t)nla_len(tb[XFRMA_TMPL]);
			if (length % sizeof(struct xfrm_user_tmpl) != 0)
				return -EBADMSG;
			entry.policy.n_templates = length / sizeof(struct xfrm_user_tmpl);
			entry.policy.templates = nla_data(tb[XFRMA_TMPL]);
		}
		if (tb[XFRMA_SEC_CTX]) {
			entry.policy.security_length = (size_t)nla_len(tb[XFRMA_SEC_CTX]);
			entry.policy.security = nla_data(tb[XFRMA_SEC_CTX]);
		}
		entry.policy.offloaded = tb[XFRMA_OFFLOAD_DEV] != NULL;
	}

	if (tb[XFRMA_MARK])
		memcpy(&entry.mark, nla_data(tb[XFRMA_MARK]), sizeof(entry.mark));
	if (tb[XFRMA_IF_ID])
		entry.if_id = nla_get_u32(tb[XFRMA_IF_ID]);

	*ret = entry;
	return 0;
}

const struct xfrm_selector *entry_selector(const struct entry *entry)
{
	return entry->kind == ENTRY_SA ? &entry->sa.sel : &entry->policy.info.sel;
}

bool entry_is_per_socket(const struct entry *entry)
{
	return entry->kind == ENTRY_POLICY && (entry->policy.info.index & 7) >= XFRM_POLICY_MAX;
}

xfrm_address_t entry_plain_address(sa_family_t family, const xfrm_address_t *address)
{
	xfrm_address_t plain = {0};

	if (family != AF_INET)
		return *address;
	plain.a4 = address->a4;
	return plain;
}

const char *entry_address(sa_family_t family, const xfrm_address_t *address, char *buffer)
{
	if (!inet_ntop(family, address, buffer, INET6_ADDRSTRLEN))
		snprintf(buffer, INET6_ADDRSTRLEN, "?");
	return buffer;
}

const char *entry_describe(const struct entry *entry, char *buffer, size_t size)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];

	if (entry->kind == ENTRY_SA) {
		const struct xfrm_usersa_info *sa = &entry->sa;
		const char *proto = entry_proto_name(sa->id.proto);
		snprintf(buffer, size, "%s SA %s → %s spi 0x%08x", proto ? proto : "unknown",
			 entry_address(sa->family, &sa->saddr, src), entry_address(sa->family, &sa->id.daddr, dst),
			 ntohl(sa->id.spi));
	} else {
		const struct xfrm_userpolicy_info *policy = &entry->policy.info;
		const struct xfrm_selector *sel = &policy->sel;
		const char *dir = entry_dir_name(policy->dir);
		const char *ptype = entry_ptype_name(entry->policy.ptype);
		snprintf(buffer, size, "policy %s/%u → %s/%u dir %s ptype %s index %u",
			 entry_address(sel->family, &sel->saddr, src), sel->prefixlen_s,
			 entry_address(sel->family, &sel->daddr, dst), sel->prefixlen_d, dir ? dir : "unknown",
			 ptype ? ptype : "unknown", policy->index);
	}

	size_t used = strlen(buffer);
	/* The message of a deletion does not carry the reqid: it is 0 then. */
	if (entry->kind == ENTRY_SA && entry->sa.reqid)
		used += (size_t)snprintf(buffer + used, size - used, " reqid %u", entry->sa.reqid);
	if (entry->mark.m && used < size)
		used += (size_t)snprintf(buffer + used, size - used, " mark 0x%x/0x%x", entry->mark.v, entry->mark.m);
	if (entry->if_id && used < size)
		snprintf(buffer + used, size - used, " if_id 0x%x", entry->if_id);
	return buffer;
}
