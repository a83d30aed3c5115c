/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/netlink.h"

#include <errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/datagram.h"
#include "base/util.h"
#include "xfrm/batch.h"
#include "xfrm/build.h"
#include "xfrm/parse.h"

/* The kernel fills dump messages up to 32 KiB when the reader's buffer is as large (netlink_dump()). */
#define RECEIVE_SIZE (32 * 1024)

/* Room for kernels that take more for an error message; the kernel doubles it, up to twice net.core.rmem_max. */
#define CHANGE_RECEIVE_BUFFER (256 * 1024)

/* Maximum number of attempts at a dump of which the kernel lost a part. */
#define DUMPS_MAX 5

/* The kernel answers while it is asked; an answer that is this late will not come. */
#define ANSWER_SECONDS 30

union buffer {
	struct nlmsghdr first;
	char bytes[RECEIVE_SIZE]; /* cppcheck-suppress unusedStructMember ; it is the size */
};

struct kernel {
	struct nl_sock *dump, *change;
	uint32_t seq;
	bool refused; /* the kernel itself answered the last transaction with an error */
	bool sent;    /* the last batch went to the kernel */
	bool lost_refusals;
	struct batches batches;
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

		struct nlmsghdr *found;
		r = answer_find(&kernel->change_buffer.first, (int)n, kernel->seq, type, &found, &kernel->refused);
		if (r > 0 && answer)
			*answer = found;
		if (r)
			return r < 0 ? r : 0;
	}
}

/* XFRM_MSG_GETSADINFO and _GETSPDINFO: a flags word that the kernel ignores (it answers everything), then attributes.
 */
static int query_info(struct kernel *kernel, uint16_t ask, uint16_t type, int attribute, void *ret, size_t size)
{
	union request request;
	struct nlmsghdr *answer;

	request_begin(&request.header, ask, 0, sizeof(uint32_t));
	int r = transact(kernel, &request.header, type, &answer);
	if (r < 0)
		return r;

	return answer_info(answer, attribute, ret, size);
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

	struct xfrm_usersa_flush *flush = request_begin(&request.header, XFRM_MSG_FLUSHSA, 0, sizeof(*flush));
	flush->proto = proto;
	return transact(kernel, &request.header, NLMSG_ERROR, NULL);
}

int kernel_flush_policies(struct kernel *kernel, uint8_t ptype)
{
	union request request;

	request_begin(&request.header, XFRM_MSG_FLUSHPOLICY, 0, 0);
	request_put_ptype(&request.header, ptype);
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
	for (;;) {
		ssize_t n = receive(kernel->dump, &kernel->dump_buffer, 0);
		if (n == -ENOBUFS) {
			/* Without memory the kernel ends a dump without a word (netlink_dump()). */
			close_dump(kernel);
			return -EAGAIN;
		}
		if (n < 0)
			return (int)n;

		int r = answer_dump(&kernel->dump_buffer.first, (int)n, seq, fn, userdata);
		if (r)
			return r < 0 ? r : 0;
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
		request_begin(&request.header, XFRM_MSG_GETSA, NLM_F_DUMP, 0);
	else
		request_begin(&request.header, XFRM_MSG_GETPOLICY, NLM_F_DUMP, sizeof(struct xfrm_userpolicy_id));
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

int blocked_read(struct shadow_blocked *ret)
{
	char text[8192];

	int r = read_text("/proc/net/xfrm_stat", text, sizeof(text));
	return r < 0 ? r : blocked_parse(text, ret);
}

int kernel_count_sas(struct kernel *kernel, uint8_t proto, uint32_t *ret)
{
	union request request;
	uint32_t n = 0;

	/* Unlike everywhere else, the attributes of this request follow its header at once (xfrm_dump_sa()). */
	request_begin(&request.header, XFRM_MSG_GETSA, NLM_F_DUMP, 0);
	request_put(&request.header, XFRMA_PROTO, &proto, sizeof(proto));
	int r = dump(kernel, &request, count_entry, &n);
	if (r == 0)
		*ret = n;
	return r;
}

/* Sends a batch and reads the answers. Sets `lost` when some did not arrive. */
static int send_batch(struct kernel *kernel, struct batch *batch, bool *lost, kernel_refused_fn fn, void *userdata)
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
		struct nlmsghdr *first = &kernel->change_buffer.first;
		r = batch == &kernel->batches.additions
			    ? batches_read_additions(&kernel->batches, first, (int)n, fn, userdata)
			    : batches_read_deletions(first, (int)n, fn, userdata);
		if (r < 0)
			return r;
	}
}

static int commit_additions(struct kernel *kernel, kernel_refused_fn fn, void *userdata)
{
	struct batch *batch = &kernel->batches.additions;
	bool lost = false;

	int r = send_batch(kernel, batch, &lost, fn, userdata);
	if (r < 0 || lost)
		batches_retract_additions(&kernel->batches, r < 0 ? r : -EAGAIN, fn, userdata);
	batch_empty(batch);
	return r;
}

static int commit_deletions(struct kernel *kernel, kernel_refused_fn fn, void *userdata)
{
	struct batch *batch = &kernel->batches.deletions;

	int r = send_batch(kernel, batch, &kernel->lost_refusals, fn, userdata);
	if (r < 0 && !kernel->sent)
		batches_report_deletions(&kernel->batches, r, fn, userdata);
	batch_empty(batch);
	return r;
}

int kernel_commit(struct kernel *kernel, kernel_refused_fn fn, void *userdata)
{
	int added = kernel->batches.additions.n ? commit_additions(kernel, fn, userdata) : 0;
	int deleted = kernel->batches.deletions.n ? commit_deletions(kernel, fn, userdata) : 0;

	return added < 0 ? added : deleted;
}

int kernel_find_sa(struct kernel *kernel, const struct entry *sa, struct entry *ret)
{
	union request request;
	struct nlmsghdr *answer;

	request_find_sa(&request.header, sa);
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

_Static_assert(BATCH_MESSAGES *REQUEST_SPIS_EACH <= REQUEST_SPI_RESERVED_MAX,
	       "each message of a batch has SPIs of its own");

/* Gives a larval SA without SPI one, so that it can be named: no other one of the batch, since of two SAs with the same
 * SPI but different marks the kernel might delete the wrong one. */
static int allocate_spi(struct kernel *kernel, struct entry *entry)
{
	union request request;
	struct nlmsghdr *answer;
	struct entry found = {0};

	request_spi(&request.header, entry, kernel->batches.deletions.n);
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

int kernel_delete(struct kernel *kernel, const struct entry *entry, kernel_refused_fn fn, void *userdata)
{
	struct entry named = *entry;
	bool refused = false;
	int r = 0;

	if (kernel->batches.deletions.n == BATCH_MESSAGES)
		r = kernel_commit(kernel, fn, userdata);
	if (r == 0 && entry->kind == ENTRY_SA) {
		r = name_sa(kernel, &named);
		refused = r < 0 && kernel->refused;
	}
	if (r == 0) {
		batches_delete(&kernel->batches, &named, &kernel->seq);
		return 0;
	}
	fn(&(struct kernel_refusal){.entry = *entry, .error = r}, userdata);
	return refused ? 0 : r;
}

int kernel_exchange(struct kernel *kernel, const struct entry *policy, const struct entry *old, kernel_refused_fn fn,
		    void *userdata)
{
	int r = batches_have_room(&kernel->batches) ? 0 : kernel_commit(kernel, fn, userdata);
	if (r == 0)
		r = batches_exchange(&kernel->batches, policy, old, &kernel->seq);
	if (r == 0)
		return 0;
	fn(&(struct kernel_refusal){.entry = old ? *old : *policy, .error = r, .addition = true}, userdata);
	return r == -EMSGSIZE ? 0 : r;
}

int kernel_find_policy(struct kernel *kernel, const struct entry *policy, struct entry *ret)
{
	union request request;
	struct nlmsghdr *answer;

	int r = request_find_policy(&request.header, policy);
	kernel->refused = r < 0;
	if (r == 0)
		r = transact(kernel, &request.header, XFRM_MSG_NEWPOLICY, &answer);
	return r == 0 ? entry_decode(answer, ret) : r;
}

int kernel_has_policy(struct kernel *kernel, const struct entry *policy)
{
	struct entry found = {0};

	int r = kernel_find_policy(kernel, policy, &found);
	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

int kernel_update_policy(struct kernel *kernel, const struct entry *policy)
{
	union request request;

	int r = request_policy(&request.header, XFRM_MSG_UPDPOLICY, policy);
	kernel->refused = r < 0;
	return r == 0 ? transact(kernel, &request.header, NLMSG_ERROR, NULL) : r;
}

int kernel_set_sa_lifetime(struct kernel *kernel, const struct nlmsghdr *message, uint64_t seconds)
{
	union request request;

	int r = request_sa_lifetime(message, seconds, &request.header, sizeof(request));
	if (r == 0)
		r = transact(kernel, &request.header, NLMSG_ERROR, NULL);
	/* It has the keys of the SA. */
	explicit_bzero(&request, sizeof(request));
	return r;
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
