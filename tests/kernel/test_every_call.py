# SPDX-License-Identifier: GPL-2.0-or-later
"""Every call between the program and the kernel, and between it and charon, fails in turn, in every way in which it can:
the program ends, says what failed and why, leaves nothing open, and the next run completes the work."""

import errno
import json
import os
import re
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import living
import netlink
import xfrm
from guard import Guard
from negotiating import NEW, charon, install, sas, YES
from program import ANY, Fault, Faults, arm, hold, run, xfrmctl_with
from tables import ESP
from tap import Skip, cases, equal, main

VICI_SOCKET, VICI_CONNECT, VICI_SEND, VICI_RECV = 1, 2, 3, 4

# What a fault is, and what a sentence says about it: one of these.
REFUSED = [(effect, code, (os.strerror(code), "Not permitted")) for effect, code in (
    ("refuse", errno.ENOMEM), ("refuse", errno.EPERM))]
UNSENT = [("fail", errno.ENOBUFS, (os.strerror(errno.ENOBUFS),))]
CUT = ("Bad message", "Message too long")
LOST = [("fail", errno.ENOBUFS, (os.strerror(errno.ENOBUFS), "changed during each")),
        ("fail", errno.EINTR, ()),
        ("late", 0, ("Connection timed out",)),
        ("short", 4, CUT), ("short", 0, CUT),
        ("interrupt", 0, ("changed",))]
NONE_LEFT = [("fail", errno.EMFILE, ("Too many open files",))]
ADDRESS = [("fail", errno.ENOMEM, ("Cannot allocate memory",))]

KERNEL = [("send", ANY, UNSENT + REFUSED), ("receive", ANY, LOST), ("socket", ANY, NONE_LEFT), ("bind", ANY, ADDRESS)]
EVENTS = [("event", ANY, [("fail", errno.ENOBUFS, ()), ("short", 4, ()), ("fail", errno.ENOMEM, ("Cannot allocate memory",))])]
CHARON = [("vici", VICI_SOCKET, NONE_LEFT),
          ("vici", VICI_CONNECT, [("fail", errno.ECONNREFUSED, ("Connection refused", "not answer")), ("fail", errno.EINTR, ())]),
          ("vici", VICI_SEND, [("fail", errno.EPIPE, ("Connection reset",)), ("fail", errno.EINTR, ()), ("short", 0, ())]),
          ("vici", VICI_RECV, [("fail", errno.ECONNRESET, ("Connection reset",)), ("fail", errno.EINTR, ()),
                               ("short", 0, ()), ("later", 120_000, ("Connection timed out", "in time"))])]


class Scenario(NamedTuple):
    name: str
    words: str
    prepare: object
    end: object                 # what has to be the same at the end
    faults: tuple = ()          # that belong to it
    serve: object = nullcontext     # what gives further words
    guards: object = lambda: set()  # what may never be open, by its keys
    status: int = 0
    calls: list = KERNEL


def policies():
    """What a policy can be, and its SAs."""
    xfrm.add_policies(
        f"src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 2000 {ESP}",
        f"src 10.2.0.0/16 dst 10.1.0.0/16 dir in priority 2000 mark 0x10 mask 0xff {ESP}",
        f"src 10.2.0.0/16 dst 10.1.0.0/16 dir fwd priority 2000 if_id 0x2a {ESP}",
        "src 10.1.0.0/16 dst 10.2.3.0/24 dir out priority 1000",
        "src 2001:db8:1::/48 dst ::/0 dir out priority 1000 action block")
    netlink.allocate_spi("192.0.2.1", "192.0.2.2", 0x1000, reqid=1)
    netlink.allocate_spi("192.0.2.2", "192.0.2.1", 0x1001, reqid=1, mark=(0x10, 0xff))
    netlink.allocate_spi("2001:db8::1", "2001:db8::2", 0x1002, proto="ah", reqid=1)


def routes():
    policies()
    xfrm.ip("-batch", "-", stdin="route flush table 220\nlink set lo up\n"
            "route add 10.2.0.0/24 dev lo proto static table 220\n"
            "route add 10.3.0.0/24 dev lo proto static table 220\n")
    while "lookup 220" in xfrm.ip("rule"):
        xfrm.ip("rule", "delete", "table", "220")
    xfrm.ip("rule", "add", "priority", "220", "table", "220")


def half_covered():
    policies()
    there = netlink.policies()
    hold()
    for policy in there[::2]:
        policy.add()


def half_covered_routes():
    routes()
    there = netlink.policies()
    arm("--routes")
    hold("--routes")
    for policy in there[::2]:
        policy.add()


def left():
    """But for times, indices and counters, everything."""
    return {(policy.key, policy.user, policy.priority, policy.action, policy.flags, policy.templates,
             policy.lifetime[4:]) for policy in netlink.policies()}, sorted(xfrm.numbers(xfrm.sa_lines(), "spi"))


def left_with_routes():
    return left(), xfrm.ip("-d", "route", "show", "table", "all", "proto", "static"), xfrm.ip(
        "-d", "route", "show", "table", "all", "proto", "88"), xfrm.ip("rule")


def closed():
    """What protects or blocks."""
    with Guard() as guard:
        return guard.guarded


def connections():
    living.make(1)
    xfrm.add_policies(*living.policies(2))


def kept():
    living.make(1, 2)
    living.xfrmctl_living("flush", "--keep")


def there():
    """The connections that have new SAs."""
    return [number for number in (1, 2) if NEW + living.spi_in(number) in living.spis()]


@contextmanager
def negotiating():
    def initiate(arguments):
        number = int(arguments["child"].removeprefix("site"))
        if number not in there():
            install(number)
        return YES
    with charon((1, 2), initiate=initiate, list_sas=lambda _: sas(*there()), version={"daemon": "charon", "version": "1"},
                stats={"uptime": {"running": "1 second"}}) as server:
        yield server.option


SCENARIOS = [
    Scenario("flush", "flush", policies, left),
    Scenario("flush of a selection", "flush --exclude=reqid=77 --routes", routes, left_with_routes),
    Scenario("flush --hold", "flush --hold --routes", routes, left_with_routes, guards=closed),
    Scenario("flush --keep", "flush --keep", connections, left, living.LIVING, guards=closed),
    Scenario("arm", "arm --routes", routes, left_with_routes, guards=closed),
    Scenario("release", "release", half_covered, left),
    Scenario("release --grace", "release --grace=1h --routes", half_covered_routes, left_with_routes, guards=closed),
    Scenario("handover", "handover", kept, left, (living.MATURE,), negotiating, closed, calls=KERNEL + EVENTS + CHARON),
    Scenario("status", "status --json", kept, left, (living.MATURE,), negotiating, closed, 4, calls=KERNEL + CHARON),
]


def start(scenario):
    """From the beginning."""
    xfrm.clear()
    scenario.prepare()


def go(scenario, *faults, sure=None):
    with scenario.serve() as more:
        with Faults(*faults, *scenario.faults, sure=len(faults) if sure is None else sure) as active:
            words = [*scenario.words.split(), *([more] if more else [])]
            result = run(*words, env=active.env)
            return result, [active.count(number) for number in range(len(faults))]


def one(scenario, fault, reasons, undisturbed):
    start(scenario)
    with Guard(scenario.guards()) as guard:
        result, _ = go(scenario, fault)
        guard.check("in the run with the fault")
        if result.status == scenario.status:
            equal(scenario.end(), undisturbed, f"the end of a run that says that all went well ({result})")
        else:
            equal(result.status, 1, f"exit status ({result})")
            lines = result.err.splitlines()
            assert lines and all(line.startswith("xfrmctl: ") for line in lines), f"no sentence: {result}"
            assert any(reason in result.err for reason in reasons), f"none of {reasons} is said: {result}"
        again, _ = go(scenario)
        guard.check("in the run behind it")
    equal(again.status, scenario.status, f"exit status of the run behind it ({again}), which was {result}")
    equal(scenario.end(), undisturbed, f"the end of the run behind it, which was {result}")


@cases([(scenario.name, call, kind, effects, scenario) for scenario in SCENARIOS for call, kind, effects in scenario.calls])
def each_in_turn(name, call, kind, effects, scenario):
    """{0}: each of its calls fails in turn: {1} {2}"""
    start(scenario)
    result, [count] = go(scenario, Fault(call, kind, "note"), sure=0)
    equal(result.status, scenario.status, f"exit status ({result})")
    undisturbed = scenario.end()
    failures = []
    for number in range(1, count + 1):
        for effect, value, reasons in effects:
            fault = Fault(call, kind, effect, value, number, number)
            try:
                one(scenario, fault, reasons, undisturbed)
            except AssertionError as failure:
                failures.append(f"{fault}: {failure}")
    print(f"# {name} {call} {kind}: {count}")
    assert count, "there was no such call"
    assert not failures, "\n".join([f"{len(failures)} faults:", *failures])


main()
