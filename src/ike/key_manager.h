/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Key managers: the processes that listen for acquires, and so may manage XFRM state of this network namespace. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Kinds of processes that listen for acquires, from weak to strong evidence that they manage SAs. */
enum key_manager_kind {
	/* The program `ip`, as in `ip xfrm monitor`: it only listens, and manages no SAs. */
	KEY_MANAGER_MONITOR,
	/* Listens for acquires, but shows no sign of IKE. */
	KEY_MANAGER_UNKNOWN,
	/* IKE daemon: has the name of one, or has UDP port 500 or 4500 open. */
	KEY_MANAGER_IKE,
};

/* Sockets that a process has open: bits of key_manager.sockets. */
#define KEY_MANAGER_SOCKET_XFRM 0x1U  /* netlink socket that listens for acquires */
#define KEY_MANAGER_SOCKET_PFKEY 0x2U /* PF_KEY socket */
#define KEY_MANAGER_SOCKET_IKE 0x4U   /* UDP port 500 */
#define KEY_MANAGER_SOCKET_NATT 0x8U  /* UDP port 4500 */

/* A process that listens for acquires. */
struct key_manager {
	enum key_manager_kind kind;
	/* PID, or 0 if the process is not visible (another PID namespace, or no privilege). */
	pid_t pid;
	/* Bits KEY_MANAGER_SOCKET_…. */
	unsigned int sockets;
	/* Base name of the executable; "" if unknown. */
	char name[NAME_MAX];
};

/* The UDP ports of IKE (RFC 7296, 2). */
#define KEY_MANAGER_PORT_IKE 500
#define KEY_MANAGER_PORT_NATT 4500

/* A socket in a table of /proc/net. */
struct key_manager_socket {
	uint64_t inode;
	uint16_t port; /* local port in host byte order; set only for /proc/net/udp and udp6 */
};

/* Each of the following functions parses a line of its table: /proc/net/netlink, pfkey, or udp and udp6. They return 1
 * with `ret` for a socket of interest, and 0 for another socket. They return -EBADMSG for a line without a socket, such
 * as the heading. Sockets of interest are NETLINK_XFRM sockets that subscribe to XFRMNLGRP_ACQUIRE, all PF_KEY sockets,
 * and UDP sockets on an IKE port. */
int key_manager_parse_netlink(const char *line, struct key_manager_socket *ret);
int key_manager_parse_pfkey(const char *line, struct key_manager_socket *ret);
int key_manager_parse_udp(const char *line, struct key_manager_socket *ret);

/* Parses the target of a link in /proc/PID/fd. Returns 0 with the inode of a socket, or -EBADMSG if the link is to
 * something else. */
int key_manager_parse_link(const char *target, uint64_t *ret);

/* Classifies a process that listens for acquires. `name` is the base name of its executable, or "" if unknown. Returns
 * the kind of the process. */
enum key_manager_kind key_manager_classify(const char *name, bool has_ike_port);

/* Calls `fn` for each process in the network namespace of the calling thread that listens for acquires, through netlink
 * or PF_KEY. If some listening sockets belong to no visible process, a last call with PID 0 stands for all of these
 * sockets. Returns 0 or a negative errno. */
typedef void (*key_manager_fn)(const struct key_manager *key_manager, void *userdata);
int key_manager_list(key_manager_fn fn, void *userdata);

/* Finds, among these processes, the one with the strongest evidence. Ignores the process `but`, unless it is 0. Returns
 * 1 with `ret`, 0 if there is no such process, or a negative errno. */
int key_manager_find(pid_t but, struct key_manager *ret);
