/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "routes/message.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stddef.h>
#include <string.h>

#include "base/netlink.h"
#include "base/util.h"

/* Flags of a listed route that the kernel accepts in a request. The other flags describe the state of the link. */
#define FLAGS_TO_KEEP (RTNH_F_PERVASIVE | RTNH_F_ONLINK)

/* Reads an address of this family. Sets `has` to whether there is one. */
static void read_address(struct nl_addr *from, sa_family_t family, bool *has, xfrm_address_t *ret)
{
	*has = from && nl_addr_get_family(from) == family && nl_addr_get_len(from) == prefix_max_length(family) / 8;
	if (*has)
		memcpy(ret, nl_addr_get_binary_addr(from), nl_addr_get_len(from));
}

/* Fills `ret` and `ifindex` from a route of libnl, which `ret` refers to as `object`. */
static void read_route(struct rtnl_route *object, struct route *ret, unsigned int *ifindex)
{
	struct nl_addr *dst = rtnl_route_get_dst(object);
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(object, 0);
	sa_family_t family = rtnl_route_get_family(object);
	bool has_dst;

	*ret = (struct route){
		.dst.family = family,
		.table = rtnl_route_get_table(object),
		.metric = rtnl_route_get_priority(object),
		.protocol = rtnl_route_get_protocol(object),
		.tos = rtnl_route_get_tos(object),
		.type = rtnl_route_get_type(object),
		.object = object,
	};
	read_address(dst, family, &has_dst, &ret->dst.address);
	ret->dst.length = dst ? (uint8_t)nl_addr_get_prefixlen(dst) : 0;
	read_address(rtnl_route_get_pref_src(object), family, &ret->has_src, &ret->src);
	if (hop && rtnl_route_get_nnexthops(object) == 1)
		read_address(rtnl_route_nh_get_gateway(hop), family, &ret->has_gateway, &ret->gateway);
	*ifindex = hop ? (unsigned int)rtnl_route_nh_get_ifindex(hop) : 0;
}

/* Removes the flags that describe the link's state from a next hop. */
static void keep_flags(struct rtnl_nexthop *hop, void *userdata)
{
	(void)userdata;
	rtnl_route_nh_unset_flags(hop, ~(unsigned int)FLAGS_TO_KEEP);
}

/* Returns whether each RTA_VIA is long enough for its header. libnl (3.7, lib/route/route_obj.c) does not check this.
 */
static bool has_sound_vias(const struct nlattr *attributes, int length)
{
	const struct nlattr *attr;
	int rest;

	nla_for_each_attr(attr, attributes, length, rest)
		if (nla_type(attr) == RTA_VIA && (size_t)nla_len(attr) < offsetof(struct rtvia, rtvia_addr))
			return false;
	return true;
}

/* Returns whether all next hops of an RTA_MULTIPATH are within the attribute. libnl finds each next hop by the length
 * of the one before it. It checks neither that the length is positive, nor that the next hop is still within the
 * attribute. */
static bool has_sound_hops(const struct nlattr *hops)
{
	size_t rest = (size_t)nla_len(hops);
	const char *next = nla_data(hops);
	struct rtnexthop hop;

	for (; rest >= sizeof(hop); next += RTNH_ALIGN(hop.rtnh_len)) {
		memcpy(&hop, next, sizeof(hop));
		if (hop.rtnh_len < sizeof(hop) || (size_t)RTNH_ALIGN(hop.rtnh_len) > rest ||
		    !has_sound_vias((const void *)(next + sizeof(hop)), hop.rtnh_len - (int)sizeof(hop)))
			return false;
		rest -= (size_t)RTNH_ALIGN(hop.rtnh_len);
	}
	return true;
}

/* Returns whether the attributes of a route are safe for libnl's parser. */
static bool is_sound(const struct nlattr *attributes, int length)
{
	const struct nlattr *attr;
	int rest;

	nla_for_each_attr(attr, attributes, length, rest)
		if (nla_type(attr) == RTA_MULTIPATH && !has_sound_hops(attr))
			return false;
	return has_sound_vias(attributes, length);
}

int rtnl_message_route(struct nlmsghdr *nlh, sa_family_t family, uint32_t table, struct route *ret,
		       unsigned int *ifindex)
{
	const struct rtmsg *rtm = nlmsg_data(nlh);
	struct rtnl_route *object;

	/* A kernel without IPv6 answers with the routes of other families. */
	if (nlh->nlmsg_type != RTM_NEWROUTE || !nlmsg_valid_hdr(nlh, sizeof(*rtm)) || rtm->rtm_family != family ||
	    rtm->rtm_flags & RTM_F_CLONED)
		return 0;
	if (!is_sound(nlmsg_attrdata(nlh, sizeof(*rtm)), nlmsg_attrlen(nlh, sizeof(*rtm))) ||
	    rtnl_route_parse(nlh, &object) < 0)
		return -EBADMSG;
	rtnl_route_unset_flags(object, ~(uint32_t)FLAGS_TO_KEEP);
	rtnl_route_foreach_nexthop(object, keep_flags, NULL);
	read_route(object, ret, ifindex);
	bool sound = ret->dst.length <= prefix_max_length(family);
	if (sound && ret->table == table)
		return 1;
	rtnl_route_put(object);
	return sound ? 0 : -EBADMSG;
}

static void put_route(struct rtnl_route **route)
{
	rtnl_route_put(*route);
}

int rtnl_message_to_gateway(const struct route *route, const struct route *cover, struct route *ret)
{
	sa_family_t family = route->dst.family;
	size_t length = prefix_max_length(family) / 8;
	struct rtnl_nexthop *of_route = rtnl_route_nexthop_n(route->object, 0);
	CLEANUP(put_route) struct rtnl_route *object = rtnl_route_alloc();
	CLEANUP(put_address) struct nl_addr *dst = nl_addr_build(family, &route->gateway, length);
	CLEANUP(put_address) struct nl_addr *src = nl_addr_build(family, &cover->src, length);
	struct rtnl_nexthop *hop = object ? rtnl_route_nh_alloc() : NULL;
	unsigned int ifindex;

	if (hop)
		rtnl_route_add_nexthop(object, hop);
	if (!hop || !dst || !src)
		return -ENOMEM;
	rtnl_route_nh_set_ifindex(hop, of_route ? rtnl_route_nh_get_ifindex(of_route) : 0);
	rtnl_route_set_family(object, (uint8_t)family);
	rtnl_route_set_table(object, route->table);
	rtnl_route_set_type(object, RTN_UNICAST);
	rtnl_route_set_scope(object, RT_SCOPE_UNIVERSE);
	if (rtnl_route_set_dst(object, dst) < 0 || (cover->has_src && rtnl_route_set_pref_src(object, src) < 0))
		return -ENOMEM;
	read_route(object, ret, &ifindex);
	memcpy(ret->device, route->device, sizeof(ret->device));
	object = NULL;
	return 0;
}

int rtnl_message_next_hop(const struct route *route, bool onlink, uint8_t protocol, struct rtnl_nexthop *ret)
{
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route->object, 0);

	if (!hop || rtnl_route_get_nnexthops(route->object) != 1)
		return -EOPNOTSUPP;
	onlink |= (rtnl_route_get_flags(route->object) & RTNH_F_ONLINK) != 0;
	*ret = (struct rtnl_nexthop){
		/* rtm_to_nh_config() refuses RTNH_F_ONLINK without a gateway. */
		.flags = onlink && route->has_gateway ? RTNH_F_ONLINK : 0,
		.ifindex = (uint32_t)rtnl_route_nh_get_ifindex(hop),
		.family = route->dst.family,
		.protocol = protocol,
		.has_gateway = route->has_gateway,
		.gateway = route->gateway,
	};
	return 0;
}

bool rtnl_message_is_same_hop(const struct rtnl_nexthop *a, const struct rtnl_nexthop *b)
{
	return a->family == b->family && a->ifindex == b->ifindex && a->flags == b->flags &&
	       a->has_gateway == b->has_gateway && memcmp(a->gateway.a6, b->gateway.a6, sizeof(a->gateway.a6)) == 0;
}

/* Returns the value of an attribute of 32 bits, or 0 if there is no such attribute. */
static uint32_t read_number(struct nlmsghdr *nlh, int header, int type)
{
	const struct nlattr *attr = nlmsg_find_attr(nlh, header, type);

	return attr && nla_len(attr) == sizeof(uint32_t) ? nla_get_u32(attr) : 0;
}

bool rtnl_message_nexthop(struct nlmsghdr *nlh, struct rtnl_nexthop *ret)
{
	const struct nhmsg *nhm = nlmsg_data(nlh);

	if (nlh->nlmsg_type != RTM_NEWNEXTHOP || !nlmsg_valid_hdr(nlh, sizeof(*nhm)))
		return false;
	*ret = (struct rtnl_nexthop){
		.id = read_number(nlh, sizeof(*nhm), NHA_ID),
		.flags = nhm->nh_flags & RTNH_F_ONLINK,
		.ifindex = read_number(nlh, sizeof(*nhm), NHA_OIF),
		.family = nhm->nh_family,
		.protocol = nhm->nh_protocol,
	};
	const struct nlattr *gateway = nlmsg_find_attr(nlh, sizeof(*nhm), NHA_GATEWAY);
	ret->has_gateway = gateway && nla_len(gateway) > 0 && (size_t)nla_len(gateway) <= sizeof(ret->gateway);
	if (ret->has_gateway)
		memcpy(&ret->gateway, nla_data(gateway), (size_t)nla_len(gateway));
	return true;
}

int rtnl_message_change_nexthop(const struct rtnl_nexthop *nexthop, int type, int flags, struct nl_msg **ret)
{
	const struct nhmsg nhm = {.nh_family = (unsigned char)nexthop->family,
				  .nh_protocol = nexthop->protocol,
				  .nh_flags = nexthop->flags};
	CLEANUP(free_message) struct nl_msg *request = nlmsg_alloc_simple(type, flags);

	if (!request || nlmsg_append(request, (void *)&nhm, sizeof(nhm), NLMSG_ALIGNTO) < 0 ||
	    nla_put_u32(request, NHA_ID, nexthop->id) < 0)
		return -ENOMEM;
	if (nexthop->ifindex && nla_put_u32(request, NHA_OIF, nexthop->ifindex) < 0)
		return -ENOMEM;
	if (nexthop->has_gateway &&
	    nla_put(request, NHA_GATEWAY, prefix_max_length(nexthop->family) / 8, &nexthop->gateway) < 0)
		return -ENOMEM;
	*ret = request;
	request = NULL;
	return 0;
}

uint32_t rtnl_message_used_nexthop(struct nlmsghdr *nlh)
{
	const int size = sizeof(struct rtmsg);

	return nlh->nlmsg_type == RTM_NEWROUTE && nlmsg_valid_hdr(nlh, size) ? read_number(nlh, size, RTA_NH_ID) : 0;
}

/* Returns the value of a rule's attribute of 8 or 32 bits, or `without` if there is no such attribute. */
static uint32_t rule_number(struct nlmsghdr *nlh, int type, uint32_t without)
{
	const struct nlattr *attr = nlmsg_find_attr(nlh, sizeof(struct fib_rule_hdr), type);

	if (attr && nla_len(attr) == sizeof(uint8_t))
		return nla_get_u8(attr);
	return attr && nla_len(attr) == sizeof(uint32_t) ? nla_get_u32(attr) : without;
}

bool rtnl_message_leads_to(struct nlmsghdr *nlh, sa_family_t family, uint32_t table)
{
	const struct fib_rule_hdr *rule = nlmsg_data(nlh);

	return nlh->nlmsg_type == RTM_NEWRULE && nlmsg_valid_hdr(nlh, sizeof(*rule)) && rule->family == family &&
	       rule->action == FR_ACT_TO_TBL && rule_number(nlh, FRA_TABLE, rule->table) == table;
}

bool rtnl_message_is_rule(struct nlmsghdr *nlh, sa_family_t family, uint32_t table, uint8_t protocol)
{
	return rtnl_message_leads_to(nlh, family, table) && rule_number(nlh, FRA_PROTOCOL, RTPROT_UNSPEC) == protocol;
}

int rtnl_message_copy_rule(struct nlmsghdr *nlh, int type, int flags, uint32_t behind, uint8_t protocol,
			   struct nl_msg **ret)
{
	CLEANUP(free_message) struct nl_msg *request = nlmsg_alloc_simple(type, flags);
	uint32_t priority = rule_number(nlh, FRA_PRIORITY, 0);
	struct fib_rule_hdr rule;
	struct nlattr *attr;
	int rest;

	memcpy(&rule, nlmsg_data(nlh), sizeof(rule));
	/* The other flags describe the rule's state. */
	rule.flags &= FIB_RULE_INVERT;
	if (priority > UINT32_MAX - behind)
		return -ERANGE;
	if (!request || nlmsg_append(request, &rule, sizeof(rule), NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	nlmsg_for_each_attr(attr, nlh, sizeof(rule), rest)
		if (nla_type(attr) != FRA_PRIORITY && nla_type(attr) != FRA_PROTOCOL && nla_type(attr) != FRA_PAD &&
		    nla_put(request, nla_type(attr), nla_len(attr), nla_data(attr)) < 0)
			return -ENOMEM;
	if (nla_put_u32(request, FRA_PRIORITY, priority + behind) < 0 ||
	    nla_put_u8(request, FRA_PROTOCOL, protocol) < 0)
		return -ENOMEM;
	*ret = request;
	request = NULL;
	return 0;
}

bool rtnl_message_any_address(struct nlmsghdr *nlh, sa_family_t *family, xfrm_address_t *ret, unsigned int *ifindex,
			      bool *host)
{
	const struct ifaddrmsg *ifa = nlmsg_data(nlh);

	if (nlh->nlmsg_type != RTM_NEWADDR || !nlmsg_valid_hdr(nlh, sizeof(*ifa)))
		return false;
	size_t length = ifa->ifa_family == AF_INET ? 4 : 16;
	const struct nlattr *attr = nlmsg_find_attr(nlh, sizeof(*ifa), IFA_LOCAL);
	if (!attr)
		attr = nlmsg_find_attr(nlh, sizeof(*ifa), IFA_ADDRESS);
	if (!attr || (size_t)nla_len(attr) != length)
		return false;
	*host = ifa->ifa_prefixlen == length * 8;
	*ret = (xfrm_address_t){0};
	memcpy(ret, nla_data(attr), length);
	*family = ifa->ifa_family;
	*ifindex = ifa->ifa_index;
	return true;
}

bool rtnl_message_address(struct nlmsghdr *nlh, sa_family_t *family, xfrm_address_t *ret, unsigned int *ifindex)
{
	bool host = false;

	return rtnl_message_any_address(nlh, family, ret, ifindex, &host) && host;
}
