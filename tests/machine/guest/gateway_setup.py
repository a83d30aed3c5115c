# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenes that the scenarios and the demonstration have in common."""

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
from command import POLL_SECONDS_SLOW, CommandFailed, run, wait_for
from connections import CONNECTIONS
from strongswan import gateway, peer

RECOVERY_SECONDS = 60
RETIRED = "retired"
STANDARD = ("host", "net4", "net6", RETIRED)
PEER_CONFIGURATION = Path("/etc/strongswan-peer/swanctl.conf")


def stop():
    """No charon on the gateway, and nothing of it in the kernel or at the peer."""
    network.unblock_ike()
    gateway.stop()
    run("systemctl", "reset-failed", gateway.unit, check=False)
    kernel.flush()
    run("ip", "route", "flush", "table", "220", check=False)
    if peer.has_ike_sas():
        peer.systemctl("restart")


def start(names=("net4",), with_xfrmctl=True, release_options=None, mode="hold"):
    """A gateway that has just started, with these connections; mode None: as installed."""
    stop()
    connections.configure_gateway(names)
    xfrmctl.configure(release_options=release_options, mode=mode)
    xfrmctl.enable(with_xfrmctl)
    gateway.start()


@contextmanager
def peer_with(text, beside_own=False):
    """The peer has these connections, and no others, or those beside its own."""
    with tempfile.NamedTemporaryFile("w") as file:
        # Connections that are not in the file are unloaded.
        file.write((PEER_CONFIGURATION.read_text() if beside_own else "") + text)
        file.flush()
        peer.swanctl("--load-all", "--noprompt", "--file", file.name)
        try:
            yield
        finally:
            peer.systemctl("restart")


@contextmanager
def impatient_peer():
    """The peer's charon gives up after 3 s when a gateway does not answer, instead of after 165 s: so soon a road warrior
    asks its gateway again."""
    try:
        connections.configure_peer(
            settings="retransmit_tries = 2\n    retransmit_timeout = 1\n    retransmit_base = 1")
        peer.systemctl("restart")
        yield
    finally:
        connections.configure_peer()
        peer.systemctl("restart")


def has_children(names):
    """Whether the gateway has an SA of each of these connections.

    The user of a road warrior tries again when charon has given up, as it does at once when it asks a gateway that runs
    but has not loaded its connections yet (NO_PROPOSAL_CHOSEN).
    """
    missing = set(names) - {child.name for child in gateway.child_sas()}
    for name in missing:
        if CONNECTIONS[name].begins_at_peer and not peer.has_ike_sas(name):
            peer.initiate(name, 10)
    return not missing


def wait_known(names):
    wait_for(lambda: has_children(names), RECOVERY_SECONDS, f"charon has an SA of each of {', '.join(names)}",
             POLL_SECONDS_SLOW)
    wait_in_step()


def is_in_step(strongswan=gateway):
    """Whether charon knows exactly the SAs that the kernel has, and there are some."""
    known = strongswan.known_spis()     # charon is asked first: `ip` takes longer
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
    networks = CONNECTIONS[RETIRED].networks
    return [policy for policy in policies if policy.src in networks]


class Snapshot(NamedTuple):
    """What the kernel and charon held at one time."""
    spis: set
    known_spis: set
    policies: list      # without shadows
    retired_spis: set

    @property
    def indexes(self):
        return {policy.index for policy in self.policies}

    @property
    def retired_policies(self):
        return of_retired(self.policies)


def look(strongswan=gateway):
    children = strongswan.child_sas()
    return Snapshot(
        kernel.spis(strongswan.netns),
        {spi for child in children for spi in (child.spi_in, child.spi_out)},
        [policy for policy in kernel.policies(strongswan.netns) if not policy.user],
        {spi for child in children if child.name == RETIRED for spi in (child.spi_in, child.spi_out)},
    )


class Crash(NamedTuple):
    moment: float       # time.time() of the kill
    cursor: str         # the place in the journal before it
    before: Snapshot
    after: Snapshot
    counts: dict        # packets at the router from the kill until the end
    counts_restarted: dict      # the same from the new charon's start on
    pings: pings.Result

    @property
    def recovery_seconds(self):
        back = self.pings.back_at()
        return None if back is None else max(back - self.moment, 0)


def crash_under_traffic(signal, with_xfrmctl, until):
    """Kills charon while pings go through net4 and RETIRED has just left the configuration.

    Pings go on until until() returns, which is called when the new charon has loaded its configuration.
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
