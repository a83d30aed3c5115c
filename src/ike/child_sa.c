/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/child_sa.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* Size in bytes of a buffer for the longest traffic selector. */
#define SELECTOR_MAX 128

/* Sides of a pair of traffic selectors. */
enum { LOCAL, REMOTE };

/* Bits of directions. */
#define DIR(dir) ((uint8_t)(1U << (dir)))

/* Copies the number in a value to `ret`. Leaves `ret` alone if the value is no number. */
static void take_number(struct vici_text value, unsigned int base, uint32_t *ret)
{
	uint64_t number;

	if (vici_number(value, base, &number) == 0 && number <= UINT32_MAX)
		*ret = (uint32_t)number;
}

/* Reads a mark, whose mask charon leaves out if all bits are set (add_mark() of vici_query.c). */
static void take_mark(struct vici_text value, struct xfrm_mark *ret)
{
	take_number(value, 16, &ret->v);
	ret->m = UINT32_MAX;
}

/* Reads a key of a CHILD_SA that is about its policies. */
static void take_policy_key(struct child_sa *sa, const struct vici_item *item)
{
	if (vici_is(item->name, "mark-in"))
		take_mark(item->value, &sa->mark_in);
	else if (vici_is(item->name, "mark-mask-in"))
		take_number(item->value, 16, &sa->mark_in.m);
	else if (vici_is(item->name, "mark-out"))
		take_mark(item->value, &sa->mark_out);
	else if (vici_is(item->name, "mark-mask-out"))
		take_number(item->value, 16, &sa->mark_out.m);
	else if (vici_is(item->name, "if-id-in"))
		take_number(item->value, 16, &sa->if_id_in);
	else if (vici_is(item->name, "if-id-out"))
		take_number(item->value, 16, &sa->if_id_out);
}

/* Reads a key of a CHILD_SA, a trap or a shunt. */
static void take_key(struct child_sa *sa, const struct vici_item *item)
{
	if (vici_is(item->name, "name") || vici_is(item->name, "child")) {
		vici_copy(item->value, sa->name.child, sizeof(sa->name.child));
	} else if (vici_is(item->name, "ike")) {
		vici_copy(item->value, sa->name.connection, sizeof(sa->name.connection));
	} else if (vici_is(item->name, "uniqueid")) {
		take_number(item->value, 10, &sa->name.id);
	} else if (vici_is(item->name, "reqid")) {
		take_number(item->value, 10, &sa->reqid);
	} else if (vici_is(item->name, "state")) {
		sa->installed = vici_is(item->value, "INSTALLED");
		sa->has_policies =
			sa->installed || vici_is(item->value, "REKEYING") || vici_is(item->value, "UPDATING");
	} else if (vici_is(item->name, "mode")) {
		static const char transport[] = "TRANSPORT"; /* or TRANSPORT_PROXY */
		sa->transport = item->value.length >= strlen(transport) &&
				memcmp(item->value.at, transport, strlen(transport)) == 0;
		if (vici_is(item->value, "PASS") || vici_is(item->value, "DROP"))
			sa->name.kind = CHILD_SA_SHUNT;
	} else if (vici_is(item->name, "protocol")) {
		sa->proto = vici_is(item->value, "AH") ? IPPROTO_AH : IPPROTO_ESP;
	} else if (vici_is(item->name, "spi-in")) {
		take_number(item->value, 16, &sa->spi_in);
	} else if (vici_is(item->name, "spi-out")) {
		take_number(item->value, 16, &sa->spi_out);
	} else if (vici_is(item->name, "install-time")) {
		vici_number(item->value, 10, &sa->age);
	} else {
		take_policy_key(sa, item);
	}
}

/* Adds a traffic selector. charon installs a dynamic one for all addresses of both families, if it is still dynamic
 * (install_shunt_policy() of shunt_manager.c, and traps for any peer). Returns 0, -ENOMEM or -EBADMSG. */
static int add_selector(struct child_sa_selectors *selectors, const struct vici_item *item)
{
	struct traffic_selector selector;
	char text[SELECTOR_MAX];

	if (traffic_selector_parse(vici_copy(item->value, text, sizeof(text)), &selector) < 0)
		return -EBADMSG;
	if (!selector.dynamic)
		return APPEND(selectors, selector);
	selector.prefix.family = AF_INET;
	int r = APPEND(selectors, selector);
	selector.prefix.family = AF_INET6;
	return r < 0 ? r : APPEND(selectors, selector);
}

/* Adds the policies for a pair of traffic selectors: one from `src` to `dst`. Returns 0 or -ENOMEM. */
static int add_policy(struct child_sas *sas, const struct traffic_selector *src, const struct traffic_selector *dst,
		      bool outbound)
{
	uint32_t owner = (uint32_t)(sas->n - 1);
	const struct child_sa *sa = &sas->list[owner];
	const struct child_sa_policy policy = {
		.src = src->prefix,
		.dst = dst->prefix,
		.src_dynamic = src->dynamic,
		.dst_dynamic = dst->dynamic,
		.any_mark = sa->name.kind != CHILD_SA_NEGOTIATED,
		.mark = outbound ? sa->mark_out : sa->mark_in,
		.if_id = outbound ? sa->if_id_out : sa->if_id_in,
		.limited = src->limited || dst->limited,
		.exact = src->exact && dst->exact,
		.proto = src->number > dst->number ? src->number : dst->number,
		.sport = src->port,
		.sport_mask = src->port_mask,
		.dport = dst->port,
		.dport_mask = dst->port_mask,
		.outbound = outbound,
		/* A shunt has policies for forwarded packets always (install_shunt_policy() of shunt_manager.c). */
		.expected = !sa->installed || src->dynamic || dst->dynamic ? 0
			    : outbound					   ? DIR(XFRM_POLICY_OUT)
			    : sa->transport				   ? DIR(XFRM_POLICY_IN)
									   : DIR(XFRM_POLICY_IN) | DIR(XFRM_POLICY_FWD),
		.owner = owner,
	};

	return APPEND(&sas->policies, policy);
}

/* Adds the policies and SAs of the element that has been read. charon combines the traffic selectors of both sides as
 * create_policy_enumerator() of child_sa.c does. Returns 0 or -ENOMEM. */
static int end_element(struct child_sas *sas)
{
	struct child_sa_selectors *locals = &sas->selectors[LOCAL], *remotes = &sas->selectors[REMOTE];
	const struct child_sa *sa = &sas->list[sas->n - 1];
	uint32_t owner = (uint32_t)(sas->n - 1);
	int r = 0;

	for (size_t i = 0; r == 0 && i < locals->n; i++)
		for (size_t j = 0; r == 0 && j < remotes->n; j++) {
			const struct traffic_selector *local = &locals->list[i], *remote = &remotes->list[j];
			if (local->prefix.family != remote->prefix.family ||
			    (local->number && remote->number && local->number != remote->number))
				continue;
			r = add_policy(sas, local, remote, true);
			if (r == 0)
				r = add_policy(sas, remote, local, false);
		}
	locals->n = remotes->n = 0;
	if (r == 0 && sa->spi_in)
		r = APPEND(&sas->spis, (struct child_sa_spi){sa->spi_in, owner, sa->proto, false, false});
	if (r == 0 && sa->spi_out)
		r = APPEND(&sas->spis, (struct child_sa_spi){sa->spi_out, owner, sa->proto, true, false});
	return r;
}

/* Reads what has the depth of the keys of an element. */
static int take_item(struct child_sas *sas, const struct vici_item *item)
{
	if (item->element == VICI_KEY_VALUE)
		take_key(&sas->list[sas->n - 1], item);
	else if (item->element == VICI_LIST_ITEM && vici_is(item->name, "local-ts"))
		return add_selector(&sas->selectors[LOCAL], item);
	else if (item->element == VICI_LIST_ITEM && vici_is(item->name, "remote-ts"))
		return add_selector(&sas->selectors[REMOTE], item);
	return 0;
}

/* Reads an event whose elements are sections at `depth`. The section at depth 0 is named like the connection, unless it
 * is the element itself. */
static int read_elements(struct child_sas *sas, struct vici_reader *message, unsigned int depth,
			 enum child_sa_kind kind)
{
	char connection[CHARON_NAME_MAX] = "";
	struct vici_item item;
	int r;

	while ((r = vici_next(message, &item)) > 0) {
		sas->n_ike_sas += depth && item.element == VICI_SECTION_START && item.depth == 0;
		if (item.element == VICI_SECTION_START && item.depth == 0)
			vici_copy(item.name, connection, sizeof(connection));
		if (item.element == VICI_SECTION_START && item.depth == depth) {
			struct child_sa sa = {.name.kind = kind};
			sa.installed = sa.has_policies = kind != CHILD_SA_NEGOTIATED;
			if (depth)
				memcpy(sa.name.connection, connection, sizeof(connection));
			r = APPEND(sas, sa);
		} else if (item.element == VICI_SECTION_END && item.depth == depth) {
			r = end_element(sas);
		} else if (item.depth == depth + 1 && sas->n) {
			r = take_item(sas, &item);
		}
		if (r < 0)
			return r;
	}
	return r;
}

int child_sas_read(struct vici_reader *message, void *userdata)
{
	return read_elements(userdata, message, 2, CHILD_SA_NEGOTIATED);
}

int child_sas_read_policy(struct vici_reader *message, void *userdata)
{
	return read_elements(userdata, message, 0, CHILD_SA_TRAP);
}

static bool is_dynamic(const struct child_sa_policy *policy)
{
	return policy->src_dynamic || policy->dst_dynamic;
}

/* Orders by networks. Those with a dynamic traffic selector come behind the others. */
static int compare_networks(const struct child_sa_policy *a, const struct child_sa_policy *b)
{
	int r = is_dynamic(a) - is_dynamic(b);

	if (r == 0)
		r = prefix_compare(&a->src, &b->src);
	return r ? r : prefix_compare(&a->dst, &b->dst);
}

/* Orders by networks, mark and if_id. Those whose mark is not known come behind the others. */
static int compare_policies(const void *a, const void *b)
{
	const struct child_sa_policy *left = a, *right = b;
	int r = compare_networks(left, right);

	if (r == 0)
		r = left->any_mark - right->any_mark;
	if (r || left->any_mark)
		return r;
	r = compare_u32(left->mark.m, right->mark.m);
	if (r == 0)
		r = compare_u32(left->mark.v & left->mark.m, right->mark.v & right->mark.m);
	return r ? r : compare_u32(left->if_id, right->if_id);
}

/* Orders by protocol and SPI. */
static int compare_spis(const void *a, const void *b)
{
	const struct child_sa_spi *left = a, *right = b;

	if (left->proto != right->proto)
		return left->proto < right->proto ? -1 : 1;
	return compare_u32(left->spi, right->spi);
}

/* A CHILD_SA by its reqid. */
struct by_reqid {
	uint32_t reqid;
	uint32_t index;
};

static int compare_reqids(const void *a, const void *b)
{
	return compare_u32(((const struct by_reqid *)a)->reqid, ((const struct by_reqid *)b)->reqid);
}

/* Sets `unsettled` of CHILD_SAs. Returns 0 or -ENOMEM. */
static int settle(struct child_sas *sas)
{
	struct by_reqid *sorted = sas->n ? reallocarray(NULL, sas->n, sizeof(*sorted)) : NULL;

	if (!sas->n)
		return 0;
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < sas->n; i++)
		sorted[i] = (struct by_reqid){sas->list[i].reqid, (uint32_t)i};
	qsort(sorted, sas->n, sizeof(*sorted), compare_reqids);
	for (size_t i = 0, end; i < sas->n; i = end) {
		bool unsettled = false;

		for (end = i; end < sas->n && sorted[end].reqid == sorted[i].reqid; end++)
			unsettled |= !sas->list[sorted[end].index].installed;
		for (size_t j = i; j < end; j++)
			sas->list[sorted[j].index].unsettled = unsettled && sorted[j].reqid;
	}
	free(sorted);
	return 0;
}

/* Returns whether the first of two policies that no lookup tells apart can stand for both. */
static bool stands_for(const struct child_sa_policy *a, const struct child_sa_policy *b)
{
	return a->any_mark && compare_policies(a, b) == 0 && a->src_dynamic == b->src_dynamic &&
	       a->dst_dynamic == b->dst_dynamic && a->outbound == b->outbound && a->limited == b->limited &&
	       a->exact == b->exact && a->proto == b->proto && a->sport == b->sport && a->dport == b->dport &&
	       a->sport_mask == b->sport_mask && a->dport_mask == b->dport_mask;
}

/* Leaves only one of the policies whose marks are not known and that are otherwise the same. */
static void merge(struct child_sa_policies *policies)
{
	size_t n = 0;

	for (size_t i = 0; i < policies->n; i++) {
		struct child_sa_policy *last = n ? &policies->list[n - 1] : NULL;
		/* Policies of one pair for both directions can be neighbours, if both networks are the same. */
		if (last && !stands_for(last, &policies->list[i]) && n > 1)
			last--;
		if (last && stands_for(last, &policies->list[i]))
			last->expected |= policies->list[i].expected;
		else
			policies->list[n++] = policies->list[i];
	}
	policies->n = n;
}

int child_sas_sort(struct child_sas *sas)
{
	struct child_sa_policies *policies = &sas->policies;

	int r = settle(sas);
	if (r < 0)
		return r;
	for (size_t i = 0; i < policies->n; i++)
		if (sas->list[policies->list[i].owner].unsettled)
			policies->list[i].expected = 0;
	if (policies->n)
		qsort(policies->list, policies->n, sizeof(*policies->list), compare_policies);
	merge(policies);
	if (sas->spis.n)
		qsort(sas->spis.list, sas->spis.n, sizeof(*sas->spis.list), compare_spis);
	return 0;
}

void child_sas_free(struct child_sas *sas)
{
	free(sas->list);
	free(sas->policies.list);
	free(sas->spis.list);
	free(sas->selectors[LOCAL].list);
	free(sas->selectors[REMOTE].list);
	*sas = (struct child_sas){0};
}

void child_sas_find_sa(struct child_sas *sas, const struct entry *sa)
{
	const struct child_sa_spi key = {.spi = ntohl(sa->sa.id.spi), .proto = sa->sa.id.proto};
	struct child_sa_spis *spis = &sas->spis;
	size_t i = lower_bound(&key, spis->list, spis->n, sizeof(key), compare_spis);

	for (; i < spis->n && compare_spis(&spis->list[i], &key) == 0; i++)
		spis->list[i].found = true;
}

/* Returns the key of a policy of the kernel. */
static struct child_sa_policy key_of(const struct entry *policy)
{
	const struct xfrm_selector *selector = &policy->policy.info.sel;
	sa_family_t family = selector->family == AF_INET6 ? AF_INET6 : AF_INET;
	struct child_sa_policy key = {
		.src = {family, selector->prefixlen_s, entry_plain_address(family, &selector->saddr)},
		.dst = {family, selector->prefixlen_d, entry_plain_address(family, &selector->daddr)},
		.mark = policy->mark,
		.if_id = policy->if_id,
		.proto = selector->proto,
		.sport = ntohs(selector->sport),
		.sport_mask = ntohs(selector->sport_mask),
		.dport = ntohs(selector->dport),
		.dport_mask = ntohs(selector->dport_mask),
		.outbound = policy->policy.info.dir == XFRM_POLICY_OUT,
	};

	prefix_clear_host_bits(&key.src);
	prefix_clear_host_bits(&key.dst);
	key.limited = key.proto || key.sport_mask || key.dport_mask;
	return key;
}

/* Returns whether protocol and ports of charon's policy are those of the kernel's, as far as they are known. */
static bool has_limits(const struct child_sa_policy *ours, const struct child_sa_policy *key)
{
	if (!ours->exact || !ours->limited)
		return ours->limited == key->limited;
	return ours->proto == key->proto && ours->sport_mask == key->sport_mask &&
	       ours->dport_mask == key->dport_mask && ours->sport == (key->sport & key->sport_mask) &&
	       ours->dport == (key->dport & key->dport_mask);
}

void child_sas_find_policy(struct child_sas *sas, const struct entry *policy, bool blocks)
{
	struct child_sa_policies *policies = &sas->policies;
	struct child_sa_policy key = key_of(policy);
	uint8_t dir = DIR(policy->policy.info.dir);

	/* First those with this mark, then those whose mark is not known. */
	for (int any_mark = 0; any_mark <= 1; any_mark++) {
		key.any_mark = any_mark != 0;
		size_t i = lower_bound(&key, policies->list, policies->n, sizeof(key), compare_policies);
		for (; i < policies->n && compare_policies(&policies->list[i], &key) == 0; i++) {
			struct child_sa_policy *ours = &policies->list[i];
			if (!has_limits(ours, &key))
				continue;
			if (blocks)
				ours->blocked |= dir;
			else
				ours->found |= dir;
		}
	}
}

/* Returns the index of the first policy that compare_networks() does not put before `key`. */
static size_t first_between(const struct child_sa_policies *policies, struct child_sa_policy key)
{
	/* No policy is before this key and has the same networks. */
	key.mark = (struct xfrm_mark){0};
	key.if_id = 0;
	return lower_bound(&key, policies->list, policies->n, sizeof(key), compare_policies);
}

bool child_sas_explain(const struct child_sas *sas, const struct entry *policy)
{
	const struct child_sa_policies *policies = &sas->policies;
	struct child_sa_policy key = key_of(policy);
	bool found = false;

	for (int dynamic = 0; dynamic <= 1; dynamic++) {
		key.src_dynamic = dynamic != 0;
		size_t i = first_between(policies, key);
		found |= i < policies->n && compare_networks(&policies->list[i], &key) == 0;
	}
	return found;
}

/* Returns whether charon has one of its policies in the kernel, and that can be the policy with this key. */
static bool can_be(const struct child_sas *sas, const struct child_sa_policy *ours, const struct child_sa_policy *key)
{
	return sas->list[ours->owner].has_policies && ours->outbound == key->outbound &&
	       (ours->src_dynamic || prefix_compare(&ours->src, &key->src) == 0) &&
	       (ours->dst_dynamic || prefix_compare(&ours->dst, &key->dst) == 0) &&
	       (ours->any_mark || ours->if_id == key->if_id);
}

bool child_sas_need(const struct child_sas *sas, const struct entry *policy)
{
	const struct child_sa_policies *policies = &sas->policies;
	const struct child_sa_policy key = key_of(policy);
	bool needed = false;

	for (size_t i = first_between(policies, key);
	     !needed && i < policies->n && compare_networks(&policies->list[i], &key) == 0; i++)
		needed = can_be(sas, &policies->list[i], &key);
	for (size_t i = policies->n; !needed && i-- > 0 && is_dynamic(&policies->list[i]);)
		needed = can_be(sas, &policies->list[i], &key);
	return needed;
}
