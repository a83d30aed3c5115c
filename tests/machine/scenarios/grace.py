# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic of connections that are not established when charon has loaded its configuration: one was removed, and the
peer of the other answers late."""

import signal
import time
from pathlib import Path

import connections
import journal
import network
import xfrmctl
from command import POLL_SECONDS_SLOW, wait_for
from gateway_setup import RETIRED, establish, start, wait_known
from streams import FEW, Flows
from strongswan import gateway

from .traffic import check_tally

NAMES = (RETIRED, "started")

# Time for which the peer does not answer, in seconds.
LATE_SECONDS = 5

# The grace in seconds, with enough time for a negotiation in a busy machine after LATE_SECONDS.
GRACE_SECONDS = 15

# The kernel counts the lifetimes of policies in whole seconds.
ROUNDING_SECONDS = 1
# Maximum delay of the expiry, in seconds.
EXPIRY_SECONDS = 10

# A drop-in whose command waits between swanctl and the release.
PAUSE_NAME = "05-test"
GO = Path("/run/go")
PAUSE = f"""
[Service]
ExecStartPost=/bin/sh -c 'until [ -e {GO} ]; do sleep 0.1; done'
"""


def check_blocked(check, when, tallies, names=NAMES):
    for name in names:
        check_tally(check, tallies[name], flow=name, when=when)


def crash_while_peer_is_silent(flows):
    """Removes RETIRED from the configuration, blocks IKE to the peer, and kills charon.

    Returns the tallies of the flows and a place in the journal, both from before the kill, and charon's process id.
    """
    flows.wait_carried()
    connections.remove_from_gateway(RETIRED)
    network.block_ike()
    before, cursor = flows.tallies(), journal.now()
    _, pid = gateway.crash(signal.SIGKILL)
    return before, cursor, pid


def without_grace(check, flows):
    GO.unlink(missing_ok=True)
    with gateway.drop_in(PAUSE, PAUSE_NAME):
        before, cursor, pid = crash_while_peer_is_silent(flows)
        wait_for(lambda: gateway.main_pid() not in (0, pid), 60, "a new charon", POLL_SECONDS_SLOW)
        wait_for(lambda: gateway.has_loaded("started"), 60, "it has its connections")
        flows.wait_held_back()
        check_blocked(check, "until the release", flows.since(before))
        xfrmctl.check_agreement(check)
        GO.touch()
        gateway.wait_restarted(pid)
    # charon has been contacting its peer all the time, but without a grace its tunnel comes too late.
    for name in NAMES:
        check.that(f"{name}: plaintext passes after the release", flows.becomes_free(name), flows.since(before))
    check.equal("no shadow is left", xfrmctl.shadows(), [])
    [release] = xfrmctl.releases(cursor)
    check.equal("the release says that none stays", (release["XFRM_SHADOWS_RELEASED"], release["XFRM_SHADOWS_KEPT"]),
                ("6", "0"))
    check.note(release["MESSAGE"])
    network.unblock_ike()
    wait_known(["started"])


def with_grace(check, flows):
    before, cursor, pid = crash_while_peer_is_silent(flows)
    gateway.wait_restarted(pid)
    [release] = xfrmctl.releases(cursor)
    released = journal.monotonic(release) / 1e6
    check.equal("the release says that all shadows stay",
                (release["XFRM_SHADOWS_RELEASED"], release["XFRM_SHADOWS_KEPT"]), ("0", "6"))
    check.note(release["MESSAGE"])
    xfrmctl.check_agreement(check)

    wait_for(lambda: time.monotonic() > released + LATE_SECONDS, LATE_SECONDS + 1, "the peer's answer is due")
    check_blocked(check, f"while the peer does not answer, for {LATE_SECONDS} s", flows.since(before))
    network.unblock_ike()
    wait_known(["started"])
    flows.wait_carried(["started"])
    check_blocked(check, "until its tunnel carries traffic", flows.since(before), ["started"])

    accepted = flows[RETIRED].accepted
    wait_for(lambda: accepted.counts.passed > before[RETIRED].accepted, GRACE_SECONDS + EXPIRY_SECONDS,
             "the end of the grace")
    free_after = time.monotonic() - released
    check.that(f"{RETIRED}: plaintext passes when the grace is over, not before",
               GRACE_SECONDS - ROUNDING_SECONDS <= free_after, free_after)
    check.that(f"{RETIRED}: both ways", flows.becomes_free(RETIRED), flows.since(before))
    check.equal("no shadow is left", xfrmctl.shadows(), [])
    check.note(f"{RETIRED} is free {free_after:.1f} s after the release")


def grace_retransmitting_each_second(check):
    """Runs all parts with retransmissions every second: a peer that is reachable again answers soon, so a short grace
    suffices."""
    with connections.retransmitting_each_second():
        start(NAMES, release_options="--grace=0")
        establish([RETIRED])
        wait_known(NAMES)
        with Flows(dict.fromkeys(NAMES, FEW)) as flows:
            check.variant = "grace 0"
            without_grace(check, flows)

            check.variant = f"grace {GRACE_SECONDS}s"
            connections.configure_gateway(NAMES)
            gateway.swanctl("--load-all")
            # Initiate: under traffic, charon may lose the acquire for the trap that it has just installed.
            establish([RETIRED])
            wait_known(NAMES)
            xfrmctl.configure(release_options=f"--grace={GRACE_SECONDS}s", mode="hold")
            with_grace(check, flows)


SCENARIOS = (grace_retransmitting_each_second,)
ONLY_REFERENCE = SCENARIOS
