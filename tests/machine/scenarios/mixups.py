# SPDX-License-Identifier: GPL-2.0-or-later
"""No packet goes through an old SA of another connection, although charon assigns its reqids anew at each start.

charon numbers reqids in the order in which it loads the connections. All connections here have the same end points, so
for the kernel an old SA matches a new trap policy with the same reqid.
"""

import signal
from contextlib import ExitStack, contextmanager
from pathlib import Path

import connections
import kernel
import network
import xfrmctl
from arrivals import Arrivals
from command import run, wait_for
from connections import CONNECTIONS
from gateway_setup import RETIRED, establish, of_retired, start, wait_handover_over, wait_known
from pings import Pings, ping
from strongswan import Strongswan, gateway

from .traffic import trigger

# In the order AFTER, "added" gets the reqid of net4's old SAs, "another" that of RETIRED's, and net4 that of third's.
BEFORE = ("net4", RETIRED, "third")
AFTER = ("added", "another", "net4", "third")

GO = Path("/run/go")
HANDOVER = Strongswan(xfrmctl.HANDOVER_UNIT)
WAITING = f"""
[Service]
ExecStart=
ExecStart=/bin/sh -c 'until [ -e {GO} ]; do sleep 0.1; done; exec {xfrmctl.PROGRAM} handover --unit={gateway.unit}'
"""
SECONDS = 20
SECONDS_BETWEEN = 0.1
PACKETS = 10


def source(name):
    return CONNECTIONS[name].inner[0]


def spis_out():
    """Returns the SPIs of charon's outbound SAs by connection."""
    return {child.name: child.spi_out for child in gateway.child_sas()}


def mixed(arrivals):
    """Returns the SPIs of SAs that have carried packets of several connections, with the sources of these packets."""
    return {spi: sources for spi, sources in arrivals.sources().items() if len(sources) > 1}


def crash(names):
    """Kills charon. The next one loads these connections, in this order."""
    connections.configure_gateway(names)
    gateway.crash_and_wait(signal.SIGKILL)


@contextmanager
def held_up():
    """Delays handovers that begin in this with block until its end."""
    GO.unlink(missing_ok=True)
    with HANDOVER.drop_in(WAITING):
        try:
            yield
        finally:
            GO.touch()


def check_held_up(check, arrivals, streams, old):
    """Checks the traffic while the new charon has its trap policies and the handover has not begun. Guard SAs must drop
    the packets of the added connections."""
    stopped = kernel.stopped()
    ping(CONNECTIONS["another"].inner, PACKETS)
    wait_for(lambda: kernel.stopped() >= stopped + 2 * PACKETS, SECONDS, "packets of the added connections are stopped")
    for name in BEFORE:
        streams[name].wait_for_answers()
    check.equal("before the handover: each old SA carries its own connection's packets alone", arrivals.sources(),
                {old[name]: {source(name)} for name in BEFORE})


def check_without_guard(check, arrivals, old):
    """Checks that the other checks can fail. Removes the guard SA of RETIRED, which has no traffic of its own any more.
    Then packets of another connection must go through the old SA of RETIRED."""
    [guard] = [sa for sa in kernel.sas() if sa.user == xfrmctl.KEPT and sa.spi == old[RETIRED] ^ 0xffffffff]
    run("ip", "xfrm", "state", "delete", "src", guard.src, "dst", guard.dst, "proto", guard.proto, "spi",
        hex(guard.spi))
    ping(CONNECTIONS["another"].inner, PACKETS)
    check.equal(f"without its guard SA, packets of another go through the old SA of {RETIRED}",
                arrivals.counts().get((source("another"), old[RETIRED])), PACKETS)


def streams_of(names, stack):
    return {name: stack.enter_context(Pings(CONNECTIONS[name].inner, seconds_between=SECONDS_BETWEEN)) for name in names}


def check_handover(check):
    start(BEFORE, mode="auto")
    establish(BEFORE)
    old, leaks = spis_out(), network.leaks()
    with ExitStack() as stack:
        arrivals = stack.enter_context(Arrivals())
        streams = streams_of(BEFORE, stack)
        for stream in streams.values():
            stream.wait_for_answers()
        with held_up():
            crash(AFTER)
            streams |= streams_of(["added"], stack)
            check_held_up(check, arrivals, streams, old)
            # The new charon does not know RETIRED: its old SAs carry traffic until the handover, then it is blocked.
            retired = streams.pop(RETIRED).stop()
            check_without_guard(check, arrivals, old)
            blocked = streams_of([RETIRED], stack)[RETIRED]
        check.equal(f"{RETIRED}: no packet is lost until the handover", retired.lost, 0)
        wait_handover_over()
        trigger("another")
        wait_known(AFTER)
        for stream in streams.values():
            stream.wait_for_answers()
        results = {name: stream.stop() for name, stream in streams.items()}
        check.equal("in the end: no other SA has carried packets of two connections", set(mixed(arrivals)), {old[RETIRED]})
        check.that("there are new ones, which carry traffic", set(spis_out().values()) & set(arrivals.sources()), old)
        lost = blocked.stop()
        check.that(f"{RETIRED}: packets are lost from then on", lost.lost, lost)
    check.equal("no packet has left in plaintext", network.leaks(), leaks)
    check.equal("nothing is kept", xfrmctl.kept(), [])
    left = of_retired(kernel.policies())
    check.equal(f"{RETIRED}: only shadows of it are left, for the grace",
                ({policy.user for policy in left}, bool(left)), ({xfrmctl.EXPIRING}, True))
    check.equal("no old SA is left", kernel.spis() & set(old.values()), set())
    check.note(", ".join(f"{name}: {result.lost} of {result.sent} lost" for name, result in results.items())
               + f"; {xfrmctl.handovers()[-1]['MESSAGE']}")


def check_stock(check):
    """Checks that strongSwan alone mixes up the SAs: net4 gets the reqid of the old SAs of "added", third that of
    net4's."""
    old = spis_out()
    xfrmctl.enable(False)
    crash(BEFORE)
    with Arrivals() as arrivals:
        for name in ("net4", "third"):
            ping(CONNECTIONS[name].inner, PACKETS)
        counts = arrivals.counts()
    for name, other in (("net4", "added"), ("third", "net4")):
        check.equal(f"packets of {name} go through the old SA of {other}", counts.get((source(name), old[other])), PACKETS)


def mixups(check):
    check.variant = "handover"
    check_handover(check)
    check.variant = "stock"
    check_stock(check)


SCENARIOS = (mixups,)
