# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink requests that `ip` cannot make, most of them for XFRM. The structures are those of linux/xfrm.h."""

import os
import socket
import struct
from contextlib import suppress
from typing import NamedTuple

NETLINK_ROUTE, NETLINK_XFRM = 0, 6
ACQUIRES = 1 << 0       # XFRMGRP_ACQUIRE
SAS = 1 << 2            # XFRMGRP_SA
POLICIES = 1 << 3       # XFRMGRP_POLICY

MSG_NEWSA, MSG_DELSA, MSG_GETSA, MSG_NEWPOLICY, MSG_DELPOLICY, MSG_GETPOLICY, MSG_ALLOCSPI = range(0x10, 0x17)
MSG_UPDPOLICY, MSG_UPDSA, MSG_FLUSHSA, MSG_FLUSHPOLICY = 0x19, 0x1a, 0x1c, 0x1d
MSG_POLEXPIRE, MSG_GETSADINFO, MSG_GETSPDINFO = 0x1b, 0x23, 0x25

NLMSG_ERROR, NLMSG_DONE = 2, 3
REQUEST, ACK, DUMP = 1, 4, 0x300

ATTRIBUTE_TEMPLATES, ATTRIBUTE_POLICY, ATTRIBUTE_CONTEXT, ATTRIBUTE_POLICY_TYPE, ATTRIBUTE_MARK = 5, 7, 8, 16, 21
ATTRIBUTE_OFFLOAD, ATTRIBUTE_IF_ID = 28, 31

PROTOS = {"esp": 50, "ah": 51, "comp": 108}
MODES = {"transport": 0, "tunnel": 1, "beet": 4}
DIRS = {"in": 0, "out": 1}
SUB = 1
ALLOW, BLOCK = 0, 1
OFFLOAD_PACKET = 4
INFINITE = 2**64 - 1

IP_XFRM_POLICY = 17     # linux/in.h
IPV6_XFRM_POLICY = 35   # linux/in6.h

# Alignment of 64-bit numbers in bytes, to which the kernel pads its structures: 8, or 4 on i386.
ALIGNMENT = struct.calcsize("BQ") - struct.calcsize("Q")

# Format of a struct xfrm_selector.
SELECTOR = "16s16s4HH3B3xiI"

# Offset in bytes of the SPI in a struct xfrm_usersa_info, behind the selector and the destination.
SPI_OFFSET = 56 + 16

SECONDS = 60


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def packed(address):
    """Returns an address as an xfrm_address_t."""
    return socket.inet_pton(family_of(address), address).ljust(16, b"\0")


def selector(family=0, dst=bytes(16), src=bytes(16)):
    return struct.pack(SELECTOR, dst, src, 0, 0, 0, 0, family, 0, 0, 0, 0, 0)


def aligned(structure):
    return structure + bytes(-len(structure) % ALIGNMENT)


def attribute(kind, data):
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data):
    """Yields the type and the content of each attribute."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        yield kind, data[4:length]
        data = data[length + 3 & ~3:]


def messages(datagram):
    """Yields the type and the bytes of each message of a datagram."""
    while len(datagram) >= 16:
        length, kind = struct.unpack_from("IH", datagram)
        yield kind, datagram[:length]
        datagram = datagram[length + 3 & ~3:]


def open_socket(groups=0, protocol=NETLINK_XFRM):
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    sock.settimeout(SECONDS)
    sock.bind((0, groups))
    return sock


def ask(kind, flags, body, sequence=1, protocol=NETLINK_XFRM):
    """Sends a request. Yields the type and the bytes of each message of the answer, up to its end."""
    with open_socket(protocol=protocol) as sock:
        sock.send(struct.pack("IHHII", 16 + len(body), kind, REQUEST | flags, sequence, 0) + body)
        while True:
            for got, message in messages(sock.recv(65536)):
                yield got, message
                if got in (NLMSG_ERROR, NLMSG_DONE) or not flags & (ACK | DUMP):
                    return


def trimmed(context):
    """Returns a struct xfrm_user_sec_ctx without the NULs that the kernel appends to its text."""
    _, kind, algorithm, doi, _ = struct.unpack_from("HHBBH", context)
    text = context[8:].rstrip(b"\0")
    return struct.pack("HHBBH", 8 + len(text), kind, algorithm, doi, len(text)) + text


class Policy(NamedTuple):
    """A policy, with the fields of a struct xfrm_userpolicy_info and its attributes."""
    selector: tuple     # without its user
    user: int
    lifetime: tuple     # soft and hard limits, in pairs: bytes, packets, seconds since addition, seconds since use
    used: tuple         # bytes, packets, time of addition, time of use
    priority: int
    index: int
    dir: int
    action: int
    flags: int
    share: int
    attributes: dict

    INFO = struct.Struct(SELECTOR + "8Q4QII4B0Q")
    SELECTOR_FIELDS = 11

    @classmethod
    def parse(cls, body):
        fields = cls.INFO.unpack_from(body)
        n = cls.SELECTOR_FIELDS
        found = {kind: trimmed(data) if kind == ATTRIBUTE_CONTEXT else data
                 for kind, data in attributes(body[cls.INFO.size:])}
        return cls(fields[:n], fields[n], fields[n + 1:n + 9], fields[n + 9:n + 13], *fields[n + 13:], found)

    @property
    def ends(self):
        """Returns the time at which the kernel removes the policy, in seconds since 1970, or 0 if it stays."""
        seconds = self.lifetime[5]
        return self.used[2] + seconds if seconds else 0

    @property
    def ptype(self):
        return self.attributes.get(ATTRIBUTE_POLICY_TYPE, b"\0")[0]

    @property
    def templates(self):
        return self.attributes.get(ATTRIBUTE_TEMPLATES, b"")

    @property
    def key(self):
        """Returns the fields by which the kernel distinguishes policies, without the selector's user."""
        others = (self.attributes.get(kind, b"") for kind in (ATTRIBUTE_MARK, ATTRIBUTE_IF_ID, ATTRIBUTE_CONTEXT))
        return self.dir, self.ptype, *self.selector, *others

    def add(self):
        body = self.INFO.pack(*self.selector, self.user, *self.lifetime, *self.used, self.priority, 0, self.dir,
                              self.action, self.flags, self.share)
        for kind, data in self.attributes.items():
            body += attribute(kind, data)
        request(MSG_NEWPOLICY, body)

    def delete(self):
        """Deletes the policy by its selector, as IKE daemons do."""
        body = struct.pack(SELECTOR, *self.selector, self.user) + struct.pack("IB3x", 0, self.dir)
        for kind in (ATTRIBUTE_POLICY_TYPE, ATTRIBUTE_MARK, ATTRIBUTE_IF_ID, ATTRIBUTE_CONTEXT):
            if kind in self.attributes:
                body += attribute(kind, self.attributes[kind])
        request(MSG_DELPOLICY, body)


def dump(kind, body):
    """Yields the bodies of all messages of a list."""
    for got, message in ask(kind, DUMP, body):
        if got != NLMSG_DONE:
            yield message[16:]


def policies():
    """Returns all policies except those of sockets, in the order in which the kernel lists them."""
    found = map(Policy.parse, dump(MSG_GETPOLICY, bytes(64)))
    return [policy for policy in found if policy.index & 7 < 3]


def spis():
    """Returns the SPIs of all SAs."""
    return {struct.unpack_from("!I", body, SPI_OFFSET)[0] for body in dump(MSG_GETSA, b"")}


def request(kind, body):
    for got, message in ask(kind, ACK, body):
        if got == NLMSG_ERROR and (error := -struct.unpack_from("i", message, 16)[0]):
            raise OSError(error, os.strerror(error))


def flush_policies():
    request(MSG_FLUSHPOLICY, b"")
    # Not every kernel has sub policies.
    with suppress(OSError):
        request(MSG_FLUSHPOLICY, attribute(ATTRIBUTE_POLICY_TYPE, struct.pack("BxHBx", SUB, 0, 0)))


def flush_sas():
    # Protocol 0 means every protocol. The kernel answers ESRCH if there is no SA.
    with suppress(ProcessLookupError):
        request(MSG_FLUSHSA, bytes(1))


def allocate_spi(src, dst, spi, proto="esp", mode="tunnel", reqid=0, mark=None, if_id=0):
    """Creates a larval SA. `ip xfrm state allocspi` of Debian 12 has no if_id."""
    info = selector() + struct.pack("16sIB3x", packed(dst), 0, PROTOS[proto]) + packed(src) + bytes(64 + 32 + 12)
    info += struct.pack("IIH3B", 0, reqid, family_of(dst), MODES[mode], 0, 0)
    body = aligned(info) + struct.pack("II", spi, spi)
    if mark:
        body += attribute(ATTRIBUTE_MARK, struct.pack("II", *mark))
    if if_id:
        body += attribute(ATTRIBUTE_IF_ID, struct.pack("I", if_id))
    request(MSG_ALLOCSPI, body)


def set_socket_policy(sock, direction):
    """Gives a socket a bypass policy of its own, as IKE daemons do with their sockets."""
    v6 = sock.family == socket.AF_INET6
    policy = aligned(selector(sock.family) + bytes(64 + 32) + struct.pack("II4B", 0, 0, DIRS[direction], 0, 0, 0))
    option = (socket.IPPROTO_IPV6, IPV6_XFRM_POLICY) if v6 else (socket.IPPROTO_IP, IP_XFRM_POLICY)
    sock.setsockopt(*option, policy)
