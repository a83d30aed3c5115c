# SPDX-License-Identifier: GPL-2.0-or-later
"""Large numbers of entries."""

import xfrm
from cases import case, cases, main
from netlink import MSG_NEWPOLICY
from program import ANY, Fault, Faults, Steps, arm, flush
from shadows import real_policies, shadows
from tap import contains, equal

HOSTS = 120_000
ARMED = 40_000
NETWORKS = 20_000
SAS = 10_000


def with_reqid(lines, reqid):
    return {line for line, found in zip(lines, xfrm.numbers(lines, "reqid")) if found == reqid}


@cases([
    ("policies between hosts", HOSTS, "hosts", xfrm.policy_lines,
     "Removed 0 SAs and 60000 policies (20000 in, 20000 out, 20000 fwd) in "),
    ("policies between networks", NETWORKS, "networks", xfrm.policy_lines,
     "Removed 0 SAs and 10000 policies (3334 in, 3333 out, 3333 fwd) in "),
    ("SAs", SAS, "sas", xfrm.sa_lines, "Removed 5000 SAs (5000 esp) and 0 policies in "),
])
def half(_, count, kind, read, summary):
    """A selection of half of {1} {0} leaves exactly the other half."""
    xfrm.fill(kind, count)
    before = read()
    equal(len(before), count, "how many were made")
    result = flush("--match=reqid=1")
    after = read()
    equal(len(after), count // 2, "how many are left")
    assert set(after) == with_reqid(before, 2), "what is left is not the other half"
    contains(result.out, summary)


@case
def everything():
    """120,000 policies and 10,000 SAs are removed together."""
    xfrm.fill("hosts", HOSTS)
    xfrm.fill("sas", SAS)
    contains(flush().out, "Removed 10000 SAs (10000 esp) and 120000 policies (40000 in, 40000 out, 40000 fwd) in ")
    equal(xfrm.counts(), (0, 0), "policies and SAs left")


@case
def all_one_by_one():
    """120,000 policies are removed when they have to be selected one by one."""
    xfrm.fill("hosts", HOSTS)
    contains(flush("--exclude=reqid=77").out, "Removed 0 SAs and 120000 policies (40000 in, 40000 out, 40000 fwd) in ")
    equal(xfrm.counts(), (0, 0), "policies and SAs left")


@case
def armed():
    """arm puts shadows behind 40,000 policies, and has to read no event."""
    xfrm.fill("networks", ARMED)
    with Faults(Fault("event", ANY, "note")) as faults:
        contains(arm(env=faults.env).out, "Put shadows behind 40000 policies (")
        equal(faults.count(), 0, "the number of events")
    equal(len(shadows()), ARMED, "the number of shadows")


@case
def armed_meanwhile():
    """Policies that are installed while arm runs get shadows, even if the kernel drops events."""
    xfrm.fill("networks", 3)
    last = ARMED + 2
    with Steps("-v", "arm", faults=[Fault("event", ANY, "note")]) as steps:
        for number, kind in enumerate(steps):
            equal(kind, MSG_NEWPOLICY, "the type of a change")
            # So many policies are installed that the kernel drops events.
            if number == 0:
                xfrm.fill("hosts", ARMED)
            # One more is installed while arm lists the policies again.
            if number == last:
                xfrm.add_policies("src 10.1.0.0/16 dst 172.16.0.0/16 dir out action block")
        result = steps.result()
        events = steps.faults.count(1)
    contains(result.out, f"Put shadows behind {ARMED + 4} policies (")
    equal((len(shadows()), len(real_policies())), (ARMED + 4, ARMED + 4), "the numbers of shadows and policies")
    assert 0 < events < ARMED, f"the number of events that were not dropped: {events}"


main()
