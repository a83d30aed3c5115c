# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams of pings, with the fate of every packet."""

import re
import signal
import subprocess

from background import Background
from command import in_namespace, wait_for

SECONDS_BETWEEN = 0.02

# When a stream is stopped, the packets of its last half second may still be on their way.
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
        """When the first answer came behind the last lost packet, by time.time(); None if none came again."""
        last_lost = max(set(range(1, self.sent + 1)) - set(self.replies), default=0)
        return min((moment for seq, moment in self.replies.items() if seq > last_lost), default=None)


class Pings(Background):
    """Pings from one address to another, in a with block; they end by count or by stop(). None as the first leaves it to
    the kernel, for each packet."""

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
        """Until this many more packets have come back."""
        before = self.answered()
        wait_for(lambda: self.answered() >= before + count, 20, "pings are answered")


def ping(addresses, count=10, netns=None):
    with Pings(addresses, netns, count) as pings:
        pings.process.wait()
        return Result(pings.text(), stopped=False)
