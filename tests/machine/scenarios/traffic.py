# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that several scenarios share: of traffic through a connection, and of a daemon that ends under traffic."""

import kernel
import network
from command import POLL_SECONDS_SLOW, wait_for
from connections import CONNECTIONS
from gateway_setup import RECOVERY_SECONDS, look, wait_in_step
from pings import ping
from strongswan import gateway

RESTART_SECONDS = 120


def trigger(name, strongswan=gateway):
    """Sends one packet that matches a trap policy, and waits for the SAs that charon negotiates for it."""
    ping(CONNECTIONS[name].inner, 1, strongswan.netns)
    wait_for(lambda: any(child.name == name for child in strongswan.child_sas()), RECOVERY_SECONDS, f"an SA of {name}")
    wait_in_step(strongswan)


def carries_traffic(check, name):
    """Checks that pings of a connection and their answers travel as ESP, in SAs that charon knows."""
    esp = "esp6" if name == "net6" else "esp"
    before = network.counts()
    result = ping(CONNECTIONS[name].inner)
    counts = network.counted_since(before)
    check.equal(f"{name}: every ping is answered", result.lost, 0)
    check.that(f"{name}: they go as ESP, none in plaintext",
               counts[f"{esp}_out"] >= result.sent and counts[f"{esp}_in"] >= result.sent
               and counts["plain_out"] == 0, counts)
    children = [child for child in gateway.child_sas() if child.name == name]
    check.that(f"{name}: charon's counters and SPIs are the kernel's",
               any(child.packets_out >= result.sent and child.packets_in >= result.sent for child in children)
               and {child.spi_in for child in children} <= kernel.spis(), children)


def check_blocked(check, seen):
    """Checks that no packet was sent or accepted unprotected, and that some packets were blocked."""
    check.that("no packet left in plaintext, some were held back", seen.out == 0 and seen.held_back > 0, seen)
    check.that("no packet in plaintext was accepted, some came through the tunnel",
               seen.accepted == 0 and seen.carried > 0, seen)


def check_tally(check, tally, held_back=True, flow="", when=""):
    """Checks that no packet of a flow was sent or accepted unprotected. Packets must have been blocked, or at least
    sent if not held_back."""
    name, time = f"{flow}: " if flow else "", f" {when}" if when else ""
    check.that(f"{name}no packet leaves in plaintext{time}" + ", some are held back" * held_back,
               tally.leaked == 0 and (tally.refused if held_back else tally.sent) > 0, tally)
    check.that(f"{name}no forged packet is accepted{time}", tally.accepted == 0 and tally.forged > 0, tally)


def comes_back(flows, name, service, act):
    """Calls act(), which ends the daemon of a service, and waits until both ends receive the flows again. Returns the
    flow's tally for this time, and snapshots from before and after it."""
    before, main_pid, old = flows.tallies(), service.main_pid(), look(service)
    act()
    wait_for(lambda: service.is_running_again(main_pid), RESTART_SECONDS, "the service runs again", POLL_SECONDS_SLOW)
    flows.wait_carried()
    wait_in_step(service)
    return flows.since(before)[name], old, look(service)


def check_replaced(check, old, now, daemon="charon"):
    """Checks that no SA and no policy of the snapshot `old` is left, and that the daemon knows all SAs."""
    check.equal("no SA and no policy of before is left", (old.spis & now.spis, old.indexes & now.indexes),
                (set(), set()))
    check.equal(f"{daemon} knows every SA of the kernel", now.spis, now.known_spis)


def note_seen(check, seen, more):
    check.note(f"{seen.out} packets out in plaintext, {seen.held_back} held back; "
               f"{seen.accepted} of {seen.sent_in} that came in plaintext accepted; {more}")
