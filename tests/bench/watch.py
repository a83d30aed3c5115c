# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures how long `xfrmctl watch --on-missing=block` takes from the deletion of a policy to its shadow, and what the
watch costs, with different numbers of policies."""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import netlink
import sandbox
import xfrm
from linux import processor_seconds
from service import manager
from watching import TWO_MISSES, Watch, daemon

COUNTS = (0, 10_000, 100_000)
ROUNDS = 100

HERE, THERE = "10.200.0.0/16", "10.201.0.0/16"
POLICY = (f"src {HERE} dst {THERE} dir out priority 1 tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel")
LISTED = {"sas": [{"net": {"child-sas": {"net-1": {"state": "INSTALLED", "local-ts": [HERE], "remote-ts": [THERE]}}}}],
          "ike_sas": 1}


def event(events, *kinds, user=None):
    """Waits for an event of one of these kinds."""
    while True:
        for kind, message in netlink.messages(events.recv(65536)):
            if kind in kinds and (user is None or bool(netlink.Policy.parse(message[16:]).user) == user):
                return


def measure(policy):
    """Deletes the policy, and adds it again when it has a shadow. Returns three durations in microseconds. The first is
    that of the request to delete. The second is from this request to the kernel's event about the shadow. The third is
    from the request to add to the event about the shadow's deletion."""
    with netlink.open_socket(netlink.POLICIES) as events:
        begun = time.perf_counter()
        policy.delete()
        deleted = time.perf_counter()
        event(events, netlink.MSG_NEWPOLICY, user=True)
        blocked = time.perf_counter()
        policy.add()
        event(events, netlink.MSG_DELPOLICY)
        return [1e6 * seconds for seconds in (deleted - begun, blocked - begun, time.perf_counter() - blocked)]


def resident(pid):
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def watch_many(count):
    sandbox.new_network()
    if count:
        xfrm.fill("spread", count)
    xfrm.add_policies(POLICY)
    [policy] = [policy for policy in netlink.policies() if policy.selector[1] == netlink.packed("10.200.0.0")]
    with tempfile.TemporaryDirectory() as folder, daemon(f"{folder}/charon.vici") as process:
        Path(f"{folder}/charon.vici.json").write_text(json.dumps(LISTED))
        with manager(process.pid), Watch(f"{folder}/charon.vici", *TWO_MISSES, "--on-missing=block") as watch:
            watch.wait_for("answers after ")
            pid = watch.process.pid
            before = processor_seconds(pid)
            times = [measure(policy) for _ in range(ROUNDS)]
            used = processor_seconds(pid) - before
            delete, block, unblock = zip(*times)
            return {"policies": count, "delete": delete, "block": block, "unblock": unblock,
                    "processor_us": 1e6 * used / ROUNDS, "resident_mib": resident(pid)}


def main():
    sandbox.new_run_folder()
    found = []
    print("policies | request to delete: median µs | from it to the shadow: min / median / max µs | "
          "from the return to the end of the shadow: median µs | processor time a round µs | MiB")
    for count in COUNTS:
        figures = watch_many(count)
        found.append(figures)
        block = figures["block"]
        print(f"{count:>8} | {statistics.median(figures['delete']):.0f} | {min(block):.0f} / {statistics.median(block):.0f} / {max(block):.0f} | "
              f"{statistics.median(figures['unblock']):.0f} | {figures['processor_us']:.0f} | "
              f"{figures['resident_mib']:.1f}", flush=True)
    Path(sys.argv[1]).write_text(json.dumps(found))


main()
