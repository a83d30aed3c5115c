/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/charon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "xfrm/entry.h"

/* Maximum number of addresses that are read from each of a connection's lists, local_addrs and remote_addrs. */
#define ADDRESSES_MAX 16

/* Reads the answer to `version`. */
static int on_version(struct vici_reader *message, void *userdata)
{
	struct charon_version *version = userdata;
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		if (item.element != VICI_KEY_VALUE)
			continue;
		if (vici_is(item.name, "daemon"))
			vici_copy(item.value, version->daemon, sizeof(version->daemon));
		else if (vici_is(item.name, "version"))
			vici_copy(item.value, version->version, sizeof(version->version));
	}
	return r;
}

int charon_version(struct vici *vici, uint64_t deadline, struct charon_version *ret)
{
	*ret = (struct charon_version){0};
	return vici_request(vici, "version", NULL, deadline, on_version, ret);
}

/* Reads a key in a section of the answer to `stats`. */
static void take_stat(struct charon_stats *stats, struct vici_text section, const struct vici_item *item)
{
	uint64_t number = 0;

	vici_number(item->value, 10, &number);
	if (vici_is(section, "uptime") && vici_is(item->name, "running"))
		vici_copy(item->value, stats->uptime, sizeof(stats->uptime));
	else if (vici_is(section, "uptime") && vici_is(item->name, "since"))
		vici_copy(item->value, stats->since, sizeof(stats->since));
	else if (vici_is(section, "workers") && vici_is(item->name, "total"))
		stats->workers = number;
	else if (vici_is(section, "workers") && vici_is(item->name, "idle"))
		stats->idle = number;
	else if (vici_is(section, "queues"))
		stats->queued += number;
	else if (vici_is(section, "ikesas") && vici_is(item->name, "total"))
		stats->ike_sas = number;
	else if (vici_is(section, "ikesas") && vici_is(item->name, "half-open"))
		stats->half_open = number;
}

/* Reads the answer to `stats`: sections with keys, such as ikesas { total, half-open, ... } */
static int on_stats(struct vici_reader *message, void *userdata)
{
	struct vici_text section = {0};
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		if (item.element == VICI_SECTION_START && item.depth == 0)
			section = item.name;
		else if (item.element == VICI_KEY_VALUE && item.depth == 1)
			take_stat(userdata, section, &item);
	}
	return r;
}

int charon_stats(struct vici *vici, uint64_t deadline, struct charon_stats *ret)
{
	*ret = (struct charon_stats){0};
	return vici_request(vici, "stats", NULL, deadline, on_stats, ret);
}

/* Adds an SA to the list. `spi` is in base 16. Returns 0, -EBADMSG or -ENOMEM. */
static int add_sa(struct charon_sas *sas, uint8_t proto, struct vici_text spi)
{
	uint64_t number;

	if (vici_number(spi, 16, &number) < 0 || number > UINT32_MAX)
		return -EBADMSG;
	struct charon_sa *list = grow(sas->list, sas->n, &sas->allocated, sizeof(*sas->list));
	if (!list)
		return -ENOMEM;
	sas->list = list;
	list[sas->n++] = (struct charon_sa){proto, (uint32_t)number};
	return 0;
}

/* Reads a key of a CHILD_SA. `proto` keeps the value of the last key `protocol`, which charon writes before the SPIs.
 * Returns 0 or a negative errno. */
static int take_child(struct charon_sas *sas, uint8_t *proto, const struct vici_item *item)
{
	if (vici_is(item->name, "protocol"))
		*proto = vici_is(item->value, "AH") ? IPPROTO_AH : IPPROTO_ESP;
	else if (vici_is(item->name, "spi-in") || vici_is(item->name, "spi-out"))
		return add_sa(sas, *proto, item->value);
	else if (vici_is(item->name, "cpi-in") || vici_is(item->name, "cpi-out"))
		return add_sa(sas, IPPROTO_COMP, item->value);
	return 0;
}

/* Lists of charon's SAs under construction, and who else reads the events. */
struct sas_reading {
	struct charon_sas sas;
	vici_message_fn fn;
	void *userdata;
};

/* Reads an event list-sa: IKE_SA { ..., child-sas { NAME-ID { protocol, spi-in, ... } } } */
static int on_list_sa(struct vici_reader *message, void *userdata)
{
	struct sas_reading *reading = userdata;
	struct charon_sas *sas = &reading->sas;
	struct vici_reader copy = *message;
	struct vici_item item;
	uint8_t proto = IPPROTO_ESP;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		if (item.element == VICI_SECTION_START && item.depth == 0)
			sas->n_ike_sas++;
		else if (item.element == VICI_SECTION_START && item.depth == 2)
			sas->n_child_sas++;
		else if (item.element == VICI_KEY_VALUE && item.depth == 3)
			r = take_child(sas, &proto, &item);
		if (r < 0)
			return r;
	}
	return r < 0 || !reading->fn ? r : reading->fn(&copy, reading->userdata);
}

/* Orders by protocol and SPI. */
static int compare_sas(const void *a, const void *b)
{
	const struct charon_sa *left = a, *right = b;

	if (left->proto != right->proto)
		return left->proto < right->proto ? -1 : 1;
	return compare_u32(left->spi, right->spi);
}

int charon_sas_and(struct vici *vici, uint64_t deadline, vici_message_fn fn, void *userdata, struct charon_sas *ret)
{
	struct sas_reading reading = {.fn = fn, .userdata = userdata};

	int r = vici_stream(vici, "list-sas", "list-sa", NULL, deadline, on_list_sa, NULL, &reading);
	if (r < 0) {
		charon_free_sas(&reading.sas);
		return r;
	}
	if (reading.sas.n)
		qsort(reading.sas.list, reading.sas.n, sizeof(*reading.sas.list), compare_sas);
	*ret = reading.sas;
	return 0;
}

int charon_sas(struct vici *vici, uint64_t deadline, struct charon_sas *ret)
{
	return charon_sas_and(vici, deadline, NULL, NULL, ret);
}

bool charon_knows(const struct charon_sas *sas, uint8_t proto, uint32_t spi)
{
	const struct charon_sa key = {proto, spi};

	return sas->n && bsearch(&key, sas->list, sas->n, sizeof(*sas->list), compare_sas);
}

void charon_free_sas(struct charon_sas *sas)
{
	free(sas->list);
	*sas = (struct charon_sas){0};
}

int charon_policies(struct vici *vici, uint64_t deadline, bool pass, vici_message_fn fn, void *userdata)
{
	uint8_t buffer[64];
	struct vici_writer kinds = {.buffer = buffer, .size = sizeof(buffer)};

	vici_put_value(&kinds, "trap", "yes");
	vici_put_value(&kinds, "drop", "yes");
	/* charon lists a kind whatever the value of its key is (list_policies() of vici_query.c). */
	if (pass)
		vici_put_value(&kinds, "pass", "yes");
	return vici_stream(vici, "list-policies", "list-policy", &kinds, deadline, fn, NULL, userdata);
}

/* Plain addresses of local_addrs or remote_addrs of a connection. */
struct addresses {
	/* The addresses. Only `family` and `remote` are set, also for addresses of local_addrs. */
	struct charon_endpoints list[ADDRESSES_MAX];
	size_t n;
	/* Whether the list has entries that are not plain addresses, or too many. */
	bool others;
};

/* Adds a plain address to the list. Sets `others` for any other text, for %any, and if the list is full. */
static void take_address(struct addresses *addresses, struct vici_text text)
{
	char buffer[INET6_ADDRSTRLEN];
	static const xfrm_address_t none;

	vici_copy(text, buffer, sizeof(buffer));
	if (addresses->n < ADDRESSES_MAX && text.length < sizeof(buffer)) {
		struct charon_endpoints *new = &addresses->list[addresses->n];
		*new = (struct charon_endpoints){.family = strchr(buffer, ':') ? AF_INET6 : AF_INET};
		if (inet_pton(new->family, buffer, &new->remote) == 1 &&
		    memcmp(new->remote.a6, none.a6, sizeof(none.a6)) != 0) {
			addresses->n++;
			return;
		}
	}
	addresses->others = true;
}

/* Returns the bit of a mode in charon_endpoints.modes, or 0 for any other mode. */
static uint32_t mode_bit(struct vici_text name)
{
	return vici_is(name, "TUNNEL")	    ? 1u << XFRM_MODE_TUNNEL
	       : vici_is(name, "TRANSPORT") ? 1u << XFRM_MODE_TRANSPORT
	       : vici_is(name, "BEET")	    ? 1u << XFRM_MODE_BEET
					    : 0;
}

static int add_endpoints(struct charon_configuration *configuration, const struct charon_endpoints *endpoints)
{
	struct charon_endpoints *list =
		grow(configuration->list, configuration->n, &configuration->allocated, sizeof(*list));

	if (!list)
		return -ENOMEM;
	configuration->list = list;
	list[configuration->n++] = *endpoints;
	return 0;
}

/* Reads an event list-conn: NAME { local_addrs [ ... ], remote_addrs [ ... ], ..., children { NAME { mode, ... } } } */
static int on_list_conn(struct vici_reader *message, void *userdata)
{
	struct addresses locals = {0}, remotes = {0};
	struct charon_endpoints new = {0};
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		if (item.element == VICI_SECTION_START && item.depth == 0)
			vici_copy(item.name, new.connection, sizeof(new.connection));
		else if (item.element == VICI_LIST_ITEM && item.depth == 1 && vici_is(item.name, "local_addrs"))
			take_address(&locals, item.value);
		else if (item.element == VICI_LIST_ITEM && item.depth == 1 && vici_is(item.name, "remote_addrs"))
			take_address(&remotes, item.value);
		else if (item.element == VICI_KEY_VALUE && item.depth == 3 && vici_is(item.name, "mode"))
			new.modes |= mode_bit(item.value);
	}
	for (size_t i = 0; r == 0 && i < remotes.n; i++) {
		new.family = remotes.list[i].family;
		new.remote = remotes.list[i].remote;
		new.local = (xfrm_address_t){0};
		if (locals.others || !locals.n)
			r = add_endpoints(userdata, &new);
		for (size_t j = 0; r == 0 && !locals.others && j < locals.n; j++)
			if (locals.list[j].family == new.family) {
				new.local = locals.list[j].remote;
				r = add_endpoints(userdata, &new);
			}
	}
	return r;
}

/* Orders by family and remote address. */
static int compare_remotes(const void *a, const void *b)
{
	const struct charon_endpoints *left = a, *right = b;

	if (left->family != right->family)
		return left->family < right->family ? -1 : 1;
	return memcmp(left->remote.a6, right->remote.a6, sizeof(left->remote.a6));
}

int charon_configuration(struct vici *vici, uint64_t deadline, struct charon_configuration *ret)
{
	struct charon_configuration configuration = {0};

	int r = vici_stream(vici, "list-conns", "list-conn", NULL, deadline, on_list_conn, NULL, &configuration);
	if (r < 0) {
		charon_free_configuration(&configuration);
		return r;
	}
	if (configuration.n)
		qsort(configuration.list, configuration.n, sizeof(*configuration.list), compare_remotes);
	*ret = configuration;
	return 0;
}

void charon_free_configuration(struct charon_configuration *configuration)
{
	free(configuration->list);
	*configuration = (struct charon_configuration){0};
}

/* Finds the connection that fits the addresses and the mode of `sa`, and writes its name to `found`. Returns false if a
 * second connection fits, or `found` already has the name of another one. */
static bool find_remote(const struct charon_configuration *configuration, const struct charon_endpoints *sa,
			const char **found)
{
	static const xfrm_address_t any;
	const size_t n = configuration->n;
	size_t i = lower_bound(sa, configuration->list, n, sizeof(*sa), compare_remotes);

	for (; i < n && compare_remotes(&configuration->list[i], sa) == 0; i++) {
		const struct charon_endpoints *candidate = &configuration->list[i];
		const uint32_t *local = candidate->local.a6;
		if (!(candidate->modes & sa->modes) ||
		    (memcmp(local, any.a6, sizeof(any.a6)) != 0 && memcmp(local, sa->local.a6, sizeof(any.a6)) != 0))
			continue;
		if (*found && strcmp(*found, candidate->connection) != 0)
			return false;
		*found = candidate->connection;
	}
	return true;
}

const char *charon_connection_between(const struct charon_configuration *configuration, sa_family_t family,
				      const xfrm_address_t *src, const xfrm_address_t *dst, uint8_t mode)
{
	const struct charon_endpoints out = {
		.family = family,
		.local = entry_plain_address(family, src),
		.remote = entry_plain_address(family, dst),
		.modes = mode < 32 ? 1u << mode : 0,
	};
	const struct charon_endpoints in = {
		.family = family, .local = out.remote, .remote = out.local, .modes = out.modes};
	const char *found = NULL;

	return find_remote(configuration, &out, &found) && find_remote(configuration, &in, &found) ? found : NULL;
}
