/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* One SA or one policy of the kernel as plain data, decoded from a netlink message. Pure: nothing here talks to the
 * kernel. */

#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum entry_kind {
	ENTRY_SA,
	ENTRY_POLICY,
};

/* XFRM_MAX_DEPTH of the kernel (include/net/xfrm.h): no policy has more templates. */
#define ENTRY_TEMPLATES_MAX 6

/* `message` is what was decoded; `templates` and `security` point into it, and are valid as long as it is; everything
 * else is a copy, because netlink aligns messages to 4 bytes and the XFRM structures want 8. */
struct entry {
	enum entry_kind kind;
	const struct nlmsghdr *message;
	struct xfrm_mark mark; /* v and m are 0 when the entry has no mark */
	uint32_t if_id;	       /* 0 when the entry has none */
	bool larval;	       /* an SA without algorithms: it is being negotiated */
	union {
		struct xfrm_usersa_info sa;
		struct {
			struct xfrm_userpolicy_info info;
			uint8_t ptype; /* XFRM_POLICY_TYPE_MAIN or _SUB */
			size_t n_templates;
			const struct xfrm_user_tmpl *templates;
			size_t security_length; /* bytes, with the text behind the structure; 0 without context */
			const struct xfrm_user_sec_ctx *security;
			bool offloaded; /* to a device: it uses only SAs that are offloaded to that device */
		} policy;
	};
};

/* Long enough for every answer of entry_describe(). */
#define ENTRY_DESCRIPTION_MAX 256

/* Decodes a message about one SA or policy: XFRM_MSG_NEWSA, _UPDSA, _NEWPOLICY and _UPDPOLICY as they come in a dump,
 * and _DELSA and _DELPOLICY, which name an entry only: what they do not carry is 0. Returns 0, -ENOMSG for a message of
 * another type, -EBADMSG for one that is too short or has a malformed attribute. */
int entry_decode(const struct nlmsghdr *message, struct entry *ret);

/* The selector of an SA or of a policy. */
const struct xfrm_selector *entry_selector(const struct entry *entry);

/* Whether this is a policy that a socket option installed (IP_XFRM_POLICY). They appear in dumps with a direction of
 * XFRM_POLICY_MAX or above in the low three bits of their index (xfrm_gen_index() and xfrm_sk_policy_insert() in
 * net/xfrm/xfrm_policy.c), and cannot be deleted by index. */
bool entry_is_per_socket(const struct entry *entry);

/* Writes a one-line description for messages ("policy 10.1.0.0/16 → 10.2.0.0/16 dir out …"); returns `buffer`.
 * `size` is not 0. */
const char *entry_describe(const struct entry *entry, char *buffer, size_t size);

/* The name of a protocol, direction, policy type or mode as `ip xfrm` writes it; NULL when it has none. */
const char *entry_proto_name(uint8_t proto);
const char *entry_dir_name(uint8_t dir);
const char *entry_ptype_name(uint8_t ptype);
const char *entry_mode_name(uint8_t mode);

/* The value for a name that the functions above return, or -EINVAL. */
int entry_proto_from_name(const char *name);
int entry_dir_from_name(const char *name);
int entry_ptype_from_name(const char *name);

/* An address without what lies behind an IPv4 address in the union, which is not part of it. */
xfrm_address_t entry_plain_address(sa_family_t family, const xfrm_address_t *address);

/* Writes an address of family AF_INET or AF_INET6 as text into a buffer of INET6_ADDRSTRLEN bytes; returns `buffer`. */
const char *entry_address(sa_family_t family, const xfrm_address_t *address, char *buffer);
