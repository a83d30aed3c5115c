# SPDX-License-Identifier: GPL-2.0-or-later
"""Every instant of a run: protected traffic is never unprotected, wherever the program is stopped or killed."""

import netlink
import xfrm
from cases import case, cases, main
from netlink import BLOCK, MSG_DELPOLICY, MSG_DELSA, MSG_FLUSHSA, MSG_NEWPOLICY, MSG_UPDPOLICY
from program import Steps, arm, hold, xfrmctl
from shadows import EXPIRING, make_shadow
from tables import EACH_ONCE, IN_THE_ORDER_OF_PRIORITIES, MANY_PRIORITIES, TABLES, require
from tap import equal
from wire import BLOCKED, PASSES, PROTECTED, Wire, same

IN_EVERY_ORDER = [(table.name, table) for table in TABLES]
ONCE = [(table.name, table) for table in EACH_ONCE]

# The tables of the cases that kill xfrmctl. Such a case runs xfrmctl once for each change, which takes long. These
# tables cover most kinds of policies.
RICH = [(name, table) for name, table in IN_EVERY_ORDER if name in (
    "drop shunts", "a bypass behind", "IPv6 with neighbour discovery, added backwards", "protocols and ports",
    "marks, added backwards", "sub policies", "low and high priorities", "high priorities side by side",
    "a selection between others")]

SAS = [{"src": "192.0.2.1", "dst": "192.0.2.2", "spi": 0x1000 + n, "reqid": n} for n in (1, 2)]


def make(table):
    table.add()
    for sa in SAS:
        netlink.allocate_spi(**sa)


def make_leftovers(table):
    """Adds the policies, and shadows of a previous instance for most of them. Some of these shadows differ from the
    expected ones."""
    table.add()
    for number, policy in enumerate(netlink.policies()):
        match number % 5:
            case 0:
                make_shadow(policy)
            case 1:
                make_shadow(policy, EXPIRING, seconds=3600)
            case 2:
                make_shadow(policy, priority=policy.priority)
            case 3:
                make_shadow(policy, action=BLOCK)
                make_shadow(policy, EXPIRING, seconds=3600)


def make_armed(table):
    """Adds the policies, and runs arm, which puts shadows behind all of them."""
    table.add()
    arm()


def make_half_covered(table):
    """Replaces all policies by shadows, and adds every third policy again."""
    table.add()
    policies = netlink.policies()
    hold()
    for policy in policies[::3]:
        policy.add()


def end_state():
    """Returns all that has to be the same at the end of every run: everything except times, indices and counters."""
    return {(policy.key, policy.user, policy.priority, policy.action, policy.flags, policy.templates,
             policy.lifetime[4:]) for policy in netlink.policies()}, len(xfrm.sa_lines())


def ends_as(found, expected, when):
    (policies, sas), (expected_policies, expected_sas) = found, expected
    equal((policies - expected_policies, expected_policies - policies, sas), (set(), set(), expected_sas),
          f"too many policies, too few, and the SAs at {when}")


def unchanged(before, now):
    """Checks that no verdict has changed."""
    changes({flow: (before[flow], now[flow]) for flow in now if now[flow] != before[flow]})


def held_or_unchanged(table):
    """Returns a check that protected flows are blocked, and that no other verdict has changed."""
    def check(before, now):
        changes({flow: (before[flow], now[flow]) for flow in now
                 if now[flow] != before[flow] and (before[flow], now[flow]) != (PROTECTED, BLOCKED)
                 and flow not in table.undecided})
        stays_blocked(before, now)
    return check


def stays_blocked(before, now):
    """Checks that no flow passes that did not pass before."""
    changes({flow: (before[flow], now[flow]) for flow in now if now[flow] == PASSES != before[flow]})


def stays_protected(before, now):
    """Checks that no flow that a policy protected before has another verdict now."""
    changes({flow: (before[flow], now[flow]) for flow in now if before[flow] == PROTECTED != now[flow]})


def opens_nothing(before, now):
    stays_blocked(before, now)
    stays_protected(before, now)


def changes(found):
    equal({str(flow): how for flow, how in found.items()}, {}, "the flows that change")


def stops(table, prepare, words, check, kinds, check_end=None):
    """Stops a run behind each change, and checks the flows there. The run has to end like an undisturbed one."""
    require(table)
    with Wire() as wire:
        prepare(table)
        before = wire.verdicts(table.before())
        with Steps(*words) as steps:
            seen = []
            for kind in steps:
                seen.append(kind)
                check(before, wire.verdicts(before))
            equal(steps.result().status, 0, "exit status")
        (check_end or check)(before, wire.verdicts(before))
        assert set(seen) <= kinds and len(seen) > 1, f"the messages: {seen}"
        found = end_state()
        xfrm.clear()
        prepare(table)
        xfrmctl(*words)
        ends_as(found, end_state(), "the end")


def kill_behind(number, words):
    """Kills a run behind a change. Returns whether there was such a change."""
    with Steps(*words) as steps:
        for count, _ in enumerate(steps, 1):
            if count == number:
                steps.kill()
                return True
    return False


def kills(table, prepare, words, check, check_end=None):
    """Kills a run behind each change, and runs xfrmctl again to its end."""
    require(table)
    with Wire() as wire:
        prepare(table)
        before = wire.verdicts(table.before())
        xfrmctl(*words)
        undisturbed, after = end_state(), wire.verdicts(before)
        number = 0
        while True:
            number += 1
            xfrm.clear()
            prepare(table)
            if not kill_behind(number, words):
                break
            check(before, wire.verdicts(before))
            xfrmctl(*words)
            found = wire.verdicts(before)
            (check_end or check)(before, found)
            after_two = f"the end of the second run, the first was killed behind change {number}"
            same(found, after, f"the flows at {after_two}")
            ends_as(end_state(), undisturbed, after_two)
        assert number > 2, f"the number of changes: {number - 1}"


HOLDING = {MSG_NEWPOLICY, MSG_DELPOLICY, MSG_FLUSHSA, MSG_DELSA}


@cases(IN_EVERY_ORDER)
def holding(_, table):
    """Stopped anywhere, a hold leaves nothing unprotected; at its end, it blocks only protected traffic: {0}"""
    stops(table, make, ["flush", "--hold", *table.options], stays_blocked, HOLDING, held_or_unchanged(table))


@case
def holding_many_priorities():
    """Stopped anywhere, a hold of more priorities than it distinguishes leaves nothing unprotected."""
    stops(MANY_PRIORITIES, make, ["flush", "--hold"], stays_blocked, HOLDING, held_or_unchanged(MANY_PRIORITIES))


@cases(RICH)
def holding_killed(_, table):
    """Killed anywhere, a hold leaves nothing unprotected and can be run again: {0}"""
    kills(table, make, ["flush", "--hold", *table.options], stays_blocked, held_or_unchanged(table))


@cases(ONCE)
def holding_behind_arm(_, table):
    """Stopped anywhere, a hold over the shadows of arm leaves nothing unprotected: {0}"""
    stops(table, make_armed, ["flush", "--hold", *table.options], stays_blocked, HOLDING | {MSG_UPDPOLICY})


@cases(ONCE)
def holding_over_leftovers(_, table):
    """Stopped anywhere, a hold over older shadows leaves nothing unprotected: {0}"""
    stops(table, make_leftovers, ["flush", "--hold", *table.options], stays_blocked, HOLDING | {MSG_UPDPOLICY})


@cases(RICH)
def holding_over_leftovers_killed(_, table):
    """Killed anywhere, a hold over older shadows leaves nothing unprotected and can be run again: {0}"""
    kills(table, make_leftovers, ["flush", "--hold", *table.options], stays_blocked)


@cases(ONCE)
def arming(_, table):
    """Stopped anywhere, arm changes no verdict: {0}"""
    stops(table, make, ["arm", *table.options], unchanged, {MSG_NEWPOLICY})


@cases(RICH[:4])
def arming_killed(_, table):
    """Killed anywhere, arm changes no verdict and can be run again: {0}"""
    kills(table, make, ["arm", *table.options], unchanged)


@cases([(table.name, table) for table in IN_THE_ORDER_OF_PRIORITIES])
def releasing_with_grace(_, table):
    """Stopped anywhere, a release with a grace leaves nothing unprotected: {0}"""
    stops(table, make_half_covered, ["release", "--grace=1h"], opens_nothing, {MSG_NEWPOLICY, MSG_DELPOLICY})


@cases(RICH)
def releasing_with_grace_killed(_, table):
    """Killed anywhere, a release with a grace leaves nothing unprotected and can be run again: {0}"""
    kills(table, make_half_covered, ["release", "--grace=1h"], opens_nothing)


@cases(ONCE)
def releasing(_, table):
    """Stopped anywhere, a release does not affect traffic that policies protect: {0}"""
    stops(table, make_half_covered, ["release"], stays_protected, {MSG_DELPOLICY})


main()
