/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/timespan.h"
#include "base/util.h"
#include "handover/guard_sa.h"
#include "status/model.h"

static const uint8_t protos[STATUS_PROTOS] = {
	[STATUS_ESP] = IPPROTO_ESP, [STATUS_AH] = IPPROTO_AH, [STATUS_COMP] = IPPROTO_COMP};

void status_add_sa(struct status_states *states, const struct entry *sa)
{
	size_t proto = 0;

	while (proto < STATUS_PROTOS && protos[proto] != sa->sa.id.proto)
		proto++;
	if (proto == STATUS_PROTOS) {
		states->other++;
		return;
	}
	if (sa->larval) {
		states->larval++;
		return;
	}
	if (is_guard_sa(sa)) {
		states->guard_sas++;
		return;
	}

	enum status_family family = sa->sa.family == AF_INET6 ? STATUS_IPV6 : STATUS_IPV4;
	unsigned int mode = sa->sa.mode < STATUS_MODES ? sa->sa.mode : STATUS_MODES - 1;
	struct status_sas *sas = &states->sas[proto][family][mode];
	uint64_t added = sa->sa.curlft.add_time;
	if (!sas->n || added < sas->oldest)
		sas->oldest = added;
	if (!sas->n || added > sas->youngest)
		sas->youngest = added;
	sas->n++;
}

static void add_shadow(struct status_shadows *shadows, const struct entry *shadow, uint32_t tag)
{
	const struct xfrm_lifetime_cfg *lft = &shadow->policy.info.lft;
	const struct xfrm_counters before = shadow_blocked_before(shadow);
	bool first = !status_count_shadows(shadows);

	shadows->hold += tag == SHADOW_HOLD;
	shadows->adjacent += tag == SHADOW_ADJACENT;
	shadows->passing += policy_is_bypass(shadow);
	if (tag == SHADOW_EXPIRING) {
		uint64_t ends = shadow->policy.info.curlft.add_time + lft->hard_add_expires_seconds;
		shadows->expiring++;
		if (ends > shadows->expires)
			shadows->expires = ends;
	}
	if (first || before.out < shadows->before.out)
		shadows->before.out = before.out;
	if (first || before.in < shadows->before.in)
		shadows->before.in = before.in;
}

void status_add_policy(struct status_policies *policies, const struct entry *policy)
{
	uint32_t tag = shadow_tag(policy);
	enum status_action action = STATUS_BYPASS;

	if (entry_is_per_socket(policy)) {
		policies->of_sockets++;
		return;
	}
	if (tag) {
		add_shadow(&policies->shadows, policy, tag);
		return;
	}
	if (is_kept_policy(policy)) {
		policies->kept++;
		return;
	}
	if (policy->policy.info.dir >= XFRM_POLICY_MAX)
		return;
	/* A policy that blocks protects no packet, even if it has templates. */
	if (policy->policy.info.action == XFRM_POLICY_BLOCK)
		action = STATUS_BLOCK;
	else if (policy->policy.n_templates)
		action = STATUS_PROTECT;
	policies->n[policy->policy.info.dir][action]
		   [policy->policy.ptype == XFRM_POLICY_TYPE_SUB ? STATUS_SUB : STATUS_MAIN]++;
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_orphans(const void *a, const void *b)
{
	const struct orphan *left = a, *right = b;
	int r = compare_u64(right->packets, left->packets);

	if (r == 0)
		r = compare_u64(left->sa.curlft.add_time, right->sa.curlft.add_time);
	return r ? r : compare_u64(ntohl(left->sa.id.spi), ntohl(right->sa.id.spi));
}

void status_sort_orphans(struct orphans *orphans)
{
	if (orphans->n)
		qsort(orphans->list, orphans->n, sizeof(*orphans->list), compare_orphans);
}

uint64_t status_count_sas(const struct status_states *states)
{
	uint64_t n = 0;

	for (size_t proto = 0; proto < STATUS_PROTOS; proto++)
		for (size_t family = 0; family < STATUS_FAMILIES; family++)
			for (size_t mode = 0; mode < STATUS_MODES; mode++)
				n += states->sas[proto][family][mode].n;
	return n;
}

uint64_t status_count_policies(const struct status_policies *policies)
{
	uint64_t n = 0;

	for (size_t dir = 0; dir < XFRM_POLICY_MAX; dir++)
		for (size_t action = 0; action < STATUS_ACTIONS; action++)
			for (size_t ptype = 0; ptype < STATUS_PTYPES; ptype++)
				n += policies->n[dir][action][ptype];
	return n;
}

uint64_t status_count_shadows(const struct status_shadows *shadows)
{
	return shadows->hold + shadows->expiring + shadows->adjacent;
}

struct xfrm_counters status_blocked_since(const struct status *status)
{
	const struct xfrm_counters *before = &status->policies.shadows.before;

	return (struct xfrm_counters){status->blocked.out - before->out, status->blocked.in - before->in};
}

bool status_lacks_rule(const struct status *status, sa_family_t family)
{
	for (size_t i = 0; i < status->findings.n; i++)
		if (status->findings.list[i].kind == FINDING_MISSING_RULE &&
		    status->findings.list[i].dst.family == family)
			return true;
	return false;
}

bool status_is_left_over(const struct route *route)
{
	return !route_is_backup(route) && (!route->explained || *route->stale_address_on);
}

struct status_routes status_count_routes(const struct routes *routes)
{
	struct status_routes counts = {0};

	for (size_t i = 0; i < routes->n; i++) {
		bool backup = route_is_backup(&routes->list[i]);
		counts.backups += backup;
		counts.real += !backup;
		counts.unexplained += !backup && !routes->list[i].explained;
	}
	return counts;
}

uint64_t status_age(const struct status *status, uint64_t then)
{
	return status->now > then ? (status->now - then) * USEC_PER_SEC : 0;
}

enum status_charon_state status_charon_state(const struct status_charon *charon)
{
	switch (-charon->error) {
	case 0:
		return charon->elsewhere ? STATUS_CHARON_ELSEWHERE : STATUS_CHARON_UP;
	case ENOENT:
	case ECONNREFUSED:
		return STATUS_CHARON_ABSENT;
	case ETIMEDOUT:
		return STATUS_CHARON_SILENT;
	case EACCES:
	case EPERM:
		return STATUS_CHARON_FORBIDDEN;
	default:
		return STATUS_CHARON_BROKEN;
	}
}

const struct key_manager *status_key_manager(const struct status *status)
{
	for (size_t i = 0; i < status->n_key_managers && i < STATUS_KEY_MANAGERS_MAX; i++)
		if (status->key_managers[i].kind == KEY_MANAGER_IKE)
			return &status->key_managers[i];
	return NULL;
}

bool status_can_find_orphans(const struct status *status)
{
	enum status_charon_state state = status_charon_state(&status->charon);

	/* An IKE daemon without a VICI socket cannot be asked for its SAs. libreswan has no such socket, and charon has
	 * none without its vici plugin. */
	return state == STATUS_CHARON_UP ||
	       (state == STATUS_CHARON_ABSENT && !status->key_managers_error && !status_key_manager(status));
}

const char *status_charon_state_name(enum status_charon_state state)
{
	static const char *const names[] = {
		[STATUS_CHARON_UP] = "up",
		[STATUS_CHARON_ABSENT] = "absent",
		[STATUS_CHARON_SILENT] = "silent",
		[STATUS_CHARON_FORBIDDEN] = "forbidden",
		[STATUS_CHARON_ELSEWHERE] = "elsewhere",
		[STATUS_CHARON_BROKEN] = "broken",
	};

	return names[state];
}

const char *status_key_manager_name(const struct key_manager *key_manager, char buffer[STATUS_KEY_MANAGER_MAX])
{
	if (key_manager->pid)
		snprintf(buffer, STATUS_KEY_MANAGER_MAX, "%s (PID %d)",
			 *key_manager->name ? key_manager->name : "a process", key_manager->pid);
	else
		snprintf(buffer, STATUS_KEY_MANAGER_MAX, "a process that cannot be seen");
	return buffer;
}

const char *status_proto_name(enum status_proto proto)
{
	return entry_proto_name(protos[proto]);
}

const char *status_family_name(enum status_family family)
{
	return family == STATUS_IPV6 ? "ipv6" : "ipv4";
}

const char *status_action_name(enum status_action action)
{
	return action == STATUS_PROTECT ? "protect" : action == STATUS_BYPASS ? "bypass" : "block";
}

const char *status_mode_name(unsigned int mode, char buffer[4])
{
	const char *name = entry_mode_name((uint8_t)mode);

	if (name)
		return name;
	snprintf(buffer, 4, "%u", mode & UINT8_MAX);
	return buffer;
}

static void absent_problem(const struct status *status, char *buffer, size_t size)
{
	const struct key_manager *key_manager = status_key_manager(status);
	const char *why = status->charon.error == -ENOENT ? "there is no socket" : "nobody listens any more on";

	if (key_manager) {
		char alive[STATUS_KEY_MANAGER_MAX];
		snprintf(buffer, size,
			 "charon cannot be asked: %s %.128s, and %s%s is alive. Orphans are unknown; --socket= names "
			 "charon's VICI socket, if it has one.",
			 why, status->charon.socket, key_manager->pid ? "the key manager " : "",
			 status_key_manager_name(key_manager, alive));
	} else {
		snprintf(buffer, size, "charon does not answer: %s %.128s.", why, status->charon.socket);
	}
}

static const char *charon_problem(const struct status *status, char *buffer, size_t size)
{
	const struct status_charon *charon = &status->charon;
	char timeout[TIMESPAN_MAX];

	switch (status_charon_state(charon)) {
	case STATUS_CHARON_UP:
		return NULL;
	case STATUS_CHARON_ABSENT:
		absent_problem(status, buffer, size);
		break;
	case STATUS_CHARON_SILENT:
		snprintf(buffer, size,
			 "charon does not answer: no word on %.128s within %s. It hangs or is very busy (--timeout= "
			 "waits longer).",
			 charon->socket, timespan_format(charon->timeout_usec, timeout, sizeof(timeout)));
		break;
	case STATUS_CHARON_FORBIDDEN:
		snprintf(buffer, size, "charon cannot be asked on %.128s: " VICI_FORBIDDEN ".", charon->socket);
		break;
	case STATUS_CHARON_ELSEWHERE:
		snprintf(buffer, size,
			 "charon cannot be asked: the one that listens on %.128s (PID %d) works in another network "
			 "namespace; --socket= names that of this one.",
			 charon->socket, charon->pid);
		break;
	case STATUS_CHARON_BROKEN:
		snprintf(buffer, size, "charon cannot be asked on %.128s: %s.", charon->socket,
			 charon->error == -ECONNRESET ? "it hung up"
			 : charon->error == -EBADMSG  ? "what it says is not VICI"
			 : charon->error == -EMSGSIZE
				 ? "it leaves out IKE SAs with more child SAs than fit into a message"
				 : strerror(-charon->error));
		break;
	}
	return buffer;
}

const char *status_problem(const struct status *status, enum status_part part, char buffer[STATUS_PROBLEM_MAX])
{
	switch (part) {
	case STATUS_PART_KERNEL:
		if (!status->kernel_error)
			return NULL;
		snprintf(buffer, STATUS_PROBLEM_MAX, "The kernel's SAs and policies cannot be seen: %s.",
			 status->kernel_error == -EPERM ? "CAP_NET_ADMIN is needed in the user namespace that owns the "
							  "network namespace; run as root"
			 : status->kernel_error == -EPROTONOSUPPORT
				 ? "it has no XFRM (CONFIG_XFRM_USER, module xfrm_user)"
			 : status->kernel_error == -EAGAIN ? "a part of the lists was lost each time"
							   : strerror(-status->kernel_error));
		return buffer;
	case STATUS_PART_CHARON:
		return charon_problem(status, buffer, STATUS_PROBLEM_MAX);
	case STATUS_PART_KEY_MANAGERS:
		if (status->key_managers_error) {
			snprintf(buffer, STATUS_PROBLEM_MAX, "Key managers cannot be looked for: %s; is /proc mounted?",
				 strerror(-status->key_managers_error));
			return buffer;
		}
		for (size_t i = 0; i < status->n_key_managers && i < STATUS_KEY_MANAGERS_MAX; i++)
			if (!status->key_managers[i].pid) {
				snprintf(buffer, STATUS_PROBLEM_MAX,
					 "Could not see a process that listens for acquires: it has another PID "
					 "namespace, or CAP_SYS_PTRACE is missing. Run xfrmctl as root in the first "
					 "PID namespace.");
				return buffer;
			}
		return NULL;
	case STATUS_PART_ROUTES:
		if (!status->routes_error)
			return NULL;
		snprintf(buffer, STATUS_PROBLEM_MAX, "The routes of table %" PRIu32 " are not known: %s.",
			 status->table, strerror(-status->routes_error));
		return buffer;
	case STATUS_PARTS:
	default:
		return NULL;
	}
}
