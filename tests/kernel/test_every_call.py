# SPDX-License-Identifier: GPL-2.0-or-later
"""Every call between the program and the kernel, and between the program and charon, fails in turn. The program ends,
reports what failed and why, and leaves nothing unprotected. The next run completes its work."""

import errno
import itertools
import os
import re
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import living
import netlink
import xfrm
from cases import cases, main
from guard import Guard, is_bypass
from negotiating import NEW, YES, charon, install
from negotiating import sas as sas_known
from program import ANY, PRELOADED, Fault, Faults, arm, hold, run
from shadows import KEPT
from tables import ESP
from tap import comment, contains, equal
from vici_server import Stream

VICI_SOCKET, VICI_CONNECT, VICI_SEND, VICI_RECV = 1, 2, 3, 4

# The names of calls in titles.
CALLED = {"send": "message to the kernel", "receive": "answer of the kernel's", "socket": "socket()", "bind": "bind()",
          "event": "event of the kernel's", "vici": "call on charon's socket"}

OUT = netlink.DIRS["out"]

# Bit in the SPIs of guard SAs.
GUARD_SA = 1 << 31

# Offset in bytes of the SPI in a struct xfrm_user_tmpl.
SPI_OF_TEMPLATE = 16

# Each call fails in one of every STRIDE ways, and the next call in other ones. Sanitizers are slow: with them, each
# call fails in fewer ways. With $ALL_WAYS, each call fails in every way.
STRIDE = 1 if os.environ.get("ALL_WAYS") else 10 if "libasan" in PRELOADED else 2


class Way(NamedTuple):
    """A way in which a call can fail. The message about it has to contain one of the reasons."""
    effect: str
    value: int = 0
    reasons: tuple = ()


def failing(code, *reasons):
    return Way("fail", code, (os.strerror(code), *reasons))


UNNOTICED = [Way("fail", errno.EINTR), Way("short")]
SENDS = [failing(errno.ENOBUFS), Way("refuse", errno.ENOMEM, ("Cannot allocate memory",)),
         Way("refuse", errno.EPERM, ("Operation not permitted", "CAP_NET_ADMIN is needed"))]
RECEIVES = [failing(errno.ENOBUFS, "Could not read all "), Way("fail", errno.EINTR),
            Way("late", 0, ("Connection timed out",)),
            Way("short", 4, ("Bad message",)), Way("short", 0, ("Bad message",))]

KERNEL = [("send", ANY, SENDS), ("receive", ANY, RECEIVES), ("socket", ANY, [failing(errno.EMFILE)]),
          ("bind", ANY, [failing(errno.ENOMEM)])]
EVENTS = [("event", ANY, [failing(errno.ENOBUFS), Way("short", 4), failing(errno.ENOMEM)])]
CHARON = [("vici", VICI_SOCKET, [failing(errno.EMFILE)]),
          ("vici", VICI_CONNECT, [failing(errno.ECONNREFUSED), Way("fail", errno.EINTR)]),
          ("vici", VICI_SEND, [Way("fail", errno.EPIPE, ("Connection reset", "it hung up")), *UNNOTICED]),
          ("vici", VICI_RECV, [failing(errno.ECONNRESET, "it hung up"), *UNNOTICED,
                               Way("later", 120_000, ("Connection timed out", "not answer", "in time"))])]


class Scenario(NamedTuple):
    name: str
    words: str
    make: object                # makes SAs or routes
    policies: object
    end: object                 # returns the state that every run has to leave
    after: object = None        # returns that state for runs after a fault whose effect is uncertain
    faults: tuple = ()          # faults that belong to the scenario
    serve: object = nullcontext     # runs a charon, and yields a further argument
    guards: object = lambda: set()  # returns the keys that must never be unprotected
    status: int = 0
    calls: list = KERNEL
    slow: int = 1               # factor by which fewer faults are tried
    without: str = ""           # arguments of a run whose calls another scenario covers


def sas():
    netlink.allocate_spi("192.0.2.1", "192.0.2.2", 0x1000, reqid=1)
    netlink.allocate_spi("192.0.2.2", "192.0.2.1", 0x1001, reqid=1, mark=(0x10, 0xff))
    netlink.allocate_spi("2001:db8::1", "2001:db8::2", 0x1002, proto="ah", reqid=1)


def policies():
    """Adds policies of all kinds."""
    xfrm.add_policies(
        f"src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 2000 {ESP}",
        f"src 10.2.0.0/16 dst 10.1.0.0/16 dir in priority 2000 mark 0x10 mask 0xff {ESP}",
        f"src 10.2.0.0/16 dst 10.1.0.0/16 dir fwd priority 2000 if_id 0x2a {ESP}",
        "src 10.1.0.0/16 dst 10.2.3.0/24 dir out priority 1000",
        "src 2001:db8:1::/48 dst ::/0 dir out priority 1000 action block")


def acquires():
    """Creates pending acquires of a policy, and removes the policy."""
    if "uplink" not in xfrm.ip("link"):
        xfrm.make_uplink()
    policy = "dst 10.9.0.0/16 dir out tmpl proto esp mode transport reqid 9"
    xfrm.add_policies(policy)
    xfrm.acquire("10.9.0.1", "10.9.0.2", "10.9.0.3")
    netlink.flush_policies()


def half_covered():
    policies()
    there = netlink.policies()
    hold()
    for policy in there[::2]:
        policy.add()


def connections():
    """Adds policies of a connection with SAs and of one without."""
    xfrm.add_policies(*living.policies(1, living.spi_out(1)), *living.policies(2))


def kept():
    living.make(1)
    living.xfrmctl_living("flush", "--keep")
    netlink.flush_sas()


def nothing():
    pass


def sas_of(*numbers):
    def make():
        for number in numbers:
            living.make_sas(number)
    return make


def routes():
    xfrm.ip("-batch", "-", stdin="""
        link set lo up
        route flush table 220
        route add 10.2.0.0/24 dev lo proto static table 220
        route add 10.3.0.0/24 dev lo proto static table 220
    """)
    rules = xfrm.ip("rule").count("lookup 220")
    xfrm.ip("-batch", "-", stdin="rule delete table 220\n" * rules + "rule add priority 220 table 220\n")


def routes_armed():
    routes()
    arm("--routes")


def left():
    """Returns all that is left, without times, indices and counters."""
    return {(policy.key, policy.user, policy.priority, policy.action, policy.flags, policy.templates,
             policy.lifetime[4:]) for policy in netlink.policies()} | {("SA", spi) for spi in netlink.spis()}


def left_of_routes():
    return set(xfrm.ip("-d", "-batch", "-", stdin="route show table 220\nrule\n").splitlines())


def held():
    """Returns the policies that are left, without the places of shadows. A shadow that was made while a policy could
    not be removed stays right behind the place of that policy. Checks that the SAs of kept policies are there."""
    spis = netlink.spis()
    for policy in netlink.policies():
        if policy.user == KEPT and policy.dir == OUT:
            contains(spis, int.from_bytes(policy.templates[SPI_OF_TEMPLATE:][:4], "big"))
    return {(policy.key, policy.user == 0, is_bypass(policy)) for policy in netlink.policies()}


def closed():
    """Returns the keys of policies that protect or block."""
    return {policy.key for policy in netlink.policies() if not is_bypass(policy)}


def settled():
    """Returns the kept policies and the guard SAs that are left. There are none after a handover or a hold."""
    return {policy.key for policy in netlink.policies() if policy.user == KEPT} | {
        spi for spi in netlink.spis() if spi & GUARD_SA}


def there():
    """Returns the connections that have new SAs."""
    return [number for number in (1,) if NEW + living.spi_in(number) in netlink.spis()]


@contextmanager
def negotiating():
    def initiate(arguments):
        number = int(arguments["child"].removeprefix("site"))
        if number not in there():
            install(number)
        return YES
    with charon((1,), initiate=initiate, list_sas=lambda _: sas_known(*there()),
                list_policies=Stream("list-policy", []), get_conns={"conns": ["site1"]},
                version={"daemon": "charon", "version": "1"}, stats={"uptime": {"running": "1 second"}}) as server:
        yield server.option


SCENARIOS = [
    Scenario("flush", "flush", sas, policies, left),
    Scenario("flush of a selection", "flush --exclude=reqid=77", sas, policies, left),
    Scenario("flush --hold", "flush --hold", sas, policies, left, held, guards=closed),
    Scenario("flush --keep", "flush --keep", sas_of(1), connections, left, held, living.LIVING, guards=closed),
    Scenario("arm", "arm", sas, policies, left, guards=closed),
    Scenario("release", "release", sas, half_covered, left),
    Scenario("release of acquires", "release", acquires, half_covered, left),
    Scenario("release --grace", "release --grace=1h", sas, half_covered, left, guards=closed),
    Scenario("handover", "handover", sas_of(1), kept, left, settled, (living.MATURE,), negotiating, closed,
             calls=KERNEL + EVENTS, slow=2),
    Scenario("handover", "handover --timeout=100ms", sas_of(1), kept, left, settled, (living.MATURE,), negotiating,
             closed, calls=CHARON, slow=2),
    # The SAs of 1 are kept, those of 2 are orphans.
    Scenario("status", "status --json", sas_of(1, 2), kept, left, None, (living.MATURE,), negotiating, closed, 4,
             calls=KERNEL + CHARON),
    Scenario("flush --routes", "flush --routes", routes, nothing, left_of_routes, without="flush"),
    Scenario("flush --hold --routes", "flush --hold --routes", routes, nothing, left_of_routes, without="flush --hold"),
    Scenario("arm --routes", "arm --routes", routes, nothing, left_of_routes, without="arm"),
    Scenario("release --routes", "release --routes --grace=1h", routes_armed, nothing, left_of_routes,
             without="release"),
]


def figures(result):
    """Returns the output without the time that the run took."""
    return re.sub(r"[0-9.]+ ms", "", result.out)


class Runs:
    """Runs of one scenario."""

    def __init__(self, scenario):
        self.scenario = scenario
        scenario.policies()
        self.policies = netlink.policies()
        self.start()
        result = self.go()
        self.out = figures(result)
        equal(result.status, scenario.status, f"exit status ({result})")
        self.expected = {end: end() for end in (scenario.end, scenario.after) if end}

    def start(self):
        """Restores the state at the beginning."""
        xfrm.clear()
        self.scenario.make()
        for policy in self.policies:
            policy.add()

    def go(self, *faults):
        # With charon, the number of calls is not always the same.
        sure = len(faults) if self.scenario.serve is nullcontext else 0
        with self.scenario.serve() as option, Faults(*faults, *self.scenario.faults, sure=sure) as active:
            words = [*self.scenario.words.split(), *([option] if option else [])]
            result = run(*words, env=active.env)
            self.counts = [active.count(number) for number in range(len(faults))]
            return result

    def count(self, call, kind):
        """Returns how many of these calls another scenario covers, and how many there are."""
        self.start()
        self.go(Fault(call, kind, "note"))
        [count] = self.counts
        if not self.scenario.without:
            return 0, count
        with Faults(Fault(call, kind, "note")) as active:
            run(*self.scenario.without.split(), env=active.env)
            return active.count(), count

    def check(self, in_doubt, what):
        end = in_doubt and self.scenario.after or self.scenario.end
        found, expected = end(), self.expected[end]
        equal((found - expected, expected - found), (set(), set()), f"too much and too little at the end of {what}")

    def fail(self, fault, reasons):
        scenario = self.scenario
        self.start()
        with Guard(scenario.guards()) as guard:
            result = self.go(fault)
            guard.check(f"({result})")
            if result.status == scenario.status:
                self.check(figures(result) != self.out, f"a run that says that all went well ({result})")
                return
            equal(result.status, 1, f"exit status ({result})")
            lines = result.err.splitlines()
            assert lines and all(line.startswith("xfrmctl: ") for line in lines), f"no sentence: {result}"
            assert any(reason in result.err for reason in reasons), f"none of {reasons} is said: {result}"
            again = self.go()
            guard.check(f"(a second run, {again} behind {result})")
            equal(again.status, scenario.status, f"exit status of a second run ({again} behind {result})")
            in_doubt = scenario.after is held or fault.call == "vici" or fault.effect in ("refuse", "late")
            self.check(in_doubt, f"a second run ({again} behind {result})")


@cases([(scenario.name, CALLED[call], scenario, call, kind, ways) for scenario in SCENARIOS
        for call, kind, ways in scenario.calls])
def each_in_turn(name, called, scenario, call, kind, ways):
    """{0}: each {1} fails in turn"""
    runs = Runs(scenario)
    first, last = runs.count(call, kind)
    comment(f"{last - first} calls")
    failures = []
    for number, (which, way) in itertools.product(range(first + 1, last + 1), enumerate(ways)):
        if (number + which) % min(STRIDE * scenario.slow, len(ways)):
            continue
        fault = Fault(call, kind, way.effect, way.value, number, number)
        try:
            runs.fail(fault, way.reasons)
        except AssertionError as failure:
            failures.append(f"{fault}: {failure}")
    assert last > first, "there was no such call"
    assert not failures, "\n".join([f"{len(failures)} of the faults:", *failures])


main()
