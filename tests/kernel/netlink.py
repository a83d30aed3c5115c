# SPDX-License-Identifier: GPL-2.0-or-later
"""NETLINK_XFRM for what `ip xfrm` cannot do. The structures are those of linux/xfrm.h."""

import os
import socket
import struct

NETLINK_XFRM = 6
ACQUIRES = 1 << 0       # XFRMGRP_ACQUIRE

MSG_NEWSA, MSG_DELSA, MSG_GETSA, MSG_NEWPOLICY, MSG_DELPOLICY, MSG_GETPOLICY, MSG_ALLOCSPI = range(0x10, 0x17)
MSG_FLUSHSA, MSG_FLUSHPOLICY = 0x1c, 0x1d
MSG_GETSADINFO = 0x23

NLMSG_ERROR = 2
REQUEST, ACK = 1, 4

ATTRIBUTE_MARK, ATTRIBUTE_IF_ID = 21, 31

PROTOS = {"esp": 50, "ah": 51, "comp": 108}
MODES = {"transport": 0, "tunnel": 1, "beet": 4}
DIRS = {"in": 0, "out": 1}

IP_XFRM_POLICY = 17     # linux/in.h
IPV6_XFRM_POLICY = 35   # linux/in6.h

SECONDS = 60


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def packed(address):
    """An xfrm_address_t."""
    return socket.inet_pton(family_of(address), address).ljust(16, b"\0")


def selector(family=0, dst=bytes(16), src=bytes(16)):
    return struct.pack("16s16s4HH3B3xiI", dst, src, 0, 0, 0, 0, family, 0, 0, 0, 0, 0)


def attribute(kind, data):
    return struct.pack("HH", 4 + len(data), kind) + data


def open_socket(groups=0):
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM)
    sock.settimeout(SECONDS)
    sock.bind((0, groups))
    return sock


def request(kind, body):
    with open_socket() as sock:
        sock.send(struct.pack("IHHII", 16 + len(body), kind, REQUEST | ACK, 1, 0) + body)
        while True:
            answer = sock.recv(65536)
            if struct.unpack_from("H", answer, 4)[0] == NLMSG_ERROR:
                error = -struct.unpack_from("i", answer, 16)[0]
                if error:
                    raise OSError(error, os.strerror(error))
                return


def allocate_spi(src, dst, spi, proto="esp", mode="tunnel", reqid=0, mark=None, if_id=0):
    """Makes a larval SA. `ip xfrm state allocspi` knows no if_id in Debian 12."""
    info = selector() + struct.pack("16sIB3x", packed(dst), 0, PROTOS[proto]) + packed(src) + bytes(64 + 32 + 12)
    info += struct.pack("IIH3B7x", 0, reqid, family_of(dst), MODES[mode], 0, 0)
    body = info + struct.pack("II", spi, spi)
    if mark:
        body += attribute(ATTRIBUTE_MARK, struct.pack("II", *mark))
    if if_id:
        body += attribute(ATTRIBUTE_IF_ID, struct.pack("I", if_id))
    request(MSG_ALLOCSPI, body)


def set_socket_policy(sock, direction):
    """Gives a socket a policy of its own, which lets everything pass: what IKE daemons do with theirs."""
    v6 = sock.family == socket.AF_INET6
    policy = selector(sock.family) + bytes(64 + 32) + struct.pack("II4B4x", 0, 0, DIRS[direction], 0, 0, 0)
    option = (socket.IPPROTO_IPV6, IPV6_XFRM_POLICY) if v6 else (socket.IPPROTO_IP, IP_XFRM_POLICY)
    sock.setsockopt(*option, policy)
