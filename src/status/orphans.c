/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "status/orphans.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "handover/connections.h"
#include "handover/guard_sa.h"

/* Maximum number of lists that are requested from charon while its answers are incomplete. */
#define LISTS_MAX 5

/* Compares orphans by the key of their SAs in the kernel: destination, SPI, protocol and mark. */
static int compare(const void *a, const void *b)
{
	const struct orphan *left = a, *right = b;
	int r = memcmp(left->sa.id.daddr.a6, right->sa.id.daddr.a6, sizeof(left->sa.id.daddr.a6));

	if (r == 0)
		r = memcmp(&left->sa.id.spi, &right->sa.id.spi, sizeof(left->sa.id.spi));
	if (r == 0)
		r = left->sa.id.proto - right->sa.id.proto;
	return r ? r : memcmp(&left->mark, &right->mark, sizeof(left->mark));
}

/* Returns the orphan that is the same SA as an entry, or NULL. */
static struct orphan *find(const struct orphans *orphans, const struct entry *entry)
{
	const struct orphan key = {.sa.id = entry->sa.id, .mark = entry->mark};

	struct orphan *found = orphans->n ? bsearch(&key, orphans->list, orphans->n, sizeof(key), compare) : NULL;
	/* An SA with the same key that was added at another time is another SA. */
	return found && found->sa.curlft.add_time == entry->sa.curlft.add_time ? found : NULL;
}

bool orphans_contain(const struct orphans *orphans, const struct entry *entry)
{
	return find(orphans, entry) != NULL;
}

/* Arguments of find_all(). */
struct search {
	struct orphans *orphans;
	struct xfrm *xfrm;
	struct vici *vici;
	uint64_t interval, timeout;
	const struct orphans_observer *observer;
};

static void visit(const struct search *search, const struct entry *entry)
{
	if (search->observer->visit)
		search->observer->visit(entry, search->observer->userdata);
}

static int compare_rest(const struct search *search)
{
	return search->observer->compare ? search->observer->compare(search->observer->userdata) : 0;
}

static int look_first(const struct entry *entry, void *userdata)
{
	const struct search *search = userdata;
	struct orphans *orphans = search->orphans;

	visit(search, entry);
	/* A guard SA sends nothing, and stays as long as handover needs it. */
	if (entry->larval || is_guard_sa(entry) || !entry_proto_name(entry->sa.id.proto) ||
	    charon_knows(&orphans->known, entry->sa.id.proto, ntohl(entry->sa.id.spi)))
		return 0;
	return APPEND(orphans, (struct orphan){.sa = entry->sa, .mark = entry->mark, .if_id = entry->if_id});
}

static int look_again(const struct entry *entry, void *userdata)
{
	const struct search *search = userdata;
	struct orphan *orphan = find(search->orphans, entry);

	visit(search, entry);
	if (orphan) {
		orphan->remains = true;
		orphan->packets = entry->sa.curlft.packets - orphan->sa.curlft.packets;
		orphan->bytes = entry->sa.curlft.bytes - orphan->sa.curlft.bytes;
	}
	return 0;
}

static void begin_first(void *userdata)
{
	const struct search *search = userdata;

	search->orphans->n = 0;
	visit(search, NULL);
}

static void begin_again(void *userdata)
{
	visit(userdata, NULL);
}

/* Drops the orphans that charon knows now or, with `gone`, those that the kernel no longer has. Keeps the order. */
static void drop(struct orphans *orphans, bool gone)
{
	size_t n = 0;

	for (size_t i = 0; i < orphans->n; i++) {
		const struct xfrm_id *id = &orphans->list[i].sa.id;
		if (gone ? orphans->list[i].remains : !charon_knows(&orphans->known, id->proto, ntohl(id->spi)))
			orphans->list[n++] = orphans->list[i];
	}
	orphans->n = n;
}

/* Lists charon's SAs. Returns 0 or a negative errno. */
static int ask(const struct search *search)
{
	uint64_t deadline = usec_add(now_usec(), search->timeout);
	struct charon_sas *known = &search->orphans->known;

	if (!search->vici)
		return 0;
	charon_free_sas(known);
	return search->observer->ask ? search->observer->ask(search->vici, deadline, known, search->observer->userdata)
				     : charon_sas(search->vici, deadline, known);
}

/* Lists charon's SAs for the second time, and drops the orphans that it knows.
 *
 * charon silently drops the list entry of an IKE_SA if it does not fit into a message (vici_socket.c). The SAs of that
 * IKE_SA then look like orphans. A list with fewer IKE_SAs than charon's statistics is therefore incomplete. The number
 * may also have changed between the two commands, so both are repeated. With `whole`, a complete list is needed even
 * without orphans. Returns 0, -EMSGSIZE if every list was incomplete, or another negative errno. */
static int ask_again(const struct search *search, bool whole)
{
	struct orphans *orphans = search->orphans;

	for (unsigned int i = 0; i < LISTS_MAX; i++) {
		struct charon_stats stats;

		int r = ask(search);
		if (r < 0)
			return r;
		drop(orphans, false);
		if (!orphans->n && !whole)
			return 0;
		r = charon_stats(search->vici, usec_add(now_usec(), search->timeout), &stats);
		if (r < 0 || orphans->known.n_ike_sas >= stats.ike_sas)
			return r;
	}
	return -EMSGSIZE;
}

/* Finds the connection of each orphan in charon's configuration. Returns 0 or a negative errno. */
static int name_connections(struct orphans *orphans, struct vici *vici, uint64_t deadline)
{
	CLEANUP(charon_free_configuration) struct charon_configuration configuration = {0};

	int r = charon_configuration(vici, deadline, &configuration);
	for (size_t i = 0; r == 0 && i < orphans->n; i++) {
		struct orphan *orphan = &orphans->list[i];
		const char *name = charon_connection_between(&configuration, orphan->sa.family, &orphan->sa.saddr,
							     &orphan->sa.id.daddr, orphan->sa.mode);
		if (name)
			strncpy(orphan->connection, name, sizeof(orphan->connection) - 1);
	}
	return r;
}

static void begin_kept(void *userdata)
{
	kept_free(userdata);
}

static int add_kept(const struct entry *policy, void *userdata)
{
	return kept_add_policy(userdata, policy);
}

/* Drops the kept SAs among the orphans: those of kept policies, which the handover removes. An SA that is younger than
 * the kept policies is none. Keeps the order. Returns 0 or a negative errno. */
static int drop_kept(const struct search *search)
{
	CLEANUP(kept_free) struct kept kept = {0};
	struct orphans *orphans = search->orphans;
	size_t n = 0;

	if (!search->vici || !orphans->n)
		return 0;
	int r = xfrm_dump_consistent(search->xfrm, ENTRY_POLICY, begin_kept, add_kept, &kept);
	if (r == 0)
		r = kept_sort(&kept);
	for (size_t i = 0; r == 0 && i < orphans->n; i++) {
		const struct entry sa = {.kind = ENTRY_SA, .sa = orphans->list[i].sa};
		size_t n_kept = kept.n_sas;
		if (sa.sa.curlft.add_time <= kept.newest_time)
			r = kept_add_sa(&kept, &sa);
		if (kept.n_sas == n_kept)
			orphans->list[n++] = orphans->list[i];
	}
	if (r == 0)
		orphans->n = n;
	return r;
}

/* Lists the SAs of charon and of the kernel twice, charon's first each time. If an SA comes up or goes between two
 * lists of one pair, the other pair shows that it is no orphan. Returns 0 or a negative errno. */
static int find_all(const struct search *search)
{
	struct orphans *orphans = search->orphans;
	int r = ask(search), others = 0;
	uint64_t begun = now_usec();

	if (r == 0)
		r = xfrm_dump_consistent(search->xfrm, ENTRY_SA, begin_first, look_first, (void *)search);
	if (r == 0)
		r = drop_kept(search);
	orphans->n_first = orphans->n;
	if (r == 0)
		r = others = compare_rest(search);
	if (r < 0 || (!orphans->n && !others))
		return r;
	if (orphans->n)
		qsort(orphans->list, orphans->n, sizeof(*orphans->list), compare);

	sleep_until(begun + search->interval);
	r = search->vici ? ask_again(search, others > 0) : 0;
	orphans->usec = now_usec() - begun;
	if (r == 0 && (orphans->n || others))
		r = xfrm_dump_consistent(search->xfrm, ENTRY_SA, begin_again, look_again, (void *)search);
	if (r == 0)
		drop(orphans, true);
	if (r == 0 && others)
		r = compare_rest(search);
	if (r >= 0 && search->vici && orphans->n)
		r = name_connections(orphans, search->vici, usec_add(now_usec(), search->timeout));
	return r < 0 ? r : 0;
}

int orphans_find(struct xfrm *xfrm, struct vici *vici, uint64_t interval, uint64_t timeout,
		 const struct orphans_observer *observer, struct orphans *ret)
{
	static const struct orphans_observer none;
	const struct search search = {
		.orphans = ret,
		.xfrm = xfrm,
		.vici = vici,
		.interval = interval,
		.timeout = timeout,
		.observer = observer ? observer : &none,
	};

	*ret = (struct orphans){0};
	int r = find_all(&search);
	if (r < 0)
		orphans_free(ret);
	return r;
}

void orphans_free(struct orphans *orphans)
{
	charon_free_sas(&orphans->known);
	free(orphans->list);
	*orphans = (struct orphans){0};
}
