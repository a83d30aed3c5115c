/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "xfrm/netlink.h"

#include <errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>
#include <sys/socket.h>

#include "base/netlink.h"
#include "base/util.h"
#include "xfrm/batch.h"
#include "xfrm/build.h"
#include "xfrm/parse.h"

/* Size of a receive buffer, in bytes. netlink_dump() fills messages of a dump up to 32 KiB if the reader's buffer is as
 * large. */
#define RECEIVE_SIZE (32 * 1024)

/* Size to request for the receive buffer of the socket for changes, in bytes. The size leaves room for kernels that
 * need more for an error message than batch.h assumes. The kernel doubles the size, up to twice net.core.rmem_max. */
#define CHANGE_RECEIVE_BUFFER (256 * 1024)

/* Maximum number of attempts at a dump while the kernel loses parts of it. */
#define DUMPS_MAX 5

union buffer {
	struct nlmsghdr first;
	char bytes[RECEIVE_SIZE]; /* cppcheck-suppress unusedStructMember ; it sets the size */
};

struct xfrm {
	/* One socket for dumps, and one for all other requests. */
	struct nl_sock *dump, *change;
	uint32_t seq;	    /* sequence number of the last request */
	bool refused;	    /* the kernel answered the last transaction with an error */
	bool sent;	    /* the kernel accepted the last batch from sendto() */
	bool lost_refusals; /* refusals of deletions were lost since the last xfrm_lost_refusals() */
	struct batches batches;
	/* One buffer for each socket, because entries are changed while a message of a dump is being read. */
	union buffer dump_buffer, change_buffer;
};

int xfrm_open(struct xfrm **ret)
{
	CLEANUP(xfrm_close) struct xfrm *xfrm = calloc(1, sizeof(*xfrm));

	if (!xfrm)
		return -ENOMEM;
	int r = netlink_open(NETLINK_XFRM, &xfrm->dump);
	if (r == 0)
		r = netlink_open(NETLINK_XFRM, &xfrm->change);
	if (r < 0)
		return r;
	/* If this fails, the buffer keeps its size. */
	nl_socket_set_buffer_size(xfrm->change, CHANGE_RECEIVE_BUFFER, 0);
	*ret = xfrm;
	xfrm = NULL;
	return 0;
}

void xfrm_close(struct xfrm **xfrm)
{
	if (!*xfrm)
		return;
	nl_socket_free((*xfrm)->dump);
	nl_socket_free((*xfrm)->change);
	/* Dumps of SAs contain their keys. */
	explicit_bzero(&(*xfrm)->dump_buffer, sizeof((*xfrm)->dump_buffer));
	explicit_bzero(&(*xfrm)->change_buffer, sizeof((*xfrm)->change_buffer));
	free(*xfrm);
	*xfrm = NULL;
}

static int send_messages(struct nl_sock *sock, const void *buffer, size_t length)
{
	struct sockaddr_nl xfrm = {.nl_family = AF_NETLINK};
	ssize_t n;

	do
		n = sendto(nl_socket_get_fd(sock), buffer, length, 0, (struct sockaddr *)&xfrm, sizeof(xfrm));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* The kernel takes a datagram as a whole or not at all. */
	return (size_t)n == length ? 0 : -EIO;
}

/* Receives one datagram from the kernel. Returns its length in bytes, or a negative errno: -EAGAIN when there is none
 * (only with MSG_DONTWAIT), -ETIMEDOUT when none came in time, -EBADMSG when it is cut off. */
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
		/* Other processes can send to this socket too. */
		if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0)
			continue;
		const bool whole = !(msg.msg_flags & MSG_TRUNC) && netlink_is_whole(&buffer->first, (size_t)n);
		return whole ? n : -EBADMSG;
	}
}

/* Sends one request on the socket for changes and waits for its answer: a message of `type`, or an acknowledgement if
 * `type` is NLMSG_ERROR. `answer` may be NULL; it is valid until the next call. Returns 0 or a negative errno. After an
 * error, xfrm->refused is set if the kernel answered with it, and not set if communication failed. */
static int transact(struct xfrm *xfrm, struct nlmsghdr *request, uint16_t type, struct nlmsghdr **answer)
{
	if (type == NLMSG_ERROR)
		request->nlmsg_flags |= NLM_F_ACK;
	request->nlmsg_seq = ++xfrm->seq;
	xfrm->refused = false;

	int r = send_messages(xfrm->change, request, request->nlmsg_len);
	if (r < 0)
		return r;

	for (;;) {
		ssize_t n = receive(xfrm->change, &xfrm->change_buffer, 0);
		if (n < 0)
			return (int)n;

		struct nlmsghdr *found;
		r = parse_answer(&xfrm->change_buffer.first, (int)n, xfrm->seq, type, &found, &xfrm->refused);
		if (r > 0 && answer)
			*answer = found;
		if (r)
			return r < 0 ? r : 0;
	}
}

/* Sends XFRM_MSG_GETSADINFO or XFRM_MSG_GETSPDINFO, and copies one attribute of the answer. The request is a 32-bit
 * number of flags, which the kernel ignores: it always answers with all attributes. Returns 0 or a negative errno. */
static int query_info(struct xfrm *xfrm, uint16_t ask, uint16_t type, int attribute, void *ret, size_t size)
{
	union request request;
	struct nlmsghdr *answer;

	build_begin(&request.header, ask, 0, sizeof(uint32_t));
	int r = transact(xfrm, &request.header, type, &answer);
	if (r < 0)
		return r;

	return parse_info(answer, attribute, ret, size);
}

int xfrm_count(struct xfrm *xfrm, struct xfrm_counts *ret)
{
	struct xfrmu_spdinfo spd;
	uint32_t sas;

	int r = query_info(xfrm, XFRM_MSG_GETSADINFO, XFRM_MSG_NEWSADINFO, XFRMA_SAD_CNT, &sas, sizeof(sas));
	if (r < 0)
		return r;
	r = query_info(xfrm, XFRM_MSG_GETSPDINFO, XFRM_MSG_NEWSPDINFO, XFRMA_SPD_INFO, &spd, sizeof(spd));
	if (r < 0)
		return r;

	*ret = (struct xfrm_counts){
		.sas = sas,
		.policies =
			{[XFRM_POLICY_IN] = spd.incnt, [XFRM_POLICY_OUT] = spd.outcnt, [XFRM_POLICY_FWD] = spd.fwdcnt},
	};
	return 0;
}

int xfrm_default_blocks(struct xfrm *xfrm, uint8_t *ret)
{
	struct xfrm_userpolicy_default found;
	union request request;
	struct nlmsghdr *answer;

	build_begin(&request.header, XFRM_MSG_GETDEFAULT, 0, sizeof(found));
	int r = transact(xfrm, &request.header, XFRM_MSG_GETDEFAULT, &answer);
	if (r < 0)
		return r;
	if (!nlmsg_valid_hdr(answer, sizeof(found)))
		return -EBADMSG;
	memcpy(&found, nlmsg_data(answer), sizeof(found));
	*ret = (uint8_t)((found.in == XFRM_USERPOLICY_BLOCK) << XFRM_POLICY_IN |
			 (found.out == XFRM_USERPOLICY_BLOCK) << XFRM_POLICY_OUT |
			 (found.fwd == XFRM_USERPOLICY_BLOCK) << XFRM_POLICY_FWD);
	return 0;
}

uint64_t xfrm_sum_policies(const struct xfrm_counts *counts)
{
	uint64_t n = 0;

	for (size_t dir = 0; dir < XFRM_POLICY_MAX; dir++)
		n += counts->policies[dir];
	return n;
}

int xfrm_flush_sas(struct xfrm *xfrm, uint8_t proto)
{
	union request request;

	struct xfrm_usersa_flush *flush = build_begin(&request.header, XFRM_MSG_FLUSHSA, 0, sizeof(*flush));
	flush->proto = proto;
	return transact(xfrm, &request.header, NLMSG_ERROR, NULL);
}

int xfrm_flush_policies(struct xfrm *xfrm, uint8_t ptype)
{
	union request request;

	build_begin(&request.header, XFRM_MSG_FLUSHPOLICY, 0, 0);
	build_put_ptype(&request.header, ptype);
	return transact(xfrm, &request.header, NLMSG_ERROR, NULL);
}

/* Reads a dump to its end. Returns 0, -EAGAIN when a part was lost, or another negative errno. */
static int read_dump(struct xfrm *xfrm, uint32_t seq, xfrm_entry_fn fn, void *userdata)
{
	for (;;) {
		ssize_t n = receive(xfrm->dump, &xfrm->dump_buffer, 0);
		if (n == -ENOBUFS) {
			/* A kernel that runs out of memory ends a dump without a message (netlink_dump()). So the next
			 * dump gets a new socket. */
			netlink_close(&xfrm->dump);
			return -EAGAIN;
		}
		if (n < 0)
			return (int)n;

		int r = parse_dump(&xfrm->dump_buffer.first, (int)n, seq, fn, userdata);
		if (r)
			return r < 0 ? r : 0;
	}
}

/* Requests a dump and reads it to its end. Returns like read_dump(). */
static int dump(struct xfrm *xfrm, union request *request, xfrm_entry_fn fn, void *userdata)
{
	int r = 0;

	if (!xfrm->dump)
		r = netlink_open(NETLINK_XFRM, &xfrm->dump);
	if (r < 0)
		return r;

	request->header.nlmsg_seq = ++xfrm->seq;
	r = send_messages(xfrm->dump, &request->header, request->header.nlmsg_len);
	if (r == 0)
		r = read_dump(xfrm, request->header.nlmsg_seq, fn, userdata);
	/* The rest of a dump that was not read to its end would keep the socket busy. */
	if (r < 0 && r != -EAGAIN)
		netlink_close(&xfrm->dump);
	return r;
}

int xfrm_dump(struct xfrm *xfrm, enum entry_kind kind, xfrm_entry_fn fn, void *userdata)
{
	union request request;

	if (kind == ENTRY_SA)
		build_begin(&request.header, XFRM_MSG_GETSA, NLM_F_DUMP, 0);
	else
		build_begin(&request.header, XFRM_MSG_GETPOLICY, NLM_F_DUMP, sizeof(struct xfrm_userpolicy_id));
	return dump(xfrm, &request, fn, userdata);
}

int xfrm_dump_consistent(struct xfrm *xfrm, enum entry_kind kind, void (*begin)(void *userdata), xfrm_entry_fn fn,
			 void *userdata)
{
	int r = -EAGAIN;

	for (unsigned int i = 0; r == -EAGAIN && i < DUMPS_MAX; i++) {
		if (begin)
			begin(userdata);
		r = xfrm_dump(xfrm, kind, fn, userdata);
	}
	return r;
}

static int count_entry(const struct entry *entry, void *userdata)
{
	uint32_t *n = userdata;

	(void)entry;
	(*n)++;
	return 0;
}

int xfrm_read_counters(struct xfrm_counters *ret)
{
	char text[8192];

	int r = read_text("/proc/net/xfrm_stat", text, sizeof(text));
	if (r == 0)
		r = counters_parse(text, ret);
	if (r < 0)
		*ret = (struct xfrm_counters){0};
	return r;
}

int xfrm_count_sas(struct xfrm *xfrm, uint8_t proto, uint32_t *ret)
{
	union request request;
	uint32_t n = 0;

	/* The attributes of this request follow the netlink header directly, unlike in other requests
	 * (xfrm_dump_sa()). */
	build_begin(&request.header, XFRM_MSG_GETSA, NLM_F_DUMP, 0);
	build_put(&request.header, XFRMA_PROTO, &proto, sizeof(proto));
	int r = dump(xfrm, &request, count_entry, &n);
	if (r == 0)
		*ret = n;
	return r;
}

/* Sends a batch and reads the answers. Sets `lost` when some of them did not arrive. Returns 0 or a negative errno. */
static int send_batch(struct xfrm *xfrm, struct batch *batch, bool *lost, xfrm_refused_fn fn, void *userdata)
{
	int r = send_messages(xfrm->change, &batch->first, batch->length);
	xfrm->sent = r == 0;
	if (r < 0)
		return r;

	/* The kernel processes the batch before sendto() returns (netlink_unicast_kernel()), and answers only requests
	 * that it refuses. So all answers have arrived by now. */
	for (;;) {
		ssize_t n = receive(xfrm->change, &xfrm->change_buffer, MSG_DONTWAIT);
		if (n == -EAGAIN)
			return 0;
		if (n == -ENOBUFS) {
			*lost = true;
			continue;
		}
		if (n < 0)
			return (int)n;
		struct nlmsghdr *first = &xfrm->change_buffer.first;
		r = batch == &xfrm->batches.additions
			    ? batches_read_additions(&xfrm->batches, first, (int)n, fn, userdata)
			    : batches_read_deletions(first, (int)n, fn, userdata);
		if (r < 0)
			return r;
	}
}

static int commit_additions(struct xfrm *xfrm, xfrm_refused_fn fn, void *userdata)
{
	struct batch *batch = &xfrm->batches.additions;
	bool lost = false;

	int r = send_batch(xfrm, batch, &lost, fn, userdata);
	if (r < 0 || lost)
		batches_retract_additions(&xfrm->batches, r < 0 ? r : -EAGAIN, fn, userdata);
	batch_empty(batch);
	return r;
}

static int commit_deletions(struct xfrm *xfrm, xfrm_refused_fn fn, void *userdata)
{
	struct batch *batch = &xfrm->batches.deletions;

	int r = send_batch(xfrm, batch, &xfrm->lost_refusals, fn, userdata);
	if (r < 0 && !xfrm->sent)
		batches_report_deletions(&xfrm->batches, r, fn, userdata);
	batch_empty(batch);
	return r;
}

int xfrm_commit(struct xfrm *xfrm, xfrm_refused_fn fn, void *userdata)
{
	int added = xfrm->batches.additions.n ? commit_additions(xfrm, fn, userdata) : 0;
	int deleted = xfrm->batches.deletions.n ? commit_deletions(xfrm, fn, userdata) : 0;

	return added < 0 ? added : deleted;
}

int xfrm_find_sa(struct xfrm *xfrm, const struct entry *sa, struct entry *ret)
{
	union request request;
	struct nlmsghdr *answer;

	build_find_sa(&request.header, sa);
	int r = transact(xfrm, &request.header, XFRM_MSG_NEWSA, &answer);
	return r == 0 ? entry_decode(answer, ret) : r;
}

/* Checks that the kernel finds this SA by its destination, SPI, protocol and mark, and not another one. Returns 0,
 * -EEXIST when it finds another one, or an error of xfrm_find_sa(). */
static int check_not_hidden(struct xfrm *xfrm, const struct entry *entry)
{
	struct entry found = {0};

	int r = xfrm_find_sa(xfrm, entry, &found);
	if (r < 0)
		return r;
	xfrm->refused = found.mark.v != entry->mark.v || found.mark.m != entry->mark.m;
	return xfrm->refused ? -EEXIST : 0;
}

/* Number of SPIs to try for one SA. An SA that an interrupted run has left may have one of these SPIs. */
#define SPIS_EACH 3

_Static_assert(BATCH_MESSAGES *SPIS_EACH <= REQUEST_SPI_RESERVED_MAX, "each message of a batch has SPIs of its own");

/* Gives an SPI to a larval SA that has none, so that a request can name the SA. Each SA of a batch gets an SPI of its
 * own: of two SAs with the same SPI but different marks the kernel might delete the wrong one. Requests one SPI at a
 * time: for a range, xfrm_alloc_spi() makes as many random attempts as the range has SPIs, and can miss the free one.
 * Returns 0, -ENOSPC when no SPI is free, or another negative errno. */
static int allocate_spi(struct xfrm *xfrm, struct entry *entry)
{
	const uint32_t first = 1 + xfrm->batches.deletions.n * SPIS_EACH;
	union request request;
	struct nlmsghdr *answer;
	struct entry found = {0};
	int r = -ENOENT;

	for (uint32_t i = 0; r == -ENOENT && i < SPIS_EACH; i++) {
		build_spi(&request.header, entry, first + i);
		r = transact(xfrm, &request.header, XFRM_MSG_NEWSA, &answer);
	}
	/* Here -ENOENT means that no SPI is free. The caller would take it for an entry that is already absent. */
	if (r == -ENOENT)
		return -ENOSPC;
	if (r == 0)
		r = entry_decode(answer, &found);
	if (r == 0)
		entry->sa = found.sa;
	return r;
}

/* Ensures that a deletion of this SA names this SA and no other. Returns 0 or a negative errno, and sets xfrm->refused,
 * like transact(). */
static int name_sa(struct xfrm *xfrm, struct entry *entry)
{
	if (!entry->sa.id.spi)
		return allocate_spi(xfrm, entry);
	if (entry->mark.v || entry->mark.m)
		return check_not_hidden(xfrm, entry);
	return 0;
}

int xfrm_delete(struct xfrm *xfrm, const struct entry *entry, xfrm_refused_fn fn, void *userdata)
{
	struct entry named = *entry;
	bool refused = false;
	int r = 0;

	if (xfrm->batches.deletions.n == BATCH_MESSAGES)
		r = xfrm_commit(xfrm, fn, userdata);
	if (r == 0 && entry->kind == ENTRY_SA) {
		r = name_sa(xfrm, &named);
		refused = r < 0 && xfrm->refused;
	}
	if (r == 0) {
		batches_delete(&xfrm->batches, &named, &xfrm->seq);
		return 0;
	}
	fn(&(struct xfrm_refusal){.entry = *entry, .error = r}, userdata);
	return refused ? 0 : r;
}

int xfrm_exchange(struct xfrm *xfrm, const struct entry *policy, const struct entry *old, xfrm_refused_fn fn,
		  void *userdata)
{
	int r = batches_have_room(&xfrm->batches) ? 0 : xfrm_commit(xfrm, fn, userdata);
	if (r == 0)
		r = batches_exchange(&xfrm->batches, policy, old, &xfrm->seq);
	if (r == 0)
		return 0;
	fn(&(struct xfrm_refusal){.entry = old ? *old : *policy, .error = r, .addition = true}, userdata);
	return r == -EMSGSIZE ? 0 : r;
}

int xfrm_find_policy(struct xfrm *xfrm, const struct entry *policy, struct entry *ret)
{
	union request request;
	struct nlmsghdr *answer;

	int r = build_find_policy(&request.header, policy);
	xfrm->refused = r < 0;
	if (r == 0)
		r = transact(xfrm, &request.header, XFRM_MSG_NEWPOLICY, &answer);
	return r == 0 ? entry_decode(answer, ret) : r;
}

int xfrm_has_policy(struct xfrm *xfrm, const struct entry *policy)
{
	struct entry found = {0};

	int r = xfrm_find_policy(xfrm, policy, &found);
	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

int xfrm_update_policy(struct xfrm *xfrm, const struct entry *policy)
{
	union request request;

	int r = build_policy(&request.header, XFRM_MSG_UPDPOLICY, policy);
	xfrm->refused = r < 0;
	return r == 0 ? transact(xfrm, &request.header, NLMSG_ERROR, NULL) : r;
}

int xfrm_set_sa_lifetime(struct xfrm *xfrm, const struct entry *sa, uint64_t seconds)
{
	union request request;

	int r = build_sa_lifetime(sa->message, seconds, &request.header, sizeof(request));
	if (r == 0)
		r = transact(xfrm, &request.header, NLMSG_ERROR, NULL);
	/* The request contains the keys of the SA. */
	explicit_bzero(&request, sizeof(request));
	return r;
}

int xfrm_request(struct xfrm *xfrm, struct nlmsghdr *request)
{
	return transact(xfrm, request, NLMSG_ERROR, NULL);
}

bool xfrm_refused(const struct xfrm *xfrm)
{
	return xfrm->refused;
}

bool xfrm_lost_refusals(struct xfrm *xfrm)
{
	bool lost = xfrm->lost_refusals;

	xfrm->lost_refusals = false;
	return lost;
}
