/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Creates policies or larval SAs in bulk, in the current network namespace:
 *
 *     fill networks|spread|graded|hosts|sas COUNT
 *
 *     networks     policies between networks, like most real ones. Kernels before 6.13 walk a list of all of them to
 *                  add one (xfrm_policy_insert_inexact_list() in net/xfrm/xfrm_policy.c)
 *     spread       policies to networks of every length from /16 to /24, none of which contains another
 *     graded       as `spread`, but with a priority for each length, as IKE daemons choose priorities
 *     hosts        policies between hosts, for which every kernel takes little time
 *     sas          larval SAs
 *
 * Every other entry has reqid 1 and priority 1, the others have reqid 2 and priority 2. With `graded`, the priority
 * depends on the length instead. SAs have no priority. */

#include <errno.h>
#include <inttypes.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <netlink/addr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <netlink/xfrm/selector.h>
#include <netlink/xfrm/sp.h>
#include <netlink/xfrm/template.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Maximum number of messages in a batch, and of bytes in a message. The kernel answers each request for an SA, and the
 * answers to a batch have to fit into the receive buffer. */
#define BATCH_MESSAGES 100
#define MESSAGE_MAX 512

/* Number of different values of reqid and priority. Entry `i` belongs to half `i % HALVES`. */
#define HALVES 2

#define FIRST_SOURCE 0xac100000U      /* 172.16.0.0 */
#define FIRST_DESTINATION 0x0a000000U /* 10.0.0.0 */

/* The networks of `spread`. A block has one network of each length. It has twice the size of the largest network, and a
 * gap at its end. */
#define SPREAD_SHORTEST 16
#define SPREAD_LONGEST 24
#define SPREAD_LENGTHS (SPREAD_LONGEST - SPREAD_SHORTEST + 1)
#define SPREAD_BLOCKS (1U << (SPREAD_SHORTEST - 1))

static _Noreturn void give_up(const char *what, int error)
{
	fprintf(stderr, "fill: %s: %s\n", what, error < 0 ? nl_geterror(error) : strerror(error));
	exit(EXIT_FAILURE);
}

static struct nl_addr *address(const char *text)
{
	struct nl_addr *addr;

	int r = nl_addr_parse(text, AF_INET, &addr);
	if (r < 0)
		give_up(text, r);
	return addr;
}

static struct nl_msg *policy_message(const char *from, const char *to, unsigned int half)
{
	struct xfrmnl_sp *sp = xfrmnl_sp_alloc();
	struct xfrmnl_sel *sel = xfrmnl_sel_alloc();
	struct xfrmnl_user_tmpl *tmpl = xfrmnl_user_tmpl_alloc();
	struct nl_addr *src = address(from), *dst = address(to);
	struct nl_addr *here = address("192.0.2.1"), *there = address("198.51.100.1");
	struct nl_msg *msg;

	if (!sp || !sel || !tmpl)
		give_up("making a policy", ENOMEM);
	xfrmnl_sel_set_family(sel, AF_INET);
	xfrmnl_sel_set_saddr(sel, src);
	xfrmnl_sel_set_prefixlen_s(sel, nl_addr_get_prefixlen(src));
	xfrmnl_sel_set_daddr(sel, dst);
	xfrmnl_sel_set_prefixlen_d(sel, nl_addr_get_prefixlen(dst));

	xfrmnl_user_tmpl_set_family(tmpl, AF_INET);
	xfrmnl_user_tmpl_set_saddr(tmpl, here);
	xfrmnl_user_tmpl_set_daddr(tmpl, there);
	xfrmnl_user_tmpl_set_proto(tmpl, IPPROTO_ESP);
	xfrmnl_user_tmpl_set_mode(tmpl, XFRM_MODE_TUNNEL);
	xfrmnl_user_tmpl_set_reqid(tmpl, (int)half + 1);

	xfrmnl_sp_set_sel(sp, sel);
	xfrmnl_sp_set_dir(sp, XFRM_POLICY_OUT);
	xfrmnl_sp_set_action(sp, XFRM_POLICY_ALLOW);
	xfrmnl_sp_set_priority(sp, half + 1);
	xfrmnl_sp_add_usertemplate(sp, tmpl);
	int r = xfrmnl_sp_build_add_request(sp, 0, &msg);
	if (r < 0)
		give_up("making a policy", r);

	nl_addr_put(src);
	nl_addr_put(dst);
	nl_addr_put(here);
	nl_addr_put(there);
	xfrmnl_sel_put(sel);
	xfrmnl_sp_put(sp);
	return msg;
}

static struct nl_msg *network_message(unsigned int half)
{
	return policy_message("172.16.0.0/16", "10.0.0.0/24", half);
}

static struct nl_msg *host_message(unsigned int half)
{
	return policy_message("172.16.0.1/32", "10.0.0.0/32", half);
}

/* Largest SPI. fault.c uses the three bits above it to recognize kinds of SAs. */
#define SPI_MAX 0x1fffffff

/* Returns a request for an SA whose SPI the kernel chooses. libnl-xfrm cannot compose such an XFRM_MSG_ALLOCSPI. */
static struct nl_msg *sa_message(unsigned int half)
{
	const struct xfrm_userspi_info request = {
		.info = {.id = {.proto = IPPROTO_ESP},
			 .saddr = {.a4 = htonl(0xc0000201)}, /* 192.0.2.1 */
			 .family = AF_INET,
			 .mode = XFRM_MODE_TUNNEL,
			 .reqid = half + 1},
		.min = 0x100,
		.max = SPI_MAX,
	};

	struct nl_msg *msg = nlmsg_alloc_simple(XFRM_MSG_ALLOCSPI, 0);
	if (!msg)
		give_up("making an SA", ENOMEM);
	int r = nlmsg_append(msg, (void *)&request, sizeof(request), NLMSG_ALIGNTO);
	if (r < 0)
		give_up("making an SA", r);
	return msg;
}

/* Each of the following functions turns the message for a half into the message for entry `i`. No two policies have the
 * same selector, and no two SAs have the same destination. */

static void vary_sa(struct nlmsghdr *nlh, uint32_t i)
{
	struct xfrm_userspi_info request;

	memcpy(&request, nlmsg_data(nlh), sizeof(request));
	request.info.id.daddr.a4 = htonl(FIRST_DESTINATION + i);
	memcpy(nlmsg_data(nlh), &request, sizeof(request));
}

static void vary_policy(struct nlmsghdr *nlh, uint32_t i, uint32_t source, uint32_t destination, unsigned int length)
{
	static const uint8_t dirs[] = {XFRM_POLICY_IN, XFRM_POLICY_OUT, XFRM_POLICY_FWD};
	struct xfrm_userpolicy_info policy;

	memcpy(&policy, nlmsg_data(nlh), sizeof(policy));
	policy.sel.saddr.a4 = htonl(source);
	policy.sel.daddr.a4 = htonl(destination);
	policy.sel.prefixlen_d = (uint8_t)length;
	policy.dir = dirs[i / HALVES % 3];
	memcpy(nlmsg_data(nlh), &policy, sizeof(policy));
}

static void vary_network(struct nlmsghdr *nlh, uint32_t i)
{
	vary_policy(nlh, i, FIRST_SOURCE + (i >> 16 << 16), FIRST_DESTINATION + ((i & 0xffff) << 8), 24);
}

static void vary_spread(struct nlmsghdr *nlh, uint32_t i)
{
	const uint32_t block = i / SPREAD_LENGTHS, length = SPREAD_SHORTEST + i % SPREAD_LENGTHS;
	const uint32_t block_size = 1U << (32 - SPREAD_SHORTEST + 1);

	if (block >= SPREAD_BLOCKS)
		give_up("there are no more networks", ERANGE);
	vary_policy(nlh, i, FIRST_SOURCE, (block + 1) * block_size - (2U << (32 - length)), length);
}

static void vary_graded(struct nlmsghdr *nlh, uint32_t i)
{
	struct xfrm_userpolicy_info policy;

	vary_spread(nlh, i);
	memcpy(&policy, nlmsg_data(nlh), sizeof(policy));
	policy.priority = 1U + SPREAD_LONGEST - policy.sel.prefixlen_d;
	memcpy(nlmsg_data(nlh), &policy, sizeof(policy));
}

static void vary_host(struct nlmsghdr *nlh, uint32_t i)
{
	vary_policy(nlh, i, FIRST_SOURCE + 1, FIRST_DESTINATION + i, 32);
}

static int stop_on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	(void)from;
	(void)arg;
	give_up("the kernel refuses an entry", -error->error);
}

static int take_note(struct nl_msg *msg, void *acknowledged)
{
	(void)msg;
	*(bool *)acknowledged = true;
	return NL_STOP;
}

/* Sends a batch, and reads all answers. Its last message requests an acknowledgement. */
static void send_batch(struct nl_sock *sock, char *batch, size_t length, struct nlmsghdr *last)
{
	bool acknowledged = false;

	last->nlmsg_flags |= NLM_F_ACK;
	nl_socket_modify_cb(sock, NL_CB_ACK, NL_CB_CUSTOM, take_note, &acknowledged);
	int r = nl_sendto(sock, batch, length);
	if (r < 0)
		give_up("sending", r);
	while (!acknowledged) {
		r = nl_recvmsgs_default(sock);
		if (r < 0)
			give_up("receiving", r);
	}
}

struct kind {
	const char *name;
	struct nl_msg *(*make)(unsigned int half);
	void (*vary)(struct nlmsghdr *nlh, uint32_t i);
};

static void fill(struct nl_sock *sock, const struct kind *kind, uint32_t count)
{
	static char batch[BATCH_MESSAGES * MESSAGE_MAX];
	struct nl_msg *halves[HALVES];
	struct nlmsghdr *nlh = NULL;
	size_t length = 0;

	for (unsigned int half = 0; half < HALVES; half++)
		halves[half] = kind->make(half);
	for (uint32_t i = 0; i < count; i++) {
		const struct nlmsghdr *model = nlmsg_hdr(halves[i % HALVES]);
		nlh = (void *)(batch + length);
		memcpy(nlh, model, model->nlmsg_len);
		nlh->nlmsg_flags = NLM_F_REQUEST;
		kind->vary(nlh, i);
		length += NLMSG_ALIGN(nlh->nlmsg_len);
		if (i % BATCH_MESSAGES == BATCH_MESSAGES - 1 || i == count - 1) {
			send_batch(sock, batch, length, nlh);
			length = 0;
		}
	}
	for (unsigned int half = 0; half < HALVES; half++)
		nlmsg_free(halves[half]);
}

int main(int argc, char **argv)
{
	static const struct kind kinds[] = {
		{"networks", network_message, vary_network},
		{"spread", network_message, vary_spread},
		{"graded", network_message, vary_graded},
		{"hosts", host_message, vary_host},
		{"sas", sa_message, vary_sa},
	};
	const struct kind *kind = NULL;

	for (size_t i = 0; argc == 3 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(argv[1], kinds[i].name) == 0)
			kind = &kinds[i];
	if (!kind) {
		fprintf(stderr, "Usage: fill networks|spread|graded|hosts|sas COUNT\n");
		return EXIT_FAILURE;
	}

	struct nl_sock *sock = nl_socket_alloc();
	if (!sock)
		give_up("opening a socket", ENOMEM);
	nl_socket_disable_seq_check(sock);
	nl_socket_modify_err_cb(sock, NL_CB_CUSTOM, stop_on_error, NULL);
	int r = nl_connect(sock, NETLINK_XFRM);
	if (r < 0)
		give_up("opening a socket", r);
	/* libnl's default is 32 KiB. */
	r = nl_socket_set_buffer_size(sock, BATCH_MESSAGES * 2048, 0);
	if (r < 0)
		give_up("setting the receive buffer", r);
	fill(sock, kind, (uint32_t)strtoul(argv[2], NULL, 10));
	nl_socket_free(sock);
	return EXIT_SUCCESS;
}
