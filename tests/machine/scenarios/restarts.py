# SPDX-License-Identifier: GPL-2.0-or-later
"""Planned restarts under traffic, and a stop: packets that leave in plaintext or are accepted in plaintext."""

import time
from pathlib import Path
from typing import NamedTuple

import journal
import kernel
import network
import xfrmctl
from command import run, wait_for
from connections import CONNECTIONS
from gateway_setup import establish, start, wait_in_step
from pings import ping
from plaintext import BothWays, Seen
from strongswan import gateway, peer

from .traffic import carries_traffic, check_blocked, note_seen

NAME = "net4"
INNER = CONNECTIONS[NAME].inner
PACKAGES = Path("/opt/packages")

# Minimum number of packets that strongSwan alone sends in plaintext during a restart, and minimum number that it
# accepts. There are 50 packets per second in each direction.
DOZENS = 24


def upgrade():
    [package] = PACKAGES.glob("charon-systemd_*.deb")
    run("dpkg", "--force-confold", "--force-unsafe-io", "--install", str(package), seconds=120)


RESTARTS = (
    ("restart", lambda: gateway.systemctl("restart")),
    ("try-restart", lambda: gateway.systemctl("try-restart")),
    ("upgrade of charon-systemd", upgrade),
)


def restart_stock():
    """Restarts the service and initiates the connection. Under traffic, charon may lose an acquire while it installs a
    trap, and without xfrmctl the kernel repeats it only after 165 s."""
    gateway.systemctl("restart")
    gateway.initiate(NAME)


class Restart(NamedTuple):
    is_new: bool        # whether another charon runs
    seen: Seen          # counts until the tunnel is back
    seconds: float      # time from the command to the first answer after the last lost ping


def restart_under_traffic(command):
    """Runs a command that restarts the service under traffic, and waits until the tunnel is back. Returns a Restart."""
    with BothWays(NAME) as pings:
        pings.wait_for_answers()
        old_pid, totals, moment = gateway.main_pid(), pings.totals(), time.time()
        command()
        is_new = gateway.is_running_again(old_pid)
        wait_in_step()
        pings.wait_for_answers()
        seen = pings.since(totals)
        back = pings.ours.stop().back_at()
    return Restart(is_new, seen, max((back or moment) - moment, 0))


def unseen_ms(cursor):
    """Returns the milliseconds from the end of `arm` to charon's SIGTERM, in which charon can install policies that
    `arm` does not see."""
    ended, *_ = xfrmctl.said("Shadows were put behind policies", cursor)
    [sigterm] = [entry for entry in journal.of_unit(gateway.unit, cursor) if "SIGTERM received" in str(entry["MESSAGE"])]
    return (journal.sent(sigterm) - journal.sent(ended)) / 1000


def check_stock(check, seen):
    check.that("dozens of packets leave in plaintext", seen.out >= DOZENS, seen)
    check.that("packets in plaintext are accepted", seen.accepted >= DOZENS, seen)


def check_held(check, seen):
    check_blocked(check, seen)
    check.that("packets in plaintext came in", seen.sent_in > 0, seen)
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


def run_restarts(check, with_xfrmctl, check_restart, commands):
    start([NAME], with_xfrmctl)
    establish([NAME])
    for what, command in commands:
        check.variant = what
        cursor = journal.now()
        restart = restart_under_traffic(command)
        check.that("a new charon runs", restart.is_new)
        check_restart(check, restart.seen)
        note_seen(check, restart.seen, f"back after {restart.seconds:.1f} s")
        if with_xfrmctl:
            check.note(f"from the end of arm to charon's SIGTERM: {unseen_ms(cursor):.1f} ms")


def restarts_stock(check):
    # Only one kind of restart, since charon ends in the same way in all of them.
    run_restarts(check, False, check_stock, [("restart", restart_stock)])


def restarts(check):
    run_restarts(check, True, check_held, RESTARTS[:1])
    check_stopped(check)


def restarts_otherwise(check):
    run_restarts(check, True, check_held, RESTARTS[1:])


SCENARIOS = (restarts_stock, restarts, restarts_otherwise)
ONLY_REFERENCE = (restarts_stock, restarts_otherwise)
