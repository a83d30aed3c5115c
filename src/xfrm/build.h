/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Writes what the kernel is asked over XFRM: messages with their attributes. Pure. Who calls has made sure that there
 * is room. */

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

#include "xfrm/entry.h"

/* The kernel takes a page of security context. */
#define REQUEST_SECURITY_MAX 4096

/* A deletion has at most 120 bytes; a policy 228, its templates, and its security context. */
#define REQUEST_TEMPLATES_MAX (ENTRY_TEMPLATES_MAX * sizeof(struct xfrm_user_tmpl))
#define REQUEST_SIZE (512 + REQUEST_TEMPLATES_MAX + REQUEST_SECURITY_MAX)

/* A single request, with room for its attributes. */
union request {
	struct nlmsghdr header;
	uint64_t alignment;	  /* cppcheck-suppress unusedStructMember ; that of what XFRM's messages begin with */
	char bytes[REQUEST_SIZE]; /* cppcheck-suppress unusedStructMember ; it is the size */
};

/* Starts a message at `nlh` with a zeroed payload of `size` bytes; returns the payload. */
void *build_begin(struct nlmsghdr *nlh, uint16_t type, uint16_t flags, size_t size);

/* Each adds an attribute. */
void build_put(struct nlmsghdr *nlh, uint16_t type, const void *data, size_t size);
void build_put_ptype(struct nlmsghdr *nlh, uint8_t ptype);

/* The deletion of an entry: policies by index, with direction, ptype, mark and if_id; SAs by destination, SPI, protocol
 * and mark. */
void build_deletion(struct nlmsghdr *message, const struct entry *entry);

/* XFRM_MSG_NEWPOLICY or _UPDPOLICY, which differ in their type alone, of a whole policy. -EMSGSIZE when its security
 * context is longer than the kernel takes. */
int build_policy(struct nlmsghdr *message, uint16_t type, const struct entry *policy);

/* The question for a policy of this selector, direction, ptype, mark, if_id and security context. -EMSGSIZE as above.
 */
int build_find_policy(struct nlmsghdr *message, const struct entry *policy);

/* The question for an SA of this destination, SPI, protocol and mark. */
void build_find_sa(struct nlmsghdr *message, const struct entry *sa);

/* Writes, into a buffer of `size` bytes, the request that lets an SA end so many seconds after it was added
 * (XFRM_MSG_UPDSA, of which the kernel takes over the lifetimes: xfrm_state_update()). `dumped` is the message in which
 * a dump showed the SA, as entry_decode() has accepted it: the kernel wants all of it, keys included. Returns 0,
 * -EMSGSIZE, or -EBADMSG for a message of another type. */
int build_sa_lifetime(const struct nlmsghdr *dumped, uint64_t seconds, struct nlmsghdr *message, size_t size);

/* SPIs up to this are reserved (RFC 4303, 2.1; RFC 3173, 3.3): IKE daemons allocate none of them. */
#define REQUEST_SPI_RESERVED_MAX 0xff

/* The allocation of a reserved SPI for a larval SA that has none: with it the SA can be deleted. The kernel refuses it
 * with -ENOENT when another SA has that SPI. */
void build_spi(struct nlmsghdr *message, const struct entry *sa, uint32_t spi);
