/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "asker.h"
#include "charon.h"
#include "events.h"
#include "kept.h"
#include "netns.h"
#include "report.h"
#include "shadow.h"
#include "stopper.h"
#include "timespan.h"
#include "unit.h"
#include "util.h"
#include "verb.h"

#define TIMEOUT_USEC (10 * USEC_PER_SEC)

/* How long charon may take to tell its configuration and its SAs. */
#define ANSWER_USEC (30 * USEC_PER_SEC)

/* So many children are negotiated at a time: enough to use charon's threads, and few enough that each is through before
 * its peer repeats a message. */
#define UNDER_WAY_MAX 32

/* What has failed at once, or was forgotten, is tried again after this time, so many times. */
#define RETRY_USEC (3 * USEC_PER_SEC)
#define TRIES_MAX 3

/* How often a dump is taken again that was interrupted. */
#define DUMPS_MAX 5

/* So many connections that fell back are named; the others are counted. */
#define NAMED_MAX 10

#define SENTENCE_MAX 512

enum {
	OPTION_TIMEOUT = OPTION_OF_VERB,
	OPTION_SOCKET,
	OPTION_UNIT,
};

struct options {
	uint64_t timeout_usec;
	const char *socket, *unit;
};

struct handover {
	const struct options *options;
	struct kernel *kernel;
	struct events *events;
	struct asker asker; /* without a process when charon cannot be asked */
	struct kept kept;
	struct children children;
	size_t n_under_way;
	bool rivalled; /* some group is */
	uint64_t begun;
	uint64_t n_over, n_fell_back, n_removed, n_sas, n_failed;
	int error; /* charon could not be asked */
};

static void print_help(void)
{
	char timeout[TIMESPAN_MAX];

	printf("Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] handover [OPTION...]\n"
	       "\n"
	       "Has charon negotiate anew what `xfrmctl flush --keep` left going, moves the traffic to the\n"
	       "new SAs, and removes the old ones. To be run when charon has loaded its connections.\n"
	       "\n"
	       "  --timeout=TIME       What has no new SAs after this time is held instead (500ms, 30s,\n"
	       "                       infinity; default %s): its old SAs go\n"
	       "  --socket=PATH        charon's VICI socket (default: " VICI_SOCKET ")\n"
	       "  --unit=UNIT          In the network namespace of this unit (NetworkNamespacePath=), in whose\n"
	       "                       journal messages appear\n"
	       "  -h, --help           Show this\n",
	       timespan_format(TIMEOUT_USEC, timeout, sizeof(timeout)));
}

static int take_option(int option, const char *value, void *userdata)
{
	struct options *options = userdata;

	switch (option) {
	case OPTION_TIMEOUT:
		return verb_take_time("timeout", value, 0, &options->timeout_usec);
	case OPTION_SOCKET:
		options->socket = value;
		return 0;
	case OPTION_UNIT:
		options->unit = value;
		return 0;
	default:
		return -EINVAL;
	}
}

static void on_refused(const struct kernel_refusal *refusal, void *userdata)
{
	struct handover *handover = userdata;
	char description[ENTRY_DESCRIPTION_MAX];

	if (refusal->error == -ENOENT || refusal->error == -ESRCH)
		return;
	if (handover->n_failed++ < NAMED_MAX)
		report_failure(0, REPORT_INCOMPLETE, "Could not remove %s: %s.",
			       entry_describe(&refusal->entry, description, sizeof(description)),
			       strerror(-refusal->error));
}

static int remove_shadows(struct handover *handover, const struct kept_group *group)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n; i++)
		r = kernel_delete(handover->kernel, &handover->kept.shadows[group->first + i].policy, on_refused,
				  handover);
	return r < 0 ? r : kernel_commit(handover->kernel, on_refused, handover);
}

/* Removes the shadows that hold the places of a group as well. */
static int remove_holds(struct handover *handover, const struct kept_group *group)
{
	static const uint32_t tags[] = {SHADOW_HOLD, SHADOW_GRACE, SHADOW_CLOSE};
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n * ARRAY_SIZE(tags); i++) {
		struct entry shadow = handover->kept.shadows[group->first + i / ARRAY_SIZE(tags)].policy, found = {0};

		shadow.policy.info.sel.user = tags[i % ARRAY_SIZE(tags)];
		r = kernel_find_policy(handover->kernel, &shadow, &found);
		if (r == 0)
			r = kernel_delete(handover->kernel, &found, on_refused, handover);
		else if (r == -ENOENT)
			r = 0;
	}
	return r < 0 ? r : kernel_commit(handover->kernel, on_refused, handover);
}

/* Removes a group's SAs, or the stoppers in front of them. */
static int remove_sas(struct handover *handover, const struct kept_group *group, bool stoppers)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n_sas; i++) {
		const struct entry *sa = &handover->kept.sas[group->first_sa + i].sa;

		if (stopper_is(sa) != stoppers)
			continue;
		handover->n_sas += !stoppers;
		r = kernel_delete(handover->kernel, sa, on_refused, handover);
	}
	return r < 0 ? r : kernel_commit(handover->kernel, on_refused, handover);
}

/* charon's policies decide on a group's traffic from now on: which others does that concern? */
static int look_for_rivals(struct handover *handover, const struct kept_group *group)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < group->n; i++) {
		const struct entry real = shadow_covering(&handover->kept.shadows[group->first + i].policy);
		struct entry found = {0};

		r = kernel_find_policy(handover->kernel, &real, &found);
		if (r == 0)
			handover->rivalled |= kept_mark_rivals(&handover->kept, &found);
		else if (r == -ENOENT)
			r = 0;
	}
	return r;
}

static void name_fallen(const struct handover *handover, const struct kept_group *group)
{
	char description[SENTENCE_MAX / 2], timeout[TIMESPAN_MAX];

	if (handover->n_fell_back > NAMED_MAX)
		return;
	kept_describe(&handover->kept, group, description, sizeof(description));
	if (group->rivalled)
		report_notice(REPORT_FELL_BACK,
			      "%s is held: charon uses its reqid for another connection now, so its old SAs had to go.",
			      description);
	else
		report_notice(REPORT_FELL_BACK, "%s is held: there are no new SAs of it after %s.", description,
			      timespan_format(handover->options->timeout_usec, timeout, sizeof(timeout)));
}

/* Ends the old life of a group. Its stoppers go last: until its SAs have gone, nothing else may go through them. */
static int end_group(struct handover *handover, struct kept_group *group, enum kept_fate fate)
{
	if (group->fate == KEPT_ASKED && !group->waits_for_peer)
		handover->n_under_way--;
	group->fate = fate;
	handover->n_over += fate == KEPT_OVER;
	handover->n_removed += fate == KEPT_REMOVED;
	handover->n_fell_back += fate == KEPT_FELL_BACK;

	int r = remove_shadows(handover, group);
	if (r == 0 && fate == KEPT_REMOVED)
		r = remove_holds(handover, group);
	if (r == 0)
		r = remove_sas(handover, group, false);
	if (r == 0)
		r = remove_sas(handover, group, true);
	if (r == 0)
		r = look_for_rivals(handover, group);
	if (fate == KEPT_FELL_BACK)
		name_fallen(handover, group);
	return r;
}

static int add_shadow(const struct entry *policy, const struct nlmsghdr *message, void *userdata)
{
	struct handover *handover = userdata;

	(void)message;
	return kept_add_shadow(&handover->kept, policy);
}

static int add_sa(const struct entry *sa, const struct nlmsghdr *message, void *userdata)
{
	struct handover *handover = userdata;

	(void)message;
	/* What is younger than the shadows is charon's. */
	if (sa->larval || sa->sa.curlft.add_time > handover->kept.newest_time)
		return 0;
	return kept_add_sa(&handover->kept, sa);
}

static int add_rivals(const struct entry *policy, const struct nlmsghdr *message, void *userdata)
{
	struct handover *handover = userdata;

	(void)message;
	handover->rivalled |= kept_mark_rivals(&handover->kept, policy);
	return 0;
}

static int load(struct handover *handover, enum entry_kind kind, kernel_entry_fn fn)
{
	int r = -EAGAIN;

	for (unsigned int i = 0; r == -EAGAIN && i < DUMPS_MAX; i++) {
		if (fn == add_shadow)
			kept_free(&handover->kept);
		else if (fn == add_sa)
			handover->kept.n_sas = 0;
		r = kernel_dump(handover->kernel, kind, fn, handover);
	}
	if (r < 0 && r != -EAGAIN)
		return report_failure(r, REPORT_FAILED, "Could not list what was kept: %s.", strerror(-r));
	return 0;
}

/* Takes charon's own SAs out of the list. */
static void drop_known(struct kept *kept, const struct charon_sas *known)
{
	size_t n = 0;

	for (size_t i = 0; i < kept->n_sas; i++) {
		const struct entry *sa = &kept->sas[i].sa;

		if (stopper_is(sa) || !charon_knows(known, sa->sa.id.proto, ntohl(sa->sa.id.spi)))
			kept->sas[n++] = kept->sas[i];
	}
	kept->n_sas = n;
}

/* Asks charon for its configuration and its SAs, and starts the process that asks it for more. */
static int ask_charon(struct handover *handover)
{
	CLEANUP(charon_free_sas) struct charon_sas known = {0};
	CLEANUP(vici_close) struct vici *vici = NULL;
	const char *socket = handover->options->socket;

	int r = vici_open(socket, later(now_usec(), ANSWER_USEC), &vici);
	if (r == 0 && netns_is_elsewhere(vici_peer(vici)))
		r = -EXDEV;
	if (r == 0)
		r = charon_children(vici, later(now_usec(), ANSWER_USEC), &handover->children);
	if (r == 0)
		r = charon_sas(vici, later(now_usec(), ANSWER_USEC), &known);
	if (r == 0) {
		drop_known(&handover->kept, &known);
		r = asker_start(&vici, &handover->children, &handover->asker);
	}
	if (r < 0) {
		handover->children.incomplete = true;
		report_failure(r, REPORT_FAILED,
			       "charon does not answer on %.128s: %s. What it does not negotiate by itself in time is "
			       "held.",
			       socket, r == -EXDEV ? "it works in another network namespace" : strerror(-r));
	}
	return r;
}

/* Gives each group a child of charon's; what none explains is of a connection that is not configured any more. */
static int assign_children(struct handover *handover)
{
	struct kept *kept = &handover->kept;
	uint64_t deadline = later(now_usec(), handover->options->timeout_usec);
	int r = 0;

	for (size_t i = 0; r == 0 && i < kept->n_groups; i++) {
		struct kept_group *group = &kept->groups[i];
		struct child *child = NULL;

		group->look = true;
		if (kept_find_child(kept, group, &handover->children, &group->child)) {
			child = &handover->children.list[group->child];
			child->taken = true;
		} else if (!handover->children.incomplete) {
			r = end_group(handover, group, KEPT_REMOVED);
			continue;
		}
		if (!child || !handover->children.connections[child->connection].can_begin || !handover->asker.pid) {
			group->waits_for_peer = true;
			group->fate = KEPT_ASKED;
			group->deadline = deadline;
		}
	}
	return r;
}

/* Whether a policy sends its packets through SAs that are there, and new. */
static int names_new_sas(struct handover *handover, const struct kept_group *group, const struct entry *policy)
{
	struct xfrm_user_tmpl templates[ENTRY_TEMPLATES_MAX];
	size_t n = policy->policy.n_templates;
	int r = 0;

	/* The next question to the kernel takes the place of its last answer. */
	memcpy(templates, policy->policy.templates, n * sizeof(templates[0]));
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct entry sa = {.kind = ENTRY_SA, .mark = policy->mark}, found = {0};
		const struct xfrm_selector *sel = &policy->policy.info.sel;

		if (!templates[i].id.spi)
			return -ENOENT;
		sa.sa.id = templates[i].id;
		sa.sa.family = templates[i].family;
		/* Behind the first, and in transport mode, templates leave the end points to the packet. */
		if (templates[i].mode == XFRM_MODE_TRANSPORT && i)
			sa.sa.id.daddr = templates[0].id.daddr;
		else if (templates[i].mode == XFRM_MODE_TRANSPORT)
			sa.sa.id.daddr = sel->daddr;
		r = kernel_find_sa(handover->kernel, &sa, &found);
		if (r == 0 && (found.larval || kept_has_sa(&handover->kept, group, &found)))
			r = -ESRCH;
	}
	return r;
}

/* Whether charon's own policies stand behind all shadows of a group and send its traffic through new SAs: 1 if so. */
static int is_through(struct handover *handover, struct kept_group *group)
{
	group->half = false;
	for (size_t i = 0; i < group->n; i++) {
		const struct entry real = shadow_covering(&handover->kept.shadows[group->first + i].policy);
		struct entry found = {0};

		int r = kernel_find_policy(handover->kernel, &real, &found);
		if (r == 0 && real.policy.info.dir == XFRM_POLICY_OUT)
			r = names_new_sas(handover, group, &found);
		if (r == -ESRCH)
			group->half = true;
		if (r < 0)
			return r == -ENOENT || r == -ESRCH ? 0 : r;
	}
	return 1;
}

static int ask(struct handover *handover, struct kept_group *group)
{
	struct child *child = &handover->children.list[group->child];
	struct children_connection *connection = &handover->children.connections[child->connection];
	const struct asker_question question = {
		.group = (size_t)(group - handover->kept.groups),
		.child = group->child,
		.siblings = connection->asked,
	};

	int r = asker_ask(&handover->asker, &question);
	if (r < 0)
		return r;
	connection->asked = group->asking = true;
	group->tries++;
	group->retry = UINT64_MAX;
	if (group->fate == KEPT_WAITS) {
		group->fate = KEPT_ASKED;
		group->deadline = later(now_usec(), handover->options->timeout_usec);
		handover->n_under_way++;
	}
	return 0;
}

/* Without anybody who can be asked, what waits gets its time from now on. */
static void lose_charon(struct handover *handover, int error)
{
	if (handover->error == 0)
		report_failure(error, REPORT_FAILED,
			       "charon does not answer any more on %.128s: %s. What it does not negotiate by itself in "
			       "time is held.",
			       handover->options->socket, strerror(-error));
	handover->error = error;
	asker_end(&handover->asker);
	for (size_t i = 0; i < handover->kept.n_groups; i++) {
		struct kept_group *group = &handover->kept.groups[i];

		if (group->fate == KEPT_WAITS)
			group->deadline = later(now_usec(), handover->options->timeout_usec);
		if (kept_goes_on(group)) {
			group->fate = KEPT_ASKED;
			group->waits_for_peer = true;
		}
	}
	handover->n_under_way = 0;
}

static void read_answers(struct handover *handover)
{
	struct asker_answer answer;
	int r = 0;

	while (handover->asker.pid && (r = asker_read(&handover->asker, &answer)) > 0) {
		struct kept_group *group = &handover->kept.groups[answer.group];
		const struct child *child = &handover->children.list[group->child];

		group->asking = false;
		group->look = true;
		group->retry = later(now_usec(), RETRY_USEC);
		if (answer.error == -ENOENT)
			report_detail("charon does not begin with %s: %.128s", child->name, answer.why);
		else if (answer.error < 0)
			r = answer.error;
		else
			report_detail("charon %s %s.",
				      answer.found == CHARON_THERE    ? "has SAs of"
				      : answer.found == CHARON_COMING ? "is at"
								      : "begins with",
				      child->name);
		if (r < 0)
			break;
	}
	if (r < 0)
		lose_charon(handover, r);
}

static void on_event(const struct entry *entry, void *userdata)
{
	struct handover *handover = userdata;
	struct kept *kept = &handover->kept;

	if (entry->kind == ENTRY_POLICY) {
		const struct kept_shadow *shadow = kept_find(kept, entry);
		if (shadow)
			kept->groups[shadow->group].look = true;
		handover->rivalled |= kept_mark_rivals(kept, entry);
		return;
	}
	for (size_t i = 0; i < kept->n_groups; i++)
		kept->groups[i].look |= kept->groups[i].half;
}

static int read_events(struct handover *handover)
{
	int r = events_read(handover->events, on_event, handover);

	if (r != -ENOBUFS)
		return r;
	for (size_t i = 0; i < handover->kept.n_groups; i++)
		handover->kept.groups[i].look = true;
	return load(handover, ENTRY_POLICY, add_rivals);
}

/* Does for a group what there is to do now. */
static int settle(struct handover *handover, struct kept_group *group)
{
	const uint64_t now = now_usec();
	int through = 0;

	if (!kept_goes_on(group))
		return 0;
	if (group->look)
		through = is_through(handover, group);
	group->look = false;
	if (through < 0)
		return through;
	if (through)
		return end_group(handover, group, KEPT_OVER);
	if (group->rivalled || (group->fate == KEPT_ASKED && group->deadline <= now))
		return end_group(handover, group, KEPT_FELL_BACK);
	if (group->asking || group->waits_for_peer)
		return 0;
	if (group->fate == KEPT_WAITS ? handover->n_under_way < UNDER_WAY_MAX
				      : group->retry <= now && group->tries < TRIES_MAX) {
		int r = ask(handover, group);
		if (r < 0)
			lose_charon(handover, r);
	}
	return 0;
}

/* Milliseconds until there is something to do without an event; -1 for none. */
static int time_left(const struct handover *handover)
{
	const uint64_t now = now_usec();
	uint64_t first = UINT64_MAX;

	for (size_t i = 0; i < handover->kept.n_groups; i++) {
		const struct kept_group *group = &handover->kept.groups[i];

		if (group->fate != KEPT_ASKED)
			continue;
		if (group->deadline < first)
			first = group->deadline;
		if (group->tries < TRIES_MAX && !group->waits_for_peer && group->retry < first)
			first = group->retry;
	}
	if (first == UINT64_MAX)
		return -1;
	const uint64_t msec = first <= now ? 0 : (first - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
	return msec > INT32_MAX ? INT32_MAX : (int)msec;
}

static int remove_stopper(const struct entry *sa, const struct nlmsghdr *message, void *userdata)
{
	struct handover *handover = userdata;

	(void)message;
	return stopper_is(sa) ? kernel_delete(handover->kernel, sa, on_refused, handover) : 0;
}

/* Those that an earlier run left, which did not come to its end. */
static int remove_stoppers(struct handover *handover)
{
	int r = load(handover, ENTRY_SA, remove_stopper);

	return r < 0 ? r : kernel_commit(handover->kernel, on_refused, handover);
}

static bool is_done(const struct handover *handover)
{
	const struct kept *kept = &handover->kept;

	return handover->n_over + handover->n_fell_back + handover->n_removed == kept->n_groups;
}

/* One round over all groups; another one when the end of some concerns others. */
static int settle_all(struct handover *handover)
{
	int r = 0;

	do {
		handover->rivalled = false;
		for (size_t i = 0; r == 0 && i < handover->kept.n_groups; i++)
			r = settle(handover, &handover->kept.groups[i]);
	} while (r == 0 && handover->rivalled);
	return r;
}

static int move_traffic(struct handover *handover)
{
	int r = settle_all(handover);

	while (r == 0 && !is_done(handover)) {
		struct pollfd fds[] = {
			{.fd = events_fd(handover->events), .events = POLLIN},
			{.fd = handover->asker.pid ? handover->asker.fd : -1, .events = POLLIN},
		};

		if (poll(fds, ARRAY_SIZE(fds), time_left(handover)) < 0 && errno != EINTR)
			return -errno;
		r = read_events(handover);
		read_answers(handover);
		if (r == 0)
			r = settle_all(handover);
	}
	return r;
}

static void report(const struct handover *handover)
{
	const struct report_field fields[] = {
		{"XFRM_HANDED_OVER", handover->n_over}, {"XFRM_FELL_BACK", handover->n_fell_back},
		{"XFRM_REMOVED", handover->n_removed},	{"XFRM_SAS", handover->n_sas},
		{"XFRM_FAILED", handover->n_failed},	{"XFRM_DURATION_USEC", now_usec() - handover->begun},
	};
	char sentence[SENTENCE_MAX];
	const uint64_t usec = fields[ARRAY_SIZE(fields) - 1].value;

	snprintf(sentence, sizeof(sentence),
		 "Handed over %" PRIu64 " of %zu connections in %" PRIu64 ".%03" PRIu64 " ms; %" PRIu64
		 " fell back to hold, %" PRIu64 " no longer configured. Removed %" PRIu64 " old SAs.",
		 handover->n_over, handover->kept.n_groups, usec / 1000, usec % 1000, handover->n_fell_back,
		 handover->n_removed, handover->n_sas);
	report_figures(LOG_INFO, REPORT_HANDED_OVER, sentence, fields, ARRAY_SIZE(fields));
}

static int hand_over(struct handover *handover)
{
	/* Before anything is looked at: what happens meanwhile waits there. */
	int r = events_open(&handover->events);
	if (r < 0)
		return report_failure(r, REPORT_FAILED, "Could not listen to the kernel's events: %s.", strerror(-r));
	r = load(handover, ENTRY_POLICY, add_shadow);
	if (r < 0)
		return r;
	if (!handover->kept.n_shadows) {
		report_detail("Nothing was kept: there is nothing to hand over.");
		return remove_stoppers(handover);
	}

	r = kept_sort(&handover->kept);
	if (r == 0)
		r = load(handover, ENTRY_SA, add_sa);
	if (r < 0)
		return r;
	handover->error = ask_charon(handover);
	kept_sort_sas(&handover->kept);
	r = assign_children(handover);
	if (r == 0)
		r = load(handover, ENTRY_POLICY, add_rivals);
	if (r == 0)
		r = move_traffic(handover);
	if (r == 0)
		r = remove_stoppers(handover);
	if (r < 0)
		report_failure(r, REPORT_FAILED, "The handover broke off: %s. Run it again.", strerror(-r));
	report(handover);
	return r < 0 ? r : handover->n_failed ? -EIO : handover->error;
}

static int run(struct globals *globals, const struct options *options)
{
	CLEANUP(kernel_close) struct kernel *kernel = NULL;
	struct handover handover = {.options = options, .begun = now_usec()};
	struct unit_state state;
	struct kernel_counts counts;

	if (options->unit) {
		int r = unit_find(options->unit, &state);
		if (r < 0)
			return report_failure(r, REPORT_FAILED, "Could not ask systemd about %.64s: %s.", options->unit,
					      strerror(-r));
		if (*state.netns && !globals->netns)
			globals->netns = state.netns;
		report_about(options->unit);
	}
	int r = verb_open_kernel(globals, &kernel, &counts);
	if (r < 0)
		return r;
	handover.kernel = kernel;
	r = hand_over(&handover);
	asker_end(&handover.asker);
	events_close(&handover.events);
	kept_free(&handover.kept);
	children_free(&handover.children);
	return r;
}

int verb_handover(struct globals *globals, int argc, char **argv)
{
	static const struct option long_options[] = {
		GLOBAL_LONG_OPTIONS,
		{"timeout", required_argument, NULL, OPTION_TIMEOUT},
		{"socket", required_argument, NULL, OPTION_SOCKET},
		{"unit", required_argument, NULL, OPTION_UNIT},
		{NULL, 0, NULL, 0},
	};
	static const struct verb_syntax syntax = {long_options, print_help, take_option};
	struct options options = {.timeout_usec = TIMEOUT_USEC, .socket = VICI_SOCKET};

	int r = verb_parse(globals, argc, argv, &syntax, &options);
	if (r < 0)
		return verb_parsed(r);
	return run(globals, &options) < 0 ? STATUS_FAILED : STATUS_DONE;
}
