/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The tests preload this library into xfrmctl (ld.so(8), LD_PRELOAD), to cause faults that do not happen on demand. It
 * replaces the C library's functions for sockets of NETLINK_XFRM and NETLINK_ROUTE, and for stream sockets of AF_UNIX.
 * The types of NETLINK_ROUTE messages begin at ROUTE here. $FAULTS has rules, separated by semicolons:
 *
 *     CALL:TYPE:FIRST:LAST:EFFECT:VALUE
 *
 * CALL and TYPE (0: any) select the calls that are counted, from 1 on. The effect takes place from the count FIRST to
 * the count LAST:
 *     socket       sockets opened; TYPE is ignored
 *     bind         sockets bound; TYPE is ignored
 *     send         messages of this type sent; each message of a batch counts
 *     change       messages of this type that change SAs, policies, routes or nexthop objects. With such a rule, each
 *                  message is sent by itself, and the effect takes place when the kernel has carried it out.
 *     datagram     datagrams with such messages, which are sent whole: the kernel carries out all of a datagram, even
 *                  if the program is killed meanwhile. TYPE is that of the first such message.
 *     receive      calls on a socket on which a message of this type was the last one sent
 *     event        events of the kernel, which the program reads by recvfrom(); TYPE is ignored
 *     poll         calls that wait for a netlink socket, such as each turn of a loop; TYPE is ignored
 *     vici         calls on stream sockets of AF_UNIX; TYPE is 1 for socket(), 2 connect(), 3 send(), 4 recv()
 * EFFECT and VALUE:
 *     fail         the call fails with errno VALUE; with ENOBUFS, a received message is lost too, as in the kernel
 *     refuse       (send) the kernel does not receive the message; the program receives errno VALUE as its answer
 *     late         (receive) the answer is lost, and the clock advances by the socket's timeout, which must be
 *                  finite. A call that does not wait is not changed.
 *     short        (receive, event) the datagram lacks its last VALUE bytes. With VALUE 0 it lacks half, and is
 *                  marked as truncated (MSG_TRUNC). (vici) One byte is transferred.
 *     interrupt    (receive) received messages of a dump are marked NLM_F_DUMP_INTR
 *     offload      (receive) in received policies, marks become devices to which the policies are offloaded
 *     mature       (receive) received larval SAs look negotiated, because this machine's kernel may have no ciphers
 *                  for real ones. They have carried VALUE packets for each call that the rule has counted, and are ten
 *                  seconds older. Three bits of the SPI change this. GUARD_SA_BIT: the SA looks like a guard SA
 *                  (src/handover/guard_sa.h), and is not older. LARVAL_BIT alone: the SA stays larval. NEW_BIT: the
 *                  SA is not older. With such a rule, the program never sleeps: the clock advances instead. Another
 *                  rule may take effect on the same call.
 *     later        the clock advances by VALUE milliseconds
 *     run          a separate process runs $FAULT_COMMAND before the call, or after a change. That process keeps the
 *                  privileges that the program gives up.
 *     wait         the program writes the type of the message, or of the first change in a datagram, to the socket
 *                  $FAULT_FD. It then waits until it can read a byte there.
 *     note         only the line in $FAULT_LOG. Another rule may take effect on the same call.
 *
 * $FAULT_LOG gets a line for each effect that took place: the number of its rule, from 0. */

/* With _GNU_SOURCE the C library declares sendto() with a union for the address, which a definition cannot repeat. */
#undef _GNU_SOURCE
#define _DEFAULT_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <netlink/msg.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Maximum numbers of rules, sockets, streams, and refused messages whose answers are not read yet. */
#define RULES_MAX 8
#define SOCKETS_MAX 8
#define STREAMS_MAX 8
#define ANSWERS_MAX 128

/* Maximum sizes of an answer and of a datagram that is sent, in bytes. */
#define ANSWER_SIZE 512
#define DATAGRAM_SIZE (64 * 1024)

/* Offset of the types of NETLINK_ROUTE messages. */
#define ROUTE 0x1000U

/* For the effect `mature`: bits of an SPI, the tag of guard SAs, and the number of seconds by which SAs look older. */
#define GUARD_SA_BIT 0x80000000U
#define LARVAL_BIT 0x40000000U
#define NEW_BIT 0x20000000U
#define GUARD_SA_TAG 0x58464d4bU
#define OLDER_SECONDS 10

/* Format of sscanf() for CALL and EFFECT. */
#define WORD "15[a-z]"

/* Types of calls on streams. */
enum { STREAM_SOCKET = 1, STREAM_CONNECT, STREAM_SEND, STREAM_RECV };

/* A rule of $FAULTS, and the number of calls that it has counted. */
struct rule {
	char call[16], effect[16];
	unsigned int type;
	unsigned long first, last, count;
	long value;
};

/* An answer to a message that the kernel never received. */
union answer {
	struct nlmsghdr header;
	char bytes[ANSWER_SIZE];
};

/* A netlink socket, with the answers that it gives before those of the kernel. */
struct netlink {
	int fd;
	unsigned int base;	/* offset of the types of its messages: 0 or ROUTE */
	unsigned int last_type; /* type of the message sent last */
	size_t n_answers;
	union answer answers[ANSWERS_MAX];
};

static struct rule rules[RULES_MAX];
static size_t n_rules;
static struct netlink sockets[SOCKETS_MAX];
static size_t n_sockets;
static int streams[STREAMS_MAX];
static size_t n_streams;
/* By how much the clock is ahead, in milliseconds. */
static long later_ms;
static const struct rule *maturing; /* rule `mature` that takes effect on this call, or NULL */
static int runner = -1;		    /* socket of the process that runs $FAULT_COMMAND, or -1 */

static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "fault: %s\n", what);
	_exit(99);
}

static bool is(const struct rule *rule, const char *effect)
{
	return strcmp(rule->effect, effect) == 0;
}

/* Runs $FAULT_COMMAND for each byte that it reads, and writes the command's status. Ends when the program has ended. */
static _Noreturn void run_commands(int fd)
{
	const char *command = getenv("FAULT_COMMAND");
	char go;

	while (read(fd, &go, 1) == 1) {
		int status = command ? system(command) : -1;
		if (write(fd, &status, sizeof(status)) != sizeof(status))
			break;
	}
	_exit(0);
}

/* Starts the process of run_commands(). It is a grandchild, because the program may wait for its children. */
static void start_runner(void)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		give_up("no socket pair");
	pid_t child = fork();
	if (child == 0) {
		close(fds[0]);
		if (fork() == 0)
			run_commands(fds[1]);
		_exit(0);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		give_up("cannot fork");
	close(fds[1]);
	runner = fds[0];
}

static void run_command(void)
{
	int status;

	if (write(runner, "", 1) != 1 || read(runner, &status, sizeof(status)) != sizeof(status) || status != 0)
		give_up("$FAULT_COMMAND failed");
}

/* Reads $FAULTS. The C library passes the arguments of main() to constructors. */
static void __attribute__((constructor)) read_rules(int argc, char **argv)
{
	const char *text = getenv("FAULTS");

	/* A program that runs xfrmctl (valgrind) is not changed: it passes the environment on to xfrmctl. */
	const char *name = argc ? strrchr(argv[0], '/') : NULL;
	if (!name || strcmp(name, "/xfrmctl") != 0)
		return;
	/* Commands that xfrmctl runs are not changed. */
	unsetenv("LD_PRELOAD");
	while (text && *text) {
		struct rule *rule = &rules[n_rules];
		int used = 0;

		if (n_rules == RULES_MAX ||
		    sscanf(text, "%" WORD ":%u:%lu:%lu:%" WORD ":%ld%n", rule->call, &rule->type, &rule->first,
			   &rule->last, rule->effect, &rule->value, &used) != 6)
			give_up("cannot read $FAULTS");
		n_rules++;
		if (is(rule, "run") && runner < 0)
			start_runner();
		text += used + (text[used] == ';');
	}
}

static void note(const struct rule *rule)
{
	const char *path = getenv("FAULT_LOG");
	char line[16];

	int length = snprintf(line, sizeof(line), "%zu\n", (size_t)(rule - rules));
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
	if (fd < 0 || write(fd, line, (size_t)length) != length)
		give_up("cannot write $FAULT_LOG");
	close(fd);
}

/* Writes the type of a change to the test, and waits for a byte from it. The test may have closed its end. */
static void wait_for_test(unsigned int type)
{
	const char *number = getenv("FAULT_FD");
	char line[16];

	if (!number)
		give_up("$FAULT_FD is not set");
	int fd = atoi(number);
	int length = snprintf(line, sizeof(line), "%u", type);
	if (write(fd, line, (size_t)length) != length || read(fd, line, 1) < 0)
		give_up("cannot talk to $FAULT_FD");
}

/* Counts a call for all rules. Carries out `later`, `run` and `wait`. Returns the rule that takes effect, or NULL. */
static const struct rule *count(const char *call, unsigned int type)
{
	const struct rule *found = NULL;

	maturing = NULL;
	for (struct rule *rule = rules; rule < rules + n_rules; rule++) {
		if (strcmp(rule->call, call) != 0 || (type && rule->type && rule->type != type))
			continue;
		rule->count++;
		if (rule->first > rule->count || rule->count > rule->last)
			continue;
		if (is(rule, "mature"))
			maturing = rule;
		if (is(rule, "mature") || is(rule, "note"))
			note(rule);
		else if (!found)
			found = rule;
	}
	if (!found)
		return NULL;
	note(found);
	if (is(found, "later"))
		later_ms += found->value;
	if (is(found, "run"))
		run_command();
	if (is(found, "wait"))
		wait_for_test(type);
	return found;
}

static struct netlink *find(int fd)
{
	for (size_t i = 0; i < n_sockets; i++)
		if (sockets[i].fd == fd)
			return &sockets[i];
	return NULL;
}

/* Returns whether the rule makes a call fail, and sets errno if it does. */
static bool fails(const struct rule *rule)
{
	if (!rule || !is(rule, "fail"))
		return false;
	errno = (int)rule->value;
	return true;
}

static bool is_stream(int fd)
{
	for (size_t i = 0; i < n_streams; i++)
		if (streams[i] == fd)
			return true;
	return false;
}

static int open_stream(int type, int protocol)
{
	if (fails(count("vici", STREAM_SOCKET)))
		return -1;
	int fd = (int)syscall(SYS_socket, AF_UNIX, type, protocol);
	if (fd < 0 || is_stream(fd))
		return fd;
	if (n_streams == STREAMS_MAX)
		give_up("too many streams");
	streams[n_streams++] = fd;
	return fd;
}

int socket(int domain, int type, int protocol)
{
	if (domain == AF_UNIX && (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_STREAM)
		return open_stream(type, protocol);
	if (domain != AF_NETLINK || (protocol != NETLINK_XFRM && protocol != NETLINK_ROUTE))
		return (int)syscall(SYS_socket, domain, type, protocol);

	if (fails(count("socket", 0)))
		return -1;
	int fd = (int)syscall(SYS_socket, domain, type, protocol);
	if (fd < 0)
		return fd;
	/* A closed socket may have had the same descriptor. */
	struct netlink *netlink = find(fd);
	if (!netlink) {
		if (n_sockets == SOCKETS_MAX)
			give_up("too many sockets");
		netlink = &sockets[n_sockets++];
	}
	netlink->fd = fd;
	netlink->base = protocol == NETLINK_ROUTE ? ROUTE : 0;
	netlink->last_type = 0;
	netlink->n_answers = 0;
	return fd;
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	if (find(fd) && fails(count("bind", 0)))
		return -1;
	return (int)syscall(SYS_bind, fd, address, length);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	if (is_stream(fd) && fails(count("vici", STREAM_CONNECT)))
		return -1;
	return (int)syscall(SYS_connect, fd, address, length);
}

/* Queues an answer to a message as the kernel composes it: the errno, and the whole message. */
static void answer(struct netlink *netlink, const struct nlmsghdr *request, int error)
{
	struct nlmsgerr body = {.error = -error};
	union answer *answer = &netlink->answers[netlink->n_answers];
	size_t length = NLMSG_LENGTH(sizeof(body.error)) + request->nlmsg_len;

	if (netlink->n_answers == ANSWERS_MAX || length > sizeof(*answer))
		give_up("too many or too long refused messages");
	answer->header = (struct nlmsghdr){
		.nlmsg_len = (uint32_t)length, .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = request->nlmsg_seq};
	memcpy(NLMSG_DATA(&answer->header), &body.error, sizeof(body.error));
	memcpy(answer->bytes + NLMSG_LENGTH(sizeof(body.error)), request, request->nlmsg_len);
	netlink->n_answers++;
}

static bool is_change(unsigned int type)
{
	switch (type) {
	case XFRM_MSG_NEWSA:
	case XFRM_MSG_UPDSA:
	case XFRM_MSG_DELSA:
	case XFRM_MSG_ALLOCSPI:
	case XFRM_MSG_FLUSHSA:
	case XFRM_MSG_NEWPOLICY:
	case XFRM_MSG_UPDPOLICY:
	case XFRM_MSG_DELPOLICY:
	case XFRM_MSG_FLUSHPOLICY:
	case ROUTE + RTM_NEWROUTE:
	case ROUTE + RTM_DELROUTE:
	case ROUTE + RTM_NEWNEXTHOP:
	case ROUTE + RTM_DELNEXTHOP:
		return true;
	default:
		return false;
	}
}

/* Returns the type of the first message that changes something, or 0 if no message does. */
static unsigned int first_change(const struct netlink *netlink, struct nlmsghdr *nlh, size_t length)
{
	for (int rest = (int)length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest))
		if (is_change(netlink->base + nlh->nlmsg_type))
			return netlink->base + nlh->nlmsg_type;
	return 0;
}

static bool watches_changes(void)
{
	for (size_t i = 0; i < n_rules; i++)
		if (strcmp(rules[i].call, "change") == 0)
			return true;
	return false;
}

static bool never_sleeps(void)
{
	for (size_t i = 0; i < n_rules; i++)
		if (is(&rules[i], "mature"))
			return true;
	return false;
}

/* Sends the messages of a batch one after the other. Returns the length of the batch. */
static ssize_t send_one_by_one(const struct netlink *netlink, struct nlmsghdr *nlh, size_t length, int flags,
			       const struct sockaddr *to, socklen_t to_length)
{
	for (int rest = (int)length; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest)) {
		if (syscall(SYS_sendto, netlink->fd, nlh, nlh->nlmsg_len, flags, to, to_length) < 0)
			give_up("cannot send a message of a batch");
		if (is_change(netlink->base + nlh->nlmsg_type))
			count("change", netlink->base + nlh->nlmsg_type);
	}
	return (ssize_t)length;
}

ssize_t sendto(int fd, const void *buffer, size_t length, int flags, const struct sockaddr *to, socklen_t to_length)
{
	static union {
		struct nlmsghdr first;
		char bytes[DATAGRAM_SIZE];
	} copy;
	struct netlink *netlink = find(fd);

	if (!netlink)
		return syscall(SYS_sendto, fd, buffer, length, flags, to, to_length);
	if (length > sizeof(copy))
		give_up("a datagram is too long");
	memcpy(&copy, buffer, length);

	int rest = (int)length;
	for (struct nlmsghdr *nlh = &copy.first; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest)) {
		netlink->last_type = netlink->base + nlh->nlmsg_type;
		const struct rule *rule = count("send", netlink->last_type);
		if (fails(rule))
			return -1;
		if (rule && is(rule, "refuse")) {
			answer(netlink, nlh, (int)rule->value);
			nlh->nlmsg_type = NLMSG_NOOP;
			nlh->nlmsg_flags = 0;
		}
	}
	if (watches_changes())
		return send_one_by_one(netlink, &copy.first, length, flags, to, to_length);
	const ssize_t n = syscall(SYS_sendto, fd, &copy, length, flags, to, to_length);
	const unsigned int type = first_change(netlink, &copy.first, length);
	if (n >= 0 && type)
		count("datagram", type);
	return n;
}

/* Returns how many bytes a call on a stream transfers, or -1 with errno set if it fails. */
static ssize_t size_of_call(unsigned int call, size_t size)
{
	const struct rule *rule = count("vici", call);

	if (fails(rule))
		return -1;
	return rule && size && is(rule, "short") ? 1 : (ssize_t)size;
}

ssize_t send(int fd, const void *buffer, size_t length, int flags)
{
	ssize_t size = is_stream(fd) ? size_of_call(STREAM_SEND, length) : (ssize_t)length;

	return size < 0 ? -1 : syscall(SYS_sendto, fd, buffer, size, flags, NULL, 0);
}

ssize_t recv(int fd, void *buffer, size_t length, int flags)
{
	ssize_t size = is_stream(fd) ? size_of_call(STREAM_RECV, length) : (ssize_t)length;

	return size < 0 ? -1 : syscall(SYS_recvfrom, fd, buffer, size, flags, NULL, NULL);
}

/* libnl sends by this function. */
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	if (!find(fd) || msg->msg_iovlen != 1)
		return syscall(SYS_sendmsg, fd, msg, flags);
	return sendto(fd, msg->msg_iov[0].iov_base, msg->msg_iov[0].iov_len, flags, msg->msg_name, msg->msg_namelen);
}

/* Takes the oldest answer from the queue. Returns its length. */
static ssize_t take_answer(struct netlink *netlink, struct msghdr *msg)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	size_t length = netlink->answers[0].header.nlmsg_len;

	memcpy(msg->msg_name, &kernel, sizeof(kernel));
	msg->msg_namelen = sizeof(kernel);
	msg->msg_flags = 0;
	memcpy(msg->msg_iov[0].iov_base, &netlink->answers[0], length);
	netlink->n_answers--;
	memmove(netlink->answers, netlink->answers + 1, netlink->n_answers * sizeof(netlink->answers[0]));
	return (ssize_t)length;
}

/* Discards the queued answers, or else the next datagram of the kernel. */
static void lose(struct netlink *netlink, struct msghdr *msg, int flags)
{
	if (netlink->n_answers)
		netlink->n_answers = 0;
	else
		syscall(SYS_recvmsg, netlink->fd, msg, flags | MSG_DONTWAIT);
}

/* Returns whether a call would wait. If so, advances the clock by the timeout of its socket. */
static bool waits_in_vain(int fd, int flags)
{
	struct timeval timeout;

	if (flags & MSG_DONTWAIT || fcntl(fd, F_GETFL) & O_NONBLOCK)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, &(socklen_t){sizeof(timeout)}) < 0 ||
	    (!timeout.tv_sec && !timeout.tv_usec))
		give_up("this would wait for ever");
	later_ms += timeout.tv_sec * 1000 + timeout.tv_usec / 1000;
	return true;
}

static ssize_t shorten(ssize_t n, const struct rule *rule, int *flags)
{
	if (n < 0 || !rule || !is(rule, "short"))
		return n;
	if (!rule->value)
		*flags |= MSG_TRUNC;
	return rule->value < n ? n - (rule->value ? rule->value : n / 2) : 0;
}

static void mark_interrupted(struct nlmsghdr *nlh)
{
	if (nlh->nlmsg_flags & NLM_F_MULTI)
		nlh->nlmsg_flags |= NLM_F_DUMP_INTR;
}

static void offload(struct nlmsghdr *nlh)
{
	if (nlh->nlmsg_type != XFRM_MSG_NEWPOLICY)
		return;
	struct nlattr *mark = nlmsg_find_attr(nlh, sizeof(struct xfrm_userpolicy_info), XFRMA_MARK);
	/* A struct xfrm_user_offload has the size of a mark. */
	if (mark)
		mark->nla_type = XFRMA_OFFLOAD_DEV;
}

static void make_mature(struct nlmsghdr *nlh, const struct rule *rule)
{
	struct xfrm_usersa_info sa;

	if (nlh->nlmsg_type != XFRM_MSG_NEWSA)
		return;
	memcpy(&sa, nlmsg_data(nlh), sizeof(sa));
	if ((ntohl(sa.id.spi) & (GUARD_SA_BIT | LARVAL_BIT)) == LARVAL_BIT)
		return;
	sa.curlft.packets = rule->count * (unsigned long)rule->value;
	sa.curlft.bytes = 84 * sa.curlft.packets;
	if (ntohl(sa.id.spi) & GUARD_SA_BIT)
		sa.sel.user = GUARD_SA_TAG;
	else if (!(ntohl(sa.id.spi) & NEW_BIT))
		sa.curlft.add_time -= OLDER_SECONDS;
	memcpy(nlmsg_data(nlh), &sa, sizeof(sa));
	struct nlattr *attr = nlmsg_find_attr(nlh, sizeof(sa), XFRMA_REPLAY_VAL);
	if (attr)
		attr->nla_type = XFRMA_ALG_AUTH;
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct netlink *netlink = find(fd);

	if (!netlink)
		return syscall(SYS_recvmsg, fd, msg, flags);

	const struct rule *rule = count("receive", netlink->last_type);
	if (fails(rule)) {
		if (rule->value == ENOBUFS)
			lose(netlink, msg, flags);
		errno = (int)rule->value;
		return -1;
	}
	if (rule && is(rule, "late") && waits_in_vain(fd, flags)) {
		lose(netlink, msg, flags);
		errno = EAGAIN;
		return -1;
	}
	ssize_t n = netlink->n_answers ? take_answer(netlink, msg) : syscall(SYS_recvmsg, fd, msg, flags);
	n = shorten(n, rule, &msg->msg_flags);
	int rest = (int)n;
	for (struct nlmsghdr *nlh = msg->msg_iov[0].iov_base; nlmsg_ok(nlh, rest); nlh = nlmsg_next(nlh, &rest)) {
		if (rule && is(rule, "interrupt"))
			mark_interrupted(nlh);
		if (rule && is(rule, "offload"))
			offload(nlh);
		if (maturing)
			make_mature(nlh, maturing);
	}
	return n;
}

ssize_t recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from, socklen_t *from_length)
{
	ssize_t n = syscall(SYS_recvfrom, fd, buffer, size, flags, from, from_length);
	const struct rule *rule = find(fd) && n >= 0 ? count("event", 0) : NULL;

	return fails(rule) ? -1 : shorten(n, rule, &flags);
}

int poll(struct pollfd *fds, nfds_t n, int msec)
{
	struct timespec timeout = {.tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000L};
	bool netlink = false;

	for (nfds_t i = 0; i < n; i++)
		netlink |= fds[i].fd >= 0 && find(fds[i].fd);
	if (netlink && fails(count("poll", 0)))
		return -1;
	return (int)syscall(SYS_ppoll, fds, n, msec < 0 ? NULL : &timeout, NULL, 0);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);

	if (r == 0 && later_ms) {
		long ns = ret->tv_nsec + later_ms % 1000 * 1000000;
		ret->tv_sec += later_ms / 1000 + ns / 1000000000;
		ret->tv_nsec = ns % 1000000000;
	}
	return r;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
	struct timespec now;

	if (flags != TIMER_ABSTIME || !never_sleeps())
		return syscall(SYS_clock_nanosleep, clock, flags, wanted, left) < 0 ? errno : 0;
	clock_gettime(clock, &now);
	long ms = (wanted->tv_sec - now.tv_sec) * 1000 + (wanted->tv_nsec - now.tv_nsec) / 1000000 + 1;
	later_ms += ms > 0 ? ms : 0;
	return 0;
}
