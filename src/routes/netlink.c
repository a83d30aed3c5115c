/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "routes/netlink.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/route/route.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/netlink.h"
#include "base/util.h"
#include "routes/message.h"

/* Size of the receive buffer in bytes. The kernel uses up to 32 KiB for a dump message if the reader's buffer is as
 * large (netlink_dump()). */
#define RECEIVE_SIZE ((size_t)32 * 1024)

/* Maximum number of attempts at a dump that the kernel marks as interrupted. */
#define DUMPS_MAX 10

/* First ID of xfrmctl's nexthop objects, and maximum number of these IDs. The IDs begin with "XFM"; programs that count
 * theirs from 1 do not reach them. */
#define NEXTHOP_FIRST 0x58464d00U
#define NEXTHOPS_MAX 256U

/* Maximum number of rules per family that are read. No system is expected to have more for one table. */
#define RULES_MAX 64

static void put_callbacks(struct nl_cb **callbacks)
{
	if (*callbacks)
		nl_cb_put(*callbacks);
}

/* Receives a datagram. Returns its length or an error of libnl. A datagram with an incomplete message is an error here,
 * since libnl ignores the missing part. */
static int receive_whole(struct nl_sock *sock, struct sockaddr_nl *from, unsigned char **buffer, struct ucred **creds)
{
	int n = nl_recv(sock, from, buffer, creds);

	if (n == -NLE_MSG_TRUNC)
		errno = EBADMSG;
	if (n <= 0 || netlink_is_whole((const void *)*buffer, (size_t)n))
		return n;
	free(*buffer);
	*buffer = NULL;
	errno = EBADMSG;
	return -NLE_MSG_TRUNC;
}

int rtnl_open(struct nl_sock **ret)
{
	CLEANUP(put_callbacks) struct nl_cb *callbacks = NULL;
	const int on = 1;

	int r = netlink_open(NETLINK_ROUTE, ret);
	if (r < 0)
		return r;
	/* Make the kernel list only the table that was asked for, since others can be large. A kernel before Linux 4.20
	 * lacks this option, and lists all tables. */
	setsockopt(nl_socket_get_fd(*ret), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	nl_socket_set_msg_buf_size(*ret, RECEIVE_SIZE);
	callbacks = nl_socket_get_cb(*ret);
	nl_cb_overwrite_recv(callbacks, receive_whole);
	return 0;
}

/* Keeps the kernel's errno, because an error code of libnl can stand for several errnos. */
static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *userdata)
{
	(void)from;
	*(int *)userdata = error->error < 0 ? error->error : -EBADMSG;
	return NL_STOP;
}

/* Keeps the errno with which the kernel ends a dump, because libnl ignores it. */
static int on_finish(struct nl_msg *message, void *userdata)
{
	const struct nlmsghdr *nlh = nlmsg_hdr(message);

	if (nlh->nlmsg_len >= NLMSG_LENGTH(sizeof(int)))
		memcpy(userdata, nlmsg_data(nlh), sizeof(int));
	return NL_OK;
}

/* Sends a request, and reads the answer to its end. `fn` handles each message; NULL means that only an acknowledgement
 * is expected. Returns 0 or a negative errno; -EAGAIN if the kernel has marked a dump as interrupted. */
static int transact(struct nl_sock *sock, struct nl_msg *request, nl_recvmsg_msg_cb_t fn, void *userdata)
{
	int error = 0, r;

	nl_socket_modify_err_cb(sock, NL_CB_CUSTOM, on_error, &error);
	nl_socket_modify_cb(sock, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, &error);
	/* Set the handler even if `fn` is NULL. A failed request may have left messages, and its handler must not
	 * receive them. */
	nl_socket_modify_cb(sock, NL_CB_VALID, fn ? NL_CB_CUSTOM : NL_CB_DEFAULT, fn, userdata);
	errno = 0;
	r = nl_send_auto(sock, request);
	if (r >= 0)
		r = fn ? nl_recvmsgs_default(sock) : nl_wait_for_ack(sock);
	if (error < 0)
		return error;
	if (r == -NLE_DUMP_INTR)
		return -EAGAIN;
	/* Otherwise libnl leaves the errno of the socket. EAGAIN, or none, means that the kernel has not answered in
	 * time. */
	return r >= 0 ? 0 : errno && errno != EAGAIN ? -errno : -ETIMEDOUT;
}

/* Returns whether an error means an empty list. A kernel with strict checks returns ENOENT for a table that does not
 * exist. */
static bool is_nothing(int error)
{
	return error == -ENOENT || error == -EAFNOSUPPORT || error == -EOPNOTSUPP;
}

/* Families of routes and rules. */
static const sa_family_t families[] = {AF_INET, AF_INET6};

/* Requests a dump once. The request begins with `header`, and has the number of a table (RTA_TABLE) unless `table` is
 * 0. Returns 0, -EAGAIN if the dump was interrupted, or another negative errno. */
static int request_list(struct nl_sock *sock, int type, const void *header, size_t size, uint32_t table,
			nl_recvmsg_msg_cb_t fn, void *userdata)
{
	CLEANUP(free_message) struct nl_msg *request = nlmsg_alloc_simple(type, NLM_F_DUMP);

	if (!request || nlmsg_append(request, (void *)header, size, NLMSG_ALIGNTO) < 0 ||
	    (table && nla_put_u32(request, RTA_TABLE, table) < 0))
		return -ENOMEM;
	int r = transact(sock, request, fn, userdata);
	return is_nothing(r) ? 0 : r;
}

/* Requests a dump, and repeats that if the dump was interrupted, at most DUMPS_MAX times in all. Before each
 * repetition, `again` drops the result of `fn`, unless `again` is NULL. Returns 0 or a negative errno. */
static int read_list(struct nl_sock *sock, int type, const void *header, size_t size, uint32_t table,
		     void (*again)(void *userdata), nl_recvmsg_msg_cb_t fn, void *userdata)
{
	int r = request_list(sock, type, header, size, table, fn, userdata);

	for (unsigned int i = 1; r == -EAGAIN && i < DUMPS_MAX; i++) {
		if (again)
			again(userdata);
		r = request_list(sock, type, header, size, table, fn, userdata);
	}
	return r;
}

/* Receives the routes of one family. */
struct route_list {
	/* Family and table of the routes. */
	sa_family_t family;
	uint32_t table;
	/* List to which the routes are added. */
	struct routes *routes;
	/* Number of routes of the other family, at the beginning of the list. */
	size_t n_before;
	/* 0, or the negative errno of a message. */
	int error;
	/* Interface of the last route, and its name. Most routes have the same one, so the name is looked up only when
	 * the interface changes. */
	unsigned int last;
	char device[IF_NAMESIZE];
};

/* Copies the name of an interface to `ret`, or "" if it does not exist any more. */
static void read_device(struct route_list *list, unsigned int ifindex, char *ret)
{
	if (ifindex != list->last && !if_indextoname(ifindex, list->device))
		*list->device = '\0';
	list->last = ifindex;
	memcpy(ret, list->device, sizeof(list->device));
}

/* Adds a route of a dump to the list. */
static int on_route(struct nl_msg *message, void *userdata)
{
	struct route_list *list = userdata;
	unsigned int ifindex;
	struct route route;

	int r = rtnl_message_route(nlmsg_hdr(message), list->family, list->table, &route, &ifindex);
	if (r > 0) {
		if (ifindex)
			read_device(list, ifindex, route.device);
		r = APPEND(list->routes, route);
		if (r < 0)
			rtnl_route_put(route.object);
	}
	if (r < 0)
		list->error = r;
	return NL_OK;
}

/* Drops the routes of an interrupted dump. */
static void drop_routes(void *userdata)
{
	struct route_list *list = userdata;

	while (list->routes->n > list->n_before)
		rtnl_free(&list->routes->list[--list->routes->n]);
}

static int list_family(struct nl_sock *sock, sa_family_t family, uint32_t table, struct routes *ret)
{
	const struct rtmsg rtm = {.rtm_family = (unsigned char)family};
	struct route_list routes = {.family = family, .table = table, .routes = ret, .n_before = ret->n};

	int r = read_list(sock, RTM_GETROUTE, &rtm, sizeof(rtm), table, drop_routes, on_route, &routes);
	return r < 0 ? r : routes.error;
}

int rtnl_compare(const void *a, const void *b)
{
	return route_compare(a, b);
}

int rtnl_list(struct nl_sock *sock, uint32_t table, struct routes *ret)
{
	int r = 0;

	*ret = (struct routes){0};
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++)
		r = list_family(sock, families[i], table, ret);
	if (r < 0)
		routes_free(ret);
	else if (ret->n)
		qsort(ret->list, ret->n, sizeof(*ret->list), rtnl_compare);
	return r;
}

void rtnl_free(struct route *route)
{
	rtnl_route_put(route->object);
}

void routes_free(struct routes *routes)
{
	for (size_t i = 0; i < routes->n; i++)
		rtnl_free(&routes->list[i]);
	free(routes->list);
	*routes = (struct routes){0};
}

int rtnl_copy(struct nl_sock *sock, const struct route *route, const struct rtnl_copy *copy)
{
	CLEANUP(free_message) struct nl_msg *request = NULL;
	struct rtnl_route *object = route->object;
	struct rtnl_nexthop *hop = copy->nexthop ? rtnl_route_nexthop_n(object, 0) : NULL;
	bool marks = copy->onlink && !hop && !(rtnl_route_get_flags(object) & RTNH_F_ONLINK);

	/* The kernel accepts either an ID or a next hop. */
	if (hop)
		rtnl_route_remove_nexthop(object, hop);
	if (marks)
		rtnl_route_set_flags(object, RTNH_F_ONLINK);
	rtnl_route_set_protocol(object, copy->protocol);
	rtnl_route_set_priority(object, copy->metric);
	int r = rtnl_route_build_add_request(object, NLM_F_CREATE | (copy->replace ? NLM_F_REPLACE : NLM_F_EXCL),
					     &request);
	rtnl_route_set_protocol(object, route->protocol);
	rtnl_route_set_priority(object, route->metric);
	if (marks)
		rtnl_route_unset_flags(object, RTNH_F_ONLINK);
	if (hop)
		rtnl_route_add_nexthop(object, hop);
	if (r < 0 || (hop && nla_put_u32(request, RTA_NH_ID, copy->nexthop) < 0))
		return -ENOMEM;
	return transact(sock, request, NULL, NULL);
}

int rtnl_delete(struct nl_sock *sock, const struct route *route)
{
	CLEANUP(free_message) struct nl_msg *request = NULL;

	if (rtnl_route_build_del_request(route->object, 0, &request) < 0)
		return -ENOMEM;
	return transact(sock, request, NULL, NULL);
}

/* Nexthop objects with the IDs from NEXTHOP_FIRST on; arrays are indexed by ID - NEXTHOP_FIRST. */
struct nexthops {
	/* Object to look for. */
	struct rtnl_nexthop wanted;
	/* ID of an object that equals `wanted`, or 0. */
	uint32_t found;
	/* Whether the object exists, with any protocol. */
	bool there[NEXTHOPS_MAX];
	/* Whether the object has the protocol of `wanted`. */
	bool ours[NEXTHOPS_MAX];
	/* Whether any object has that protocol. */
	bool any_ours;
	/* Whether a route refers to the object. */
	bool used[NEXTHOPS_MAX];
};

/* Notes a nexthop object of a dump, if it has one of xfrmctl's IDs. */
static int on_nexthop(struct nl_msg *message, void *userdata)
{
	struct nexthops *nexthops = userdata;
	struct rtnl_nexthop nexthop;

	if (!rtnl_message_nexthop(nlmsg_hdr(message), &nexthop) || nexthop.id - NEXTHOP_FIRST >= NEXTHOPS_MAX)
		return NL_OK;
	bool ours = nexthop.protocol == nexthops->wanted.protocol;
	nexthops->there[nexthop.id - NEXTHOP_FIRST] = true;
	nexthops->ours[nexthop.id - NEXTHOP_FIRST] = ours;
	nexthops->any_ours |= ours;
	if (ours && rtnl_message_is_same_hop(&nexthop, &nexthops->wanted))
		nexthops->found = nexthop.id;
	return NL_OK;
}

/* Notes that the nexthop object to which a route refers is in use. */
static int on_user(struct nl_msg *message, void *userdata)
{
	struct nexthops *nexthops = userdata;
	uint32_t id = rtnl_message_used_nexthop(nlmsg_hdr(message));

	if (id - NEXTHOP_FIRST < NEXTHOPS_MAX)
		nexthops->used[id - NEXTHOP_FIRST] = true;
	return NL_OK;
}

/* Lists the nexthop objects. An interrupted dump needs no reset: an object that it has shown still exists, or was
 * removed meanwhile. Returns 0 or a negative errno. */
static int list_nexthops(struct nl_sock *sock, struct nexthops *nexthops)
{
	const struct nhmsg nhm = {.nh_family = AF_UNSPEC};

	return read_list(sock, RTM_GETNEXTHOP, &nhm, sizeof(nhm), 0, NULL, on_nexthop, nexthops);
}

static int change_nexthop(struct nl_sock *sock, const struct rtnl_nexthop *nexthop, int type, int flags)
{
	CLEANUP(free_message) struct nl_msg *request = NULL;

	int r = rtnl_message_change_nexthop(nexthop, type, flags, &request);
	return r < 0 ? r : transact(sock, request, NULL, NULL);
}

int rtnl_nexthop(struct nl_sock *sock, const struct route *route, bool onlink, uint8_t protocol, uint32_t *ret)
{
	struct nexthops nexthops = {0};
	uint32_t i = 0;

	int r = rtnl_message_next_hop(route, onlink, protocol, &nexthops.wanted);
	if (r == 0)
		r = list_nexthops(sock, &nexthops);
	if (r < 0)
		return r;
	*ret = nexthops.found;
	if (nexthops.found)
		return 0;
	while (i < NEXTHOPS_MAX && nexthops.there[i])
		i++;
	if (i == NEXTHOPS_MAX)
		return -ENOSPC;
	*ret = nexthops.wanted.id = NEXTHOP_FIRST + i;
	return change_nexthop(sock, &nexthops.wanted, RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL);
}

int rtnl_delete_nexthops(struct nl_sock *sock, uint8_t protocol)
{
	const struct rtmsg users = {.rtm_family = AF_INET6, .rtm_protocol = protocol};
	struct nexthops nexthops = {.wanted.protocol = protocol};

	int r = list_nexthops(sock, &nexthops);
	if (r < 0 || !nexthops.any_ours)
		return r;
	int ret = read_list(sock, RTM_GETROUTE, &users, sizeof(users), 0, NULL, on_user, &nexthops);
	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < NEXTHOPS_MAX; i++) {
		const struct rtnl_nexthop nexthop = {.id = NEXTHOP_FIRST + i};

		r = nexthops.ours[i] && !nexthops.used[i] ? change_nexthop(sock, &nexthop, RTM_DELNEXTHOP, 0) : 0;
		if (r < 0 && r != -ENOENT)
			ret = r;
	}
	return ret;
}

/* Rules of one family that lead to `table` and have `protocol`. Each is kept as a whole message: xfrmctl reads only a
 * few of its attributes, but a copy needs all of them. */
struct rules {
	sa_family_t family;
	uint32_t table;
	uint8_t protocol;
	struct nl_msg *list[RULES_MAX];
	size_t n;
};

static void free_rules(struct rules *rules)
{
	while (rules->n)
		nlmsg_free(rules->list[--rules->n]);
}

/* Keeps a message of a dump if it is about a rule of interest. */
static int on_rule(struct nl_msg *message, void *userdata)
{
	struct rules *rules = userdata;

	if (!rtnl_message_is_rule(nlmsg_hdr(message), rules->family, rules->table, rules->protocol) ||
	    rules->n == RULES_MAX)
		return NL_OK;
	nlmsg_get(message);
	rules->list[rules->n++] = message;
	return NL_OK;
}

static void drop_rules(void *userdata)
{
	free_rules(userdata);
}

static int find_rules(struct nl_sock *sock, struct rules *rules)
{
	const struct fib_rule_hdr rule = {.family = (uint8_t)rules->family};

	return read_list(sock, RTM_GETRULE, &rule, sizeof(rule), 0, drop_rules, on_rule, rules);
}

/* Sends a request of `type` for each rule that has the protocol `of` and leads to `table`. The request has `protocol`,
 * and the rule's priority plus `behind`. Returns 0 or a negative errno. It is no error if a rule to be added exists
 * already, or a rule to be removed does not. */
static int change_rules(struct nl_sock *sock, uint32_t table, uint8_t of, int type, int flags, uint32_t behind,
			uint8_t protocol)
{
	int ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		CLEANUP(free_rules) struct rules rules = {.family = families[i], .table = table, .protocol = of};

		int r = find_rules(sock, &rules);
		for (size_t j = 0; r == 0 && j < rules.n; j++) {
			CLEANUP(free_message) struct nl_msg *request = NULL;

			r = rtnl_message_copy_rule(nlmsg_hdr(rules.list[j]), type, flags, behind, protocol, &request);
			if (r == 0)
				r = transact(sock, request, NULL, NULL);
			if (r == -EEXIST || r == -ENOENT)
				r = 0;
		}
		ret = ret < 0 ? ret : r;
	}
	return ret;
}

int rtnl_copy_rules(struct nl_sock *sock, uint32_t table, uint8_t protocol)
{
	return change_rules(sock, table, RTPROT_UNSPEC, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, 1, protocol);
}

int rtnl_delete_rules(struct nl_sock *sock, uint32_t table, uint8_t protocol)
{
	return change_rules(sock, table, protocol, RTM_DELRULE, 0, 0, protocol);
}

/* Arguments of rtnl_has_rule(). */
struct rule_search {
	sa_family_t family;
	uint32_t table;
	bool found;
};

static int on_search(struct nl_msg *message, void *userdata)
{
	struct rule_search *search = userdata;

	search->found |= rtnl_message_leads_to(nlmsg_hdr(message), search->family, search->table);
	return NL_OK;
}

int rtnl_has_rule(struct nl_sock *sock, sa_family_t family, uint32_t table, bool *ret)
{
	const struct fib_rule_hdr rule = {.family = (uint8_t)family};
	struct rule_search search = {.family = family, .table = table};

	int r = read_list(sock, RTM_GETRULE, &rule, sizeof(rule), 0, NULL, on_search, &search);
	*ret = search.found;
	return r;
}

/* Arguments of rtnl_addresses(). */
struct address_reader {
	bool all; /* not only addresses whose prefix length covers all their bits */
	rtnl_address_fn fn;
	void *userdata;
};

/* Passes an address of a dump to the caller's function. */
static int on_address(struct nl_msg *message, void *userdata)
{
	const struct address_reader *reader = userdata;
	unsigned int ifindex;
	xfrm_address_t address;
	sa_family_t family;
	bool host;

	if (rtnl_message_any_address(nlmsg_hdr(message), &family, &address, &ifindex, &host) && (host || reader->all))
		reader->fn(family, &address, ifindex, reader->userdata);
	return NL_OK;
}

static int read_addresses(struct nl_sock *sock, struct address_reader reader)
{
	const struct ifaddrmsg ifa = {.ifa_family = AF_UNSPEC};

	return read_list(sock, RTM_GETADDR, &ifa, sizeof(ifa), 0, NULL, on_address, &reader);
}

int rtnl_addresses(struct nl_sock *sock, rtnl_address_fn fn, void *userdata)
{
	return read_addresses(sock, (struct address_reader){true, fn, userdata});
}

int rtnl_host_addresses(struct nl_sock *sock, rtnl_address_fn fn, void *userdata)
{
	return read_addresses(sock, (struct address_reader){false, fn, userdata});
}
