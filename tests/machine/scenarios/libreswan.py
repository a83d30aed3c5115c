# SPDX-License-Identifier: GPL-2.0-or-later
"""libreswan: pluto is killed under traffic, restarted, and stopped."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

import gateway_setup
import journal
import kernel
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from gateway_setup import wait_in_step
from libreswan import configure, install, pluto, unpack_files
from streams import FEW, Flows
from tap import Skip

from .traffic import RESTART_SECONDS, check_replaced, check_tally, comes_back

NAME = "net4"
RETIRED = "retired"
SAVED = Path("/var/lib/xfrmctl/ipsec")

# Folder of xfrmctl's packages, in the machine of the packages.
OURS = Path("/opt/xfrmctl")

# libreswan 4 calls modprobe a hundred times at each start, which in an emulated machine takes longer than the rest of
# the start.
MODPROBE = "/usr/sbin/modprobe"


@contextmanager
def modules_are_loaded():
    """Replaces modprobe for the with block. All modules are loaded by then: the kernel has called modprobe for the
    algorithms."""
    run("mount", "--bind", "/usr/bin/true", MODPROBE)
    try:
        yield
    finally:
        run("umount", MODPROBE)


def install_ours():
    """Unpacks xfrmctl's packages. The second cannot be installed: it depends on libreswan's package, which cannot be
    installed here."""
    for pattern in ("xfrmctl_*.deb", "xfrmctl-libreswan_*.deb"):
        [package] = OURS.glob(pattern)
        unpack_files(package)
    run("systemctl", "daemon-reload")


def kill():
    os.kill(pluto.main_pid(), signal.SIGKILL)


def restart():
    # libreswan's commands before pluto take a minute and a half of processor time in an emulated machine.
    run("systemctl", "restart", pluto.unit, seconds=180)


def noted(check, flows, act):
    """Calls comes_back(), and notes its tally. Returns its result."""
    tally, old, now = comes_back(flows, NAME, pluto, act)
    check.note(f"{tally}; longest pause so far {flows[NAME].received_there.counts.longest_pause:.2f} s")
    return tally, old, now


def check_stock(check, flows):
    for check.variant, act in (("pluto dies", kill), ("restart", restart)):
        tally, old, now = noted(check, flows, act)
        check.that("packets leave in plaintext, and forged ones are accepted",
                   tally.leaked > 0 and tally.accepted > 0, tally)
        check.equal("no SA of before is left", old.spis & now.spis, set())
    pluto.stop()


def stays_blocked(check, flows, act):
    cursor = journal.now()
    tally, old, now = noted(check, flows, act)
    check_tally(check, tally)
    check_replaced(check, old, now, "pluto")
    return old, xfrmctl.releases(cursor, pluto.unit)


def check_free(check, flows):
    check.equal("nothing is left", (kernel.policies(), kernel.spis()), ([], set()))
    check.that("plaintext passes both ways", flows.becomes_free(NAME), flows.tallies())


def check_xfrmctl(check, flows):
    verified = run("systemd-analyze", "verify", pluto.unit, check=False).stderr
    check.empty("systemd finds no fault with the drop-in", [line for line in verified.splitlines() if "xfrmctl" in line])
    run("systemctl", "start", "xfrmctl-save@ipsec.service")
    check.that("what it protects can be saved for the next boot", SAVED.exists())

    check.variant = "pluto dies"
    configure(NAME)
    _, releases = stays_blocked(check, flows, kill)
    check.equal("systemd has started it again", pluto.show("NRestarts"), "1")
    check.that("what is not in the configuration any more stays blocked for the grace",
               len(releases) == 1 and gateway_setup.of_retired(xfrmctl.shadows([xfrmctl.EXPIRING])), releases)

    check.variant = "restart"
    stays_blocked(check, flows, restart)
    check.equal("the service has not failed", pluto.show("Result"), "success")

    check.variant = "stop"
    pluto.stop()
    check.equal("the service has ended well", pluto.show("Result"), "success")
    check.that("what was saved has gone", not SAVED.exists())
    check_free(check, flows)

    check.variant = "stop after systemd gave up"
    pluto.start()
    flows.wait_carried()
    with pluto.drop_in("[Service]\nRestart=no\n"):
        kill()
        wait_for(lambda: pluto.show("ActiveState") == "failed", RESTART_SECONDS, "the service has failed",
                 POLL_SECONDS_SLOW)
        check.that("what it protected is still there", kernel.policies())
        pluto.stop()
    check_free(check, flows)


@contextmanager
def prepared(with_xfrmctl):
    """Installs libreswan, with xfrmctl's drop-in enabled or not, and starts pluto and traffic through it. Yields the
    flows. Stops charon-systemd first, since both listen on the same sockets."""
    gateway_setup.stop()
    install()
    if OURS.exists():
        install_ours()
    if not xfrmctl.drop_in_of(pluto.unit):
        raise Skip("the drop-in for libreswan is not installed (meson: -Ddaemons=strongswan,libreswan)")
    try:
        configure(NAME, RETIRED)
        xfrmctl.configure()
        xfrmctl.enable(with_xfrmctl, pluto.unit)
        with Flows({NAME: FEW}) as flows:
            pluto.start()
            flows.wait_carried()
            wait_in_step(pluto)
            with modules_are_loaded():
                yield flows
    finally:
        # strongSwan's starter has a service of the same name.
        run("systemctl", "stop", pluto.unit, check=False)
        xfrmctl.enable(False, pluto.unit)


def libreswan_stock(check):
    """Runs libreswan alone: when pluto ends, libreswan removes its SAs and policies, and traffic is unprotected until
    pluto protects it again."""
    with prepared(False) as flows:
        check_stock(check, flows)


def libreswan(check):
    """Runs libreswan with xfrmctl's drop-in."""
    with prepared(True) as flows:
        check_xfrmctl(check, flows)


SCENARIOS = (libreswan,)
ON_REQUEST = (libreswan_stock,)
