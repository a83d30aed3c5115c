/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* One SA or one policy of the kernel as plain data, decoded from a netlink message. Pure: no function here communicates
 * with the kernel. */

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

/* Maximum number of templates of a policy: XFRM_MAX_DEPTH of the kernel (include/net/xfrm.h). */
#define ENTRY_TEMPLATES_MAX 6

/* One SA or one policy. `templates` and `security` point into `message`, and are valid as long as it is. The other
 * members are copies, because netlink aligns messages to 4 bytes and the XFRM structures need 8. */
struct entry {
	enum entry_kind kind;
	const struct nlmsghdr *message; /* the message that was decoded */
	struct xfrm_mark mark;		/* v and m are 0 without a mark */
	uint32_t if_id;			/* 0 without an if_id */
	bool larval;			/* an SA without algorithms: it is being negotiated */
	union {
		struct xfrm_usersa_info sa;
		struct {
			struct xfrm_userpolicy_info info;
			uint8_t ptype; /* XFRM_POLICY_TYPE_MAIN or XFRM_POLICY_TYPE_SUB */
			size_t n_templates;
			const struct xfrm_user_tmpl *templates;
			size_t security_length; /* bytes of `security` and its text; 0 without a context */
			const struct xfrm_user_sec_ctx *security;
			/* Whether the policy is offloaded to a device. It then uses only SAs that are offloaded to the
			 * same device. */
			bool offloaded;
		} policy;
	};
};

/* Maximum size of a text of entry_describe(), in bytes. */
#define ENTRY_DESCRIPTION_MAX 256

/* Decodes a message about one SA or policy. XFRM_MSG_NEWSA, _UPDSA, _NEWPOLICY and _UPDPOLICY carry a whole entry, as
 * in a dump. The kernel's event XFRM_MSG_DELPOLICY carries one without its security context. XFRM_MSG_DELSA and a
 * request XFRM_MSG_DELPOLICY only name an entry; members that they do not carry are 0. Returns 0, -ENOMSG for a message
 * of another type, or -EBADMSG for a message that is too short or has a malformed attribute. */
int entry_decode(const struct nlmsghdr *message, struct entry *ret);

/* Returns the selector of an SA or of a policy. */
const struct xfrm_selector *entry_selector(const struct entry *entry);

/* Returns whether a socket option installed this policy (IP_XFRM_POLICY). In a dump, the low three bits of its index
 * then hold a direction of XFRM_POLICY_MAX or above (xfrm_gen_index() and xfrm_sk_policy_insert() in
 * net/xfrm/xfrm_policy.c). Such a policy cannot be deleted by index. */
bool entry_is_per_socket(const struct entry *entry);

/* Writes a one-line description for messages ("policy 10.1.0.0/16 → 10.2.0.0/16 dir out …") into a buffer of `size`
 * bytes, at least 1. Returns `buffer`. */
const char *entry_describe(const struct entry *entry, char *buffer, size_t size);

/* Returns the name of a protocol, direction, policy type or mode as `ip xfrm` writes it, or NULL when it has none. */
const char *entry_proto_name(uint8_t proto);
const char *entry_dir_name(uint8_t dir);
const char *entry_ptype_name(uint8_t ptype);
const char *entry_mode_name(uint8_t mode);

/* Returns the value for a name that the functions above return, or -EINVAL for any other name. */
int entry_proto_from_name(const char *name);
int entry_dir_from_name(const char *name);
int entry_ptype_from_name(const char *name);

/* Returns a copy of an address. For AF_INET, the rest of the union is 0 in the copy, because it is not part of the
 * address. */
xfrm_address_t entry_plain_address(sa_family_t family, const xfrm_address_t *address);

/* Writes an address of family AF_INET or AF_INET6 as text into a buffer of INET6_ADDRSTRLEN bytes. Returns `buffer`. */
const char *entry_address(sa_family_t family, const xfrm_address_t *address, char *buffer);
