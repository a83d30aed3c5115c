# SPDX-License-Identifier: GPL-2.0-or-later
"""What a crash and a planned restart cost the traffic of a connection in each mode, and how long many connections take to be
handed over: for tools/compare."""

import json
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import quantiles

import connections
import fan
import gateway_setup
import journal
import kernel
import many
import xfrmctl
from command import POLL_SECONDS_SLOW, CommandFailed, run, wait_for
from losses import losses
from strongswan import gateway, peer

# From the event on, at least.
WATCH_SECONDS = 10
# An acquire that charon has lost is repeated after 165 s, where nothing finds it.
RECOVERY_SECONDS = 200

HANDOVER_SECONDS = 400

# Of all addresses of many.py.
FAN_NETWORKS = {None: ("10.100.0.0/16", "10.102.0.0/16"), "peer": ("10.101.0.0/16", "10.103.0.0/16")}

# Packets a second through each of many tunnels.
FAN_RATE = 2
FAN_BEFORE_SECONDS = 3

# A daemon that crashes sooner after its start waits for its restart (src/verbs/service.c).
SHORT_RUN_SECONDS = 10

# Of a connection that the peer does not always have.
PEER_FILE = Path("/run/compare.conf")

# systemd's message about what a unit has used.
RESOURCES = "ae8f7b866b0347b9af31fe1c80b127c0"


def restart():
    gateway.systemctl("restart")


EVENTS = {"SIGKILL": lambda: gateway.crash(signal.SIGKILL), "restart": restart}


def is_settled():
    """Whether charon runs and knows its SAs; nothing is kept."""
    try:
        return gateway_setup.is_in_step() and not xfrmctl.kept()
    except CommandFailed:
        return False


def watch(moment, settles):
    """Until the tunnel is back, if it comes back."""
    wait_for(lambda: time.time() >= moment + WATCH_SECONDS, WATCH_SECONDS + 1, "the end of the watch")
    if settles:
        wait_for(is_settled, RECOVERY_SECONDS, "charon knows the SAs", POLL_SECONDS_SLOW)


def times_of_start(moment):
    """Seconds from then until charon's process was started, and until its connections were loaded."""
    booted = time.time() - time.monotonic()
    return tuple(int(gateway.show(name)) / 1e6 + booted - moment
                 for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"))


def wait_for_long_run():
    begun = int(gateway.show("ExecMainStartTimestampMonotonic")) / 1e6
    wait_for(lambda: time.monotonic() > begun + SHORT_RUN_SECONDS, SHORT_RUN_SECONDS, "charon has run for some time")


def measured(mode, event, name):
    with_xfrmctl = mode != "stock"
    gateway_setup.start((name,), with_xfrmctl=with_xfrmctl, mode=mode if with_xfrmctl else None)
    if name in connections.KINDS:
        PEER_FILE.write_text(connections.rendered_peer((name,)))
        peer.swanctl("--load-all", "--file", PEER_FILE)
    gateway_setup.establish((name,))
    settles = (mode, event) != ("stock", "SIGKILL")
    wait_for_long_run()
    moments = []

    def settled(moment):
        moments.append(moment)
        watch(moment, settles)

    result = losses(EVENTS[event], settled, name)
    known = gateway.known_spis()
    begun, loaded = times_of_start(moments[0])
    return {
        "charon started after": begun,
        "loaded after": loaded,
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


def compare(rounds, name, restart_sec, modes):
    """`stock` is strongSwan alone; restart_sec: as RestartSec= of systemd, "" as installed. Prints the figures of each event
    as JSON at once, so that a machine that runs out of time leaves what it has."""
    with gateway.drop_in(f"[Service]\nRestartSec={restart_sec}\n") if restart_sec else nullcontext():
        for number in range(rounds):
            for mode in modes:
                for event in EVENTS:
                    print(json.dumps({"mode": mode, "event": event, "round": number + 1, **measured(mode, event, name)}),
                          flush=True)


def unit_is_over(unit):
    return run("systemctl", "is-active", unit, check=False).stdout.strip() == "inactive"


def processor_seconds(cursor):
    """What the units of handovers have used; 0 where it is so little that systemd does not mention it."""
    found = journal.of_unit(xfrmctl.HANDOVER_UNIT, cursor, f"MESSAGE_ID={RESOURCES}")
    return sum(int(entry["CPU_USAGE_NSEC"]) for entry in found) / 1e9


def handed_over(count):
    """Figures of the handover of so many connections, each with traffic, after a SIGKILL."""
    old, cursor = kernel.spis(), journal.now()
    pairs = [(many.address(0, number, 0), many.address(1, number, 0)) for number in range(count)]
    with fan.fan(pairs, FAN_RATE, "peer") as end:
        moment = time.monotonic()
        wait_for(lambda: time.monotonic() >= moment + FAN_BEFORE_SECONDS, FAN_BEFORE_SECONDS + 1, "there is traffic")
        gateway.crash_and_wait(signal.SIGKILL)
        [entry] = wait_for(lambda: xfrmctl.handovers(cursor), HANDOVER_SECONDS, "the handover is over", 1)
        lost = sorted(end())
    low, middle, high = quantiles(lost, n=20, method="inclusive")[0:20:9]
    wait_for(lambda: unit_is_over(xfrmctl.HANDOVER_UNIT), HANDOVER_SECONDS, "the unit of the handover has ended", 1)
    spis, known = kernel.spis(), gateway.known_spis()
    return {"connections": count, "seconds": int(entry["XFRM_DURATION_USEC"]) / 1e6,
            "processor": processor_seconds(cursor), "lost, 5 %": low, "lost, median": middle, "lost, 95 %": high,
            "lost, most": lost[-1], "lost, all": sum(lost),
            "handed over": int(entry["XFRM_HANDED_OVER"]), "fell back": int(entry["XFRM_FELL_BACK"]),
            "removed": int(entry["XFRM_REMOVED"]), "old SAs left": len(old & spis), "known SAs": len(known),
            "unknown SAs": len(spis - known), "message": entry["MESSAGE"]}


def hand_over(counts, rounds):
    gateway_setup.start((), mode=None)
    for netns, networks in FAN_NETWORKS.items():
        for network in networks:
            run("ip", "route", "add", "local", network, "dev", "lo", netns=netns)
    for count in counts:
        with many.configured(count, 1, "trap"):
            many.establish(count, 1)
            gateway_setup.wait_in_step()
            for number in range(rounds):
                print(json.dumps({"round": number + 1, **handed_over(count)}), flush=True)
                gateway_setup.wait_in_step()
            gateway.stop()
        gateway.start()
