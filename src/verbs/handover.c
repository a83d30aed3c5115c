/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/log.h"
#include "base/netns.h"
#include "base/privileges.h"
#include "base/unit.h"
#include "base/util.h"
#include "handover/connections.h"
#include "handover/guard_sa.h"
#include "handover/initiator.h"
#include "handover/migrate.h"
#include "hold/shadow.h"
#include "ike/charon.h"
#include "verbs/options.h"
#include "xfrm/monitor.h"

/* Value of the timeout if --timeout was not given. */
#define TIMEOUT_UNSET (UINT64_MAX - 1)

/* Default of --timeout for connections that charon can initiate, in microseconds. */
#define TIMEOUT_USEC (10 * USEC_PER_SEC)

/* Default of --timeout for connections that only the peer can initiate, in microseconds. The peer's charon gives up its
 * old IKE_SA 165 s after an unanswered request (ikev2/task_manager.c), and initiates only then. */
#define PEER_TIMEOUT_USEC (KEPT_POLICY_SECONDS * USEC_PER_SEC)

/* Timeout for each answer of charon about its configuration and its SAs, in microseconds. */
#define ANSWER_USEC (30 * USEC_PER_SEC)

/* Maximum number of groups that charon negotiates at a time. This number keeps charon's threads busy, but each
 * negotiation still ends before the peer retransmits. Groups with a reqid conflict may exceed this number. */
#define UNDER_WAY_MAX 32

/* Delay between charon's answer for a group and the next attempt, in microseconds. A negotiation may fail at once, or
 * charon may drop it. */
#define RETRY_USEC (3 * USEC_PER_SEC)

/* Maximum number of attempts for each group. */
#define TRIES_MAX 3

/* Maximum time for which a group with a reqid conflict stays in use while charon can be asked, in microseconds. If
 * charon cannot be asked, --timeout applies. */
#define CONFLICT_USEC (2 * USEC_PER_SEC)

/* Interval at which handover reads the unit's phase from systemd, in microseconds. It does not subscribe to systemd's
 * signals. */
#define PHASE_USEC (250 * USEC_PER_MSEC)

/* Maximum size of a message, in bytes. */
#define SENTENCE_MAX 512

struct options {
	/* Maximum time for new SAs: of connections that charon can initiate, and of the others. */
	uint64_t timeout_usec, peer_timeout_usec;
	const char *socket, *unit;
};

struct handover {
	const struct options *options;
	struct migration migration;
	struct monitor *monitor;
	struct initiator initiator; /* closed until ask_charon(), and whenever charon cannot be asked */
	struct children children;   /* charon's configuration */
	size_t n_under_way;	    /* number of groups that charon negotiates at xfrmctl's request */
	uint64_t begun;		    /* time at which the reported duration begins (now_usec()) */
	int error;		    /* negative errno if charon could not be asked, or 0 */
};

/* Removes the SAs that the running charon knows from the list of old SAs. */
static void drop_known(struct kept *kept, const struct charon_sas *known)
{
	size_t n = 0;

	for (size_t i = 0; i < kept->n_sas; i++) {
		const struct entry *sa = &kept->sas[i].sa;

		if (is_guard_sa(sa) || !charon_knows(known, sa->sa.id.proto, ntohl(sa->sa.id.spi)))
			kept->sas[n++] = kept->sas[i];
	}
	kept->n_sas = n;
}

/* Asks charon for its configuration and its SAs. Removes charon's SAs from the list of old SAs. Returns 0, or a
 * negative errno, which it reports. */
static int ask_charon(struct handover *handover)
{
	CLEANUP(charon_free_sas) struct charon_sas known = {0};
	struct kept *kept = &handover->migration.kept;
	const char *socket = handover->options->socket;
	struct vici *vici;

	int r = initiator_open(&handover->initiator, socket, usec_add(now_usec(), ANSWER_USEC), kept->n_groups);
	vici = handover->initiator.clients[0].vici;
	if (r == 0 && netns_is_elsewhere(vici_peer(vici)))
		r = -EXDEV;
	privileges_give_up(PRIVILEGE_OTHERS);
	if (r == 0)
		r = charon_children(vici, usec_add(now_usec(), ANSWER_USEC), &handover->children);
	if (r == 0)
		r = charon_sas(vici, usec_add(now_usec(), ANSWER_USEC), &known);
	if (r == 0) {
		drop_known(kept, &known);
		kept_sort_sas(kept);
		return 0;
	}
	initiator_close(&handover->initiator);
	handover->children.incomplete = true;
	return log_failure(r, MESSAGE_FAILED,
			   "Could not ask charon at %.128s for its connections: %s. Connections that charon does not "
			   "negotiate in time are blocked. Use --socket= for another socket.",
			   socket, r == -EXDEV ? "charon works in another network namespace" : vici_explain(r));
}

/* Assigns to each group the child of charon's configuration that fits best. If no child fits, the connection is not
 * configured any more, and the group is removed. If the configuration is incomplete, such a group waits for its peer
 * instead. Returns 0 or a negative errno. */
static int assign_children(struct handover *handover)
{
	struct kept *kept = &handover->migration.kept;
	const struct options *options = handover->options;
	const uint64_t now = now_usec();
	int r = 0;

	for (size_t i = 0; r == 0 && i < kept->n_groups; i++) {
		struct kept_group *group = &kept->groups[i];
		struct child *child = NULL;

		if (!kept_is_in_use(group))
			continue;
		group->dirty = true;
		if (kept_find_child(kept, group, &handover->children, &group->child)) {
			child = &handover->children.list[group->child];
			child->taken = true;
		} else if (!handover->children.incomplete) {
			r = migration_end(&handover->migration, group, KEPT_REMOVED);
			continue;
		}
		/* If no child fits, the connection may not be configured any more, so the shorter timeout applies. */
		if (!child || !kept_can_initiate(kept, group, &handover->children, child) ||
		    !initiator_is_open(&handover->initiator)) {
			group->waits_for_peer = true;
			group->outcome = KEPT_NEGOTIATING;
			group->timeout_usec = child ? options->peer_timeout_usec : options->timeout_usec;
			group->deadline = usec_min(group->deadline, usec_add(now, group->timeout_usec));
		}
	}
	return r;
}

static int ask(struct handover *handover, struct kept_group *group)
{
	size_t number = (size_t)(group - handover->migration.kept.groups);

	int r = initiator_ask(&handover->initiator, group->child, number, group->tries);
	if (r < 0)
		return r;
	group->tries++;
	group->retry = UINT64_MAX;
	if (group->outcome == KEPT_PENDING) {
		group->outcome = KEPT_NEGOTIATING;
		group->timeout_usec = handover->options->timeout_usec;
		group->deadline = usec_min(group->deadline, usec_add(now_usec(), group->timeout_usec));
		handover->n_under_way++;
	}
	return 0;
}

/* Reports that charon cannot be asked any more. The groups that are still in use then wait for their peers. Those
 * without a deadline get one, counted from now. */
static void lose_charon(struct handover *handover, int error)
{
	const uint64_t deadline = usec_add(now_usec(), handover->options->timeout_usec);

	log_failure(error, MESSAGE_FAILED,
		    "Lost the connection to charon at %.128s: %s. Connections that charon does not negotiate in time "
		    "are blocked.",
		    handover->options->socket, strerror(-error));
	handover->error = error;
	initiator_close(&handover->initiator);
	for (size_t i = 0; i < handover->migration.kept.n_groups; i++) {
		struct kept_group *group = &handover->migration.kept.groups[i];

		if (!kept_is_in_use(group))
			continue;
		if (group->deadline == UINT64_MAX) {
			group->timeout_usec = handover->options->timeout_usec;
			group->deadline = deadline;
		}
		group->outcome = KEPT_NEGOTIATING;
		group->waits_for_peer = true;
	}
}

static void take_answer(struct handover *handover, const struct initiator_answer *answer)
{
	struct kept_group *group = &handover->migration.kept.groups[answer->group];
	const char *child = handover->children.list[group->child].name;

	group->dirty = true;
	group->retry = usec_add(now_usec(), RETRY_USEC);
	if (answer->error == -ENOENT)
		log_detail("charon does not initiate %.64s: %.128s", child, answer->why);
	else if (answer->error < 0)
		log_detail("charon did not answer about %.64s: %s.", child, strerror(-answer->error));
	else
		log_detail("charon %s %.64s.",
			   answer->found == CHARON_THERE    ? "has SAs of"
			   : answer->found == CHARON_COMING ? "negotiates"
							    : "initiates",
			   child);
}

static void read_answers(struct handover *handover)
{
	struct initiator_answer answer;

	while (initiator_read(&handover->initiator, &answer) > 0) {
		take_answer(handover, &answer);
		if (answer.error == 0 || answer.error == -ENOENT)
			continue;
		/* When charon ends, it closes every client's connection. After a timeout it may still answer the other
		 * clients. */
		if (answer.error != -ETIMEDOUT || !initiator_is_open(&handover->initiator))
			lose_charon(handover, answer.error);
	}
}

static void on_event(const struct entry *entry, void *userdata)
{
	struct handover *handover = userdata;
	struct kept *kept = &handover->migration.kept;

	if (event_is_deletion(entry))
		return;
	if (entry->kind == ENTRY_POLICY) {
		const struct kept_policy *shadow = kept_find(kept, entry);
		if (shadow)
			kept->groups[shadow->group].dirty = true;
		handover->migration.reqid_conflict |= kept_mark_conflicts(kept, entry);
		return;
	}
	for (size_t i = 0; i < kept->n_groups; i++)
		kept->groups[i].dirty |= kept->groups[i].sa_pending;
}

static int read_events(struct handover *handover)
{
	int r = monitor_read(handover->monitor, on_event, handover);

	if (r == -ENOBUFS) {
		for (size_t i = 0; i < handover->migration.kept.n_groups; i++)
			handover->migration.kept.groups[i].dirty = true;
		return migration_find_conflicts(&handover->migration);
	}
	return r < 0 ? log_failure(r, MESSAGE_FAILED, "Could not read the kernel's events: %s.", strerror(-r)) : 0;
}

/* Returns whether a question for a group would be sent at once. Questions are never queued, so that no connection's
 * timeout runs while its question waits. */
static bool can_ask(const struct handover *handover, const struct kept_group *group)
{
	return !group->waits_for_peer && initiator_is_free(&handover->initiator, group->child);
}

static bool may_ask(const struct handover *handover, const struct kept_group *group, uint64_t now)
{
	if (!can_ask(handover, group))
		return false;
	return group->outcome == KEPT_PENDING ? group->reqid_conflict || handover->n_under_way < UNDER_WAY_MAX
					      : group->retry <= now && group->tries < TRIES_MAX;
}

/* Ends a group if its new SAs are complete or its deadline has passed. Otherwise asks charon to negotiate it if that is
 * due. Returns 0 or a negative errno. */
static int settle(struct handover *handover, struct kept_group *group)
{
	const uint64_t now = now_usec();
	const uint64_t conflict_usec =
		initiator_is_open(&handover->initiator) ? CONFLICT_USEC : handover->options->timeout_usec;
	int through = 0;

	if (group->dirty)
		through = migration_is_complete(&handover->migration, group);
	group->dirty = false;
	if (through < 0)
		return through;
	if (through)
		return migration_end(&handover->migration, group, KEPT_MIGRATED);
	if (group->reqid_conflict)
		group->deadline = usec_min(group->deadline, usec_add(now, conflict_usec));
	if (group->deadline <= now)
		return migration_end(&handover->migration, group, KEPT_BLOCKED);
	if (may_ask(handover, group, now)) {
		int r = ask(handover, group);
		if (r < 0)
			lose_charon(handover, r);
	}
	return 0;
}

static void count_under_way(struct handover *handover)
{
	handover->n_under_way = 0;
	for (size_t i = 0; i < handover->migration.kept.n_groups; i++) {
		const struct kept_group *group = &handover->migration.kept.groups[i];
		handover->n_under_way += group->outcome == KEPT_NEGOTIATING && !group->waits_for_peer;
	}
}

/* Calls settle() for each group in use. Starts again if the end of one group caused a reqid conflict in others. Returns
 * 0 or a negative errno. */
static int settle_all(struct handover *handover)
{
	struct migration *migration = &handover->migration;
	int r = 0;

	do {
		migration->reqid_conflict = false;
		count_under_way(handover);
		for (size_t i = 0; r == 0 && i < migration->kept.n_groups; i++)
			if (kept_is_in_use(&migration->kept.groups[i]))
				r = settle(handover, &migration->kept.groups[i]);
	} while (r == 0 && migration->reqid_conflict);
	return r;
}

/* Returns the next time at which a group is due without an event: a deadline or another attempt. Returns UINT64_MAX if
 * there is none. */
static uint64_t next_time(const struct handover *handover)
{
	uint64_t first = UINT64_MAX;

	for (size_t i = 0; i < handover->migration.kept.n_groups; i++) {
		const struct kept_group *group = &handover->migration.kept.groups[i];

		if (!kept_is_in_use(group))
			continue;
		first = usec_min(first, group->deadline);
		/* If the question cannot be sent now, it needs no timer: handover sends it after the answer to another
		 * question. */
		if (group->outcome == KEPT_NEGOTIATING && group->tries < TRIES_MAX && can_ask(handover, group))
			first = usec_min(first, group->retry);
	}
	return first;
}

/* Returns the milliseconds until a time, for poll(2). Returns -1 if the time is UINT64_MAX. */
static int msec_until(uint64_t usec)
{
	const uint64_t now = now_usec();

	if (usec == UINT64_MAX)
		return -1;
	const uint64_t msec = usec <= now ? 0 : (usec - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
	return msec > INT32_MAX ? INT32_MAX : (int)msec;
}

static bool is_done(const struct migration *migration)
{
	return migration->n_over + migration->n_fell_back + migration->n_removed == migration->kept.n_groups;
}

/* Waits for an event, an answer or a due time, at most until `until`, and handles it. Returns 0 or a negative errno. */
static int step(struct handover *handover, uint64_t until)
{
	struct pollfd fds[1 + INITIATOR_CLIENTS_MAX] = {{.fd = monitor_fd(handover->monitor), .events = POLLIN}};

	until = usec_min(until, initiator_poll(&handover->initiator, fds + 1));
	until = usec_min(until, next_time(handover));
	if (poll(fds, ARRAY_SIZE(fds), msec_until(until)) < 0 && errno != EINTR)
		return log_failure(-errno, MESSAGE_FAILED, "Could not wait for the kernel's events: %s.",
				   strerror(errno));
	int r = read_events(handover);
	read_answers(handover);
	return r < 0 ? r : settle_all(handover);
}

/* Moves traffic while the unit is starting: charon then loads its connections, and negotiates some by itself. Ends when
 * the start is over or all groups are done. Sets `*phase` to the unit's phase. Returns 0 or a negative errno. */
static int wait_for_start(struct handover *handover, enum unit_phase *phase)
{
	int r = 0;

	*phase = UNIT_UP;
	while (r == 0 && handover->options->unit && !is_done(&handover->migration)) {
		uint64_t looked = now_usec();

		r = unit_find_phase(handover->options->unit, phase);
		if (r < 0) {
			log_notice(MESSAGE_UNSURE,
				   "Could not ask systemd whether %.64s has started: %s. The handover continues as if "
				   "the service had started.",
				   handover->options->unit, strerror(-r));
			*phase = UNIT_UP;
			r = 0;
		}
		if (*phase != UNIT_STARTING)
			break;
		while (r == 0 && now_usec() < looked + PHASE_USEC)
			r = step(handover, looked + PHASE_USEC);
	}
	return r;
}

static void report(const struct handover *handover)
{
	const struct migration *migration = &handover->migration;
	const struct log_field fields[] = {
		{"XFRM_HANDED_OVER", migration->n_over}, {"XFRM_FELL_BACK", migration->n_fell_back},
		{"XFRM_REMOVED", migration->n_removed},	 {"XFRM_SAS", migration->n_sas},
		{"XFRM_FAILED", migration->n_failed},	 {"XFRM_DURATION_USEC", now_usec() - handover->begun},
	};
	const uint64_t usec = fields[ARRAY_SIZE(fields) - 1].value;
	char sentence[SENTENCE_MAX];

	snprintf(sentence, sizeof(sentence),
		 "Handed over %" PRIu64 " of %zu connections in %" PRIu64 ".%03" PRIu64 " ms; %" PRIu64
		 " fell back to hold, %" PRIu64 " not configured. Removed %" PRIu64 " old SAs.",
		 migration->n_over, migration->kept.n_groups, usec / 1000, usec % 1000, migration->n_fell_back,
		 migration->n_removed, migration->n_sas);
	log_figures(LOG_INFO, MESSAGE_HANDED_OVER, sentence, fields, ARRAY_SIZE(fields));
}

/* Asks charon for the groups that it has not negotiated by itself, and moves their traffic, until all groups are done.
 * Returns 0 or a negative errno. */
static int ask_and_move(struct handover *handover)
{
	/* Restart the clock: the time that the unit took to start does not count. */
	handover->begun = now_usec();
	handover->error = ask_charon(handover);
	int r = assign_children(handover);
	if (r == 0)
		r = migration_find_conflicts(&handover->migration);
	if (r == 0)
		r = settle_all(handover);
	while (r == 0 && !is_done(&handover->migration))
		r = step(handover, UINT64_MAX);
	return r;
}

static int hand_over(struct handover *handover)
{
	struct migration *migration = &handover->migration;
	enum unit_phase phase;

	/* Open the monitor before the first dump, so that the kernel queues the events that occur meanwhile. */
	int r = monitor_open(&handover->monitor);
	if (r < 0)
		return log_failure(r, MESSAGE_FAILED, "Could not listen to the kernel's events: %s.", strerror(-r));
	r = migration_load(migration);
	if (r < 0)
		return r;
	if (!migration->kept.n_shadows) {
		log_detail("No SAs were kept: there is nothing to hand over.");
		return migration_remove_guard_sas(migration);
	}
	r = wait_for_start(handover, &phase);
	if (r == 0 && phase == UNIT_DOWN) {
		log_detail("%.64s does not run: kept SAs stay for the next start.", handover->options->unit);
		return 0;
	}
	if (r == 0 && !is_done(migration))
		r = ask_and_move(handover);
	if (r == 0)
		r = migration_remove_guard_sas(migration);
	report(handover);
	return r < 0 ? r : migration->n_failed ? -EIO : handover->error;
}

static int run(struct globals *globals, const struct options *options)
{
	CLEANUP(xfrm_close) struct xfrm *xfrm = NULL;
	struct handover handover = {.options = options};
	struct unit_state state;
	struct xfrm_counts counts;

	handover.begun = now_usec();
	if (options->unit)
		verb_choose_unit(globals, options->unit, &state);
	int r = verb_open_xfrm(globals, &xfrm, &counts);
	if (r < 0)
		return r;
	handover.migration.xfrm = xfrm;
	handover.initiator.children = &handover.children;
	r = hand_over(&handover);
	initiator_close(&handover.initiator);
	monitor_close(&handover.monitor);
	kept_free(&handover.migration.kept);
	children_free(&handover.children);
	return r;
}

static const struct verb_option option_table[] = {
	{"timeout", "TIME", SECTION_ACTION, OPTION_TIME, offsetof(struct options, timeout_usec),
	 "Remove the kept SAs of a connection that has no new ones after this time, and block its traffic (500ms, 30s, "
	 "infinity; default 10s, or 5min for a connection that only the peer can initiate)"},
	{"socket", "PATH", SECTION_SERVICE, OPTION_TEXT, offsetof(struct options, socket),
	 "Use this VICI socket of charon (default " VICI_SOCKET ")"},
	{"unit", "UNIT", SECTION_SERVICE, OPTION_TEXT, offsetof(struct options, unit),
	 "Work in the network namespace of this service (NetworkNamespacePath=), and log for it. While it starts, move "
	 "only connections that charon negotiates by itself"},
	{NULL},
};

static const struct verb_syntax syntax = {
	.name = "handover",
	.usage = {"[OPTION...]"},
	.about = "Makes charon negotiate the connections whose SAs `xfrmctl flush --keep` kept, moves their traffic to "
		 "the new SAs, and removes the kept ones. Run it when charon has loaded its connections.",
	.options = option_table,
};

int verb_handover(struct globals *globals, int argc, char **argv)
{
	struct options options = {.timeout_usec = TIMEOUT_UNSET, .socket = VICI_SOCKET};

	int r = verb_parse(globals, argc, argv, &syntax, &options);
	if (r < 0)
		return verb_exit_status(r);
	options.peer_timeout_usec = options.timeout_usec;
	if (options.timeout_usec == TIMEOUT_UNSET) {
		options.timeout_usec = TIMEOUT_USEC;
		options.peer_timeout_usec = PEER_TIMEOUT_USEC;
	}
	return run(globals, &options) < 0 ? STATUS_FAILED : STATUS_DONE;
}
