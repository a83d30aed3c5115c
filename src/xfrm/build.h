/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Builds requests to XFRM: messages with their attributes. Pure. The caller ensures that the buffer is large enough. */

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

#include "xfrm/entry.h"

/* Maximum size of a security context, in bytes: the kernel accepts a page. */
#define REQUEST_SECURITY_MAX 4096

/* Maximum size of the templates of a policy, in bytes. */
#define REQUEST_TEMPLATES_MAX (ENTRY_TEMPLATES_MAX * sizeof(struct xfrm_user_tmpl))

/* Size of the buffer for a request, in bytes. A deletion has at most 112 bytes. A policy has at most 224 bytes, plus
 * its templates and its security context. */
#define REQUEST_SIZE (512 + REQUEST_TEMPLATES_MAX + REQUEST_SECURITY_MAX)

/* A single request, with room for its attributes. */
union request {
	struct nlmsghdr header;
	uint64_t alignment;	  /* cppcheck-suppress unusedStructMember ; it aligns XFRM's structures */
	char bytes[REQUEST_SIZE]; /* cppcheck-suppress unusedStructMember ; it sets the size */
};

/* Starts a message at `nlh` with a zeroed payload of `size` bytes. Returns the payload. */
void *build_begin(struct nlmsghdr *nlh, uint16_t type, uint16_t flags, size_t size);

/* Adds an attribute with a copy of `data`, which has `size` bytes. */
void build_put(struct nlmsghdr *nlh, uint16_t type, const void *data, size_t size);

/* Adds the type of a policy (XFRMA_POLICY_TYPE). */
void build_put_ptype(struct nlmsghdr *nlh, uint8_t ptype);

/* Builds the deletion of an entry. The request names a policy by index, direction, ptype, mark and if_id, and an SA by
 * destination, SPI, protocol and mark. */
void build_deletion(struct nlmsghdr *message, const struct entry *entry);

/* Builds XFRM_MSG_NEWPOLICY or XFRM_MSG_UPDPOLICY, which differ only in their type, with all of a policy but its index.
 * Returns 0, or -EMSGSIZE when the security context is longer than the kernel accepts. */
int build_policy(struct nlmsghdr *message, uint16_t type, const struct entry *policy);

/* Builds the request for the policy with this selector, direction, ptype, mark, if_id and security context. Returns
 * like build_policy(). */
int build_find_policy(struct nlmsghdr *message, const struct entry *policy);

/* Builds the request for the SA with this destination, SPI, protocol and mark. */
void build_find_sa(struct nlmsghdr *message, const struct entry *sa);

/* Builds, in a buffer of `size` bytes, the request that ends an SA `seconds` after it was added. This is
 * XFRM_MSG_UPDSA, from which the kernel takes the lifetimes (xfrm_state_update()). `dumped` is the message of the SA in
 * a dump, which entry_decode() has accepted. The request repeats it with its keys, because the kernel needs the whole
 * SA. Returns 0, -EMSGSIZE when the buffer is too small, or -EBADMSG when `dumped` has another type. */
int build_sa_lifetime(const struct nlmsghdr *dumped, uint64_t seconds, struct nlmsghdr *message, size_t size);

/* Largest reserved SPI (RFC 4303, 2.1; RFC 3173, 3.3). IKE daemons allocate only larger ones. */
#define REQUEST_SPI_RESERVED_MAX 0xff

/* Builds the request that allocates a reserved SPI for a larval SA that has no SPI, so that the SA can be deleted by
 * SPI. The kernel refuses the request with -ENOENT when another SA has this SPI. */
void build_spi(struct nlmsghdr *message, const struct entry *sa, uint32_t spi);
