/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/vici_message.h"

#include <errno.h>
#include <string.h>

#define NAME_MAX_LENGTH UINT8_MAX
#define VALUE_MAX_LENGTH UINT16_MAX

static const struct vici_text nothing = {"", 0};

void vici_read(struct vici_reader *reader, const void *message, size_t length)
{
	*reader = (struct vici_reader){.at = message, .end = (const uint8_t *)message + length, .list = nothing};
}

/* Reads a length of `width` bytes, and a text of that length. Returns false if the message is too short. */
static bool take_text(struct vici_reader *reader, size_t width, struct vici_text *ret)
{
	size_t length = 0;

	if ((size_t)(reader->end - reader->at) < width)
		return false;
	while (width--)
		length = length << 8 | *reader->at++;
	if ((size_t)(reader->end - reader->at) < length)
		return false;
	*ret = (struct vici_text){(const char *)reader->at, length};
	reader->at += length;
	return true;
}

static bool take_name(struct vici_reader *reader, struct vici_text *ret)
{
	return take_text(reader, sizeof(uint8_t), ret);
}

static bool take_value(struct vici_reader *reader, struct vici_text *ret)
{
	return take_text(reader, sizeof(uint16_t), ret);
}

/* Reads the rest of an element of a list. Returns false if the element cannot be in a list, or is malformed. */
static bool take_item(struct vici_reader *reader, struct vici_item *item)
{
	item->name = reader->list;
	if (item->element == VICI_LIST_ITEM)
		return take_value(reader, &item->value);
	if (item->element != VICI_LIST_END)
		return false;
	reader->in_list = false;
	return true;
}

/* Reads the rest of an element outside of lists. Returns false if the element is malformed or out of place. */
static bool take_element(struct vici_reader *reader, struct vici_item *item)
{
	switch (item->element) {
	case VICI_SECTION_START:
		return reader->depth++ < VICI_DEPTH_MAX && take_name(reader, &item->name);
	case VICI_SECTION_END:
		if (reader->depth == 0)
			return false;
		item->depth = --reader->depth;
		return true;
	case VICI_KEY_VALUE:
		return take_name(reader, &item->name) && take_value(reader, &item->value);
	case VICI_LIST_START:
		reader->in_list = take_name(reader, &item->name);
		reader->list = item->name;
		return reader->in_list;
	case VICI_END:
	case VICI_LIST_ITEM:
	case VICI_LIST_END:
		break;
	}
	return false;
}

int vici_next(struct vici_reader *reader, struct vici_item *ret)
{
	*ret = (struct vici_item){.depth = reader->depth, .name = nothing, .value = nothing};
	if (reader->at == reader->end)
		return reader->depth || reader->in_list ? -EBADMSG : 0;

	ret->element = *reader->at++;
	if (reader->in_list ? take_item(reader, ret) : take_element(reader, ret))
		return 1;
	/* Make each later call return -EBADMSG, too, as for a message that ends within a section. */
	reader->at = reader->end;
	reader->depth = 1;
	return -EBADMSG;
}

bool vici_is(struct vici_text text, const char *other)
{
	return text.length == strlen(other) && memcmp(text.at, other, text.length) == 0;
}

const char *vici_copy(struct vici_text text, char *buffer, size_t size)
{
	size_t n = text.length < size ? text.length : size - 1;

	for (size_t i = 0; i < n; i++)
		buffer[i] = (char)(text.at[i] >= ' ' && text.at[i] <= '~' ? text.at[i] : '?');
	buffer[n] = '\0';
	return buffer;
}

/* Returns the value of a digit, or for another character a number greater than any base. */
static unsigned int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	c |= 'a' ^ 'A';
	return c >= 'a' && c <= 'f' ? (unsigned int)(c - 'a' + 10) : UINT8_MAX;
}

int vici_number(struct vici_text text, unsigned int base, uint64_t *ret)
{
	uint64_t value = 0;

	if (text.length == 0)
		return -EINVAL;
	for (size_t i = 0; i < text.length; i++) {
		unsigned int digit = digit_value(text.at[i]);
		if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

static void put(struct vici_writer *writer, const void *data, size_t length)
{
	if (length > writer->size - writer->length) {
		writer->overflow = true;
		return;
	}
	memcpy(writer->buffer + writer->length, data, length);
	writer->length += length;
}

static void put_byte(struct vici_writer *writer, size_t byte)
{
	put(writer, &(uint8_t){(uint8_t)byte}, 1);
}

static void put_name(struct vici_writer *writer, enum vici_element element, const char *name)
{
	size_t length = strlen(name);

	writer->overflow |= length > NAME_MAX_LENGTH;
	put_byte(writer, element);
	put_byte(writer, length);
	put(writer, name, length);
}

static void put_text(struct vici_writer *writer, const char *value)
{
	size_t length = strlen(value);

	writer->overflow |= length > VALUE_MAX_LENGTH;
	put_byte(writer, length >> 8);
	put_byte(writer, length);
	put(writer, value, length);
}

void vici_put_value(struct vici_writer *writer, const char *name, const char *value)
{
	put_name(writer, VICI_KEY_VALUE, name);
	put_text(writer, value);
}

void vici_put_section(struct vici_writer *writer, const char *name)
{
	put_name(writer, VICI_SECTION_START, name);
}

void vici_put_section_end(struct vici_writer *writer)
{
	put_byte(writer, VICI_SECTION_END);
}

void vici_put_list(struct vici_writer *writer, const char *name, const char *const *values, size_t n)
{
	put_name(writer, VICI_LIST_START, name);
	for (size_t i = 0; i < n; i++) {
		put_byte(writer, VICI_LIST_ITEM);
		put_text(writer, values[i]);
	}
	put_byte(writer, VICI_LIST_END);
}
