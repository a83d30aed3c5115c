# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults while shadows replace policies: no policy is removed whose shadow is uncertain."""

import errno

import netlink
import xfrm
from cases import case, cases, main
from netlink import (BLOCK, MSG_DELPOLICY, MSG_GETPOLICY, MSG_GETSADINFO, MSG_NEWPOLICY, MSG_UPDPOLICY)
from program import XFRMCTL, Fault, Faults, Steps, hold, xfrmctl_with
from shadows import EXPIRING, HOLD, make_shadow, real_policies, shadows
from tables import ESP
from tap import contains, equal, is_lacking

MANY = 200

# xfrmctl's maximum numbers of additions in a batch, and of passes over a list.
BATCH, PASSES = 64, 5


def make(count=4):
    """Adds policies. Returns them in the order in which the kernel lists them."""
    xfrm.add_policies(*(f"src 10.1.0.0/16 dst 10.{number}.0.0/16 dir out priority 1000 {ESP}"
                        for number in range(2, 2 + count)))
    return netlink.policies()


def make_many(count=MANY):
    xfrm.fill("networks", count)
    return netlink.policies()


def keys(policies):
    return {policy.key for policy in policies}


def guarded(policies):
    """Checks that each of these policies is there, or a shadow that blocks in its place."""
    found = netlink.policies()
    equal(keys(policies) - keys(found), set(), "the policies without a shadow")
    equal([policy for policy in found if policy.user and policy.action != BLOCK], [], "the shadows that do not block")


def watch(faults, *words, status=0, prepare=make_many):
    """Runs xfrmctl with faults, and checks behind each change that everything is guarded. Returns the policies and the
    result."""
    policies = prepare()
    with Steps(*words, faults=faults) as steps:
        for _ in steps:
            guarded(policies)
        result = steps.result()
    equal(result.status, status, f"exit status ({result})")
    guarded(policies)
    return policies, result


def hold_with(faults, status=0, prepare=make, command=""):
    """Runs a hold with faults. Returns the policies as they were, and the result."""
    policies = prepare()
    result = xfrmctl_with(faults, "flush", "--hold", status=status, command=command)
    guarded(policies)
    return policies, result


@cases([(errno.ENOMEM, "Cannot allocate memory"), (errno.ENOBUFS, "No buffer space available")])
def addition_refused(error, reason):
    """A policy whose shadow the kernel refuses stays, is named and counted ({1}); the others are held."""
    policies, result = hold_with([Fault("send", MSG_NEWPOLICY, "refuse", error, first=2, last=2)], status=1)
    stays = policies[1]
    equal(result.err, "xfrmctl: Could not remove policy 10.1.0.0/16 → 10.4.0.0/16 dir out ptype main index "
                      f"{stays.index}: the kernel refused the shadow: {reason}.\n", "standard error")
    contains(result.out, "Removed 0 SAs and 3 policies (3 out) in ", "; 3 shadows are in place.\n")
    equal(real_policies(), [stays], "the policies left")
    equal(keys(shadows(HOLD)), keys(policies) - keys([stays]), "the shadows")


@case
def every_addition_refused():
    """If the kernel refuses every shadow, all policies stay, and ten are named."""
    policies, result = hold_with([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM)], 1, make_many)
    equal(netlink.policies(), policies, "the policies")
    equal(result.err.count("Could not remove policy "), 10, f"the number of policies named in {result.err}")
    contains(result.err, f"xfrmctl: {MANY - 10} more could not be removed.\n")
    contains(result.out, "Removed 0 SAs and 0 policies in ")
    is_lacking(result.out, "place")


@case
def additions_not_sent():
    """If the batch of shadows cannot be sent, nothing is deleted."""
    policies, result = hold_with([Fault("send", MSG_NEWPOLICY, "fail", errno.ENOMEM)], 1, make_many)
    equal(netlink.policies(), policies, "the policies")
    contains(result.err, "Cannot allocate memory")


@case
def later_additions_not_sent():
    """If a later batch of shadows cannot be sent, earlier policies are held, and the others stay."""
    policies, result = hold_with([Fault("send", MSG_NEWPOLICY, "fail", errno.ENOMEM, first=100)], 1, make_many)
    left = len(real_policies())
    assert 0 < left < MANY, left
    equal(len(shadows(HOLD)), MANY - left, "the number of shadows")
    contains(result.err, "Cannot allocate memory")
    contains(result.out, f"Removed 0 SAs and {MANY - left} policies (")


@case
def answers_lost():
    """If answers about shadows are lost (ENOBUFS), nothing is deleted before another pass."""
    policies, result = watch([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, first=3, last=5),
                              Fault("receive", MSG_NEWPOLICY, "fail", errno.ENOBUFS, first=1, last=1)],
                             "flush", "--hold")
    equal((result.err, real_policies()), ("", []), "standard error and policies left")
    contains(result.out, f"Removed 0 SAs and {len(policies)} policies (", f"; {MANY} shadows are in place.\n")


@case
def answers_always_lost():
    """If answers about shadows are lost in each pass, the hold fails, and everything is guarded."""
    # Each pass has two calls. The second one finds that there are no more messages.
    lost = [Fault("receive", MSG_NEWPOLICY, "fail", errno.ENOBUFS, first=number, last=number)
            for number in range(1, 2 * PASSES, 2)]
    _, result = watch([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM), *lost], "flush", "--hold", status=1,
                      prepare=lambda: make_many(20))
    equal((len(real_policies()), shadows()), (20, []), "policies left, and shadows")
    contains(result.err, f"Could not read all policies in {PASSES} passes")


@cases([("is cut", 4), ("does not fit", 0)])
def answers_cut(_, cut):
    """If the kernel's refusal of a shadow {0}, nothing is deleted."""
    policies, result = hold_with([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, first=1, last=1),
                                  Fault("receive", MSG_NEWPOLICY, "short", cut, first=1, last=1)], 1)
    equal(keys(real_policies()), keys(policies), "the policies left")
    contains(result.err, "Bad message")


@case
def answers_break_off():
    """If answers about shadows cannot be read (ENOMEM), nothing is deleted."""
    policies, result = hold_with([Fault("receive", MSG_NEWPOLICY, "fail", errno.ENOMEM)], 1)
    equal(keys(real_policies()), keys(policies), "the policies left")
    contains(result.err, "Cannot allocate memory")


@case
def deletion_refused():
    """A policy that the kernel does not remove is named; its shadow stays behind it."""
    policies, result = hold_with([Fault("send", MSG_DELPOLICY, "refuse", errno.EPERM, first=2, last=2)], status=1)
    equal(result.err, "xfrmctl: Could not remove policy 10.1.0.0/16 → 10.4.0.0/16 dir out ptype main index "
                      f"{policies[1].index}: Operation not permitted.\n", "standard error")
    equal(real_policies(), [policies[1]], "the policies left")
    equal(keys(shadows(HOLD)), keys(policies), "the shadows")
    contains(result.out, "Removed 0 SAs and 3 policies (3 out) in ")


@case
def refusals_lost():
    """If refusals of deletions are lost (ENOBUFS), the next pass removes the policies that are left."""
    _, result = watch([Fault("send", MSG_DELPOLICY, "refuse", errno.EPERM, first=1, last=3),
                       Fault("receive", MSG_DELPOLICY, "fail", errno.ENOBUFS, first=1, last=1)], "flush", "--hold")
    equal((result.err, real_policies()), ("", []), "standard error and policies left")
    contains(result.out, f"Removed 0 SAs and {MANY} policies (", f"; {MANY} shadows are in place.\n")


@case
def sas_go_all_the_same():
    """SAs are removed even if a policy cannot be held."""
    netlink.allocate_spi(src="192.0.2.1", dst="192.0.2.2", spi=0x1000)
    hold_with([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, first=1, last=1)], status=1)
    equal(xfrm.counts(), (4, 0), "policies and SAs")


@cases([
    ("the survey", 1),
    ("the pass", 2),
])
def dump_lost(_, number):
    """If a whole dump is lost, the hold is complete all the same: the dump of {0}"""
    policies, result = watch([Fault("receive", MSG_GETPOLICY, "fail", errno.ENOBUFS, first=number, last=number)],
                             "flush", "--hold", prepare=lambda: make_many(40))
    equal((result.err, real_policies(), len(shadows(HOLD))), ("", [], len(policies)),
          "standard error, policies left, number of shadows")
    contains(result.out, "Removed 0 SAs and 40 policies (", "; 40 shadows are in place.\n")


@case
def lost_from_dump():
    """Policies that are lost from a dump (ENOBUFS) are held in the next pass."""
    _, result = watch([Fault("receive", MSG_GETPOLICY, "fail", errno.ENOBUFS, first=3, last=3)], "flush", "--hold")
    equal((result.err, real_policies(), len(shadows(HOLD))), ("", [], MANY),
          "standard error, policies left, number of shadows")


@case
def dump_breaks_off():
    """If the policies cannot be listed, nothing is held, and the hold reports it."""
    policies, result = hold_with([Fault("receive", MSG_GETPOLICY, "fail", errno.EAGAIN)], 1)
    equal(netlink.policies(), policies, "the policies")
    equal(result.err, "xfrmctl: Could not list the policies: Connection timed out.\n", "standard error")


@case
def added_meanwhile():
    """Shadows that another process adds meanwhile (EEXIST) are adopted."""
    policies, result = hold_with([Fault("send", MSG_NEWPOLICY, "run", first=1, last=1)], prepare=make_many,
                                 command=f"{XFRMCTL} -q arm")
    equal((result.err, real_policies(), keys(shadows(HOLD))), ("", [], keys(policies)), "what is left")
    contains(result.out, f"Removed 0 SAs and {MANY} policies (", f"; {MANY} shadows are in place.\n")


@case
def few_blind_attempts():
    """After the first shadow that exists already, a hold looks for each shadow before it adds it."""
    make_many(1000)
    with Faults(Fault("send", MSG_NEWPOLICY, "run", first=1, last=1), Fault("send", MSG_NEWPOLICY, "note"),
                Fault("send", MSG_UPDPOLICY, "note"), command=f"{XFRMCTL} -q arm") as faults:
        hold(env=faults.env)
        assert faults.count(1) <= 2 * BATCH, f"{faults.count(1)} additions were tried"
        equal(faults.count(2), 0, "the number of updates")
    equal((real_policies(), len(shadows(HOLD))), ([], 1000), "policies left and number of shadows")


@case
def exists_and_is_gone():
    """A shadow that exists when the hold adds it, and is gone when the hold checks it, is added again."""
    policies, result = hold_with([Fault("send", MSG_NEWPOLICY, "refuse", errno.EEXIST, first=1, last=2)])
    equal((result.err, real_policies(), keys(shadows(HOLD))), ("", [], keys(policies)), "what is left")
    contains(result.out, "Removed 0 SAs and 4 policies (4 out) in ", "; 4 shadows are in place.\n")


def make_with_shadow(**more):
    """Returns a function that adds policies, of which the second one has a shadow."""
    def prepare():
        policies = make()
        make_shadow(policies[1], **more)
        return policies
    return prepare


@case
def look_refused():
    """A policy stays if its shadow cannot be checked; the others are held."""
    # The first two messages are for the dumps of the survey and of the pass.
    policies, result = hold_with([Fault("send", MSG_GETPOLICY, "refuse", errno.ENOMEM, first=4, last=4)], 1,
                                 make_with_shadow())
    contains(result.err, f" index {policies[1].index}: the kernel refused the shadow: Cannot allocate memory.\n")
    equal(keys(real_policies()), keys([policies[1]]), "the policies left")


@case
def update_refused():
    """A policy stays if its wrong shadow cannot be replaced; the others are held."""
    policies, result = hold_with([Fault("send", MSG_UPDPOLICY, "refuse", errno.ENOMEM)], 1,
                                 make_with_shadow(priority=7))
    contains(result.err, f" index {policies[1].index}: the kernel refused the shadow: Cannot allocate memory.\n")
    equal(keys(real_policies()), keys([policies[1]]), "the policies left")


@case
def arm_refused():
    """A policy whose shadow is refused is named by arm, with status 1; the others get theirs."""
    policies = make()
    result = xfrmctl_with([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, first=2, last=2)], "arm", status=1)
    contains(result.err, "xfrmctl: Could not put a shadow behind policy 10.1.0.0/16 → 10.4.0.0/16 dir out ",
             ": Cannot allocate memory.\n")
    contains(result.out, "Put shadows behind 3 policies (3 out) in ")
    equal((real_policies(), keys(shadows(HOLD))), (policies, keys(policies) - keys([policies[1]])), "what is there")


@case
def arm_answers_lost():
    """If answers about shadows are lost (ENOBUFS), arm makes another pass."""
    policies, result = watch([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, first=3, last=5),
                              Fault("receive", MSG_NEWPOLICY, "fail", errno.ENOBUFS, first=1, last=1)], "arm")
    equal((result.err, keys(shadows(HOLD))), ("", keys(policies)), "standard error, and the shadows")
    contains(result.out, f"Put shadows behind {MANY} policies (")


@case
def arm_lost_from_dump():
    """If a part of arm's dump is lost, arm requests another one, and counts no policy twice."""
    policies, result = watch([Fault("receive", MSG_GETPOLICY, "fail", errno.ENOBUFS, first=4, last=4)], "arm",
                             prepare=lambda: make_many(40))
    equal((result.err, keys(shadows(HOLD))), ("", keys(policies)), "standard error, and the shadows")
    contains(result.out, "Put shadows behind 40 policies (")


def make_held(count=4):
    policies = make(count)
    hold()
    return policies


@case
def release_refused():
    """A shadow that the kernel does not remove is named, with status 1; the others are removed."""
    policies = make_held()
    result = xfrmctl_with([Fault("send", MSG_DELPOLICY, "refuse", errno.EPERM, first=2, last=2)], "release", status=1)
    contains(result.err, "xfrmctl: Could not release policy 10.1.0.0/16 → 10.", ": Operation not permitted.\n")
    contains(result.out, "Released 3 shadows in ")
    equal(len(netlink.policies()), 1, "the number of shadows left")
    assert keys(shadows(HOLD)) < keys(policies), "it is none of them"


@case
def grace_refused():
    """A shadow that the kernel does not replace by an expiring one stays, and is named with status 1."""
    policies = make_held()
    result = xfrmctl_with([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, first=2, last=2)], "release",
                          "--grace=1h", status=1)
    contains(result.err, "xfrmctl: Could not release policy ", ": Cannot allocate memory.\n")
    equal((len(shadows(HOLD)), len(shadows(EXPIRING))), (1, 3), "shadows that stay, and that expire")
    equal(keys(shadows()), keys(policies), "what the shadows cover")


@case
def grace_answers_lost():
    """If answers about expiring shadows are lost (ENOBUFS), no policy is unguarded."""
    policies, _ = watch([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, first=3, last=5),
                         Fault("receive", MSG_NEWPOLICY, "fail", errno.ENOBUFS, first=1, last=1)],
                        "release", "--grace=1h", prepare=lambda: make_held(100))
    equal((shadows(HOLD), keys(shadows(EXPIRING))), ([], keys(policies)), "the shadows")


@case
def coverage_unknown():
    """A shadow stays if it is unknown whether a policy covers it."""
    policies = make_held()
    xfrmctl_with([Fault("receive", MSG_GETPOLICY, "fail", errno.ENOMEM, first=2)], "release", "--grace=1h", status=1)
    equal(keys(shadows()), keys(policies), "what the shadows cover")


@cases([("flush", "--hold"), ("arm",), ("release",), ("release", "--grace=1h")])
def no_kernel(*words):
    """If the kernel does not answer, nothing is done: {0}"""
    policies = make_held()
    before = netlink.policies()
    result = xfrmctl_with([Fault("receive", MSG_GETSADINFO, "fail", errno.ENOMEM)], *words, status=1)
    equal((result.err, result.out),
          ("xfrmctl: Could not read XFRM state: Cannot allocate memory.\n", ""), "output")
    equal(netlink.policies(), before, "the shadows")


main()
