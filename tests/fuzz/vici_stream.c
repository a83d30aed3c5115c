/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks conversations with a daemon that sends any bytes and then hangs up. A conversation must end at once, with a
 * result that vici.h documents. */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "fuzz.h"
#include "ike/vici.h"

/* Maximum size of an input, in bytes. A socket queues that much without a reader. */
#define INPUT_MAX (64 * 1024)

/* Time limit of a conversation, in microseconds. It is never reached. */
#define DEADLINE (30 * USEC_PER_SEC)

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char folder[] = "/tmp/vici-fuzz-XXXXXX";

static void remove_socket(void)
{
	unlink(address.sun_path);
	rmdir(folder);
}

static int listener(void)
{
	static int fd = -1;

	if (fd >= 0)
		return fd;
	CHECK(mkdtemp(folder));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
	atexit(remove_socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0);
	return fd;
}

/* Reads a whole message. Returns 0 or a negative errno. */
static int on_message(struct vici_reader *message, void *userdata)
{
	struct vici_item item;
	int r;

	(void)userdata;
	while ((r = vici_next(message, &item)) > 0)
		CHECK(item.depth <= VICI_DEPTH_MAX);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vici *vici = NULL;
	uint64_t deadline = now_usec() + DEADLINE;

	if (size > INPUT_MAX)
		return 0;
	int listening = listener();
	CHECK(vici_open(address.sun_path, deadline, &vici) == 0);
	CHECK(vici_peer(vici) == getpid());
	int daemon = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	CHECK(daemon >= 0 && send(daemon, data, size, MSG_DONTWAIT) == (ssize_t)size);
	CHECK(shutdown(daemon, SHUT_WR) == 0);

	/* Stream once with functions and once without, because messages are read in both cases. */
	int r = vici_stream(vici, "list-sas", "list-sa", NULL, deadline, on_message, on_message, NULL);
	CHECK(r == 0 || r == -EOPNOTSUPP || r == -EBADMSG || r == -ECONNRESET);
	int again = vici_stream(vici, "list-conns", "list-conn", NULL, deadline, NULL, NULL, NULL);
	CHECK(r == 0 || r == -EOPNOTSUPP ? again <= 0 && again != -ETIMEDOUT : again == -ECONNRESET);
	vici_close(&vici);
	CHECK(!vici);
	close(daemon);
	return 0;
}
