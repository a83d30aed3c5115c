# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl arm`: shadows stand behind the policies, and take over when these go."""

import re

import netlink
import sandbox
import xfrm
from daemon import GROUPS_OF_CHARON, process
from netlink import MSG_DELPOLICY, MSG_DELSA, MSG_FLUSHPOLICY, MSG_FLUSHSA, MSG_UPDPOLICY
from program import IN_UNIT, Fault, Faults, arm, flush, hold
from shadows import GRACE, HOLD, make_shadow, real_policies, shadow_of, shadows
from tables import ESP, IN_THE_ORDER_OF_PRIORITIES, require
from tap import case, cases, contains, equal, main
from wire import PASSES, Wire, same

POLICIES = [
    f"src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 1000 {ESP}",
    f"src 10.2.0.0/16 dst 10.1.0.0/16 dir in priority 1001 {ESP}",
    "src 0.0.0.0/0 dst 0.0.0.0/0 proto 17 dport 500 dir out priority 999",
    "src 10.6.0.0/16 dst 0.0.0.0/0 dir fwd priority 1003 action block",
]


def make():
    xfrm.add_policies(*POLICIES)
    return netlink.policies()


def keys(policies):
    return {policy.key for policy in policies}


def take_away(table, order, is_time_to_arm):
    """Takes policies away one by one behind the shadows, and looks at all flows each time. With how many are gone and
    how many there were, the last argument says whether to arm again."""
    require(table)
    with Wire() as wire:
        table.add()
        arm()
        same(wire.verdicts(table.before()), table.before(), "what becomes of the flows when it has armed")
        policies = real_policies()
        for number, policy in enumerate(policies[::-1] if order == "the oldest" else policies, 1):
            policy.delete()
            if is_time_to_arm(number, len(policies)):
                arm()
            found = wire.verdicts(table.before())
            equal({str(flow): table.before()[flow] for flow in found if found[flow] == PASSES != table.before()[flow]},
                  {}, f"the flows that pass when {number} of the policies are gone")
        everything = table._replace(protected=[*table.protected, *table.unheld])
        same(wire.verdicts(table.before()), everything.held(), "what becomes of the flows without policies")


ROWS = [(table.name, order, table) for table in IN_THE_ORDER_OF_PRIORITIES for order in ("the oldest", "the youngest")]


@cases(ROWS)
def taken_away(_, order, table):
    """While policies are taken away behind it nothing leaks, {1} first: {0}"""
    take_away(table, order, lambda gone, of: False)


@cases(ROWS)
def taken_away_and_armed(_, order, table):
    """When it is run again and again while policies are taken away nothing leaks, {1} first: {0}"""
    take_away(table, order, lambda gone, of: True)


@cases(ROWS)
def taken_away_and_armed_once(_, order, table):
    """When it is run again once half of the policies are gone nothing leaks, {1} first: {0}"""
    take_away(table, order, lambda gone, of: gone == of // 2)


@case
def summary():
    """The summary counts the policies, which stay as they are, like the SAs."""
    netlink.allocate_spi(src="192.0.2.1", dst="192.0.2.2", spi=0x1000)
    policies = make()
    result = arm()
    assert re.fullmatch(r"Put shadows behind 4 policies \(1 in, 2 out, 1 fwd\) in \d+\.\d{3} ms\.\n",
                        result.out), result.out
    equal((result.err, real_policies(), xfrm.counts()), ("", policies, (8, 1)), "standard error and state")
    equal(sorted((shadow.key, shadow.priority, shadow.action) for shadow in shadows(HOLD)),
          sorted((shadow.key, shadow.priority, shadow.action) for shadow in map(shadow_of, policies)), "the shadows")


@case
def nothing():
    """Without policies there is nothing to do."""
    result = arm()
    equal((result.out, result.err), ("No policies: no shadows are needed.\n", ""), "output")
    equal(netlink.policies(), [], "the policies")


@case
def twice():
    """A second run changes nothing."""
    make()
    arm()
    before = netlink.policies()
    contains(arm().out, "Put shadows behind 4 policies (1 in, 2 out, 1 fwd) in ")
    equal(netlink.policies(), before, "the policies")


@case
def without_policies():
    """Run again when the policies have gone it leaves the shadows as they are."""
    make()
    arm()
    flush("--match=priority=0-9999")
    before = netlink.policies()
    arm()
    equal((netlink.policies(), len(before)), (before, 4), "the shadows")


@case
def before_hold():
    """A hold adopts the shadows that stand there already."""
    policies = make()
    arm()
    before = shadows()
    contains(hold().out, "Removed 0 SAs and 4 policies (1 in, 2 out, 1 fwd) in ", "; 4 shadows hold their place.\n")
    equal((netlink.policies(), keys(before)), (before, keys(policies)), "the shadows")


@cases([(True,), (False,)])
def grace_ends(with_policies):
    """Shadows that would expire become such that stay, policies before them: {0}"""
    policies = make()
    for policy in policies[:2]:
        make_shadow(policy, GRACE, seconds=3600)
    if not with_policies:
        flush("--match=priority=0-9999")
    arm()
    equal((keys(shadows(HOLD)), shadows(GRACE)), (keys(policies if with_policies else policies[:2]), []), "the shadows")
    equal({shadow.lifetime[4:] for shadow in shadows()}, {(0, 0, 0, 0)}, "when they expire")


@case
def selection():
    """Only what is selected gets a shadow."""
    policies = make()
    contains(arm("--match=reqid=1", "--exclude=dir=in").out, "Put shadows behind 1 policy (1 out) in ")
    equal(keys(shadows()), keys(policy for policy in policies if policy.priority == 1000), "the shadows")


@case
def key_manager():
    """It works beside a live key manager, by hand and in a unit."""
    policies = make()
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        equal(arm().err, "", "standard error")
    equal(keys(shadows()), keys(policies), "the shadows")


@case
def no_systemd():
    """Where systemd cannot be asked whether it stops the unit, it goes on and says so."""
    policies = make()
    result = arm(command=IN_UNIT)
    contains(result.err, "xfrmctl: Could not ask systemd whether this unit is being stopped for good: ")
    equal((result.err.count("\n"), keys(shadows())), (1, keys(policies)), "lines on standard error, and the shadows")
    contains(result.out, "Put shadows behind 4 policies (")


@case
def quiet():
    """-q is silent."""
    make()
    result = arm("-q")
    equal((result.out, result.err, len(shadows())), ("", "", 4), "output and number of shadows")


@case
def removes_nothing():
    """It removes nothing and replaces nothing."""
    xfrm.fill("networks", 1000)
    with Faults(*(Fault("send", kind, "note") for kind in
                  (MSG_DELPOLICY, MSG_FLUSHPOLICY, MSG_UPDPOLICY, MSG_DELSA, MSG_FLUSHSA))) as faults:
        arm(env=faults.env)
        equal([faults.count(number) for number in range(5)], [0] * 5, "the number of messages")
    equal((len(real_policies()), len(shadows())), (1000, 1000), "policies and shadows")


main(sandbox.new_run_folder)
