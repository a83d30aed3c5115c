/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "ike/key_manager.h"

/* Maximum number of examined sockets that listen for acquires, and of examined sockets on IKE ports. */
#define SOCKETS_MAX 64

/* Sockets of interest in one network namespace. */
struct sockets {
	/* As the tables of /proc/net show them. */
	struct key_manager_socket list[SOCKETS_MAX];
	/* KEY_MANAGER_SOCKET_… of each socket. */
	unsigned int kinds[SOCKETS_MAX];
	/* Whether a visible process has the socket open. */
	bool seen[SOCKETS_MAX];
	size_t n;
};

/* A table of /proc/net. */
struct table {
	/* Its path. */
	const char *path;
	/* Parses one of its lines. */
	int (*parse)(const char *line, struct key_manager_socket *ret);
	/* KEY_MANAGER_SOCKET_… of its sockets, or 0 if that depends on the port. */
	unsigned int kind;
	/* Whether a kernel can lack the table, and then has no such sockets (PF_KEY, IPv6). */
	bool optional;
};

/* Adds the sockets of interest of a table to `sockets`. Returns 0 or a negative errno. */
static int read_table(const struct table *table, struct sockets *sockets)
{
	CLEANUP(close_file) FILE *f = fopen(table->path, "re");
	CLEANUP(free_text) char *line = NULL;
	size_t size = 0;

	if (!f)
		return errno == ENOENT && table->optional ? 0 : -errno;
	while (sockets->n < SOCKETS_MAX && getline(&line, &size, f) >= 0) {
		struct key_manager_socket *found = &sockets->list[sockets->n];
		if (table->parse(line, found) <= 0)
			continue;
		sockets->kinds[sockets->n++] = table->kind			     ? table->kind
					       : found->port == KEY_MANAGER_PORT_IKE ? KEY_MANAGER_SOCKET_IKE
										     : KEY_MANAGER_SOCKET_NATT;
	}
	return 0;
}

/* Marks the socket with this inode as open in a visible process. Returns the socket's kind, or 0 if there is no such
 * socket. */
static unsigned int mark_seen(struct sockets *sockets, uint64_t inode)
{
	for (size_t i = 0; i < sockets->n; i++)
		if (sockets->list[i].inode == inode) {
			sockets->seen[i] = true;
			return sockets->kinds[i];
		}
	return 0;
}

/* Returns the kinds of the sockets that no visible process has open, or 0. */
static unsigned int unseen(const struct sockets *sockets)
{
	unsigned int kinds = 0;

	for (size_t i = 0; i < sockets->n; i++)
		if (!sockets->seen[i])
			kinds |= sockets->kinds[i];
	return kinds;
}

/* Reads the base name of a process's executable; "" if it cannot be read. */
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

	/* The kernel appends this if the executable was replaced after the process had started. */
	size_t cut = sizeof(deleted) - 1;
	if ((size_t)n > cut && strcmp(target + n - cut, deleted) == 0)
		target[(size_t)n - cut] = '\0';
	const char *base = strrchr(target, '/');
	snprintf(name, size, "%.*s", (int)size - 1, base ? base + 1 : target);
}

/* Examines the open files of one process. Returns whether one of `listeners` is among them, and fills `ret` if so. */
static bool look_at_process(int proc, pid_t pid, struct sockets *listeners, struct sockets *ike,
			    struct key_manager *ret)
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
		if (key_manager_parse_link(target, &inode) < 0)
			continue;
		listens |= mark_seen(listeners, inode);
		has_ike_port |= mark_seen(ike, inode);
	}
	if (!listens)
		return false;

	*ret = (struct key_manager){.pid = pid, .sockets = listens | has_ike_port};
	read_name(proc, pid, ret->name, sizeof(ret->name));
	ret->kind = key_manager_classify(ret->name, has_ike_port != 0);
	return true;
}

int key_manager_list(key_manager_fn fn, void *userdata)
{
	/* /proc/net shows the network namespace of the main thread, which calls this function. */
	static const struct table listener_tables[] = {
		{"/proc/net/netlink", key_manager_parse_netlink, KEY_MANAGER_SOCKET_XFRM, false},
		{"/proc/net/pfkey", key_manager_parse_pfkey, KEY_MANAGER_SOCKET_PFKEY, true},
	};
	static const struct table ike_tables[] = {
		{"/proc/net/udp", key_manager_parse_udp, 0, true},
		{"/proc/net/udp6", key_manager_parse_udp, 0, true},
	};
	struct sockets listeners = {0}, ike = {0};
	struct key_manager key_manager;
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
		if (pid > 0 && look_at_process(dirfd(proc), pid, &listeners, &ike, &key_manager))
			fn(&key_manager, userdata);
	}

	/* Some listening sockets belong to no visible process. They count as an IKE daemon's if a socket on an IKE port
	 * belongs to no visible process either. */
	if (unseen(&listeners)) {
		key_manager = (struct key_manager){
			.kind = unseen(&ike) ? KEY_MANAGER_IKE : KEY_MANAGER_UNKNOWN,
			.sockets = unseen(&listeners) | unseen(&ike),
		};
		fn(&key_manager, userdata);
	}
	return 0;
}

/* The process with the strongest evidence so far. */
struct strongest {
	/* Process to ignore, or 0. */
	pid_t but;
	struct key_manager key_manager;
	bool found;
};

/* Remembers a process if the evidence about it is stronger than about all processes before it. */
static void compare(const struct key_manager *key_manager, void *userdata)
{
	struct strongest *strongest = userdata;

	if (strongest->but && key_manager->pid == strongest->but)
		return;
	if (!strongest->found || key_manager->kind > strongest->key_manager.kind)
		strongest->key_manager = *key_manager;
	strongest->found = true;
}

int key_manager_find(pid_t but, struct key_manager *ret)
{
	struct strongest strongest = {.but = but};

	int r = key_manager_list(compare, &strongest);
	if (r < 0)
		return r;
	if (strongest.found)
		*ret = strongest.key_manager;
	return strongest.found;
}
