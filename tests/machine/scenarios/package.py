# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian packages, as a new user has them: installed, upgraded, removed and purged beside an established tunnel.

Runs in a machine without xfrmctl (machine.py --packages).
"""

import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import connections
import gateway_setup
import kernel
import network
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import CONNECTIONS
from gateway_setup import RETIRED, establish
from pings import ping
from plaintext import BothWays
from streams import FEW, Flows
from strongswan import blue, gateway

from . import starter
from .failing_helper import away
from .never_back import CHARON, LOW_LIMIT, wait_given_up
from .restarts import check_held, restart_under_traffic

NAME = "net4"
PACKAGES = Path("/opt/xfrmctl")
NAMES = ("xfrmctl", "xfrmctl-strongswan")
CRASH = Path("/opt/source/debian/tests/crash")
WATCH = "xfrmctl-watch@strongswan.service"
ENABLED = ("xfrmctl-boot@strongswan.service", WATCH, "xfrmctl-metrics.timer")
METRICS = Path("/var/lib/prometheus/node-exporter")
FIGURES = METRICS / "xfrmctl.prom"
SAVED = xfrmctl.SAVED
SAVED_BY_LIBRESWAN = SAVED.with_name("ipsec")
BLUE_DROP_INS = Path(f"/etc/systemd/system/{blue.unit}.d")

# Folders in which the packages and the units write. OTHERS are folders in which apt, dpkg and the scenario write.
TREES = ("/etc", "/usr", "/var/lib")
OTHERS = ("/var/lib/dpkg", "/var/lib/apt", "/etc/swanctl")

NEWER = "1.0.1~"
FIGURES_SECONDS = 60
SETTING = 'XFRMCTL_WATCH_OPTIONS="--interval=3s"\n'


def apt(*arguments):
    """Runs apt-get. Returns its output."""
    done = run("apt-get", "-q", "-y", *map(str, arguments), seconds=180)
    return done.stdout + done.stderr


def debs(folder=PACKAGES):
    return [next(folder.glob(f"{name}_*.deb")) for name in NAMES]


def newer_debs(folder):
    """Builds the same packages with a higher version in this folder. Returns their paths."""
    folder.mkdir()
    for deb in debs():
        tree = folder / deb.name.split("_")[0]
        run("dpkg-deb", "--raw-extract", str(deb), str(tree))
        control = tree / "DEBIAN/control"
        lines = control.read_text().splitlines(keepends=True)
        control.write_text("".join(f"Version: {NEWER}\n" if line.startswith("Version:") else line for line in lines))
        run("dpkg-deb", "-Znone", "--build", str(tree), str(folder))
    return debs(folder)


def listing():
    """Returns the paths of all files and folders in TREES but not in OTHERS."""
    return {str(path) for tree in TREES for path in Path(tree).rglob("*")
            if not str(path).startswith(OTHERS) and "__pycache__" not in path.parts}


def units():
    """Returns the units of xfrmctl. Leaves out inactive units without a file, of which only a link that `enable` made
    is left."""
    listed = run("systemctl", "list-units", "--all", "--plain", "--no-legend", "xfrmctl-*").stdout
    return [line for line in listed.splitlines() if line.split()[1:3] != ["not-found", "inactive"]]


def undisturbed(check, what, act):
    """Calls act(), which must leave charon and its SAs alone, while each packet goes through the tunnel. Returns the
    result of act()."""
    check.variant = what
    with BothWays(NAME) as pings:
        pings.wait_for_answers()
        before, totals = (gateway.main_pid(), kernel.spis()), pings.totals()
        done = act()
        pings.wait_for_answers()
        seen = pings.since(totals)
        lost = pings.ours.stop().lost, pings.theirs.stop().lost
    check.equal("the same charon, the same SAs", (gateway.main_pid(), kernel.spis()), before)
    check.equal("no ping is lost, none leaves or comes in plaintext", (lost, seen.out, seen.accepted), ((0, 0), 0, 0))
    return done


def check_first_restart(check):
    check.variant = "first restart"
    restart = restart_under_traffic(lambda: gateway.systemctl("restart"))
    check.that("a new charon runs", restart.is_new)
    check_held(check, restart.seen)


def check_upgraded(check, folder):
    settings = xfrmctl.DEFAULTS.read_text() + SETTING
    xfrmctl.DEFAULTS.write_text(settings)
    run("systemctl", "enable", "--now", *ENABLED)
    packages = newer_debs(folder)

    def watcher():
        return run("systemctl", "show", "--value", "--property=MainPID", WATCH).stdout.strip()

    old = watcher()
    undisturbed(check, "upgrade", lambda: apt("install", *packages))
    check.that("the packages are the new ones", all(
        run("dpkg-query", "--show", "--showformat=${Version}", name).stdout == NEWER for name in NAMES))
    check.equal("settings are as the operator wrote them", xfrmctl.DEFAULTS.read_text(), settings)
    check.that("what runs all the time runs the new program", watcher() not in ("0", old), (old, watcher()))
    wait_for(FIGURES.exists, FIGURES_SECONDS, "the timer has written figures")


def leave_grace_behind():
    """Removes a connection from the configuration, and crashes charon. The traffic of this connection then stays
    blocked for the grace."""
    connections.remove_from_gateway(RETIRED)
    restart_under_traffic(lambda: gateway.crash_and_wait(signal.SIGKILL))
    wait_for(lambda: xfrmctl.shadows([xfrmctl.EXPIRING]), 20, "shadows stay for the grace")


def check_nothing_left(check, before):
    check.equal("no unit of the packages is left", units(), [])
    check.equal("nothing is blocked or kept any more", xfrmctl.kept() + xfrmctl.shadows(), [])
    check.that("no figures are served any more", not FIGURES.exists())

    for file in (SAVED, SAVED_BY_LIBRESWAN):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    apt("purge", "xfrmctl-strongswan")
    check.equal("purged: what was saved for libreswan is still there", [SAVED.exists(), SAVED_BY_LIBRESWAN.exists()],
                [False, True])
    apt("purge", "xfrmctl")
    after = listing()
    check.equal("purged: no file is left, and none is missing", (sorted(after - before), sorted(before - after)), ([], []))
    failed = run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout
    check.that("no unit of the packages has failed", "xfrmctl" not in failed, failed)


def package(check):
    METRICS.mkdir(parents=True)
    connections.configure_gateway([NAME, RETIRED])
    gateway.swanctl("--load-all", "--noprompt")
    establish([NAME, RETIRED])
    before = listing()

    undisturbed(check, "install", lambda: apt("install", "--allow-downgrades", *debs()))
    check.that("the drop-in is there for the next start", "10-xfrmctl.conf" in gateway.show("DropInPaths"),
               gateway.show("DropInPaths"))
    check.that("the journal can explain what it will say",
               "xfrmctl" in run("journalctl", "--list-catalog").stdout, run("journalctl", "--list-catalog").stdout)
    check_first_restart(check)
    check_upgraded(check, Path("/opt/newer"))

    leave_grace_behind()
    said = undisturbed(check, "remove", lambda: apt("remove", *NAMES))
    check.that("it says what it has released", "Released" in said, said)
    check.that("settings stay until the purge", xfrmctl.DEFAULTS.exists())
    check_nothing_left(check, before)


@contextmanager
def drop_in_for_blue():
    """Links the package's drop-in for an instance in its own network namespace, as the manual describes. For the with
    block."""
    BLUE_DROP_INS.mkdir()
    (BLUE_DROP_INS / xfrmctl.DROP_IN_NAME).symlink_to(xfrmctl.drop_in_of(gateway.unit))
    run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        shutil.rmtree(BLUE_DROP_INS)
        run("systemctl", "daemon-reload")


def package_while_blocked(check):
    """Removes the packages while two instances of charon are away for good, one of them in another network namespace.
    The removal must unblock the traffic that they had protected."""
    before = listing()
    apt("install", "--allow-downgrades", *debs())
    gateway.systemctl("restart")
    establish([NAME])
    with drop_in_for_blue(), gateway.drop_in(LOW_LIMIT), blue.drop_in(LOW_LIMIT):
        blue.start()
        with away(CHARON):
            for service in (gateway, blue):
                service.crash(signal.SIGKILL)
            for service in (gateway, blue):
                wait_given_up(service)
                check.equal(f"{service.unit}: a shadow stands in the place of each policy",
                            len(xfrmctl.shadows([xfrmctl.HOLD], service.netns)), 3)
            apt("remove", *NAMES)
            counts = network.counts()
            result = ping(CONNECTIONS[NAME].inner)
            check.that("removed: traffic is free", network.counted_since(counts)["plain_out"] >= result.sent, result)
            check.equal("so is that of the other network namespace", xfrmctl.shadows(netns=blue.netns), [])
    run("systemctl", "reset-failed", gateway.unit, blue.unit)
    gateway.start()
    check_nothing_left(check, before)


def package_beside_starter(check):
    """Installs the packages while strongSwan with ipsec.conf runs. xfrmctl must handle the first crash of charon after
    that, and a stop after a failure."""
    gateway_setup.stop()
    starter.install()
    starter.configure(NAME)
    service = starter.starter
    service.start()
    wait_for(lambda: service.has_loaded(NAME), 30, "charon has its connection")
    apt("install", "--allow-downgrades", *debs())
    with Flows({NAME: FEW}) as flows:
        flows.wait_carried()
        main_pid, before = service.main_pid(), flows.tallies()
        os.kill(starter.charon_pid(), signal.SIGKILL)
        wait_for(lambda: service.is_running_again(main_pid), 30, "the service runs again", POLL_SECONDS_SLOW)
        flows.wait_carried()
        tally = flows.since(before)[NAME]
        check.that("no packet leaves in plaintext, some are held back", tally.leaked == 0 and tally.refused > 0, tally)
        check.equal("systemd has started the service again", service.show("NRestarts"), "1")
    service.stop()
    apt("purge", *NAMES)

    check.variant = "stop after a failure"
    service.start()
    wait_for(lambda: service.has_loaded(NAME), 30, "charon has its connection")
    apt("install", "--allow-downgrades", *debs())
    with Flows({NAME: FEW}) as flows, service.drop_in("[Service]\nRestart=no\n"):
        flows.wait_carried()
        os.kill(service.main_pid(), signal.SIGKILL)
        wait_for(lambda: service.show("ActiveState") == "failed", 30, "the service has failed", POLL_SECONDS_SLOW)
        service.stop()
        check.equal("nothing is left", (kernel.policies(), kernel.spis()), ([], set()))
        check.that("plaintext passes both ways", flows.becomes_free(NAME), flows.tallies())
    apt("purge", *NAMES)


def autopkgtest(check):
    """Runs the packages' own tests (debian/tests) in this machine."""
    apt("install", "--allow-downgrades", *debs())
    for test in (CRASH.with_name("superficial"), CRASH):
        done = run(str(test), check=False, seconds=240)
        check.note(done.stdout)
        check.equal(f"debian/tests/{test.name} ends well", done.returncode, 0)


SCENARIOS = (package, package_while_blocked, autopkgtest, package_beside_starter)
ONLY_REFERENCE = (package_while_blocked, autopkgtest, package_beside_starter)
