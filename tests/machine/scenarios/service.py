# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd restarts strongSwan: on demand, after a crash, and with its commands in the right order."""

import signal
from contextlib import nullcontext

import journal
import kernel
import xfrmctl
from command import run
from connections import CONNECTIONS
from gateway_setup import establish, look, start
from pings import Pings
from strongswan import gateway

from .traffic import carries_traffic, trigger


def lines_of(entries, pid):
    return [entry for entry in entries if entry.get("_PID") == str(pid)]


def restarted(check, traffic):
    """Restarts the service with an established tunnel, under this traffic. Returns the summaries of its flushes."""
    establish()
    old_pid, before, cursor = gateway.main_pid(), look(), journal.now()
    with traffic as stream:
        if stream:
            stream.wait_for_answers()
        gateway.systemctl("restart")
        check.that("a new charon runs", gateway.is_running_again(old_pid), gateway.show("MainPID"))
        trigger("net4")
    after = look()
    check.equal("no SA of before is left", before.spis & after.spis, set())
    check.equal("charon knows every SA of the kernel", after.spis, after.known_spis)
    carries_traffic(check, "net4")
    return xfrmctl.summaries(cursor)


def restart_stock(check):
    start(with_xfrmctl=False)
    # Without traffic, because strongSwan alone may not recover from a packet at the wrong moment (see half_open).
    restarted(check, nullcontext())


def restart(check):
    start()
    summaries = restarted(check, Pings(CONNECTIONS["net4"].inner))
    # charon removes its SAs before its policies. A packet that is sent between leaves a larval SA.
    check.that("charon had cleaned up: no policy was removed, and a larval SA at most",
               [xfrmctl.removed(entry) for entry in summaries] in ([(0, 0)], [(1, 0)]), summaries)


def order(check):
    """Checks the order of a restart after a crash by the journal's monotonic times. systemd logs at debug level for
    that, so that its own steps appear."""
    start()
    establish()
    cursor = journal.now()
    run("systemctl", "log-level", "debug")
    try:
        gateway.crash_and_wait(signal.SIGKILL)
    finally:
        run("systemctl", "log-level", "info")
    check.equal("the new charon's kernel has no SA", kernel.spis(), set())

    entries = journal.of_unit(gateway.unit, cursor)
    charon = gateway.main_pid()

    def moment(what, found):
        check.that(f"the journal has {what}", found, journal.text(entries))
        return journal.monotonic(found[0]) if found else None

    def saying(*words, of=entries):
        return [entry for entry in of if all(word in str(entry["MESSAGE"]) for word in words)]

    flush_says = moment("the flush's message", [entry for entry in entries if "XFRM_SAS" in entry])
    flush_ends = moment("the end of the flush", saying("Got final SIGCHLD for state start-pre"))
    charon_begins = moment("the new charon's first line", lines_of(entries, charon))
    ready = moment("READY of the new charon", saying("Got notification message", f"{charon}", "READY=1"))
    loads = moment("the first connection loaded", saying("added vici connection", of=lines_of(entries, charon)))
    moments = [flush_says, flush_ends, charon_begins, ready, loads]
    check.that("flush, charon's first line, READY, swanctl loads: in this order",
               None not in moments and moments == sorted(set(moments)), moments)
    check.that("systemd takes the flush's status text", saying("Got notification message", "STATUS=Removed 2 SAs"),
               journal.text(saying("notification message")))

    trigger("net4")
    check.that("a packet into the trap policy brings new SAs", kernel.spis(), kernel.sas())
    carries_traffic(check, "net4")


SCENARIOS = (restart_stock, restart, order)
ONLY_REFERENCE = (restart_stock,)
