# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures for tools/compare what a crash and a planned restart cost the traffic of a connection in each mode. Also
measures how long the handover of many connections takes."""

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

# Minimum time of a measurement after the event, in seconds.
WATCH_SECONDS = 10
# Deadline for the recovery, in seconds. A road warrior's kept SAs end after 300 s, and the road warrior then needs
# 195 s to notice.
RECOVERY_SECONDS = 600

# Deadline for a handover, in seconds.
HANDOVER_SECONDS = 400

# By network namespace (None: the gateway's), the networks that contain all addresses of many.py at that end.
FAN_NETWORKS = {None: ("10.100.0.0/16", "10.102.0.0/16"), "peer": ("10.101.0.0/16", "10.103.0.0/16")}

# Packets per second through each of many tunnels.
FAN_RATE = 2
# Time of traffic before the crash, in seconds.
FAN_BEFORE_SECONDS = 3

# Minimum run of charon before an event, in seconds: after a shorter run, xfrmctl delays the restart
# (src/verbs/service.c).
SHORT_RUN_SECONDS = 10

# Configuration of a connection that the peer does not have by default.
PEER_FILE = Path("/run/compare.conf")

# MESSAGE_ID of systemd's message about the resources that a unit has used.
RESOURCES = "ae8f7b866b0347b9af31fe1c80b127c0"


def restart():
    gateway.systemctl("restart")


EVENTS = {"SIGKILL": lambda: gateway.crash(signal.SIGKILL), "restart": restart}


def is_settled(name):
    """Returns whether charon runs and knows its SAs, and nothing is kept. If a road warrior's charon has given up,
    initiates its connection again, as its user would."""
    try:
        return gateway_setup.has_children((name,)) and gateway_setup.is_in_step() and not xfrmctl.kept()
    except CommandFailed:
        return False


def watch(moment, settles, name):
    """Waits until WATCH_SECONDS after the moment. With `settles`, then waits until the tunnel is back."""
    wait_for(lambda: time.time() >= moment + WATCH_SECONDS, WATCH_SECONDS + 1, "the end of the watch")
    if settles:
        wait_for(lambda: is_settled(name), RECOVERY_SECONDS, "charon knows the SAs", POLL_SECONDS_SLOW)


def times_of_start(moment):
    """Returns the seconds from this moment until charon's process started, and until its connections were loaded."""
    booted = time.time() - time.monotonic()
    return tuple(int(gateway.show(name)) / 1e6 + booted - moment
                 for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"))


def wait_for_long_run():
    """Waits until charon has run for so long that xfrmctl would not delay its restart."""
    begun = int(gateway.show("ExecMainStartTimestampMonotonic")) / 1e6
    wait_for(lambda: time.monotonic() > begun + SHORT_RUN_SECONDS, SHORT_RUN_SECONDS, "charon has run for some time")


def measured(mode, event, name):
    """Returns the figures of one event under traffic, from a fresh start in this mode."""
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
        watch(moment, settles, name)

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
    """Compares the modes; `stock` is strongSwan alone. restart_sec is a value of systemd's RestartSec=, or "" for the
    installed one. Prints the figures of each event as JSON at once, so that they survive if the machine runs out of
    time."""
    with gateway.drop_in(f"[Service]\nRestartSec={restart_sec}\n") if restart_sec else nullcontext():
        for number in range(rounds):
            for mode in modes:
                for event in EVENTS:
                    print(json.dumps({"mode": mode, "event": event, "round": number + 1, **measured(mode, event, name)}),
                          flush=True)


def unit_is_over(unit):
    return run("systemctl", "is-active", unit, check=False).stdout.strip() == "inactive"


def processor_seconds(cursor):
    """Returns the processor time of the handover units since the cursor; 0 if it is too little for systemd to
    report."""
    found = journal.of_unit(xfrmctl.HANDOVER_UNIT, cursor, f"MESSAGE_ID={RESOURCES}")
    return sum(int(entry["CPU_USAGE_NSEC"]) for entry in found) / 1e9


def handed_over(count):
    """Kills charon while `count` connections carry traffic. Returns the figures of the handover."""
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
    """Measures handovers of each number of connections, and prints the figures of each as JSON."""
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
