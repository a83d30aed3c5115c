# SPDX-License-Identifier: GPL-2.0-or-later
"""handover beside a server that speaks for charon: what it negotiates takes over, everything else is held or goes."""

import errno
import itertools
import threading
import time
from contextlib import contextmanager

import living
import netlink
import xfrm
from cases import case, cases, main
from living import HERE, THERE, complement, make, make_sas, policies, spi_in, spi_out, spis, xfrmctl_living
from negotiating import NEW, NO, YES, charon, connection, conns, install, replace, sas
from netlink import MSG_DELPOLICY, MSG_DELSA, MSG_GETPOLICY
from program import ANY, Fault, Faults, Steps, keep, release, run, until, xfrmctl
from shadows import CLOSE, GRACE, HOLD, KEEP, make_shadow, real_policies, shadows
from tables import flows
from tap import contains, equal
from vici_server import HANG_UP, Stream
from wire import BLOCKED, PROTECTED, Wire

LIVES = flows("10.11.0.1")

# Behind all that is protected.
BYPASS = ["src 10.1.0.0/16 dst 10.0.0.0/8 dir out priority 9000", "src 10.0.0.0/8 dst 10.1.0.0/16 dir in priority 9000",
          "src 10.0.0.0/8 dst 10.1.0.0/16 dir fwd priority 9000"]


# As many turns of the program's loop are enough.
EVENTS = 10

# So many questions come at the same time, or never.
BARRIER_SECONDS = 15


def kept(*numbers):
    """Connections that were kept, and SAs and policies of theirs alone."""
    make(*numbers)
    xfrmctl_living("flush", "--keep")
    equal((len(shadows(KEEP)), len(shadows(HOLD)), len(spis())), (3 * len(numbers),) * 3, "what is kept")


def wait_over(seconds):
    """Until the kernel has removed a policy that was added now, for so many seconds."""
    xfrm.add_policies(f"src 10.98.0.0/16 dst 10.99.0.0/16 dir out limit time-hard {seconds}")
    with_time = [policy for policy in netlink.policies() if policy.lifetime[5] == seconds and not policy.user]
    equal(len(with_time), 1, "policies of that time")
    until(lambda: not any(policy.key == with_time[0].key for policy in netlink.policies()), "the time is over")


def kept_beside_bypass():
    """Connection 1 is kept, and policies of somebody else's stay behind it."""
    make(1)
    xfrm.add_policies(*BYPASS)
    xfrmctl_living("flush", "--keep", "--exclude=priority=9000")


def handover(server, *options, status=0, faults=()):
    """The refusals of stoppers are not needed any more."""
    return living.xfrmctl_with([living.MATURE, *faults], "-v", "handover", getattr(server, "option", server), *options,
                               status=status)


def asked(server):
    return [arguments["child"] for name, arguments in server.seen if name == "initiate"]


def old(number):
    return {spi_out(number), spi_in(number), complement(spi_out(number))}


def new(*numbers):
    return {NEW + spi for number in numbers for spi in (spi_out(number), spi_in(number))}


def expect(sas_left, real=0, held=0):
    """The shadows that block are the release's, or go by themselves: handover leaves them."""
    equal((spis(), len(shadows(KEEP)), len(real_policies()), len(shadows())), (sas_left, 0, real, held),
          "SAs, kept shadows, policies, and shadows that block")


@case
def handed_over():
    """charon is asked for each connection; then its SAs and policies are all that is left."""
    kept(1, 2)
    with charon((1, 2)) as server:
        result = handover(server)
    equal(asked(server), ["site1", "site2"], "what charon was asked for")
    equal({arguments["timeout"] for name, arguments in server.seen if name == "initiate"}, {"-1"}, "how long charon is to wait")
    expect(new(1, 2), real=6, held=6)
    contains(result.out, "Handed over 2 of 2 connections in ", "; 0 fell back to hold, 0 not configured. Removed 4 old SAs.")


@case
def behind_traps():
    """The same when charon has trap policies of its connections by then."""
    kept(1)
    xfrm.add_policies(*policies(1))
    with charon() as server:
        handover(server)
    expect(new(1), real=3, held=3)


@case
def other_reqid():
    """The same when charon has another reqid for the connection now."""
    kept(1)
    with charon(initiate=lambda _: install(1, 9) or YES) as server:
        handover(server)
    expect(new(1), real=3, held=3)


@case
def by_itself():
    """What charon has brought up by itself is through at once; nobody asks for it."""
    kept(1)
    install(1)
    with charon(list_sas=sas(1)) as server:
        handover(server)
    equal(asked(server), [], "what charon was asked for")
    expect(new(1), real=3, held=3)


@case
def under_way():
    """What charon is at already is waited for, and not asked for."""
    kept(1)
    coming = Stream("list-sa", [{"site1": {"state": "CONNECTING", "tasks-active": ["CHILD_CREATE"], "child-sas": {}}}])
    timer = threading.Timer(0.2, install, (1,))
    with charon(list_sas=coming) as server:
        timer.start()
        handover(server)
        timer.join()
    equal(asked(server), [], "what charon was asked for")
    expect(new(1), real=3, held=3)


@case
def removed():
    """Of a connection that is not configured the old SAs go at once, and its traffic is blocked: it may be a mistake."""
    kept(1, 2)
    with charon((2,)) as server:
        result = handover(server)
    equal(asked(server), ["site2"], "what charon was asked for")
    expect(new(2), real=3, held=6)
    contains(result.out, "Handed over 1 of 2 connections", "1 not configured")


@cases([("GRACE", GRACE), ("CLOSE", CLOSE)])
def removed_with(name, tag):
    """The shadows of a connection that is not configured stay, those too that carry the tag {0}."""
    kept(1)
    for policy in shadows(HOLD):
        make_shadow(policy, tag, seconds=3600 if tag == GRACE else 0)
        policy.delete()
    with charon(()) as server:
        handover(server)
    expect(set(), held=3)
    equal(len(shadows(tag)), 3, "the shadows")


@case
def incomplete():
    """When charon does not tell of all its connections none counts as removed: what is unknown is held."""
    kept(1)
    with charon((), get_conns={"conns": ["site1"]}) as server:
        handover(server, "--timeout=0")
    expect(set(), held=3)


@case
def refused_by_charon():
    """What charon cannot begin with is held when its time is over; the others go on meanwhile."""
    kept(1, 2)

    def initiate(arguments):
        if arguments["child"] == "site1":
            return NO
        install(2)
        return YES
    with charon((1, 2), initiate=initiate) as server:
        result = handover(server, "--timeout=300ms")
    expect(new(2), real=3, held=6)
    contains(result.err, "charon does not begin with site1: CHILD_SA config not found",
             "10.1.0.0/16 → 10.11.0.0/16 (192.0.2.1 → 198.51.100.1, reqid 1) is held: there are no new SAs of it after 300ms")
    contains(result.out, "Handed over 1 of 2 connections", "1 fell back to hold")


@case
def half():
    """A policy of charon's whose SA is not there yet does not count."""
    kept(1)
    with charon(initiate=lambda _: replace(policies(1, NEW + spi_out(1)), 1, 1) or YES) as server:
        handover(server, "--timeout=300ms")
    expect(set(), real=3, held=3)


@case
def half_then_whole():
    """It counts as soon as its SA is there."""
    kept(1)

    def initiate(_):
        replace(policies(1, NEW + spi_out(1)), 1, 1)
        threading.Timer(0.2, netlink.allocate_spi, (HERE, THERE, NEW + spi_out(1)), {"reqid": 1}).start()
        return YES
    # An SA that is added is an event, a larval one is not: this one is of another connection.
    with charon(initiate=initiate) as server:
        handover(server, "--timeout=2s")
    assert not shadows(KEEP), "kept shadows are left"


@case
def still_old():
    """A policy of charon's that names an old SA does not count."""
    kept(1)
    with charon(initiate=lambda _: replace(policies(1, spi_out(1)), 1, 1) or YES) as server:
        handover(server, "--timeout=300ms")
    expect(set(), real=3, held=3)


@case
def only_the_peer():
    """A connection that only the peer can begin is not asked for; it is held when nobody comes."""
    kept(1)
    with charon(list_conns=conns(connection(1, "%any"))) as server:
        handover(server, "--timeout=200ms")
    equal(asked(server), [], "what charon was asked for")
    expect(set(), held=3)


@case
def peer_comes():
    """When the peer begins in time, its new SAs take over."""
    kept(1)
    timer = threading.Timer(0.2, install, (1,))
    with charon(list_conns=conns(connection(1, "%any"))) as server:
        timer.start()
        handover(server)
        timer.join()
    equal(asked(server), [], "what charon was asked for")
    expect(new(1), real=3, held=3)


@case
def rival():
    """A connection whose reqid charon uses for other traffic is asked for, and held soon."""
    kept(1)
    # Connection 5, not kept, has reqid 1 now.
    xfrm.add_policies(*(policy.replace("reqid 5 ", "reqid 1 ") for policy in policies(5)))
    with charon((1, 5), initiate=YES) as server:
        result = handover(server, "--timeout=1min")
    expect(set(), real=3, held=3)
    contains(result.err, "charon uses its reqid for another connection now")


@case
def no_time():
    """With --timeout=0 everything is held at once."""
    kept(1)
    with charon(initiate=YES) as server:
        handover(server, "--timeout=0")
    expect(set(), held=3)


@cases([("with no time", "--timeout=0"), ("with a time", "--timeout=300ms")])
def falls_back_blocked(_, option):
    """What falls back after a release with the shortest grace is blocked, beside another owner's bypass: {0}"""
    with Wire() as wire:
        kept_beside_bypass()
        release("--grace=1s")
        wait_over(2)
        with charon(initiate=NO) as server:
            handover(server, option)
        equal(set(wire.verdicts(LIVES).values()), {BLOCKED}, "the flows")
    expect(set(), real=len(BYPASS), held=3)


@case
def not_configured_blocked():
    """What charon has not loaded is blocked after the release, for its grace, and not open."""
    with Wire() as wire:
        kept_beside_bypass()
        release("--grace=5min")
        with charon(()) as server:
            handover(server)
        equal(set(wire.verdicts(LIVES).values()), {BLOCKED}, "the flows")
    equal([policy.lifetime[5] >= 300 for policy in shadows(GRACE)], [True] * 3, "for how long")


@cases([("there is no socket", None), ("it hangs up at once", {"list_conns": HANG_UP}),
        ("it knows no such command", {"list_conns": b"\0\0\0\1\2"}),
        ("it cannot tell its SAs", {"list_sas": HANG_UP})])
def no_charon(_, commands):
    """When charon cannot be asked ({0}), what is kept is held, and the program says that it failed."""
    kept(1)
    if commands is None:
        result = handover("--socket=/run/nobody.vici", "--timeout=0", status=1)
    else:
        with charon(**commands) as server:
            result = handover(server, "--timeout=0", status=1)
    contains(result.err, "charon does not answer on /", "--socket= names another socket")
    expect(set(), held=3)


@case
def ends_in_the_middle():
    """When charon ends while it is asked, what it has not negotiated is held, and the program says that it failed."""
    kept(1, 2)
    with charon((1, 2), initiate=HANG_UP) as server:
        result = handover(server, "--timeout=300ms", status=1)
    contains(result.err, "charon does not answer any more on /")
    expect(set(), held=6)


@case
def silent():
    """When charon gives no answer, what it has not negotiated is held when its time is over."""
    kept(1, 2)
    with charon((1, 2), initiate=b"") as server:
        handover(server, "--timeout=300ms")
    expect(set(), held=6)


@case
def nothing_kept():
    """Without kept shadows there is nothing to do, and nothing is said; charon is not needed."""
    xfrm.add_policies(*policies(1))
    netlink.allocate_spi(HERE, THERE, spi_out(1), reqid=1)
    result = run("handover", "--socket=/run/nobody.vici")
    equal((result.status, result.out, result.err), (0, "", ""), "the result")
    equal((len(real_policies()), len(spis())), (3, 1), "policies and SAs")


@case
def stoppers_left():
    """Stoppers of an earlier run that did not come to its end go, and the SAs behind them."""
    make_sas(1)
    living.xfrmctl_with([living.MATURE], "handover", "--socket=/run/nobody.vici")
    equal(spis(), set(), "the SAs left")


@case
def others_untouched():
    """SAs and policies of others stay, also of the same reqid between other end points."""
    kept(1)
    netlink.allocate_spi(HERE, "203.0.113.1", 0x5000, reqid=1)
    netlink.allocate_spi(HERE, THERE, 0x5001, reqid=8)
    xfrm.add_policies(*policies(8, 0x5001))
    with charon() as server:
        handover(server)
    expect(new(1) | {0x5000, 0x5001}, real=6, held=3)


@case
def many():
    """Of many connections a bounded number is under way at a time, and all are handed over."""
    numbers = range(1, 61)
    kept(*numbers)
    with charon(numbers) as server:
        handover(server)
    equal(sorted(asked(server)), sorted(f"site{number}" for number in numbers), "what charon was asked for")
    expect(new(*numbers), real=180, held=180)


@case
def bounded():
    """No more than 32 are under way at a time: the next one is asked for when one of them is through or held."""
    numbers, moments = range(1, 41), []
    kept(*numbers)
    with charon(numbers, initiate=lambda _: moments.append(time.monotonic()) or YES) as server:
        handover(server, "--timeout=1s")
    expect(set(), held=120)
    equal(asked(server)[:40], [f"site{number}" for number in numbers], "what charon was asked for")
    # A question is on its way for a moment, from which on its time runs.
    assert moments[32] - moments[31] >= 0.5 > moments[31] - moments[0], f"when it was asked: {moments}"


@case
def slow():
    """While charon takes its time with one connection, another one is not tried again, and the program does nothing."""
    kept(1, 2)
    turned, told = Fault("poll", ANY, "note"), Fault("event", ANY, "note")
    # The time to try site1 again, of which charon has said no, comes meanwhile.
    later = Fault("event", ANY, "later", 400)
    turns = []

    def initiate(arguments):
        if arguments["child"] == "site1":
            return NO if len(asked(server)) == 1 else install(1) or YES
        for number in range(EVENTS):
            xfrm.add_policies(f"src 10.9.{number}.0/24 dst 10.99.0.0/16 dir out action block")
            until(lambda: faults.count(1) > number, "the program has read the event")
            turns.append(faults.count(0))
        install(2)
        return YES
    with Faults(turned, told, later, living.MATURE) as faults, charon((1, 2), initiate=initiate) as server:
        xfrmctl("handover", "--timeout=infinity", server.option, env=faults.env)
    equal(asked(server), ["site1", "site2", "site1"], "what charon was asked for")
    assert turns[-1] - turns[0] <= 2 * EVENTS, f"the turns of its loop by each event: {turns}"


def other_peer(number):
    """A connection with a peer of its own."""
    return connection(number, f"198.51.100.{number}")


def family(*numbers):
    """One connection that has all these children."""
    return {"site1": connection(1)["site1"] | {"children": {name: child for number in numbers for name, child in
                                                             connection(number)[f"site{number}"]["children"].items()}}}


class Flight:
    """What charon is asked for at the same time, and the most of it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now, self.most = set(), set()

    @contextmanager
    def of(self, child):
        with self.lock:
            self.now.add(child)
            self.most = max(self.most, set(self.now), key=len)
        yield
        with self.lock:
            self.now.remove(child)


def number_of(arguments):
    return int(arguments["child"].removeprefix("site"))


@case
def several_at_a_time():
    """charon is asked for four connections with different peers at a time, and not for more."""
    numbers, flight, four = range(1, 9), Flight(), threading.Barrier(4)
    kept(*numbers)

    def initiate(arguments):
        with flight.of(arguments["child"]):
            four.wait(BARRIER_SECONDS)
            install(number_of(arguments))
        return YES
    with charon(list_conns=conns(*map(other_peer, numbers)), initiate=initiate) as server:
        handover(server)
    equal((len(flight.most), len(server.connections)), (4, 4), "questions at a time, and connections to charon")
    expect(new(*numbers), real=24, held=24)


@case
def others_meanwhile():
    """While charon takes its time with one connection, all others are handed over, those too that are asked for later."""
    numbers = range(1, 9)
    kept(*numbers)

    def initiate(arguments):
        if arguments["child"] == "site1":
            until(lambda: len(shadows(KEEP)) == 3, "the others are handed over")
        install(number_of(arguments))
        return YES
    with charon(list_conns=conns(*map(other_peer, numbers)), initiate=initiate) as server:
        handover(server, "--timeout=infinity")
    equal(sorted(asked(server)), [f"site{number}" for number in numbers], "what charon was asked for")
    expect(new(*numbers), real=24, held=24)


@case
def in_order():
    """Children of one connection, and of one between the same addresses, are asked for one after another, beside others."""
    numbers, flight = (1, 2, 3, 4), Flight()
    kept(*numbers)
    two = threading.Barrier(2)

    def initiate(arguments):
        with flight.of(arguments["child"]):
            # The other one beside one of these.
            if arguments["child"] in ("site1", "site4"):
                two.wait(BARRIER_SECONDS)
            install(number_of(arguments))
        return YES
    with charon(list_conns=conns(family(1, 2), connection(3), other_peer(4)), initiate=initiate) as server:
        handover(server)
    equal([child for child in asked(server) if child != "site4"], ["site1", "site2", "site3"], "what charon was asked for")
    equal(flight.most, {"site1", "site4"}, "at the same time")
    expect(new(*numbers), real=12, held=12)


@case
def ends_beside_others():
    """When charon ends while it is asked for several, what it has installed is handed over, and the others are held."""
    numbers, three = (1, 2, 3), threading.Barrier(3)
    kept(*numbers)

    def initiate(arguments):
        three.wait(BARRIER_SECONDS)
        if arguments["child"] == "site2":
            install(2)
        return HANG_UP if arguments["child"] == "site1" else b""
    with charon(list_conns=conns(*map(other_peer, numbers)), initiate=initiate) as server:
        result = handover(server, "--timeout=1s", status=1)
    equal(result.err.count("charon does not answer any more on /"), 1, "how often that is said")
    contains(result.out, "Handed over 1 of 3 connections", "2 fell back to hold")
    expect(new(2), real=3, held=9)


@case
def no_answer_in_time():
    """A question that charon does not answer in time is asked again by another client."""
    kept(1, 2)
    # When site2 is there, all the time that charon has for its answer about site1 is over.
    later = Fault("event", ANY, "later", 31_000, 1, 1)

    def initiate(arguments):
        if arguments["child"] == "site1" and asked(server).count("site1") == 1:
            return b""
        until(lambda: "site1" in asked(server), "site1 is asked for")
        threading.Timer(0.2, install, (number_of(arguments),)).start()
        return YES
    with charon(list_conns=conns(other_peer(1), other_peer(2)), initiate=initiate,
                list_sas=lambda arguments: sas(2) if arguments.get("ike") == "site2" else sas()) as server:
        result = handover(server, "--timeout=infinity", faults=[later])
    equal(sorted(asked(server)), ["site1", "site1", "site2"], "what charon was asked for")
    contains(result.err, "charon has no answer about site1: Connection timed out.")
    expect(new(1, 2), real=6, held=6)


@case
def no_client_left():
    """When no client has an answer in time, charon counts as one that does not answer."""
    kept(1, 2)
    # The test makes it when charon has been asked for both.
    later = Fault("event", ANY, "later", 31_000, 1, 1)
    two = threading.Barrier(2, lambda: xfrm.add_policies("src 10.9.0.0/24 dst 10.99.0.0/16 dir out action block"))

    def initiate(_):
        two.wait(BARRIER_SECONDS)
        return b""
    with charon(list_conns=conns(other_peer(1), other_peer(2)), initiate=initiate) as server:
        result = handover(server, "--timeout=32s", status=1, faults=[later])
    contains(result.err, "charon does not answer any more on /", ": Connection timed out.")
    expect(set(), real=1, held=6)


@case
def talks_without_end():
    """While charon sends message after message about one connection, all traffic moves: that of this connection too."""
    kept(1, 2)
    endless = Stream("list-sa", itertools.repeat({"site1": {"state": "ESTABLISHED"}}))
    busy = Stream("list-sa", [{"site1": {"state": "ESTABLISHED"}}])

    def initiate(_):
        until(lambda: ("list-sas", {"ike": "site1"}) in server.seen, "charon is asked about site1")
        install(2)
        until(lambda: len(shadows(KEEP)) == 3, "site2 is handed over")
        install(1)
        return YES
    with charon(list_conns=conns(other_peer(1), other_peer(2)), initiate=initiate,
                list_sas=lambda arguments: endless if arguments else busy) as server:
        handover(server, "--timeout=infinity")
    equal(asked(server), ["site2"], "what charon was asked for")
    expect(new(1, 2), real=6, held=6)


@case
def events_lost():
    """Events that are lost are made up for by looking at everything."""
    kept(1, 2)
    with charon((1, 2)) as server:
        handover(server, faults=[Fault("event", 0, "fail", errno.ENOBUFS, 1, 3)])
    expect(new(1, 2), real=6, held=6)


@cases([("a policy", MSG_DELPOLICY), ("an SA", MSG_DELSA)])
def deletion_refused(_, kind):
    """When the kernel refuses to remove {0}, that is said, and everything else goes."""
    kept(1)
    with charon() as server:
        result = handover(server, faults=[Fault("send", kind, "refuse", errno.EPERM, 1, 1)], status=1)
    contains(result.err, "Could not remove ", "Operation not permitted")
    equal((len(shadows(KEEP)) + len(spis() & old(1)), len(shadows())), (1, 3), "what is left of old SAs, and the shadows")


@case
def gone_already():
    """What has gone by itself meanwhile (an SA that has expired) is no failure."""
    kept(1)
    with charon() as server:
        handover(server, faults=[Fault("send", MSG_DELSA, "refuse", errno.ESRCH, 1, 1)])


@case
def real_sas():
    """With real SAs: new ones take over, and nothing is left of the old ones and their stoppers."""
    living.add_real_sas(1)
    xfrm.add_policies(*policies(1, spi_out(1)))
    keep()
    equal((len(shadows(KEEP)), spis()), (3, old(1)), "what is kept")

    def initiate(_):
        living.add_real_sas(1, NEW)
        replace(policies(1, NEW + spi_out(1)), 1, 1)
        return YES
    with charon(initiate=initiate) as server:
        equal(run("handover", server.option).status, 0, "exit status")
    expect(new(1), real=3, held=3)


# At every instant.


@cases([("handed over", "yes"), ("removed from the configuration beside a wider bypass", "removed"),
        ("with charon's traps", "traps")])
def stopped_anywhere(_, how):
    """Stopped anywhere, what lives goes on protected: {0}"""
    with Wire() as wire, charon((1,) if how != "removed" else ()) as server:
        kept(1)
        if how == "traps":
            xfrm.add_policies(*policies(1))
        with Steps("handover", server.option, faults=[living.MATURE]) as steps:
            for count, _ in enumerate(steps, 1):
                if how != "removed":
                    equal(set(wire.verdicts(LIVES).values()), {PROTECTED}, f"the flows behind change {count}")
            equal(steps.result().status, 0, "exit status")
        assert count > 5, f"the number of changes: {count}"
    equal(spis(), set() if how == "removed" else new(1), "SAs")


@case
def killed_anywhere():
    """Killed anywhere, what lives goes on protected, and a second run leaves nothing of the old life."""
    numbers, number, killed = (1, 2), 0, True
    with Wire() as wire:
        while killed:
            number += 1
            xfrm.clear()
            kept(*numbers)
            with charon(numbers) as server:
                killed = kill_behind(number, server)
                equal(set(wire.verdicts(LIVES).values()), {PROTECTED}, f"the flows, killed behind change {number}")
            there = [number for number in numbers if NEW + spi_in(number) in spis()]
            with charon(numbers, list_sas=sas(*there)) as server:
                living.xfrmctl_with([living.MATURE], "handover", server.option)
            equal((spis(), len(shadows(KEEP)), len(real_policies())), (new(*numbers), 0, 6),
                  f"killed behind change {number}")
    assert number > 2, f"the number of changes: {number - 1}"


def kill_behind(number, server):
    with Steps("handover", server.option, faults=[living.MATURE]) as steps:
        for count, _ in enumerate(steps, 1):
            if count == number:
                steps.kill()
                return True
    return False


main()
