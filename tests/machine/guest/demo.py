# SPDX-License-Identifier: GPL-2.0-or-later
"""The same crash under traffic, with strongSwan alone and with xfrmctl, for tools/demo."""

import json
import signal
import time
from pathlib import Path

import connections
import journal
from command import wait_for
from scenario import crash_under_traffic
from strongswan import gateway, peer

RESULTS = Path("/opt/machine/results")
WATCH_SECONDS = 30
# The peer rekeys, as every peer does some day. That needs a charon that knows the SAs.
REKEY_TIME = "20s"


def measured(crash):
    return {
        "known": len(crash.after.spis & crash.after.known_spis),
        "unknown": len(crash.after.spis - crash.after.known_spis),
        "retired_policies": len(crash.after.retired_policies),
        "recovery_seconds": crash.recovery_seconds,
        "watched_seconds": WATCH_SECONDS,
        "sent": crash.pings.sent,
        "lost": crash.pings.lost,
        "plaintext": crash.counts["plain_out"],
        "counts": crash.counts,
        "before": crash.before._asdict(),
        "after": crash.after._asdict(),
    }


def watch():
    end = time.monotonic() + WATCH_SECONDS
    wait_for(lambda: time.monotonic() > end, 2 * WATCH_SECONDS, "the end of the watch")


def run():
    connections.configure_peer(REKEY_TIME)
    peer.systemctl("restart")
    results = {}
    for name, with_xfrmctl in (("stock", False), ("xfrmctl", True)):
        print(f"{name}: charon crashes under traffic; {WATCH_SECONDS} s of pings after that", flush=True)
        crash = crash_under_traffic(signal.SIGKILL, with_xfrmctl, watch)
        results[name] = measured(crash)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.ping").write_text(crash.pings.output)
        (RESULTS / f"{name}.journal").write_text(journal.text(journal.of_unit(gateway.unit, crash.cursor)) + "\n")
    (RESULTS / "results.json").write_text(json.dumps(results, indent=2, default=list) + "\n")
