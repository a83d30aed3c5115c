/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Messages of VICI, the protocol in which strongSwan's charon is asked and told things: key/value pairs, lists, and
 * sections that nest (src/libcharon/plugins/vici/README.md of strongSwan). Pure; whatever the bytes are, reading them
 * ends, and never looks beyond them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sections nest no deeper than this in a message that is accepted; charon's own reach 4. */
#define VICI_DEPTH_MAX 16

enum vici_element {
	VICI_END = 0, /* of the message; never in it */
	VICI_SECTION_START = 1,
	VICI_SECTION_END = 2,
	VICI_KEY_VALUE = 3,
	VICI_LIST_START = 4,
	VICI_LIST_ITEM = 5,
	VICI_LIST_END = 6,
};

/* Text in a message: not terminated, may hold any byte, valid as long as the message is. */
struct vici_text {
	const char *at;
	size_t length;
};

struct vici_item {
	enum vici_element element;
	unsigned int depth;	/* of sections around it; a section's own start and end have the same depth */
	struct vici_text name;	/* of a section's start, a list (items and end included) or a key; empty otherwise */
	struct vici_text value; /* of VICI_KEY_VALUE and VICI_LIST_ITEM */
};

struct vici_reader {
	const uint8_t *at, *end;
	unsigned int depth;
	bool in_list;
	struct vici_text list; /* its name */
};

/* Starts to read a message that stays where it is. */
void vici_read(struct vici_reader *reader, const void *message, size_t length);

/* The next element: 1, or 0 with VICI_END at the end of a message that is complete. -EBADMSG when the message is not
 * as the protocol has it: an unknown element, a length that reaches beyond the end, a key in a list, an end without a
 * start, sections deeper than VICI_DEPTH_MAX, an end of the message within a section or list; it stays at that. */
int vici_next(struct vici_reader *reader, struct vici_item *ret);

/* Whether a text is this one. */
bool vici_is(struct vici_text text, const char *other);

/* Copies a text into a buffer, terminated, cut where it does not fit, with '?' for what is not printable ASCII (charon
 * sends nothing else: chunk_printable()); returns `buffer`. `size` is not 0. */
const char *vici_copy(struct vici_text text, char *buffer, size_t size);

/* A number that is the whole text, in base 10 or 16 (without "0x"). -EINVAL when it is none or has more than 64 bits.
 */
int vici_number(struct vici_text text, unsigned int base, uint64_t *ret);

/* Writes a message into a buffer of the caller's. What does not fit sets `overflow`, which vici_request() refuses. */
struct vici_writer {
	uint8_t *buffer;
	size_t size, length; /* bytes */
	bool overflow;
};

void vici_put_value(struct vici_writer *writer, const char *name, const char *value);
void vici_put_section(struct vici_writer *writer, const char *name);
void vici_put_section_end(struct vici_writer *writer);
void vici_put_list(struct vici_writer *writer, const char *name, const char *const *values, size_t n);
