/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "ike/key_manager.h"

/* More sockets of a kind than this in one namespace are looked at up to this number. */
#define SOCKETS_MAX 64

struct sockets {
	struct owner_socket list[SOCKETS_MAX];
	unsigned int kinds[SOCKETS_MAX]; /* OWNER_SOCKET_… */
	bool seen[SOCKETS_MAX];		 /* some process has it open */
	size_t n;
};

struct table {
	const char *path;
	int (*parse)(const char *line, struct owner_socket *ret);
	unsigned int kind; /* OWNER_SOCKET_…, or 0 when it is the port that tells */
	bool optional;	   /* the kernel need not have it (PF_KEY, IPv6), and then has no sockets */
};

static int read_table(const struct table *table, struct sockets *sockets)
{
	CLEANUP(close_file) FILE *f = fopen(table->path, "re");
	CLEANUP(free_text) char *line = NULL;
	size_t size = 0;

	if (!f)
		return errno == ENOENT && table->optional ? 0 : -errno;
	while (sockets->n < SOCKETS_MAX && getline(&line, &size, f) >= 0) {
		struct owner_socket *found = &sockets->list[sockets->n];
		if (table->parse(line, found) <= 0)
			continue;
		sockets->kinds[sockets->n++] = table->kind		       ? table->kind
					       : found->port == OWNER_PORT_IKE ? OWNER_SOCKET_IKE
									       : OWNER_SOCKET_NATT;
	}
	return 0;
}

/* Marks the sockets of a list that a process has open among those with `inode`; returns the kind of it, or 0 when there
 * was none. */
static unsigned int mark_seen(struct sockets *sockets, uint64_t inode)
{
	for (size_t i = 0; i < sockets->n; i++)
		if (sockets->list[i].inode == inode) {
			sockets->seen[i] = true;
			return sockets->kinds[i];
		}
	return 0;
}

/* The kinds of those that no process was seen to have open, or 0. */
static unsigned int unseen(const struct sockets *sockets)
{
	unsigned int kinds = 0;

	for (size_t i = 0; i < sockets->n; i++)
		if (!sockets->seen[i])
			kinds |= sockets->kinds[i];
	return kinds;
}

static void read_name(int proc, pid_t pid, char *name, size_t size)
{
	static const char deleted[] = " (deleted)";
	char path[32], target[PATH_MAX];

	name[0] = '\0';
	snprintf(path, sizeof(path), "%d/exe", pid);
	ssize_t n = readlinkat(proc, path, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = '\0';

	/* The mark of an executable that was replaced since it was started. */
	size_t cut = sizeof(deleted) - 1;
	if ((size_t)n > cut && strcmp(target + n - cut, deleted) == 0)
		target[(size_t)n - cut] = '\0';
	const char *base = strrchr(target, '/');
	snprintf(name, size, "%.*s", (int)size - 1, base ? base + 1 : target);
}

/* Looks through the open files of one process; returns whether one of `listeners` is among them. */
static bool look_at_process(int proc, pid_t pid, struct sockets *listeners, struct sockets *ike, struct owner *ret)
{
	char path[32], target[64];
	unsigned int listens = 0, has_ike_port = 0;
	struct dirent *entry;

	snprintf(path, sizeof(path), "%d/fd", pid);
	int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	CLEANUP(close_directory) DIR *files = fdopendir(fd);
	if (!files) {
		close(fd);
		return false;
	}

	while ((entry = readdir(files))) {
		uint64_t inode;
		ssize_t n = readlinkat(dirfd(files), entry->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (owner_parse_link(target, &inode) < 0)
			continue;
		listens |= mark_seen(listeners, inode);
		has_ike_port |= mark_seen(ike, inode);
	}
	if (!listens)
		return false;

	*ret = (struct owner){.pid = pid, .sockets = listens | has_ike_port};
	read_name(proc, pid, ret->name, sizeof(ret->name));
	ret->kind = owner_classify(ret->name, has_ike_port != 0);
	return true;
}

int owner_list(owner_fn fn, void *userdata)
{
	/* /proc/net is that of the process's main thread, which is the only one here. */
	static const struct table listener_tables[] = {
		{"/proc/net/netlink", owner_parse_netlink, OWNER_SOCKET_XFRM, false},
		{"/proc/net/pfkey", owner_parse_pfkey, OWNER_SOCKET_PFKEY, true},
	};
	static const struct table ike_tables[] = {
		{"/proc/net/udp", owner_parse_udp, 0, true},
		{"/proc/net/udp6", owner_parse_udp, 0, true},
	};
	struct sockets listeners = {0}, ike = {0};
	struct owner owner;
	struct dirent *entry;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(listener_tables) && r == 0; i++)
		r = read_table(&listener_tables[i], &listeners);
	if (r < 0 || listeners.n == 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(ike_tables) && r == 0; i++)
		r = read_table(&ike_tables[i], &ike);
	if (r < 0)
		return r;

	CLEANUP(close_directory) DIR *proc = opendir("/proc");
	if (!proc)
		return -errno;
	while ((entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid > 0 && look_at_process(dirfd(proc), pid, &listeners, &ike, &owner))
			fn(&owner, userdata);
	}

	/* A listener without a process that can be seen is an IKE daemon if there are IKE ports without one too. */
	if (unseen(&listeners)) {
		owner = (struct owner){
			.kind = unseen(&ike) ? OWNER_KEY_MANAGER : OWNER_UNKNOWN,
			.sockets = unseen(&listeners) | unseen(&ike),
		};
		fn(&owner, userdata);
	}
	return 0;
}

struct strongest {
	pid_t but;
	struct owner owner;
	bool found;
};

static void compare(const struct owner *owner, void *userdata)
{
	struct strongest *strongest = userdata;

	if (strongest->but && owner->pid == strongest->but)
		return;
	if (!strongest->found || owner->kind > strongest->owner.kind)
		strongest->owner = *owner;
	strongest->found = true;
}

int owner_find(pid_t but, struct owner *ret)
{
	struct strongest strongest = {.but = but};

	int r = owner_list(compare, &strongest);
	if (r < 0)
		return r;
	if (strongest.found)
		*ret = strongest.owner;
	return strongest.found;
}
