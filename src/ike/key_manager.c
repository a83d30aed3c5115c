/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ike/key_manager.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

int key_manager_parse_netlink(const char *line, struct key_manager_socket *ret)
{
	unsigned int protocol, groups;
	uint64_t inode;

	/* netlink_native_seq_show(): sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode. Groups is only the first word
	 * of the bit mask. */
	if (sscanf(line, "%*s %u %*u %x %*u %*u %*u %*u %*u %" SCNu64, &protocol, &groups, &inode) != 3)
		return -EBADMSG;
	if (protocol != NETLINK_XFRM || !(groups & XFRMGRP_ACQUIRE))
		return 0;
	*ret = (struct key_manager_socket){.inode = inode};
	return 1;
}

int key_manager_parse_pfkey(const char *line, struct key_manager_socket *ret)
{
	uint64_t inode;

	/* pfkey_seq_show(): sk RefCnt Rmem Wmem User Inode. The line does not show whether the socket is registered. */
	if (sscanf(line, "%*s %*d %*u %*u %*u %" SCNu64, &inode) != 1)
		return -EBADMSG;
	*ret = (struct key_manager_socket){.inode = inode};
	return 1;
}

int key_manager_parse_udp(const char *line, struct key_manager_socket *ret)
{
	unsigned int port;
	uint64_t inode;

	/* udp4_format_sock(): sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode … */
	if (sscanf(line, "%*d: %*[0-9A-Fa-f]:%x %*s %*s %*s %*s %*s %*s %*s %" SCNu64, &port, &inode) != 2)
		return -EBADMSG;
	if (port != KEY_MANAGER_PORT_IKE && port != KEY_MANAGER_PORT_NATT)
		return 0;
	*ret = (struct key_manager_socket){.inode = inode, .port = (uint16_t)port};
	return 1;
}

int key_manager_parse_link(const char *target, uint64_t *ret)
{
	return sscanf(target, "socket:[%" SCNu64 "]", ret) == 1 ? 0 : -EBADMSG;
}

enum key_manager_kind key_manager_classify(const char *name, bool has_ike_port)
{
	/* Beginnings of the names of IKE daemons: strongSwan's (charon, charon-systemd, charon-nm …), libreswan's,
	 * OpenIKED's, racoon's and racoon2's. Names are needed because some of strongSwan's daemons use a random port.
	 */
	static const char *const daemons[] = {"charon", "pluto", "iked", "racoon"};

	if (has_ike_port)
		return KEY_MANAGER_IKE;
	for (size_t i = 0; i < ARRAY_SIZE(daemons); i++)
		if (strncmp(name, daemons[i], strlen(daemons[i])) == 0)
			return KEY_MANAGER_IKE;
	return strcmp(name, "ip") == 0 ? KEY_MANAGER_MONITOR : KEY_MANAGER_UNKNOWN;
}
