# SPDX-License-Identifier: GPL-2.0-or-later
"""Steady streams of UDP packets, counted at their ends."""

import struct
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import network
from command import in_namespace, wait_for
from connections import CONNECTIONS
from together import Together
from waiting import NotInTime

PROGRAM = Path(__file__).parent.parent / "tools/stream"
COUNTS = struct.Struct("=6Q")       # struct counts of the program
NANOSECONDS = 1_000_000_000

PORT = 7001             # port of packets through a connection, in both directions
FORGED_PORT = 7002      # port of forged plaintext to the gateway

FEW = 50                # packets per second
MANY = 3000             # packets per second

# Number of packets that each end must receive before a flow counts as carried, and the deadline for them.
CARRIED = 25
CARRIED_SECONDS = 60

# Deadline for plaintext to pass, in seconds.
FREE_SECONDS = 10


class Counts(NamedTuple):
    passed: int         # packets sent or received
    refused: int        # packets that were not sent because a policy blocks them
    failed: int         # packets that were not sent for another reason
    fastest: int        # maximum number of packets sent or refused in one second
    longest_pause: float        # longest time between two received packets, in seconds
    resumed: float      # end of the longest pause, by time.time()


class Stream:
    """A sender or a receiver (tests/machine/stream.c). Use in a with block."""

    def __init__(self, verb, *arguments, netns=None, nice=0):
        self.verb, self.arguments, self.netns, self.nice = verb, [str(value) for value in arguments], netns, nice

    def __enter__(self):
        self.file = tempfile.NamedTemporaryFile()
        command = ["nice", f"-n{self.nice}", PROGRAM, self.verb, self.file.name, *self.arguments]
        self.process = subprocess.Popen(in_namespace(self.netns, command))
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        self.file.close()

    @property
    def counts(self):
        data = Path(self.file.name).read_bytes().ljust(COUNTS.size, b"\0")
        *packets, pause, resumed = COUNTS.unpack(data)
        return Counts(*packets, pause / NANOSECONDS, resumed / NANOSECONDS)


class Forgery(Together):
    """Sends plaintext from the router with the inner addresses of a connection, and counts the packets that the gateway
    accepts. Use in a with block."""

    def __init__(self, inner, rate):
        here, there = inner
        self.accepted = Stream("receive", here, FORGED_PORT)
        # At low priority: an emulated machine needs its processors for other work.
        self.sent = Stream("send", there, here, FORGED_PORT, rate, netns=network.ROUTER, nice=10)
        self.parts = self.accepted, self.sent


class Flow:
    """The streams through one connection in both directions, and forged packets."""

    def __init__(self, name, rate):
        here, there = CONNECTIONS[name].inner
        forgery = Forgery((here, there), rate)
        self.name = name
        self.rate = rate
        self.inner = (here, there)
        self.received_there = Stream("receive", there, PORT, netns="peer")
        self.received_here = Stream("receive", here, PORT)
        self.accepted = forgery.accepted
        self.sent_here = Stream("send", here, there, PORT, rate)
        self.sent_there = Stream("send", there, here, PORT, FEW, netns="peer")
        self.forged = forgery.sent

    @property
    def streams(self):
        """Returns all streams, receivers first."""
        return (self.received_there, self.received_here, self.accepted, self.sent_here, self.sent_there, self.forged)


class Tally(NamedTuple):
    """Counts of one flow's packets between two moments."""
    sent: int           # packets that the gateway has sent
    refused: int        # packets that the gateway could not send because a policy blocks them
    leaked: int         # packets that passed the router in plaintext
    forged: int         # forged packets sent
    accepted: int       # forged packets that the gateway accepted

    def since(self, before):
        return Tally(*(now - then for now, then in zip(self, before)))


class Flows(Together):
    """Flows through connections, by their names. Use in a with block. `rates` has the packets per second."""

    def __init__(self, rates):
        self.flows = {name: Flow(name, rate) for name, rate in rates.items()}
        self.parts = [stream for flow in self.flows.values() for stream in flow.streams]

    def __getitem__(self, name):
        return self.flows[name]

    def wait_held_back(self):
        """Waits until the kernel has refused another second's worth of packets of each flow."""
        senders = [(flow.sent_here, flow.sent_here.counts.refused + flow.rate) for flow in self.flows.values()]
        wait_for(lambda: all(sender.counts.refused >= enough for sender, enough in senders), CARRIED_SECONDS,
                 "packets are held back")

    def becomes_free(self, name):
        """Waits for plaintext to pass in both directions. Returns whether it does in time."""
        before = self.tallies()
        try:
            return wait_for(lambda: self[name].accepted.counts.passed > before[name].accepted
                            and self.since(before)[name].leaked > 0, FREE_SECONDS, "plaintext passes both ways")
        except NotInTime:
            return False

    def tallies(self):
        leaks = network.leaks()
        return {name: Tally(flow.sent_here.counts.passed, flow.sent_here.counts.refused,
                            leaks.get(flow.inner, 0), flow.forged.counts.passed, flow.accepted.counts.passed)
                for name, flow in self.flows.items()}

    def fastest(self):
        return {name: flow.sent_here.counts.fastest for name, flow in self.flows.items()}

    def since(self, before):
        return {name: tally.since(before[name]) for name, tally in self.tallies().items()}

    def wait_carried(self, names=None):
        """Waits until both ends have received some more packets of each of these flows, or of all flows."""
        ends = [end for name in names or self.flows for end in (self[name].received_there, self[name].received_here)]
        before = [end.counts.passed for end in ends]
        wait_for(lambda: all(end.counts.passed >= then + CARRIED for end, then in zip(ends, before)),
                 CARRIED_SECONDS, "the flows come out at both ends")
