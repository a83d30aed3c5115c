# SPDX-License-Identifier: GPL-2.0-or-later
"""Handovers that cannot complete at once: the peer is unreachable, or has to initiate; charon crashes once more, or is
stopped."""

import os
import signal

import connections
import kernel
import network
import xfrmctl
from command import run, wait_for
from connections import CONNECTIONS
from gateway_setup import (RECOVERY_SECONDS, RETIRED, establish, of_retired, short_timeout_peer, start, wait_handover_over,
                           wait_known)
from pings import Pings, ping
from strongswan import gateway
from together import Together

NAMES = ("net4", "warrior")

# The option for a timeout of the handover that must not expire in the test, and a timeout in seconds that must expire.
LONG_TIMEOUT, TIMEOUT_SECONDS = "--timeout=1min", 3
PACKETS = 5


def configure(options, release_options=None):
    xfrmctl.configure(mode="auto", handover_options=options, release_options=release_options)


def spis_of(name):
    return {spi for child in gateway.child_sas() if child.name == name for spi in (child.spi_in, child.spi_out)}


def crash_unreachable():
    """Blocks IKE, and kills charon. The next charon then cannot reach the peer."""
    network.block_ike()
    gateway.crash_and_wait(signal.SIGKILL)


class Streams(Together):
    """Pings through connections, none of which may leave in plaintext. Use in a with block."""

    def __init__(self, names):
        self.pings = {name: Pings(CONNECTIONS[name].inner) for name in names}
        self.parts = self.pings.values()
        self.leaks = network.leaks()

    def begun(self):
        self.wait_for_answers()

    def wait_for_answers(self):
        for stream in self.pings.values():
            stream.wait_for_answers()

    def check_blocked(self, check):
        check.equal("no packet has left in plaintext", network.leaks(), self.leaks)

    def losses(self):
        results = {name: stream.stop() for name, stream in self.pings.items()}
        return ", ".join(f"{name}: {result.lost} of {result.sent} lost" for name, result in results.items())


def check_twice(check):
    """Crashes charon after a connection was removed, and crashes the next charon during the handover."""
    old, retired = {name: spis_of(name) for name in NAMES}, spis_of(RETIRED)
    connections.remove_from_gateway(RETIRED)
    # No stream for the road warrior: its charon would take packets through the old SA as a sign that the gateway works.
    # But the gateway's charon does not know the road warrior any more.
    with Streams(["net4"]) as streams:
        crash_unreachable()
        wait_for(lambda: not kernel.spis() & retired, RECOVERY_SECONDS, f"the SAs of {RETIRED} go")
        left = of_retired(kernel.policies())
        check.equal(f"{RETIRED}: only shadows of it are left, for the grace",
                    ({policy.user for policy in left}, bool(left)), ({xfrmctl.EXPIRING}, True))
        streams.wait_for_answers()
        gateway.crash_and_wait(signal.SIGKILL)
        streams.wait_for_answers()
        check.that("after a second crash, the first one's SAs carry the traffic",
                   set().union(*old.values()) <= kernel.spis(), old)
        network.unblock_ike()
        wait_known(NAMES)
        wait_handover_over()
        streams.wait_for_answers()
        check.equal("when the peer answers, or comes back, they go", kernel.spis() & set().union(*old.values()), set())
        streams.check_blocked(check)
        check.note(streams.losses())


def check_timeout(check):
    old = {name: spis_of(name) for name in NAMES}
    # Connections that fall back are blocked although the grace is over long before.
    configure(f"--timeout={TIMEOUT_SECONDS}s", "--grace=1s")
    with Streams(NAMES) as streams:
        crash_unreachable()
        streams.wait_for_answers()
        check.that("old SAs go on", set().union(*old.values()) <= kernel.spis(), old)
        wait_handover_over()
        check.equal("until the time is over", kernel.spis() & set().union(*old.values()), set())
        for name in NAMES:
            check.equal(f"{name}: then packets are held back", ping(CONNECTIONS[name].inner, PACKETS).lost, PACKETS)
        network.unblock_ike()
        wait_known(NAMES)
        streams.wait_for_answers()
        streams.check_blocked(check)
        [said] = xfrmctl.handovers()[-1:]
        check.that("not before", int(said["XFRM_DURATION_USEC"]) >= TIMEOUT_SECONDS * 1e6, said["MESSAGE"])
        check.equal("the journal says so", (said["XFRM_HANDED_OVER"], said["XFRM_FELL_BACK"]), ("0", str(len(NAMES))))
        check.note(f"{streams.losses()}; {said['MESSAGE']}")


def handover_pid():
    """Returns the process id of the handover; 0 if it does not run."""
    return int(run("systemctl", "show", "--value", "-p", "MainPID", xfrmctl.HANDOVER_UNIT).stdout)


def check_killed_and_stopped(check):
    configure(LONG_TIMEOUT)
    crash_unreachable()
    wait_for(xfrmctl.kept, RECOVERY_SECONDS, "old SAs go on")
    pid = wait_for(handover_pid, RECOVERY_SECONDS, "the handover is under way")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: handover_pid() not in (0, pid), RECOVERY_SECONDS, "another one runs")
    check.that("killed, it is started again, and old SAs go on", xfrmctl.kept())
    gateway.stop()
    check.equal("nothing is left", (kernel.sas(), kernel.policies()), ([], []))


def fallback_retransmitting_each_second(check):
    """Runs all parts with retransmissions every second, so that a peer that is reachable again answers soon. A road
    warrior retries after 3 s."""
    with short_timeout_peer(), connections.retransmitting_each_second():
        start((*NAMES, RETIRED), mode="auto")
        configure(LONG_TIMEOUT)
        establish((*NAMES, RETIRED))
        check.variant = "two crashes"
        check_twice(check)
        check.variant = f"timeout {TIMEOUT_SECONDS} s"
        check_timeout(check)
        check.variant = "killed, and stopped, in the middle"
        check_killed_and_stopped(check)


SCENARIOS = (fallback_retransmitting_each_second,)
ONLY_REFERENCE = SCENARIOS
