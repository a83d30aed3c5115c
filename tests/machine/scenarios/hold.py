# SPDX-License-Identifier: GPL-2.0-or-later
"""charon crashes under traffic, and no packet goes out or comes in without protection until its tunnels are back."""

import signal
from typing import NamedTuple

import journal
import xfrmctl
from gateway_setup import establish, impatient_peer, start, wait_known
from streams import FEW, MANY, Flows
from strongswan import gateway

from .traffic import check_tally

NAMES = ("net4", "started")
NAMES_WITH_WARRIOR = (*NAMES, "warrior")

# The cure that people use.
IP_XFRM_FLUSH = """
[Service]
ExecStartPre=/bin/sh -c 'ip xfrm state flush; ip xfrm policy flush'
Restart=on-failure
RestartSec=1s
"""

# What is left of MANY where an emulated machine shares its processors with others. The notes have the real figures.
MANY_AT_LEAST = 10 * FEW


class Outcome(NamedTuple):
    cursor: str         # the place in the journal before the crash
    tallies: dict       # of each flow, from the crash until the tunnels are back
    fastest: dict       # the most packets of each flow in one second
    outages: dict       # of each flow, in seconds from the crash until packets come out at the peer for good


def crash_under_traffic(with_signal, rates, back, initiated=()):
    """Kills charon while the flows of these connections run, until the tunnels of those in back carry them again, some of
    which are initiated by hand."""
    wait_known(rates)
    with Flows(rates) as flows:
        flows.wait_carried()
        before, cursor = flows.tallies(), journal.now()
        moment, pid = gateway.crash(with_signal)
        gateway.wait_restarted(pid)
        for name in initiated:
            gateway.initiate(name)
        wait_known(back)
        flows.wait_carried(back)
        outages = {name: flows[name].received_there.counts.resumed - moment for name in back}
        return Outcome(cursor, flows.since(before), flows.fastest(), outages)


def note(check, outcome):
    for name, tally in outcome.tallies.items():
        back = f"back after {outcome.outages[name]:.1f} s" if name in outcome.outages else "not back"
        check.note(f"{name}: up to {outcome.fastest[name]} packets/s, {back}; "
                   f"{tally.refused} held back, {tally.leaked} out in plaintext, "
                   f"{tally.accepted} of {tally.forged} forged packets accepted")


def check_rates(check, outcome, rates):
    for name, rate in rates.items():
        if rate == MANY:
            check.that(f"{name}: many packets a second", outcome.fastest[name] >= MANY_AT_LEAST, outcome.fastest)


def rates_with_many(names, name):
    return {**dict.fromkeys(names, FEW), name: MANY}


def check_hold(check, with_signal, rates):
    outcome = crash_under_traffic(with_signal, rates, tuple(rates))
    check_rates(check, outcome, rates)
    for name, tally in outcome.tallies.items():
        check_tally(check, tally, flow=name)
    check_said(check, outcome)
    note(check, outcome)


def check_said(check, outcome):
    """What the journal says of the hold and of its end."""
    summaries, releases = xfrmctl.summaries(outcome.cursor), xfrmctl.releases(outcome.cursor)
    check.equal("one flush and one release", (len(summaries), len(releases)), (1, 1))
    check.that("the flush says that shadows hold the place of all policies",
               all(int(entry["XFRM_SHADOWS"]) >= 3 * len(outcome.tallies) for entry in summaries), journal.text(summaries))
    check.that("the release says how many packets were held back, both ways",
               all(int(entry["XFRM_BLOCKED_OUT"]) > 0 and int(entry["XFRM_BLOCKED_IN"]) > 0 for entry in releases),
               journal.text(releases))
    check.note(journal.text(summaries + releases))


def check_ip_xfrm_flush(check, with_signal, rates):
    # Not the warrior: its inbound policy takes the plaintext that it drops for a sign of life of the gateway.
    # An acquire for net4 that charon loses while it installs the trap is repeated after 165 s.
    outcome = crash_under_traffic(with_signal, rates, ("net4", "started"), ("net4",))
    for name, tally in outcome.tallies.items():
        check.that(f"{name}: packets leave in plaintext", tally.leaked > 0, tally)
        check.that(f"{name}: forged packets are accepted", tally.accepted > 0, tally)
    note(check, outcome)


def check_crash(check, with_signal, names, name):
    check.variant = f"{with_signal.name}, {MANY} packets/s for {name}"
    check_hold(check, with_signal, rates_with_many(names, name))


def begin(names):
    start(names)
    # "started" begins by itself.
    establish(tuple(name for name in names if name != "started"))


def hold(check):
    begin(NAMES)
    check_crash(check, signal.SIGKILL, NAMES, "net4")


def hold_impatient_peer(check):
    """A road warrior finds out within seconds that its gateway does not know it any more."""
    with impatient_peer():
        begin(NAMES_WITH_WARRIOR)
        check_crash(check, signal.SIGSEGV, NAMES_WITH_WARRIOR, "warrior")
        xfrmctl.enable(False)
        with gateway.drop_in(IP_XFRM_FLUSH):
            check.variant = f"ip xfrm flush, {MANY} packets/s for started"
            check_ip_xfrm_flush(check, signal.SIGKILL, rates_with_many(NAMES_WITH_WARRIOR, "started"))


SCENARIOS = (hold, hold_impatient_peer)
ONLY_REFERENCE = (hold_impatient_peer,)
