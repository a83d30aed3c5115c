# SPDX-License-Identifier: GPL-2.0-or-later
"""What a crash and a planned restart cost the traffic in each mode, and how long many connections take to be handed
over: for tools/compare."""

import json
import signal
import time

import journal
import kernel
import many
import scenario
import xfrmctl
from command import POLL_SECONDS_SLOW, CommandFailed, wait_for
from losses import losses
from strongswan import gateway

# From the event on, at least.
WATCH_SECONDS = 10
# An acquire that charon has lost is repeated after 165 s, where nothing finds it.
RECOVERY_SECONDS = 200

HANDOVER_SECONDS = 200


def restart():
    gateway.systemctl("restart")


EVENTS = {"SIGKILL": lambda: gateway.crash(signal.SIGKILL), "restart": restart}


def is_settled():
    """Whether charon runs and knows its SAs; nothing is kept."""
    try:
        return scenario.is_in_step() and not xfrmctl.kept()
    except CommandFailed:
        return False


def watch(moment, settles):
    """Until the tunnel is back, if it comes back."""
    wait_for(lambda: time.time() >= moment + WATCH_SECONDS, WATCH_SECONDS + 1, "the end of the watch")
    if settles:
        wait_for(is_settled, RECOVERY_SECONDS, "charon knows the SAs", POLL_SECONDS_SLOW)


def measured(mode, event):
    with_xfrmctl = mode != "stock"
    scenario.start(with_xfrmctl=with_xfrmctl, mode=mode if with_xfrmctl else None)
    scenario.establish()
    settles = (mode, event) != ("stock", "SIGKILL")
    result = losses(EVENTS[event], lambda moment: watch(moment, settles))
    known = gateway.known_spis()
    return {
        "lost of the gateway's": result.ours,
        "lost of the peer's": result.theirs,
        "sent": result.sent,
        "plaintext out": result.seen.out,
        "plaintext accepted": result.seen.accepted,
        "TCP broken": result.tcp.broken,
        "TCP stall": result.tcp.longest_stall,
        "TCP bytes": result.tcp.bytes,
        "back after": result.back_after,
        "unknown SAs": len(kernel.spis() - known),
        "known SAs": len(known),
    }


def compare(rounds, modes):
    """`stock` is strongSwan alone. Prints the figures of each event as JSON at once, so that a machine that runs out of
    time leaves what it has."""
    for number in range(rounds):
        for mode in modes:
            for event in EVENTS:
                print(json.dumps({"mode": mode, "event": event, "round": number + 1, **measured(mode, event)}),
                      flush=True)


def handed_over(count):
    """Figures of the handover of so many connections after a SIGKILL."""
    old, cursor = kernel.spis(), journal.now()
    gateway.crash_and_wait(signal.SIGKILL)
    [entry] = wait_for(lambda: xfrmctl.handovers(cursor), HANDOVER_SECONDS, "the handover is over", 1)
    spis, known = kernel.spis(), gateway.known_spis()
    return {"connections": count, "seconds": int(entry["XFRM_DURATION_USEC"]) / 1e6,
            "handed over": int(entry["XFRM_HANDED_OVER"]), "fell back": int(entry["XFRM_FELL_BACK"]),
            "removed": int(entry["XFRM_REMOVED"]), "old SAs left": len(old & spis), "known SAs": len(known),
            "unknown SAs": len(spis - known), "message": entry["MESSAGE"]}


def hand_over(counts, rounds):
    scenario.start((), mode="handover")
    for count in counts:
        with many.configured(count, 1, "trap"):
            many.establish(count, 1)
            scenario.wait_in_step()
            for number in range(rounds):
                print(json.dumps({"round": number + 1, **handed_over(count)}), flush=True)
                scenario.wait_in_step()
            gateway.stop()
        gateway.start()
