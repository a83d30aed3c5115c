/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/build.h"

#include <errno.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

void *build_begin(struct nlmsghdr *nlh, uint16_t type, uint16_t flags, size_t size)
{
	memset(nlh, 0, (size_t)nlmsg_total_size((int)size));
	nlh->nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return NLMSG_DATA(nlh);
}

void build_put(struct nlmsghdr *nlh, uint16_t type, const void *data, size_t size)
{
	struct nlattr *attr = nlmsg_tail(nlh);

	attr->nla_type = type;
	attr->nla_len = (uint16_t)(NLA_HDRLEN + size);
	memset(nla_data(attr), 0, NLA_ALIGN(size));
	memcpy(nla_data(attr), data, size);
	nlh->nlmsg_len = (uint32_t)(NLMSG_ALIGN(nlh->nlmsg_len) + NLA_HDRLEN + NLA_ALIGN(size));
}

static void put_mark(struct nlmsghdr *nlh, const struct xfrm_mark *mark)
{
	if (mark->v || mark->m)
		build_put(nlh, XFRMA_MARK, mark, sizeof(*mark));
}

static void put_if_id(struct nlmsghdr *nlh, uint32_t if_id)
{
	if (if_id)
		build_put(nlh, XFRMA_IF_ID, &if_id, sizeof(if_id));
}

void build_put_ptype(struct nlmsghdr *nlh, uint8_t ptype)
{
	const struct xfrm_userpolicy_type type = {.type = ptype};

	build_put(nlh, XFRMA_POLICY_TYPE, &type, sizeof(type));
}

static void fill_sa_id(struct xfrm_usersa_id *id, const struct xfrm_usersa_info *sa)
{
	*id = (struct xfrm_usersa_id){
		.daddr = sa->id.daddr, .spi = sa->id.spi, .family = sa->family, .proto = sa->id.proto};
}

static void put_policy_attributes(struct nlmsghdr *message, const struct entry *policy)
{
	build_put_ptype(message, policy->policy.ptype);
	put_mark(message, &policy->mark);
	put_if_id(message, policy->if_id);
}

/* Adds the security context, which is part of a policy's key except in a request by index. Leaves out the NULs at its
 * end: the kernel appends a NUL to each context that it gets, and counts it in the length that it reports
 * (selinux_xfrm_alloc_user()). Otherwise a context would grow with each copy. */
static void put_security(struct nlmsghdr *message, const struct entry *policy)
{
	const char *bytes = (const char *)policy->policy.security;
	size_t length = policy->policy.security_length;
	struct xfrm_user_sec_ctx context;

	if (!length)
		return;
	while (length > sizeof(context) && !bytes[length - 1])
		length--;
	memcpy(&context, bytes, sizeof(context));
	context.len = (uint16_t)length;
	context.ctx_len = (uint16_t)(length - sizeof(context));

	struct nlattr *attr = nlmsg_tail(message);
	build_put(message, XFRMA_SEC_CTX, bytes, length);
	memcpy(nla_data(attr), &context, sizeof(context));
}

void build_deletion(struct nlmsghdr *message, const struct entry *entry)
{
	if (entry->kind == ENTRY_SA) {
		fill_sa_id(build_begin(message, XFRM_MSG_DELSA, 0, sizeof(struct xfrm_usersa_id)), &entry->sa);
		/* The kernel finds the SA without its source. A refusal sends the source back, so that reports can name
		 * it. */
		build_put(message, XFRMA_SRCADDR, &entry->sa.saddr, sizeof(entry->sa.saddr));
		put_mark(message, &entry->mark);
		put_if_id(message, entry->if_id);
	} else {
		const struct xfrm_userpolicy_info *policy = &entry->policy.info;
		struct xfrm_userpolicy_id *id = build_begin(message, XFRM_MSG_DELPOLICY, 0, sizeof(*id));
		/* If there is an index, the kernel ignores the selector. A refusal sends it back, so that reports can
		 * name it. */
		*id = (struct xfrm_userpolicy_id){.sel = policy->sel, .index = policy->index, .dir = policy->dir};
		put_policy_attributes(message, entry);
	}
}

int build_policy(struct nlmsghdr *message, uint16_t type, const struct entry *policy)
{
	struct xfrm_userpolicy_info info = policy->policy.info;

	if (policy->policy.security_length > REQUEST_SECURITY_MAX)
		return -EMSGSIZE;
	info.index = 0; /* the kernel chooses one */
	/* The structure needs an alignment of 8 bytes, but netlink aligns to 4. */
	memcpy(build_begin(message, type, 0, sizeof(info)), &info, sizeof(info));
	if (policy->policy.n_templates)
		build_put(message, XFRMA_TMPL, policy->policy.templates,
			  policy->policy.n_templates * sizeof(*policy->policy.templates));
	put_policy_attributes(message, policy);
	put_security(message, policy);
	return 0;
}

int build_find_policy(struct nlmsghdr *message, const struct entry *policy)
{
	if (policy->policy.security_length > REQUEST_SECURITY_MAX)
		return -EMSGSIZE;
	struct xfrm_userpolicy_id *id = build_begin(message, XFRM_MSG_GETPOLICY, 0, sizeof(*id));
	id->sel = policy->policy.info.sel;
	id->dir = policy->policy.info.dir;
	put_policy_attributes(message, policy);
	put_security(message, policy);
	return 0;
}

void build_find_sa(struct nlmsghdr *message, const struct entry *sa)
{
	fill_sa_id(build_begin(message, XFRM_MSG_GETSA, 0, sizeof(struct xfrm_usersa_id)), &sa->sa);
	put_mark(message, &sa->mark);
}

int build_sa_lifetime(const struct nlmsghdr *dumped, uint64_t seconds, struct nlmsghdr *message, size_t size)
{
	struct xfrm_usersa_info info;
	const struct nlattr *attr;
	int rest;

	if (dumped->nlmsg_type != XFRM_MSG_NEWSA)
		return -EBADMSG;
	if (dumped->nlmsg_len > size)
		return -EMSGSIZE;
	memcpy(&info, nlmsg_data(dumped), sizeof(info));
	info.lft.hard_add_expires_seconds = seconds;
	memcpy(build_begin(message, XFRM_MSG_UPDSA, 0, sizeof(info)), &info, sizeof(info));
	/* If the request named the device, the kernel would offload the SA a second time (xfrm_state_construct()). */
	nlmsg_for_each_attr(attr, (struct nlmsghdr *)dumped, sizeof(info), rest)
		if (nla_type(attr) != XFRMA_OFFLOAD_DEV)
			build_put(message, (uint16_t)nla_type(attr), nla_data(attr), (size_t)nla_len(attr));
	return 0;
}

void build_spi(struct nlmsghdr *message, const struct entry *sa, uint32_t spi)
{
	const struct xfrm_userspi_info info = {.info = sa->sa, .min = spi, .max = spi};

	memcpy(build_begin(message, XFRM_MSG_ALLOCSPI, 0, sizeof(info)), &info, sizeof(info));
	put_mark(message, &sa->mark);
	put_if_id(message, sa->if_id);
}
