/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Who else may own the XFRM state of this network namespace: the processes that are told of acquires. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* How much the evidence says of a process that is told of acquires. */
enum key_manager_kind {
	/* `ip xfrm monitor` and the like: looks on, owns nothing. */
	KEY_MANAGER_MONITOR,
	/* Told of acquires, but no sign of IKE. */
	KEY_MANAGER_UNKNOWN,
	/* An IKE daemon: has its name, or has UDP port 500 or 4500 open. */
	KEY_MANAGER_IKE,
};

/* What a process has open, in owner.sockets. */
#define KEY_MANAGER_SOCKET_XFRM 0x1U  /* netlink, told of acquires */
#define KEY_MANAGER_SOCKET_PFKEY 0x2U /* PF_KEY */
#define KEY_MANAGER_SOCKET_IKE 0x4U   /* UDP port 500 */
#define KEY_MANAGER_SOCKET_NATT 0x8U  /* UDP port 4500 */

struct key_manager {
	enum key_manager_kind kind;
	pid_t pid;	      /* 0 when the process cannot be seen (another PID namespace, no privilege) */
	unsigned int sockets; /* OWNER_SOCKET_… */
	char name[NAME_MAX];  /* base name of its executable; "" when unknown */
};

/* The UDP ports of IKE (RFC 7296, 2). */
#define KEY_MANAGER_PORT_IKE 500
#define KEY_MANAGER_PORT_NATT 4500

/* A socket in one of the tables of /proc/net. */
struct key_manager_socket {
	uint64_t inode;
	uint16_t port; /* local port in /proc/net/udp and udp6, host byte order */
};

/* The following parse a line of /proc/net/netlink, pfkey, udp or udp6. They return 1 with `ret` filled when the line is
 * a socket of interest (NETLINK_XFRM and subscribed to XFRMNLGRP_ACQUIRE; any PF_KEY socket; bound to an IKE port),
 * 0 when it is not, and -EBADMSG when it is not such a line (the heading, for example). */
int key_manager_parse_netlink(const char *line, struct key_manager_socket *ret);
int key_manager_parse_pfkey(const char *line, struct key_manager_socket *ret);
int key_manager_parse_udp(const char *line, struct key_manager_socket *ret);

/* Takes the inode from what a socket's link in /proc/PID/fd says; -EBADMSG when it is something else's. */
int key_manager_parse_link(const char *target, uint64_t *ret);

/* Weighs the evidence on a process that is told of acquires: the base name of its executable ("" when unknown) and
 * whether it has an IKE port open. */
enum key_manager_kind key_manager_classify(const char *name, bool has_ike_port);

/* Hands out every process that is told of acquires in the network namespace of the calling thread, through netlink or
 * PF_KEY; as the last one, with PID 0, all that cannot be seen. Returns 0 or a negative errno. */
typedef void (*key_manager_fn)(const struct key_manager *key_manager, void *userdata);
int key_manager_list(key_manager_fn fn, void *userdata);

/* Looks for such processes too, and returns the one with the strongest evidence; `but` is left out, if it is not 0.
 * Returns 1 when there is one, 0 when nobody is, or a negative errno. */
int key_manager_find(pid_t but, struct key_manager *ret);
