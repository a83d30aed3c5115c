# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine boots: if the operator has enabled the boot unit, the traffic that strongSwan protected before stays
blocked until strongSwan has started."""

import signal

import first_boot
import journal
import kernel
import xfrmctl
from command import run, wait_for
from gateway_setup import establish, start, wait_known
from streams import FEW, Flows
from strongswan import gateway

from .traffic import carries_traffic, check_tally, trigger

BLOCKED = "Traffic that was protected before the boot is blocked"
NAMES = ("net4", "started")

# Keeps systemd from acting when charon is killed, since after a power cut systemd does not run either.
NO_RESTART = "[Service]\nRestart=no\nExecStopPost=\n"


def boot(check):
    """Checks the machine's own boot, at which the file written by machine.py was restored. Runs before all others."""
    check.equal("strongSwan runs", gateway.show("ActiveState"), "active")
    check.equal("no restart was needed", gateway.show("NRestarts"), "0")
    summaries = xfrmctl.summaries()
    check.equal("one flush, which removed nothing", [xfrmctl.removed(entry) for entry in summaries], [(0, 0)])
    seen = first_boot.seen()
    check.equal("as soon as there was a network, every packet was held back", seen,
                {"refused": first_boot.PACKETS, "blocked": first_boot.PACKETS, "out": 0})
    check.equal("what was saved was blocked before", [entry["XFRM_POLICIES"] for entry in
                                                     xfrmctl.said(BLOCKED, unit=xfrmctl.BOOT_UNIT)], ["3"])
    check.equal("and released when charon had its connections",
                [(entry["XFRM_SHADOWS_RELEASED"], entry["XFRM_SHADOWS_KEPT"]) for entry in xfrmctl.releases()],
                [("3", "0")])
    check.equal("the connection is trapped, without an SA", (len(kernel.policies()), kernel.spis()), (3, set()))
    trigger("net4")
    carries_traffic(check, "net4")
    run("systemctl", "disable", "--now", xfrmctl.BOOT_UNIT)


def cut_power():
    """Imitates a power cut: kills charon and removes all state from the kernel, without a clean shutdown."""
    gateway.crash(signal.SIGKILL)
    wait_for(lambda: gateway.show("ActiveState") == "failed", 20, "systemd has seen it")
    gateway.systemctl("reset-failed")
    run("systemctl", "stop", xfrmctl.BOOT_UNIT)
    kernel.flush()
    run("ip", "route", "flush", "table", "220", check=False)


def begin_to_save(check):
    """Enables saving for the next boot, and saves once. Returns the text of the file."""
    run("systemctl", "enable", "--now", xfrmctl.BOOT_UNIT)
    timer = run("systemctl", "show", "--value", "--property=ActiveState", xfrmctl.SAVE_TIMER).stdout.strip()
    check.equal("it is saved from time to time", timer, "active")
    run("systemctl", "start", xfrmctl.SAVE_UNIT)
    return xfrmctl.SAVED.read_text()


def check_power_cut(check):
    start(NAMES)
    establish(("net4",))
    wait_known(NAMES)

    check.variant = "not enabled"
    cut_power()
    with Flows(dict.fromkeys(NAMES, FEW)) as flows:
        for name in NAMES:
            check.that(f"{name}: until charon starts, packets leave in plaintext and are accepted so",
                       flows.becomes_free(name), flows.tallies())
        gateway.start()
        flows.wait_carried()

    check.variant = "enabled"
    saved = begin_to_save(check)
    check.equal("a line for each policy", saved.count("\nsrc "), len(kernel.policies()))
    cut_power()
    run("systemctl", "start", xfrmctl.BOOT_UNIT)
    check.equal("shadows stand in the place of all policies", {policy.user for policy in kernel.policies()},
                {xfrmctl.HOLD})
    with Flows(dict.fromkeys(NAMES, FEW)) as flows:
        before, cursor = flows.tallies(), journal.now()
        flows.wait_held_back()
        gateway.start()
        flows.wait_carried()
        for name, tally in flows.since(before).items():
            check_tally(check, tally, flow=name)
    check.note(journal.text(xfrmctl.summaries(cursor) + xfrmctl.releases(cursor)))

    check.variant = "stopped for good"
    gateway.stop()
    check.equal("what was saved is gone", (xfrmctl.SAVED.exists(), kernel.policies()), (False, []))
    run("systemctl", "disable", "--now", xfrmctl.BOOT_UNIT)


def power_cut(check):
    with gateway.drop_in(NO_RESTART):
        check_power_cut(check)


SCENARIOS = (boot, power_cut)
ONLY_REFERENCE = (power_cut,)
