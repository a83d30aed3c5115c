# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares xfrmctl with iproute2 in the same run, prints a table, and keeps the raw figures.

    bench.py RESULTS.json
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import sandbox
import xfrm

XFRMCTL = os.environ["XFRMCTL"]
MEASURE = os.environ["MEASURE"]

OURS, THEIRS = "xfrmctl", "iproute2"

FLUSH = [XFRMCTL, "flush"]
FLUSH_HALF = [XFRMCTL, "flush", "--match=priority=1"]
IP_FLUSH_BOTH = ["sh", "-c", "ip xfrm state flush; ip xfrm policy flush"]
IP_FLUSH_POLICIES = ["ip", "xfrm", "policy", "flush"]
IP_DELETE_HALF = ["ip", "xfrm", "policy", "deleteall", "priority", "1"]

POLICIES = 65_000
SIZES = (1_000, 10_000, 100_000)
LARGE = 200_000

START_ROUNDS = 201
FLUSH_ROUNDS = 21
GROWTH_ROUNDS = 31
SIZE_ROUNDS = 11
# `ip xfrm policy deleteall` takes ten seconds.
SLOW_ROUNDS = 3

# Policies between networks serve when so many can be made in so many seconds.
TRIED, TRIED_SECONDS = 20_000, 1


class Benchmark:
    """Raw figures, and what they say about the goals."""

    def __init__(self, kind):
        self.kind = kind
        self.runs = []
        self.goals = []

    def once(self, name, side, policies, command, policies_left):
        """Measures a command in the present namespace, which it must leave with so many policies."""
        xfrm.clear()
        if policies:
            xfrm.fill(self.kind, policies)
        done = subprocess.run([MEASURE, *command], stdout=subprocess.PIPE, text=True, check=True)
        left = xfrm.counts()[0]
        if left != policies_left:
            sys.exit(f"bench: {' '.join(command)} left {left} policies instead of {policies_left}")
        nanoseconds, kib = map(int, done.stdout.split())
        self.runs.append({"benchmark": name, "side": side, "policies": policies, "command": command,
                          "nanoseconds": nanoseconds, "maxrss_kib": kib})

    def rounds(self, name, rounds, contestants):
        """Runs {side: arguments of once()} by turns, in a namespace of their own; who comes first changes."""
        sandbox.new_network()
        for number in range(rounds):
            order = list(contestants.items())
            for side, arguments in order if number % 2 else reversed(order):
                self.once(name, side, *arguments)

    def figures(self, name, side, what="nanoseconds", policies=None):
        return [run[what] for run in self.runs if run["benchmark"] == name and run["side"] == side
                and policies in (None, run["policies"])]

    def median(self, *which, **more):
        return statistics.median(self.figures(*which, **more))

    def goal(self, what, found, limit, text):
        self.goals.append({"goal": what, "found": found, "limit": limit, "met": found <= limit, "text": text})


def milliseconds(nanoseconds):
    return f"{nanoseconds / 1e6:.2f} ms"


def compare(bench, name, rounds, ours, theirs, limit):
    """A goal for the ratio of two medians."""
    bench.rounds(name, rounds, {OURS: ours, THEIRS: theirs})
    mine, other = bench.median(name, OURS), bench.median(name, THEIRS)
    bench.goal(name, mine / other, limit,
               f"{milliseconds(mine)} to {milliseconds(other)} of iproute2, {other / mine:.1f} times as fast")


def compare_growth(bench):
    """Time per entry, without what the program takes to start, against that of the smallest size."""
    name = "half of N policies selected"
    bench.rounds(name, GROWTH_ROUNDS, {str(size): (size, FLUSH_HALF, size // 2) for size in (0, *SIZES)})
    start = bench.median(name, "0")
    each = [(bench.median(name, str(size)) - start) / size for size in SIZES]
    text = ", ".join(f"{nanoseconds / 1000:.2f} µs at {size:,}" for size, nanoseconds in zip(SIZES, each))
    bench.goal(f"{name}: growth of the time per entry", max(each[1:]) / each[0], 1.5,
               f"{text} (start of {milliseconds(start)} not counted)")


def compare_size(bench):
    for name, command, left in (("everything", FLUSH, 0), ("a selection", FLUSH_HALF, LARGE // 2)):
        name = f"resident size, {name}"
        bench.rounds(name, SIZE_ROUNDS, {"none": (0, command, 0), str(LARGE): (LARGE, command, left)})
        small, large = (bench.median(name, side, what="maxrss_kib") for side in ("none", str(LARGE)))
        bench.goal(f"{name}, in MiB above that at none", (large - small) / 1024, 1,
                   f"{small:.0f} KiB at none, {large:.0f} KiB at {LARGE:,}")


def step(what):
    print(f"# {what}", flush=True)


def kind_of_policies():
    """Policies between networks, if this kernel takes them fast enough to be made for every round (see fill.c)."""
    sandbox.new_network()
    begun = time.monotonic()
    xfrm.fill("networks", TRIED)
    return "networks" if time.monotonic() - begun < TRIED_SECONDS else "hosts"


def run():
    bench = Benchmark(kind_of_policies())
    step("nothing to flush")
    compare(bench, "nothing to flush, whole process", START_ROUNDS, (0, FLUSH, 0), (0, IP_FLUSH_BOTH, 0), 0.6)
    step("everything")
    compare(bench, f"everything, {POLICIES:,} policies", FLUSH_ROUNDS,
            (POLICIES, FLUSH, 0), (POLICIES, IP_FLUSH_POLICIES, 0), 1.1)
    step("a selection (a minute)")
    compare(bench, f"{POLICIES // 2:,} of {POLICIES:,} policies selected", SLOW_ROUNDS,
            (POLICIES, FLUSH_HALF, POLICIES // 2), (POLICIES, IP_DELETE_HALF, POLICIES // 2), 1 / 50)
    step("growth")
    compare_growth(bench)
    step("resident size")
    compare_size(bench)
    return bench


def main():
    bench = run()
    machine = {"kernel": platform.release(), "policies": f"between {bench.kind}", "processors": os.cpu_count(),
               "iproute2": subprocess.run(["ip", "-V"], capture_output=True, text=True, check=True).stdout.strip()}
    Path(sys.argv[1]).write_text(json.dumps({"machine": machine, "goals": bench.goals, "runs": bench.runs}, indent=1))

    width = max(len(goal["goal"]) for goal in bench.goals)
    print(f"Policies between {bench.kind}; {machine['processors']} processors, kernel {machine['kernel']}")
    print(f"{'':{width}}   found     goal")
    for goal in bench.goals:
        print(f"{goal['goal']:{width}}  {goal['found']:6.3f}  <= {goal['limit']:5.3f}  "
              f"{'met' if goal['met'] else 'MISSED'}: {goal['text']}")
    print(f"Raw figures: {sys.argv[1]}")
    sys.exit(0 if all(goal["met"] for goal in bench.goals) else 1)


main()
