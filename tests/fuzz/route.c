/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks that reading any bytes as messages about routes, rules, addresses and nexthop objects ends and stays within
 * them. The results must be valid in requests to the kernel. */

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/route/route.h>
#include <string.h>

#include "base/util.h"
#include "fuzz.h"
#include "routes/message.h"
#include "routes/print.h"

static const sa_family_t families[] = {AF_INET, AF_INET6};

static void check_request(struct nl_msg *request, int type)
{
	CHECK(nlmsg_hdr(request)->nlmsg_type == type);
	nlmsg_free(request);
}

static const bool onlink[] = {false, true};

/* Checks that a nexthop object made from a route is read back unchanged, and that a route to the gateway is correct. */
static void check_next_hop(const struct route *route)
{
	struct rtnl_nexthop wanted, found;
	struct nl_msg *request = NULL;
	struct route way;

	for (size_t i = 0; i < ARRAY_SIZE(onlink); i++) {
		if (rtnl_message_next_hop(route, onlink[i], ROUTE_BACKUP, &wanted) < 0)
			continue;
		CHECK(rtnl_message_change_nexthop(&wanted, RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL, &request) == 0);
		CHECK(rtnl_message_nexthop(nlmsg_hdr(request), &found));
		CHECK(rtnl_message_is_same_hop(&wanted, &found) && wanted.protocol == found.protocol);
		check_request(request, RTM_NEWNEXTHOP);
	}
	if (!route->has_gateway || rtnl_message_to_gateway(route, route, &way) < 0)
		return;
	CHECK(route_covers_gateway(&way, route) && way.dst.length == prefix_max_length(way.dst.family));
	CHECK(!way.has_gateway && way.has_src == route->has_src && strcmp(way.device, route->device) == 0);
	rtnl_route_put(way.object);
}

static void check_route(struct route *route)
{
	CLEANUP(route_targets_free) struct route_targets targets = {0};
	char description[ROUTE_DESCRIPTION_MAX];
	struct nl_msg *request;
	uint32_t metric;

	CHECK(route->dst.length <= (route->dst.family == AF_INET ? 32 : 128));
	CHECK(strlen(route_describe(route, description, sizeof(description))) < sizeof(description) - 1);
	CHECK(route_compare(route, route) == 0 && route_competes(route, route));
	CHECK(route_targets_add_prefix(&targets, &route->dst) == 0);
	route_targets_sort(&targets);
	CHECK(route_targets_explain(&targets, route));
	check_next_hop(route);
	if (route_backup_metric(route, &metric) == 0)
		rtnl_route_set_priority(route->object, metric);
	rtnl_route_set_protocol(route->object, ROUTE_BACKUP);
	if (rtnl_route_build_add_request(route->object, NLM_F_CREATE | NLM_F_EXCL, &request) == 0)
		check_request(request, RTM_NEWROUTE);
	if (rtnl_route_build_del_request(route->object, 0, &request) == 0)
		check_request(request, RTM_DELROUTE);
	rtnl_route_put(route->object);
}

static void check_nexthop(struct nlmsghdr *nlh)
{
	struct rtnl_nexthop nexthop;
	struct nl_msg *request = NULL;

	rtnl_message_used_nexthop(nlh);
	if (!rtnl_message_nexthop(nlh, &nexthop))
		return;
	CHECK(rtnl_message_change_nexthop(&nexthop, RTM_DELNEXTHOP, 0, &request) == 0);
	check_request(request, RTM_DELNEXTHOP);
}

static void check_rule(struct nlmsghdr *nlh, sa_family_t family)
{
	struct nl_msg *copy = NULL;

	if (!rtnl_message_is_rule(nlh, family, ROUTE_TABLE, RTPROT_UNSPEC))
		return;
	int r = rtnl_message_copy_rule(nlh, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, 1, ROUTE_BACKUP, &copy);
	CHECK(r == 0 ? copy != NULL : (r == -ERANGE || r == -ENOMEM) && !copy);
	if (r < 0)
		return;
	CHECK(rtnl_message_is_rule(nlmsg_hdr(copy), family, ROUTE_TABLE, ROUTE_BACKUP));
	check_request(copy, RTM_NEWRULE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* libnl's functions take messages that are not const, but change nothing in them. */
	struct nlmsghdr *nlh = (struct nlmsghdr *)(uintptr_t)data;
	xfrm_address_t address;
	unsigned int ifindex;
	sa_family_t family;
	struct route route;

	for (int rest = (int)size; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest)) {
		for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
			int r = rtnl_message_route(nlh, families[i], ROUTE_TABLE, &route, &ifindex);
			CHECK(r == 1 || r == 0 || r == -EBADMSG || r == -ENOMEM);
			if (r > 0)
				check_route(&route);
			check_rule(nlh, families[i]);
		}
		rtnl_message_address(nlh, &family, &address, &ifindex);
		check_nexthop(nlh);
	}
	return 0;
}
