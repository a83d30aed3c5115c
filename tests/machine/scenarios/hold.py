# SPDX-License-Identifier: GPL-2.0-or-later
"""charon crashes under traffic, and no packet is sent or accepted unprotected until the tunnels are back."""

import signal
from typing import NamedTuple

import journal
import xfrmctl
from gateway_setup import establish, short_timeout_peer, start, wait_known
from streams import FEW, MANY, Flows
from strongswan import gateway

from .traffic import check_tally

NAMES = ("net4", "started")
NAMES_WITH_WARRIOR = (*NAMES, "warrior")

# The common workaround.
IP_XFRM_FLUSH = """
[Service]
ExecStartPre=/bin/sh -c 'ip xfrm state flush; ip xfrm policy flush'
Restart=on-failure
RestartSec=1s
"""

# Minimum rate of a stream of MANY, in packets per second: an emulated machine on a busy host does not reach MANY. The
# notes in the output have the actual rates.
MANY_AT_LEAST = 10 * FEW


class Outcome(NamedTuple):
    cursor: str         # place in the journal before the crash
    tallies: dict       # by flow, the tally from the crash until the tunnels are back
    fastest: dict       # by flow, the maximum number of packets in one second
    outages: dict       # by flow, the seconds from the crash to the end of the longest pause at the peer


def crash_under_traffic(with_signal, rates, back, initiated=()):
    """Kills charon while the flows of these connections run. Then initiates the connections `initiated`, and waits
    until the tunnels of the connections `back` carry their flows again. Returns the outcome."""
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
    """Checks the journal's messages about the hold and its end."""
    summaries, releases = xfrmctl.summaries(outcome.cursor), xfrmctl.releases(outcome.cursor)
    check.equal("one flush and one release", (len(summaries), len(releases)), (1, 1))
    check.that("the flush says that shadows hold the place of all policies",
               all(int(entry["XFRM_SHADOWS"]) >= 3 * len(outcome.tallies) for entry in summaries), journal.text(summaries))
    check.that("the release says how many packets were held back, both ways",
               all(int(entry["XFRM_BLOCKED_OUT"]) > 0 and int(entry["XFRM_BLOCKED_IN"]) > 0 for entry in releases),
               journal.text(releases))
    check.note(journal.text(summaries + releases))


def check_ip_xfrm_flush(check, with_signal, rates):
    # Do not wait for the warrior. Its inbound policy drops plaintext of the gateway, but its charon takes these packets
    # as a sign that the gateway works. net4 is initiated, because the kernel repeats an acquire only after 165 s if
    # charon loses it while installing a trap.
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
    # charon initiates "started" itself.
    establish(tuple(name for name in names if name != "started"))


def hold(check):
    begin(NAMES)
    check_crash(check, signal.SIGKILL, NAMES, "net4")


def hold_short_timeout_peer(check):
    """Crashes charon with a road warrior as peer, which notices within seconds that the gateway's charon has lost its
    SAs."""
    with short_timeout_peer():
        begin(NAMES_WITH_WARRIOR)
        check_crash(check, signal.SIGSEGV, NAMES_WITH_WARRIOR, "warrior")
        xfrmctl.enable(False)
        with gateway.drop_in(IP_XFRM_FLUSH):
            check.variant = f"ip xfrm flush, {MANY} packets/s for started"
            check_ip_xfrm_flush(check, signal.SIGKILL, rates_with_many(NAMES_WITH_WARRIOR, "started"))


SCENARIOS = (hold, hold_short_timeout_peer)
ONLY_REFERENCE = (hold_short_timeout_peer,)
