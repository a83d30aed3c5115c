/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "routes/table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/netlink.h"
#include "base/netns.h"
#include "base/privileges.h"
#include "base/util.h"
#include "routes/explain.h"
#include "routes/message.h"
#include "routes/netlink.h"
#include "routes/print.h"
#include "xfrm/entry.h"

/* Time for charon's answers about its configuration, in microseconds. */
#define CHARON_USEC (5 * USEC_PER_SEC)

int routes_parse_table(const char *text, uint32_t *ret)
{
	static const char *const names[] = {"default", "main", "local"};
	char *end;

	if (!text) {
		*ret = ROUTE_TABLE;
		return 0;
	}
	/* Do not use base 0: strtoull(3) would read 0220 as an octal number. */
	int base = strncasecmp(text, "0x", 2) == 0 ? 16 : 10;

	errno = 0;
	unsigned long long table = *text >= '0' && *text <= '9' ? strtoull(text, &end, base) : 0;
	if (!table || errno || *end || table > UINT32_MAX)
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "--routes: '%.64s' is not the number of a routing table. Use 1 to 4294967295; "
				   "charon's default is %d (charon.routing_table).",
				   text, ROUTE_TABLE);
	if (table >= RT_TABLE_DEFAULT && table <= RT_TABLE_LOCAL)
		return log_failure(-EINVAL, MESSAGE_USAGE,
				   "--routes: table %llu (%s) is the system's, and has static routes of other "
				   "programs. Use charon's table.",
				   table, names[table - RT_TABLE_DEFAULT]);
	*ret = (uint32_t)table;
	return 0;
}

/* Interface addresses with the maximum prefix length (/32 or /128). */
struct hosts {
	struct host {
		/* Address as a network of a single address. */
		struct prefix address;
		/* Name of the interface. */
		char device[IF_NAMESIZE];
	} * list;
	size_t n, allocated;
	int error; /* 0 or -ENOMEM */
};

static void free_hosts(struct hosts *hosts)
{
	free(hosts->list);
}

/* Adds an address to the list, unless its interface does not exist any more. */
static void add_host(sa_family_t family, const xfrm_address_t *address, unsigned int ifindex, void *userdata)
{
	struct hosts *hosts = userdata;
	struct host host = {.address = {.family = family, .length = family == AF_INET ? 32 : 128, .address = *address}};

	if (!if_indextoname(ifindex, host.device))
		return;
	if (APPEND(hosts, host) < 0)
		hosts->error = -ENOMEM;
}

/* Orders by address. */
static int compare_addresses(const void *a, const void *b)
{
	return prefix_compare(&((const struct host *)a)->address, &((const struct host *)b)->address);
}

/* Orders by address and device. */
static int compare_hosts(const void *a, const void *b)
{
	int r = compare_addresses(a, b);

	return r ? r : strcmp(((const struct host *)a)->device, ((const struct host *)b)->device);
}

/* Lists the interface addresses with the maximum prefix length. The list is sorted by address and device. Returns 0 or
 * a negative errno. */
static int list_hosts(struct nl_sock *sock, struct hosts *hosts)
{
	int r = rtnl_host_addresses(sock, add_host, hosts);

	if (hosts->n)
		qsort(hosts->list, hosts->n, sizeof(*hosts->list), compare_hosts);
	return r < 0 ? r : hosts->error;
}

/* Sets stale_address_on of each route whose source list_hosts() finds, unless explanation->addresses has that source.
 * Returns 0 or a negative errno. */
static int find_stale_addresses(struct nl_sock *sock, struct routes *routes, const struct explanation *explanation)
{
	CLEANUP(free_hosts) struct hosts hosts = {0};

	int r = list_hosts(sock, &hosts);
	if (r < 0 || !hosts.n)
		return r;
	for (size_t i = 0; i < routes->n; i++) {
		struct route *route = &routes->list[i];
		const struct host key = {.address = route_source(route)};
		const struct route to_source = {.dst = key.address};

		if (!route->has_src || route_targets_explain(&explanation->addresses, &to_source))
			continue;
		const struct host *host = bsearch(&key, hosts.list, hosts.n, sizeof(*hosts.list), compare_addresses);
		if (host)
			memcpy(route->stale_address_on, host->device, sizeof(host->device));
	}
	return 0;
}

/* Sets `explained` and stale_address_on of each route. Does nothing if `vici` is NULL. Returns 0 or a negative errno.
 */
static int explain(struct nl_sock *sock, struct routes *routes, struct vici *vici, uint64_t deadline)
{
	CLEANUP(explanation_free) struct explanation explanation = {0};

	if (!routes->n || !vici)
		return 0;
	/* The routes were listed before this. So charon's answer includes the connections for which it has added them.
	 */
	int r = explanation_ask(vici, deadline, &explanation);
	for (size_t i = 0; r == 0 && i < routes->n; i++) {
		struct route *route = &routes->list[i];
		const struct prefix source = route_source(route);

		route->explained = route_targets_explain(&explanation.targets, route);
		if (route->explained && route->has_src && !route_is_backup(route))
			r = route_targets_add_prefix(&explanation.addresses, &source);
	}
	route_targets_sort(&explanation.addresses);
	return r < 0 ? r : find_stale_addresses(sock, routes, &explanation);
}

/* Returns whether a route is static, as charon's are, or a backup route. */
static bool is_ours(const struct route *route)
{
	return route->protocol == RTPROT_STATIC || route_is_backup(route);
}

/* Drops each route from the list for which is_ours() is false. */
static void keep_ours(struct routes *routes)
{
	size_t n = 0;

	for (size_t i = 0; i < routes->n; i++) {
		if (is_ours(&routes->list[i]))
			routes->list[n++] = routes->list[i];
		else
			rtnl_free(&routes->list[i]);
	}
	routes->n = n;
}

/* Lists charon's routes and backup routes of a table. Returns 0 or a negative errno. */
static int list_ours(struct nl_sock *sock, uint32_t table, struct routes *ret)
{
	int r = rtnl_list(sock, table, ret);

	if (r == 0)
		keep_ours(ret);
	return r;
}

int routes_find(uint32_t table, struct vici *vici, uint64_t deadline, struct routes *ret)
{
	CLEANUP(netlink_close) struct nl_sock *sock = NULL;

	*ret = (struct routes){0};
	int r = rtnl_open(&sock);
	if (r == 0)
		r = list_ours(sock, table, ret);
	if (r == 0)
		r = explain(sock, ret, vici, deadline);
	if (r < 0)
		routes_free(ret);
	return r;
}

/* Adds an address to the list. */
static void add_address(sa_family_t family, const xfrm_address_t *address, unsigned int ifindex, void *userdata)
{
	struct routes_addresses *addresses = userdata;

	(void)ifindex;
	if (APPEND(addresses, prefix_of_address(family, address)) < 0)
		addresses->error = -ENOMEM;
}

static int compare_prefixes(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

int routes_look(uint32_t table, struct routes_look *ret)
{
	CLEANUP(netlink_close) struct nl_sock *sock = NULL;
	struct routes_addresses *addresses = &ret->addresses;

	*ret = (struct routes_look){0};
	int r = rtnl_open(&sock);
	if (r == 0)
		r = list_ours(sock, table, &ret->routes);
	if (r == 0)
		r = rtnl_has_rule(sock, AF_INET, table, &ret->rules[0]);
	if (r == 0)
		r = rtnl_has_rule(sock, AF_INET6, table, &ret->rules[1]);
	ret->main_table = !ret->routes.n && !ret->rules[0] && !ret->rules[1];
	if (r == 0 && ret->main_table)
		r = list_ours(sock, RT_TABLE_MAIN, &ret->routes);
	if (r == 0)
		r = rtnl_addresses(sock, add_address, addresses);
	if (addresses->n)
		qsort(addresses->list, addresses->n, sizeof(*addresses->list), compare_prefixes);
	return r < 0 ? r : addresses->error;
}

void routes_look_free(struct routes_look *look)
{
	routes_free(&look->routes);
	free(look->addresses.list);
	*look = (struct routes_look){0};
}

/* A change of a table. */
struct change {
	struct nl_sock *sock;
	/* All routes of the table, as they were before the change. */
	struct routes routes;
	struct routes_summary *summary;
	/* Addresses of interfaces; set only by routes_arm(). */
	struct hosts hosts;
};

static void end_change(struct change *change)
{
	routes_free(&change->routes);
	free_hosts(&change->hosts);
	netlink_close(&change->sock);
}

/* Opens the socket and lists the table. Reports errors. Returns 0 or a negative errno. */
static int begin_change(uint32_t table, struct routes_summary *summary, struct change *ret)
{
	*summary = (struct routes_summary){0};
	ret->summary = summary;
	int r = rtnl_open(&ret->sock);
	if (r == 0)
		r = rtnl_list(ret->sock, table, &ret->routes);
	return r < 0 ? log_failure(r, MESSAGE_FAILED, "Could not list the routes of table %" PRIu32 ": %s.", table,
				   strerror(-r))
		     : 0;
}

/* Counts and reports a change that has failed. */
static void refused(struct change *change, const char *what, const struct route *route, int error)
{
	char description[ROUTE_DESCRIPTION_MAX];

	log_one(&change->summary->failed, LOG_ERR, MESSAGE_INCOMPLETE,
		"Could not %s route %s of table %" PRIu32 ": %s.", what,
		route_describe(route, description, sizeof(description)), route->table,
		error == -ERANGE ? "no metric is higher than that of the route" : strerror(-error));
}

/* Reports the number of failed changes that were not named. */
static void report_unnamed(const struct change *change)
{
	log_rest(change->summary->failed, LOG_ERR, MESSAGE_INCOMPLETE, "routes could not be changed");
}

/* Removes a route. Counts the result, and reports an error. */
static void remove_route(struct change *change, const struct route *route)
{
	int r = rtnl_delete(change->sock, route);

	progress_advance(change->summary->removed);
	/* The route was removed by another process, or with its interface. */
	if (r == -ESRCH || r == -ENODEV)
		return;
	if (r < 0)
		refused(change, "remove", route, r);
	else
		change->summary->removed++;
}

/* Finds an existing backup route with the destination, TOS and metric of the new one. Returns it or NULL. */
static const struct route *find_predecessor(const struct routes *routes, const struct route *route, uint32_t metric)
{
	struct route wanted = *route;

	wanted.protocol = ROUTE_BACKUP;
	wanted.metric = metric;
	return bsearch(&wanted, routes->list, routes->n, sizeof(*routes->list), rtnl_compare);
}

/* Returns whether the kernel may strip the source from a backup route, because charon deletes that address when it
 * ends. The kernel does so for an IPv6 route on the device of the address, unless the route refers to a nexthop object
 * (fib6_remove_prefsrc()). IPv4 routes outside of the table main keep their source (fib_sync_down_addr()). Only such a
 * backup route refers to an object, since the kernel removes an object as soon as its device loses the carrier
 * (nh_netdev_event()). */
static bool may_lose_source(const struct change *change, const struct route *route)
{
	struct host key = {.address = route_source(route)};

	if (route->dst.family != AF_INET6 || !route->has_src || !change->hosts.n)
		return false;
	memcpy(key.device, route->device, sizeof(key.device));
	return bsearch(&key, change->hosts.list, change->hosts.n, sizeof(key), compare_hosts) != NULL;
}

/* Returns whether the kernel refused a route because it finds no direct way to the route's gateway. */
static bool is_unreachable(int error)
{
	return error == -EHOSTUNREACH || error == -ENETUNREACH;
}

/* Adds or replaces a backup route. `onlink` makes the kernel accept a gateway that is not reachable. Returns 0 or a
 * negative errno. */
static int put_backup(struct change *change, const struct route *route, uint32_t metric, bool onlink)
{
	const struct route *predecessor = find_predecessor(&change->routes, route, metric);
	struct rtnl_copy copy = {
		.protocol = ROUTE_BACKUP, .metric = metric, .replace = predecessor != NULL, .onlink = onlink};

	/* The route has lost its source since the existing backup route was added. Keep the existing one, because it
	 * has the source. */
	if (predecessor && predecessor->has_src && !route->has_src)
		return 0;
	if (may_lose_source(change, route)) {
		int r = rtnl_nexthop(change->sock, route, onlink, ROUTE_BACKUP, &copy.nexthop);
		if (is_unreachable(r))
			return r;
		if (r < 0)
			copy.nexthop = 0;
		/* If the kernel cannot make an object (Linux before 5.3, several next hops, no carrier), the backup is
		 * a plain route. */
		if (r < 0 && r != -EOPNOTSUPP && r != -ENETDOWN)
			refused(change, "keep the source of the backup route of", route, r);
	}
	int r = rtnl_copy(change->sock, route, &copy);
	if (r == 0)
		change->summary->backups += !predecessor;
	return r;
}

/* Adds a backup route that leads directly to the gateway of an IPv6 route, if another route of the table covers that
 * gateway. The kernel refuses an IPv6 route if packets to its gateway take another gateway or a throw route
 * (ip6_route_check_nh()). The kernel looks this up both in the same table and by the rules. Without the route added
 * here, a backup route that covers the gateway would make the kernel refuse charon's next route. The route added here
 * has the source that packets to the gateway had. */
static void lead_to_gateway(struct change *change, const struct route *route)
{
	const struct route *cover = NULL;
	struct route way;

	for (size_t i = 0; i < change->routes.n; i++) {
		const struct route *other = &change->routes.list[i];

		if (route_covers_gateway(other, route) && !route_leads_to_gateway(other) &&
		    (!cover || other->dst.length > cover->dst.length))
			cover = other;
	}
	if (route->dst.family != AF_INET6 || !cover)
		return;
	int r = rtnl_message_to_gateway(route, cover, &way);
	if (r == 0) {
		r = put_backup(change, &way, ROUTE_GATEWAY_METRIC, false);
		rtnl_free(&way);
	}
	if (r < 0)
		refused(change, "add a route to the gateway of", route, r);
}

/* Adds or replaces the backup route of a route. Reports errors. Returns whether that succeeded. */
static bool add_backup(struct change *change, const struct route *route)
{
	uint32_t metric;

	int r = route_backup_metric(route, &metric);
	if (r == 0)
		r = put_backup(change, route, metric, false);
	if (is_unreachable(r)) {
		lead_to_gateway(change, route);
		r = put_backup(change, route, metric, true);
	}
	if (r < 0)
		refused(change, "add a backup route for", route, r);
	return r == 0;
}

/* Adds a backup route for each static route. With `remove`, removes each route after its backup route was added. */
static void add_backups(struct change *change, bool remove)
{
	const struct route *last = NULL;

	for (size_t i = 0; i < change->routes.n; i++) {
		const struct route *route = &change->routes.list[i];

		if (route_is_backup(route))
			change->summary->backups++;
		if (route->protocol != RTPROT_STATIC)
			continue;
		/* The kernel never uses a route behind another one with the same metric (`ip route append`), so it
		 * needs no backup route. */
		bool has_no_say = last && route_compare(last, route) == 0;
		last = route;
		if ((has_no_say || add_backup(change, route)) && remove)
			remove_route(change, route);
	}
	report_unnamed(change);
}

int routes_hold(uint32_t table, struct routes_summary *summary)
{
	CLEANUP(end_change) struct change change = {0};

	int r = begin_change(table, summary, &change);
	if (r == 0)
		add_backups(&change, true);
	return r;
}

int routes_arm(uint32_t table, struct routes_summary *summary)
{
	CLEANUP(end_change) struct change change = {0};

	int r = begin_change(table, summary, &change);
	if (r < 0)
		return r;
	r = list_hosts(change.sock, &change.hosts);
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not list the addresses of interfaces: %s. No backup routes were added.",
				   strerror(-r));
	add_backups(&change, false);
	if (!summary->backups)
		return 0;
	r = rtnl_copy_rules(change.sock, table, ROUTE_BACKUP);
	return r < 0 ? log_failure(r, MESSAGE_INCOMPLETE,
				   "Could not add a rule for table %" PRIu32 " behind charon's rule: %s.", table,
				   strerror(-r))
		     : 0;
}

/* Removes the rules of routes_arm(): charon has its own rule again, or no rule is needed. Reports an error. Returns 0
 * or a negative errno. */
static int remove_rules(struct nl_sock *sock, uint32_t table)
{
	int r = rtnl_delete_rules(sock, table, ROUTE_BACKUP);

	return r < 0 ? log_failure(r, MESSAGE_INCOMPLETE,
				   "Could not remove the rule of `xfrmctl arm` for table %" PRIu32 ": %s.", table,
				   strerror(-r))
		     : 0;
}

/* Removes the unused nexthop objects of routes_arm(). The caller has removed backup routes before. Reports an error.
 * Returns 0 or a negative errno. */
static int remove_nexthops(struct nl_sock *sock)
{
	int r = rtnl_delete_nexthops(sock, ROUTE_BACKUP);

	return r < 0 ? log_failure(r, MESSAGE_INCOMPLETE,
				   "Could not remove the nexthop objects of `xfrmctl arm`: %s. When no backup route is "
				   "left, run: ip nexthop flush proto %d",
				   strerror(-r), ROUTE_BACKUP)
		     : 0;
}

/* Removes the rules and nexthop objects of routes_arm(). Returns 0 or a negative errno. */
static int disarm(struct change *change, uint32_t table)
{
	int rules = remove_rules(change->sock, table), nexthops = remove_nexthops(change->sock);

	return rules < 0 ? rules : nexthops;
}

/* Connects to charon at `socket`, and sets which routes it explains. Reports an error. Returns 0 or a negative errno.
 */
static int explain_by(const char *socket, struct change *change)
{
	CLEANUP(vici_close) struct vici *vici = NULL;
	uint64_t deadline = now_usec() + CHARON_USEC;

	int r = vici_open(socket, deadline, &vici);
	if (r == 0 && netns_is_elsewhere(vici_peer(vici)))
		r = -EXDEV;
	privileges_give_up(PRIVILEGE_OTHERS);
	if (r == 0)
		r = explain(change->sock, &change->routes, vici, deadline);
	if (r < 0)
		log_notice(MESSAGE_UNSURE,
			   "Could not ask charon at %.64s for its connections: %s. Backup routes stay where the real "
			   "route is absent. Use --socket= for another socket.",
			   socket, r == -EXDEV ? "charon works in another network namespace" : vici_explain(r));
	return r;
}

/* Reports an address that charon will not remove by itself: charon does not adopt an address that exists already. */
static void report_stale_address(uint64_t *n, const struct route *route)
{
	char address[INET6_ADDRSTRLEN];
	const struct prefix source = route_source(route);

	entry_address(source.family, &source.address, address);
	log_one(n, LOG_NOTICE, MESSAGE_STALE_ADDRESS,
		"%s on %s is probably a virtual address of a previous instance of charon: a stale route has this "
		"source, and no IKE_SA uses it. If the address is not yours: ip address del %s/%u dev %s",
		address, route->stale_address_on, address, source.length, route->stale_address_on);
}

static bool have_same_source(const struct route *a, const struct route *b)
{
	return a->has_src && b->has_src && a->dst.family == b->dst.family &&
	       memcmp(a->src.a6, b->src.a6, sizeof(a->src.a6)) == 0;
}

/* Reports each stale address once, and at most LOG_NAMED_MAX of them. Leaves out an address that is the source of a
 * route that stays. */
static void report_stale_addresses(struct routes *routes)
{
	uint64_t n_reported = 0;

	for (struct route *route = routes->list; route < routes->list + routes->n && n_reported < LOG_NAMED_MAX;
	     route++) {
		bool needed = route->explained;

		if (!*route->stale_address_on)
			continue;
		for (struct route *other = route + 1; other < routes->list + routes->n; other++)
			if (have_same_source(route, other)) {
				needed |= other->explained;
				*other->stale_address_on = '\0';
			}
		if (!needed)
			report_stale_address(&n_reported, route);
	}
}

/* Returns whether `way` leads to the gateway of a backup route that stays. */
static bool is_way_of_another(const struct routes *routes, const struct route *way)
{
	for (size_t i = 0; i < routes->n; i++)
		if (routes->list[i].explained && route_is_backup(&routes->list[i]) &&
		    route_covers_gateway(way, &routes->list[i]))
			return true;
	return false;
}

/* Sets `explained` of each route to whether it stays. Real routes, which are no backup routes, stay. Without `grace`,
 * no backup route stays. With `grace`, a backup route goes if a real route has the same destination and TOS. Otherwise
 * it stays if charon explains it, or was not asked. A backup route to a gateway stays if another backup route that
 * stays needs it. */
static void choose(struct routes *routes, bool grace, bool asked)
{
	const struct route *front = NULL;

	for (struct route *route = routes->list; route < routes->list + routes->n; route++) {
		if (!route_is_backup(route)) {
			route->explained = true;
			front = route;
		} else if (!grace || (front && route_competes(front, route))) {
			route->explained = false;
		} else if (!asked) {
			route->explained = true;
		}
	}
	for (struct route *route = routes->list; route < routes->list + routes->n; route++)
		if (route_leads_to_gateway(route))
			route->explained = is_way_of_another(routes, route);
}

int routes_release(uint32_t table, bool grace, const char *socket, struct routes_summary *summary)
{
	CLEANUP(end_change) struct change change = {0};
	struct routes *routes = &change.routes;
	bool any = false, asked = false;

	int r = begin_change(table, summary, &change);
	if (r < 0)
		return r;
	for (size_t i = 0; i < routes->n; i++)
		any |= route_is_backup(&routes->list[i]);
	if (any && grace)
		asked = explain_by(socket, &change) == 0;
	choose(routes, grace, asked);
	for (size_t i = 0; i < routes->n; i++)
		if (!routes->list[i].explained)
			remove_route(&change, &routes->list[i]);
		else if (route_is_backup(&routes->list[i]))
			summary->backups++;
	if (asked)
		report_stale_addresses(routes);
	report_unnamed(&change);
	return disarm(&change, table);
}

int routes_flush(uint32_t table, struct vici *vici, uint64_t deadline, struct routes_summary *summary)
{
	CLEANUP(end_change) struct change change = {0};

	int r = begin_change(table, summary, &change);
	if (r < 0)
		return r;
	r = explain(change.sock, &change.routes, vici, deadline);
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED,
				   "Could not ask charon for its connections: %s. No route was removed.", strerror(-r));
	for (size_t i = 0; i < change.routes.n; i++)
		if (is_ours(&change.routes.list[i]) && !change.routes.list[i].explained)
			remove_route(&change, &change.routes.list[i]);
	report_unnamed(&change);
	return vici ? remove_nexthops(change.sock) : disarm(&change, table);
}
