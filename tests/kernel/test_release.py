# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl release` removes shadows, immediately or after a grace, and no other policies."""

import re
import socket

import netlink
import xfrm
from cases import case, cases, main
from daemon import GROUPS_OF_CHARON, process
from program import XFRMCTL, Fault, Faults, hold, release, until
from shadows import EXPIRING, HOLD, make_shadow, real_policies, shadows
from tables import ESP, OTHER_ESP
from tap import Skip, contains, equal
from wire import BLOCKED, PASSES, PROTECTED, Wire, into, out, through

SELECTOR = "src 10.1.0.0/16 dst 10.2.0.0/16"
POLICIES = [
    f"{SELECTOR} dir out priority 1000 {ESP}",
    f"src 10.2.0.0/16 dst 10.1.0.0/16 dir in priority 1001 {ESP}",
    "src 0.0.0.0/0 dst 0.0.0.0/0 proto 17 dport 500 dir out priority 1002 action block",
    "src 10.6.0.0/16 dst 0.0.0.0/0 dir fwd priority 1003 action block",
]


def make_held(*policies):
    """Adds these policies, or POLICIES, and replaces them by shadows. Returns the policies."""
    xfrm.add_policies(*(policies or POLICIES))
    originals = netlink.policies()
    hold()
    return originals


def keys(policies):
    return {policy.key for policy in policies}


def sentence(result, count, rest=""):
    """Checks that the output reports this number of shadows."""
    assert re.fullmatch(rf"Released {count} shadows? in \d+\.\d{{3}} ms{rest}\. "
                        r"Packets blocked meanwhile: \d+ outgoing, \d+ incoming\.\n", result.out), result.out
    equal(result.err, "", "standard error")


@case
def nothing():
    """Without shadows, there is nothing to release."""
    for words in ((), ("--grace=5min",), ("--grace=infinity",)):
        result = release(*words)
        equal((result.out, result.err), ("No shadows.\n", ""), f"output with {words}")


@case
def bypass():
    """A shadow of a bypass is removed immediately, whatever the grace."""
    for words in ((), ("--grace=5min",), ("--grace=infinity",)):
        make_held(f"{SELECTOR} dir out priority 1000")
        sentence(release(*words), 1)
        equal(netlink.policies(), [], f"what is left with {words}")


@case
def only_others():
    """Policies, SAs and policies of sockets stay."""
    xfrm.a_few()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        netlink.set_socket_policy(sock, "out")
        before = xfrm.policy_lines(), xfrm.sa_lines()
        for words in ((), ("--grace=5min",)):
            equal(release(*words).out, "No shadows.\n", "output")
        equal((xfrm.policy_lines(), xfrm.sa_lines()), before, "policies and SAs")


@case
def at_once():
    """All shadows are removed immediately, and policies and SAs stay."""
    state = xfrm.a_few()
    for policy in netlink.policies():
        make_shadow(policy)
        make_shadow(policy, EXPIRING, seconds=3600)
    sentence(release(), 6)
    state.expect_untouched()


@case
def one():
    """The message has the singular for one shadow."""
    make_held(POLICIES[0])
    sentence(release(), 1)
    equal(release().out, "No shadows.\n", "output")


@case
def zero():
    """With --grace=0, shadows are removed immediately."""
    make_held()
    sentence(release("--grace=0"), 4)
    equal(netlink.policies(), [], "what is left")


@case
def other_users():
    """Policies with another user in their selector are no shadows."""
    xfrm.add_policies(POLICIES[0])
    [policy] = netlink.policies()
    for user in (1000, HOLD + 1, EXPIRING - 1, 0xffffffff):
        policy._replace(user=user).add()
    before = netlink.policies()
    equal(release().out, "No shadows.\n", "output")
    equal(netlink.policies(), before, "the policies")


@case
def with_grace():
    """With a grace, shadows that a policy covers are removed immediately; the others expire, otherwise unchanged."""
    originals = make_held()
    xfrm.add_policies(POLICIES[0], POLICIES[2])
    uncovered = [shadow for shadow in shadows() if shadow.key not in keys(real_policies())]
    sentence(release("--grace=5min"), 2, "; 2 stay for 5min")
    equal((len(originals), shadows(HOLD)), (4, []), "shadows that stay for ever")
    expected = {shadow.key: shadow for shadow in uncovered}
    equal(keys(shadows(EXPIRING)), set(expected), "what the shadows that expire cover")
    for shadow in shadows(EXPIRING):
        wanted = expected[shadow.key]
        equal((shadow.priority, shadow.action, shadow.flags, shadow.attributes, shadow.lifetime[4:]),
              (wanted.priority, wanted.action, wanted.flags, wanted.attributes, (0, 300, 0, 0)), "the shadow")
    equal(len(real_policies()), 2, "the number of policies")


@case
def all_covered():
    """With a grace, all shadows are removed immediately if policies cover them all."""
    make_held()
    xfrm.add_policies(*POLICIES)
    sentence(release("--grace=5min"), 4)
    equal((shadows(), len(real_policies())), ([], 4), "shadows, and policies")


@case
def one_stays():
    """The message has the singular for one shadow that stays."""
    make_held()
    xfrm.add_policies(*POLICIES[1:])
    sentence(release("--grace=1min 30s"), 3, "; 1 stays for 1min 30s")


@case
def infinity():
    """With --grace=infinity, shadows that no policy covers stay as they are."""
    make_held()
    xfrm.add_policies(POLICIES[0])
    before = [shadow for shadow in shadows() if shadow.key not in keys(real_policies())]
    sentence(release("--grace=infinity"), 1, "; 3 stay")
    equal(shadows(), before, "the shadows")


@case
def grace_again():
    """A second release does not restart the grace, and removes shadows that a policy covers now."""
    make_held()
    release("--grace=1h")
    before = shadows(EXPIRING)
    equal(len(before), 4, "the number of shadows that expire")
    xfrm.add_policies(POLICIES[0])
    result = release("--grace=2h")
    contains(result.out, "Released 1 shadow in ")
    equal(shadows(), [shadow for shadow in before if shadow.key not in keys(real_policies())], "the shadows")


@case
def grace_and_at_once():
    """A release without a grace removes expiring shadows too."""
    make_held()
    release("--grace=1h")
    sentence(release(), 4)
    equal(netlink.policies(), [], "what is left")


BESIDE = f"{SELECTOR} dir out priority 1000 "


@cases([
    ("the same", BESIDE, BESIDE, True),
    ("of another priority", BESIDE, f"{SELECTOR} dir out priority 7 ", True),
    ("of another action", BESIDE, f"{BESIDE} action block ", True),
    ("with other flags", BESIDE, f"{BESIDE} flag icmp ", True),
    ("for another tunnel", BESIDE, BESIDE + OTHER_ESP, True),
    ("a wider one", BESIDE, "src 10.0.0.0/8 dst 10.0.0.0/8 dir out priority 1000 ", False),
    ("a narrower one", BESIDE, "src 10.1.0.0/16 dst 10.2.0.0/24 dir out priority 1000 ", False),
    ("for a protocol", BESIDE, f"{SELECTOR} proto 17 dir out priority 1000 ", False),
    ("for another port", f"{SELECTOR} proto 17 dport 1 dir out ", f"{SELECTOR} proto 17 dport 2 dir out ", False),
    ("in another direction", BESIDE, f"{SELECTOR} dir in priority 1000 ", False),
    ("with a mark", BESIDE, f"{BESIDE} mark 0x10 mask 0xff ", False),
    ("with another mark", f"{BESIDE} mark 0x11 mask 0xff ", f"{BESIDE} mark 0x10 mask 0xff ", False),
    ("with another mask", f"{BESIDE} mark 0x10 mask 0xffff ", f"{BESIDE} mark 0x10 mask 0xff ", False),
    ("with the same mark", f"{BESIDE} mark 0x10 mask 0xff ", f"{BESIDE} mark 0x10 mask 0xff ", True),
    ("without a mark", f"{BESIDE} mark 0x10 mask 0xff ", BESIDE, False),
    ("with an if_id", BESIDE, f"{BESIDE} if_id 0x2a ", False),
    ("with another if_id", f"{BESIDE} if_id 0x2b ", f"{BESIDE} if_id 0x2a ", False),
    ("with the same if_id", f"{BESIDE} if_id 0x2a ", f"{BESIDE} if_id 0x2a ", True),
    ("of another type", BESIDE, f"{BESIDE} ptype sub ", False),
    ("of the other family", "src 0.0.0.0/0 dst 0.0.0.0/0 dir out ", "src ::/0 dst ::/0 dir out ", False),
])
def covered(_, before, after, is_covered):
    """Whether a policy covers a shadow: {0}, {3}"""
    if "sub" in after and not xfrm.has_sub_policies():
        raise Skip("this kernel has no sub policies (CONFIG_XFRM_SUB_POLICY)")
    make_held(before + ESP)
    xfrm.add_policies(after + ("" if "tmpl" in after else ESP))
    release("--grace=1h")
    equal((len(shadows(HOLD)), len(shadows(EXPIRING)), len(real_policies())), (0, int(not is_covered), 1),
          "shadows that stay, shadows that expire, policies")


@cases([
    ("500ms", 1),
    ("1", 1),
    ("1us", 1),
    ("2s", 2),
    ("2001ms", 3),
    ("1min 30s", 90),
    ("1m30s", 90),
    ("1.5min", 90),
    ("2h", 7200),
    ("1 day", 86400),
])
def time(text, seconds):
    """A grace is rounded up to whole seconds: {0}"""
    make_held()
    release(f"--grace={text}")
    equal([shadow.lifetime[4:] for shadow in shadows(EXPIRING)], [(0, seconds, 0, 0)] * 4, "when the shadows expire")


@cases([("5 parsecs",), ("",), ("-1s",), ("1..2s",), ("s",), ("1h-",), ("infinity 1s",), ("0x10",),
        ("99999999999999999999s",)])
def no_time(text):
    """An invalid time span is refused with status 2, and nothing changes: '{0}'"""
    make_held()
    before = netlink.policies()
    result = release(f"--grace={text}", status=2)
    assert result.err.startswith("xfrmctl: ") and result.err.endswith(".\n"), f"no sentence: {result.err!r}"
    contains(result.err, f"'{text}'", "30s")
    equal((result.err.count("\n"), result.out, netlink.policies()), (1, "", before), "lines, output and shadows")


@case
def expires():
    """After the grace, the kernel removes the shadows, and packets pass."""
    flows = out("10.2.0.1"), into("10.2.0.1")
    with Wire() as wire:
        make_held()
        release("--grace=1s")
        equal([wire.verdict(flow) for flow in flows], [BLOCKED, BLOCKED], "what becomes of packets before")
        until(lambda: not netlink.policies(), "the shadows have gone")
        equal([wire.verdict(flow) for flow in flows], [PASSES, PASSES], "what becomes of packets afterwards")
    equal(release().out, "No shadows.\n", "output")


@case
def counts_packets():
    """The message has the number of packets that the hold blocked, without those blocked before or after it."""
    with Wire() as wire:
        xfrm.add_policies(*POLICIES[:2], "src 10.3.0.0/16 dst 0.0.0.0/0 dir in action block",
                          "dst 10.3.0.0/16 dir out action block")
        # Packets before the hold: policies block them, or they wait for SAs.
        for flow in (out("10.3.0.1"), into("10.3.0.1"), into("10.3.0.1"), out("10.2.0.1"), into("10.2.0.1")):
            wire.verdict(flow)
        hold()
        for flow in [out("10.2.0.1")] * 3 + [into("10.2.0.1")] * 2 + [out("10.4.0.1")]:
            wire.verdict(flow)
        xfrm.add_policies(POLICIES[0])
        equal(wire.verdict(out("10.2.0.1")), PROTECTED, "what becomes of a packet")
        contains(release("--grace=1h").out, "Released 1 shadow in ", "; 3 stay for 1h. "
                 "Packets blocked meanwhile: 3 outgoing, 2 incoming.\n")
        for flow in (into("10.2.0.1"), out("10.2.0.1")):
            wire.verdict(flow)
        contains(release().out, "Released 3 shadows in ",
                 ". Packets blocked meanwhile: 0 outgoing, 1 incoming.\n")


@case
def counts_one_packet():
    """The message has the singular for one packet."""
    with Wire() as wire:
        make_held()
        wire.verdict(out("10.2.0.1"))
        contains(release().out, " Packets blocked meanwhile: 1 outgoing, 0 incoming.\n")


@case
def counts_forwarded():
    """Blocked packets that the host would forward count as coming in."""
    with Wire() as wire:
        make_held(f"src 10.2.0.0/16 dst 10.1.0.0/16 dir fwd {ESP}")
        equal(wire.verdict(through("10.2.0.1", "10.1.0.9")), BLOCKED, "what becomes of a packet")
        contains(release().out, " Packets blocked meanwhile: 0 outgoing, 1 incoming.\n")


@case
def counts_over_two_holds():
    """A second hold over the shadows of the first one continues the count."""
    with Wire() as wire:
        make_held(POLICIES[0])
        wire.verdict(out("10.2.0.1"))
        make_held(POLICIES[0])
        wire.verdict(out("10.2.0.1"))
        contains(release().out, "Released 1 shadow in ",
                 " Packets blocked meanwhile: 2 outgoing, 0 incoming.\n")


@case
def no_statistics():
    """If the kernel does not count packets (CONFIG_XFRM_STATISTICS), the message has no numbers of packets."""
    command = ("unshare", "--mount", "sh", "-c",
               'mount -t tmpfs none "/proc/$$/net" && exec "$0" "$@"')
    make_held()
    result = release(command=(*command, XFRMCTL))
    assert re.fullmatch(r"Released 4 shadows in \d+\.\d{3} ms\.\n", result.out), result.out
    equal(result.err, "", "standard error")


@case
def quiet():
    """With -q, release prints nothing."""
    make_held()
    result = release("-q")
    equal((result.out, result.err, netlink.policies()), ("", "", []), "output, and what is left")


@case
def key_manager():
    """release works beside a key manager, because a release is needed when one runs."""
    make_held()
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        sentence(release("--grace=1h"), 0, "; 4 stay for 1h")
        sentence(release(), 4)


@case
def many():
    """Of 3,000 shadows, a release with a grace removes the covered ones and replaces the others, without an update."""
    xfrm.fill("networks", 3000)
    hold()
    xfrm.fill("networks", 1000)
    with Faults(*(Fault("send", kind, "note") for kind in
                  (netlink.MSG_NEWPOLICY, netlink.MSG_DELPOLICY, netlink.MSG_UPDPOLICY))) as faults:
        sentence(release("--grace=1h", env=faults.env), 1000, "; 2000 stay for 1h")
        equal([faults.count(number) for number in range(3)], [2000, 3000, 0], "the number of messages")
    equal((len(shadows(HOLD)), len(shadows(EXPIRING)), len(real_policies())), (0, 2000, 1000),
          "shadows that stay, shadows that expire, policies")


main()
