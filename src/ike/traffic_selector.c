/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/traffic_selector.h"

#include <errno.h>
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

int traffic_selector_parse(const char *text, struct traffic_selector *ret)
{
	char buffer[TEXT_MAX];

	*ret = (struct traffic_selector){0};
	if ((size_t)snprintf(buffer, sizeof(buffer), "%s", text) >= sizeof(buffer))
		return -EINVAL;
	char *protocol = strchr(buffer, '[');
	if (protocol) {
		ret->protocol = strncmp(protocol, "[0", 2) != 0;
		*protocol = '\0';
	}
	ret->dynamic = strcmp(buffer, "dynamic") == 0;
	return ret->dynamic ? 0 : parse_networks(buffer, &ret->prefix);
}
