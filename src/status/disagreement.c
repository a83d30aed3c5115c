/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "status/disagreement.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "hold/shadow.h"

/* Size in bytes of a buffer for a name as a word for the shell. */
#define WORD_MAX (4 * CHARON_NAME_MAX)

/* Orders findings by what identifies them in two comparisons. charon's numbers of CHILD_SAs are unique. One of several
 * traps with the same selector is in the list, so its name identifies nothing. */
static int compare_findings(const void *a, const void *b)
{
	const struct finding *left = a, *right = b;
	const uint32_t numbers[][2] = {
		{left->kind, right->kind},     {left->owner.id, right->owner.id}, {left->proto, right->proto},
		{left->spi, right->spi},       {left->outbound, right->outbound}, {left->index, right->index},
		{left->dir, right->dir},       {left->ptype, right->ptype},	  {left->mark.v, right->mark.v},
		{left->mark.m, right->mark.m}, {left->if_id, right->if_id},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++)
		r = compare_u32(numbers[i][0], numbers[i][1]);
	if (r == 0)
		r = prefix_compare(&left->src, &right->src);
	return r ? r : prefix_compare(&left->dst, &right->dst);
}

static int add(struct findings *findings, const struct finding *finding)
{
	return APPEND(findings, *finding);
}

/* Counts the findings, after they have been sorted. */
static void count(struct findings *findings)
{
	memset(findings->counts, 0, sizeof(findings->counts));
	findings->unprotected = 0;
	for (size_t i = 0; i < findings->n; i++) {
		const struct finding *finding = &findings->list[i];
		findings->counts[finding->kind]++;
		findings->unprotected += finding->kind == FINDING_MISSING_POLICY && !finding->blocked;
	}
}

void findings_confirm(struct findings *findings, const struct findings *earlier)
{
	size_t n = 0;

	for (size_t i = 0; i < findings->n; i++)
		if (earlier->n &&
		    bsearch(&findings->list[i], earlier->list, earlier->n, sizeof(*earlier->list), compare_findings))
			findings->list[n++] = findings->list[i];
	findings->n = n;
	count(findings);
}

void findings_free(struct findings *findings)
{
	free(findings->list);
	*findings = (struct findings){0};
}

void comparison_free(struct comparison *comparison)
{
	child_sas_free(&comparison->sas);
	children_free(&comparison->children);
	findings_free(&comparison->unexplained);
	*comparison = (struct comparison){0};
}

static struct finding finding_of_policy(const struct entry *policy)
{
	const struct xfrm_userpolicy_info *info = &policy->policy.info;
	sa_family_t family = info->sel.family == AF_INET6 ? AF_INET6 : AF_INET;

	return (struct finding){
		.kind = FINDING_UNEXPLAINED_POLICY,
		.src = {family, info->sel.prefixlen_s, entry_plain_address(family, &info->sel.saddr)},
		.dst = {family, info->sel.prefixlen_d, entry_plain_address(family, &info->sel.daddr)},
		.dir = info->dir,
		.ptype = policy->policy.ptype,
		.mark = policy->mark,
		.if_id = policy->if_id,
		.index = info->index,
	};
}

/* Notes a policy that blocks or protects its packets, in case one that charon has for them is missing. */
static void note_cover(struct comparison *comparison, const struct entry *policy)
{
	const struct xfrm_selector *selector = &policy->policy.info.sel;

	child_sas_find_policy(&comparison->sas, policy, true);
	if (!selector->proto && !selector->sport_mask && !selector->dport_mask &&
	    (!selector->prefixlen_s || !selector->prefixlen_d) && comparison->n_covers < COVERS_MAX)
		comparison->covers[comparison->n_covers++] = finding_of_policy(policy);
}

int comparison_add_policy(struct comparison *comparison, const struct entry *policy)
{
	bool ours = shadow_tag(policy) || is_kept_policy(policy);

	if (entry_is_per_socket(policy) || policy->policy.info.dir >= XFRM_POLICY_MAX)
		return 0;
	if (!policy_is_bypass(policy))
		note_cover(comparison, policy);
	if (ours)
		return 0;
	child_sas_find_policy(&comparison->sas, policy, false);
	if (child_sas_explain(&comparison->sas, policy))
		return 0;
	const struct finding finding = finding_of_policy(policy);
	return add(&comparison->unexplained, &finding);
}

void comparison_begin_policies(struct comparison *comparison)
{
	comparison->unexplained.n = 0;
	comparison->n_covers = 0;
}

/* Returns whether a policy blocks or protects all packets of a missing one. */
static bool covers(const struct finding *cover, const struct finding *missing)
{
	return cover->dir == missing->dir && prefix_contains(&cover->src, &missing->src) &&
	       prefix_contains(&cover->dst, &missing->dst) && (!cover->if_id || cover->if_id == missing->if_id) &&
	       (cover->mark.v & cover->mark.m) == (missing->mark.v & cover->mark.m);
}

static int find_missing_sas(const struct comparison *comparison, struct findings *ret)
{
	const struct child_sas *sas = &comparison->sas;
	int r = 0;

	for (size_t i = 0; r == 0 && i < sas->spis.n; i++) {
		const struct child_sa_spi *spi = &sas->spis.list[i];
		const struct child_sa *sa = &sas->list[spi->owner];
		const struct finding finding = {
			.kind = FINDING_MISSING_SA,
			.owner = sa->name,
			.proto = spi->proto,
			.spi = spi->spi,
			.outbound = spi->outbound,
		};
		if (!spi->found && sa->installed && !sa->unsettled)
			r = add(ret, &finding);
	}
	return r;
}

static int find_missing_policy(const struct comparison *comparison, const struct child_sa_policy *policy, uint8_t dir,
			       struct findings *ret)
{
	struct finding finding = {
		.kind = FINDING_MISSING_POLICY,
		.owner = comparison->sas.list[policy->owner].name,
		.src = policy->src,
		.dst = policy->dst,
		.dir = dir,
		.mark = policy->mark,
		.if_id = policy->if_id,
		.blocked = (policy->blocked | comparison->default_blocks) >> dir & 1,
	};

	for (size_t i = 0; !finding.blocked && i < comparison->n_covers; i++)
		finding.blocked = covers(&comparison->covers[i], &finding);
	return add(ret, &finding);
}

/* Finds the missing policies. A trap and its CHILD_SA share a policy of the kernel, so the trap lacks none that the
 * CHILD_SA lacks. It comes behind the CHILD_SA, since its mark is not known. Returns 0 or -ENOMEM. */
static int find_missing_policies(const struct comparison *comparison, struct findings *ret)
{
	const struct child_sas *sas = &comparison->sas;
	const struct child_sa_policy *first = NULL;
	unsigned int of_child_sas = 0;
	int r = 0;

	for (size_t i = 0; i < sas->policies.n; i++) {
		const struct child_sa_policy *policy = &sas->policies.list[i];
		unsigned int missing = policy->expected & ~policy->found;

		if (!first || prefix_compare(&first->src, &policy->src) != 0 ||
		    prefix_compare(&first->dst, &policy->dst) != 0) {
			first = policy;
			of_child_sas = 0;
		}
		if (policy->any_mark)
			missing &= ~of_child_sas;
		else
			of_child_sas |= missing;
		for (uint8_t dir = 0; r == 0 && dir < XFRM_POLICY_MAX; dir++)
			if (missing >> dir & 1)
				r = find_missing_policy(comparison, policy, dir, ret);
	}
	return r;
}

static int compare_prefixes(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

static int compare_routes(const void *a, const void *b)
{
	return route_compare(a, b);
}

/* Returns whether charon finds a source for the route of a policy: this host has an address in the local network, or
 * that contains the loopback address (get_address_by_ts() of kernel_interface.c). */
static bool has_source(const struct comparison *comparison, const struct prefix *local)
{
	const struct routes_addresses *addresses = &comparison->look.addresses;
	struct prefix key = *local, loopback;

	key.length = 0;
	size_t i = lower_bound(&key, addresses->list, addresses->n, sizeof(key), compare_prefixes);
	if (i < addresses->n && prefix_contains(local, &addresses->list[i]))
		return true;
	prefix_parse(local->family == AF_INET ? "127.0.0.1" : "::1", &loopback);
	return prefix_contains(local, &loopback);
}

/* Returns whether charon installs a route for a policy (add_policy_internal() of kernel_netlink_ipsec.c), unless
 * charon.install_routes is off. */
static bool wants_route(const struct comparison *comparison, const struct child_sa_policy *policy)
{
	return policy->outbound && policy->expected && !policy->any_mark && !policy->limited && !policy->if_id &&
	       !comparison->sas.list[policy->owner].transport && has_source(comparison, &policy->src);
}

static bool has_route(const struct routes *routes, const struct prefix *dst)
{
	const struct route key = {.dst = *dst};
	size_t i = lower_bound(&key, routes->list, routes->n, sizeof(key), compare_routes);

	return i < routes->n && prefix_compare(&routes->list[i].dst, dst) == 0;
}

/* Finds missing routes, and counts the routes that charon wants by family. Returns 0 or -ENOMEM. */
static int find_missing_routes(const struct comparison *comparison, size_t wanted[2], struct findings *ret)
{
	const struct child_sas *sas = &comparison->sas;
	const struct prefix all6 = {.family = AF_INET6};
	bool judged = comparison->look.routes.n || !comparison->look.rules[0] || !comparison->look.rules[1];
	int r = 0;

	for (size_t i = 0; r == 0 && i < sas->policies.n; i++) {
		const struct child_sa_policy *policy = &sas->policies.list[i];
		const struct finding finding = {
			.kind = FINDING_MISSING_ROUTE,
			.owner = sas->list[policy->owner].name,
			.dst = policy->dst,
		};

		if (!wants_route(comparison, policy))
			continue;
		wanted[policy->dst.family == AF_INET6]++;
		/* The kernel refuses an IPv6 route through a gateway that a route of the same table covers. */
		if (judged && !has_route(&comparison->look.routes, &policy->dst) &&
		    (policy->dst.family == AF_INET || !has_route(&comparison->look.routes, &all6)))
			r = add(ret, &finding);
	}
	return r;
}

static int find_missing_rules(const struct comparison *comparison, struct findings *ret)
{
	static const sa_family_t families[2] = {AF_INET, AF_INET6};
	size_t wanted[2] = {0}, before = ret->n;
	int r = find_missing_routes(comparison, wanted, ret);

	/* charon.routing_table is 0 if the main table has a route that charon wants. */
	if (comparison->look.main_table && ret->n - before < wanted[0] + wanted[1]) {
		ret->n = before;
		return r;
	}
	for (size_t i = 0; !comparison->look.main_table && i < comparison->look.routes.n; i++)
		wanted[comparison->look.routes.list[i].dst.family == AF_INET6]++;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++) {
		const struct finding finding = {.kind = FINDING_MISSING_RULE, .dst.family = families[i]};

		if (wanted[i] && !comparison->look.rules[i])
			r = add(ret, &finding);
	}
	return r;
}

/* Names of the configuration, sorted. They are longer than those of CHILD_SAs, which are cut. */
struct names {
	const char **list;
	size_t n, allocated;
};

static void free_names(struct names *names)
{
	free(names->list);
}

static int compare_names(const void *a, const void *b)
{
	return strncmp(*(const char *const *)a, *(const char *const *)b, CHARON_NAME_MAX - 1);
}

static void sort_names(struct names *names)
{
	if (names->n)
		qsort(names->list, names->n, sizeof(*names->list), compare_names);
}

static bool has_name(const struct names *names, const char *name)
{
	return names->n && bsearch(&name, names->list, names->n, sizeof(*names->list), compare_names);
}

/* Finds CHILD_SAs whose connection or child is not configured. Both names are looked for separately, because charon can
 * use the IKE_SA of one connection for the children of another. */
static int find_unconfigured(const struct comparison *comparison, struct findings *ret)
{
	CLEANUP(free_names) struct names connections = {0}, children = {0};
	const struct children *all = &comparison->children;
	int r = 0;

	if (all->incomplete)
		return 0;
	for (size_t i = 0; r == 0 && i < all->n_connections; i++)
		r = APPEND(&connections, all->connections[i].name);
	for (size_t i = 0; r == 0 && i < all->n; i++)
		r = APPEND(&children, all->list[i].name);
	sort_names(&connections);
	sort_names(&children);
	for (size_t i = 0; r == 0 && i < comparison->sas.n; i++) {
		const struct child_sa *sa = &comparison->sas.list[i];
		const struct finding finding = {.kind = FINDING_UNCONFIGURED, .owner = sa->name};

		if (sa->name.kind == CHILD_SA_NEGOTIATED && sa->installed &&
		    (!has_name(&connections, sa->name.connection) || !has_name(&children, sa->name.child)))
			r = add(ret, &finding);
	}
	return r;
}

int comparison_judge(const struct comparison *comparison, struct findings *ret)
{
	int r = find_missing_sas(comparison, ret);

	if (r == 0)
		r = find_missing_policies(comparison, ret);
	if (r == 0 && !comparison->routes_error)
		r = find_missing_rules(comparison, ret);
	if (r == 0)
		r = find_unconfigured(comparison, ret);
	for (size_t i = 0; r == 0 && i < comparison->unexplained.n; i++)
		r = add(ret, &comparison->unexplained.list[i]);
	if (ret->n)
		qsort(ret->list, ret->n, sizeof(*ret->list), compare_findings);
	count(ret);
	return r;
}

/* Writes a name as one word for the shell. */
static void quote(const char *name, char word[WORD_MAX])
{
	*word++ = '\'';
	for (; *name; name++) {
		if (*name == '\'')
			word = stpcpy(word, "'\\'");
		*word++ = *name;
	}
	stpcpy(word, "'");
}

/* Writes the options by which swanctl(8) selects a child. */
static void select_child(const struct child_sa_name *owner, char *buffer, size_t size)
{
	char connection[WORD_MAX], child[WORD_MAX];

	quote(owner->connection, connection);
	quote(owner->child, child);
	if (*owner->connection)
		snprintf(buffer, size, "--ike %s --child %s", connection, child);
	else
		snprintf(buffer, size, "--child %s", child);
}

/* Writes the command that deletes a policy. */
static void delete_policy(const struct finding *finding, char buffer[FINDING_MEND_MAX])
{
	char mark[48] = "", if_id[24] = "";

	if (finding->mark.v || finding->mark.m)
		snprintf(mark, sizeof(mark), " mark 0x%" PRIx32 " mask 0x%" PRIx32, finding->mark.v, finding->mark.m);
	if (finding->if_id)
		snprintf(if_id, sizeof(if_id), " if_id 0x%" PRIx32, finding->if_id);
	snprintf(buffer, FINDING_MEND_MAX, "ip xfrm policy delete dir %s index %" PRIu32 "%s%s%s",
		 entry_dir_name(finding->dir), finding->index,
		 finding->ptype == XFRM_POLICY_TYPE_SUB ? " ptype sub" : "", mark, if_id);
}

const char *finding_mend(const struct finding *finding, uint32_t table, char buffer[FINDING_MEND_MAX])
{
	const struct child_sa_name *owner = &finding->owner;
	char child[2 * WORD_MAX + 32];

	select_child(owner, child, sizeof(child));
	switch (finding->kind) {
	case FINDING_UNEXPLAINED_POLICY:
		delete_policy(finding, buffer);
		break;
	case FINDING_MISSING_RULE:
		snprintf(buffer, FINDING_MEND_MAX, "ip -%c rule add priority %" PRIu32 " table %" PRIu32,
			 finding->dst.family == AF_INET6 ? '6' : '4', table, table);
		break;
	case FINDING_UNCONFIGURED:
		snprintf(buffer, FINDING_MEND_MAX, "swanctl --terminate --child-id %" PRIu32, owner->id);
		break;
	case FINDING_MISSING_ROUTE:
		/* charon believes that the route exists as long as the policy does, for example that of a trap
		 * (install_route() of kernel_netlink_ipsec.c). */
		snprintf(buffer, FINDING_MEND_MAX, "systemctl restart strongswan");
		break;
	case FINDING_MISSING_SA:
	case FINDING_MISSING_POLICY:
	case FINDING_KINDS:
	default:
		if (owner->kind == CHILD_SA_NEGOTIATED)
			snprintf(buffer, FINDING_MEND_MAX,
				 "swanctl --terminate --child-id %" PRIu32 "; swanctl --initiate %s", owner->id, child);
		else
			snprintf(buffer, FINDING_MEND_MAX, "swanctl --uninstall %s; swanctl --install %s", child,
				 child);
		break;
	}
	return buffer;
}

/* Orders by the names of child and connection, in this order. */
static int compare_children(const void *a, const void *b)
{
	const struct connection *left = a, *right = b;
	int r = strcmp(left->child, right->child);

	return r ? r : strcmp(left->connection, right->connection);
}

/* Orders by the names of connection and child, in this order. */
static int compare_connections(const void *a, const void *b)
{
	const struct connection *left = a, *right = b;
	int r = strcmp(left->connection, right->connection);

	return r ? r : strcmp(left->child, right->child);
}

/* Returns the child with these names or, if charon has no such child, one with this name of the child that no other
 * connection has. The list has the order of compare_children(). */
static struct connection *find_child(const struct connections *connections, const struct child_sa_name *name)
{
	struct connection key = {0}, *list = connections->list;
	const size_t n = connections->n;

	memcpy(key.connection, name->connection, sizeof(key.connection));
	memcpy(key.child, name->child, sizeof(key.child));
	size_t i = lower_bound(&key, list, n, sizeof(key), compare_children);
	if (i < n && compare_children(&list[i], &key) == 0)
		return &list[i];
	*key.connection = '\0';
	i = lower_bound(&key, list, n, sizeof(key), compare_children);
	if (i == n || strcmp(list[i].child, name->child) != 0 ||
	    (i + 1 < n && strcmp(list[i + 1].child, name->child) == 0))
		return NULL;
	return &list[i];
}

/* Sets the state of the child that a CHILD_SA or a trap is of. */
static void apply_child_sa(const struct connections *connections, const struct child_sa *sa)
{
	struct connection *child = find_child(connections, &sa->name);

	if (!child)
		return;
	if (sa->name.kind == CHILD_SA_NEGOTIATED && sa->installed) {
		child->up = true;
		child->age = sa->age > child->age ? sa->age : child->age;
		child->waits = CONNECTION_WAITS_NOTHING;
	} else if (sa->name.kind == CHILD_SA_TRAP && !child->up) {
		child->waits = CONNECTION_WAITS_TRAFFIC;
	}
}

int connections_list(const struct comparison *comparison, struct connections *ret)
{
	const struct children *children = &comparison->children;
	const struct child_sas *sas = &comparison->sas;
	int r = 0;

	*ret = (struct connections){0};
	for (size_t i = 0; r == 0 && i < children->n; i++) {
		const struct children_connection *connection = &children->connections[children->list[i].connection];
		struct connection child = {.waits = connection->can_initiate ? CONNECTION_WAITS_NOTHING
									     : CONNECTION_WAITS_PEER};

		snprintf(child.connection, sizeof(child.connection), "%s", connection->name);
		snprintf(child.child, sizeof(child.child), "%s", children->list[i].name);
		if (!children->list[i].shunt)
			r = APPEND(ret, child);
	}
	if (r < 0)
		connections_free(ret);
	if (!ret->n)
		return r;
	qsort(ret->list, ret->n, sizeof(*ret->list), compare_children);
	for (size_t i = 0; i < sas->n; i++)
		apply_child_sa(ret, &sas->list[i]);
	qsort(ret->list, ret->n, sizeof(*ret->list), compare_connections);
	return 0;
}

void connections_free(struct connections *connections)
{
	free(connections->list);
	*connections = (struct connections){0};
}

const char *connection_waits_name(enum connection_waits waits)
{
	return waits == CONNECTION_WAITS_TRAFFIC ? "traffic" : waits == CONNECTION_WAITS_PEER ? "peer" : "nothing";
}
