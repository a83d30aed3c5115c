/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/prefix.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

uint8_t prefix_max_length(sa_family_t family)
{
	return family == AF_INET ? 32 : 128;
}

struct prefix prefix_of_address(sa_family_t family, const xfrm_address_t *address)
{
	return (struct prefix){.family = family, .length = prefix_max_length(family), .address = *address};
}

int prefix_parse_address(const char *text, sa_family_t *family, xfrm_address_t *ret)
{
	*ret = (xfrm_address_t){0};
	*family = strchr(text, ':') ? AF_INET6 : AF_INET;
	return inet_pton(*family, text, ret) == 1 ? 0 : -EINVAL;
}

int prefix_parse(const char *text, struct prefix *ret)
{
	char address[INET6_ADDRSTRLEN];
	size_t length = strcspn(text, "/");
	uint32_t bits;

	if (length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = '\0';
	if (prefix_parse_address(address, &ret->family, &ret->address) < 0)
		return -EINVAL;
	bits = prefix_max_length(ret->family);
	if (text[length] == '/' &&
	    (number_parse(text + length + 1, &bits) < 0 || bits > prefix_max_length(ret->family)))
		return -EINVAL;
	ret->length = (uint8_t)bits;

	/* Refuse bits behind the prefix: 10.1.2.3/16 may be a typing error for 10.1.0.0/16 or for 10.1.2.3/32. */
	struct prefix cleared = *ret;
	prefix_clear_host_bits(&cleared);
	return memcmp(cleared.address.a6, ret->address.a6, sizeof(cleared.address.a6)) == 0 ? 0 : -EINVAL;
}

const char *prefix_format(const struct prefix *prefix, char buffer[PREFIX_TEXT_MAX])
{
	char address[INET6_ADDRSTRLEN];
	const char *text = inet_ntop(prefix->family, &prefix->address, address, sizeof(address));

	snprintf(buffer, PREFIX_TEXT_MAX, "%s/%u", text ? text : "?", prefix->length);
	return buffer;
}

void prefix_clear_host_bits(struct prefix *prefix)
{
	uint8_t *bytes = (uint8_t *)&prefix->address;

	for (unsigned int i = prefix->length; i < prefix_max_length(prefix->family); i++)
		bytes[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
}

uint8_t prefix_common_bits(const xfrm_address_t *a, const xfrm_address_t *b, uint8_t max)
{
	const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
	uint8_t n = 0;

	while (n < max && ((x[n / 8] ^ y[n / 8]) & (0x80 >> n % 8)) == 0)
		n++;
	return n;
}

bool prefix_contains(const struct prefix *outer, const struct prefix *inner)
{
	return outer->family == inner->family && outer->length <= inner->length &&
	       prefix_common_bits(&outer->address, &inner->address, outer->length) == outer->length;
}

int prefix_compare(const struct prefix *a, const struct prefix *b)
{
	int r = (a->family > b->family) - (a->family < b->family);

	if (r == 0)
		r = memcmp(a->address.a6, b->address.a6, sizeof(a->address.a6));
	return r ? r : (a->length > b->length) - (a->length < b->length);
}

/* Reads the digits itself: strtoul() would accept typing errors such as signs, white space, octal numbers and
 * overflow. */
int number_parse(const char *text, uint32_t *ret)
{
	const char *digits = "0123456789";
	unsigned int base = 10;
	uint64_t value = 0;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		digits = "0123456789abcdef";
		base = 16;
		text += 2;
	}
	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		const char *digit = strchr(digits, tolower((unsigned char)*text));
		if (!digit)
			return -EINVAL;
		value = value * base + (uint64_t)(digit - digits);
		if (value > UINT32_MAX)
			return -ERANGE;
	}
	*ret = (uint32_t)value;
	return 0;
}
