/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks a batch with any answers of the kernel: a policy is deleted only if its shadow was not refused, and each
 * refusal is reported once. The input consists of two bytes with the length of the policies and SAs, these entries, and
 * the answers. */

#include <errno.h>
#include <netlink/msg.h>
#include <string.h>

#include "fuzz.h"
#include "hold/shadow.h"
#include "xfrm/batch.h"
#include "xfrm/parse.h"

struct queue {
	struct batches batches;
	uint32_t seq;	      /* last sequence number in use */
	unsigned int refused; /* number of reported refusals */
};

static void fill(const struct entry *entry, void *userdata)
{
	static const struct shadow_survey survey;
	struct queue *queue = userdata;
	struct entry shadow;

	if (!batches_have_room(&queue->batches))
		return;
	if (entry->kind == ENTRY_SA) {
		batches_delete(&queue->batches, entry, &queue->seq);
		return;
	}
	shadow_make(entry, &survey, false, &shadow);
	/* Some additions have no deletion that depends on them. */
	int r = batches_exchange(&queue->batches, &shadow, entry->policy.info.index % 4 ? entry : NULL, &queue->seq);
	CHECK(r == (shadow.policy.security_length > REQUEST_SECURITY_MAX ? -EMSGSIZE : 0));
}

static void on_addition_refused(const struct xfrm_refusal *refusal, void *userdata)
{
	struct queue *queue = userdata;

	CHECK(refusal->error < 0 && refusal->addition && refusal->entry.kind == ENTRY_POLICY);
	queue->refused++;
}

static void on_deletion_refused(const struct xfrm_refusal *refusal, void *userdata)
{
	struct queue *queue = userdata;

	CHECK(refusal->error < 0 && !refusal->addition);
	queue->refused++;
}

static unsigned int count(struct batch *batch, bool withdrawn)
{
	struct nlmsghdr *nlh = &batch->first;
	unsigned int n = 0;

	for (int rest = (int)batch->length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest))
		n += (nlh->nlmsg_type == NLMSG_NOOP) == withdrawn;
	return n;
}

static bool is_withdrawn(struct batch *batch, uint32_t seq)
{
	struct nlmsghdr *nlh = &batch->first;

	for (int rest = (int)batch->length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest))
		if (nlh->nlmsg_seq == seq)
			return nlh->nlmsg_type == NLMSG_NOOP;
	CHECK(!"in the batch");
	return false;
}

static void check_dependence(struct batches *batches)
{
	for (unsigned int i = 0; i < batches->deletions.n; i++) {
		uint32_t addition = batches->depends_on[i].addition;

		CHECK(is_withdrawn(&batches->deletions, batches->depends_on[i].deletion) ==
		      (addition && is_withdrawn(&batches->additions, addition)));
	}
}

static void check_answers(struct queue *queue, struct nlmsghdr *first, int length)
{
	struct batches *batches = &queue->batches;
	unsigned int n = batches->additions.n;

	CHECK(count(&batches->additions, false) == n && count(&batches->deletions, false) == batches->deletions.n);
	int r = batches_read_additions(batches, first, length, on_addition_refused, queue);
	CHECK(r == 0 || r == -EBADMSG);
	CHECK(queue->refused == count(&batches->additions, true));
	check_dependence(batches);
	batches_retract_additions(batches, -EAGAIN, on_addition_refused, queue);
	CHECK(queue->refused == n && count(&batches->additions, true) == n);
	check_dependence(batches);

	queue->refused = 0;
	batches_report_deletions(batches, -ENOBUFS, on_deletion_refused, queue);
	CHECK(queue->refused == count(&batches->deletions, false));
	batches_read_deletions(first, length, on_deletion_refused, queue);
	batch_empty(&batches->additions);
	batch_empty(&batches->deletions);
	CHECK(batches_have_room(batches));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct queue queue;
	uint16_t length;

	if (size < sizeof(length))
		return 0;
	memcpy(&length, data, sizeof(length));
	size -= sizeof(length);
	size_t n = length < size ? length : size;
	/* Each part gets a block of its own, which is aligned and ends with the part. */
	uint8_t *entries = malloc(n), *answers = malloc(size - n);
	CHECK((entries || !n) && (answers || n == size));
	if (n)
		memcpy(entries, data + sizeof(length), n);
	if (n < size)
		memcpy(answers, data + sizeof(length) + n, size - n);

	queue.seq = queue.refused = 0;
	parse_events((struct nlmsghdr *)(void *)entries, (int)n, fill, &queue);
	check_answers(&queue, (struct nlmsghdr *)(void *)answers, (int)(size - n));
	free(entries);
	free(answers);
	return 0;
}
