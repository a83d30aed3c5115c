/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "owner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

#define IKE_PORT 500
#define IKE_NATT_PORT 4500

/* More sockets of a kind than this in one namespace are looked at up to this number. */
#define SOCKETS_MAX 64

struct sockets {
	struct owner_socket list[SOCKETS_MAX];
	bool seen[SOCKETS_MAX]; /* some process has it open */
	size_t n;
};

int owner_parse_netlink(const char *line, struct owner_socket *ret)
{
	unsigned int protocol, groups;
	uint64_t inode;

	/* sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode (netlink_native_seq_show()); Groups is the first word. */
	if (sscanf(line, "%*s %u %*u %x %*u %*u %*u %*u %*u %" SCNu64, &protocol, &groups, &inode) != 3)
		return -EBADMSG;
	if (protocol != NETLINK_XFRM || !(groups & XFRMGRP_ACQUIRE))
		return 0;
	*ret = (struct owner_socket){.inode = inode};
	return 1;
}

int owner_parse_pfkey(const char *line, struct owner_socket *ret)
{
	uint64_t inode;

	/* sk RefCnt Rmem Wmem User Inode (pfkey_seq_show()). Whether it is registered is not shown. */
	if (sscanf(line, "%*s %*d %*u %*u %*u %" SCNu64, &inode) != 1)
		return -EBADMSG;
	*ret = (struct owner_socket){.inode = inode};
	return 1;
}

int owner_parse_udp(const char *line, struct owner_socket *ret)
{
	unsigned int port;
	uint64_t inode;

	/* sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode … (udp4_format_sock()). */
	if (sscanf(line, "%*d: %*[0-9A-Fa-f]:%x %*s %*s %*s %*s %*s %*s %*s %" SCNu64, &port, &inode) != 2)
		return -EBADMSG;
	if (port != IKE_PORT && port != IKE_NATT_PORT)
		return 0;
	*ret = (struct owner_socket){.inode = inode, .port = (uint16_t)port};
	return 1;
}

enum owner_kind owner_classify(const char *name, bool has_ike_port)
{
	/* strongSwan's daemons (charon, charon-systemd, charon-nm …), of which some take a random port; libreswan;
	 * OpenIKED; racoon and racoon2. */
	static const char *const daemons[] = {"charon", "pluto", "iked", "racoon"};

	if (has_ike_port)
		return OWNER_KEY_MANAGER;
	for (size_t i = 0; i < ARRAY_SIZE(daemons); i++)
		if (strncmp(name, daemons[i], strlen(daemons[i])) == 0)
			return OWNER_KEY_MANAGER;
	return strcmp(name, "ip") == 0 ? OWNER_MONITOR : OWNER_UNKNOWN;
}

static int read_table(const char *path, int (*parse)(const char *, struct owner_socket *), struct sockets *sockets)
{
	CLEANUP(close_file) FILE *f = fopen(path, "re");
	CLEANUP(free_text) char *line = NULL;
	size_t size = 0;

	if (!f)
		return -errno;
	while (sockets->n < SOCKETS_MAX && getline(&line, &size, f) >= 0)
		if (parse(line, &sockets->list[sockets->n]) > 0)
			sockets->n++;
	return 0;
}

/* Marks the sockets of a list that a process has open among those with `inode`; returns whether there was one. */
static bool mark_seen(struct sockets *sockets, uint64_t inode)
{
	for (size_t i = 0; i < sockets->n; i++)
		if (sockets->list[i].inode == inode) {
			sockets->seen[i] = true;
			return true;
		}
	return false;
}

static bool all_seen(const struct sockets *sockets)
{
	for (size_t i = 0; i < sockets->n; i++)
		if (!sockets->seen[i])
			return false;
	return true;
}

/* A table that the kernel need not have (PF_KEY, IPv6) and then has no sockets. */
static int read_optional_table(const char *path, int (*parse)(const char *, struct owner_socket *),
			       struct sockets *sockets)
{
	int r = read_table(path, parse, sockets);

	return r == -ENOENT ? 0 : r;
}

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
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
	bool listens = false, has_ike_port = false;
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
		if (sscanf(target, "socket:[%" SCNu64 "]", &inode) != 1)
			continue;
		listens |= mark_seen(listeners, inode);
		has_ike_port |= mark_seen(ike, inode);
	}
	if (!listens)
		return false;

	*ret = (struct owner){.pid = pid};
	read_name(proc, pid, ret->name, sizeof(ret->name));
	ret->kind = owner_classify(ret->name, has_ike_port);
	return true;
}

int owner_find(pid_t but, struct owner *ret)
{
	struct sockets listeners = {0}, ike = {0};
	struct owner strongest = {0}, owner;
	struct dirent *entry;
	bool found = false;
	int r;

	/* /proc/net is that of the process's main thread, which is the only one here. */
	if ((r = read_table("/proc/net/netlink", owner_parse_netlink, &listeners)) < 0 ||
	    (r = read_optional_table("/proc/net/pfkey", owner_parse_pfkey, &listeners)) < 0)
		return r;
	if (listeners.n == 0)
		return 0;
	if ((r = read_optional_table("/proc/net/udp", owner_parse_udp, &ike)) < 0 ||
	    (r = read_optional_table("/proc/net/udp6", owner_parse_udp, &ike)) < 0)
		return r;

	CLEANUP(close_directory) DIR *proc = opendir("/proc");
	if (!proc)
		return -errno;
	while ((entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid <= 0 || !look_at_process(dirfd(proc), pid, &listeners, &ike, &owner) || pid == but)
			continue;
		if (!found || owner.kind > strongest.kind)
			strongest = owner;
		found = true;
	}

	/* A listener without a process that can be seen is an IKE daemon if there are IKE ports without one too. */
	if (!all_seen(&listeners)) {
		owner = (struct owner){.kind = all_seen(&ike) ? OWNER_UNKNOWN : OWNER_KEY_MANAGER};
		if (!found || owner.kind > strongest.kind)
			strongest = owner;
		found = true;
	}

	if (found)
		*ret = strongest;
	return found;
}
