# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends streams of pings, and counts the answers."""

import re
import signal
import subprocess

from background import Background
from command import in_namespace, wait_for

SECONDS_BETWEEN = 0.02

# Number of pings at the end of a stopped stream that do not count as lost. They are those of the last half second,
# which may still be under way.
ON_THEIR_WAY = 25


class Result:
    def __init__(self, output, stopped):
        self.sent = int(re.search(r"(\d+) packets transmitted", output)[1])
        self.replies = {int(seq): float(moment) for moment, seq in
                        re.findall(r"^\[([\d.]+)\] \d+ bytes from .* icmp_seq=(\d+) ", output, re.MULTILINE)}
        self.output = output
        last_answered = max(self.replies, default=0)
        if stopped and self.sent - last_answered <= ON_THEIR_WAY:
            self.sent = last_answered

    @property
    def lost(self):
        return self.sent - len(self.replies)

    def back_at(self):
        """Returns the time of the first answer after the last lost ping, by time.time(). Returns None if no ping is
        answered after the last lost one."""
        last_lost = max(set(range(1, self.sent + 1)) - set(self.replies), default=0)
        return min((moment for seq, moment in self.replies.items() if seq > last_lost), default=None)


class Pings(Background):
    """Pings from one address to another, which end by count or by stop(). If the source is None, the kernel chooses it
    for each packet. Use in a with block."""

    def __init__(self, addresses, netns=None, count=None, seconds_between=SECONDS_BETWEEN):
        source, destination = addresses
        limit = ["-c", str(count), "-W", "1"] if count else []
        bound = ["-I", source] if source else []
        command = in_namespace(netns, ["ping", "-D", "-i", str(seconds_between), *bound, *limit, destination])
        super().__init__(*command, stderr=subprocess.STDOUT)

    def stop(self):
        return Result(self.end(signal.SIGINT), stopped=True)

    def answered(self):
        return self.text().count("bytes from")

    def wait_for_answers(self, count=10):
        """Waits for `count` more answers."""
        before = self.answered()
        wait_for(lambda: self.answered() >= before + count, 20, "pings are answered")


def ping(addresses, count=10, netns=None):
    """Sends `count` pings. Returns the result when ping(8) has ended."""
    with Pings(addresses, netns, count) as pings:
        pings.process.wait()
        return Result(pings.text(), stopped=False)
