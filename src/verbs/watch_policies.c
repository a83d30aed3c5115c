/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs/watch_policies.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <syslog.h>

#include "base/log.h"
#include "base/netns.h"
#include "base/pidfd.h"
#include "base/util.h"
#include "hold/shadow.h"
#include "ike/charon.h"
#include "ike/child_sa.h"
#include "xfrm/monitor.h"
#include "xfrm/netlink.h"
#include "xfrm/policy_table.h"

/* The bits of selector.user in which the tags of xfrmctl's policies differ. */
#define TAG_BITS 0xffU

/* Maximum number of policies that are judged while the thread waits, and the pause in which it runs, in microseconds.
 */
#define JUDGED_AT_ONCE 64
#define PAUSE_USEC 50

/* Maximum size of a message, in bytes. */
#define SENTENCE_MAX 768

/* The state of a policy in the table (policy_record.state). */
enum state {
	STATE_PRESENT, /* the kernel has it */
	STATE_LOST,    /* the kernel has lost it; charon has not been asked */
	STATE_MISSING, /* the kernel has lost it, and charon still needs it; reported */
};

/* Selects no policy, because it has a key of SAs: every policy stays when a shadow is put in the place of a lost one.
 */
static const struct filter select_none = {.include = {{.keys = 1U << MATCH_SPI}}, .n_include = 1};

struct policy_watch {
	enum on_missing action;
	struct monitor *monitor;
	/* Becomes readable when a policy is lost or is back, or the thread has ended. */
	int changed;
	/* Protects the members below. No thread waits for charon, systemd or the journal while it holds the lock. */
	pthread_mutex_t lock;
	struct xfrm *xfrm;
	struct policy_table table;
	/* Number of lists of policies that were read. policy_record.seen is the number of the last list with the
	 * policy. */
	uint32_t list;
	struct shadow_survey survey;
	/* charon's process, and a pidfd of it; 0 and -1 before it is known. */
	pid_t pid;
	int pidfd;
	/* charon works in another network namespace. */
	bool elsewhere;
	/* Numbers of policies that are not STATE_PRESENT, and that are back and were STATE_MISSING. */
	uint64_t n_lost, n_back;
	/* The queue of the XFRM client has an addition, or a deletion, of a shadow. */
	bool adding, deleting;
	/* A policy was lost, or is back, since the thread last reported that. */
	bool news;
	/* Negative errno if a shadow could not be added, and negative errno if the thread has ended; otherwise 0. */
	int refused, error;
	/* Only the calling thread uses these. xfrmctl has reported that charon could not be asked, or that a shadow was
	 * refused. */
	bool reported_silence, reported_refusal;
};

/* Returns whether a policy is watched: it protects or blocks, and belongs neither to xfrmctl nor to a socket. Events do
 * not carry a policy's security context, so a policy with one cannot be distinguished from others. */
static bool is_watched(const struct entry *policy)
{
	return policy->kind == ENTRY_POLICY && !shadow_tag(policy) && !is_kept_policy(policy) &&
	       !entry_is_per_socket(policy) && policy->policy.info.dir < XFRM_POLICY_MAX &&
	       !policy->policy.security_length &&
	       (policy->policy.n_templates || policy->policy.info.action == XFRM_POLICY_BLOCK);
}

static void on_refused(const struct xfrm_refusal *refusal, void *userdata)
{
	struct policy_watch *watch = userdata;
	const struct entry policy = shadow_covering(&refusal->entry);

	/* The shadow is gone already. */
	if (!refusal->addition)
		return;
	/* `arm` or an earlier watch may have added such a shadow. It blocks, and `release` removes it. */
	if (refusal->error != -EEXIST)
		watch->refused = refusal->error;
	struct policy_record *record = policy_table_find(&watch->table, &policy);
	if (record)
		record->shadow = false;
}

/* Sends the queued changes. */
static void commit(struct policy_watch *watch)
{
	int r = xfrm_commit(watch->xfrm, on_refused, watch);

	if (r < 0)
		watch->refused = r;
	watch->adding = watch->deleting = false;
}

/* Queues the addition of a policy's shadow. */
static void add_shadow(struct policy_watch *watch, struct policy_record *record)
{
	const struct entry policy = policy_record_entry(record);
	struct entry shadow;

	/* A batch makes its additions first, but this shadow may be the one whose deletion is queued. */
	if (watch->deleting)
		commit(watch);
	shadow_make(&policy, &watch->survey, false, &shadow);
	record->shadow = watch->adding = true;
	int r = xfrm_exchange(watch->xfrm, &shadow, NULL, on_refused, watch);
	if (r < 0)
		watch->refused = r;
}

/* Queues the deletion of a policy's shadow. */
static void remove_shadow(struct policy_watch *watch, struct policy_record *record)
{
	const struct entry policy = policy_record_entry(record);
	struct entry shadow;

	if (!record->shadow)
		return;
	/* The queued addition may be that of this shadow. */
	if (watch->adding)
		commit(watch);
	shadow_make(&policy, &watch->survey, false, &shadow);
	record->shadow = false;
	watch->deleting = true;
	int r = xfrm_delete(watch->xfrm, &shadow, on_refused, watch);
	if (r < 0)
		watch->refused = r;
}

/* Returns whether charon is known, and its process has not ended. systemd reacts to that end only later, so the
 * deletions of `flush` in ExecStopPost= come after it. */
static bool has_daemon(const struct policy_watch *watch)
{
	struct pollfd end = {.fd = watch->pidfd, .events = POLLIN};

	return watch->pidfd >= 0 && !watch->elsewhere && poll(&end, 1, 0) == 0;
}

/* Notes that the kernel has lost a policy that charon has not deleted. Adds the policy's shadow, except with
 * ON_MISSING_REPORT. */
static void lose(struct policy_watch *watch, struct policy_record *record)
{
	if (record->state != STATE_PRESENT)
		return;
	record->state = STATE_LOST;
	watch->n_lost++;
	watch->news = true;
	if (watch->action != ON_MISSING_REPORT)
		add_shadow(watch, record);
}

/* Marks a policy as present that is back, or that charon does not need. Removes the policy's shadow. */
static void settle(struct policy_watch *watch, struct policy_record *record)
{
	if (record->state == STATE_PRESENT)
		return;
	watch->n_lost--;
	record->state = STATE_PRESENT;
	remove_shadow(watch, record);
}

static void drop(struct policy_watch *watch, struct policy_record *record)
{
	settle(watch, record);
	policy_table_remove(&watch->table, record);
}

/* Handles a policy of a list or of an event. Returns 0 or -ENOMEM. */
static int take(struct policy_watch *watch, const struct entry *policy)
{
	struct policy_record *record;

	shadow_survey_add(&watch->survey, &select_none, policy);
	if (!is_watched(policy)) {
		record = policy_table_find(&watch->table, policy);
		if (record)
			drop(watch, record);
		return 0;
	}
	record = policy_table_put(&watch->table, policy);
	if (!record)
		return -ENOMEM;
	record->seen = watch->list;
	if (record->state == STATE_MISSING) {
		watch->n_back++;
		watch->news = true;
	}
	settle(watch, record);
	return 0;
}

static int take_listed(const struct entry *policy, void *userdata)
{
	return take(userdata, policy);
}

static void begin_list(void *userdata)
{
	struct policy_watch *watch = userdata;

	watch->list++;
	watch->survey = (struct shadow_survey){0};
	xfrm_read_counters(&watch->survey.blocked);
}

/* Reads all policies. Policies that are absent, but were in the last list, are lost. Returns 0 or a negative errno. */
static int read_list(struct policy_watch *watch)
{
	int r = xfrm_dump_consistent(watch->xfrm, ENTRY_POLICY, begin_list, take_listed, watch);
	bool judges = r == 0 && has_daemon(watch);

	/* policy_table_remove() moves the last record, which was visited already. */
	for (size_t i = watch->table.n; r == 0 && i-- > 0;) {
		struct policy_record *record = watch->table.list[i].to;

		if (record->seen == watch->list || record->state != STATE_PRESENT)
			continue;
		if (judges)
			lose(watch, record);
		else
			policy_table_remove(&watch->table, record);
	}
	return r;
}

/* Handles the deletion of all policies of a type, except those of sockets. */
static void lose_all(struct policy_watch *watch, uint8_t ptype, bool judges)
{
	for (size_t i = watch->table.n; i-- > 0;) {
		struct policy_record *record = watch->table.list[i].to;

		if (record->ptype != ptype)
			continue;
		if (judges)
			lose(watch, record);
		else
			drop(watch, record);
	}
}

static void on_event(const struct entry *entry, void *userdata)
{
	struct policy_watch *watch = userdata;
	struct policy_record *record;

	if (!event_is_deletion(entry)) {
		int r = take(watch, entry);
		watch->error = watch->error ? watch->error : r;
		return;
	}
	/* charon writes its PID into each request (netlink_send() of kernel_netlink_shared.c); iproute2 writes 0. A PID
	 * of another PID namespace is another number: then charon's answer decides. */
	bool judges = has_daemon(watch) && entry->message->nlmsg_pid != (uint32_t)watch->pid;
	if (entry->message->nlmsg_type == XFRM_MSG_FLUSHPOLICY) {
		lose_all(watch, entry->policy.ptype, judges);
		return;
	}
	record = policy_table_find(&watch->table, entry);
	if (record && judges)
		lose(watch, record);
	else if (record)
		drop(watch, record);
}

/* Handles the events that are queued. Returns 0 or a negative errno. */
static int handle_events(struct policy_watch *watch)
{
	int r = monitor_read(watch->monitor, on_event, watch);

	/* Send the shadows of lost policies at once, even if a list has to be read next. */
	commit(watch);
	if (r == -ENOBUFS) {
		r = read_list(watch);
		commit(watch);
	}
	return r < 0 ? r : watch->error;
}

/* Waits for events and handles them, until an error. */
static void *serve(void *userdata)
{
	struct policy_watch *watch = userdata;
	struct pollfd events = {.fd = monitor_fd(watch->monitor), .events = POLLIN};

	for (int r = 0; r == 0;) {
		if (poll(&events, 1, -1) < 0)
			continue;
		pthread_mutex_lock(&watch->lock);
		r = watch->error = handle_events(watch);
		bool news = watch->news || r < 0;
		watch->news = false;
		pthread_mutex_unlock(&watch->lock);
		if (news)
			eventfd_write(watch->changed, 1);
	}
	return NULL;
}

/* Opens the monitor before the first list, so that no change is missed between them. Returns 0 or a negative errno. */
static int start(struct policy_watch *watch)
{
	pthread_t thread;

	int r = xfrm_open(&watch->xfrm);
	if (r == 0)
		r = monitor_open_policies(true, SHADOW_HOLD, ~TAG_BITS, &watch->monitor);
	if (r == 0)
		r = read_list(watch);
	watch->changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r == 0 && watch->changed < 0)
		r = -errno;
	if (r == 0)
		r = -pthread_mutex_init(&watch->lock, NULL);
	if (r == 0)
		r = -pthread_create(&thread, NULL, serve, watch);
	if (r == 0)
		pthread_detach(thread);
	return r;
}

static void free_watch(struct policy_watch **watch)
{
	if (!*watch)
		return;
	close_fd(&(*watch)->changed);
	monitor_close(&(*watch)->monitor);
	xfrm_close(&(*watch)->xfrm);
	policy_table_free(&(*watch)->table);
	free(*watch);
}

int policy_watch_open(enum on_missing action, struct policy_watch **ret)
{
	CLEANUP(free_watch) struct policy_watch *watch = calloc(1, sizeof(*watch));
	int r = -ENOMEM;

	if (watch) {
		watch->action = action;
		watch->pidfd = watch->changed = -1;
		r = start(watch);
	}
	if (r < 0)
		return log_failure(r, MESSAGE_UNWATCHED,
				   "Could not watch charon's policies: %s%s. xfrmctl only asks whether charon answers.",
				   strerror(-r), r == -EPERM ? " (CAP_NET_ADMIN is needed: run as root)" : "");
	*ret = watch;
	watch = NULL;
	return 0;
}

int policy_watch_fd(const struct policy_watch *watch)
{
	return watch->changed;
}

/* Forgets which policies were lost. Their shadows stay. */
static void forget_lost(struct policy_watch *watch)
{
	for (size_t i = watch->table.n; watch->n_lost && i-- > 0;) {
		struct policy_record *record = watch->table.list[i].to;

		if (record->state == STATE_PRESENT)
			continue;
		watch->n_lost--;
		policy_table_remove(&watch->table, record);
	}
}

void policy_watch_set_daemon(struct policy_watch *watch, pid_t pid)
{
	if (pid == watch->pid)
		return;
	const bool elsewhere = netns_is_elsewhere(pid);
	pthread_mutex_lock(&watch->lock);
	forget_lost(watch);
	close_fd(&watch->pidfd);
	watch->pid = pid;
	watch->pidfd = pidfd_open(pid, 0);
	watch->elsewhere = elsewhere;
	pthread_mutex_unlock(&watch->lock);
	if (elsewhere)
		log_notice(MESSAGE_UNWATCHED,
			   "Could not watch the policies of the IKE daemon (PID %d): it works in another network "
			   "namespace. Give --netns=.",
			   pid);
}

/* Findings of policy_watch_turn(), for its report. */
struct findings {
	uint64_t n_unneeded, n_back;
	/* Number of policies that were asked about. */
	size_t n;
	/* Result of the question: a negative errno, or 0. */
	int asked;
	/* Descriptions of the first missing policies. */
	struct log_list missing;
};

/* Copies the lost policies. Returns the list, which the caller frees, or NULL if there are none or memory is short. */
static struct entry *copy_lost(struct policy_watch *watch, size_t *ret)
{
	size_t n = 0;

	pthread_mutex_lock(&watch->lock);
	struct entry *list = watch->n_lost ? calloc(watch->n_lost, sizeof(*list)) : NULL;
	for (size_t i = 0; list && i < watch->table.n; i++)
		if (watch->table.list[i].to->state != STATE_PRESENT)
			list[n++] = policy_record_entry(watch->table.list[i].to);
	pthread_mutex_unlock(&watch->lock);
	*ret = n;
	return list;
}

static uint64_t deadline(const struct policy_owner *owner)
{
	return usec_add(now_usec(), owner->deadline_usec);
}

/* Asks charon for its CHILD_SAs, its traps and its shunts that block. charon waits for each IKE_SA that one of its
 * threads works on, so a CHILD_SA that is being deleted is not listed. Returns 0, -EMSGSIZE if charon has left IKE_SAs
 * out (vici.h), -ENOMEM, or an error of vici_open() or vici_request(). */
static int ask(const struct policy_owner *owner, struct child_sas *ret)
{
	CLEANUP(vici_close) struct vici *vici = NULL;
	struct charon_stats stats = {0};

	int r = vici_open(owner->socket, deadline(owner), &vici);
	if (r == 0)
		r = vici_stream(vici, "list-sas", "list-sa", NULL, deadline(owner), child_sas_read, NULL, ret);
	if (r == 0)
		r = charon_policies(vici, deadline(owner), false, child_sas_read_policy, ret);
	if (r == 0)
		r = charon_stats(vici, deadline(owner), &stats);
	if (r == 0)
		r = child_sas_sort(ret);
	return r == 0 && ret->n_ike_sas < stats.ike_sas ? -EMSGSIZE : r;
}

/* Applies charon's answer about one policy, unless the policy is back by now. */
static void judge(struct policy_watch *watch, const struct entry *policy, bool needed, struct findings *findings)
{
	struct policy_record *record = policy_table_find(&watch->table, policy);

	if (!record || record->state == STATE_PRESENT)
		return;
	if (!needed) {
		findings->n_unneeded += record->state == STATE_MISSING;
		drop(watch, record);
		return;
	}
	if (record->state == STATE_LOST) {
		char description[ENTRY_DESCRIPTION_MAX];

		record->state = STATE_MISSING;
		log_later(&findings->missing, "The kernel has lost %s.",
			  entry_describe(policy, description, sizeof(description)));
	}
	/* The kernel may have refused the shadow before. */
	if (!record->shadow && watch->action != ON_MISSING_REPORT)
		add_shadow(watch, record);
}

/* Asks charon about the policies, and applies the answer. Memory: all that charon lists (child_sa.h), until the end,
 * because each lost policy is looked up in it. */
static void ask_and_judge(struct policy_watch *watch, const struct policy_owner *owner, const struct entry *policies,
			  struct findings *findings)
{
	CLEANUP(child_sas_free) struct child_sas sas = {0};
	bool needed[JUDGED_AT_ONCE];

	findings->asked = ask(owner, &sas);
	/* An incomplete list shows policies that charon needs, but does not show that charon needs no others. */
	const bool answered = findings->asked == 0, partly = findings->asked == -EMSGSIZE;
	for (size_t first = 0; (answered || partly) && first < findings->n; first += JUDGED_AT_ONCE) {
		const size_t n = findings->n - first < JUDGED_AT_ONCE ? findings->n - first : JUDGED_AT_ONCE;

		for (size_t i = 0; i < n; i++)
			needed[i] = child_sas_need(&sas, &policies[first + i]);
		pthread_mutex_lock(&watch->lock);
		for (size_t i = 0; i < n; i++)
			if (answered || needed[i])
				judge(watch, &policies[first + i], needed[i], findings);
		commit(watch);
		pthread_mutex_unlock(&watch->lock);
		/* Unlocking a mutex alone does not ensure that the thread gets it. */
		sleep_until(now_usec() + PAUSE_USEC);
	}
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "policy" : "policies";
}

/* Reports that charon could not be asked, once until it answers. */
static void report_silence(struct policy_watch *watch, const struct policy_owner *owner,
			   const struct findings *findings)
{
	if (findings->asked < 0 && !watch->reported_silence)
		log_notice(MESSAGE_UNWATCHED,
			   "Could not ask %s whether it needs %zu %s that the kernel has lost: %s.%s xfrmctl asks "
			   "again.",
			   owner->name, findings->n, plural(findings->n),
			   findings->asked == -EMSGSIZE ? "it did not list all of its IKE_SAs"
							: vici_explain(findings->asked),
			   watch->action == ON_MISSING_REPORT ? "" : " Their traffic stays blocked until it answers.");
	watch->reported_silence = findings->asked < 0;
}

static void report_missing(const struct policy_watch *watch, const struct policy_owner *owner,
			   struct findings *findings)
{
	const uint64_t n = findings->missing.n;
	const struct log_field fields[] = {
		{"XFRM_DAEMON_PID", (uint64_t)watch->pid},
		{"XFRM_POLICIES", n},
		{"XFRM_BLOCKED", watch->action != ON_MISSING_REPORT},
	};
	char sentence[SENTENCE_MAX];
	uint64_t named = 0;

	if (!n)
		return;
	snprintf(sentence, sizeof(sentence),
		 "Another process has deleted %" PRIu64 " %s that %s (PID %d) still needs: the traffic is %s. %s %s%s.",
		 n, plural(n), owner->name, watch->pid,
		 watch->action == ON_MISSING_REPORT ? "unprotected" : "blocked until it is protected again",
		 watch->action == ON_MISSING_RESTART ? "xfrmctl ends" : "Restart",
		 watch->action == ON_MISSING_RESTART ? owner->name : owner->unit,
		 watch->action == ON_MISSING_RESTART ? " (SIGABRT)" : "");
	log_figures(LOG_WARNING, MESSAGE_MISSING, sentence, fields, ARRAY_SIZE(fields));
	log_list(&findings->missing, &named, LOG_WARNING, MESSAGE_MISSING);
	log_rest(n, LOG_WARNING, MESSAGE_MISSING, "policies are missing");
}

static void report_settled(const struct policy_watch *watch, const struct policy_owner *owner,
			   const struct findings *findings)
{
	const bool blocks = watch->action != ON_MISSING_REPORT;

	if (findings->n_back)
		log_notice(MESSAGE_BACK, "The kernel has %" PRIu64 " lost %s again: the traffic is protected%s.",
			   findings->n_back, plural(findings->n_back), blocks ? ", and not blocked any more" : "");
	if (findings->n_unneeded)
		log_notice(MESSAGE_BACK, "%s does not need %" PRIu64 " lost %s any more%s.", owner->name,
			   findings->n_unneeded, plural(findings->n_unneeded),
			   blocks ? ", so the traffic is not blocked any more" : "");
}

/* Reports why shadows could not be added, once until they can. */
static void report_refusal(struct policy_watch *watch, int refused)
{
	if (refused && !watch->reported_refusal)
		log_failure(
			refused, MESSAGE_INCOMPLETE,
			"Could not block the traffic of policies that the kernel has lost: %s. xfrmctl tries again.",
			strerror(-refused));
	watch->reported_refusal = refused != 0;
}

int policy_watch_turn(struct policy_watch *watch, const struct policy_owner *owner)
{
	struct findings findings = {0};
	eventfd_t ignored;

	eventfd_read(watch->changed, &ignored);
	struct entry *policies = copy_lost(watch, &findings.n);
	if (policies && findings.n)
		ask_and_judge(watch, owner, policies, &findings);
	free(policies);

	pthread_mutex_lock(&watch->lock);
	int refused = watch->refused, error = watch->error;
	findings.n_back = watch->n_back;
	watch->n_back = 0;
	watch->refused = 0;
	pthread_mutex_unlock(&watch->lock);
	report_missing(watch, owner, &findings);
	report_settled(watch, owner, &findings);
	report_silence(watch, owner, &findings);
	report_refusal(watch, refused);
	if (error < 0)
		return log_failure(error, MESSAGE_UNWATCHED,
				   "Could not read the kernel's events about policies: %s. Start this command again.",
				   strerror(-error));
	return watch->action == ON_MISSING_RESTART && findings.missing.n;
}
