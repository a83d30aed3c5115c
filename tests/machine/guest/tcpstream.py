# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends a TCP stream through a connection, from the gateway to the peer, and finds out whether it breaks and how long
it stalls.

As a program it is both ends of the stream, and writes a line for each event: a word, a number, a time by time.time().
"""

import os
import re
import select
import signal
import sys
import time
from typing import NamedTuple

from background import Background
from command import wait_for
from connections import CONNECTIONS
from exchange import bound

PORT = 7003

# Time between two chunks, in seconds: slow enough to leave an emulated machine time for other work.
SECONDS_BETWEEN = 0.02
CHUNK = bytes(4096)

# Deadline for the connection, in seconds.
CONNECT_SECONDS = 20

# Number of reads at the peer after which the stream counts as carried, and the deadline for them in seconds.
CARRIED = 10
CARRIED_SECONDS = 60


class Result(NamedTuple):
    broken: bool        # whether an error broke the connection
    bytes: int          # number of bytes that the peer received
    longest_stall: float        # longest time without data at the peer, in seconds


def read(output, begin, end):
    """Returns the result of the stream between two moments."""
    events = [(word, int(number), float(moment)) for word, number, moment in
              re.findall(r"^(\w+) (\d+) ([\d.]+)$", output, re.MULTILINE)]
    came = [(number, moment) for word, number, moment in events if word == "received" and begin <= moment <= end]
    moments = [begin, *(moment for _, moment in came), end]
    return Result(any(word == "broken" for word, _, _ in events), sum(number for number, _ in came),
                  max(later - earlier for earlier, later in zip(moments, moments[1:])))


class TcpStream(Background):
    """The stream. Use in a with block."""

    def __init__(self, name):
        super().__init__(sys.executable, __file__, name)

    def wait_carried(self):
        """Waits until the peer has received some more data."""
        before = self.text().count("received")
        wait_for(lambda: self.text().count("received") >= before + CARRIED, CARRIED_SECONDS, "TCP goes on")

    def result(self, begin):
        """Returns the result of the stream from this moment until now."""
        return read(self.text(), begin, time.time())


def carry(sender, receiver, write):
    """Sends and receives until an error breaks the connection, which it raises."""
    due = time.monotonic()
    while True:
        if select.select([receiver], [], [], max(due - time.monotonic(), 0))[0]:
            data = receiver.recv(1 << 16)
            if not data:
                raise ConnectionResetError(0, "the other end has closed")
            write("received", len(data))
        if time.monotonic() >= due:
            try:
                sender.send(CHUNK)
            except BlockingIOError:     # the connection stalls
                pass
            due = max(due + SECONDS_BETWEEN, time.monotonic())


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # Real-time priority, so that programs that start meanwhile do not delay the stream.
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    here, there = CONNECTIONS[sys.argv[1]].inner
    with os.fdopen(1, "w", buffering=1) as output, \
            bound("tcp", there, PORT, "peer") as listener, bound("tcp", here, 0) as sender:
        def write(word, number):
            output.write(f"{word} {number} {time.time():.6f}\n")

        listener.listen()
        sender.settimeout(CONNECT_SECONDS)
        sender.connect((there, PORT))
        sender.setblocking(False)
        with listener.accept()[0] as receiver:
            try:
                carry(sender, receiver, write)
            except OSError as error:
                write("broken", error.errno or 0)


if __name__ == "__main__":
    main()
