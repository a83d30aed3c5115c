# SPDX-License-Identifier: GPL-2.0-or-later
"""Trap connections under traffic: all of them carry it soon after each crash, although charon loses acquires while it
installs its traps. No timeout is tuned: the kernel itself would repeat an acquire after 165 s."""

import signal
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import journal
import kernel
import network
import vici
import xfrmctl
from calibration import scaled
from command import wait_for
from connections import CONNECTIONS
from gateway_setup import RECOVERY_SECONDS, start, wait_in_step
from many import configured
from many import network as network_of
from pings import ping
from streams import PORT, Stream
from strongswan import gateway
from together import Together
from waiting import NotInTime

from .traffic import carries_traffic

COUNT = 21
RATE = 20       # packets per second through each connection
CRASHES = 2
CRASHES_OFTEN = 20

# Maximum time from the moment when the service is ready until a connection carries traffic, in seconds.
WAIT_SECONDS = 5

# A script that leaves the larval SA of an acquire in the kernel. The kernel keeps such an SA only if a process listens
# for acquires, and removes it after the time that charon has set.
PLANTED = Path("/run/planted")
PLANT = Path("/run/plant")
PLANT_SCRIPT = """#!/bin/sh
# As an acquire that charon has lost leaves it, between the flush and charon's start.
policy='src {networks[0]} dst {networks[1]} dir out'
ip xfrm monitor acquire >{planted} & monitor=$!
ip xfrm policy add $policy tmpl src {outer[0]} dst {outer[1]} proto esp reqid 1 mode tunnel
n=50
until [ -s {planted} ] || [ $((n -= 1)) = 0 ]; do ping -c1 -W1 -I {inner[0]} {inner[1]}; done
kill $monitor
ip xfrm policy delete $policy
ip -o xfrm state >{planted}
"""


def address(end, number):
    return network_of(end, number, 0).split("/")[0]


@contextmanager
def addresses():
    """Adds the addresses of the packets at both ends, for the with block."""
    ends = [("gateway", None), ("peer", "peer")]
    for verb in ("add", "delete"):
        for end, (_, netns) in enumerate(ends):
            network.ip_batch([f"address {verb} {network_of(end, number, 0)} dev lan" for number in range(COUNT)], netns)
        if verb == "add":
            yield


class Receivers(Together):
    """The receivers of all connections. Use in a with block for a single crash, since a receiver reports only its
    longest pause."""

    def __init__(self):
        self.streams = self.parts = [Stream("receive", address(1, number), PORT, netns="peer") for number in range(COUNT)]

    def wait_carried(self):
        wait_for(lambda: all(stream.counts.passed >= RATE for stream in self.streams), RECOVERY_SECONDS,
                 "packets of all connections come out at the peer")

    def resumed(self, moment):
        """Returns, by number, when each connection resumed after this moment, by time.time(). Leaves out the others."""
        found = [stream.counts.resumed for stream in self.streams]
        return {number: resumed for number, resumed in enumerate(found) if resumed > moment}


class Crash(NamedTuple):
    waits: list     # for each connection that is back, the seconds from the moment when the service was ready
    dead: list      # numbers of the connections that are not back


def when(what):
    """Returns a timestamp of the service, by time.time()."""
    return int(gateway.show(f"{what}TimestampMonotonic")) / 1e6 + time.time() - time.monotonic()


def crash():
    """Kills charon. Waits until all connections are back, at most until WAIT_SECONDS after the service is ready again.
    Returns a Crash."""
    with Receivers() as receivers:
        receivers.wait_carried()
        _, pid = gateway.crash(signal.SIGKILL)
        gateway.wait_restarted(pid)
        # Count packets only from charon's start on, which is after the flush: before that they may use old SAs.
        started, ready = when("ExecMainStart"), when("ActiveEnter")
        deadline = ready + scaled(WAIT_SECONDS)
        wait_for(lambda: len(receivers.resumed(started)) == COUNT or time.time() > deadline, RECOVERY_SECONDS,
                 "connections are back")
        back = {number: moment for number, moment in receivers.resumed(started).items() if moment <= deadline}
    return Crash([moment - ready for moment in back.values()], sorted(set(range(COUNT)) - set(back)))


def revive(numbers):
    """Initiates these connections, so that all are up at the next crash."""
    for number in numbers:
        vici.ask(gateway.socket, "initiate", ike=f"many{number}", child="child0", timeout="60000")


def crash_often(check, crashes):
    start((), mode="hold")
    results = []
    with configured(COUNT, 1, "trap"), addresses(), ExitStack() as senders:
        for number in range(COUNT):
            senders.enter_context(Stream("send", address(0, number), address(1, number), PORT, RATE))
        for number in range(1, crashes + 1):
            cursor = journal.now()
            result = crash()
            results.append(result)
            revive(result.dead)
            removed = sum(int(entry.get("XFRM_ACQUIRES", 0)) for entry in xfrmctl.releases(cursor))
            check.note(f"crash {number}: {len(result.dead)} of {COUNT} dead after {WAIT_SECONDS} s; the last of the others "
                       f"was back {max(result.waits, default=0):.2f} s after the service was ready; {removed} acquires removed")
        gateway.stop()
    check.equal(f"none of {COUNT} connections is dead {WAIT_SECONDS} s after any of {crashes} crashes",
                [result.dead for result in results], [[]] * crashes)


def traps(check):
    crash_often(check, CRASHES)


def traps_twenty_crashes(check):
    crash_often(check, CRASHES_OFTEN)


def lost_acquire(check):
    """Starts charon while the kernel has an acquire from before. The kernel does not tell charon of this acquire, and
    no packet triggers another one."""
    connection = CONNECTIONS["net4"]
    start(("net4",), mode="hold")
    PLANT.write_text(PLANT_SCRIPT.format(planted=PLANTED, **connection._asdict()))
    with gateway.drop_in(f"[Service]\nExecStartPre=/bin/sh {PLANT}\n"):
        cursor = journal.now()
        gateway.systemctl("restart")
    planted = PLANTED.read_text()
    check.that("it was there when charon started", "spi 0x00000000" in planted and "reqid 1 " in planted, planted)
    check.equal("when charon has loaded its connections, it has gone", kernel.spis(), set())
    check.equal("the journal says so", [entry.get("XFRM_ACQUIRES") for entry in xfrmctl.releases(cursor)], ["1"])
    ping(connection.inner, 1)
    try:
        wait_for(gateway.child_sas, WAIT_SECONDS, "the next packet brings the tunnel up")
    except NotInTime as reason:
        check.that("the next packet brings the tunnel up", False, reason)
        return
    wait_in_step()
    carries_traffic(check, "net4")
    xfrmctl.check_agreement(check)


SCENARIOS = (lost_acquire, traps)
ON_REQUEST = (traps_twenty_crashes,)
ONLY_REFERENCE = (traps,)
