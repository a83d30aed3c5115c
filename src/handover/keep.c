/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover/keep.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/log.h"
#include "base/netlink.h"
#include "base/util.h"
#include "handover/guard_sa.h"

/* Time between two readings of the kernel's coarse clock, in microseconds. The coarse clock advances with the kernel's
 * ticks, and lags if a tick is late. */
#define CLOCK_TICK_USEC (10 * USEC_PER_MSEC)

/* Maximum number of readings of the coarse clock. */
#define CLOCK_TICKS_MAX 100

static int compare(const void *a, const void *b)
{
	const struct keep_sa *left = a, *right = b;
	int r = compare_u32(left->spi, right->spi);

	if (r == 0)
		r = compare_u32(left->reqid, right->reqid);
	return r ? r : left->proto - right->proto;
}

static int compare_reqids(const void *a, const void *b)
{
	return compare_u32(*(const uint32_t *)a, *(const uint32_t *)b);
}

static struct keep_sa *find(const struct keep *keep, uint8_t proto, uint32_t spi, uint32_t reqid)
{
	const struct keep_sa key = {.proto = proto, .spi = spi, .reqid = reqid};

	return keep->n ? bsearch(&key, keep->list, keep->n, sizeof(key), compare) : NULL;
}

static bool has_reqid(const struct keep *keep, uint32_t reqid)
{
	return keep->n_reqids && bsearch(&reqid, keep->reqids, keep->n_reqids, sizeof(reqid), compare_reqids);
}

/* Returns a copy of a policy's template. netlink aligns the templates in its message to 4 bytes only. */
static struct xfrm_user_tmpl template_at(const struct entry *policy, size_t i)
{
	struct xfrm_user_tmpl template;

	memcpy(&template, &policy->policy.templates[i], sizeof(template));
	return template;
}

/* Returns whether a policy is outbound, all its templates name their SAs, and a copy of it can use these SAs. The copy
 * of an offloaded policy cannot: it has no device, and a policy without a device skips SAs with packet offload
 * (xfrm_state_find()). */
static bool names_sas(const struct entry *policy)
{
	if (policy->policy.offloaded)
		return false;
	for (size_t i = 0; i < policy->policy.n_templates; i++)
		if (!template_at(policy, i).id.spi)
			return false;
	return policy->policy.n_templates != 0 && policy->policy.info.dir == XFRM_POLICY_OUT &&
	       policy->policy.info.action == XFRM_POLICY_ALLOW && !entry_is_per_socket(policy);
}

/* Data of the search for SAs. */
struct noting {
	struct keep *keep;
	const struct filter *filter;
	struct xfrm *xfrm;
	bool dry_run;
};

/* Adds the SAs that a policy's templates name to the list. Returns 0 or -ENOMEM. */
static int note_policy(const struct entry *policy, void *userdata)
{
	const struct noting *noting = userdata;
	struct keep *keep = noting->keep;

	if (!names_sas(policy) || !filter_selects(noting->filter, policy))
		return 0;
	for (size_t i = 0; i < policy->policy.n_templates; i++) {
		const struct xfrm_user_tmpl template = template_at(policy, i);
		const struct keep_sa named = {template.id.proto, template.id.spi, template.reqid, false};
		if (APPEND(keep, named) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Waits until the second in which an SA was added is over. A guard SA that is added after that is of a later second, so
 * the kernel takes the guard SA in place of the SA. Returns 0, or -ERANGE if the SA was added in the future: the clock
 * was set back. */
static int wait_until_later(const struct entry *sa)
{
	const uint64_t made = sa->sa.curlft.add_time;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if ((uint64_t)now.tv_sec < made)
		return -ERANGE;
	if ((uint64_t)now.tv_sec == made)
		sleep_until(now_usec() + USEC_PER_SEC - (uint64_t)now.tv_nsec / 1000);
	/* The kernel takes the time of a new SA from this clock (ktime_get_real_seconds()). */
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	for (unsigned int i = 0; (uint64_t)now.tv_sec <= made && i < CLOCK_TICKS_MAX; i++) {
		sleep_until(now_usec() + CLOCK_TICK_USEC);
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	}
	return 0;
}

/* Adds the guard SA of an SA, and checks that it is younger than the SA. Returns 0 or a negative errno. */
static int put_guard_sa(struct xfrm *xfrm, const struct entry *sa)
{
	CLEANUP(free_message) struct nl_msg *message = NULL;
	const struct entry guard_sa = guard_sa_of(sa);
	struct guard_sa_keys keys;
	struct entry present = {0};

	int r = getrandom(&keys, sizeof(keys), 0) == sizeof(keys) ? wait_until_later(sa) : -EIO;
	if (r == 0)
		r = guard_sa_compose(sa, &keys, &message);
	if (r == 0)
		r = xfrm_request(xfrm, nlmsg_hdr(message));
	/* An earlier run may have left this guard SA. */
	if (r == 0 || r == -EEXIST)
		r = xfrm_find_sa(xfrm, &guard_sa, &present);
	if (r == 0 && !is_guard_sa(&present))
		r = -EEXIST;
	if (r == 0 && present.sa.curlft.add_time <= sa->sa.curlft.add_time)
		r = -ERANGE;
	return r;
}

/* Limits the remaining lifetime of an SA to KEEP_SA_SECONDS, unless it is shorter already. Returns 0 or a negative
 * errno. */
static int limit(struct xfrm *xfrm, const struct entry *sa)
{
	const uint64_t has = sa->sa.lft.hard_add_expires_seconds, added = sa->sa.curlft.add_time;
	struct timespec now;

	/* The kernel dates and expires SAs by the real-time clock. */
	clock_gettime(CLOCK_REALTIME, &now);
	const uint64_t age = (uint64_t)now.tv_sec > added ? (uint64_t)now.tv_sec - added : 0;
	if (has && has <= age + KEEP_SA_SECONDS)
		return 0;
	return xfrm_set_sa_lifetime(xfrm, sa, age + KEEP_SA_SECONDS);
}

/* Limits the lifetime of an outbound SA and adds its guard SA, so that it may stay. An IPComp SA needs no guard SA,
 * because it carries no traffic without the ESP or AH SA behind it. Returns whether both succeeded. */
static bool may_stay(struct xfrm *xfrm, const struct entry *sa)
{
	int r = limit(xfrm, sa);

	if (r == 0 && sa->sa.id.proto != IPPROTO_COMP)
		r = put_guard_sa(xfrm, sa);
	if (r < 0) {
		char description[ENTRY_DESCRIPTION_MAX];
		log_detail("Could not limit the lifetime of %s, or add a guard SA for it: %s. The SA is removed.",
			   entry_describe(sa, description, sizeof(description)), strerror(-r));
	}
	return r == 0;
}

/* Marks an SA as live if a policy names it and may_stay() is true. */
static int note_sa(const struct entry *sa, void *userdata)
{
	const struct noting *noting = userdata;

	if (sa->larval || is_guard_sa(sa))
		return 0;
	struct keep_sa *named = find(noting->keep, sa->sa.id.proto, sa->sa.id.spi, sa->sa.reqid);
	if (named && !named->live)
		named->live = noting->dry_run || may_stay(noting->xfrm, sa);
	return 0;
}

static int dump(struct xfrm *xfrm, enum entry_kind kind, xfrm_entry_fn fn, struct noting *noting)
{
	int r = xfrm_dump_consistent(xfrm, kind, NULL, fn, noting);

	/* The list may be incomplete: an entry that was not seen is not kept. */
	return r == -EAGAIN ? 0 : r;
}

/* Sorts the list and removes duplicates: each policy of a connection names the same SAs. */
static void sort(struct keep *keep)
{
	size_t n = 0;

	qsort(keep->list, keep->n, sizeof(*keep->list), compare);
	for (size_t i = 1; i < keep->n; i++)
		if (compare(&keep->list[n], &keep->list[i]) != 0)
			keep->list[++n] = keep->list[i];
	keep->n = n + 1;
}

static int collect_reqids(struct keep *keep)
{
	keep->reqids = calloc(keep->n, sizeof(*keep->reqids));
	if (!keep->reqids)
		return -ENOMEM;
	for (size_t i = 0; i < keep->n; i++)
		if (keep->list[i].live && keep->list[i].proto != IPPROTO_COMP)
			keep->reqids[keep->n_reqids++] = keep->list[i].reqid;
	qsort(keep->reqids, keep->n_reqids, sizeof(*keep->reqids), compare_reqids);
	return 0;
}

int keep_find(struct keep *keep, struct xfrm *xfrm, const struct filter *filter, bool dry_run)
{
	struct noting noting = {keep, filter, xfrm, dry_run};

	int r = dump(xfrm, ENTRY_POLICY, note_policy, &noting);
	if (r < 0 || !keep->n)
		return r;
	sort(keep);
	r = dump(xfrm, ENTRY_SA, note_sa, &noting);
	return r < 0 ? r : collect_reqids(keep);
}

bool keep_has_policy(const struct keep *keep, const struct entry *policy)
{
	if (policy->policy.info.dir != XFRM_POLICY_OUT) {
		for (size_t i = 0; i < policy->policy.n_templates; i++)
			if (!has_reqid(keep, template_at(policy, i).reqid))
				return false;
		return policy->policy.n_templates != 0;
	}
	if (!names_sas(policy))
		return false;
	for (size_t i = 0; i < policy->policy.n_templates; i++) {
		const struct xfrm_user_tmpl template = template_at(policy, i);
		const struct keep_sa *named = find(keep, template.id.proto, template.id.spi, template.reqid);
		if (!named || !named->live)
			return false;
	}
	return true;
}

bool keep_has_sa(const struct keep *keep, const struct entry *sa)
{
	return !sa->larval && has_reqid(keep, sa->sa.reqid);
}

int keep_limit_sa(const struct keep *keep, struct xfrm *xfrm, const struct entry *sa)
{
	const struct keep_sa *named = find(keep, sa->sa.id.proto, sa->sa.id.spi, sa->sa.reqid);

	return is_guard_sa(sa) || (named && named->live) ? 0 : limit(xfrm, sa);
}

void keep_free(struct keep *keep)
{
	free(keep->list);
	free(keep->reqids);
	*keep = (struct keep){0};
}
