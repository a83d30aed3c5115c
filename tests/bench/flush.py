# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares `xfrmctl flush` with iproute2 in the same run. Prints a table, and writes the raw figures to a file.

    flush.py RESULTS.json
"""

from bench import IP_FLUSH_POLICIES, XFRMCTL, Benchmark, by_turns, conclude, kind_of_policies, milliseconds, step

OURS, THEIRS, EMPTY = "xfrmctl", "iproute2", "a program that does nothing"

FLUSH = [XFRMCTL, "flush"]
FLUSH_HALF = [XFRMCTL, "flush", "--match=priority=1"]
IP_FLUSH_BOTH = ["sh", "-c", "ip xfrm state flush; ip xfrm policy flush"]
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


def rounds(bench, name, number, contestants):
    """Measures contestants by turns, each on fresh policies. `contestants` is a dictionary
    {side: (policies, command, policies left)}."""
    def contestant(side, policies, command, left):
        def run():
            bench.prepare(policies)
            bench.measure(name, side, policies, command, left)
        return run

    by_turns(number, [contestant(side, *arguments) for side, arguments in contestants.items()])


def compare(bench, name, number, ours, theirs, limit):
    """Measures xfrmctl and iproute2, and adds a goal for the ratio of their medians."""
    rounds(bench, name, number, {OURS: ours, THEIRS: theirs})
    mine, other = bench.median(name, OURS), bench.median(name, THEIRS)
    bench.goal(name, mine / other, limit,
               f"{milliseconds(mine)} to {milliseconds(other)} of iproute2, {other / mine:.1f} times as fast")


def compare_start(bench):
    """Measures runs with nothing to flush, in which the start of the process takes most of the time. Also shows the
    time on a processor, which other load changes less."""
    name = "nothing to flush, whole process"
    sides = {OURS: FLUSH, THEIRS: IP_FLUSH_BOTH, EMPTY: ["true"]}
    rounds(bench, name, START_ROUNDS, {side: (0, command, 0) for side, command in sides.items()})
    mine, other, empty = (bench.median(name, side) for side in sides)
    mine_on, other_on, empty_on = (bench.median(name, side, what="cpu_nanoseconds") for side in sides)
    bench.goal(name, mine / other, 0.6,
               f"{milliseconds(mine)} to {milliseconds(other)} of iproute2, {milliseconds(empty)} of {EMPTY}; on a "
               f"processor {milliseconds(mine_on)} to {milliseconds(other_on)} and {milliseconds(empty_on)}, "
               f"{mine_on / other_on:.3f}")


def compare_growth(bench):
    name = "half of N policies selected"
    rounds(bench, name, GROWTH_ROUNDS, {str(size): (size, FLUSH_HALF, size // 2) for size in (0, *SIZES)})
    bench.goal_of_growth(name, SIZES, 1.5)


def compare_size(bench):
    for name, command, left in (("everything", FLUSH, 0), ("a selection", FLUSH_HALF, LARGE // 2)):
        rounds(bench, name, SIZE_ROUNDS, {"0": (0, command, 0), str(LARGE): (LARGE, command, left)})
        bench.goal_of_size(name, LARGE)


def run():
    bench = Benchmark(kind_of_policies("networks"))
    step("nothing to flush")
    compare_start(bench)
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


conclude(run())
