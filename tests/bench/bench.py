# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared parts of the benchmarks: runs of commands on fresh policies, medians, goals, the table and the raw figures."""

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

IP_FLUSH_POLICIES = ["ip", "xfrm", "policy", "flush"]

# Policies between networks are used if the kernel adds this number of them within this number of seconds.
TRIED, TRIED_SECONDS = 20_000, 1



class Benchmark:
    """Raw figures, and the goals that they meet or miss."""

    def __init__(self, kind):
        self.kind = kind
        self.runs = []
        self.goals = []

    def prepare(self, policies, kind=None):
        """Replaces all SAs and policies of the current network namespace by `policies` new policies."""
        xfrm.clear()
        if policies:
            xfrm.fill(kind or self.kind, policies)

    def measure(self, name, side, policies, command, policies_left):
        """Measures a command in the current network namespace. Exits unless the command leaves `policies_left`
        policies."""
        done = subprocess.run([MEASURE, *command], stdout=subprocess.PIPE, text=True, check=True)
        left = xfrm.counts()[0]
        if left != policies_left:
            sys.exit(f"{' '.join(command)} left {left} policies instead of {policies_left}")
        nanoseconds, on_processor, kib = map(int, done.stdout.split())
        self.runs.append({"benchmark": name, "side": side, "policies": policies, "command": command,
                          "nanoseconds": nanoseconds, "cpu_nanoseconds": on_processor, "maxrss_kib": kib})

    def figures(self, name, side, what="nanoseconds", policies=None):
        return [run[what] for run in self.runs if run["benchmark"] == name and run["side"] == side
                and policies in (None, run["policies"])]

    def median(self, *which, **more):
        return statistics.median(self.figures(*which, **more))

    def goal(self, what, found, limit, text):
        self.goals.append({"goal": what, "found": found, "limit": limit, "met": found <= limit, "text": text})

    def goal_of_growth(self, name, sizes, limit):
        """Adds a goal for the time per entry, relative to that of the smallest size. The time of a run without entries
        is the program's start, which does not count. The side of a figure is its number of entries, as text."""
        start = self.median(name, "0")
        each = [(self.median(name, str(size)) - start) / size for size in sizes]
        text = ", ".join(f"{nanoseconds / 1000:.2f} µs at {size:,}" for size, nanoseconds in zip(sizes, each))
        self.goal(f"{name}: growth of the time per entry", max(each[1:]) / each[0], limit,
                  f"{text} (start of {milliseconds(start)} not counted)")

    def goal_of_size(self, name, large):
        """Adds a goal for the difference between the resident sizes with `large` policies and with none."""
        least, most = (self.median(name, str(size), what="maxrss_kib") for size in (0, large))
        self.goal(f"{name}: resident size, in MiB above that at none", (most - least) / 1024, 1,
                  f"{least:.0f} KiB at none, {most:.0f} KiB at {large:,}")


def by_turns(rounds, contestants):
    """Calls each function once in each of `rounds` rounds, all in one new network namespace. Every second round
    reverses the order of the functions."""
    sandbox.new_network()
    for number in range(rounds):
        for contestant in contestants if number % 2 else reversed(contestants):
            contestant()


def milliseconds(nanoseconds):
    return f"{nanoseconds / 1e6:.2f} ms"


def step(what):
    print(f"# {what}", flush=True)


def kind_of_policies(networks):
    """Returns the argument if this kernel adds policies between networks fast enough for each round (see fill.c), or
    else "hosts"."""
    sandbox.new_network()
    begun = time.monotonic()
    xfrm.fill("networks", TRIED)
    return networks if time.monotonic() - begun < TRIED_SECONDS else "hosts"


def conclude(bench):
    """Writes the raw figures to the file that the command line names, and prints the table. Exits with 0 if all goals
    are met, or else with 1."""
    machine = {"kernel": platform.release(), "policies": bench.kind, "processors": os.cpu_count(),
               "load": os.getloadavg(),
               "iproute2": subprocess.run(["ip", "-V"], capture_output=True, text=True, check=True).stdout.strip()}
    Path(sys.argv[1]).write_text(json.dumps({"machine": machine, "goals": bench.goals, "runs": bench.runs}, indent=1))

    width = max(len(goal["goal"]) for goal in bench.goals)
    print(f"Policies of kind {bench.kind}; {machine['processors']} processors, kernel {machine['kernel']}")
    print(f"{'':{width}}   found     goal")
    for goal in bench.goals:
        print(f"{goal['goal']:{width}}  {goal['found']:6.3f}  <= {goal['limit']:5.3f}  "
              f"{'met' if goal['met'] else 'MISSED'}: {goal['text']}")
    print(f"Raw figures: {sys.argv[1]}")
    sys.exit(0 if all(goal["met"] for goal in bench.goals) else 1)
