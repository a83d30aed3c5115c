# SPDX-License-Identifier: GPL-2.0-or-later
"""charon crashes under traffic, and no packet goes out or comes in without protection until its tunnels are back."""

import signal
import time
from typing import NamedTuple

import journal
import xfrmctl
from command import wait_for
from scenario import RECOVERY_SECONDS, establish, start, wait_in_step
from streams import FEW, MANY, Flows
from strongswan import gateway

NAMES = ("net4", "started", "warrior")

# The cure that people use.
IP_XFRM_FLUSH = """
[Service]
ExecStartPre=/bin/sh -c 'ip xfrm state flush; ip xfrm policy flush'
Restart=on-failure
RestartSec=1s
"""

# What a machine that does not keep up may leave out of MANY.
MANY_AT_LEAST = 2000


class Outcome(NamedTuple):
    cursor: str         # the place in the journal before the crash
    tallies: dict       # of each flow, from the crash until all tunnels are back
    outages: dict       # of each flow, in seconds from the crash until packets come out at the peer for good


def wait_known(names):
    wait_for(lambda: {child.name for child in gateway.child_sas()} >= set(names), RECOVERY_SECONDS,
             f"charon has an SA of each of {', '.join(names)}")
    wait_in_step()


def crash_under_traffic(with_signal, rates, back):
    """Kills charon while the flows of these connections run, until the tunnels of those in back carry them again."""
    wait_known(rates)
    with Flows(rates) as flows:
        flows.wait_carried()
        before, cursor = flows.tallies(), journal.now()
        moment, pid = gateway.crash(with_signal)
        gateway.wait_restarted(pid)
        wait_known(back)
        flows.wait_carried(back)
        outages = {name: flows[name].received_there.counts.resumed - moment for name in back}
        return Outcome(cursor, flows.since(before), outages)


def note(check, outcome):
    for name, tally in outcome.tallies.items():
        back = f"back after {outcome.outages[name]:.1f} s" if name in outcome.outages else "not back"
        check.note(f"{name}: {tally.rate:.0f} packets/s for {tally.seconds:.1f} s, {back}; "
                   f"{tally.refused} held back, {tally.leaked} out in plaintext, "
                   f"{tally.accepted} of {tally.forged} forged packets accepted")


def check_rates(check, outcome, rates):
    for name, rate in rates.items():
        if rate == MANY:
            check.that(f"{name}: several thousand packets a second were sent", outcome.tallies[name].rate >= MANY_AT_LEAST,
                       outcome.tallies[name])


def rates_with_many(name):
    return {**dict.fromkeys(NAMES, FEW), name: MANY}


def check_hold(check, with_signal, rates):
    outcome = crash_under_traffic(with_signal, rates, NAMES)
    check_rates(check, outcome, rates)
    tallies = outcome.tallies
    for name, tally in tallies.items():
        check.that(f"{name}: no packet leaves in plaintext, some are held back", tally.leaked == 0 and tally.refused > 0,
                   tally)
        check.that(f"{name}: no forged packet is accepted", tally.accepted == 0 and tally.forged > 0, tally)
    note(check, outcome)


def check_ip_xfrm_flush(check, with_signal, rates):
    # Not the warrior: its inbound policy takes the plaintext that it drops for a sign of life of the gateway.
    outcome = crash_under_traffic(with_signal, rates, ("net4", "started"))
    check_rates(check, outcome, rates)
    for name, tally in outcome.tallies.items():
        check.that(f"{name}: packets leave in plaintext", tally.leaked > 0, tally)
        check.that(f"{name}: forged packets are accepted", tally.accepted > 0, tally)
    note(check, outcome)


def hold(check):
    # The peer begins with the warrior.
    start(NAMES)
    establish(("net4", "warrior"))

    xfrmctl.enable(False)
    with gateway.drop_in(IP_XFRM_FLUSH):
        for with_signal, name in ((signal.SIGKILL, "warrior"), (signal.SIGSEGV, "started")):
            check.variant = f"ip xfrm flush, {with_signal.name}, {MANY} packets/s for {name}"
            check_ip_xfrm_flush(check, with_signal, rates_with_many(name))


STORIES = (hold,)
