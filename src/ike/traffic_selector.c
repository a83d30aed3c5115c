/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/traffic_selector.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Size in bytes of a buffer for the text of a selector. */
#define TEXT_MAX 128

/* Parses "ADDRESS/LENGTH", "ADDRESS..ADDRESS" or "ADDRESS". Modifies `text`. Returns 0 or -EINVAL. */
static int parse_networks(char *text, struct prefix *ret)
{
	char *slash = strchr(text, '/'), *dots = strstr(text, ".."), *end;
	xfrm_address_t last;
	sa_family_t family;

	if (slash)
		*slash = '\0';
	if (dots)
		*dots = '\0';
	if ((slash && dots) || prefix_parse_address(text, &ret->family, &ret->address) < 0)
		return -EINVAL;
	ret->length = prefix_max_length(ret->family);
	if (slash) {
		unsigned long length = strtoul(slash + 1, &end, 10);
		if (slash[1] < '0' || slash[1] > '9' || *end || length > ret->length)
			return -EINVAL;
		ret->length = (uint8_t)length;
	}
	if (dots) {
		if (prefix_parse_address(dots + 2, &family, &last) < 0 || family != ret->family)
			return -EINVAL;
		ret->length = prefix_common_bits(&ret->address, &last, ret->length);
	}
	prefix_clear_host_bits(ret);
	return 0;
}

/* Protocols that can be limited to ports, and others that are frequent. charon writes them by name. */
static const struct {
	const char *name;
	uint8_t number;
} protocols[] = {
	{"icmp", IPPROTO_ICMP}, {"tcp", IPPROTO_TCP},	       {"udp", IPPROTO_UDP}, {"gre", IPPROTO_GRE},
	{"sctp", IPPROTO_SCTP}, {"ipv6-icmp", IPPROTO_ICMPV6}, {"l2tp", 115},
};

/* Parses a number up to `max`. Advances `text` behind it. Returns whether there is such a number. */
static bool take_number(const char **text, unsigned long max, unsigned long *ret)
{
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	*ret = strtoul(*text, &end, 10);
	*text = end;
	return *ret <= max;
}

/* Parses a protocol as charon writes it: a name or a number. Returns whether its number is known. */
static bool parse_protocol(const char *text, size_t length, uint8_t *ret)
{
	unsigned long number;

	for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++)
		if (strlen(protocols[i].name) == length && strncmp(protocols[i].name, text, length) == 0) {
			*ret = protocols[i].number;
			return true;
		}
	const char *end = text;
	if (!take_number(&end, UINT8_MAX, &number) || end != text + length)
		return false;
	*ret = (uint8_t)number;
	return true;
}

/* Parses "PORT]" or "PORT-PORT]" into a port and a mask. A range becomes the smallest masked port around it. Returns
 * false for a name, or "OPAQUE". */
static bool parse_ports(const char *text, struct traffic_selector *ret)
{
	unsigned long first, last;

	if (!take_number(&text, UINT16_MAX, &first))
		return false;
	last = first;
	if (*text == '-') {
		text++;
		if (!take_number(&text, UINT16_MAX, &last))
			return false;
	}
	unsigned int mask = UINT16_MAX;
	while ((first & mask) != (last & mask))
		mask = mask << 1 & UINT16_MAX;
	ret->port = (uint16_t)(first & mask);
	ret->port_mask = (uint16_t)mask;
	return *text == ']';
}

/* Parses the suffix behind '[': "PROTOCOL]" or "PROTOCOL/PORTS]". */
static void parse_limits(const char *text, struct traffic_selector *ret)
{
	size_t length = strcspn(text, "/]");

	ret->limited = true;
	ret->protocol = !(length == 1 && *text == '0');
	ret->exact = parse_protocol(text, length, &ret->number);
	/* charon writes type and code of ICMP here, which the kernel has in place of both ports. */
	if (text[length] == '/')
		ret->exact &= ret->number != IPPROTO_ICMP && ret->number != IPPROTO_ICMPV6 &&
			      parse_ports(text + length + 1, ret);
}

int traffic_selector_parse(const char *text, struct traffic_selector *ret)
{
	char buffer[TEXT_MAX];

	*ret = (struct traffic_selector){.exact = true};
	if ((size_t)snprintf(buffer, sizeof(buffer), "%s", text) >= sizeof(buffer))
		return -EINVAL;
	char *protocol = strchr(buffer, '[');
	if (protocol) {
		parse_limits(protocol + 1, ret);
		*protocol = '\0';
	}
	ret->dynamic = strcmp(buffer, "dynamic") == 0;
	return ret->dynamic ? 0 : parse_networks(buffer, &ret->prefix);
}
