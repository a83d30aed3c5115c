# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl status` and its metrics, before a crash and after a crash without xfrmctl's drop-in."""

import json
import signal
import stat
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwuid

import connections
import journal
import kernel
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import CONNECTIONS
from gateway_setup import establish, look, start, wait_handover_over
from pings import Pings
from strongswan import gateway

NAMES = ("net4", "net6")
UNIT = "xfrmctl-metrics.service"
TIMER = "xfrmctl-metrics.timer"
WATCH_UNIT = "xfrmctl-watch@strongswan.service"
USER, GROUP = "nobody", "nogroup"
COLLECTED = Path("/var/lib/prometheus/node-exporter")


def status(*options):
    """Returns the exit status and the output of `xfrmctl status`."""
    done = run(xfrmctl.PROGRAM, "status", *options, check=False)
    return done.returncode, done.stdout


def found():
    code, text = status("--json")
    return code, json.loads(text)


def metrics():
    """Runs the unit of the metrics. Returns its result, and the samples that it wrote within its sandbox."""
    run("systemctl", "start", UNIT, check=False)
    result = run("systemctl", "show", "--value", "--property=Result", UNIT).stdout.strip()
    file = COLLECTED / "xfrmctl.prom"
    samples = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if not line.startswith("#")) \
        if file.exists() else {}
    return result, samples


def check_healthy(check):
    check.variant = "healthy"
    code, seen = found()
    check.equal("nothing is orphaned", (code, seen["orphans"], seen["problems"]), (0, [], []))
    xfrmctl.check_agreement(check)
    version, charon = run("swanctl", "--version").stdout, seen["charon"]
    check.equal("it is charon that answers", (charon["state"], charon["pid"]), ("up", gateway.main_pid()))
    check.that("of this version", charon["version"] in version, (charon, version))
    check.equal("its SAs are counted", (charon["ike_sas"], charon["child_sas"],
                                        sum(group["count"] for group in seen["sas"])), (2, 2, len(kernel.spis())))
    check.equal("it is the key manager", [(owner["pid"], owner["kind"]) for owner in seen["key_managers"]],
                [(gateway.main_pid(), "key-manager")])
    check.equal("its routes are explained", (seen["routes"]["static"], seen["routes"]["left_over"]), (2, []))
    check.equal("policies are counted", sum(group["count"] for group in seen["policies"]), len(kernel.indexes()))


def check_metrics(check):
    check.variant = "metrics"
    enabled = run("systemctl", "is-enabled", TIMER, check=False).stdout.strip()
    check.equal("the timer is not enabled", enabled, "disabled")
    check.equal("without a collector nothing is written, and nothing fails", metrics(), ("success", {}))
    COLLECTED.mkdir(parents=True)
    result, samples = metrics()
    check.equal("the unit writes them within its sandbox",
                (result, samples.get("xfrmctl_charon_up"), samples.get("xfrmctl_orphans"),
                 samples.get('xfrmctl_sas{proto="esp",family="ipv6",mode="tunnel"}')), ("success", "1", "0", "2"))
    check.equal("and nothing beside them", [file.name for file in COLLECTED.iterdir()], ["xfrmctl.prom"])


def check_orphans(check, old):
    check.variant = "after a crash"
    with Pings(CONNECTIONS["net4"].inner) as pings:
        pings.wait_for_answers()
        code, seen = found()
        code_of_text, text = status()
        pings.stop()
    check.equal("exactly the old SAs are orphans", (code, {sa["spi"] for sa in seen["orphans"]}), (4, old.spis))
    check.equal("with the connections that they belonged to", {sa["connection"] for sa in seen["orphans"]}, set(NAMES))
    in_use = {sa["connection"] for sa in seen["orphans"] if sa["packets"] and sa["bytes"]}
    check.equal("those in use have traffic", in_use, {"net4"})
    headline = f"\norphans      {len(old.spis)} of {len(old.spis)} SAs unknown to charon"
    check.equal("the text says so", (code_of_text, headline in text, text.count("  net6\n")), (4, True, 2))
    check.note(text)
    result, samples = metrics()
    check.equal("orphans are no failure of the unit", (result, samples["xfrmctl_orphans"]),
                ("success", str(len(old.spis))))


def status_of_crash(check):
    start(NAMES, with_xfrmctl=False)
    establish(NAMES)
    old = look()
    check_healthy(check)
    check_metrics(check)
    gateway.crash_and_wait(signal.SIGKILL)
    check_orphans(check, old)


def check_watch(check, cursor):
    """Checks that charon answers the watch each time."""
    with watching():
        answers = f"(PID {gateway.main_pid()}) answers after"
        wait_for(lambda: answers in journal.text(journal.of_unit(gateway.unit, cursor)), 20, "charon answers the watch",
                 POLL_SECONDS_SLOW)
    check.equal("watch is answered each time", xfrmctl.said("An IKE daemon is not watched", cursor), [])


@contextmanager
def watching():
    run("systemctl", "start", WATCH_UNIT)
    try:
        yield
    finally:
        run("systemctl", "stop", WATCH_UNIT)


def charon_of_other_user(check):
    """Runs charon as another user (charon.user=), who then owns its VICI socket. xfrmctl's units must be able to use
    it."""
    COLLECTED.mkdir(parents=True, exist_ok=True)
    with connections.dropping_to(USER, GROUP):
        start(("net4",), mode="handover")
        xfrmctl.configure(mode="handover", watch_options="-v --interval=500ms")
        establish(("net4",))
        socket = Path(gateway.socket).stat()
        check.equal("the socket is the user's", (getpwuid(socket.st_uid).pw_name, f"{stat.S_IMODE(socket.st_mode):o}"),
                    (USER, "770"))
        result, samples = metrics()
        check.equal("the metrics have what charon says", (result, samples.get("xfrmctl_charon_up"),
                    samples.get("xfrmctl_orphans")), ("success", "1", "0"))
        cursor = journal.now()
        check_watch(check, cursor)
        gateway.systemctl("restart")
        wait_handover_over()
        handed_over = [(entry["XFRM_HANDED_OVER"], entry["XFRM_FELL_BACK"]) for entry in xfrmctl.handovers(cursor)]
        check.equal("a handover takes over", handed_over, [("1", "0")])
        check.note(journal.text(journal.of_unit(gateway.unit, cursor, "SYSLOG_IDENTIFIER=xfrmctl")))
        gateway.stop()
    start()


SCENARIOS = (status_of_crash, charon_of_other_user)
