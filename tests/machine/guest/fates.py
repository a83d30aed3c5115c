# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends a steady stream of pings from the gateway to the peer. Records whether the router sees each ping protected or
in plaintext, and whether the ping is answered. At the same time the router forges plaintext packets with a source in
the peer's network.

As a program it sends and watches, and writes a line for each event: a word, a number, a time by time.time().
"""

import os
import re
import select
import signal
import socket
import struct
import sys
import time
from bisect import bisect_right

import network
from background import Background
from command import wait_for
from connections import CONNECTIONS
from linux import checksum, inside

SOURCE, DESTINATION = CONNECTIONS["net4"].inner
SECONDS_BETWEEN = 0.02
FORGED_PORT = 7777

# Each ping has its number modulo this in the DSCP field. The outer header of a tunnel inherits the field, so the router
# can see which ping an ESP packet carries.
DSCP_VALUES = 64

# Length of the end of a stream, in seconds. Its pings do not count, because they may still be under way.
ON_THEIR_WAY_SECONDS = 0.5

# Constants of the kernel's headers that Python's socket lacks.
ETH_P_IP = 0x0800
IP_TRANSPARENT = 19
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
SO_TIMESTAMPNS = 35

ECHO_REPLY, ECHO_REQUEST = 0, 8


def echo_request(identifier, number):
    without = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, identifier, number & 0xffff) + bytes(48)
    return without[:2] + struct.pack("!H", checksum(without)) + without[4:]


class Stream:
    """The program: sockets at the sender, at the router and at the receiver, and one loop."""

    def __init__(self, output):
        self.output = output
        self.number = 0
        self.identifier = os.getpid() & 0xffff

        self.pings = self.timestamped(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        self.pings.bind((SOURCE, 0))
        self.receiver = self.timestamped(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.receiver.bind((SOURCE, FORGED_PORT))
        with inside(f"/run/netns/{network.ROUTER}"):
            # This socket receives packets from the gateway, without the link header.
            self.router = self.timestamped(
                socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)))
            self.router.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self.router.bind(("gateway", ETH_P_IP))
            self.forger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.forger.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
            self.forger.bind((DESTINATION, FORGED_PORT))

    @staticmethod
    def timestamped(made):
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.setblocking(False)
        return made

    def write(self, word, number, moment):
        self.output.write(f"{word} {number} {moment:.6f}\n")

    def send(self):
        """Sends one ping and one forged packet. Both count as sent even if the kernel refuses them, since the figures
        are about attempts."""
        moment = time.time()
        self.write("sent", self.number, moment)
        self.write("forged", self.number, moment)
        self.pings.setsockopt(socket.SOL_IP, socket.IP_TOS, self.number % DSCP_VALUES << 2)
        for sender, data, to in (
                (self.pings, echo_request(self.identifier, self.number), (DESTINATION, 0)),
                (self.forger, struct.pack("!I", self.number), (SOURCE, FORGED_PORT))):
            try:
                sender.sendto(data, to)
            except OSError:
                pass
        self.number += 1

    def receive(self, receiver):
        """Receives one packet, and writes the event that it shows."""
        try:
            data, ancillary, _, _ = receiver.recvmsg(2048, 64)
        except OSError:
            return
        [seconds, nanoseconds] = struct.unpack("qq", ancillary[0][2])
        moment = seconds + nanoseconds / 1e9
        if receiver is self.receiver:
            self.write("accepted", struct.unpack("!I", data)[0], moment)
            return
        header = (data[0] & 15) * 4
        if receiver is self.router:
            source = socket.inet_ntoa(data[12:16])
            if data[9] == socket.IPPROTO_ESP:
                self.write("protected", data[1] >> 2, moment)
            elif source == SOURCE:
                self.write("plaintext", data[1] >> 2, moment)
        else:
            kind, _, _, identifier, number = struct.unpack("!BBHHH", data[header:header + 8])
            if (kind, identifier) == (ECHO_REPLY, self.identifier):
                self.write("answered", number, moment)

    def run(self):
        due = time.monotonic()
        while True:
            for receiver in select.select([self.pings, self.receiver, self.router], [], [],
                                          max(due - time.monotonic(), 0))[0]:
                self.receive(receiver)
            if time.monotonic() >= due:
                self.send()
                # Late packets are left out, because they would be sent in a burst.
                due = max(due + SECONDS_BETWEEN, time.monotonic())


class Ping:
    """One packet of the stream."""

    def __init__(self, moment):
        self.moment = moment
        self.protected = self.plaintext = False
        self.answered_at = None

    @property
    def fate(self):
        if self.plaintext:
            return "plaintext"
        if not self.protected:
            return "held_back"
        return "protected" if self.answered_at else "unanswered"


FATES = ("protected", "unanswered", "plaintext", "held_back")


class Result:
    """The fates of the pings from `begin` on, read from the program's output."""

    def __init__(self, output, begin):
        events = [(word, int(number), float(moment)) for word, number, moment in
                  re.findall(r"^(\w+) (\d+) ([\d.]+)$", output, re.MULTILINE)]
        sent = {number: Ping(moment) for word, number, moment in events if word == "sent"}
        moments = [ping.moment for ping in sent.values()]       # numbered from 0, in order
        for word, number, moment in events:
            if word in ("protected", "plaintext"):
                latest = bisect_right(moments, moment) - 1
                if latest >= 0:
                    setattr(sent[latest - (latest - number) % DSCP_VALUES], word, True)
            elif word == "answered":
                sent[number].answered_at = moment
        end = max(moments, default=0) - ON_THEIR_WAY_SECONDS
        self.all = [ping for ping in sent.values() if ping.moment <= end]
        self.pings = [ping for ping in self.all if ping.moment >= begin]
        self.begin = begin
        self.forged = sum(word == "forged" and begin <= moment <= end for word, _, moment in events)
        self.accepted = sum(word == "accepted" and begin <= moment <= end for word, _, moment in events)

    def count(self, *fates):
        return sum(ping.fate in fates for ping in self.pings)

    @property
    def lost(self):
        return sum(ping.answered_at is None for ping in self.pings)

    @property
    def back_after(self):
        """Returns the seconds from the beginning to the first answer after the last lost ping. Returns 0 if no ping is
        lost, and None if no ping is answered after the last lost one."""
        lost = [number for number, ping in enumerate(self.pings) if ping.answered_at is None]
        answers = [ping.answered_at for ping in self.pings[lost[-1] + 1:]] if lost else [self.begin]
        return min(answers) - self.begin if answers else None

    def series(self, first, last, width):
        """Returns the number of pings with each fate, by the time of sending: one row for each `width` seconds."""
        rows = [{"seconds": round(first + width * i, 3), "sent": 0, **dict.fromkeys(FATES, 0)}
                for i in range(round((last - first) / width))]
        for ping in self.all:
            i = int((ping.moment - self.begin - first) // width)
            if 0 <= i < len(rows):
                rows[i]["sent"] += 1
                rows[i][ping.fate] += 1
        return rows


class Fates(Background):
    """The stream. Use in a with block."""

    def __init__(self):
        super().__init__(sys.executable, __file__)

    def wait_for_answers(self, count=10):
        wait_for(lambda: self.text().count("answered") >= count, 20, "pings are answered")

    def stop(self):
        return self.end(signal.SIGTERM)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # Real-time priority, so that programs that start meanwhile do not delay the stream.
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with os.fdopen(1, "w", buffering=1) as output:
        Stream(output).run()


if __name__ == "__main__":
    main()
