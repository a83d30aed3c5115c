/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stopper.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "request.h"

/* Algorithms that every kernel with ESP has, since every IKE daemon offers them. */
#define ENCRYPTION "cbc(aes)"
#define ENCRYPTION_BYTES 16
#define INTEGRITY "hmac(sha256)"
#define INTEGRITY_BYTES 32
#define INTEGRITY_BITS_SENT 128

/* The kernel's structures for algorithms, in front of their keys. */
struct encryption {
	char name[64];
	uint32_t key_bits;
	unsigned char key[ENCRYPTION_BYTES];
};
_Static_assert(offsetof(struct encryption, key) == sizeof(struct xfrm_algo), "struct xfrm_algo and its key");

struct integrity {
	char name[64];
	uint32_t key_bits, bits_sent;
	unsigned char key[INTEGRITY_BYTES];
};
_Static_assert(offsetof(struct integrity, key) == sizeof(struct xfrm_algo_auth), "struct xfrm_algo_auth and its key");

static int put_keys(struct nlmsghdr *nlh, uint8_t proto)
{
	struct encryption encryption = {.name = ENCRYPTION, .key_bits = ENCRYPTION_BYTES * 8};
	struct integrity integrity = {
		.name = INTEGRITY, .key_bits = INTEGRITY_BYTES * 8, .bits_sent = INTEGRITY_BITS_SENT};

	if (getrandom(encryption.key, sizeof(encryption.key), 0) != sizeof(encryption.key) ||
	    getrandom(integrity.key, sizeof(integrity.key), 0) != sizeof(integrity.key))
		return -EIO;
	if (proto == IPPROTO_ESP)
		request_put(nlh, XFRMA_ALG_CRYPT, &encryption, sizeof(encryption));
	request_put(nlh, XFRMA_ALG_AUTH_TRUNC, &integrity, sizeof(integrity));
	return 0;
}

struct entry stopper_of(const struct entry *sa)
{
	struct entry stopper = {.kind = ENTRY_SA, .mark = sa->mark, .if_id = sa->if_id};
	struct xfrm_usersa_info *info = &stopper.sa;

	info->id = sa->sa.id;
	info->id.spi = ~sa->sa.id.spi;
	info->family = sa->sa.family;
	return stopper;
}

int stopper_write(const struct entry *sa, union stopper_message *message)
{
	static const struct xfrm_replay_state exhausted = {.oseq = UINT32_MAX};
	struct xfrm_usersa_info info = stopper_of(sa).sa;
	struct nlmsghdr *nlh = &message->header;

	info.sel = sa->sa.sel;
	info.sel.user = SHADOW_KEEP;
	info.saddr = sa->sa.saddr;
	info.reqid = sa->sa.reqid;
	info.mode = sa->sa.mode;
	info.lft = (struct xfrm_lifetime_cfg){.soft_byte_limit = XFRM_INF,
					      .hard_byte_limit = XFRM_INF,
					      .soft_packet_limit = XFRM_INF,
					      .hard_packet_limit = XFRM_INF,
					      .hard_add_expires_seconds = STOPPER_SECONDS};
	/* Without it the kernel makes a selector without family one of the SA's own (copy_from_user_state()). */
	info.flags = info.sel.family ? 0 : XFRM_STATE_AF_UNSPEC;

	memset(message, 0, sizeof(*message));
	*nlh = (struct nlmsghdr){
		.nlmsg_len = NLMSG_LENGTH(sizeof(info)), .nlmsg_type = XFRM_MSG_NEWSA, .nlmsg_flags = NLM_F_REQUEST};
	memcpy(NLMSG_DATA(nlh), &info, sizeof(info));
	request_put(nlh, XFRMA_REPLAY_VAL, &exhausted, sizeof(exhausted));
	request_put_mark(nlh, &sa->mark);
	request_put_if_id(nlh, sa->if_id);
	return put_keys(nlh, sa->sa.id.proto);
}

bool stopper_is(const struct entry *entry)
{
	return entry->kind == ENTRY_SA && entry->sa.sel.user == SHADOW_KEEP;
}
