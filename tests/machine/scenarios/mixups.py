# SPDX-License-Identifier: GPL-2.0-or-later
"""No connection's traffic goes through an old SA of another one, though charon deals out its reqids anew at each start.

charon counts them in the order in which it loads the connections. All of these have the same end points, so for the kernel
an old SA fits a new trap policy when the reqid does.
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

# "added" gets the reqid of net4's old SAs, "another" that of RETIRED's, and net4 that of third's.
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
    """Of the SAs that charon has, by connection."""
    return {child.name: child.spi_out for child in gateway.child_sas()}


def mixed(arrivals):
    """SPIs that have carried packets of several connections."""
    return {spi: sources for spi, sources in arrivals.sources().items() if len(sources) > 1}


def crash(names):
    """Kills charon; the next one has these connections, in this order."""
    connections.configure_gateway(names)
    gateway.crash_and_wait(signal.SIGKILL)


@contextmanager
def held_up():
    """Handovers that begin in this with block wait until it ends."""
    GO.unlink(missing_ok=True)
    with HANDOVER.drop_in(WAITING):
        try:
            yield
        finally:
            GO.touch()


def check_held_up(check, arrivals, streams, old):
    """The new charon has its trap policies, and nobody hands anything over."""
    stopped = kernel.stopped()
    ping(CONNECTIONS["another"].inner, PACKETS)
    wait_for(lambda: kernel.stopped() >= stopped + 2 * PACKETS, SECONDS, "packets of the added connections are stopped")
    for name in BEFORE:
        streams[name].wait_for_answers()
    check.equal("before the handover: each old SA carries its own connection's packets alone", arrivals.sources(),
                {old[name]: {source(name)} for name in BEFORE})


def check_without_guard(check, arrivals, old):
    """The checks see what they are to see. RETIRED has no traffic any more."""
    [guard] = [sa for sa in kernel.sas() if sa.user == xfrmctl.KEEP and sa.spi == old[RETIRED] ^ 0xffffffff]
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
            # charon does not know it any more: it goes on until the handover, and is blocked from then on.
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
                ({policy.user for policy in left}, bool(left)), ({xfrmctl.GRACE}, True))
    check.equal("no old SA is left", kernel.spis() & set(old.values()), set())
    check.note(", ".join(f"{name}: {result.lost} of {result.sent} lost" for name, result in results.items())
               + f"; {xfrmctl.handovers()[-1]['MESSAGE']}")


def check_stock(check):
    """With strongSwan alone, old SAs stay as well: net4 has the reqid of added's now, third that of net4's."""
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
