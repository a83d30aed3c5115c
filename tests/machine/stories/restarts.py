# SPDX-License-Identifier: GPL-2.0-or-later
"""Planned restarts under traffic, and a stop: what leaves in plaintext, and what is accepted so."""

import time
from pathlib import Path
from typing import NamedTuple

import kernel
import network
from command import run, wait_for
from connections import CONNECTIONS
from pings import Pings, ping
from plaintext import Accepted
from scenario import establish, start, wait_in_step
from strongswan import gateway, peer

from .traffic import carries_traffic

NAME = "net4"
INNER = CONNECTIONS[NAME].inner
[PACKAGE] = Path("/opt/packages").glob("charon-systemd_*.deb")

# See ACQUIRE_SECONDS; each restart here may lose an acquire.
ACQUIRE_SECONDS = 2

# With 50 packets a second each way; what strongSwan alone lets out is dozens.
DOZENS = 24


def upgrade():
    run("dpkg", "--force-confold", "--force-unsafe-io", "--install", str(PACKAGE), seconds=120)


RESTARTS = (
    ("restart", lambda: gateway.systemctl("restart")),
    ("try-restart", lambda: gateway.systemctl("try-restart")),
    ("upgrade of charon-systemd", upgrade),
)


class Restart(NamedTuple):
    is_new: bool        # whether another charon runs
    counts: dict        # packets at the router until the tunnel is back
    accepted: tuple     # packets that came into the gateway (in plaintext, through the tunnel)
    held_back: int      # packets that block policies kept from leaving
    seconds: float      # from the command to the first answer behind the last lost ping


def restart_under_traffic(command):
    with (Accepted() as accepted, Pings(INNER) as ours, Pings(INNER[::-1], "peer") as theirs):
        for stream in (ours, theirs):
            stream.wait_for_answers()
        accepted.read()
        old_pid, counts, blocked, moment = gateway.main_pid(), network.counts(), kernel.blocked(), time.time()
        command()
        is_new = gateway.is_running_again(old_pid)
        wait_in_step()
        for stream in (ours, theirs):
            stream.wait_for_answers()
        counted, came_in, held_back = network.counted_since(counts), accepted.counted(), kernel.blocked() - blocked
        result = ours.stop()
    return Restart(is_new, counted, came_in, held_back, max((result.back_at() or moment) - moment, 0))


def note(check, restart):
    check.note(f"{restart.counts['plain_out']} packets out in plaintext, {restart.held_back} held back; "
               f"{restart.accepted[0]} of {restart.counts['plain_in']} that came in plaintext accepted; "
               f"back after {restart.seconds:.1f} s")


def check_stock(check, restart):
    check.that("dozens of packets leave in plaintext", restart.counts["plain_out"] >= DOZENS, restart)
    check.that("packets in plaintext are accepted", restart.accepted[0] >= DOZENS, restart)


def check_held(check, restart):
    check.that("no packet leaves in plaintext, some are held back",
               restart.counts["plain_out"] == 0 and restart.held_back > 0, restart)
    check.that("packets that come in plaintext are not accepted, those through the tunnel are",
               restart.counts["plain_in"] > 0 and restart.accepted[0] == 0 and restart.accepted[1] > 0, restart)
    check.equal("only charon's own policies are left", {policy.user for policy in kernel.policies()}, {0})


def check_stopped(check):
    check.variant = "stop"
    carries_traffic(check, NAME)
    gateway.stop()
    check.equal("no SA, no policy and no shadow is left", (kernel.sas(), kernel.policies()), ([], []))
    wait_for(lambda: not peer.has_ike_sas(), 20, "the peer has heard of it")
    before = network.counts()
    result = ping(INNER)
    counts = network.counted_since(before)
    check.equal("traffic is free: every ping is answered", result.lost, 0)
    check.that("it goes in plaintext, both ways", counts["plain_out"] >= result.sent <= counts["plain_in"], counts)


def restarts(check):
    for setup, with_xfrmctl, check_restart in (("stock", False, check_stock), ("xfrmctl", True, check_held)):
        start([NAME], with_xfrmctl, acquire_seconds=ACQUIRE_SECONDS)
        establish([NAME])
        for what, command in RESTARTS:
            check.variant = f"{setup}, {what}"
            restart = restart_under_traffic(command)
            check.that("a new charon runs", restart.is_new)
            check_restart(check, restart)
            note(check, restart)
    check_stopped(check)


STORIES = (restarts,)
