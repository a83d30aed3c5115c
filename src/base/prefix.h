/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Networks of IPv4 and IPv6: an address and the length of its prefix. Pure. */

#include <linux/xfrm.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Size of a buffer for the longest text of prefix_format(), in bytes. */
#define PREFIX_TEXT_MAX (INET6_ADDRSTRLEN + sizeof("/128"))

struct prefix {
	sa_family_t family; /* AF_INET or AF_INET6 */
	uint8_t length;	    /* number of bits */
	xfrm_address_t address;
};

/* Returns the number of bits of an address of this family. */
uint8_t prefix_max_length(sa_family_t family);

/* Returns the prefix that contains only this address. */
struct prefix prefix_of_address(sa_family_t family, const xfrm_address_t *address);

/* Parses ADDRESS or ADDRESS/LENGTH. Returns 0 or -EINVAL. A bit that is set behind the length is an error. */
int prefix_parse(const char *text, struct prefix *ret);

/* Parses ADDRESS alone. Returns 0 or -EINVAL. */
int prefix_parse_address(const char *text, sa_family_t *family, xfrm_address_t *ret);

/* Writes ADDRESS/LENGTH into `buffer`; the address is "?" if its family is unknown. Returns `buffer`. */
const char *prefix_format(const struct prefix *prefix, char buffer[PREFIX_TEXT_MAX]);

/* Clears the bits behind the length. */
void prefix_clear_host_bits(struct prefix *prefix);

/* Returns the number of leading bits that two addresses have in common, at most `max`. */
uint8_t prefix_common_bits(const xfrm_address_t *a, const xfrm_address_t *b, uint8_t max);

/* Returns whether `inner` lies within `outer` or is equal to it. */
bool prefix_contains(const struct prefix *outer, const struct prefix *inner);

/* Compares by family, address and length, for qsort(3): a network comes before the networks within it. */
int prefix_compare(const struct prefix *a, const struct prefix *b);

/* Parses a number of 32 bits, decimal, or hexadecimal after 0x. Returns 0, -EINVAL or -ERANGE. */
int number_parse(const char *text, uint32_t *ret);
