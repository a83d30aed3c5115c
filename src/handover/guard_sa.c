/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover/guard_sa.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netlink/xfrm/lifetime.h>
#include <netlink/xfrm/sa.h>
#include <netlink/xfrm/selector.h>

#include "base/netlink.h"
#include "base/util.h"

/* Algorithms of guard SAs. Every kernel with ESP has them, since every IKE daemon offers them. */
#define ENCRYPTION "cbc(aes)"
#define INTEGRITY "hmac(sha256)"
#define INTEGRITY_BITS_SENT 128

static void put_sa(struct xfrmnl_sa **sa)
{
	if (*sa)
		xfrmnl_sa_put(*sa);
}

static void put_selector(struct xfrmnl_sel **selector)
{
	if (*selector)
		xfrmnl_sel_put(*selector);
}

static void put_lifetime(struct xfrmnl_ltime_cfg **lifetime)
{
	if (*lifetime)
		xfrmnl_ltime_cfg_put(*lifetime);
}

static struct nl_addr *address_of(sa_family_t family, const xfrm_address_t *address)
{
	return nl_addr_build(family, address, family == AF_INET ? sizeof(address->a4) : sizeof(*address));
}

/* Among the setters of libnl only those of algorithms can fail, for lack of memory. */

static int set_end_points(struct xfrmnl_sa *guard_sa, const struct xfrm_usersa_info *sa)
{
	CLEANUP(put_address) struct nl_addr *src = address_of(sa->family, &sa->saddr);
	CLEANUP(put_address) struct nl_addr *dst = address_of(sa->family, &sa->id.daddr);

	if (!src || !dst)
		return -ENOMEM;
	xfrmnl_sa_set_saddr(guard_sa, src);
	xfrmnl_sa_set_daddr(guard_sa, dst);
	xfrmnl_sa_set_family(guard_sa, sa->family);
	return 0;
}

/* Gives a guard SA the selector of the guarded SA, because the kernel compares it with packets, and adds xfrmctl's tag
 * to it. */
static int set_selector(struct xfrmnl_sa *guard_sa, const struct xfrm_selector *sel)
{
	CLEANUP(put_selector) struct xfrmnl_sel *selector = xfrmnl_sel_alloc();
	CLEANUP(put_address) struct nl_addr *src = address_of(sel->family, &sel->saddr);
	CLEANUP(put_address) struct nl_addr *dst = address_of(sel->family, &sel->daddr);

	if (!selector || !src || !dst)
		return -ENOMEM;
	xfrmnl_sel_set_saddr(selector, src);
	xfrmnl_sel_set_daddr(selector, dst);
	xfrmnl_sel_set_prefixlen_s(selector, sel->prefixlen_s);
	xfrmnl_sel_set_prefixlen_d(selector, sel->prefixlen_d);
	xfrmnl_sel_set_sport(selector, ntohs(sel->sport));
	xfrmnl_sel_set_sportmask(selector, ntohs(sel->sport_mask));
	xfrmnl_sel_set_dport(selector, ntohs(sel->dport));
	xfrmnl_sel_set_dportmask(selector, ntohs(sel->dport_mask));
	xfrmnl_sel_set_family(selector, sel->family);
	xfrmnl_sel_set_proto(selector, sel->proto);
	xfrmnl_sel_set_ifindex(selector, (unsigned int)sel->ifindex);
	xfrmnl_sel_set_userid(selector, KEPT_TAG);
	xfrmnl_sa_set_sel(guard_sa, selector);
	return 0;
}

static int set_lifetime(struct xfrmnl_sa *guard_sa)
{
	CLEANUP(put_lifetime) struct xfrmnl_ltime_cfg *lifetime = xfrmnl_ltime_cfg_alloc();

	if (!lifetime)
		return -ENOMEM;
	xfrmnl_ltime_cfg_set_soft_bytelimit(lifetime, XFRM_INF);
	xfrmnl_ltime_cfg_set_hard_bytelimit(lifetime, XFRM_INF);
	xfrmnl_ltime_cfg_set_soft_packetlimit(lifetime, XFRM_INF);
	xfrmnl_ltime_cfg_set_hard_packetlimit(lifetime, XFRM_INF);
	xfrmnl_ltime_cfg_set_hard_addexpires(lifetime, GUARD_SA_SECONDS);
	xfrmnl_sa_set_lifetime_cfg(guard_sa, lifetime);
	return 0;
}

static int set_keys(struct xfrmnl_sa *guard_sa, uint8_t proto, const struct guard_sa_keys *keys)
{
	/* libnl's setters copy the keys, but their parameter is not const. */
	struct guard_sa_keys copy = *keys;

	if (proto == IPPROTO_ESP &&
	    xfrmnl_sa_set_crypto_params(guard_sa, ENCRYPTION, sizeof(copy.encryption) * 8, copy.encryption) < 0)
		return -ENOMEM;
	return xfrmnl_sa_set_auth_params(guard_sa, INTEGRITY, sizeof(copy.integrity) * 8, INTEGRITY_BITS_SENT,
					 copy.integrity) < 0
		       ? -ENOMEM
		       : 0;
}

struct entry guard_sa_of(const struct entry *sa)
{
	struct entry guard_sa = {.kind = ENTRY_SA, .mark = sa->mark, .if_id = sa->if_id};
	struct xfrm_usersa_info *info = &guard_sa.sa;

	info->id = sa->sa.id;
	info->id.daddr = entry_plain_address(sa->sa.family, &sa->sa.id.daddr);
	info->id.spi = ~sa->sa.id.spi;
	info->family = sa->sa.family;
	return guard_sa;
}

int guard_sa_compose(const struct entry *sa, const struct guard_sa_keys *keys, struct nl_msg **ret)
{
	CLEANUP(put_sa) struct xfrmnl_sa *guard_sa = xfrmnl_sa_alloc();
	CLEANUP(free_message) struct nl_msg *message = NULL;
	const struct xfrm_usersa_info *info = &sa->sa;

	int r = guard_sa ? set_end_points(guard_sa, info) : -ENOMEM;
	if (r == 0)
		r = set_selector(guard_sa, &info->sel);
	if (r == 0)
		r = set_lifetime(guard_sa);
	if (r == 0)
		r = set_keys(guard_sa, info->id.proto, keys);
	if (r < 0)
		return r;
	xfrmnl_sa_set_spi(guard_sa, ntohl(guard_sa_of(sa).sa.id.spi));
	xfrmnl_sa_set_proto(guard_sa, info->id.proto);
	xfrmnl_sa_set_reqid(guard_sa, info->reqid);
	xfrmnl_sa_set_mode(guard_sa, info->mode);
	/* Without this flag the kernel sets the family of a selector that has none to that of the SA
	 * (copy_from_user_state()). */
	xfrmnl_sa_set_flags(guard_sa, info->sel.family ? 0 : XFRM_STATE_AF_UNSPEC);
	/* The output sequence number is already that of the last packet. */
	xfrmnl_sa_set_replay_state(guard_sa, UINT32_MAX, 0, 0);
	if (sa->mark.v || sa->mark.m)
		xfrmnl_sa_set_mark(guard_sa, sa->mark.v, sa->mark.m);
	if (xfrmnl_sa_build_add_request(guard_sa, 0, &message) < 0)
		return -ENOMEM;
	/* libnl has a setter for this attribute only from version 3.12 on. */
	if (sa->if_id && nla_put_u32(message, XFRMA_IF_ID, sa->if_id) < 0)
		return -ENOMEM;
	nlmsg_hdr(message)->nlmsg_flags |= NLM_F_REQUEST;
	*ret = message;
	message = NULL;
	return 0;
}

bool is_guard_sa(const struct entry *entry)
{
	return entry->kind == ENTRY_SA && entry->sa.sel.user == KEPT_TAG;
}
