# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl flush --hold`: the properties of its shadows, and what it does with existing shadows."""

import json
import re
import socket
import struct
import subprocess

import netlink
import xfrm
from cases import case, cases, main
from daemon import GROUPS_OF_CHARON, process
from netlink import ALLOW, BLOCK, INFINITE, MSG_DELPOLICY, MSG_NEWPOLICY, MSG_UPDPOLICY
from program import Fault, Faults, flush, hold
from shadows import BEHIND, EXPIRING, HOLD, make_shadow, real_policies, shadow_of, shadows
from tables import ESP
from tap import Skip, contains, equal
from wire import Wire, into, out

SELECTOR = "src 10.1.0.0/16 dst 10.2.0.0/16"
TWO_TEMPLATES = ("tmpl src 192.0.2.1 dst 192.0.2.2 proto comp reqid 4 mode tunnel level use "
                 "tmpl src 0.0.0.0 dst 0.0.0.0 proto esp reqid 4 mode transport")

# The fields that the expected shadow of a policy has to have.
MATTERS = ("key", "user", "priority", "action", "flags", "share", "templates", "attributes")


def has(policy, expected, fields=MATTERS):
    equal({name: getattr(policy, name) for name in fields}, {name: getattr(expected, name) for name in fields},
          "the shadow")


def held(*policies, options=()):
    """Adds policies and holds them. Returns the first policy and its shadow."""
    xfrm.add_policies(*policies)
    before = netlink.policies()
    hold(*options)
    equal(real_policies(), [], "the policies left")
    equal(len(shadows(HOLD)), len(policies), "the number of shadows")
    shadow_by_key = {shadow.key: shadow for shadow in shadows(HOLD)}
    return before[-1], shadow_by_key[before[-1].key]


@cases([
    (f"{SELECTOR} dir out priority 1000 {ESP}", BLOCK),
    (f"{SELECTOR} dir in priority 0 {ESP}", BLOCK),
    (f"{SELECTOR} dir fwd priority 0x7fffffff {TWO_TEMPLATES}", BLOCK),
    (f"{SELECTOR} dir in priority 1000 {ESP} level use", BLOCK),
    (f"{SELECTOR} dir out priority 1000", ALLOW),
    (f"{SELECTOR} dir out priority 1000 action block", BLOCK),
    (f"{SELECTOR} dir out priority 1000 action block {ESP}", BLOCK),
    (f"{SELECTOR} dir out priority 1000 flag localok {ESP}", BLOCK),
    (f"{SELECTOR} dir fwd priority 1000 flag icmp", ALLOW),
    (f"{SELECTOR} dir fwd priority 1000 flag localok flag icmp {ESP}", BLOCK),
    (f"{SELECTOR} dir out priority 1000 mark 0x10 mask 0xff {ESP}", BLOCK),
    (f"{SELECTOR} dir out priority 1000 mark 0 mask 0xff", ALLOW),
    (f"{SELECTOR} dir out priority 1000 if_id 0x2a {ESP}", BLOCK),
    (f"{SELECTOR} dir out priority 1000 if_id 0x2a mark 0x10 mask 0xff {ESP}", BLOCK),
    (f"{SELECTOR} proto 17 sport 1000 dport 4500 dir out priority 1000 {ESP}", BLOCK),
    (f"{SELECTOR} proto 1 type 8 code 0 dir out priority 1000", ALLOW),
    ("src 10.1.0.1 dst 10.2.0.1 proto 6 dport 22 dir in priority 1000 action block", BLOCK),
    ("src ::/0 dst ::/0 proto 58 type 135 dir out priority 1000", ALLOW),
    (f"src 2001:db8:1::/48 dst 2001:db8:2::1 dev lo dir out priority 1000 {ESP}", BLOCK),
])
def carries(policy, action):
    """The shadow has everything by which its policy matches packets, and nothing else: {0}"""
    original, shadow = held(policy)
    has(shadow, shadow_of(original, action=action))
    equal(shadow.lifetime[4:], (0, 0, 0, 0), "when the shadow expires")


@case
def carries_sub():
    """The shadow of a sub policy is a sub policy."""
    if not xfrm.has_sub_policies():
        raise Skip("this kernel has no sub policies (CONFIG_XFRM_SUB_POLICY)")
    original, shadow = held(f"{SELECTOR} dir out ptype sub priority 1000 {ESP}")
    has(shadow, shadow_of(original))
    equal(shadow.ptype, 1, "the type")


@cases([("time-hard 3600",), ("time-soft 5", ), ("time-use-hard 3600",), ("byte-hard 1000",), ("packet-hard 1",)])
def carries_no_expiry(limit):
    """A lifetime of the policy is not copied to its shadow: limit {0}"""
    original, shadow = held(f"{SELECTOR} dir out priority 1000 limit {limit} {ESP}")
    has(shadow, shadow_of(original))
    equal((shadow.lifetime[1], shadow.lifetime[4:]), (INFINITE, (0, 0, 0, 0)), "its lifetime")


@case
def carries_context():
    """The shadow has the security context of its policy, and stands beside a shadow without one."""
    # SELinux knows the context `kernel` without a loaded policy.
    policy = f"{SELECTOR} ctx kernel dir out priority 1000 {ESP}"
    done = subprocess.run(["ip", "xfrm", "policy", "add", *policy.split()], capture_output=True, check=False)
    if done.returncode != 0 or "security context" not in xfrm.policy_lines()[0]:
        raise Skip("this kernel has no security module that labels policies")
    xfrm.add_policies(f"{SELECTOR} dir out priority 1001")
    wanted = {policy.key: shadow_of(policy) for policy in netlink.policies()}
    hold()
    equal({shadow.key for shadow in shadows(HOLD)}, set(wanted), "the shadows")
    for shadow in shadows(HOLD):
        has(shadow, wanted[shadow.key])


@case
def carries_no_offload():
    """The shadow of an offloaded policy is not offloaded."""
    with Wire():
        xfrm.add_policies(f"{SELECTOR} dir out priority 1000 {ESP}")
        [policy] = netlink.policies()
        xfrm.clear()
        offload = struct.pack("iB3x", socket.if_nametoindex("uplink"), netlink.OFFLOAD_PACKET)
        try:
            policy._replace(attributes=policy.attributes | {netlink.ATTRIBUTE_OFFLOAD: offload}).add()
        except OSError as error:
            raise Skip(f"no network device here takes policies: {error}") from error
        [original] = netlink.policies()
        hold()
        [shadow] = shadows(HOLD)
        has(shadow, shadow_of(original))


@case
def carries_counters():
    """The shadow records the number of packets blocked before it was made, in its packet limits."""
    with Wire() as wire:
        xfrm.add_policies("src 10.1.0.0/16 dst 10.2.0.0/16 dir out action block",
                          "src 10.2.0.0/16 dst 10.1.0.0/16 dir in action block")
        for flow in [out("10.2.0.1")] * 3 + [into("10.2.0.1")] * 2:
            wire.verdict(flow)
        hold()
        equal([shadow.lifetime[2:4] for shadow in shadows(HOLD)], [(3, 2)] * 2, "the limits of packets")
        equal({str(flow): wire.verdict(flow) for flow in (out("10.2.0.1"), into("10.2.0.1"))},
              {str(out("10.2.0.1")): "is blocked", str(into("10.2.0.1")): "is blocked"}, "what becomes of packets")


POLICIES = {
    "out": f"{SELECTOR} dir out priority 1000 {ESP}",
    "in": f"src 10.2.0.0/16 dst 10.1.0.0/16 dir in priority 1001 {ESP}",
    "pass": "src 0.0.0.0/0 dst 0.0.0.0/0 proto 17 dport 500 dir out priority 1002",
    "drop": "src 10.6.0.0/16 dst 0.0.0.0/0 dir fwd priority 1003 action block",
}


def make():
    """Adds POLICIES. Returns them by name."""
    xfrm.add_policies(*POLICIES.values())
    by_priority = {policy.priority: policy for policy in netlink.policies()}
    return {name: by_priority[priority] for priority, name in enumerate(POLICIES, 1000)}


def expect_held(policies, **exceptions):
    """Checks that each of these policies has its shadow, or the shadow in `exceptions`, and that nothing else is
    there."""
    wanted = {policy.key: exceptions.get(name) or shadow_of(policy) for name, policy in policies.items()}
    found = {policy.key: policy for policy in netlink.policies()}
    equal((set(found), len(netlink.policies())), (set(wanted), len(wanted)), "the selectors of what is there")
    for key, shadow in found.items():
        has(shadow, wanted[key])


@case
def summary():
    """The summary counts the removed entries and the shadows."""
    policies = make()
    netlink.allocate_spi(src="192.0.2.1", dst="192.0.2.2", spi=0x1000)
    result = hold()
    assert re.fullmatch(r"Removed 1 SA \(1 esp\) and 4 policies \(1 in, 2 out, 1 fwd\) in \d+\.\d{3} ms; "
                        r"4 shadows are in place\.\n", result.out), result.out
    equal(result.err, "", "standard error")
    expect_held(policies)
    equal(xfrm.counts(), (4, 0), "policies and SAs")


@case
def summary_of_one():
    """The summary has the singular for one shadow."""
    xfrm.add_policies(POLICIES["out"])
    contains(hold().out, "Removed 0 SAs and 1 policy (1 out) in ", " ms; 1 shadow is in place.\n")


@case
def nothing():
    """Without policies, there is nothing to hold."""
    result = hold()
    equal((result.out, result.err), ("Nothing to remove.\n", ""), "output")
    equal(netlink.policies(), [], "the policies")


@case
def twice():
    """A second run leaves every shadow as it is."""
    policies = make()
    hold()
    before = netlink.policies()
    result = hold()
    equal((result.out, result.err), ("Nothing to remove; 4 shadows are in place.\n", ""), "output")
    equal(netlink.policies(), before, "the shadows")
    expect_held(policies)


@case
def quiet():
    """With -q, flush --hold prints nothing."""
    policies = make()
    result = hold("-q")
    equal((result.out, result.err), ("", ""), "output")
    expect_held(policies)


@case
def policies_of_the_next_life():
    """Correct shadows stay unchanged while policies of a new instance are added and removed."""
    policies = make()
    hold()
    before = netlink.policies()
    make()
    contains(hold().out, "Removed 0 SAs and 4 policies (1 in, 2 out, 1 fwd) in ", "; 4 shadows are in place.\n")
    equal(netlink.policies(), before, "the shadows")
    expect_held(policies)


@case
def other_priority():
    """A shadow with a wrong priority is replaced."""
    policies = make()
    make_shadow(policies["out"], priority=7)
    hold()
    expect_held(policies)


@case
def weaker():
    """A shadow that allows traffic which has to be blocked is replaced."""
    policies = make()
    make_shadow(policies["out"], action=ALLOW)
    make_shadow(policies["drop"], action=ALLOW)
    contains(hold().out, "; 4 shadows are in place.\n")
    expect_held(policies)


@case
def stronger():
    """A shadow that blocks is not changed into a bypass."""
    policies = make()
    make_shadow(policies["pass"], action=BLOCK)
    contains(hold().out, "; 4 shadows are in place.\n")
    expect_held(policies, **{"pass": shadow_of(policies["pass"], action=BLOCK)})


@case
def stronger_grace():
    """An expiring shadow that blocks is not changed into a bypass."""
    policies = make()
    make_shadow(policies["pass"], EXPIRING, seconds=3600, action=BLOCK)
    hold()
    expect_held(policies, **{"pass": shadow_of(policies["pass"], action=BLOCK)})


@cases([(True,), (False,)])
def grace_ends(with_policies):
    """Expiring shadows become permanent. Whether their policies are in front of them: {0}"""
    policies = make()
    for policy in policies.values():
        make_shadow(policy, EXPIRING, seconds=3600)
    if not with_policies:
        flush("--match=priority=1000-1003")
    result = hold()
    contains(result.out, "4 shadows are in place.\n")
    if with_policies:
        contains(result.out, "Removed 0 SAs and 4 policies (1 in, 2 out, 1 fwd) in ")
    expect_held(policies)
    equal({shadow.lifetime[4:] for shadow in shadows()}, {(0, 0, 0, 0)}, "when they expire")


@case
def keeps_counters():
    """A shadow that replaces an expiring one takes over its record of packets blocked before the hold."""
    policies = make()
    make_shadow(policies["out"], EXPIRING, seconds=3600, lifetime=(INFINITE, INFINITE, 11, 12, 0, 3600, 0, 0))
    flush("--match=priority=1000-1003")
    hold()
    [shadow] = shadows(HOLD)
    equal(shadow.lifetime[1:], (INFINITE, 11, 12, 0, 0, 0, 0), "its lifetime")


@case
def others_of_a_previous_instance():
    """Shadows of a previous instance whose policies are gone stay."""
    xfrm.add_policies("src 10.1.0.0/16 dst 10.9.0.0/16 dir out priority 5 action block")
    old = netlink.policies()
    hold()
    policies = make()
    contains(hold().out, "Removed 0 SAs and 4 policies (", "; 5 shadows are in place.\n")
    expect_held(policies | {"old": old[0]})


@case
def bypass_of_a_previous_instance():
    """A shadow of a bypass that is gone is removed when new policies are held."""
    xfrm.add_policies("src 10.1.0.0/16 dst 10.9.0.0/16 dir out priority 5")
    hold()
    contains(hold().out, "; 1 shadow is in place.\n")
    policies = make()
    contains(hold().out, "Removed 0 SAs and 4 policies (", "; 4 shadows are in place.\n")
    expect_held(policies)


@case
def bypass_that_came_back():
    """A shadow of a bypass stays if its policy is there again."""
    xfrm.add_policies("src 10.1.0.0/16 dst 10.9.0.0/16 dir out priority 5")
    old = netlink.policies()
    hold()
    old[0].add()
    policies = make()
    contains(hold().out, "Removed 0 SAs and 5 policies (", "; 5 shadows are in place.\n")
    expect_held(policies | {"old": old[0]})


@case
def without_hold():
    """Without --hold, shadows are removed like other policies."""
    make()
    hold()
    contains(flush().out, "Removed 0 SAs and 4 policies (1 in, 2 out, 1 fwd) in ")
    equal(netlink.policies(), [], "the policies left")


@case
def without_hold_selected():
    """Without --hold, shadows are selected like other policies."""
    policies = make()
    hold()
    flush("--match=dir=in")
    expect_held({name: policy for name, policy in policies.items() if name != "in"})


@case
def selection():
    """Policies that are not selected stay as they are and get no shadows."""
    make()
    before = netlink.policies()
    contains(hold("--match=reqid=1", "--exclude=dir=in").out, " and 1 policy (1 out) in ",
             "; 1 shadow is in place.\n")
    equal({policy.priority for policy in real_policies()}, {1001, 1002, 1003}, "the policies left")
    equal([policy for policy in before if policy.priority != 1000], real_policies(), "the policies left")
    equal(len(shadows()), 1, "the number of shadows")


@case
def priorities():
    """Shadows stand behind all policies, in the order of their policies."""
    xfrm.add_policies(*(f"src 10.1.0.0/16 dst 10.{n}.0.0/16 dir out priority {priority} {ESP}"
                        for n, priority in enumerate((0, 1, 1000, 0x7fffffff))))
    hold()
    equal(sorted(shadow.priority for shadow in shadows()), [BEHIND, BEHIND + 1, BEHIND + 1000, 0xffffffff],
          "the priorities")


@case
def states_only():
    """With --states-only, nothing is held."""
    make()
    before = netlink.policies()
    netlink.allocate_spi(src="192.0.2.1", dst="192.0.2.2", spi=0x1000)
    contains(hold("--states-only").out, "Removed 1 SA (1 esp) and 0 policies in ")
    equal(netlink.policies(), before, "the policies")


@case
def policies_only():
    """--policies-only leaves the SAs."""
    policies = make()
    netlink.allocate_spi(src="192.0.2.1", dst="192.0.2.2", spi=0x1000)
    hold("--policies-only")
    expect_held(policies)
    equal(xfrm.counts(), (4, 1), "policies and SAs")


@case
def dry_run():
    """--dry-run changes nothing, and does not list shadows that stay."""
    policies = make()
    make_shadow(policies["out"])
    make_shadow(policies["in"], EXPIRING, seconds=3600)
    before = netlink.policies()
    listed = json.loads(hold("--dry-run", "--json").out)
    equal(sorted(policy["priority"] for policy in listed["policies"]), [*range(1000, 1004), BEHIND + 1001],
          "the priorities of what would go")
    contains(hold("--dry-run").out, "Would remove 0 SAs and 5 policies (2 in, 2 out, 1 fwd).\n")
    contains(flush("--dry-run").out, "Would remove 0 SAs and 6 policies (2 in, 3 out, 1 fwd).\n")
    equal(netlink.policies(), before, "the policies")


@case
def socket_policies():
    """Policies of sockets stay and get no shadows."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for direction in netlink.DIRS:
            netlink.set_socket_policy(sock, direction)
        before = xfrm.policy_lines()
        equal(hold().out, "Nothing to remove.\n", "output")
        equal(xfrm.policy_lines(), before, "the policies")
        policies = make()
        contains(hold().out, "; 4 shadows are in place.\n")
        expect_held(policies)
        equal([line for line in xfrm.policy_lines() if line in before], before, "the policies of the socket")


@case
def key_manager():
    """A running key manager prevents a hold, and nothing changes."""
    make()
    before = netlink.policies()
    with process("charon-systemd", GROUPS_OF_CHARON):
        contains(hold(status=3).err, "charon-systemd", " Nothing was removed. Stop the process first, or use --force.\n")
        equal(netlink.policies(), before, "the policies")
        hold("--force")
        equal(len(shadows()), 4, "the number of shadows")


MANY = 3000


@case
def many():
    """A hold of 3,000 policies sends an addition and a deletion for each; if there are shadows, only the deletion."""
    for additions in (MANY, 0):
        xfrm.fill("networks", MANY)
        with Faults(*(Fault("send", kind, "note") for kind in (MSG_NEWPOLICY, MSG_DELPOLICY, MSG_UPDPOLICY))) as faults:
            contains(hold(env=faults.env).out, f"Removed 0 SAs and {MANY} policies (1000 in, 1000 out, 1000 fwd) in ",
                     f"; {MANY} shadows are in place.\n")
            equal([faults.count(number) for number in range(3)], [additions, MANY, 0], "the number of messages")
        equal((len(shadows(HOLD)), len(real_policies())), (MANY, 0), "shadows and policies")


main()
