# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares `xfrmctl flush --hold` and `xfrmctl release` with `ip xfrm policy flush` in the same run. Prints a table and
writes the raw figures to a file.

    hold.py RESULTS.json
"""

import sandbox
import xfrm
from bench import IP_FLUSH_POLICIES, XFRMCTL, Benchmark, by_turns, conclude, kind_of_policies, milliseconds, step
from netlink import MSG_NEWPOLICY
from program import Fault, Faults, run

# linux/xfrm.h
MSG_UPDPOLICY = 0x19

HOLD, ARM, RELEASE, GRACE = ("flush", "--hold"), ("arm",), ("release",), ("release", "--grace=1min")

POLICIES = 65_000
SIZES = (1_000, 10_000, POLICIES)
LARGE = 200_000

ROUNDS = 7
# Short runs are repeated in each round, so that their medians are as good as those of long runs.
REPEATS = {0: 3, 1_000: 3, 10_000: 2, POLICIES: 1, LARGE: 1}

AGAIN = "hold over leftovers"
GRADED = "hold, 9 priorities"

# Maximum growth of the time per entry, relative to the smallest size. Only at the smallest size do the kernel's lists
# fit into the processor's caches. If each entry caused a walk over all others, the time per entry would grow 65 or 200
# times.
LINEAR = 2


def measure(bench, name, size, words, left):
    bench.measure(name, str(size), size, [XFRMCTL, *words], left)


def life(bench, size):
    """Measures hold and release. If release leaves no policy, hold has replaced all policies by shadows."""
    bench.prepare(size)
    measure(bench, "hold", size, HOLD, size)
    measure(bench, "release", size, RELEASE, 0)


def graded_life(bench):
    """Measures policies whose priorities depend on their prefix lengths, as those of IKE daemons do. The hold must keep
    the order of the policies."""
    bench.prepare(POLICIES, "graded")
    measure(bench, GRADED, POLICIES, HOLD, POLICIES)
    measure(bench, "release, 9 priorities", POLICIES, RELEASE, 0)


def second_life(bench, size):
    """Measures a hold when each policy already has its shadow, as after an interrupted start. Then measures a release
    that makes all shadows expiring ones."""
    bench.prepare(size)
    measure(bench, "arm", size, ARM, 2 * size)
    measure(bench, AGAIN, size, HOLD, size)
    measure(bench, "release with a grace", size, GRACE, size)


def ip_flush(bench):
    bench.prepare(POLICIES)
    bench.measure("ip xfrm policy flush", str(POLICIES), POLICIES, IP_FLUSH_POLICIES, 0)


def is_graded(bench):
    """Returns whether this kernel adds policies between networks fast enough."""
    return bench.kind == "spread"


def rounds(bench):
    contestants = []
    for size, repeats in REPEATS.items():
        if size == POLICIES:
            contestants.append(lambda: ip_flush(bench))
            if is_graded(bench):
                contestants.append(lambda: graded_life(bench))
        contestants += [lambda size=size: life(bench, size)] * repeats
        if size != LARGE:
            contestants += [lambda size=size: second_life(bench, size)] * repeats
    by_turns(ROUNDS, contestants)


def compare(bench, name, limit):
    """Adds a goal for the ratio of two medians. Also shows the time on a processor, which other load changes less."""
    times = [[bench.median(which, str(POLICIES), what=what) for which in (name, "ip xfrm policy flush")]
             for what in ("nanoseconds", "cpu_nanoseconds")]
    (mine, other), (mine_on, other_on) = times
    bench.goal(f"{name}, {POLICIES:,} policies, to ip xfrm policy flush", mine / other, limit,
               f"{milliseconds(mine)} to {milliseconds(other)}; on a processor {milliseconds(mine_on)} to "
               f"{milliseconds(other_on)}, {mine_on / other_on:.1f} times")


def count_updates(bench):
    """Counts the messages to the kernel, in runs that are not timed."""
    sandbox.new_network()
    bench.prepare(POLICIES)
    sent = {}
    for name, words in (("hold", HOLD), ("release", RELEASE), ("arm", ARM), (AGAIN, HOLD), ("grace", GRACE)):
        if name == "arm":
            bench.prepare(POLICIES)
        with Faults(Fault("send", MSG_UPDPOLICY, "note"), Fault("send", MSG_NEWPOLICY, "note")) as faults:
            result = run(*words, env=faults.env)
            assert result.status == 0, result
            sent[name] = faults.count(0), faults.count(1)
    assert xfrm.counts()[0] == POLICIES
    # A count of 0 updates is a proof only if the additions are counted correctly.
    assert [additions for _, additions in sent.values()] == [POLICIES, 0, POLICIES, 0, POLICIES], sent
    bench.goal("updates of policies sent", sum(updates for updates, _ in sent.values()), 0,
               ", ".join(f"{name} {updates} (additions {additions:,})" for name, (updates, additions) in sent.items()))


def main():
    bench = Benchmark(kind_of_policies("spread"))
    step("hold, release, and both over leftovers (a minute)")
    rounds(bench)
    step("messages")
    count_updates(bench)

    compare(bench, "hold", 6)
    if is_graded(bench):
        compare(bench, GRADED, 6)
    compare(bench, "release", 3)
    for name in ("hold", "release"):
        bench.goal_of_growth(name, (*SIZES, LARGE), LINEAR)
        bench.goal_of_size(name, LARGE)
    for name in ("arm", AGAIN, "release with a grace"):
        bench.goal_of_growth(name, SIZES, LINEAR)
    conclude(bench)


main()
