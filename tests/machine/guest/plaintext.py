# SPDX-License-Identifier: GPL-2.0-or-later
"""Plaintext pings that the gateway accepts."""

import socket
from ipaddress import ip_address, ip_network

INNER = ip_network("10.0.0.0/8")

# Time to live: ping sends with this one, and only the router takes one off, not a tunnel.
TTL_SENT = 64
TTL_OFFSET, SOURCE_OFFSET = 8, 12

SO_RCVBUFFORCE = 33
BUFFER_BYTES = 64 << 20


class Accepted:
    """Counts echo requests and replies that the gateway's inbound policies let pass though they came in plaintext, in
    a with block.

    A raw socket gets each packet behind the policies. How many packets the peer sends in plaintext says nothing of the
    gateway: to a peer that has heard charon's farewell, and so has no policies, all of them are free.
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
        """Counts what has come in until now."""
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

    def counted(self):
        """(in plaintext, through a tunnel) since the last time."""
        before = self.plain, self.protected
        self.read()
        return self.plain - before[0], self.protected - before[1]
