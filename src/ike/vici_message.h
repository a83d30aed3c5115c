/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Messages of VICI, the protocol by which clients query and configure charon: key/value pairs, lists, and nested
 * sections (src/libcharon/plugins/vici/README.md of strongSwan). Pure. The reader always comes to an end, and never
 * reads beyond the message, whatever bytes it has. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Maximum depth of nested sections that the reader accepts. charon's own messages have at most 4. */
#define VICI_DEPTH_MAX 16

/* Kinds of elements, with the byte that begins each of them in a message. */
enum vici_element {
	VICI_END = 0, /* end of the message; no byte in a message has this value */
	VICI_SECTION_START = 1,
	VICI_SECTION_END = 2,
	VICI_KEY_VALUE = 3,
	VICI_LIST_START = 4,
	VICI_LIST_ITEM = 5,
	VICI_LIST_END = 6,
};

/* Text in a message. It is not terminated, may contain any byte, and is valid as long as the message. */
struct vici_text {
	const char *at;
	size_t length;
};

/* One element of a message. */
struct vici_item {
	enum vici_element element;
	/* Number of sections around the element. The start and the end of a section have the same depth. */
	unsigned int depth;
	/* Name of the section that starts, of the list (also for its items and its end), or of the key; otherwise
	 * empty. */
	struct vici_text name;
	/* Value of VICI_KEY_VALUE or VICI_LIST_ITEM; otherwise empty. */
	struct vici_text value;
};

/* Position in a message. */
struct vici_reader {
	/* Next byte, and the end of the message. */
	const uint8_t *at, *end;
	/* Number of sections around the next byte. */
	unsigned int depth;
	/* Whether the next byte is in a list. */
	bool in_list;
	/* Name of that list. */
	struct vici_text list;
};

/* Starts to read a message. The caller keeps the message in memory, unchanged, while it is read. */
void vici_read(struct vici_reader *reader, const void *message, size_t length);

/* Reads the next element. Returns 1, or 0 with VICI_END at the end of a complete message. Returns -EBADMSG if the
 * message violates the protocol, and again in each later call. Violations are:
 * - an unknown element
 * - a length that reaches beyond the end of the message
 * - a key in a list
 * - an end without a start
 * - sections deeper than VICI_DEPTH_MAX
 * - an end of the message within a section or list */
int vici_next(struct vici_reader *reader, struct vici_item *ret);

/* Returns whether a text equals `other`. */
bool vici_is(struct vici_text text, const char *other);

/* Copies a text into a buffer as a terminated string. Cuts a text that does not fit. Replaces each byte that is not
 * printable ASCII with '?'; charon sends printable ASCII only (chunk_printable()). `size` is not 0. Returns `buffer`.
 */
const char *vici_copy(struct vici_text text, char *buffer, size_t size);

/* Parses a text that is one number in base 10 or 16 (without "0x"). Returns 0, or -EINVAL if the text is no such
 * number, or the number exceeds 64 bits. */
int vici_number(struct vici_text text, unsigned int base, uint64_t *ret);

/* Writes a message into a buffer of the caller. An element that exceeds the buffer or a limit of the protocol sets
 * `overflow`; vici_request() then returns -EMSGSIZE. */
struct vici_writer {
	uint8_t *buffer;
	/* Size of the buffer, and number of bytes written so far. */
	size_t size, length;
	/* Whether an element did not fit. */
	bool overflow;
};

/* Each of the following functions appends to the message: a key with its value, the start of a section, its end, or a
 * list. */
void vici_put_value(struct vici_writer *writer, const char *name, const char *value);
void vici_put_section(struct vici_writer *writer, const char *name);
void vici_put_section_end(struct vici_writer *writer);
void vici_put_list(struct vici_writer *writer, const char *name, const char *const *values, size_t n);
