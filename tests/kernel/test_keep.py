# SPDX-License-Identifier: GPL-2.0-or-later
"""flush --keep: SAs that are in use stay in use, everything else is held, and nothing is unprotected at any instant."""

import errno
import json
import re
import time
from functools import partial

import living
import netlink
import xfrm
from cases import case, cases, main
from living import (HERE, LIMITED, STOPPED, THERE, complement, make, make_sas, policies, spi_in, spi_out, spis,
                    xfrmctl_living)
from netlink import MSG_DELPOLICY, MSG_DELSA, MSG_FLUSHSA, MSG_NEWPOLICY, MSG_NEWSA, MSG_UPDPOLICY
from program import Fault, Faults, Steps, arm, flush, hold, keep, release, until
from shadows import ADJACENT, EXPIRING, HOLD, KEPT, kept_policy_of, make_shadow, real_policies, shadow_of, shadows
from tables import flows
from tap import contains, equal, is_lacking
from wire import BLOCKED, PROTECTED, Wire

# Connection 1 has SAs in use. Connection 2 has only a trap, or its SAs are missing.
LIVE = {spi_out(1), spi_in(1), complement(spi_out(1))}
BYPASS = ["src 10.1.0.0/16 dst 10.11.7.0/24 dir out priority 1500", "src 10.11.7.0/24 dst 10.1.0.0/16 dir in priority 1500",
          "src 10.11.7.0/24 dst 10.1.0.0/16 dir fwd priority 1500"]
DROP = "src 10.1.0.0/16 dst 10.13.0.0/16 dir out priority 1600 action block"

keep_living = partial(xfrmctl_living, "flush", "--keep")


def comparable(found):
    """Returns policies without the fields that differ from one run to the next: times, indices and counters."""
    return sorted((policy._replace(used=(), index=0, lifetime=policy.lifetime[4:], attributes=sorted(
        policy.attributes.items())) for policy in found), key=repr)


def state():
    return comparable(netlink.policies()), sorted(spis())


def deciding():
    """Returns policies, kept policies and SAs. Omits the shadows behind them, because a policy may have more than
    one."""
    return comparable(policy for policy in netlink.policies() if policy.user in (0, KEPT)), sorted(spis())


def expect_kept(kept, behind=HOLD):
    """Checks that each of these policies has a kept policy in its place, and a shadow that blocks behind that."""
    equal(comparable(shadows(KEPT)), comparable(map(kept_policy_of, kept)), "the kept policies")
    equal(comparable(policy for policy in shadows(behind) if policy.key in {policy.key for policy in kept}),
          comparable(shadow_of(policy, behind) for policy in kept), "the shadows behind them")


@case
def goes_on():
    """Policies with SAs in use are kept with their priorities, with shadows behind all policies; others are held."""
    make(1)
    kept = netlink.policies()
    xfrm.add_policies(*policies(2), *BYPASS, DROP)
    netlink.allocate_spi(HERE, THERE, 0x3000, reqid=7)
    others = [policy for policy in netlink.policies() if policy not in kept]
    result = keep_living()
    expect_kept(kept)
    equal(spis(), LIVE, "the SAs: an SA of another reqid goes")
    equal(real_policies(), [], "policies without a tag")
    equal(sorted((policy.key, policy.action) for policy in shadows(ADJACENT)),
          sorted((policy.key, netlink.BLOCK if policy.templates else policy.action) for policy in others),
          "the shadows right behind the places of the others")
    contains(result.out, "Removed 1 SA (1 esp) and 10 policies", "10 shadows are in place; 3 kept policies stay in use.")


@case
def larval_go():
    """Larval SAs are removed, also those with the reqid of an SA in use, and no policy is kept for them."""
    make(1)
    larval = 0x40000001
    netlink.allocate_spi(HERE, THERE, larval, reqid=1)
    netlink.allocate_spi(HERE, THERE, larval + 1, reqid=2)
    netlink.allocate_spi(HERE, THERE, complement(larval + 1), reqid=2)
    xfrm.add_policies(*policies(2, larval + 1))
    keep_living()
    equal((spis(), len(shadows(KEPT)), len(shadows())), (LIVE, 3, 6), "the SAs left, and the shadows")


@cases([
    ("its SA is not there", [], lambda: xfrm.add_policies(*policies(1, spi_out(1)))),
    ("the SA that it names has another reqid", [living.MATURE], lambda: (netlink.allocate_spi(HERE, THERE, spi_out(1), reqid=9),
                                                       netlink.allocate_spi(HERE, THERE, complement(spi_out(1)), reqid=9),
                                                       xfrm.add_policies(*policies(1, spi_out(1))))),
    ("it is a trap beside SAs of its reqid", [], lambda: (make_sas(1), xfrm.add_policies(*policies(1)))),
])
def held(_, faults, prepare):
    """A policy is held as by --hold, and all SAs are removed, when {0}."""
    prepare()
    count = len(netlink.policies())
    living.xfrmctl_with(faults, "flush", "--keep")
    equal((len(shadows(HOLD)), shadows(ADJACENT, KEPT), real_policies(), spis()), (count, [], [], set()), "what is left")


@cases([("the kernel refuses it", False, [Fault("send", MSG_NEWSA, "refuse", errno.ENOSYS)]),
        ("an SA that is no guard SA has its SPI", False, [STOPPED])])
def without_guard_sa(_, guard_sa, faults):
    """An SA without a guard SA does not stay, and its policies are held: {0}."""
    make_sas(1, guard_sa)
    xfrm.add_policies(*policies(1, spi_out(1)))
    result = living.xfrmctl_with([living.MATURE, living.LIMITED, *faults], "-v", "flush", "--keep")
    contains(result.err, "Could not limit the lifetime of ")
    equal((len(shadows()), shadows(KEPT), real_policies(), spis()), (3, [], [], set()), "what is left")


@case
def some_without_guard_sa():
    """SAs stay if another SA gets no guard SA."""
    make(1, 2)
    make_sas(3, guard_sa=False)
    xfrm.add_policies(*policies(3, spi_out(3)))
    kept = [policy for policy in netlink.policies() if b"\x0d" not in (policy.selector[0][1:2], policy.selector[1][1:2])]
    keep_living()
    expect_kept(kept)
    equal(spis(), {spi for number in (1, 2) for spi in (spi_out(number), spi_in(number), complement(spi_out(number)))},
          "the SAs")


@case
def selected():
    """Entries that are not selected stay as they are, including SAs."""
    make(1, 2)
    before = netlink.policies()
    keep_living("--match=reqid=1")
    # The kernel lists the youngest policy first.
    equal([policy for policy in netlink.policies() if policy in before], before[:3], "policies as before")
    equal((len(shadows(KEPT)), len(shadows(HOLD))), (3, 3), "shadows")
    equal(len(spis()), 6, "SAs")


@case
def excluded():
    """Excluded policies get no shadows, and their guard SAs stay."""
    make(1, 2)
    keep_living("--exclude=reqid=1")
    equal((len(real_policies()), len(shadows(KEPT)), len(spis())), (3, 3, 6), "policies, kept policies and SAs")


@case
def dry_run():
    """A dry run lists policies that would be held, not those that would be kept, and changes nothing."""
    make(1)
    xfrm.add_policies(*policies(2))
    netlink.allocate_spi(HERE, THERE, 0x3000, reqid=7)
    before = xfrm.policy_lines(), xfrm.sa_lines()
    # SAs that only look negotiated cannot be listed, because they have no keys.
    words = ("flush", "--keep", "--policies-only", "--dry-run")
    text, listed = living.xfrmctl_with([living.MATURE], *words).out, json.loads(
        living.xfrmctl_with([living.MATURE], *words, "--json").out)
    equal((xfrm.policy_lines(), xfrm.sa_lines()), before, "the state")
    contains(text, "reqid 2")
    is_lacking(text, "reqid 1 ")
    equal((len(listed["policies"]), listed["counts"]["policies"]), (3, 3), "the policies that would be held")


@case
def again():
    """A second run changes only new policies: a policy of charon behind a kept policy is removed."""
    make(1)
    xfrm.add_policies(*policies(2))
    keep_living()
    first, first_deciding = state(), deciding()
    keep_living()
    equal(state(), first, "the state")
    # A start that has failed halfway leaves such policies.
    xfrm.add_policies(*policies(1))
    keep_living()
    equal(deciding(), first_deciding, "kept policies, policies and SAs")


@case
def behind_arm():
    """flush --keep has the same result after arm as without arm."""
    make(1)
    xfrm.add_policies(*policies(2))
    kept = netlink.policies()[3:]
    arm()
    keep_living()
    expect_kept(kept)
    equal((real_policies(), spis()), ([], LIVE), "policies and SAs")


@case
def over_grace():
    """Expiring shadows are replaced by permanent ones."""
    make(1)
    kept = netlink.policies()
    for policy in kept:
        make_shadow(policy, EXPIRING, seconds=3600)
    keep_living()
    expect_kept(kept)
    equal(shadows(EXPIRING), [], "shadows that expire")


@case
def dead_by_now():
    """Kept policies of an earlier run whose SAs are gone are held."""
    make(1)
    keep_living()
    netlink.flush_sas()
    keep()
    equal((shadows(KEPT), len(shadows(HOLD)), real_policies()), ([], 3, []), "what is left")


@case
def new_life():
    """After a crash during a handover, traffic uses charon's new SAs, and no old SA is removed yet."""
    make(1)
    keep_living()
    # The same connection with new SAs, behind its kept policies.
    make_sas(1, first=0x100)
    xfrm.add_policies(*policies(1, 0x100 + spi_out(1)))
    keep_living()
    equal((len(shadows(KEPT)), len(shadows(HOLD)), real_policies()), (3, 3, []), "what is left")
    out = [policy for policy in shadows(KEPT) if policy.dir == netlink.DIRS["out"]]
    equal(len(out), 1, "outbound kept policies")
    [policy] = [line for line in xfrm.policy_lines() if "\tdir out" in line and "tmpl" in line]
    contains(policy, f"spi {0x100 + spi_out(1):#010x}")
    assert LIVE <= spis() and len(spis()) == 6, f"an SA has gone: {spis()}"


@cases([
    ("flush", flush, 0, 0, 0), ("flush --hold", hold, 0, 3, 0), ("release", release, 3, 0, 3), ("arm", arm, 3, 3, 3),
])
def others(_, run, kept, held_after, sas):
    """The effect of {0} on kept policies, their SAs and guard SAs."""
    make(1)
    keep_living()
    run()
    equal((len(shadows(KEPT)), len(shadows(HOLD)), len(spis())), (kept, held_after, sas), "kept policies, shadows and SAs")


@case
def arm_without_holds():
    """arm treats kept policies as policies: it puts shadows behind them."""
    make(1)
    keep_living()
    for policy in shadows(HOLD):
        policy.delete()
    arm()
    equal((len(shadows(KEPT)), len(shadows())), (3, 3), "kept policies, and shadows behind them")


def sent(wire, flow):
    """Sends a packet of a flow. Returns how many packets used the SA of connection 1, and which counters increased."""
    before, counters = living.packets(1), wire.counters()
    wire.send(flow, b"")
    return living.packets(1) - before, [name for name, count in wire.counters().items() if count > counters[name]]


@case
def real_sas():
    """With real SAs: kept policies use them, no other policy with their reqid does; a second run changes nothing."""
    with Wire() as wire:
        living.add_real_sas(1)
        xfrm.ip("address", "add", f"{HERE}/32", "dev", "uplink")
        xfrm.add_policies(*policies(1, spi_out(1)))
        netlink.allocate_spi(HERE, THERE, 0x3000, reqid=1)
        keep()
        equal((spis(), len(shadows(KEPT)), len(shadows(HOLD))), (LIVE, 3, 3), "what is left")
        first = state()
        keep()
        equal(state(), first, "the state after a second run")
        # The next charon gives the reqid to the trap of another connection.
        xfrm.add_policies(*(policy.replace("reqid 2 ", "reqid 1 ") for policy in policies(2)))
        own, other = flows("10.11.0.1")[0], flows("10.12.0.1")[0]
        equal((sent(wire, own), sent(wire, other)), ((1, []), (0, ["XfrmOutStateSeqError"])), "packets, and counters")
        release()
        flush("--match=reqid=2")
        equal((spis(), len(shadows(KEPT))), (LIVE, 3), "what a release leaves")


# Entries with a time limit.

BEHIND = ["src 10.1.0.0/16 dst 10.0.0.0/8 dir out priority 9000", "src 10.0.0.0/8 dst 10.1.0.0/16 dir in priority 9000",
          "src 10.0.0.0/8 dst 10.1.0.0/16 dir fwd priority 9000"]


def outlast(grace):
    """Checks that a shadow blocks behind each kept policy, and stays for the grace after the kernel has removed that
    policy."""
    blocking = {policy.key: policy for policy in shadows(HOLD, EXPIRING, ADJACENT) if policy.action == netlink.BLOCK}
    for policy in shadows(KEPT):
        behind = blocking.get(policy.key)
        assert behind, f"nothing blocks behind {policy}"
        assert not behind.ends or behind.ends >= policy.ends + grace, (behind.ends, policy.ends, grace)


@cases([("", 0), ("--grace=1s", 1), ("--grace=5min", 300), ("--grace=infinity", 0)])
def release_behind(option, grace):
    """A release leaves shadows behind kept policies until these are gone, and for the grace: {0!r}"""
    make(1)
    keep_living()
    outlast(0)
    result = release(*option.split())
    equal(len(shadows(KEPT)), 3, "kept policies")
    outlast(grace)
    if grace:
        assert re.search(r"; 3 behind kept policies stay for \d+(min|s)[ \d\w]* at most\.", result.out), result.out
        # A second release leaves the shadows as they are.
        before = shadows(EXPIRING)
        release(option)
        equal(shadows(EXPIRING), before, "the shadows after a second release")


@case
def nobody_hands_over():
    """When no process ends kept policies, the kernel removes them, and traffic is blocked, beside a bypass too."""
    with Wire() as wire:
        make(1)
        xfrm.add_policies(*BEHIND)
        before = wire.verdicts(LIVES)
        keep_living()
        release("--grace=1h")
        equal(wire.verdicts(LIVES), before, "what lives")
        # Kept policies with a lifetime of 1 s replace those with KEPT_POLICY_SECONDS.
        for policy in shadows(KEPT):
            policy.delete()
            policy._replace(lifetime=(*policy.lifetime[:5], 1, 0, 0)).add()
        until(lambda: not shadows(KEPT), "the kernel removes the kept policies")
        equal(set(wire.verdicts(LIVES).values()), {BLOCKED}, "what has lived")


@case
def held_beside_excluded_bypass():
    """Held traffic is blocked in front of another owner's bypass, also after a release with a grace."""
    with Wire() as wire:
        xfrm.add_policies(*policies(2, priority=383615), *(policy.replace("9000", "390000") for policy in BEHIND))
        there = flows("10.12.0.1")
        keep("--exclude=priority=390000")
        equal(set(wire.verdicts(there).values()), {BLOCKED}, "the flows before the release")
        release("--grace=5min")
        equal((set(wire.verdicts(there).values()), len(shadows(EXPIRING))), ({BLOCKED}, 3), "the flows, and the shadows")


@case
def limits():
    """Each SA of a kept connection gets a time limit once, and no other SA does."""
    make(1, 2)
    netlink.allocate_spi(HERE, THERE, 0x3000, reqid=7)
    with Faults(Fault("send", netlink.MSG_UPDSA, "note"), *living.LIVING) as faults:
        flush("--keep", "--exclude=reqid=2", env=faults.env)
        # The outbound and the inbound SA.
        equal(faults.count(), 2, "how many SAs")


@case
def without_limit():
    """An SA does not stay if its time limit is refused, and its policies are held."""
    make_sas(1)
    xfrm.add_policies(*policies(1, spi_out(1)))
    refused_limit = Fault("send", netlink.MSG_UPDSA, "refuse", errno.EPERM)
    result = living.xfrmctl_with([living.MATURE, refused_limit], "-v", "flush", "--keep")
    contains(result.err, "Could not limit the lifetime of ")
    equal((len(shadows()), shadows(KEPT), real_policies(), spis()), (3, [], [], set()), "what is left")


@case
def real_limits():
    """With real SAs: kept policies expire first, then SAs, then guard SAs; a second run extends no time limit."""
    living.add_real_sas(1)
    xfrm.add_policies(*policies(1, spi_out(1)))

    def ends():
        found = {}
        for sa in re.split(r"\n(?=src )", xfrm.ip("-s", "xfrm", "state")):
            added = time.mktime(time.strptime(re.search(r"add (\S+ \S+) use", sa)[1], "%Y-%m-%d %H:%M:%S"))
            seconds = int(re.search(r"expire add: soft \d+\(sec\), hard (\d+)\(sec\)", sa)[1])
            found[int(re.search(r"spi (0x[0-9a-f]+)", sa)[1], 0)] = added + seconds
        return found

    keep()
    first, kept_end = ends(), max(policy.ends for policy in shadows(KEPT))
    equal(set(first), LIVE, "the SAs")
    assert kept_end < first[spi_out(1)] < first[complement(spi_out(1))], (kept_end, first)
    assert kept_end < first[spi_in(1)] < kept_end + 60, (kept_end, first)
    keep()
    equal((ends(), max(policy.ends for policy in shadows(KEPT))), (first, kept_end), "the ends after a second run")


@case
def offloaded():
    """A policy that is offloaded to a device is not kept, because a copy of it could not use its SAs."""
    make(1)
    for policy in netlink.policies():
        policy.delete()
    # The fault makes the marks look like devices.
    xfrm.add_policies(*(f"{policy} mark 0x1 mask 0x4" for policy in policies(1, spi_out(1))))
    equal(xfrmctl_living("flush", "--keep", "--dry-run", without=(STOPPED, LIMITED)).out, "Nothing to remove.\n",
          "what would be held")
    marks = Fault("receive", netlink.MSG_GETPOLICY, "offload")
    contains(xfrmctl_living("flush", "--keep", "--dry-run", faults=[marks], without=(STOPPED, LIMITED)).out,
             "and 3 policies (1 in, 1 out, 1 fwd).")


# Checks at every instant.

RICH = [("one connection", lambda: make(1)),
        ("traps, bypasses and blocks between", lambda: (make(1), xfrm.add_policies(*policies(2), *BYPASS, DROP))),
        ("two of one priority, the narrower one lives", lambda: (
            make(1, there="10.11.0.0/24"), xfrm.add_policies(*policies(2, there="10.11.0.0/16")))),
        ("behind arm", lambda: (make(1), xfrm.add_policies(*policies(2), *BYPASS), arm())),
        ("over kept policies, with charon's traps", lambda: (make(1), keep_living(), xfrm.add_policies(*policies(1),
                                                                                                     *policies(2))))]

FLOWS = [*flows("10.11.0.1"), *flows("10.11.7.1"), *flows("10.12.0.1"), *flows("10.13.0.1"),
         *flows("10.14.0.1")]
LIVES = flows("10.11.0.1")

CHANGES = {MSG_NEWPOLICY, MSG_DELPOLICY, MSG_UPDPOLICY, MSG_DELSA, MSG_FLUSHSA, MSG_NEWSA}


def check(before, now):
    """Checks that the SAs in use and their flows have not changed, and that other flows have changed only from
    protected to blocked."""
    wrong = {str(flow): (before[flow], now[flow]) for flow in now if now[flow] != before[flow]
             and (flow in LIVES or (before[flow], now[flow]) != (PROTECTED, BLOCKED))}
    equal(wrong, {}, "the flows that change")
    assert LIVE <= spis(), f"an SA has gone that lives: {spis()}"


def clear():
    netlink.flush_policies()
    netlink.flush_sas()


@cases(RICH)
def stopped_anywhere(_, prepare):
    """Wherever a run is stopped, traffic of SAs in use stays protected, and no flow is unprotected: {0}"""
    with Wire() as wire:
        prepare()
        before = wire.verdicts(FLOWS)
        equal({before[flow] for flow in LIVES}, {PROTECTED}, "what lives is protected")
        with Steps("flush", "--keep", faults=living.LIVING) as steps:
            seen = []
            for kind in steps:
                seen.append(kind)
                check(before, wire.verdicts(FLOWS))
            equal(steps.result().status, 0, "exit status")
        check(before, wire.verdicts(FLOWS))
        assert set(seen) <= CHANGES and len(seen) > 1, f"the messages: {seen}"
        equal({wire.verdict(flow) for flow in LIVES}, {PROTECTED}, "what lives, in the end")


@cases(RICH)
def killed_anywhere(_, prepare):
    """Wherever a run is killed, no flow is unprotected, and a second run ends like an undisturbed one: {0}"""
    with Wire() as wire:
        prepare()
        before = wire.verdicts(FLOWS)
        keep_living()
        undisturbed, after = deciding(), wire.verdicts(FLOWS)
        number, killed = 0, True
        while killed:
            number += 1
            clear()
            prepare()
            killed = kill_behind(number)
            check(before, wire.verdicts(FLOWS))
            keep_living()
            equal(deciding(), undisturbed, f"policies, kept policies and SAs, killed behind change {number}")
            equal(wire.verdicts(FLOWS), after, f"the flows, killed behind change {number}")
        assert number > 2, f"the number of changes: {number - 1}"


def kill_behind(number):
    # A run that is killed early sets no time limit of an SA. The last fault, LIMITED, then does not take place.
    with Steps("flush", "--keep", faults=living.LIVING, sure=len(living.LIVING)) as steps:
        for count, _ in enumerate(steps, 1):
            if count == number:
                steps.kill()
                return True
    return False


# Cases with faults.

def guarded(before):
    """Checks that each of these policies is there, or its kept policy, or a shadow that blocks."""
    present = {policy.key for policy in netlink.policies()
               if not policy.user or policy.user == KEPT or policy.action == netlink.BLOCK}
    equal({policy.key for policy in before} - present, set(), "the policies that nothing stands for")
    # The kernel removes a kept policy after a time, so a shadow has to stand behind it.
    lasting = {policy.key for policy in netlink.policies() if not policy.user or policy.action == netlink.BLOCK}
    equal({policy.key for policy in shadows(KEPT)} - lasting, set(), "the kept policies behind which there is nothing")


@cases([
    (f"{what} {name} ({errno.errorcode[code]})", Fault("send", kind, "refuse", code, first, last))
    for what, kind in (("an addition", MSG_NEWPOLICY), ("a deletion", MSG_DELPOLICY))
    for name, first, last in (("is refused", 2, 2), ("is always refused", 1, 2**31))
    for code in (errno.ENOMEM, errno.EPERM)
])
def refused(_, fault):
    """Each policy stays, is kept or has a shadow when {0}, and flush --keep fails."""
    make(1)
    xfrm.add_policies(*policies(2))
    before = netlink.policies()
    result = xfrmctl_living("flush", "--keep", faults=[fault], status=1)
    assert result.err, "nothing was said"
    guarded(before)
    assert LIVE <= spis() or not shadows(KEPT), "an SA has gone that a kept policy names"


@cases([("policies", netlink.MSG_GETPOLICY), ("SAs", netlink.MSG_GETSA)])
def lost(_, kind):
    """An answer about {0} that is lost is requested again."""
    make(1)
    xfrm.add_policies(*policies(2))
    before = netlink.policies()
    # The rules of LIVING apply to the answers that are not lost.
    with_loss = [Fault("receive", kind, "fail", errno.ENOBUFS, 1, 1), *living.LIVING]
    result = living.xfrmctl_with(with_loss, "flush", "--keep")
    contains(result.out, "6 shadows are in place; 3 kept policies stay in use.")
    guarded(before)


main()
