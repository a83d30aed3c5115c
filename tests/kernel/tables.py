# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of policies, with the kernel's verdicts on packets before and after a hold."""

from typing import NamedTuple

import xfrm
from tap import Skip
from wire import BLOCKED, PASSES, PROTECTED, into, out, through

TUNNEL = "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid {} mode tunnel"
ESP = TUNNEL.format(1)
OTHER_ESP = TUNNEL.format(2)
WAYS = ("out", "in", "fwd")


class Table(NamedTuple):
    """`policies` are arguments of `ip xfrm policy add`, the oldest first. A hold with `options` has to block the flows
    in `protected` and `undecided`, and must not change the other flows."""
    name: str
    policies: list
    protected: list = ()
    passing: list = ()
    blocked: list = ()
    unheld: list = ()       # protected by a policy that is not selected
    undecided: list = ()    # an older policy bypasses them, a younger one of the same priority protects them
    options: tuple = ()
    needs_sub_policies: bool = False

    def before(self):
        return (dict.fromkeys((*self.protected, *self.unheld), PROTECTED) | dict.fromkeys(self.blocked, BLOCKED) |
                dict.fromkeys((*self.passing, *self.undecided), PASSES))

    def held(self):
        return self.before() | dict.fromkeys((*self.protected, *self.undecided), BLOCKED)

    def add(self):
        xfrm.add_policies(*self.policies)

    def backwards(self):
        return self._replace(name=f"{self.name}, added backwards", policies=self.policies[::-1])


def require(table):
    if table.needs_sub_policies and not xfrm.has_sub_policies():
        raise Skip("this kernel has no sub policies (CONFIG_XFRM_SUB_POLICY)")


def both_ways(here, there, rest):
    """Returns policies between two networks as IKE daemons make them: for outgoing, incoming and forwarded packets."""
    return [f"src {here} dst {there} dir out {rest}"] + [f"src {there} dst {here} dir {way} {rest}"
                                                       for way in ("in", "fwd")]


def every_way(selector, rest):
    return [f"{selector} dir {way} {rest}" for way in WAYS]


LAN, REMOTE, PART = "10.1.0.0/16", "10.2.0.0/16", "10.2.7.0/24"


def flows(there, **more):
    """Returns flows to and from an address: of the host, and forwarded."""
    here = "2001:db8:1::9" if ":" in there else "10.1.0.9"
    return [out(there, **more), into(there, **more), through(there, here, **more)]


IN_THE_ORDER_OF_PRIORITIES = [
    Table(
        "everything protected but the LAN",
        policies=[
            *every_way("src 0.0.0.0/0 dst 0.0.0.0/0", f"priority 3000 {ESP}"),
            *every_way(f"src {LAN} dst {LAN}", "priority 1000"),
        ],
        protected=[*flows("10.2.0.1"), out("10.3.0.1", "tcp"), through("10.1.0.9", "10.2.0.1")],
        passing=[out("10.1.0.9"), into("10.1.0.9"), out("2001:db8:2::1")],
    ),
    Table(
        "drop shunts",
        policies=[
            *both_ways(LAN, REMOTE, f"priority 2000 {ESP}"),
            *both_ways(LAN, PART, "priority 1000 action block"),
            *both_ways(LAN, "10.0.0.0/8", "priority 3000 action block"),
        ],
        protected=flows("10.2.0.1"),
        blocked=[*flows("10.2.7.1"), *flows("10.3.0.1")],
        passing=flows("192.0.2.9"),
    ),
    Table(
        "a bypass behind",
        policies=[
            *both_ways(LAN, "10.2.8.0/24", "priority 1000 action block"),
            *both_ways(LAN, REMOTE, f"priority 2000 {ESP}"),
            *both_ways(LAN, "10.0.0.0/8", "priority 3000"),
        ],
        protected=flows("10.2.0.1"),
        blocked=flows("10.2.8.1"),
        passing=flows("10.3.0.1"),
    ),
    Table(
        "a bypass between",
        policies=[
            *both_ways(LAN, PART, f"priority 1000 {ESP}"),
            *both_ways(LAN, REMOTE, "priority 2000"),
            *both_ways(LAN, "10.0.0.0/8", f"priority 3000 {ESP}"),
        ],
        protected=[*flows("10.2.7.1"), *flows("10.3.0.1")],
        passing=flows("10.2.0.1"),
    ),
    Table(
        "IPv6 with neighbour discovery",
        policies=[
            *every_way("src ::/0 dst ::/0", f"priority 3000 {ESP}"),
            *(f"src ::/0 dst ::/0 proto 58 type {type} dir {way} priority 1000"
              for type in range(133, 138) for way in ("in", "out")),
        ],
        protected=[*flows("2001:db8:2::1"), out("2001:db8:2::1", "icmpv6", 128), into("2001:db8:2::1", "icmpv6", 132)],
        passing=[out("2001:db8:2::1", "icmpv6", 135), out("2001:db8:2::1", "icmpv6", 133),
                 into("2001:db8:2::1", "icmpv6", 136), into("2001:db8:2::1", "icmpv6", 134), out("10.2.0.1")],
    ),
    Table(
        "protocols and ports",
        policies=[
            f"src {LAN} dst {REMOTE} proto 17 dport 500 dir out priority 100",
            f"src {REMOTE} dst {LAN} proto 17 sport 500 dir in priority 100",
            f"src {LAN} dst {REMOTE} proto 17 dport 53 dir out priority 200 action block",
            f"src {LAN} dst {PART} proto 17 dport 53 dir out priority 150 {ESP}",
            f"src {LAN} dst {REMOTE} proto 6 dir out priority 300",
            f"src 10.1.0.1 dst 10.2.0.3 proto 17 dport 4500 dir out priority 400",
            *both_ways(LAN, REMOTE, f"priority 1000 {ESP}"),
            f"src 10.1.0.1 dst 10.2.0.3 proto 17 dport 4501 dir out priority 1500",
            f"src 0.0.0.0/0 dst 0.0.0.0/0 proto 17 dport 500 dir out priority 2000 action block",
        ],
        protected=[*flows("10.2.0.1"), out("10.2.7.1", port=53), out("10.2.0.3", port=4501), out("10.2.0.4", port=4500),
                   into("10.2.0.1", port=501)],
        passing=[out("10.2.0.1", port=500), into("10.2.0.1", port=500), out("10.2.0.1", "tcp"),
                 out("10.2.0.3", port=4500), out("10.3.0.1"), out("2001:db8:2::1", port=500)],
        blocked=[out("10.2.0.1", port=53), out("10.3.0.1", port=500)],
    ),
    Table(
        "marks",
        policies=[
            f"src {LAN} dst {REMOTE} dir out priority 1000 mark 0x10 mask 0xff {ESP}",
            f"src {LAN} dst {REMOTE} dir out priority 2000 mark 0 mask 0xf",
            f"src {LAN} dst {REMOTE} dir out priority 3000 {ESP}",
            f"src {REMOTE} dst {LAN} dir in priority 1000 mark 0x10 mask 0xff",
            f"src {REMOTE} dst {LAN} dir in priority 2000 mark 0 mask 0xff {ESP}",
        ],
        protected=[out("10.2.0.1", mark=0x10), out("10.2.0.1", mark=0x110), out("10.2.0.1", mark=0x11),
                   into("10.2.0.1")],
        passing=[out("10.2.0.1"), out("10.2.0.1", mark=0x20), out("10.3.0.1", mark=0x10)],
    ),
    Table(
        "interfaces",
        policies=[
            f"src {LAN} dst {REMOTE} dir out priority 1000 if_id 0x2a {ESP}",
            f"src {LAN} dst {PART} dir out priority 2000 {ESP}",
            f"src {REMOTE} dst {LAN} dir in priority 1000 if_id 0x2a action block",
        ],
        protected=[out("10.2.7.1")],
        passing=[out("10.2.0.1"), into("10.2.0.1"), into("10.2.7.1")],
    ),
    Table(
        "sub policies",
        policies=[
            f"src {LAN} dst {REMOTE} dir out ptype sub priority 2000 {ESP}",
            f"src {LAN} dst {PART} dir out ptype sub priority 1000 action block",
            f"src {LAN} dst 10.3.0.0/16 dir out ptype sub priority 3000",
            f"src {LAN} dst 10.0.0.0/8 dir out priority 1000",
            f"src {REMOTE} dst {LAN} dir in ptype sub priority 4000 {ESP}",
            f"src {REMOTE} dst {LAN} dir in priority 1000",
        ],
        protected=[out("10.2.0.1"), into("10.2.0.1")],
        passing=[out("10.3.0.1"), out("10.4.0.1")],
        blocked=[out("10.2.7.1")],
        needs_sub_policies=True,
    ),
    Table(
        "high priorities",
        policies=[
            *both_ways(LAN, "10.2.8.0/24", "priority 5"),
            *both_ways(LAN, PART, "priority 0x80000000"),
            *both_ways(LAN, REMOTE, f"priority 0x80000001 {ESP}"),
            *both_ways(LAN, "10.0.0.0/8", "priority 0xfffffffe"),
            *both_ways(LAN, "0.0.0.0/0", "priority 0xffffffff action block"),
        ],
        protected=flows("10.2.0.1"),
        passing=[*flows("10.2.7.1"), *flows("10.2.8.1"), *flows("10.3.0.1")],
        blocked=flows("192.0.2.9"),
    ),
    Table(
        "low and high priorities",
        policies=[
            *both_ways(LAN, PART, "priority 6 action block"),
            *both_ways(LAN, REMOTE, f"priority 7 {ESP}"),
            *both_ways(LAN, "10.0.0.0/8", "priority 0x80000006"),
        ],
        protected=flows("10.2.0.1"),
        passing=flows("10.3.0.1"),
        blocked=flows("10.2.7.1"),
    ),
    Table(
        "priorities side by side",
        policies=[
            *both_ways(LAN, PART, f"priority 6 {OTHER_ESP}"),
            *both_ways(LAN, REMOTE, f"priority 7 {ESP}"),
            *both_ways(LAN, "10.2.0.0/15", "priority 8"),
            *both_ways(LAN, "10.0.0.0/14", "priority 9 action block"),
            *both_ways(LAN, "10.0.0.0/8", "priority 10"),
        ],
        protected=[*flows("10.2.0.1"), *flows("10.2.7.1")],
        passing=[*flows("10.3.0.1"), *flows("10.4.0.1")],
        blocked=flows("10.0.0.1"),
    ),
    Table(
        "high priorities side by side",
        policies=[
            *both_ways(LAN, PART, f"priority 7 {OTHER_ESP}"),
            *both_ways(LAN, REMOTE, f"priority 0x7fffffff {ESP}"),
            *both_ways(LAN, "10.2.0.0/15", "priority 0x80000000"),
            *both_ways(LAN, "10.0.0.0/14", "priority 0x80000001 action block"),
            *both_ways(LAN, "10.0.0.0/8", "priority 0x80000007"),
        ],
        protected=[*flows("10.2.0.1"), *flows("10.2.7.1")],
        passing=[*flows("10.3.0.1"), *flows("10.4.0.1")],
        blocked=flows("10.0.0.1"),
    ),
    Table(
        "a selector in every direction",
        policies=[
            f"src 0.0.0.0/0 dst 0.0.0.0/0 dir out priority 1000 {ESP}",
            "src 0.0.0.0/0 dst 0.0.0.0/0 dir in priority 1000",
            "src 0.0.0.0/0 dst 0.0.0.0/0 dir fwd priority 1000 action block",
        ],
        protected=[out("10.2.0.1")],
        passing=[into("10.2.0.1")],
        blocked=[through("10.2.0.1", "10.1.0.9")],
    ),
    Table(
        "a selection before others",
        options=("--match=reqid=1",),
        policies=[
            *both_ways(LAN, REMOTE, f"priority 1000 {ESP}"),
            *both_ways(LAN, "10.0.0.0/8", "priority 2000"),
            *both_ways(LAN, "10.0.0.0/7", f"priority 3000 {OTHER_ESP}"),
        ],
        protected=flows("10.2.0.1"),
        passing=flows("10.3.0.1"),
        unheld=flows("11.0.0.1"),
    ),
    Table(
        "a selection behind others",
        options=("--exclude=reqid=2", f"--exclude=dst={PART}", f"--exclude=src={PART}"),
        policies=[
            *both_ways(LAN, PART, "priority 1000"),
            *both_ways(LAN, "10.2.8.0/24", f"priority 1000 {OTHER_ESP}"),
            *both_ways(LAN, REMOTE, f"priority 2000 {ESP}"),
            *both_ways(LAN, "10.0.0.0/8", "priority 3000"),
        ],
        protected=flows("10.2.0.1"),
        passing=[*flows("10.2.7.1"), *flows("10.3.0.1")],
        unheld=flows("10.2.8.1"),
    ),
    Table(
        "a selection between others",
        options=("--match=priority=2000-3000",),
        policies=[
            *both_ways(LAN, PART, "priority 1000"),
            *both_ways(LAN, REMOTE, f"priority 2000 {ESP}"),
            *both_ways(LAN, "10.3.0.0/16", "priority 2500"),
            *both_ways(LAN, "10.0.0.0/14", "priority 3000 action block"),
            *both_ways(LAN, "10.0.0.0/8", f"priority 4000 {OTHER_ESP}"),
            *both_ways(LAN, "0.0.0.0/0", "priority 5000"),
        ],
        protected=flows("10.2.0.1"),
        passing=[*flows("10.2.7.1"), *flows("10.3.0.1"), *flows("192.0.2.9")],
        blocked=flows("10.0.0.1"),
        unheld=flows("10.7.0.1"),
    ),
    Table(
        "a selection of one direction",
        options=("--match=dir=out",),
        policies=[
            *both_ways(LAN, REMOTE, f"priority 1000 {ESP}"),
            *both_ways(LAN, "10.0.0.0/8", "priority 2000"),
        ],
        protected=[out("10.2.0.1")],
        passing=flows("10.3.0.1"),
        unheld=[into("10.2.0.1"), through("10.2.0.1", "10.1.0.9")],
    ),
]

# Number of priorities, more than xfrmctl distinguishes.
MANY = 150

MANY_PRIORITIES = Table(
    "many priorities",
    policies=[
        *(f"src {LAN} dst 10.2.{number}.0/24 dir out priority {2 * number} {ESP if number % 2 else ''}"
          for number in range(MANY)),
        f"src {LAN} dst {REMOTE} dir out priority {2 * MANY}",
        f"src {LAN} dst 10.0.0.0/8 dir out priority {2 * MANY + 1} {ESP}",
        f"src {LAN} dst 0.0.0.0/0 dir out priority {2 * MANY + 2}",
    ],
    protected=[out("10.2.1.1"), out("10.2.77.1"), out("10.2.149.1"), out("10.3.0.1")],
    passing=[out("10.2.0.1"), out("10.2.78.1"), out("10.2.200.1"), out("192.0.2.9")],
)

# Of two policies with one priority, the kernel uses the older one. A hold cannot see which one is older, so it blocks.
OF_ONE_PRIORITY = [
    Table(
        "of one priority, the tunnel first",
        policies=[
            *both_ways(LAN, REMOTE, f"priority 1000 {ESP}"),
            *both_ways(LAN, PART, "priority 1000 action block"),
            *both_ways(LAN, "10.0.0.0/8", "priority 1000"),
        ],
        protected=[*flows("10.2.0.1"), *flows("10.2.7.1")],
        passing=flows("10.3.0.1"),
    ),
    Table(
        "of one priority, the bypass first",
        policies=[
            *both_ways(LAN, PART, "priority 1000"),
            *both_ways(LAN, REMOTE, f"priority 1000 {ESP}"),
        ],
        protected=flows("10.2.0.1"),
        undecided=flows("10.2.7.1"),
    ),
    Table(
        "of one high priority, the tunnel first",
        policies=[
            *both_ways(LAN, REMOTE, f"priority 0x80000000 {ESP}"),
            *both_ways(LAN, "10.0.0.0/8", "priority 0x80000000"),
        ],
        protected=flows("10.2.0.1"),
        passing=flows("10.3.0.1"),
    ),
    Table(
        "of one priority, the selection before others",
        options=("--match=reqid=1",),
        policies=[
            *both_ways(LAN, REMOTE, f"priority 1000 {ESP}"),
            *both_ways(LAN, "10.0.0.0/8", "priority 1000"),
        ],
        protected=flows("10.2.0.1"),
        passing=flows("10.3.0.1"),
    ),
    Table(
        "of one priority, the selection behind others",
        options=("--match=reqid=1",),
        policies=[
            *both_ways(LAN, PART, "priority 1000"),
            *both_ways(LAN, REMOTE, f"priority 1000 {ESP}"),
        ],
        protected=flows("10.2.0.1"),
        undecided=flows("10.2.7.1"),
    ),
]

TABLES = [variant for table in IN_THE_ORDER_OF_PRIORITIES for variant in (table, table.backwards())] + OF_ONE_PRIORITY

# Without the tables that differ only in the order of their policies.
EACH_ONCE = IN_THE_ORDER_OF_PRIORITIES + OF_ONE_PRIORITY
