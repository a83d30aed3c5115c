/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks that reading any bytes as a VICI message ends and stays within them, and that the results are in the
 * message. */

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "ike/vici_message.h"

/* The expected state of the reader. */
struct model {
	const uint8_t *at, *end; /* the rest of the message */
	unsigned int depth;	 /* number of open sections */
	struct vici_text list;	 /* name of the open list; its `at` is NULL if no list is open */
};

static uint8_t take_byte(struct model *model)
{
	CHECK(model->at < model->end);
	return *model->at++;
}

/* Checks that a text is the next one in the message, behind its length of `width` bytes. */
static void check_text(struct model *model, struct vici_text text, size_t width)
{
	size_t length = 0;

	while (width--)
		length = length << 8 | take_byte(model);
	CHECK(text.length == length && text.length <= (size_t)(model->end - model->at));
	CHECK((const uint8_t *)text.at == model->at);
	model->at += length;
}

static void check_name(struct model *model, const struct vici_item *item)
{
	check_text(model, item->name, sizeof(uint8_t));
}

static void check_value(struct model *model, const struct vici_item *item)
{
	check_text(model, item->value, sizeof(uint16_t));
}

static void check_item(struct model *model, const struct vici_item *item)
{
	CHECK(take_byte(model) == item->element);
	if (model->list.at) {
		CHECK(item->element == VICI_LIST_ITEM || item->element == VICI_LIST_END);
		CHECK(item->name.at == model->list.at && item->name.length == model->list.length);
	}
	switch (item->element) {
	case VICI_SECTION_START:
		check_name(model, item);
		CHECK(item->depth == model->depth++);
		break;
	case VICI_SECTION_END:
		CHECK(model->depth > 0 && item->name.length == 0);
		model->depth--;
		break;
	case VICI_KEY_VALUE:
		check_name(model, item);
		check_value(model, item);
		break;
	case VICI_LIST_START:
		check_name(model, item);
		model->list = item->name;
		break;
	case VICI_LIST_ITEM:
		CHECK(model->list.at);
		check_value(model, item);
		break;
	case VICI_LIST_END:
		CHECK(model->list.at);
		model->list.at = NULL;
		break;
	case VICI_END:
		CHECK(!"an element");
	}
	CHECK(model->depth <= VICI_DEPTH_MAX);
	if (item->element != VICI_SECTION_START)
		CHECK(item->depth == model->depth);
	if (item->element != VICI_KEY_VALUE && item->element != VICI_LIST_ITEM)
		CHECK(item->value.length == 0);
}

/* Checks vici_number(): it must accept what strtoull() accepts, if all characters are digits. */
static void check_number(struct vici_text text, const char *copy, unsigned int base)
{
	size_t digits = strspn(copy, base == 10 ? "0123456789" : "0123456789abcdefABCDEF");
	uint64_t number;

	errno = 0;
	unsigned long long expected = strtoull(copy, NULL, (int)base);
	bool valid = text.length > 0 && digits == text.length && errno == 0;
	int r = vici_number(text, base, &number);
	CHECK(valid ? r == 0 && number == expected : r == -EINVAL);
}

/* Uses a text like callers do, with a buffer of exactly its size. */
static void use_text(struct vici_text text)
{
	char *copy = malloc(text.length + 1);

	CHECK(copy && vici_copy(text, copy, text.length + 1) == copy);
	CHECK(strlen(copy) == text.length);
	for (size_t i = 0; i < text.length; i++)
		CHECK(copy[i] >= ' ' && copy[i] <= '~' && (copy[i] == text.at[i] || copy[i] == '?'));
	CHECK(vici_is(text, copy) == (memcmp(text.at, copy, text.length) == 0));
	check_number(text, copy, 10);
	check_number(text, copy, 16);
	vici_copy(text, copy, 1 + text.length / 2);
	CHECK(strlen(copy) == text.length / 2);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model model = {.at = data, .end = data + size};
	struct vici_reader reader;
	struct vici_item item;
	int r;

	vici_read(&reader, data, size);
	while ((r = vici_next(&reader, &item)) > 0) {
		check_item(&model, &item);
		use_text(item.name);
		use_text(item.value);
	}
	CHECK(r == 0 || r == -EBADMSG);
	if (r == 0)
		CHECK(model.at == model.end && model.depth == 0 && !model.list.at && item.element == VICI_END);
	for (unsigned int i = 0; i < 3; i++)
		CHECK(vici_next(&reader, &item) == r);
	return 0;
}
