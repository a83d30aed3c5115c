/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover/initiator.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

/* charon answers within this time, or is of no use. */
#define ANSWER_USEC (30 * USEC_PER_SEC)

/* Whether charon is at it already, or has it. To list one connection's SAs takes as long as charon works on those of
 * all others (create_enumerator() of its IKE_SA manager waits for each), so that is not done for nothing: a connection
 * that had no IKE_SA gets one through us. */
static int find_progress(struct vici *vici, const struct initiator_question *question,
			 const struct children_connection *connection, const char *child, enum charon_progress *ret)
{
	*ret = CHARON_ABSENT;
	if (!question->tries && !connection->busy)
		return 0;
	return charon_child_progress(vici, connection->name, child, usec_add(now_usec(), ANSWER_USEC), ret);
}

/* When its connection is coming up, that may be for this child (start_action=start, or an earlier question), unless it
 * is we who have had charon begin with another one. */
static bool is_wanted(const struct initiator_question *question, const struct children_connection *connection,
		      enum charon_progress found)
{
	return found == CHARON_ABSENT || (found == CHARON_COMING && connection->begun && !question->tries);
}

static void answer(struct vici *vici, const struct children *children, const struct initiator_question *question,
		   struct initiator_answer *ret)
{
	const struct child *child = &children->list[question->child];
	struct children_connection *connection = &children->connections[child->connection];

	*ret = (struct initiator_answer){.group = question->group};
	ret->error = find_progress(vici, question, connection, child->name, &ret->found);
	if (ret->error < 0 || !is_wanted(question, connection, ret->found))
		return;
	ret->error = charon_initiate(vici, connection->name, child->name, usec_add(now_usec(), ANSWER_USEC), ret->why,
				     sizeof(ret->why));
	connection->begun |= ret->error == 0;
}

static void __attribute__((noreturn)) work(int fd, struct vici *vici, const struct children *children)
{
	struct initiator_question question;
	struct initiator_answer answered;

	while (recv(fd, &question, sizeof(question), 0) == sizeof(question)) {
		answer(vici, children, &question, &answered);
		if (send(fd, &answered, sizeof(answered), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(EXIT_SUCCESS);
}

int initiator_start(struct vici **vici, const struct children *children, struct initiator *ret)
{
	pid_t parent = getpid();
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid < 0) {
		int r = -errno;
		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (pid == 0) {
		close(fds[0]);
		/* Not even a parent that is killed leaves it behind. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(EXIT_FAILURE);
		work(fds[1], *vici, children);
	}
	close(fds[1]);
	vici_close(vici);
	*ret = (struct initiator){fds[0], pid};
	return 0;
}

void initiator_end(struct initiator *initiator)
{
	if (!initiator->pid)
		return;
	close(initiator->fd);
	kill(initiator->pid, SIGKILL);
	while (waitpid(initiator->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*initiator = (struct initiator){0};
}

int initiator_ask(const struct initiator *initiator, const struct initiator_question *question)
{
	return send(initiator->fd, question, sizeof(*question), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int initiator_read(const struct initiator *initiator, struct initiator_answer *ret)
{
	ssize_t n = recv(initiator->fd, ret, sizeof(*ret), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n == sizeof(*ret) ? 1 : -ECONNRESET;
}
