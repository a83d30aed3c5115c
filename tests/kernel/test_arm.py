# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl arm`: shadows stand behind the policies, and block traffic when these are removed."""

import errno
import re

import netlink
import sandbox
import xfrm
from cases import case, cases, main
from daemon import GROUPS_OF_CHARON, process
from netlink import MSG_DELPOLICY, MSG_DELSA, MSG_FLUSHPOLICY, MSG_FLUSHSA, MSG_GETPOLICY, MSG_UPDPOLICY
from program import ANY, Fault, Faults, arm, flush, hold, xfrmctl_with
from shadows import EXPIRING, HOLD, make_shadow, real_policies, shadow_of, shadows
from tables import ESP, IN_THE_ORDER_OF_PRIORITIES, LAN, REMOTE, require
from tap import contains, equal
from wire import PASSES, PROTECTED, Wire, out, same

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
    """Removes policies one by one in front of their shadows, and checks all flows each time. `is_time_to_arm` gets the
    number of policies that are gone and the number at the beginning. It returns whether arm has to run again."""
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
    """While policies are removed after arm, {1} first, nothing is unprotected: {0}"""
    take_away(table, order, lambda gone, of: False)


@cases(ROWS)
def taken_away_and_armed(_, order, table):
    """While policies are removed, {1} first, and arm runs after each, nothing is unprotected: {0}"""
    take_away(table, order, lambda gone, of: True)


@cases(ROWS)
def taken_away_and_armed_once(_, order, table):
    """If arm runs again when half of the policies are removed, {1} first, nothing is unprotected: {0}"""
    take_away(table, order, lambda gone, of: gone == of // 2)


@case
def summary():
    """The summary counts the policies, which stay as they are; SAs stay too."""
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
    """Without policies, arm adds no shadows."""
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
    """A second run when the policies are gone leaves the shadows as they are."""
    make()
    arm()
    flush("--match=priority=0-9999")
    before = netlink.policies()
    arm()
    equal((netlink.policies(), len(before)), (before, 4), "the shadows")


@case
def before_hold():
    """A hold adopts the shadows of arm."""
    policies = make()
    arm()
    before = shadows()
    contains(hold().out, "Removed 0 SAs and 4 policies (1 in, 2 out, 1 fwd) in ", "; 4 shadows are in place.\n")
    equal((netlink.policies(), keys(before)), (before, keys(policies)), "the shadows")


@cases([(True,), (False,)])
def grace_ends(with_policies):
    """Expiring shadows become permanent. Whether there are policies in front of them: {0}"""
    policies = make()
    for policy in policies[:2]:
        make_shadow(policy, EXPIRING, seconds=3600)
    if not with_policies:
        flush("--match=priority=0-9999")
    arm()
    equal((keys(shadows(HOLD)), shadows(EXPIRING)), (keys(policies if with_policies else policies[:2]), []), "the shadows")
    equal({shadow.lifetime[4:] for shadow in shadows()}, {(0, 0, 0, 0)}, "when they expire")


@case
def selection():
    """Only selected policies get shadows."""
    policies = make()
    contains(arm("--match=reqid=1", "--exclude=dir=in").out, "Put shadows behind 1 policy (1 out) in ")
    equal(keys(shadows()), keys(policy for policy in policies if policy.priority == 1000), "the shadows")


@case
def key_manager():
    """arm works beside a running key manager."""
    policies = make()
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        equal(arm().err, "", "standard error")
    equal(keys(shadows()), keys(policies), "the shadows")


@case
def quiet():
    """With -q, arm prints nothing."""
    make()
    result = arm("-q")
    equal((result.out, result.err, len(shadows())), ("", "", 4), "output and number of shadows")


@case
def removes_nothing():
    """arm removes nothing and replaces nothing."""
    xfrm.fill("networks", 1000)
    with Faults(*(Fault("send", kind, "note") for kind in
                  (MSG_DELPOLICY, MSG_FLUSHPOLICY, MSG_UPDPOLICY, MSG_DELSA, MSG_FLUSHSA))) as faults:
        arm(env=faults.env)
        equal([faults.count(number) for number in range(5)], [0] * 5, "the number of messages")
    equal((len(real_policies()), len(shadows())), (1000, 1000), "policies and shadows")


# Changes of an IKE daemon while arm runs.

MEANWHILE = f"src {LAN} dst 10.9.0.0/16 dir out priority 1500 {ESP}"

# Runs the command after the fourth change. xfrmctl then still has to read the answer to that change, besides events.
CHANGED = Fault("change", ANY, "run", 0, 4, 4)


def add(policy):
    return f"ip xfrm policy add {policy}"


def arm_with(fault, command, *options, **more):
    return xfrmctl_with([fault], "arm", *options, command=command, **more)


def places(policies):
    """Returns the fields that identify shadows and their places."""
    return sorted((policy.key, policy.user, policy.priority, policy.action) for policy in policies)


@cases([(call, " ".join(options), options) for call in ("send", "receive", "change") for options in ((), ("--routes",))])
def installed_meanwhile(call, _, options):
    """A policy that is installed while arm runs gets its shadow at every instant: {0}, arm {1}"""
    make()
    with Faults(Fault(call, ANY, "note")) as faults:
        arm(*options, env=faults.env)
        calls = faults.count()
    without = []
    for number in range(1, calls + 1):
        xfrm.clear()
        make()
        result = arm_with(Fault(call, ANY, "run", 0, number, number), add(MEANWHILE), *options)
        if keys(shadows(HOLD)) != keys(real_policies()):
            without.append(number)
        else:
            contains(result.out, "Put shadows behind 5 policies (1 in, 3 out, 1 fwd) in ")
    equal((len(real_policies()), without, calls > 3), (5, [], True),
          f"the number of policies, at which of {calls} instants one got no shadow, and whether there were enough")


@case
def first_meanwhile():
    """A first policy that is installed while arm runs gets its shadow."""
    contains(arm_with(Fault("receive", MSG_GETPOLICY, "run", 0, 1, 1), add(MEANWHILE)).out,
             "Put shadows behind 1 policy (1 out) in ")
    equal(places(shadows()), places(map(shadow_of, real_policies())), "the shadows")


@cases([("its priority", f"src {LAN} dst {REMOTE} dir out priority 1500 {ESP}"),
        ("that it protects", f"src 0.0.0.0/0 dst 0.0.0.0/0 proto 17 dport 500 dir out priority 999 {ESP}")])
def updated_meanwhile(_, policy):
    """If a policy is updated meanwhile, its shadow is that of the new version: {0}"""
    make()
    contains(arm_with(CHANGED, f"ip xfrm policy update {policy}").out, "Put shadows behind 4 policies (")
    equal(places(shadows(HOLD)), places(map(shadow_of, real_policies())), "the shadows")


@case
def selected_meanwhile():
    """Of policies that are installed meanwhile, only selected ones get shadows."""
    policies = make()
    result = arm_with(Fault("change", ANY, "run", 0, 1, 1), add(MEANWHILE.replace("reqid 1", "reqid 9")),
                      "--exclude=reqid=9")
    contains(result.out, "Put shadows behind 4 policies (")
    equal((keys(shadows()), len(real_policies())), (keys(policies), 5), "the shadows, and the number of policies")


@cases([("a tunnel", ESP, 5), ("a bypass", "", 4)])
def gone_again(_, template, expected):
    """A tunnel that is installed and removed meanwhile stays blocked; a bypass leaves no shadow: {0}"""
    make()
    policy = f"src {LAN} dst 10.9.0.0/16 dir out"
    arm_with(CHANGED, f"{add(f'{policy} priority 1500 {template}')} && ip xfrm policy delete {policy}")
    equal((len(shadows()), len(real_policies())), (expected, 4), "the numbers of shadows and policies")


@cases([("behind a tunnel", "priority 2000", "priority 3000"),
        ("of a high priority", "priority 2000", "priority 0x80000001")])
def bypass_meanwhile(_, tunnel, bypass):
    """If a bypass is installed meanwhile, and the tunnel's policy is removed first, nothing is unprotected: {0}"""
    with Wire() as wire:
        xfrm.add_policies(f"src {LAN} dst {REMOTE} dir out {tunnel} {ESP}")
        arm_with(Fault("change", ANY, "run", 0, 1, 1), add(f"src {LAN} dst 10.0.0.0/8 dir out {bypass}"))
        [policy] = [policy for policy in real_policies() if policy.templates]
        equal([wire.verdict(out(to)) for to in ("10.2.0.1", "10.3.0.1")], [PROTECTED, PASSES], "what becomes of both flows")
        policy.delete()
        equal([wire.verdict(out(to)) == PASSES for to in ("10.2.0.1", "10.3.0.1")], [False, True],
              "whether they pass when the tunnel's policy is gone")
        real_policies()[0].delete()
        equal(wire.verdict(out("10.2.0.1")) == PASSES, False, "whether the first one passes when both are gone")


@case
def tunnel_meanwhile():
    """A tunnel installed meanwhile, with a bypass's priority, is blocked when both policies are gone."""
    with Wire() as wire:
        # The tunnel is younger than the bypass of the same priority, and between hosts. Linux 6.1 prefers the policy
        # between hosts.
        xfrm.add_policies(f"src {LAN} dst 10.0.0.0/8 dir out priority 2000")
        tunnel = f"src 10.1.0.1 dst 10.2.0.1 dir out priority 2000 {ESP}"
        arm_with(Fault("change", ANY, "run", 0, 1, 1), add(tunnel))
        for policy in real_policies():
            policy.delete()
        equal([wire.verdict(out(to)) == PASSES for to in ("10.2.0.1", "10.3.0.1")], [False, True], "whether the flows pass")


@cases([("a bypass", "priority 1500", ()), ("a bypass with the priority of a tunnel", "priority 1000", ()),
        ("a tunnel with the priority of a bypass", f"priority 999 {ESP}", ()),
        ("a policy with a high priority", "priority 0x90000000 action block", ()),
        ("a policy that is not selected", f"priority 1500 {ESP.replace('reqid 1', 'reqid 9')}", ("--exclude=reqid=9",))])
def moves_others(_, rest, options):
    """A policy installed meanwhile has the same effect on other shadows as one installed before: {0}"""
    make()
    arm_with(Fault("change", ANY, "run", 0, 1, 1), add(f"src {LAN} dst 10.9.0.0/16 dir out {rest}"), *options)
    found, policies = shadows(), real_policies()
    xfrm.clear()
    for policy in policies[::-1]:
        policy.add()
    arm(*options)
    equal(set(places(shadows())) - set(places(found)), set(), "the shadows that are missing")


@case
def events_lost():
    """If the kernel drops events, arm lists all policies once more."""
    make()
    lost = Fault("event", ANY, "fail", errno.ENOBUFS)
    result = xfrmctl_with([CHANGED, lost], "arm", command=add(MEANWHILE))
    contains(result.out, "Put shadows behind 5 policies (1 in, 3 out, 1 fwd) in ")
    equal(places(shadows(HOLD)), places(map(shadow_of, real_policies())), "the shadows")


@case
def events_always_lost():
    """If the kernel drops events in each pass, arm fails and reports it; listed policies have shadows."""
    make()
    lost = Fault("event", ANY, "fail", errno.ENOBUFS)
    each_time = Fault("receive", MSG_GETPOLICY, "run")
    result = xfrmctl_with([each_time, lost], "arm", command=add(MEANWHILE).replace("add", "update"), status=1)
    equal(result.err, "xfrmctl: Could not put shadows behind all policies: policies changed during each of 5 passes. "
          "Run `xfrmctl arm` again.\n", "standard error")
    equal(places(shadows(HOLD)), places(map(shadow_of, real_policies())), "the shadows")


@case
def no_events():
    """If arm cannot listen to events, it fails and reports it; listed policies have shadows."""
    make()
    result = xfrmctl_with([Fault("socket", ANY, "fail", errno.EMFILE, 3, 3)], "arm", status=1)
    equal(result.err, "xfrmctl: Could not listen to the kernel's events: Too many open files. Policies that the IKE daemon "
          "installs meanwhile may have no shadow. Run `xfrmctl arm` again.\n", "standard error")
    equal(places(shadows(HOLD)), places(map(shadow_of, real_policies())), "the shadows")


@case
def refused_meanwhile():
    """If the kernel refuses the shadow of a policy that is installed meanwhile, arm reports it."""
    make()
    with Faults(CHANGED, Fault("send", netlink.MSG_NEWPOLICY, "refuse", errno.ENOMEM, 5, 5), command=add(MEANWHILE)) as faults:
        result = arm(status=1, env=faults.env)
    contains(result.err, "Could not put a shadow behind policy 10.1.0.0/16 → 10.9.0.0/16 dir out",
             "the kernel refused the shadow: Cannot allocate memory.")
    contains(result.out, "Put shadows behind 4 policies (")


@case
def refused_again():
    """A shadow that is refused in each of two passes counts once."""
    xfrm.fill("networks", 12)
    faults = [Fault("receive", MSG_GETPOLICY, "run", 0, 1, 1), Fault("event", ANY, "fail", errno.ENOBUFS, 1, 1),
              Fault("send", netlink.MSG_NEWPOLICY, "refuse", errno.ENOMEM)]
    result = xfrmctl_with(faults, "arm", command=add(MEANWHILE), status=1)
    contains(result.err, "xfrmctl: 3 more could not be given one.\n")


main(sandbox.new_run_folder)
