# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic through a connection, as several scenarios check it."""

import kernel
import network
from command import wait_for
from connections import CONNECTIONS
from gateway_setup import RECOVERY_SECONDS, wait_in_step
from pings import ping
from strongswan import gateway


def trigger(name, strongswan=gateway):
    """Sends one packet into a trap policy and waits for the SAs that it leads to."""
    ping(CONNECTIONS[name].inner, 1, strongswan.netns)
    wait_for(lambda: any(child.name == name for child in strongswan.child_sas()), RECOVERY_SECONDS, f"an SA of {name}")
    wait_in_step(strongswan)


def carries_traffic(check, name):
    """Pings of a connection go out and come back as ESP, in SAs that charon knows."""
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


def check_closed(check, seen):
    """Nothing has left or come in unprotected, though there was something to hold back."""
    check.that("no packet left in plaintext, some were held back", seen.out == 0 and seen.held_back > 0, seen)
    check.that("no packet in plaintext was accepted, some came through the tunnel",
               seen.accepted == 0 and seen.carried > 0, seen)


def note_seen(check, seen, more):
    check.note(f"{seen.out} packets out in plaintext, {seen.held_back} held back; "
               f"{seen.accepted} of {seen.sent_in} that came in plaintext accepted; {more}")
