# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures a crash under traffic in four variants for tools/demo: strongSwan alone, `ip xfrm` in ExecStartPre=, xfrmctl
as installed, and xfrmctl in the mode hold."""

import json
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import connections
import gateway_setup
import journal
import xfrmctl
from command import wait_for
from fates import Fates, Result
from strongswan import gateway, peer

RESULTS = Path("/opt/machine/results")

# The common workaround, without xfrmctl.
FLUSH = "[Service]\nExecStartPre=/bin/sh -c 'ip xfrm state flush; ip xfrm policy flush'\n"

MODES = {"installed": None, "hold": "hold"}      # by variant, the mode of xfrmctl; None: as installed
VARIANTS = ("stock", "flush", *MODES)

# The peer's rekey time, and the time from the crash to the rekeying, in seconds. Every peer rekeys at some time. If the
# gateway's charon does not know the SAs, the rekeying fails, and the peer removes its SAs.
REKEY_SECONDS = 30
REKEY_AFTER_CRASH_SECONDS = 2

# Time of pings after the crash, and minimum time of pings before it, in seconds.
WATCH_SECONDS = 30
BEFORE_SECONDS = 2.5

# The picture's first and last moment, counted from the crash, and the width of a column, in seconds.
SERIES = (-2, 12, 0.1)


def wait_until(moment):
    """Waits until this moment of time.monotonic()."""
    wait_for(lambda: time.monotonic() >= moment, WATCH_SECONDS + REKEY_SECONDS, "the time for the next step")


def crash_under_traffic(name):
    """Kills charon while pings go through net4, just after RETIRED was removed from the configuration. Returns the
    figures."""
    gateway_setup.start(gateway_setup.STANDARD, with_xfrmctl=name in MODES, mode=MODES.get(name))
    begun = time.monotonic()
    gateway_setup.establish(gateway_setup.STANDARD)
    before = gateway_setup.look()
    connections.remove_from_gateway(gateway_setup.RETIRED)
    cursor = journal.now()
    with Fates() as stream:
        stream.wait_for_answers()
        wait_until(max(begun + REKEY_SECONDS - REKEY_AFTER_CRASH_SECONDS, time.monotonic() + BEFORE_SECONDS))
        moment, pid = gateway.crash(signal.SIGKILL)
        crashed = time.monotonic()
        gateway.wait_restarted(pid)
        wait_until(crashed + WATCH_SECONDS)
        trace = stream.stop()
    (RESULTS / f"{name}.trace").write_text(trace)
    (RESULTS / f"{name}.journal").write_text(journal.text(journal.of_unit(gateway.unit, cursor)) + "\n")
    return measured(Result(trace, moment), before, gateway_setup.look())


def measured(result, before, after):
    return {
        "known": len(after.spis & after.known_spis),
        "unknown": len(after.spis - after.known_spis),
        "retired_policies": len(after.retired_policies),
        "shadows": len(xfrmctl.shadows()),
        "recovery_seconds": result.back_after,
        "watched_seconds": WATCH_SECONDS,
        "sent": len(result.pings),
        "lost": result.lost,
        "plaintext": result.count("plaintext"),
        "held_back": result.count("held_back"),
        "forged": result.forged,
        "accepted": result.accepted,
        "sas_before": len(before.spis),
        "policies_before": len(before.policies),
        "series": result.series(*SERIES),
    }


def run():
    RESULTS.mkdir(exist_ok=True)
    connections.configure_peer(f"{REKEY_SECONDS}s")
    peer.systemctl("restart")
    results = {}
    for name in VARIANTS:
        print(f"{name}: charon crashes under traffic; {WATCH_SECONDS} s of pings after that", flush=True)
        with gateway.drop_in(FLUSH) if name == "flush" else nullcontext():
            results[name] = crash_under_traffic(name)
    (RESULTS / "results.json").write_text(json.dumps(results) + "\n")
