/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <sys/socket.h>

#include "base/util.h"
#include "status/model.h"

/* Maximum number of children of connections that are written. */
#define CONNECTION_SERIES_MAX 256

/* In the text format of Prometheus, a HELP and a TYPE line precede the samples of a metric. */

static void describe(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
	describe(f, name, type, help);
	fprintf(f, "%s %" PRIu64 "\n", name, value);
}

/* Writes the value of a label. The format requires that newlines, backslashes and quotes are escaped. */
static void put_label(FILE *f, const char *value)
{
	for (; *value; value++)
		if (*value == '\n')
			fputs("\\n", f);
		else if (*value == '\\' || *value == '"')
			fprintf(f, "\\%c", *value);
		else
			fputc(*value, f);
}

static void put_charon(const struct status *status, FILE *f)
{
	const struct status_charon *charon = &status->charon;
	bool up = status_charon_state(charon) == STATUS_CHARON_UP;

	put(f, "xfrmctl_charon_up", "gauge", "Whether charon answers on its VICI socket.", up);
	if (*charon->version.version) {
		describe(f, "xfrmctl_charon_info", "gauge", "Name and version of the charon that answers.");
		fputs("xfrmctl_charon_info{daemon=\"", f);
		put_label(f, charon->version.daemon);
		fputs("\",version=\"", f);
		put_label(f, charon->version.version);
		fputs("\"} 1\n", f);
	}
	if (charon->has_stats) {
		put(f, "xfrmctl_charon_half_open_ike_sas", "gauge", "IKE SAs of charon that are being established.",
		    charon->stats.half_open);
		put(f, "xfrmctl_charon_threads", "gauge", "Worker threads of charon.", charon->stats.workers);
		put(f, "xfrmctl_charon_idle_threads", "gauge", "Worker threads of charon that have nothing to do.",
		    charon->stats.idle);
		put(f, "xfrmctl_charon_queued_jobs", "gauge", "Jobs that wait for a worker thread of charon.",
		    charon->stats.queued);
	}
	if (up) {
		put(f, "xfrmctl_charon_ike_sas", "gauge", "IKE SAs that charon has.", charon->ike_sas);
		put(f, "xfrmctl_charon_child_sas", "gauge", "Child SAs that charon has.", charon->child_sas);
	}
}

static void put_key_managers(const struct status *status, FILE *f)
{
	uint64_t n = 0;

	if (status->key_managers_error)
		return;
	for (size_t i = 0; i < status->n_key_managers && i < STATUS_KEY_MANAGERS_MAX; i++)
		n += status->key_managers[i].kind == KEY_MANAGER_IKE;
	put(f, "xfrmctl_key_managers", "gauge", "Key managers alive in the network namespace.", n);
}

/* Writes a sample for each kind of SA that exists: the number of SAs or, with `times`, when the oldest was added. The
 * number of ESP SAs in tunnel mode is always written, so that the metric has samples even without SAs. */
static void put_sas_by_kind(const struct status *status, const char *name, bool times, FILE *f)
{
	char number[4];

	for (unsigned int proto = 0; proto < STATUS_PROTOS; proto++)
		for (unsigned int family = 0; family < STATUS_FAMILIES; family++)
			for (unsigned int mode = 0; mode < STATUS_MODES; mode++) {
				const struct status_sas *sas = &status->states.sas[proto][family][mode];
				if (!sas->n && (times || proto != STATUS_ESP || mode != XFRM_MODE_TUNNEL))
					continue;
				fprintf(f, "%s{proto=\"%s\",family=\"%s\",mode=\"%s\"} %" PRIu64 "\n", name,
					status_proto_name(proto), status_family_name(family),
					status_mode_name(mode, number), times ? sas->oldest : sas->n);
			}
}

static void put_sas(const struct status *status, FILE *f)
{
	describe(f, "xfrmctl_sas", "gauge", "SAs in the kernel, without those that are being negotiated.");
	put_sas_by_kind(status, "xfrmctl_sas", false, f);
	if (status_count_sas(&status->states)) {
		describe(f, "xfrmctl_sas_oldest_timestamp_seconds", "gauge",
			 "Time at which the oldest of these SAs was added.");
		put_sas_by_kind(status, "xfrmctl_sas_oldest_timestamp_seconds", true, f);
	}
	put(f, "xfrmctl_larval_sas", "gauge", "SAs that are being negotiated.", status->states.larval);
}

static void put_policies(const struct status_policies *policies, FILE *f)
{
	describe(f, "xfrmctl_policies", "gauge", "Policies in the kernel, without shadows and those of sockets.");
	for (unsigned int dir = 0; dir < XFRM_POLICY_MAX; dir++)
		for (unsigned int action = 0; action < STATUS_ACTIONS; action++)
			for (unsigned int ptype = 0; ptype < STATUS_PTYPES; ptype++)
				if (ptype == STATUS_MAIN || policies->n[dir][action][ptype])
					fprintf(f,
						"xfrmctl_policies{dir=\"%s\",kind=\"%s\",ptype=\"%s\"} %" PRIu64 "\n",
						entry_dir_name((uint8_t)dir), status_action_name(action),
						ptype == STATUS_SUB ? "sub" : "main", policies->n[dir][action][ptype]);
	put(f, "xfrmctl_socket_policies", "gauge", "Policies of sockets.", policies->of_sockets);
}

static void put_shadows(const struct status *status, FILE *f)
{
	const struct status_shadows *shadows = &status->policies.shadows;

	describe(f, "xfrmctl_shadows", "gauge", "Policies of xfrmctl that block what other policies protected.");
	fprintf(f, "xfrmctl_shadows{kind=\"hold\"} %" PRIu64 "\n", shadows->hold);
	fprintf(f, "xfrmctl_shadows{kind=\"expiring\"} %" PRIu64 "\n", shadows->expiring);
	fprintf(f, "xfrmctl_shadows{kind=\"adjacent\"} %" PRIu64 "\n", shadows->adjacent);
	if (shadows->expiring)
		put(f, "xfrmctl_shadows_expire_timestamp_seconds", "gauge",
		    "Time at which the kernel removes the last expiring shadow.", shadows->expires);
	if (status->blocked_known && status_count_shadows(shadows)) {
		const struct xfrm_counters since = status_blocked_since(status);
		describe(f, "xfrmctl_shadows_blocked_packets", "gauge",
			 "Packets that policies have blocked since the oldest shadow was made.");
		fprintf(f, "xfrmctl_shadows_blocked_packets{dir=\"out\"} %" PRIu64 "\n", since.out);
		fprintf(f, "xfrmctl_shadows_blocked_packets{dir=\"in\"} %" PRIu64 "\n", since.in);
	}
	put(f, "xfrmctl_kept_policies", "gauge", "Copies of old policies that use the SAs of a previous charon.",
	    status->policies.kept);
	put(f, "xfrmctl_guard_sas", "gauge", "SAs of xfrmctl that keep new policies away from kept SAs.",
	    status->states.guard_sas);
}

static void put_blocked(const struct status *status, FILE *f)
{
	if (!status->blocked_known)
		return;
	describe(f, "xfrmctl_blocked_packets_total", "counter", "Packets that policies have blocked.");
	fprintf(f, "xfrmctl_blocked_packets_total{dir=\"out\"} %" PRIu64 "\n", status->blocked.out);
	fprintf(f, "xfrmctl_blocked_packets_total{dir=\"in\"} %" PRIu64 "\n", status->blocked.in);
}

static void put_orphans(const struct status *status, FILE *f)
{
	uint64_t active = 0;

	if (!status->orphans_known)
		return;
	for (size_t i = 0; i < status->orphans.n; i++)
		active += status->orphans.list[i].packets != 0;
	put(f, "xfrmctl_orphans", "gauge", "SAs in the kernel that charon does not know.", status->orphans.n);
	put(f, "xfrmctl_orphans_active", "gauge",
	    "Orphans that carried traffic between the two readings of the kernel.", active);
}

static void put_findings(const struct status *status, FILE *f)
{
	const struct findings *findings = &status->findings;

	if (!status->compared)
		return;
	put(f, "xfrmctl_missing_sas", "gauge", "SAs that charon has and the kernel lacks.",
	    findings->counts[FINDING_MISSING_SA]);
	describe(f, "xfrmctl_missing_policies", "gauge", "Policies that charon has and the kernel lacks.");
	fprintf(f, "xfrmctl_missing_policies{traffic=\"unprotected\"} %zu\n", findings->unprotected);
	fprintf(f, "xfrmctl_missing_policies{traffic=\"blocked\"} %zu\n",
		findings->counts[FINDING_MISSING_POLICY] - findings->unprotected);
	put(f, "xfrmctl_unexplained_policies", "gauge",
	    "Policies in the kernel that neither charon nor xfrmctl explains.",
	    findings->counts[FINDING_UNEXPLAINED_POLICY]);
	put(f, "xfrmctl_unconfigured_child_sas", "gauge",
	    "CHILD_SAs of charon whose connection or child is not configured any more.",
	    findings->counts[FINDING_UNCONFIGURED]);
	if (status->rules_error)
		return;
	describe(f, "xfrmctl_missing_rules", "gauge", "Whether the rule for charon's routing table is missing.");
	fprintf(f, "xfrmctl_missing_rules{family=\"ipv4\"} %d\n", status_lacks_rule(status, AF_INET));
	fprintf(f, "xfrmctl_missing_rules{family=\"ipv6\"} %d\n", status_lacks_rule(status, AF_INET6));
	put(f, "xfrmctl_missing_routes", "gauge", "Routes that charon needs and its routing table lacks.",
	    findings->counts[FINDING_MISSING_ROUTE]);
}

static void put_default(const struct status *status, FILE *f)
{
	static const uint8_t dirs[] = {XFRM_POLICY_IN, XFRM_POLICY_FWD, XFRM_POLICY_OUT};

	if (!status->default_known)
		return;
	describe(f, "xfrmctl_default_policy_blocks", "gauge",
		 "Whether the kernel blocks packets that match no policy.");
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		fprintf(f, "xfrmctl_default_policy_blocks{dir=\"%s\"} %d\n", entry_dir_name(dirs[i]),
			status->default_blocks >> dirs[i] & 1);
}

/* Writes a sample about a connection, with `waits` as a third label. */
static void put_connection(FILE *f, const char *name, const struct connection *connection, bool waits, uint64_t value)
{
	fprintf(f, "%s{connection=\"", name);
	put_label(f, connection->connection);
	fputs("\",child=\"", f);
	put_label(f, connection->child);
	if (waits)
		fprintf(f, "\",waits_for=\"%s", connection_waits_name(connection->waits));
	fprintf(f, "\"} %" PRIu64 "\n", value);
}

static void put_connections(const struct status *status, FILE *f)
{
	static const char since[] = "xfrmctl_connection_up_since_timestamp_seconds";
	const struct connections *connections = &status->connections;
	size_t n = connections->n < CONNECTION_SERIES_MAX ? connections->n : CONNECTION_SERIES_MAX, up = 0;

	if (!status->compared)
		return;
	if (n)
		describe(f, "xfrmctl_connection_up", "gauge",
			 "Whether a child of a connection has an installed CHILD_SA.");
	for (size_t i = 0; i < n; i++) {
		put_connection(f, "xfrmctl_connection_up", &connections->list[i], true, connections->list[i].up);
		up += connections->list[i].up;
	}
	if (up)
		describe(f, since, "gauge", "Time at which the oldest installed CHILD_SA of a child was installed.");
	for (size_t i = 0; i < n; i++)
		if (connections->list[i].up)
			put_connection(f, since, &connections->list[i], false, status->now - connections->list[i].age);
	put(f, "xfrmctl_connections_left_out", "gauge",
	    "Children of connections that are not among the samples of xfrmctl_connection_up.", connections->n - n);
}

static void put_routes(const struct status *status, FILE *f)
{
	const struct status_routes counts = status_count_routes(&status->routes);

	if (!status->routes_known)
		return;
	put(f, "xfrmctl_routes_static", "gauge", "Static routes in charon's routing table.", counts.real);
	put(f, "xfrmctl_routes_unexplained", "gauge",
	    "Static routes in charon's routing table that no connection of charon explains.", counts.unexplained);
	put(f, "xfrmctl_routes_backup", "gauge",
	    "Copies of charon's routes that the kernel uses when the real routes are absent.", counts.backups);
}

void status_metrics(const struct status *status, FILE *f)
{
	put(f, "xfrmctl_kernel_readable", "gauge", "Whether the kernel's SAs and policies could be read.",
	    !status->kernel_error);
	put_charon(status, f);
	put_key_managers(status, f);
	if (!status->kernel_error) {
		put_sas(status, f);
		put_policies(&status->policies, f);
		put_shadows(status, f);
	}
	put_blocked(status, f);
	put_default(status, f);
	put_orphans(status, f);
	put_findings(status, f);
	put_connections(status, f);
	put_routes(status, f);
}
