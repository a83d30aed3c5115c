/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "base/util.h"
#include "routes/print.h"
#include "status/model.h"

static void add(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void add_text(json_t *object, const char *name, const char *value)
{
	json_object_set_new(object, name, json_string(value));
}

static json_t *charon_to_json(const struct status_charon *charon)
{
	enum status_charon_state state = status_charon_state(charon);
	json_t *object = json_object();

	add_text(object, "state", status_charon_state_name(state));
	add_text(object, "socket", charon->socket);
	if (charon->pid)
		add(object, "pid", (uint64_t)charon->pid);
	if (*charon->version.version) {
		add_text(object, "daemon", charon->version.daemon);
		add_text(object, "version", charon->version.version);
	}
	if (charon->has_stats) {
		add_text(object, "uptime", charon->stats.uptime);
		add_text(object, "since", charon->stats.since);
		add(object, "half_open_ike_sas", charon->stats.half_open);
		add(object, "threads", charon->stats.workers);
		add(object, "idle_threads", charon->stats.idle);
		add(object, "queued_jobs", charon->stats.queued);
	}
	if (state == STATUS_CHARON_UP) {
		add(object, "ike_sas", charon->ike_sas);
		add(object, "child_sas", charon->child_sas);
	}
	return object;
}

static json_t *key_managers_to_json(const struct status *status)
{
	json_t *array = json_array();

	for (size_t i = 0; i < status->n_key_managers && i < STATUS_KEY_MANAGERS_MAX; i++) {
		const struct key_manager *key_manager = &status->key_managers[i];
		json_t *object = json_object(), *sockets = json_array();

		if (key_manager->pid)
			add(object, "pid", (uint64_t)key_manager->pid);
		if (*key_manager->name)
			add_text(object, "name", key_manager->name);
		add_text(object, "kind",
			 key_manager->kind == KEY_MANAGER_IKE	    ? "key-manager"
			 : key_manager->kind == KEY_MANAGER_MONITOR ? "monitor"
								    : "unknown");
		if (key_manager->sockets & KEY_MANAGER_SOCKET_XFRM)
			json_array_append_new(sockets, json_string("xfrm"));
		if (key_manager->sockets & KEY_MANAGER_SOCKET_PFKEY)
			json_array_append_new(sockets, json_string("pfkey"));
		if (key_manager->sockets & KEY_MANAGER_SOCKET_IKE)
			json_array_append_new(sockets, json_string("udp-500"));
		if (key_manager->sockets & KEY_MANAGER_SOCKET_NATT)
			json_array_append_new(sockets, json_string("udp-4500"));
		json_object_set_new(object, "sockets", sockets);
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *sas_to_json(const struct status *status)
{
	json_t *array = json_array();
	char number[4];

	for (unsigned int proto = 0; proto < STATUS_PROTOS; proto++)
		for (unsigned int family = 0; family < STATUS_FAMILIES; family++)
			for (unsigned int mode = 0; mode < STATUS_MODES; mode++) {
				const struct status_sas *sas = &status->states.sas[proto][family][mode];
				if (!sas->n)
					continue;
				json_t *object = json_object();
				add_text(object, "proto", status_proto_name(proto));
				add_text(object, "family", status_family_name(family));
				add_text(object, "mode", status_mode_name(mode, number));
				add(object, "count", sas->n);
				add(object, "oldest_age_seconds", status_age(status, sas->oldest) / USEC_PER_SEC);
				add(object, "youngest_age_seconds", status_age(status, sas->youngest) / USEC_PER_SEC);
				json_array_append_new(array, object);
			}
	return array;
}

static json_t *policies_to_json(const struct status_policies *policies)
{
	json_t *array = json_array();

	for (unsigned int dir = 0; dir < XFRM_POLICY_MAX; dir++)
		for (unsigned int action = 0; action < STATUS_ACTIONS; action++)
			for (unsigned int ptype = 0; ptype < STATUS_PTYPES; ptype++) {
				if (!policies->n[dir][action][ptype])
					continue;
				json_t *object = json_object();
				add_text(object, "dir", entry_dir_name((uint8_t)dir));
				add_text(object, "kind", status_action_name(action));
				add_text(object, "ptype", ptype == STATUS_SUB ? "sub" : "main");
				add(object, "count", policies->n[dir][action][ptype]);
				json_array_append_new(array, object);
			}
	return array;
}

static json_t *blocked_to_json(const struct xfrm_counters *blocked)
{
	json_t *object = json_object();

	add(object, "out", blocked->out);
	add(object, "in", blocked->in);
	return object;
}

static json_t *shadows_to_json(const struct status *status)
{
	const struct status_shadows *shadows = &status->policies.shadows;
	json_t *object = json_object();

	add(object, "hold", shadows->hold);
	add(object, "expiring", shadows->expiring);
	add(object, "adjacent", shadows->adjacent);
	add(object, "passing", shadows->passing);
	if (shadows->expiring)
		add(object, "expire_seconds", shadows->expires > status->now ? shadows->expires - status->now : 0);
	if (status->blocked_known && status_count_shadows(shadows)) {
		const struct xfrm_counters since = status_blocked_since(status);
		json_object_set_new(object, "blocked_packets", blocked_to_json(&since));
	}
	return object;
}

static void add_mark(json_t *object, const struct xfrm_mark *mark)
{
	if (!mark->v && !mark->m)
		return;
	json_t *value = json_object();
	add(value, "value", mark->v);
	add(value, "mask", mark->m);
	json_object_set_new(object, "mark", value);
}

static json_t *orphan_to_json(const struct status *status, const struct orphan *orphan)
{
	const struct xfrm_usersa_info *sa = &orphan->sa;
	char address[INET6_ADDRSTRLEN], number[4];
	json_t *object = json_object();

	add_text(object, "src", entry_address(sa->family, &sa->saddr, address));
	add_text(object, "dst", entry_address(sa->family, &sa->id.daddr, address));
	add_text(object, "proto", entry_proto_name(sa->id.proto));
	add(object, "spi", ntohl(sa->id.spi));
	add(object, "reqid", sa->reqid);
	add_text(object, "mode", status_mode_name(sa->mode, number));
	add_mark(object, &orphan->mark);
	if (orphan->if_id)
		add(object, "if_id", orphan->if_id);
	add(object, "age_seconds", status_age(status, sa->curlft.add_time) / USEC_PER_SEC);
	add(object, "packets", orphan->packets);
	add(object, "bytes", orphan->bytes);
	if (*orphan->connection)
		add_text(object, "connection", orphan->connection);
	return object;
}

static void add_prefix(json_t *object, const char *name, const struct prefix *prefix)
{
	char text[PREFIX_TEXT_MAX];

	add_text(object, name, prefix_format(prefix, text));
}

static void add_owner(json_t *object, const struct child_sa_name *owner)
{
	if (*owner->connection)
		add_text(object, "connection", owner->connection);
	add_text(object, "child", owner->child);
	if (owner->id)
		add(object, "child_id", owner->id);
}

/* Adds direction, networks, mark and if_id of a policy. */
static void add_policy(json_t *object, const struct finding *policy)
{
	add_text(object, "dir", entry_dir_name(policy->dir));
	add_prefix(object, "src", &policy->src);
	add_prefix(object, "dst", &policy->dst);
	add_mark(object, &policy->mark);
	if (policy->if_id)
		add(object, "if_id", policy->if_id);
}

static json_t *finding_to_json(const struct status *status, const struct finding *finding)
{
	char mend[FINDING_MEND_MAX];
	json_t *object = json_object();

	if (finding->kind != FINDING_UNEXPLAINED_POLICY && finding->kind != FINDING_MISSING_RULE)
		add_owner(object, &finding->owner);
	switch (finding->kind) {
	case FINDING_MISSING_SA:
		add_text(object, "dir", finding->outbound ? "out" : "in");
		add_text(object, "proto", entry_proto_name(finding->proto));
		add(object, "spi", finding->spi);
		break;
	case FINDING_MISSING_POLICY:
		add_policy(object, finding);
		add_text(object, "traffic", finding->blocked ? "blocked" : "unprotected");
		break;
	case FINDING_UNEXPLAINED_POLICY:
		add_policy(object, finding);
		add(object, "index", finding->index);
		add_text(object, "ptype", finding->ptype == XFRM_POLICY_TYPE_SUB ? "sub" : "main");
		break;
	case FINDING_MISSING_RULE:
		add_text(object, "family", finding->dst.family == AF_INET6 ? "ipv6" : "ipv4");
		break;
	case FINDING_MISSING_ROUTE:
		add_prefix(object, "dst", &finding->dst);
		break;
	case FINDING_UNCONFIGURED:
	case FINDING_KINDS:
	default:
		break;
	}
	add_text(object, "mend", finding_mend(finding, status->table, mend));
	return object;
}

static json_t *connection_to_json(const struct connection *connection)
{
	json_t *object = json_object();

	add_text(object, "connection", connection->connection);
	add_text(object, "child", connection->child);
	json_object_set_new(object, "up", json_boolean(connection->up));
	if (connection->up)
		add(object, "up_seconds", connection->age);
	else
		add_text(object, "waits_for", connection_waits_name(connection->waits));
	return object;
}

static json_t *default_to_json(uint8_t blocks)
{
	json_t *object = json_object(), *dirs = json_object();

	for (unsigned int dir = 0; dir < XFRM_POLICY_MAX; dir++)
		json_object_set_new(dirs, entry_dir_name((uint8_t)dir), json_boolean(blocks >> dir & 1));
	json_object_set_new(object, "blocks", dirs);
	return object;
}

static json_t *left_over_to_json(const struct route *route)
{
	json_t *object = route_to_json(route);

	json_object_set_new(object, "explained", json_boolean(route->explained));
	if (*route->stale_address_on) {
		char device[IF_NAMESIZE];
		add_text(object, "stale_address_on",
			 vici_copy((struct vici_text){route->stale_address_on, strlen(route->stale_address_on)}, device,
				   sizeof(device)));
	}
	return object;
}

static json_t *routes_to_json(const struct status *status)
{
	const struct status_routes counts = status_count_routes(&status->routes);
	json_t *object = json_object(), *array = json_array();

	add(object, "table", status->table);
	add(object, "static", counts.real);
	add(object, "unexplained", counts.unexplained);
	add(object, "backup", counts.backups);
	for (size_t i = 0; i < status->routes.n; i++)
		if (status_is_left_over(&status->routes.list[i]))
			json_array_append_new(array, left_over_to_json(&status->routes.list[i]));
	json_object_set_new(object, "left_over", array);
	return object;
}

static json_t *problems_to_json(const struct status *status)
{
	json_t *array = json_array();
	char buffer[STATUS_PROBLEM_MAX];

	for (unsigned int part = 0; part < STATUS_PARTS; part++)
		if (status_problem(status, part, buffer))
			json_array_append_new(array, json_string(buffer));
	return array;
}

/* Returns all of the status but the long lists. status_json() writes their elements one at a time. */
static json_t *status_to_json(const struct status *status)
{
	json_t *object = json_object();

	json_object_set_new(object, "charon", charon_to_json(&status->charon));
	if (!status->key_managers_error)
		json_object_set_new(object, "key_managers", key_managers_to_json(status));
	if (!status->kernel_error) {
		json_object_set_new(object, "sas", sas_to_json(status));
		add(object, "larval_sas", status->states.larval);
		add(object, "other_sas", status->states.other);
		json_object_set_new(object, "policies", policies_to_json(&status->policies));
		add(object, "socket_policies", status->policies.of_sockets);
		json_object_set_new(object, "shadows", shadows_to_json(status));
		add(object, "kept_policies", status->policies.kept);
		add(object, "guard_sas", status->states.guard_sas);
	}
	if (status->blocked_known)
		json_object_set_new(object, "blocked_packets", blocked_to_json(&status->blocked));
	if (status->default_known)
		json_object_set_new(object, "default_policy", default_to_json(status->default_blocks));
	if (status->routes_known)
		json_object_set_new(object, "routes", routes_to_json(status));
	json_object_set_new(object, "problems", problems_to_json(status));
	if (status->orphans_known && status->orphans.n)
		add(object, "traffic_usec", status->orphans.usec);
	return object;
}

/* Writes an object and releases it. `first` is false behind another object. Returns 0 or -ENOMEM. */
static int write_object(json_t *object, bool first, FILE *f)
{
	if (!first)
		fputs(",", f);
	int r = json_dumpf(object, f, JSON_COMPACT) < 0 ? -ENOMEM : 0;
	json_decref(object);
	return r;
}

/* Writes the findings of one kind as an array. Returns 0 or -ENOMEM. */
static int write_findings(const struct status *status, enum finding_kind kind, const char *name, FILE *f)
{
	const struct findings *findings = &status->findings;
	bool first = true;
	int r = 0;

	fprintf(f, ",\"%s\":[", name);
	for (size_t i = 0; r == 0 && i < findings->n; i++)
		if (findings->list[i].kind == kind) {
			r = write_object(finding_to_json(status, &findings->list[i]), first, f);
			first = false;
		}
	fputs("]", f);
	return r;
}

/* Writes what the comparison of kernel and charon has found. Returns 0 or -ENOMEM. */
static int write_comparison(const struct status *status, FILE *f)
{
	static const char *const names[FINDING_KINDS] = {
		[FINDING_MISSING_SA] = "missing_sas",
		[FINDING_MISSING_POLICY] = "missing_policies",
		[FINDING_UNEXPLAINED_POLICY] = "unexplained_policies",
		[FINDING_MISSING_RULE] = "missing_rules",
		[FINDING_MISSING_ROUTE] = "missing_routes",
		[FINDING_UNCONFIGURED] = "unconfigured_child_sas",
	};
	int r = 0;

	for (unsigned int kind = 0; r == 0 && kind < FINDING_KINDS; kind++)
		if (!status->rules_error || (kind != FINDING_MISSING_RULE && kind != FINDING_MISSING_ROUTE))
			r = write_findings(status, kind, names[kind], f);
	fputs(",\"connections\":[", f);
	for (size_t i = 0; r == 0 && i < status->connections.n; i++)
		r = write_object(connection_to_json(&status->connections.list[i]), i == 0, f);
	fputs("]", f);
	return r;
}

int status_json(const struct status *status, FILE *f)
{
	json_auto_t *object = status_to_json(status);

	fputs("{", f);
	if (json_dumpf(object, f, JSON_COMPACT | JSON_EMBED) < 0)
		return -ENOMEM;
	if (status->orphans_known) {
		fputs(",\"orphans\":[", f);
		for (size_t i = 0; i < status->orphans.n; i++)
			if (write_object(orphan_to_json(status, &status->orphans.list[i]), i == 0, f) < 0)
				return -ENOMEM;
		fputs("]", f);
	}
	if (status->compared && write_comparison(status, f) < 0)
		return -ENOMEM;
	fputs("}\n", f);
	return 0;
}
