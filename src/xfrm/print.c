/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/print.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <string.h>

/* Returns the name of a selector's protocol as IANA assigned it, or NULL. It does not read /etc/protocols, which
 * minimal systems lack. */
static const char *selector_proto_name(int proto)
{
	switch (proto) {
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_GRE:
		return "gre";
	case IPPROTO_ICMPV6:
		return "ipv6-icmp";
	case IPPROTO_SCTP:
		return "sctp";
	default:
		return NULL;
	}
}

/* Returns an address as a JSON string: "10.1.0.0/16", or "10.1.0.1" if `prefix_length` is negative. */
static json_t *address(const xfrm_address_t *value, sa_family_t family, int prefix_length)
{
	char text[INET6_ADDRSTRLEN];

	entry_address(family, value, text);
	return prefix_length < 0 ? json_string(text) : json_sprintf("%s/%d", text, prefix_length);
}

static void add_number(json_t *object, const char *name, json_int_t value)
{
	json_object_set_new(object, name, json_integer(value));
}

static void add_name_or_number(json_t *object, const char *key, const char *name, int value)
{
	json_object_set_new(object, key, name ? json_string(name) : json_sprintf("%d", value));
}

/* Adds the members of a selector. `family` is that of the entry, and is used if the selector has none, as in SAs of
 * tunnels that carry both families. */
static void add_selector(json_t *object, const struct xfrm_selector *sel, sa_family_t family)
{
	const int proto = sel->proto, ifindex = sel->ifindex;

	if (sel->family == AF_INET || sel->family == AF_INET6)
		family = sel->family;
	json_object_set_new(object, "src", address(&sel->saddr, family, sel->prefixlen_s));
	json_object_set_new(object, "dst", address(&sel->daddr, family, sel->prefixlen_d));
	if (proto)
		add_name_or_number(object, "proto", selector_proto_name(proto), proto);
	/* For ICMP the ports are type and code; for GRE they are the halves of the key. */
	if (sel->sport_mask)
		add_number(object, "sport", ntohs(sel->sport));
	if (sel->dport_mask)
		add_number(object, "dport", ntohs(sel->dport));
	if (ifindex) {
		char device[IF_NAMESIZE];
		add_name_or_number(object, "dev", if_indextoname((unsigned int)ifindex, device), ifindex);
	}
}

static void add_mark_and_if_id(json_t *object, const struct entry *entry)
{
	if (entry->mark.v || entry->mark.m)
		json_object_set_new(
			object, "mark",
			json_pack("{s:I, s:I}", "value", (json_int_t)entry->mark.v, "mask", (json_int_t)entry->mark.m));
	if (entry->if_id)
		add_number(object, "if_id", entry->if_id);
}

static void add_encapsulation(json_t *object, const struct nlmsghdr *message)
{
	/* libnl's functions take messages that are not const, but change nothing in them. */
	const struct nlattr *attr =
		nlmsg_find_attr((struct nlmsghdr *)message, sizeof(struct xfrm_usersa_info), XFRMA_ENCAP);
	struct xfrm_encap_tmpl encap;

	if (!attr || (size_t)nla_len(attr) < sizeof(encap))
		return;
	memcpy(&encap, nla_data(attr), sizeof(encap));
	json_object_set_new(object, "encap",
			    json_pack("{s:I, s:I, s:I}", "type", (json_int_t)encap.encap_type, "sport",
				      (json_int_t)ntohs(encap.encap_sport), "dport",
				      (json_int_t)ntohs(encap.encap_dport)));
}

static json_t *sa_to_json(const struct entry *entry)
{
	const struct xfrm_usersa_info *sa = &entry->sa;
	json_t *object = json_object(), *selector = json_object();

	json_object_set_new(object, "src", address(&sa->saddr, sa->family, -1));
	json_object_set_new(object, "dst", address(&sa->id.daddr, sa->family, -1));
	add_name_or_number(object, "proto", entry_proto_name(sa->id.proto), sa->id.proto);
	add_number(object, "spi", ntohl(sa->id.spi));
	add_number(object, "reqid", sa->reqid);
	add_name_or_number(object, "mode", entry_mode_name(sa->mode), sa->mode);
	add_mark_and_if_id(object, entry);
	add_encapsulation(object, entry->message);
	add_selector(selector, &sa->sel, sa->family);
	json_object_set_new(object, "selector", selector);
	return object;
}

static json_t *template_to_json(const struct xfrm_user_tmpl *template)
{
	json_t *object = json_object();

	json_object_set_new(object, "src", address(&template->saddr, template->family, -1));
	json_object_set_new(object, "dst", address(&template->id.daddr, template->family, -1));
	add_name_or_number(object, "proto", entry_proto_name(template->id.proto), template->id.proto);
	if (template->id.spi)
		add_number(object, "spi", ntohl(template->id.spi));
	add_number(object, "reqid", template->reqid);
	add_name_or_number(object, "mode", entry_mode_name(template->mode), template->mode);
	json_object_set_new(object, "optional", json_boolean(template->optional));
	return object;
}

static json_t *policy_to_json(const struct entry *entry)
{
	const struct xfrm_userpolicy_info *policy = &entry->policy.info;
	json_t *object = json_object(), *templates = json_array();

	add_selector(object, &policy->sel, AF_INET);
	add_name_or_number(object, "dir", entry_dir_name(policy->dir), policy->dir);
	json_object_set_new(object, "action", json_string(policy->action == XFRM_POLICY_BLOCK ? "block" : "allow"));
	add_number(object, "index", policy->index);
	add_number(object, "priority", policy->priority);
	add_name_or_number(object, "ptype", entry_ptype_name(entry->policy.ptype), entry->policy.ptype);
	add_mark_and_if_id(object, entry);
	for (size_t i = 0; i < entry->policy.n_templates; i++)
		json_array_append_new(templates, template_to_json(&entry->policy.templates[i]));
	json_object_set_new(object, "templates", templates);
	return object;
}

static const char *string_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static json_int_t number_of(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* Prints a member with its name, as " proto tcp" or " sport 80", if the object has it. */
static void print_if_any(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (json_is_string(value))
		printf(" %s %s", name, json_string_value(value));
	else if (value)
		printf(" %s %" JSON_INTEGER_FORMAT, name, json_integer_value(value));
}

static void print_selector(const json_t *object)
{
	printf("src %s dst %s", string_of(object, "src"), string_of(object, "dst"));
	print_if_any(object, "proto");
	print_if_any(object, "sport");
	print_if_any(object, "dport");
	print_if_any(object, "dev");
	printf("\n");
}

static void print_mark_and_if_id(const json_t *object)
{
	const json_t *mark = json_object_get(object, "mark");

	if (mark)
		printf("\tmark 0x%" PRIx64 "/0x%" PRIx64 "\n", (uint64_t)number_of(mark, "value"),
		       (uint64_t)number_of(mark, "mask"));
	if (json_object_get(object, "if_id"))
		printf("\tif_id 0x%" PRIx64 "\n", (uint64_t)number_of(object, "if_id"));
}

/* Prints the second line of an SA or of a template. */
static void print_id(const json_t *object)
{
	printf("proto %s", string_of(object, "proto"));
	if (json_object_get(object, "spi"))
		printf(" spi 0x%08" PRIx64, (uint64_t)number_of(object, "spi"));
	printf(" reqid %" JSON_INTEGER_FORMAT " mode %s", number_of(object, "reqid"), string_of(object, "mode"));
}

static void print_sa(const json_t *sa)
{
	const json_t *encap = json_object_get(sa, "encap");

	printf("src %s dst %s\n\t", string_of(sa, "src"), string_of(sa, "dst"));
	print_id(sa);
	printf("\n");
	print_mark_and_if_id(sa);
	if (encap) {
		printf("\tencap type %" JSON_INTEGER_FORMAT, number_of(encap, "type"));
		print_if_any(encap, "sport");
		print_if_any(encap, "dport");
		printf("\n");
	}
	printf("\tsel ");
	print_selector(json_object_get(sa, "selector"));
}

static void print_policy(const json_t *policy)
{
	const json_t *templates = json_object_get(policy, "templates"), *tmpl;
	size_t i;

	print_selector(policy);
	printf("\tdir %s", string_of(policy, "dir"));
	if (strcmp(string_of(policy, "action"), "block") == 0)
		printf(" action block");
	print_if_any(policy, "index");
	print_if_any(policy, "priority");
	if (strcmp(string_of(policy, "ptype"), "main") != 0)
		printf(" ptype %s", string_of(policy, "ptype"));
	printf("\n");
	print_mark_and_if_id(policy);
	json_array_foreach(templates, i, tmpl) {
		printf("\ttmpl src %s dst %s\n\t\t", string_of(tmpl, "src"), string_of(tmpl, "dst"));
		print_id(tmpl);
		printf("%s\n", json_is_true(json_object_get(tmpl, "optional")) ? " level use" : "");
	}
}

int print_entry(const struct entry *entry, bool json)
{
	json_auto_t *object = entry->kind == ENTRY_SA ? sa_to_json(entry) : policy_to_json(entry);

	if (!object)
		return -ENOMEM;
	if (json)
		return json_dumpf(object, stdout, JSON_COMPACT) == 0 ? 0 : -EIO;
	if (entry->kind == ENTRY_SA)
		print_sa(object);
	else
		print_policy(object);
	return 0;
}
