/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/batch.h"

#include <netlink/msg.h>

#include "xfrm/parse.h"

/* The receiver of refusals. */
struct listener {
	struct batches *batches; /* NULL for refusals of deletions */
	xfrm_refused_fn fn;
	void *userdata;
};

bool batches_have_room(const struct batches *batches)
{
	return batches->additions.n < BATCH_MESSAGES && batches->deletions.n < BATCH_MESSAGES &&
	       batches->additions.length + sizeof(union request) <= sizeof(batches->additions.bytes);
}

/* Returns the place of the next message of a batch. The caller ensures that there is room for it. */
static struct nlmsghdr *batch_end(struct batch *batch)
{
	return (void *)(batch->bytes + batch->length);
}

/* Adds the message that was written at batch_end(). Returns its sequence number. */
static uint32_t batch_add(struct batch *batch, uint32_t *seq)
{
	struct nlmsghdr *message = batch_end(batch);

	message->nlmsg_seq = ++*seq;
	batch->length += NLMSG_ALIGN(message->nlmsg_len);
	batch->n++;
	return message->nlmsg_seq;
}

static void queue_deletion(struct batches *batches, const struct entry *entry, uint32_t addition, uint32_t *seq)
{
	unsigned int i = batches->deletions.n;

	build_deletion(batch_end(&batches->deletions), entry);
	batches->depends_on[i].deletion = batch_add(&batches->deletions, seq);
	batches->depends_on[i].addition = addition;
}

void batches_delete(struct batches *batches, const struct entry *entry, uint32_t *seq)
{
	queue_deletion(batches, entry, 0, seq);
}

int batches_exchange(struct batches *batches, const struct entry *policy, const struct entry *old, uint32_t *seq)
{
	int r = build_policy(batch_end(&batches->additions), XFRM_MSG_NEWPOLICY, policy);
	if (r < 0)
		return r;
	uint32_t addition = batch_add(&batches->additions, seq);
	if (old)
		queue_deletion(batches, old, addition, seq);
	return 0;
}

/* Withdraws a message of a batch: the kernel skips messages that are not requests (netlink_rcv_skb()). */
static void withdraw(struct nlmsghdr *message)
{
	message->nlmsg_type = NLMSG_NOOP;
	message->nlmsg_flags = 0;
}

/* Reports a refused request to `fn`. Returns 0, or an error of entry_decode(). */
static int report_refusal(const struct nlmsghdr *request, int error, bool addition, xfrm_refused_fn fn, void *userdata)
{
	struct xfrm_refusal refusal = {.error = error, .addition = addition};

	int r = entry_decode(request, &refusal.entry);
	if (r == 0)
		fn(&refusal, userdata);
	return r;
}

/* Returns the message of a batch with this sequence number, or NULL when there is none or it was withdrawn. */
static struct nlmsghdr *find_message(struct batch *batch, uint32_t seq)
{
	struct nlmsghdr *nlh = &batch->first;

	for (int rest = (int)batch->length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest))
		if (nlh->nlmsg_seq == seq && nlh->nlmsg_type != NLMSG_NOOP)
			return nlh;
	return NULL;
}

/* Returns the deletion that depends on an addition, or NULL. */
static struct nlmsghdr *find_dependent(struct batches *batches, uint32_t addition)
{
	for (unsigned int i = 0; i < batches->deletions.n; i++)
		if (batches->depends_on[i].addition == addition)
			return find_message(&batches->deletions, batches->depends_on[i].deletion);
	return NULL;
}

/* Withdraws an addition that failed, or may have failed, with the deletion that depends on it. Reports the deletion, or
 * the addition when no deletion depends on it. Returns 0, or an error of entry_decode(). */
static int retract(struct batches *batches, struct nlmsghdr *addition, int error, xfrm_refused_fn fn, void *userdata)
{
	struct nlmsghdr *deletion = find_dependent(batches, addition->nlmsg_seq);
	struct nlmsghdr *subject = deletion ? deletion : addition;

	int r = report_refusal(subject, error, true, fn, userdata);
	withdraw(subject);
	withdraw(addition);
	return r;
}

static int on_addition_refused(const struct nlmsghdr *request, int error, void *userdata)
{
	const struct listener *listener = userdata;
	struct batches *batches = listener->batches;
	struct nlmsghdr *addition = find_message(&batches->additions, request->nlmsg_seq);

	return addition ? retract(batches, addition, error, listener->fn, listener->userdata) : 0;
}

static int on_deletion_refused(const struct nlmsghdr *request, int error, void *userdata)
{
	const struct listener *listener = userdata;

	return report_refusal(request, error, false, listener->fn, listener->userdata);
}

int batches_read_additions(struct batches *batches, struct nlmsghdr *first, int length, xfrm_refused_fn fn,
			   void *userdata)
{
	struct listener listener = {batches, fn, userdata};

	return parse_refusals(first, length, on_addition_refused, &listener);
}

void batches_retract_additions(struct batches *batches, int error, xfrm_refused_fn fn, void *userdata)
{
	struct nlmsghdr *nlh = &batches->additions.first;

	for (int rest = (int)batches->additions.length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest))
		if (nlh->nlmsg_type == XFRM_MSG_NEWPOLICY)
			retract(batches, nlh, error, fn, userdata);
}

int batches_read_deletions(struct nlmsghdr *first, int length, xfrm_refused_fn fn, void *userdata)
{
	struct listener listener = {NULL, fn, userdata};

	return parse_refusals(first, length, on_deletion_refused, &listener);
}

void batches_report_deletions(struct batches *batches, int error, xfrm_refused_fn fn, void *userdata)
{
	struct nlmsghdr *nlh = &batches->deletions.first;

	for (int rest = (int)batches->deletions.length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest))
		if (nlh->nlmsg_type != NLMSG_NOOP)
			report_refusal(nlh, error, false, fn, userdata);
}

void batch_empty(struct batch *batch)
{
	batch->length = 0;
	batch->n = 0;
}
