/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/parse.h"

#include <errno.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

/* Returns the errno in an NLMSG_ERROR or NLMSG_DONE message, which is 0 or negative, or -EBADMSG for a malformed
 * one. */
static int message_error(const struct nlmsghdr *nlh)
{
	int error;

	if (nlh->nlmsg_len < NLMSG_LENGTH(sizeof(error)))
		return nlh->nlmsg_type == NLMSG_DONE ? 0 : -EBADMSG;
	memcpy(&error, NLMSG_DATA(nlh), sizeof(error));
	return error <= 0 ? error : -EBADMSG;
}

int parse_answer(struct nlmsghdr *first, int length, uint32_t seq, uint16_t type, struct nlmsghdr **ret, bool *refused)
{
	for (struct nlmsghdr *nlh = first; nlmsg_ok(nlh, length); nlh = nlmsg_next(nlh, &length)) {
		if (nlh->nlmsg_seq != seq)
			continue;
		if (nlh->nlmsg_type == NLMSG_ERROR) {
			int r = message_error(nlh);
			*refused = r < 0;
			if (r < 0 || type != NLMSG_ERROR)
				return r < 0 ? r : -EBADMSG;
		}
		if (nlh->nlmsg_type == type) {
			*ret = nlh;
			return 1;
		}
	}
	return 0;
}

int parse_info(struct nlmsghdr *answer, int attribute, void *ret, size_t size)
{
	/* The answer is 32 bits of flags, which the kernel returns unchanged, and then the attributes. */
	const struct nlattr *attr = nlmsg_find_attr(answer, sizeof(uint32_t), attribute);

	if (!attr || (size_t)nla_len(attr) < size)
		return -EBADMSG;
	memcpy(ret, nla_data(attr), size);
	return 0;
}

int parse_dump(struct nlmsghdr *first, int length, uint32_t seq, xfrm_entry_fn fn, void *userdata)
{
	for (struct nlmsghdr *nlh = first; nlmsg_ok(nlh, length); nlh = nlmsg_next(nlh, &length)) {
		struct entry entry;

		if (nlh->nlmsg_seq != seq)
			continue;
		if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR) {
			int r = message_error(nlh);
			return r < 0 ? r : 1;
		}
		int r = entry_decode(nlh, &entry);
		if (r == 0)
			r = fn(&entry, userdata);
		if (r < 0)
			return r;
	}
	return 0;
}

int parse_refusals(struct nlmsghdr *first, int length, parse_refusal_fn fn, void *userdata)
{
	for (struct nlmsghdr *nlh = first; nlmsg_ok(nlh, length); nlh = nlmsg_next(nlh, &length)) {
		const struct nlmsgerr *answer = NLMSG_DATA(nlh);

		if (nlh->nlmsg_type != NLMSG_ERROR)
			continue;
		if (nlh->nlmsg_len < NLMSG_LENGTH(sizeof(*answer)))
			return -EBADMSG;
		int error = message_error(nlh);
		if (error == 0)
			continue;
		/* The answer contains the whole request. */
		if (answer->msg.nlmsg_len > nlh->nlmsg_len - NLMSG_LENGTH(sizeof(answer->error)))
			return -EBADMSG;
		int r = fn(&answer->msg, error, userdata);
		if (r < 0)
			return r;
	}
	return 0;
}

bool event_is_deletion(const struct entry *entry)
{
	return entry->message->nlmsg_type == XFRM_MSG_DELPOLICY || entry->message->nlmsg_type == XFRM_MSG_FLUSHPOLICY;
}

/* Decodes an event. Returns 0, or a negative errno for a malformed event or one that parse_events() leaves out. */
static int decode_event(const struct nlmsghdr *nlh, struct entry *ret)
{
	const struct nlattr *type;

	switch (nlh->nlmsg_type) {
	case XFRM_MSG_NEWSA:
	case XFRM_MSG_UPDSA:
	case XFRM_MSG_NEWPOLICY:
	case XFRM_MSG_UPDPOLICY:
	case XFRM_MSG_DELPOLICY:
		return entry_decode(nlh, ret);
	case XFRM_MSG_FLUSHPOLICY:
		/* The attributes follow the netlink header directly (xfrm_notify_policy_flush()). */
		type = nlmsg_find_attr((struct nlmsghdr *)nlh, 0, XFRMA_POLICY_TYPE);
		*ret = (struct entry){.kind = ENTRY_POLICY, .message = nlh};
		if (type && (size_t)nla_len(type) >= sizeof(struct xfrm_userpolicy_type))
			ret->policy.ptype = *(uint8_t *)nla_data(type);
		return 0;
	default:
		return -ENOMSG;
	}
}

void parse_events(struct nlmsghdr *first, int length, void (*fn)(const struct entry *entry, void *userdata),
		  void *userdata)
{
	for (struct nlmsghdr *nlh = first; nlmsg_ok(nlh, length); nlh = nlmsg_next(nlh, &length)) {
		struct entry entry;

		if (decode_event(nlh, &entry) == 0)
			fn(&entry, userdata);
	}
}
