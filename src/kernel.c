/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "datagram.h"
#include "util.h"

/* The kernel fills dump messages up to 32 KiB when the reader's buffer is as large (netlink_dump()). */
#define RECEIVE_SIZE (32 * 1024)

/* Changes sent in one go. Each can be answered by an error message, which takes 832 bytes of the receive buffer (Rmem
 * in /proc/net/netlink, Linux 6.18): all of them fit even into the 64 KiB that libnl sets. */
#define BATCH_MESSAGES 64

/* A deletion has at most 120 bytes, an addition 228, templates, and a security context, of which the kernel takes a
 * page. */
#define BATCH_SIZE (BATCH_MESSAGES * 320)
#define SECURITY_MAX 4096
#define TEMPLATES_MAX (ENTRY_TEMPLATES_MAX * sizeof(struct xfrm_user_tmpl))

/* Room for kernels that take more for an error message; the kernel doubles it, up to twice net.core.rmem_max. */
#define CHANGE_RECEIVE_BUFFER (256 * 1024)

/* How often a dump is taken again that was interrupted. */
#define DUMPS_MAX 5

/* The kernel answers while it is asked; an answer that is this late will not come. */
#define ANSWER_SECONDS 30

/* A single request, with room for its attributes. */
union request {
	struct nlmsghdr header;
	char bytes[512 + TEMPLATES_MAX + SECURITY_MAX]; /* cppcheck-suppress unusedStructMember ; it is the size */
};

union buffer {
	struct nlmsghdr first;
	char bytes[RECEIVE_SIZE]; /* cppcheck-suppress unusedStructMember ; it is the size */
};

/* Messages that wait to be sent. */
struct batch {
	size_t length;
	unsigned int n;
	union {
		struct nlmsghdr first;
		char bytes[BATCH_SIZE];
	};
};

struct kernel {
	struct nl_sock *dump, *change;
	uint32_t seq;
	bool refused; /* the kernel itself answered the last transaction with an error */
	bool sent;    /* the last batch went to the kernel */
	bool lost_refusals;
	struct batch additions, deletions;
	struct {
		uint32_t deletion, addition; /* sequence numbers; the second is 0 for a deletion on its own */
	} depends_on[BATCH_MESSAGES];
	/* One for each socket: changes are made while a dump message is being read. */
	union buffer dump_buffer, change_buffer;
};

static int connect_xfrm(struct nl_sock **ret)
{
	const struct timeval timeout = {.tv_sec = ANSWER_SECONDS};

	struct nl_sock *sock = nl_socket_alloc();
	if (!sock)
		return -ENOMEM;
	if (nl_connect(sock, NETLINK_XFRM) < 0) {
		/* libnl's own codes merge the reasons; the system call's errno is still there. */
		int r = errno ? -errno : -EIO;
		nl_socket_free(sock);
		return r;
	}
	setsockopt(nl_socket_get_fd(sock), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	*ret = sock;
	return 0;
}

int kernel_open(struct kernel **ret)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	if (!kernel)
		return -ENOMEM;

	int r = connect_xfrm(&kernel->dump);
	if (r == 0)
		r = connect_xfrm(&kernel->change);
	if (r < 0) {
		kernel_close(&kernel);
		return r;
	}
	/* Without it the buffer stays as it is. */
	nl_socket_set_buffer_size(kernel->change, CHANGE_RECEIVE_BUFFER, 0);
	*ret = kernel;
	return 0;
}

void kernel_close(struct kernel **kernel)
{
	if (!*kernel)
		return;
	nl_socket_free((*kernel)->dump);
	nl_socket_free((*kernel)->change);
	/* Dumps of SAs carry their keys. */
	explicit_bzero(&(*kernel)->dump_buffer, sizeof((*kernel)->dump_buffer));
	explicit_bzero(&(*kernel)->change_buffer, sizeof((*kernel)->change_buffer));
	free(*kernel);
	*kernel = NULL;
}

/* Starts a message at `nlh` with a zeroed payload of `size` bytes; returns the payload. */
static void *message_begin(struct nlmsghdr *nlh, uint16_t type, uint16_t flags, size_t size)
{
	memset(nlh, 0, (size_t)nlmsg_total_size((int)size));
	nlh->nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return NLMSG_DATA(nlh);
}

static void message_put(struct nlmsghdr *nlh, uint16_t type, const void *data, size_t size)
{
	struct nlattr *attr = nlmsg_tail(nlh);

	attr->nla_type = type;
	attr->nla_len = (uint16_t)(NLA_HDRLEN + size);
	memset(nla_data(attr), 0, NLA_ALIGN(size));
	memcpy(nla_data(attr), data, size);
	nlh->nlmsg_len = (uint32_t)(NLMSG_ALIGN(nlh->nlmsg_len) + NLA_HDRLEN + NLA_ALIGN(size));
}

static void message_put_mark(struct nlmsghdr *nlh, const struct xfrm_mark *mark)
{
	if (mark->v || mark->m)
		message_put(nlh, XFRMA_MARK, mark, sizeof(*mark));
}

static void message_put_if_id(struct nlmsghdr *nlh, uint32_t if_id)
{
	if (if_id)
		message_put(nlh, XFRMA_IF_ID, &if_id, sizeof(if_id));
}

static int send_messages(struct nl_sock *sock, const void *buffer, size_t length)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	ssize_t n;

	do
		n = sendto(nl_socket_get_fd(sock), buffer, length, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* A datagram goes as a whole or not at all. */
	return (size_t)n == length ? 0 : -EIO;
}

/* Returns the number of bytes received from the kernel, or a negative errno (-EAGAIN only with MSG_DONTWAIT). */
static ssize_t receive(struct nl_sock *sock, union buffer *buffer, int flags)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		struct iovec iov = {.iov_base = buffer, .iov_len = sizeof(*buffer)};
		struct msghdr msg = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};

		ssize_t n = recvmsg(nl_socket_get_fd(sock), &msg, flags);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !(flags & MSG_DONTWAIT))
			return -ETIMEDOUT;
		if (n < 0)
			return -errno;
		/* Other processes can write to this socket too. */
		if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0)
			continue;
		const bool whole = !(msg.msg_flags & MSG_TRUNC) && datagram_is_whole(&buffer->first, (size_t)n);
		return whole ? n : -EBADMSG;
	}
}

/* The errno in an NLMSG_ERROR or NLMSG_DONE message: 0 or negative. */
static int message_error(const struct nlmsghdr *nlh)
{
	int error;

	if (nlh->nlmsg_len < NLMSG_LENGTH(sizeof(error)))
		return nlh->nlmsg_type == NLMSG_DONE ? 0 : -EBADMSG;
	memcpy(&error, NLMSG_DATA(nlh), sizeof(error));
	return error <= 0 ? error : -EBADMSG;
}

/* Sends one request on the socket for changes and waits for its answer: a message of `type`, or an acknowledgement when
 * `type` is NLMSG_ERROR. `answer` may be NULL; it is valid until the next call. With an error, kernel->refused tells
 * whether it is the kernel's answer or something that happened on the way. */
static int transact(struct kernel *kernel, struct nlmsghdr *request, uint16_t type, struct nlmsghdr **answer)
{
	if (type == NLMSG_ERROR)
		request->nlmsg_flags |= NLM_F_ACK;
	request->nlmsg_seq = ++kernel->seq;
	kernel->refused = false;

	int r = send_messages(kernel->change, request, request->nlmsg_len);
	if (r < 0)
		return r;

	for (;;) {
		ssize_t n = receive(kernel->change, &kernel->change_buffer, 0);
		if (n < 0)
			return (int)n;

		struct nlmsghdr *nlh = &kernel->change_buffer.first;
		for (int rest = (int)n; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest)) {
			if (nlh->nlmsg_seq != kernel->seq)
				continue;
			if (nlh->nlmsg_type == NLMSG_ERROR) {
				r = message_error(nlh);
				kernel->refused = r < 0;
				return r < 0 || type == NLMSG_ERROR ? r : -EBADMSG;
			}
			if (nlh->nlmsg_type == type) {
				if (answer)
					*answer = nlh;
				return 0;
			}
		}
	}
}

/* XFRM_MSG_GETSADINFO and _GETSPDINFO: a flags word that the kernel ignores (it answers everything), then attributes.
 */
static int query_info(struct kernel *kernel, uint16_t ask, uint16_t type, int attribute, void *ret, size_t size)
{
	union request request;
	struct nlmsghdr *answer;

	message_begin(&request.header, ask, 0, sizeof(uint32_t));
	int r = transact(kernel, &request.header, type, &answer);
	if (r < 0)
		return r;

	const struct nlattr *attr = nlmsg_find_attr(answer, sizeof(uint32_t), attribute);
	if (!attr || (size_t)nla_len(attr) < size)
		return -EBADMSG;
	memcpy(ret, nla_data(attr), size);
	return 0;
}

int kernel_count(struct kernel *kernel, struct kernel_counts *ret)
{
	struct xfrmu_spdinfo spd;
	uint32_t sas;

	int r = query_info(kernel, XFRM_MSG_GETSADINFO, XFRM_MSG_NEWSADINFO, XFRMA_SAD_CNT, &sas, sizeof(sas));
	if (r < 0)
		return r;
	r = query_info(kernel, XFRM_MSG_GETSPDINFO, XFRM_MSG_NEWSPDINFO, XFRMA_SPD_INFO, &spd, sizeof(spd));
	if (r < 0)
		return r;

	*ret = (struct kernel_counts){
		.sas = sas,
		.policies =
			{[XFRM_POLICY_IN] = spd.incnt, [XFRM_POLICY_OUT] = spd.outcnt, [XFRM_POLICY_FWD] = spd.fwdcnt},
	};
	return 0;
}

uint64_t kernel_sum_policies(const struct kernel_counts *counts)
{
	uint64_t n = 0;

	for (size_t dir = 0; dir < XFRM_POLICY_MAX; dir++)
		n += counts->policies[dir];
	return n;
}

int kernel_flush_sas(struct kernel *kernel, uint8_t proto)
{
	union request request;

	struct xfrm_usersa_flush *flush = message_begin(&request.header, XFRM_MSG_FLUSHSA, 0, sizeof(*flush));
	flush->proto = proto;
	return transact(kernel, &request.header, NLMSG_ERROR, NULL);
}

static void message_put_ptype(struct nlmsghdr *nlh, uint8_t ptype)
{
	const struct xfrm_userpolicy_type type = {.type = ptype};

	message_put(nlh, XFRMA_POLICY_TYPE, &type, sizeof(type));
}

int kernel_flush_policies(struct kernel *kernel, uint8_t ptype)
{
	union request request;

	message_begin(&request.header, XFRM_MSG_FLUSHPOLICY, 0, 0);
	message_put_ptype(&request.header, ptype);
	return transact(kernel, &request.header, NLMSG_ERROR, NULL);
}

/* What is left of a dump that breaks off would keep the socket busy. */
static void close_dump(struct kernel *kernel)
{
	nl_socket_free(kernel->dump);
	kernel->dump = NULL;
}

/* Reads a dump to its end. */
static int read_dump(struct kernel *kernel, uint32_t seq, kernel_entry_fn fn, void *userdata)
{
	bool incomplete = false;

	for (;;) {
		ssize_t n = receive(kernel->dump, &kernel->dump_buffer, 0);
		if (n == -ENOBUFS) {
			/* Without memory the kernel ends a dump without a word (netlink_dump()). */
			close_dump(kernel);
			return -EAGAIN;
		}
		if (n < 0)
			return (int)n;

		struct nlmsghdr *nlh = &kernel->dump_buffer.first;
		for (int rest = (int)n; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest)) {
			struct entry entry;

			if (nlh->nlmsg_seq != seq)
				continue;
			if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
				incomplete = true;
			if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR) {
				int r = message_error(nlh);
				return r < 0 ? r : incomplete ? -EAGAIN : 0;
			}
			int r = entry_decode(nlh, &entry);
			if (r == 0)
				r = fn(&entry, nlh, userdata);
			if (r < 0)
				return r;
		}
	}
}

/* Takes a dump from its request to its end. */
static int dump(struct kernel *kernel, union request *request, kernel_entry_fn fn, void *userdata)
{
	int r = 0;

	if (!kernel->dump)
		r = connect_xfrm(&kernel->dump);
	if (r < 0)
		return r;

	request->header.nlmsg_seq = ++kernel->seq;
	r = send_messages(kernel->dump, &request->header, request->header.nlmsg_len);
	if (r == 0)
		r = read_dump(kernel, request->header.nlmsg_seq, fn, userdata);
	if (r < 0 && r != -EAGAIN)
		close_dump(kernel);
	return r;
}

int kernel_dump(struct kernel *kernel, enum entry_kind kind, kernel_entry_fn fn, void *userdata)
{
	union request request;

	if (kind == ENTRY_SA)
		message_begin(&request.header, XFRM_MSG_GETSA, NLM_F_DUMP, 0);
	else
		message_begin(&request.header, XFRM_MSG_GETPOLICY, NLM_F_DUMP, sizeof(struct xfrm_userpolicy_id));
	return dump(kernel, &request, fn, userdata);
}

int kernel_dump_whole(struct kernel *kernel, enum entry_kind kind, void (*begin)(void *userdata), kernel_entry_fn fn,
		      void *userdata)
{
	int r = -EAGAIN;

	for (unsigned int i = 0; r == -EAGAIN && i < DUMPS_MAX; i++) {
		if (begin)
			begin(userdata);
		r = kernel_dump(kernel, kind, fn, userdata);
	}
	return r;
}

static int count_entry(const struct entry *entry, const struct nlmsghdr *message, void *userdata)
{
	uint32_t *n = userdata;

	(void)entry;
	(void)message;
	(*n)++;
	return 0;
}

int kernel_count_sas(struct kernel *kernel, uint8_t proto, uint32_t *ret)
{
	union request request;
	uint32_t n = 0;

	/* Unlike everywhere else, the attributes of this request follow its header at once (xfrm_dump_sa()). */
	message_begin(&request.header, XFRM_MSG_GETSA, NLM_F_DUMP, 0);
	message_put(&request.header, XFRMA_PROTO, &proto, sizeof(proto));
	int r = dump(kernel, &request, count_entry, &n);
	if (r == 0)
		*ret = n;
	return r;
}

/* Takes a message of a batch back; the kernel passes over those that are no requests (netlink_rcv_skb()). */
static void withdraw(struct nlmsghdr *message)
{
	message->nlmsg_type = NLMSG_NOOP;
	message->nlmsg_flags = 0;
}

static int report_refusal(const struct nlmsghdr *request, int error, bool addition, kernel_refused_fn fn,
			  void *userdata)
{
	struct kernel_refusal refusal = {.error = error, .addition = addition};

	int r = entry_decode(request, &refusal.entry);
	if (r == 0)
		fn(&refusal, userdata);
	return r;
}

/* What one answer of the kernel's to a batch leads to; `request` is what it sent back. */
typedef int (*answer_fn)(struct kernel *kernel, const struct nlmsghdr *request, int error, kernel_refused_fn fn,
			 void *userdata);

static int read_answers(struct kernel *kernel, int length, answer_fn each, kernel_refused_fn fn, void *userdata)
{
	struct nlmsghdr *nlh = &kernel->change_buffer.first;

	for (; nlmsg_ok(nlh, length); nlh = nlmsg_next(nlh, &length)) {
		const struct nlmsgerr *answer = NLMSG_DATA(nlh);

		if (nlh->nlmsg_type != NLMSG_ERROR || nlh->nlmsg_len < NLMSG_LENGTH(sizeof(*answer)))
			continue;
		int error = message_error(nlh);
		if (error == 0)
			continue;
		/* The kernel sends the request back whole. */
		if (answer->msg.nlmsg_len > nlh->nlmsg_len - NLMSG_LENGTH(sizeof(answer->error)))
			return -EBADMSG;
		int r = each(kernel, &answer->msg, error, fn, userdata);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Sends a batch and reads the answers. Sets `lost` when some did not arrive. */
static int send_batch(struct kernel *kernel, struct batch *batch, bool *lost, answer_fn each, kernel_refused_fn fn,
		      void *userdata)
{
	int r = send_messages(kernel->change, &batch->first, batch->length);
	kernel->sent = r == 0;
	if (r < 0)
		return r;

	/* The kernel works through the batch before sendto() returns (netlink_unicast_kernel()), and answers only what
	 * it refused: what there is to read is there now. */
	for (;;) {
		ssize_t n = receive(kernel->change, &kernel->change_buffer, MSG_DONTWAIT);
		if (n == -EAGAIN)
			return 0;
		if (n == -ENOBUFS) {
			*lost = true;
			continue;
		}
		if (n < 0)
			return (int)n;
		r = read_answers(kernel, (int)n, each, fn, userdata);
		if (r < 0)
			return r;
	}
}

/* The message of a batch with this sequence number. */
static struct nlmsghdr *find_message(struct batch *batch, uint32_t seq)
{
	struct nlmsghdr *nlh = &batch->first;

	for (int rest = (int)batch->length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest))
		if (nlh->nlmsg_seq == seq)
			return nlh;
	return NULL;
}

/* Takes back the deletion that depends on an addition that did not come about, or may not have. */
static int retract(struct kernel *kernel, struct nlmsghdr *addition, int error, kernel_refused_fn fn, void *userdata)
{
	struct nlmsghdr *subject = addition;

	for (unsigned int i = 0; i < kernel->deletions.n; i++)
		if (kernel->depends_on[i].addition == addition->nlmsg_seq)
			subject = find_message(&kernel->deletions, kernel->depends_on[i].deletion);
	int r = report_refusal(subject, error, true, fn, userdata);
	withdraw(subject);
	withdraw(addition);
	return r;
}

static int on_addition_refused(struct kernel *kernel, const struct nlmsghdr *request, int error, kernel_refused_fn fn,
			       void *userdata)
{
	struct nlmsghdr *addition = find_message(&kernel->additions, request->nlmsg_seq);

	return addition ? retract(kernel, addition, error, fn, userdata) : 0;
}

static int on_deletion_refused(struct kernel *kernel, const struct nlmsghdr *request, int error, kernel_refused_fn fn,
			       void *userdata)
{
	(void)kernel;
	return report_refusal(request, error, false, fn, userdata);
}

static void empty(struct batch *batch)
{
	batch->length = 0;
	batch->n = 0;
}

static int commit_additions(struct kernel *kernel, kernel_refused_fn fn, void *userdata)
{
	struct batch *batch = &kernel->additions;
	bool lost = false;

	int r = send_batch(kernel, batch, &lost, on_addition_refused, fn, userdata);
	if (r < 0 || lost) {
		/* None of the others is certain. */
		struct nlmsghdr *nlh = &batch->first;
		for (int rest = (int)batch->length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest))
			if (nlh->nlmsg_type == XFRM_MSG_NEWPOLICY)
				retract(kernel, nlh, r < 0 ? r : -EAGAIN, fn, userdata);
	}
	empty(batch);
	return r;
}

static int commit_deletions(struct kernel *kernel, kernel_refused_fn fn, void *userdata)
{
	struct batch *batch = &kernel->deletions;

	int r = send_batch(kernel, batch, &kernel->lost_refusals, on_deletion_refused, fn, userdata);
	if (r < 0 && !kernel->sent) {
		struct nlmsghdr *nlh = &batch->first;
		for (int rest = (int)batch->length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest))
			if (nlh->nlmsg_type != NLMSG_NOOP)
				report_refusal(nlh, r, false, fn, userdata);
	}
	empty(batch);
	return r;
}

int kernel_commit(struct kernel *kernel, kernel_refused_fn fn, void *userdata)
{
	int added = kernel->additions.n ? commit_additions(kernel, fn, userdata) : 0;
	int deleted = kernel->deletions.n ? commit_deletions(kernel, fn, userdata) : 0;

	return added < 0 ? added : deleted;
}

static void fill_sa_id(struct xfrm_usersa_id *id, const struct xfrm_usersa_info *sa)
{
	*id = (struct xfrm_usersa_id){
		.daddr = sa->id.daddr, .spi = sa->id.spi, .family = sa->family, .proto = sa->id.proto};
}

int kernel_find_sa(struct kernel *kernel, const struct entry *sa, struct entry *ret)
{
	union request request;
	struct nlmsghdr *answer;

	fill_sa_id(message_begin(&request.header, XFRM_MSG_GETSA, 0, sizeof(struct xfrm_usersa_id)), &sa->sa);
	message_put_mark(&request.header, &sa->mark);
	int r = transact(kernel, &request.header, XFRM_MSG_NEWSA, &answer);
	return r == 0 ? entry_decode(answer, ret) : r;
}

/* Checks that the SA that the kernel finds under this SA's name is this one. */
static int check_not_hidden(struct kernel *kernel, const struct entry *entry)
{
	struct entry found = {0};

	int r = kernel_find_sa(kernel, entry, &found);
	if (r < 0)
		return r;
	kernel->refused = found.mark.v != entry->mark.v || found.mark.m != entry->mark.m;
	return kernel->refused ? -EEXIST : 0;
}

/* Gives a larval SA without SPI one, so that it can be named. */
static int allocate_spi(struct kernel *kernel, struct entry *entry)
{
	union request request;
	struct nlmsghdr *answer;
	struct entry found = {0};

	struct xfrm_userspi_info *info = message_begin(&request.header, XFRM_MSG_ALLOCSPI, 0, sizeof(*info));
	info->info = entry->sa;
	/* 1 to 255 are reserved (RFC 4303, 2.1); a CPI has 16 bits (RFC 3173, 3.3). */
	info->min = 0x100;
	info->max = entry->sa.id.proto == IPPROTO_COMP ? 0xffff : 0xffffffff;
	message_put_mark(&request.header, &entry->mark);
	message_put_if_id(&request.header, entry->if_id);
	int r = transact(kernel, &request.header, XFRM_MSG_NEWSA, &answer);
	/* "No SPI is free"; about an entry, ENOENT says that it has gone. */
	if (r == -ENOENT)
		return -ENOSPC;
	if (r == 0)
		r = entry_decode(answer, &found);
	if (r == 0)
		entry->sa = found.sa;
	return r;
}

/* Makes sure that a deletion of this SA names this one and no other. As transact(), also for kernel->refused. */
static int name_sa(struct kernel *kernel, struct entry *entry)
{
	if (!entry->sa.id.spi)
		return allocate_spi(kernel, entry);
	if (entry->mark.v || entry->mark.m)
		return check_not_hidden(kernel, entry);
	return 0;
}

static void put_policy_attributes(struct nlmsghdr *message, const struct entry *policy)
{
	message_put_ptype(message, policy->policy.ptype);
	message_put_mark(message, &policy->mark);
	message_put_if_id(message, policy->if_id);
}

/* The security context is part of what a policy is found by, unless it is by index. The kernel puts a NUL behind what
 * it gets, and counts it in what it tells (selinux_xfrm_alloc_user()): without these a context would grow with each
 * copy. */
static void put_security(struct nlmsghdr *message, const struct entry *policy)
{
	const char *bytes = (const char *)policy->policy.security;
	size_t length = policy->policy.security_length;
	struct xfrm_user_sec_ctx context;

	if (!length)
		return;
	while (length > sizeof(context) && !bytes[length - 1])
		length--;
	memcpy(&context, bytes, sizeof(context));
	context.len = (uint16_t)length;
	context.ctx_len = (uint16_t)(length - sizeof(context));

	struct nlattr *attr = nlmsg_tail(message);
	message_put(message, XFRMA_SEC_CTX, bytes, length);
	memcpy(nla_data(attr), &context, sizeof(context));
}

/* Where the next message of a batch goes; the caller has made sure that there is room. */
static struct nlmsghdr *batch_end(struct batch *batch)
{
	return (void *)(batch->bytes + batch->length);
}

/* Takes in the message that was written there. Returns its sequence number. */
static uint32_t batch_add(struct kernel *kernel, struct batch *batch)
{
	struct nlmsghdr *message = batch_end(batch);

	message->nlmsg_seq = ++kernel->seq;
	batch->length += NLMSG_ALIGN(message->nlmsg_len);
	batch->n++;
	return message->nlmsg_seq;
}

static void queue_deletion(struct kernel *kernel, const struct entry *entry, uint32_t addition)
{
	struct nlmsghdr *message = batch_end(&kernel->deletions);

	if (entry->kind == ENTRY_SA) {
		fill_sa_id(message_begin(message, XFRM_MSG_DELSA, 0, sizeof(struct xfrm_usersa_id)), &entry->sa);
		/* Not needed to find the SA, but to name it if the kernel refuses. */
		message_put(message, XFRMA_SRCADDR, &entry->sa.saddr, sizeof(entry->sa.saddr));
		message_put_mark(message, &entry->mark);
		message_put_if_id(message, entry->if_id);
	} else {
		const struct xfrm_userpolicy_info *policy = &entry->policy.info;
		struct xfrm_userpolicy_id *id = message_begin(message, XFRM_MSG_DELPOLICY, 0, sizeof(*id));
		/* With an index the kernel does not read the selector: it comes back if the kernel refuses. */
		*id = (struct xfrm_userpolicy_id){.sel = policy->sel, .index = policy->index, .dir = policy->dir};
		put_policy_attributes(message, entry);
	}
	unsigned int i = kernel->deletions.n;
	kernel->depends_on[i].deletion = batch_add(kernel, &kernel->deletions);
	kernel->depends_on[i].addition = addition;
}

int kernel_delete(struct kernel *kernel, const struct entry *entry, kernel_refused_fn fn, void *userdata)
{
	struct entry named = *entry;
	bool refused = false;
	int r = 0;

	if (kernel->deletions.n == BATCH_MESSAGES)
		r = kernel_commit(kernel, fn, userdata);
	if (r == 0 && entry->kind == ENTRY_SA) {
		r = name_sa(kernel, &named);
		refused = r < 0 && kernel->refused;
	}
	if (r == 0) {
		queue_deletion(kernel, &named, 0);
		return 0;
	}
	fn(&(struct kernel_refusal){.entry = *entry, .error = r}, userdata);
	return refused ? 0 : r;
}

/* XFRM_MSG_NEWPOLICY and _UPDPOLICY differ in their type alone. */
static void write_policy(struct nlmsghdr *message, uint16_t type, const struct entry *policy)
{
	struct xfrm_userpolicy_info info = policy->policy.info;

	info.index = 0; /* the kernel finds one */
	/* The structure wants to be aligned to 8 bytes, netlink aligns to 4. */
	memcpy(message_begin(message, type, 0, sizeof(info)), &info, sizeof(info));
	if (policy->policy.n_templates)
		message_put(message, XFRMA_TMPL, policy->policy.templates,
			    policy->policy.n_templates * sizeof(*policy->policy.templates));
	put_policy_attributes(message, policy);
	put_security(message, policy);
}

int kernel_exchange(struct kernel *kernel, const struct entry *policy, const struct entry *old, kernel_refused_fn fn,
		    void *userdata)
{
	struct batch *batch = &kernel->additions;
	int r = 0;

	if (policy->policy.security_length > SECURITY_MAX)
		r = -EMSGSIZE;
	else if (batch->n == BATCH_MESSAGES || kernel->deletions.n == BATCH_MESSAGES ||
		 batch->length + sizeof(union request) > sizeof(batch->bytes))
		r = kernel_commit(kernel, fn, userdata);
	if (r < 0) {
		fn(&(struct kernel_refusal){.entry = old ? *old : *policy, .error = r, .addition = true}, userdata);
		return r == -EMSGSIZE ? 0 : r;
	}

	write_policy(batch_end(batch), XFRM_MSG_NEWPOLICY, policy);
	uint32_t addition = batch_add(kernel, batch);
	if (old)
		queue_deletion(kernel, old, addition);
	return 0;
}

int kernel_find_policy(struct kernel *kernel, const struct entry *policy, struct entry *ret)
{
	union request request;
	struct nlmsghdr *answer;

	struct xfrm_userpolicy_id *id = message_begin(&request.header, XFRM_MSG_GETPOLICY, 0, sizeof(*id));
	id->sel = policy->policy.info.sel;
	id->dir = policy->policy.info.dir;
	put_policy_attributes(&request.header, policy);
	put_security(&request.header, policy);
	int r = transact(kernel, &request.header, XFRM_MSG_NEWPOLICY, &answer);
	return r == 0 ? entry_decode(answer, ret) : r;
}

int kernel_update_policy(struct kernel *kernel, const struct entry *policy)
{
	union request request;

	write_policy(&request.header, XFRM_MSG_UPDPOLICY, policy);
	return transact(kernel, &request.header, NLMSG_ERROR, NULL);
}

int kernel_request(struct kernel *kernel, struct nlmsghdr *request)
{
	return transact(kernel, request, NLMSG_ERROR, NULL);
}

bool kernel_refused(const struct kernel *kernel)
{
	return kernel->refused;
}

bool kernel_lost_refusals(struct kernel *kernel)
{
	bool lost = kernel->lost_refusals;

	kernel->lost_refusals = false;
	return lost;
}
