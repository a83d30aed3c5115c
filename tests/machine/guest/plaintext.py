# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends pings through a connection from both ends, and counts those that are not protected."""

import socket
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import kernel
import network
from connections import CONNECTIONS
from linux import SO_RCVBUFFORCE
from pings import Pings
from together import Together

INNER = ip_network("10.0.0.0/8")

# Time to live in the packets that ping sends. Only the router decrements it; a tunnel does not.
TTL_SENT = 64
TTL_OFFSET, SOURCE_OFFSET = 8, 12

BUFFER_BYTES = 64 << 20


class Accepted:
    """Counts echo requests and replies that came in plaintext and that the gateway's inbound policies accepted. Use in
    a with block.

    A raw socket receives a packet only after the policies have accepted it. The number of packets that the peer sends
    in plaintext tells nothing about the gateway. After a clean shutdown of the gateway's charon, the peer has no
    policies and sends all packets unprotected.
    """

    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self.socket.setblocking(False)
        self.plain = self.protected = 0
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def read(self):
        """Counts the packets that have come in until now."""
        while True:
            try:
                packet = self.socket.recv(65536)
            except BlockingIOError:
                return
            if ip_address(packet[SOURCE_OFFSET:SOURCE_OFFSET + 4]) not in INNER:
                continue
            if packet[TTL_OFFSET] < TTL_SENT:
                self.plain += 1
            else:
                self.protected += 1


class Seen(NamedTuple):
    out: int            # packets of the gateway that the router has seen in plaintext
    sent_in: int        # packets to the gateway that the router has seen in plaintext
    accepted: int       # plaintext packets that the gateway has accepted
    carried: int        # packets that the gateway has received through the tunnel
    held_back: int      # packets of the gateway that policies have blocked


class BothWays(Together):
    """Pings from both ends of a connection at once. Use in a with block."""

    def __init__(self, name):
        inner = CONNECTIONS[name].inner
        self.accepted = Accepted()
        self.ours = Pings(inner)
        self.theirs = Pings(inner[::-1], "peer")
        self.parts = self.accepted, self.ours, self.theirs

    def wait_for_answers(self):
        for stream in (self.ours, self.theirs):
            stream.wait_for_answers()

    def totals(self):
        self.accepted.read()
        counts = network.counts()
        return Seen(counts["plain_out"], counts["plain_in"], self.accepted.plain, self.accepted.protected,
                    kernel.blocked())

    def since(self, before):
        return Seen(*(now - then for now, then in zip(self.totals(), before)))
