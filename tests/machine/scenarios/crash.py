# SPDX-License-Identifier: GPL-2.0-or-later
"""charon crashes under traffic: strongSwan alone leaves all its state, xfrmctl removes it."""

import signal

import network
import routes
import xfrmctl
from command import wait_for
from connections import CONNECTIONS
from gateway_setup import RETIRED, crash_under_traffic, of_retired, wait_in_step
from strongswan import gateway

from .traffic import carries_traffic, trigger

PACKETS = 50

# Destination of the removed connection's route.
ROUTE = CONNECTIONS[RETIRED].networks[1]


def wait_for_esp():
    """Waits until more packets have left as ESP, whichever SA they use."""
    start = network.counts()["esp_out"]
    wait_for(lambda: network.counts()["esp_out"] >= start + PACKETS, 20, "ESP leaves the gateway")


def check_stock(check, crash):
    check.equal("no SA is known to charon", crash.after.known_spis, set())
    check.equal("all old SAs are still in the kernel", crash.before.spis - crash.after.spis, set())
    check.that("the old SAs carry the traffic", crash.counts_restarted["esp_out"] >= PACKETS
               and crash.counts_restarted["esp_in"] >= PACKETS, crash.counts_restarted)
    check.equal("old policies are in force, those of the removed connection too",
                crash.before.indexes - crash.after.indexes, set())
    check.that("the route of the removed connection is there", ROUTE in routes.destinations(), routes.routes())


def check_clean(check, crash):
    """Checks that no state of the previous instance is left, and that the flush counted exactly this state."""
    check.equal("no SA of the previous instance is left", crash.before.spis & crash.after.spis, set())
    check.equal("no policy of the previous instance is left", crash.before.indexes & crash.after.indexes, set())
    check.equal("charon knows every SA of the kernel", crash.after.spis, crash.after.known_spis)
    summaries = xfrmctl.summaries(crash.cursor)
    check.equal("one flush, which counts what there had been", [xfrmctl.removed(entry) for entry in summaries],
                [(len(crash.before.spis), len(crash.before.indexes))])


def check_removed_connection(check, crash):
    check.that("the removed connection had SAs and policies",
               crash.before.retired_spis and crash.before.retired_policies, crash.before)
    check.equal("no SA of the removed connection is left", crash.before.retired_spis & crash.after.spis, set())
    check.empty("no policy of the removed connection is left", crash.after.retired_policies)
    check.that("no route of the removed connection is left", ROUTE not in [route.dst for route in routes.routes()],
               routes.routes())
    check.that("what it protected stays blocked for the grace", of_retired(xfrmctl.shadows([xfrmctl.EXPIRING])),
               xfrmctl.shadows())


def check_crash(check, with_signal):
    crash = crash_under_traffic(with_signal, True, wait_in_step)
    check.equal("systemd restarted charon once", gateway.show("NRestarts"), "1")
    check_clean(check, crash)
    check_removed_connection(check, crash)
    check.equal("no ping left in plaintext", crash.counts["plain_out"], 0)
    carries_traffic(check, "net4")
    for name in ("host", "net6"):
        trigger(name)
        carries_traffic(check, name)
    xfrmctl.check_agreement(check)
    check.note(f"{crash.pings.lost} of {crash.pings.sent} pings lost, {crash.recovery_seconds:.1f} s to recovery; "
               f"plaintext: {crash.counts['plain_out']} out, {crash.counts['plain_in']} in")


def crash_stock(check):
    check_stock(check, crash_under_traffic(signal.SIGKILL, False, wait_for_esp))


def crash_kill(check):
    check_crash(check, signal.SIGKILL)


def crash_segv(check):
    check_crash(check, signal.SIGSEGV)


SCENARIOS = (crash_stock, crash_kill, crash_segv)
ONLY_REFERENCE = (crash_stock, crash_segv)
