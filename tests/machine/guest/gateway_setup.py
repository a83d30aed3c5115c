# SPDX-License-Identifier: GPL-2.0-or-later
"""Setups that the scenarios and the measurements share."""

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import connections
import journal
import kernel
import network
import pings
import xfrmctl
from calibration import scaled
from command import POLL_SECONDS_SLOW, CommandFailed, run, wait_for
from connections import CONNECTIONS
from strongswan import gateway, peer

RECOVERY_SECONDS = 60
RETIRED = "retired"
STANDARD = ("host", "net4", "net6", RETIRED)
PEER_CONFIGURATION = Path("/etc/strongswan-peer/swanctl.conf")


def stop():
    """Stops the gateway's charon, and removes all its state from the kernel and from the peer."""
    network.unblock_ike()
    gateway.stop()
    run("systemctl", "reset-failed", gateway.unit, check=False)
    kernel.flush()
    run("ip", "route", "flush", "table", "220", check=False)
    if peer.has_ike_sas():
        peer.systemctl("restart")


def start(names=("net4",), with_xfrmctl=True, release_options=None, mode="hold"):
    """Starts the gateway anew with these connections. `mode` is the mode of xfrmctl; None leaves the installed one."""
    stop()
    connections.configure_gateway(names)
    xfrmctl.configure(release_options=release_options, mode=mode)
    xfrmctl.enable(with_xfrmctl)
    gateway.start()


@contextmanager
def peer_with(text, beside_own=False):
    """Loads these connections into the peer for the with block: instead of its own, or beside them if beside_own."""
    with tempfile.NamedTemporaryFile("w") as file:
        # swanctl unloads connections that are not in the file.
        file.write((PEER_CONFIGURATION.read_text() if beside_own else "") + text)
        file.flush()
        peer.swanctl("--load-all", "--noprompt", "--file", file.name)
        try:
            yield
        finally:
            peer.systemctl("restart")


@contextmanager
def configured(names):
    """Loads these connections at both ends, and no others, for the with block."""
    connections.configure_gateway(names)
    with peer_with(connections.rendered_peer(names)):
        gateway.swanctl("--load-all")
        yield


@contextmanager
def short_timeout_peer():
    """Makes the peer's charon give up after 3 s instead of 165 s when a gateway does not answer; on a slow machine, after
    a longer time, so that it does not give up a gateway that answers. A road warrior then contacts its gateway again.
    For the with block."""
    try:
        connections.configure_peer(
            settings=f"retransmit_tries = 2\n    retransmit_timeout = {scaled(1):.1f}\n    retransmit_base = 1")
        peer.systemctl("restart")
        yield
    finally:
        connections.configure_peer()
        peer.systemctl("restart")


def has_children(names):
    """Returns whether the gateway has an SA of each of these connections.

    Initiates a road warrior's connection again when its charon has given up, as its user would. charon gives up at once
    when a gateway runs but has not loaded its connections yet (NO_PROPOSAL_CHOSEN).
    """
    missing = set(names) - {child.name for child in gateway.child_sas()}
    for name in missing:
        if CONNECTIONS[name].begins_at_peer and not peer.has_ike_sas(name):
            peer.initiate(name, 10)
    return not missing


def wait_known(names):
    """Waits until charon has an SA of each of these connections, and knows exactly the SAs of the kernel."""
    wait_for(lambda: has_children(names), RECOVERY_SECONDS, f"charon has an SA of each of {', '.join(names)}",
             POLL_SECONDS_SLOW)
    wait_in_step()


def is_in_step(strongswan=gateway):
    """Returns whether charon knows exactly the SAs that the kernel has, and there is at least one."""
    known = strongswan.known_spis()     # before the kernel: `ip` takes longer
    return known and known == kernel.spis(strongswan.netns)


def wait_in_step(strongswan=gateway):
    wait_for(lambda: is_in_step(strongswan), RECOVERY_SECONDS, "the kernel's SAs are those that charon lists")


def wait_handover_over():
    wait_for(lambda: not xfrmctl.kept(), RECOVERY_SECONDS, "no old SA goes on", POLL_SECONDS_SLOW)


def establish(names=("net4",), strongswan=gateway):
    for name in names:
        if not (peer if CONNECTIONS[name].begins_at_peer else strongswan).initiate(name):
            raise CommandFailed(f"{name} cannot be established")
    wait_in_step(strongswan)


def of_retired(policies):
    """Returns the policies of RETIRED among these."""
    networks = CONNECTIONS[RETIRED].networks
    return [policy for policy in policies if policy.src in networks]


class Snapshot(NamedTuple):
    """The state of the kernel and of charon at one time."""
    spis: set           # SPIs of the kernel's SAs
    known_spis: set     # SPIs of the SAs that charon knows
    policies: list      # policies in the kernel, without those of xfrmctl
    retired_spis: set   # SPIs of the SAs of RETIRED that charon knows

    @property
    def indexes(self):
        return {policy.index for policy in self.policies}

    @property
    def retired_policies(self):
        return of_retired(self.policies)


def look(strongswan=gateway):
    """Returns a snapshot of the current state."""
    children = strongswan.child_sas()
    return Snapshot(
        kernel.spis(strongswan.netns),
        {spi for child in children for spi in (child.spi_in, child.spi_out)},
        [policy for policy in kernel.policies(strongswan.netns) if not policy.user],
        {spi for child in children if child.name == RETIRED for spi in (child.spi_in, child.spi_out)},
    )


class Crash(NamedTuple):
    moment: float       # time of the kill, by time.time()
    cursor: str         # place in the journal before the kill
    before: Snapshot    # state before the kill
    after: Snapshot     # state at the end
    counts: dict        # the router's counts of packets from the kill until the end
    counts_restarted: dict      # the router's counts from the new charon's start until the end
    pings: pings.Result

    @property
    def recovery_seconds(self):
        back = self.pings.back_at()
        return None if back is None else max(back - self.moment, 0)


def crash_under_traffic(signal, with_xfrmctl, until):
    """Kills charon while pings go through net4, just after RETIRED was removed from the configuration. Returns a Crash.

    Calls until() when the new charon has loaded its configuration. The pings end when until() returns.
    """
    start(STANDARD, with_xfrmctl)
    establish(STANDARD)
    before = look()
    connections.remove_from_gateway(RETIRED)
    cursor = journal.now()

    with pings.Pings(CONNECTIONS["net4"].inner) as stream:
        stream.wait_for_answers()
        counts = network.counts()
        moment, pid = gateway.crash(signal)
        gateway.wait_restarted(pid)
        counts_restarted = network.counts()
        until()
        result = stream.stop()
    return Crash(moment, cursor, before, look(), network.counted_since(counts),
                 network.counted_since(counts_restarted), result)
