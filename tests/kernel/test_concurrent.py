# SPDX-License-Identifier: GPL-2.0-or-later
"""Several runs of xfrmctl at once, and xfrmctl beside a daemon and an operator who change the state that it reads. One
case has many entries and little memory."""

import itertools
import os
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import netlink
import xfrm
from cases import case, cases, main
from guard import Guard
from program import PRELOADED, SECONDS, XFRMCTL, Result, arm, environment, hold, release, run
from shadows import ADJACENT, HOLD, real_policies, shadows
from tap import Skip, comment, contains, equal

# Number of policies of a case, maximum number of its rounds, and time after which no new round begins, in seconds.
MANY, ROUNDS, ROUND_SECONDS = 300, 20, 1.0

# Numbers of policies and SAs, and limit of memory in bytes. There are fewer SAs because newer kernels search all
# of them when they choose an SPI.
LOT, SAS = 100_000, 20_000
LIMIT = 16 * 1024 * 1024


def start(*words):
    return subprocess.Popen([XFRMCTL, *words], env=environment(), text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process):
    out, err = process.communicate(timeout=SECONDS)
    assert "Sanitizer" not in err and "runtime error" not in err, err
    return Result(process.returncode, out, err)


def rounds():
    """Yields numbers until the rounds of a case are over."""
    deadline = time.monotonic() + ROUND_SECONDS
    for number in itertools.count():
        if number == ROUNDS or (number and time.monotonic() > deadline):
            comment(f"{number} rounds")
            return
        xfrm.clear()
        yield number


def side_by_side(first, second, delay):
    """Runs both commands at once, the second one `delay` seconds later. Returns both results."""
    one = start(*first)
    time.sleep(delay)
    other = start(*second)
    results = [end(one), end(other)]
    for result in results:
        equal((result.status, result.err), (0, ""), f"status and standard error ({results})")
    return results


def keys(policies):
    return {policy.key for policy in policies}


HOLDING = ["flush", "--hold"]


@cases([(" ".join(other), other) for other in (HOLDING, ["arm"])])
def two_that_hold(_, other):
    """Two runs at once leave one shadow of each policy, and nothing is ever unprotected: flush --hold and {0}"""
    for number in rounds():
        xfrm.fill("networks", MANY)
        netlink.allocate_spi("192.0.2.1", "192.0.2.2", 0x1000, reqid=1)
        with Guard() as guard:
            side_by_side(*(HOLDING, other)[::1 - number % 2 * 2], number % 5 * 0.002)
            guard.check(f"in round {number}")
            equal(keys(shadows(HOLD)), guard.guarded, f"what the shadows stand for in round {number}")
        equal(real_policies(), [], f"the policies left in round {number}")
        equal((len(shadows(HOLD)), netlink.spis()), (MANY, set()), f"shadows, and SAs, in round {number}")
        release()
        equal(netlink.policies(), [], f"what is left of round {number}")


@case
def hold_and_keep():
    """flush --hold and flush --keep at once leave shadows of each policy, and nothing is ever unprotected."""
    for number in rounds():
        xfrm.fill("networks", MANY)
        with Guard() as guard:
            # The two commands give their shadows different priorities, so that a policy may get two shadows.
            side_by_side(*(HOLDING, ["flush", "--keep"])[::1 - number % 2 * 2], number % 5 * 0.002)
            guard.check(f"in round {number}")
            equal(keys(shadows(HOLD, ADJACENT)), guard.guarded, f"what the shadows stand for in round {number}")
        equal(real_policies(), [], f"the policies left in round {number}")
        release()
        equal(netlink.policies(), [], f"what is left of round {number}")


@cases([(" ".join(other), other) for other in (["release"], ["release", "--grace=1h"], ["flush"])])
def one_that_opens(_, other):
    """Two runs at once leave no policy, and the next release removes the rest: flush --hold and {0}"""
    for number in rounds():
        xfrm.fill("networks", MANY)
        held = number % 3 == 0 and other[0] == "release"
        if held:
            arm()
        side_by_side(HOLDING, other, number % 5 * 0.002)
        equal(real_policies(), [], f"the policies left in round {number}")
        release()
        equal(netlink.policies(), [], f"what is left of round {number}")


@case
def arm_and_flush():
    """If flush runs beside arm, no policy stays, and the next release removes all shadows."""
    for number in rounds():
        xfrm.fill("networks", MANY)
        side_by_side(["arm"], ["flush"], number % 5 * 0.002)
        equal(real_policies(), [], f"the policies left in round {number}")
        release()
        equal(netlink.policies(), [], f"what is left of round {number}")


@case
def two_releases():
    """Two releases at once, with a grace, leave one shadow of each uncovered policy and nothing unprotected."""
    for number in rounds():
        xfrm.fill("networks", MANY)
        before = netlink.policies()
        hold()
        for policy in before[::10]:
            policy.add()
        with Guard() as guard:
            side_by_side(["release", "--grace=1h"], ["release", "--grace=1h"], number % 5 * 0.002)
            guard.check(f"in round {number}")
        equal(keys(shadows()), keys(before) - keys(before[::10]), f"what the shadows stand for in round {number}")


@contextmanager
def meanwhile(change):
    """Calls change(0), change(1) and so on in a thread, from before the block until after it. Yields the list of
    numbers that are done."""
    stop, begun, done, failures = threading.Event(), threading.Event(), [], []

    def work():
        try:
            for number in itertools.count():
                if stop.is_set():
                    return
                change(number)
                done.append(number)
                begun.set()
        except Exception as failure:
            failures.append(failure)
            begun.set()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        begun.wait(SECONDS)
        yield done
    finally:
        stop.set()
        worker.join()
    if failures:
        raise failures[0]


def as_charon(number, model):
    """Returns the policy of a further connection."""
    dst = netlink.packed(f"10.{200 + number // 65536 % 50}.{number // 256 % 256}.{number % 256}")
    return model._replace(selector=(dst, *model.selector[1:6], model.selector[6], 32, *model.selector[8:]))


@case
def installing_meanwhile():
    """While policies are being installed, a hold completes, and no traffic of old or new policies is unprotected."""
    xfrm.fill("networks", MANY)
    model = netlink.policies()[0]
    total = 0
    for number in rounds():
        xfrm.fill("networks", MANY)
        added = []

        def install(count):
            policy = as_charon(count, model)
            policy.add()
            added.append(policy.key)
        with Guard() as guard:
            with meanwhile(install) as done:
                before = len(done)
                result = end(start(*HOLDING))
                total += len(done) - before
            equal((result.status, result.err), (0, ""), f"status and standard error ({result})")
            guard.guarded |= set(added)
            guard.check(f"in round {number}")
    comment(f"{total} policies were installed meanwhile")
    assert total > 0, "nothing was installed in any round"


def churn():
    """Returns commands of `ip` that add and remove policies and SAs, as an operator may do."""
    commands = []
    for number in range(200):
        policy = f"src 10.9.0.0/16 dst 10.77.{number}.0/24 dir out"
        template = f"priority {number + 1} tmpl src 192.0.2.9 dst 192.0.2.8 proto esp reqid 9 mode tunnel"
        spi = 0x9000 + number
        commands += [f"xfrm policy add {policy} {template}",
                     "xfrm state allocspi src 192.0.2.9 dst 192.0.2.8 proto esp reqid 9 mode tunnel"
                     f" min {spi} max {spi}"]
        if number % 2:
            commands += [f"xfrm policy delete {policy}",
                         f"xfrm state delete src 192.0.2.9 dst 192.0.2.8 proto esp spi {spi}"]
    return "\n".join(commands) + "\n"


@contextmanager
def operating():
    """Runs the commands of churn() again and again. A command may fail because its entry is there already or is
    gone."""
    commands = churn()

    def operate(_):
        subprocess.run(["ip", "-force", "-batch", "-"], input=commands, text=True, capture_output=True, check=False)
    with meanwhile(operate) as done:
        yield done


@case
def operating_during_hold():
    """While `ip xfrm` adds and removes entries, a hold succeeds, and no traffic of earlier policies is unprotected."""
    with operating():
        for number in rounds():
            xfrm.fill("networks", MANY)
            with Guard() as guard:
                guard.guarded = {key for key in guard.guarded if key[3][:2] != b"\x0a\x09"}
                result = end(start(*HOLDING))
                equal((result.status, result.err), (0, ""), f"status and standard error ({result})")
                guard.check(f"in round {number}")


@case
def operating_during_arm():
    """While `ip xfrm` adds and removes entries, arm succeeds."""
    with operating():
        for number in rounds():
            xfrm.fill("networks", MANY)
            result = end(start("arm"))
            equal((result.status, result.err), (0, ""), f"status and standard error in round {number} ({result})")
            contains(result.out, "Put shadows behind ")


@case
def operating_during_status():
    """While `ip xfrm` adds and removes entries, status succeeds."""
    with operating():
        for number in rounds():
            xfrm.fill("networks", MANY)
            result = run("status", "--json", "--socket=/nonexistent")
            equal((result.status, result.err), (0, ""), f"status and standard error in round {number} ({result})")


@contextmanager
def memory_limit():
    """Creates a control group with little memory. Yields the file that moves a process into it, and the file with its
    maximum use."""
    groups = Path("/sys/fs/cgroup")
    for parent, limit, peak in ((groups / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
                                (groups, "memory.max", "memory.peak")):
        group = parent / f"xfrmctl-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(LIMIT))
                for swap in ("memory.swappiness", "memory.swap.max"):
                    with suppress(OSError):
                        (group / swap).write_text("0")
                yield group / "cgroup.procs", group / peak
                return
        finally:
            group.rmdir()
    raise Skip("no control group that limits memory can be made here")


def within(procs, *words, status=0):
    result = run(*words, preexec_fn=lambda: procs.write_text("0"))
    equal((result.status, result.err), (status, ""), f"status and standard error of {' '.join(words)} ({result})")
    return result


@case
def little_memory():
    """With 16 MiB of memory, all verbs work with 100,000 policies and 20,000 SAs."""
    if "libasan" in PRELOADED:
        raise Skip("AddressSanitizer alone needs more than 16 MiB")
    with memory_limit() as (procs, peak):
        xfrm.fill("hosts", LOT)
        xfrm.fill("sas", SAS)
        contains(within(procs, "arm").out, "Put shadows behind 100000 policies (")
        contains(within(procs, "status", "--socket=/nonexistent").out, "20000 being negotiated", "shadows      100000")
        contains(within(procs, "flush", "--hold", "--exclude=reqid=77").out,
                 "Removed 20000 SAs (20000 esp) and 100000 policies (", "; 100000 shadows are in place.")
        contains(within(procs, "release", "--grace=1h").out, "100000 stay for 1h.")
        contains(within(procs, "release").out, "Released 100000 shadows in ")
        xfrm.fill("hosts", LOT)
        contains(within(procs, "flush").out, "Removed 0 SAs and 100000 policies (")
        equal(xfrm.counts(), (0, 0), "policies and SAs left")
        if peak.exists():
            comment(f"the most memory in use: {int(peak.read_text()) // 1024} KiB")


main()
