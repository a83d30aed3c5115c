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

PORT = 7001             # what goes through a connection, either way
FORGED_PORT = 7002      # plaintext to the gateway

FEW = 50        # packets a second
MANY = 3000

CARRIED = 25
CARRIED_SECONDS = 60
FREE_SECONDS = 10


class Counts(NamedTuple):
    passed: int         # sent, or received
    refused: int        # not sent: a policy blocks them
    failed: int         # not sent for another reason
    fastest: int        # the most packets that were sent or refused in one second
    longest_pause: float        # between two received packets, in seconds
    resumed: float      # time.time() at the end of that


class Stream:
    """A sender or a receiver, in a with block."""

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
    """Plaintext from the router with the inner addresses of a connection, and what the gateway accepts of it, in a with
    block."""

    def __init__(self, inner, rate):
        here, there = inner
        self.accepted = Stream("receive", here, FORGED_PORT)
        # An emulated machine has other things to do as well.
        self.sent = Stream("send", there, here, FORGED_PORT, rate, netns=network.ROUTER, nice=10)
        self.parts = self.accepted, self.sent


class Flow:
    """What goes through one connection both ways, and forged packets."""

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
        """Receivers first."""
        return (self.received_there, self.received_here, self.accepted, self.sent_here, self.sent_there, self.forged)


class Tally(NamedTuple):
    """What became of one flow's packets between two moments."""
    sent: int           # by the gateway, and not refused
    refused: int
    leaked: int         # passed the router in plaintext
    forged: int
    accepted: int       # of the forged

    def since(self, before):
        return Tally(*(now - then for now, then in zip(self, before)))


class Flows(Together):
    """Flows through connections, by their names, in a with block. rates: packets a second."""

    def __init__(self, rates):
        self.flows = {name: Flow(name, rate) for name, rate in rates.items()}
        self.parts = [stream for flow in self.flows.values() for stream in flow.streams]

    def __getitem__(self, name):
        return self.flows[name]

    def wait_held_back(self):
        """Until a second's worth of each flow has been refused from now on."""
        senders = [(flow.sent_here, flow.sent_here.counts.refused + flow.rate) for flow in self.flows.values()]
        wait_for(lambda: all(sender.counts.refused >= enough for sender, enough in senders), CARRIED_SECONDS,
                 "packets are held back")

    def becomes_free(self, name):
        """Whether a flow's packets soon go out in plaintext, and forged ones are accepted."""
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
        """Until some more packets of these flows, or of all, have come out at both ends."""
        ends = [end for name in names or self.flows for end in (self[name].received_there, self[name].received_here)]
        before = [end.counts.passed for end in ends]
        wait_for(lambda: all(end.counts.passed >= then + CARRIED for end, then in zip(ends, before)),
                 CARRIED_SECONDS, "the flows come out at both ends")
