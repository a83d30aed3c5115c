# SPDX-License-Identifier: GPL-2.0-or-later
"""handover with a server that answers for charon: new SAs replace kept ones, and everything else is held or removed."""

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
from shadows import ADJACENT, EXPIRING, HOLD, KEPT, make_shadow, real_policies, shadows
from tables import flows
from tap import contains, equal
from vici_server import HANG_UP, Stream
from wire import BLOCKED, PROTECTED, Wire

LIVES = flows("10.11.0.1")

# Bypasses behind all policies that protect.
BYPASS = ["src 10.1.0.0/16 dst 10.0.0.0/8 dir out priority 9000", "src 10.0.0.0/8 dst 10.1.0.0/16 dir in priority 9000",
          "src 10.0.0.0/8 dst 10.1.0.0/16 dir fwd priority 9000"]


# Number of events. The program's loop may take at most two turns for each.
EVENTS = 10

# Time in which the expected number of requests have to be pending at once, in seconds.
BARRIER_SECONDS = 15


def kept(*numbers):
    """Creates connections and runs flush --keep. Checks that only their SAs and policies are left."""
    make(*numbers)
    xfrmctl_living("flush", "--keep")
    equal((len(shadows(KEPT)), len(shadows(HOLD)), len(spis())), (3 * len(numbers),) * 3, "what is kept")


def wait_over(seconds):
    """Waits until the kernel has removed a policy that is added now with a lifetime of `seconds`."""
    xfrm.add_policies(f"src 10.98.0.0/16 dst 10.99.0.0/16 dir out limit time-hard {seconds}")
    with_time = [policy for policy in netlink.policies() if policy.lifetime[5] == seconds and not policy.user]
    equal(len(with_time), 1, "policies of that time")
    until(lambda: not any(policy.key == with_time[0].key for policy in netlink.policies()), "the time is over")


def kept_beside_bypass():
    """Creates and keeps connection 1, with bypasses of another owner behind it."""
    make(1)
    xfrm.add_policies(*BYPASS)
    xfrmctl_living("flush", "--keep", "--exclude=priority=9000")


def handover(server, *options, status=0, faults=()):
    """Runs handover. The faults for guard SAs are not needed, because handover adds no guard SA."""
    return living.xfrmctl_with([living.MATURE, *faults], "-v", "handover", getattr(server, "option", server), *options,
                               status=status)


def asked(server):
    return [arguments["child"] for name, arguments in server.seen if name == "initiate"]


def old(number):
    return {spi_out(number), spi_in(number), complement(spi_out(number))}


def new(*numbers):
    return {NEW + spi for number in numbers for spi in (spi_out(number), spi_in(number))}


def expect(sas_left, real=0, held=0):
    """Checks what is left. handover leaves shadows that block: a release or their time limit removes them."""
    equal((spis(), len(shadows(KEPT)), len(real_policies()), len(shadows())), (sas_left, 0, real, held),
          "SAs, kept policies, policies, and shadows that block")


@case
def handed_over():
    """handover asks charon for each connection; then only new SAs, their policies, and shadows are left."""
    kept(1, 2)
    with charon((1, 2)) as server:
        result = handover(server)
    equal(asked(server), ["site1", "site2"], "what charon was asked for")
    equal({arguments["timeout"] for name, arguments in server.seen if name == "initiate"}, {"-1"}, "how long charon is to wait")
    expect(new(1, 2), real=6, held=6)
    contains(result.out, "Handed over 2 of 2 connections in ", "; 0 fell back to hold, 0 not configured. Removed 4 old SAs.")


@case
def behind_traps():
    """A connection for which charon has installed its trap policies already is handed over."""
    kept(1)
    xfrm.add_policies(*policies(1))
    with charon() as server:
        handover(server)
    expect(new(1), real=3, held=3)


@case
def other_reqid():
    """A connection with another reqid than before is handed over."""
    kept(1)
    with charon(initiate=lambda _: install(1, 9) or YES) as server:
        handover(server)
    expect(new(1), real=3, held=3)


@case
def by_itself():
    """A connection that charon has negotiated by itself is handed over immediately, without a request."""
    kept(1)
    install(1)
    with charon(list_sas=sas(1)) as server:
        handover(server)
    equal(asked(server), [], "what charon was asked for")
    expect(new(1), real=3, held=3)


@case
def under_way():
    """If charon negotiates a connection already, handover waits for it, and does not ask for it."""
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
    """The old SAs of a connection that is not configured are removed immediately, and its traffic is blocked."""
    kept(1, 2)
    with charon((2,)) as server:
        result = handover(server)
    equal(asked(server), ["site2"], "what charon was asked for")
    expect(new(2), real=3, held=6)
    contains(result.out, "Handed over 1 of 2 connections", "1 not configured")


@cases([("EXPIRING", EXPIRING), ("ADJACENT", ADJACENT)])
def removed_with(name, tag):
    """The shadows of a connection that is not configured stay, also those with the tag {0}."""
    kept(1)
    for policy in shadows(HOLD):
        make_shadow(policy, tag, seconds=3600 if tag == EXPIRING else 0)
        policy.delete()
    with charon(()) as server:
        handover(server)
    expect(set(), held=3)
    equal(len(shadows(tag)), 3, "the shadows")


@case
def incomplete():
    """If charon's list of connections is incomplete, an unknown one is held, and does not count as removed."""
    kept(1)
    with charon((), get_conns={"conns": ["site1"]}) as server:
        handover(server, "--timeout=0")
    expect(set(), held=3)


@case
def refused_by_charon():
    """A connection that charon cannot initiate is held after its timeout; the others are handed over meanwhile."""
    kept(1, 2)

    def initiate(arguments):
        if arguments["child"] == "site1":
            return NO
        install(2)
        return YES
    with charon((1, 2), initiate=initiate) as server:
        result = handover(server, "--timeout=300ms")
    expect(new(2), real=3, held=6)
    contains(result.err, "charon does not initiate site1: CHILD_SA config not found",
             "Could not hand over 10.1.0.0/16 → 10.11.0.0/16 (192.0.2.1 → 198.51.100.1, reqid 1): charon has no new SAs for the "
             "connection after 300ms. The connection is blocked")
    contains(result.out, "Handed over 1 of 2 connections", "1 fell back to hold")


@case
def half():
    """A connection is not handed over to a policy of charon whose SA is missing."""
    kept(1)
    with charon(initiate=lambda _: replace(policies(1, NEW + spi_out(1)), 1, 1) or YES) as server:
        handover(server, "--timeout=300ms")
    expect(set(), real=3, held=3)


@case
def half_then_whole():
    """A connection is handed over to a policy of charon as soon as its SA is there."""
    kept(1)

    def initiate(_):
        replace(policies(1, NEW + spi_out(1)), 1, 1)
        threading.Timer(0.2, netlink.allocate_spi, (HERE, THERE, NEW + spi_out(1)), {"reqid": 1}).start()
        return YES
    # The kernel sends an event for an added SA, and none for a larval SA like this one.
    with charon(initiate=initiate) as server:
        handover(server, "--timeout=2s")
    assert not shadows(KEPT), "kept policies are left"


@case
def still_old():
    """A connection is not handed over to a policy of charon that names an old SA."""
    kept(1)
    with charon(initiate=lambda _: replace(policies(1, spi_out(1)), 1, 1) or YES) as server:
        handover(server, "--timeout=300ms")
    expect(set(), real=3, held=3)


@case
def only_the_peer():
    """A connection that only the peer can initiate is not asked for; it is held if the peer does not initiate."""
    kept(1)
    with charon(list_conns=conns(connection(1, "%any"))) as server:
        handover(server, "--timeout=200ms")
    equal(asked(server), [], "what charon was asked for")
    expect(set(), held=3)


@case
def peer_comes():
    """If the peer initiates in time, its new SAs replace the kept ones."""
    kept(1)
    timer = threading.Timer(0.2, install, (1,))
    with charon(list_conns=conns(connection(1, "%any"))) as server:
        timer.start()
        handover(server)
        timer.join()
    equal(asked(server), [], "what charon was asked for")
    expect(new(1), real=3, held=3)


# An event of the kernel that concerns no connection.
UNRELATED = "src 10.9.0.0/24 dst 10.99.0.0/16 dir out action block"


def after(msec):
    """Returns a fault that advances the clock by `msec` milliseconds at the first event."""
    return Fault("event", ANY, "later", msec, 1, 1)


@case
def peer_comes_late():
    """Without --timeout, a connection that only the peer can initiate stays in use for longer than 10 seconds."""
    kept(1)
    timers = [threading.Timer(0.3, xfrm.add_policies, (UNRELATED,)), threading.Timer(1, install, (1,))]
    with charon(list_conns=conns(connection(1, "%any"))) as server:
        for timer in timers:
            timer.start()
        result = handover(server, faults=[after(250_000)])
        for timer in timers:
            timer.join()
    contains(result.out, "Handed over 1 of 1 connections")
    expect(new(1), real=4, held=3)


@case
def peer_does_not_come():
    """Without --timeout, a connection whose peer does not initiate is held after five minutes."""
    kept(1)
    timer = threading.Timer(0.3, xfrm.add_policies, (UNRELATED,))
    with charon(list_conns=conns(connection(1, "%any"))) as server:
        timer.start()
        result = handover(server, faults=[after(301_000)])
        timer.join()
    contains(result.err, "charon has no new SAs for the connection after 5min")
    expect(set(), real=1, held=3)


@case
def reqid_conflict():
    """handover asks for a connection with a reqid conflict, and holds it long before the timeout."""
    kept(1)
    # Connection 5, not kept, has reqid 1 now.
    xfrm.add_policies(*(policy.replace("reqid 5 ", "reqid 1 ") for policy in policies(5)))
    with charon((1, 5), initiate=YES) as server:
        result = handover(server, "--timeout=1min")
    expect(set(), real=3, held=3)
    contains(result.err, "charon uses the reqid for another connection now")


@case
def no_time():
    """With --timeout=0, everything is held immediately."""
    kept(1)
    with charon(initiate=YES) as server:
        handover(server, "--timeout=0")
    expect(set(), held=3)


@cases([("with no time", "--timeout=0"), ("with a time", "--timeout=300ms")])
def falls_back_blocked(_, option):
    """A connection that falls back to hold when the shortest grace is over is blocked, despite a bypass: {0}"""
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
    """Traffic of a connection that charon has not loaded is blocked for the grace after a release."""
    with Wire() as wire:
        kept_beside_bypass()
        release("--grace=5min")
        with charon(()) as server:
            handover(server)
        equal(set(wire.verdicts(LIVES).values()), {BLOCKED}, "the flows")
    equal([policy.lifetime[5] >= 300 for policy in shadows(EXPIRING)], [True] * 3, "for how long")


@cases([("there is no socket", None), ("it hangs up at once", {"list_conns": HANG_UP}),
        ("it knows no such command", {"list_conns": b"\0\0\0\1\2"}),
        ("it cannot tell its SAs", {"list_sas": HANG_UP})])
def no_charon(_, commands):
    """If charon cannot be asked ({0}), kept policies are held, and handover fails."""
    kept(1)
    if commands is None:
        result = handover("--socket=/run/nobody.vici", "--timeout=0", status=1)
    else:
        with charon(**commands) as server:
            result = handover(server, "--timeout=0", status=1)
    contains(result.err, "Could not ask charon at /", "Use --socket= for another socket")
    expect(set(), held=3)


@case
def ends_in_the_middle():
    """If charon ends during a request, connections without new SAs are held, and handover fails."""
    kept(1, 2)
    with charon((1, 2), initiate=HANG_UP) as server:
        result = handover(server, "--timeout=300ms", status=1)
    contains(result.err, "Lost the connection to charon at /")
    expect(set(), held=6)


@case
def silent():
    """If charon does not answer, connections without new SAs are held after the timeout."""
    kept(1, 2)
    with charon((1, 2), initiate=b"") as server:
        handover(server, "--timeout=300ms")
    expect(set(), held=6)


@case
def nothing_kept():
    """Without kept policies, handover does nothing, prints nothing, and does not need charon."""
    xfrm.add_policies(*policies(1))
    netlink.allocate_spi(HERE, THERE, spi_out(1), reqid=1)
    result = run("handover", "--socket=/run/nobody.vici")
    equal((result.status, result.out, result.err), (0, "", ""), "the result")
    equal((len(real_policies()), len(spis())), (3, 1), "policies and SAs")


@case
def guard_sas_left():
    """Guard SAs that an interrupted run has left are removed, with the SAs that they guard."""
    make_sas(1)
    living.xfrmctl_with([living.MATURE], "handover", "--socket=/run/nobody.vici")
    equal(spis(), set(), "the SAs left")


@case
def others_untouched():
    """SAs and policies of others stay, also those with the same reqid between other end points."""
    kept(1)
    netlink.allocate_spi(HERE, "203.0.113.1", 0x5000, reqid=1)
    netlink.allocate_spi(HERE, THERE, 0x5001, reqid=8)
    xfrm.add_policies(*policies(8, 0x5001))
    with charon() as server:
        handover(server)
    expect(new(1) | {0x5000, 0x5001}, real=6, held=3)


@case
def many():
    """Many connections are handed over, with a limited number of requests at a time."""
    numbers = range(1, 61)
    kept(*numbers)
    with charon(numbers) as server:
        handover(server)
    equal(sorted(asked(server)), sorted(f"site{number}" for number in numbers), "what charon was asked for")
    expect(new(*numbers), real=180, held=180)


@case
def bounded():
    """At most 32 connections are negotiated at a time: the next follows when one is handed over or held."""
    numbers, moments = range(1, 41), []
    kept(*numbers)
    with charon(numbers, initiate=lambda _: moments.append(time.monotonic()) or YES) as server:
        handover(server, "--timeout=1s")
    expect(set(), held=120)
    equal(asked(server)[:40], [f"site{number}" for number in numbers], "what charon was asked for")
    # The timeout of a connection runs from the moment of its request.
    assert moments[32] - moments[31] >= 0.5 > moments[31] - moments[0], f"when it was asked: {moments}"


@case
def slow():
    """While a request to charon is pending, handover retries no other connection, and does not poll."""
    kept(1, 2)
    turned, noted = Fault("poll", ANY, "note"), Fault("event", ANY, "note")
    # Advances the clock by the delay after which handover retries site1, which charon has refused.
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
    with Faults(turned, noted, later, living.MATURE) as faults, charon((1, 2), initiate=initiate) as server:
        xfrmctl("handover", "--timeout=infinity", server.option, env=faults.env)
    equal(asked(server), ["site1", "site2", "site1"], "what charon was asked for")
    assert turns[-1] - turns[0] <= 2 * EVENTS, f"the turns of its loop by each event: {turns}"


def other_peer(number):
    """Returns a connection with a peer of its own."""
    return connection(number, f"198.51.100.{number}")


def family(*numbers):
    """Returns one connection that has all these children."""
    return {"site1": connection(1)["site1"] | {"children": {name: child for number in numbers for name, child in
                                                             connection(number)[f"site{number}"]["children"].items()}}}


class Flight:
    """The requests to charon that are pending, and the most that were pending at once."""

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
    """handover asks for four connections with different peers at a time, and not for more."""
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
    """While charon is slow with one connection, all others are handed over, also those asked for later."""
    numbers = range(1, 9)
    kept(*numbers)

    def initiate(arguments):
        if arguments["child"] == "site1":
            until(lambda: len(shadows(KEPT)) == 3, "the others are handed over")
        install(number_of(arguments))
        return YES
    with charon(list_conns=conns(*map(other_peer, numbers)), initiate=initiate) as server:
        handover(server, "--timeout=infinity")
    equal(sorted(asked(server)), [f"site{number}" for number in numbers], "what charon was asked for")
    expect(new(*numbers), real=24, held=24)


@case
def in_order():
    """handover asks one by one for children of one connection or between the same addresses, beside others."""
    numbers, flight = (1, 2, 3, 4), Flight()
    kept(*numbers)
    two = threading.Barrier(2)

    def initiate(arguments):
        with flight.of(arguments["child"]):
            # site4 has another peer, so it is asked for beside site1.
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
    """If charon ends during several requests, connections with new SAs are handed over, the others held."""
    numbers, three = (1, 2, 3), threading.Barrier(3)
    kept(*numbers)

    def initiate(arguments):
        three.wait(BARRIER_SECONDS)
        if arguments["child"] == "site2":
            install(2)
        return HANG_UP if arguments["child"] == "site1" else b""
    with charon(list_conns=conns(*map(other_peer, numbers)), initiate=initiate) as server:
        result = handover(server, "--timeout=1s", status=1)
    equal(result.err.count("Lost the connection to charon at /"), 1, "how often that is said")
    contains(result.out, "Handed over 1 of 3 connections", "2 fell back to hold")
    expect(new(2), real=3, held=9)


@case
def no_answer_in_time():
    """A request that charon does not answer in time is repeated by another client."""
    kept(1, 2)
    # The first event comes when site2 has new policies. At this event the clock advances, and the request for site1
    # times out.

    def initiate(arguments):
        if arguments["child"] == "site1" and asked(server).count("site1") == 1:
            return b""
        until(lambda: "site1" in asked(server), "site1 is asked for")
        threading.Timer(0.2, install, (number_of(arguments),)).start()
        return YES
    with charon(list_conns=conns(other_peer(1), other_peer(2)), initiate=initiate,
                list_sas=lambda arguments: sas(2) if arguments.get("ike") == "site2" else sas()) as server:
        result = handover(server, "--timeout=infinity", faults=[after(31_000)])
    equal(sorted(asked(server)), ["site1", "site1", "site2"], "what charon was asked for")
    contains(result.err, "charon did not answer about site1: Connection timed out.")
    expect(new(1, 2), real=6, held=6)


@case
def no_client_left():
    """If no client gets an answer in time, the connection to charon counts as lost, and handover fails."""
    kept(1, 2)
    # The event comes when charon has been asked for both connections.
    two = threading.Barrier(2, lambda: xfrm.add_policies(UNRELATED))

    def initiate(_):
        two.wait(BARRIER_SECONDS)
        return b""
    with charon(list_conns=conns(other_peer(1), other_peer(2)), initiate=initiate) as server:
        result = handover(server, "--timeout=32s", status=1, faults=[after(31_000)])
    contains(result.err, "Lost the connection to charon at /", ": Connection timed out.")
    expect(set(), real=1, held=6)


@case
def talks_without_end():
    """While charon sends endless messages about one connection, all connections are handed over, also this one."""
    kept(1, 2)
    endless = Stream("list-sa", itertools.repeat({"site1": {"state": "ESTABLISHED"}}))
    busy = Stream("list-sa", [{"site1": {"state": "ESTABLISHED"}}])

    def initiate(_):
        until(lambda: ("list-sas", {"ike": "site1"}) in server.seen, "charon is asked about site1")
        install(2)
        until(lambda: len(shadows(KEPT)) == 3, "site2 is handed over")
        install(1)
        return YES
    with charon(list_conns=conns(other_peer(1), other_peer(2)), initiate=initiate,
                list_sas=lambda arguments: endless if arguments else busy) as server:
        handover(server, "--timeout=infinity")
    equal(asked(server), ["site2"], "what charon was asked for")
    expect(new(1, 2), real=6, held=6)


@case
def events_lost():
    """After lost events, handover reads all policies and SAs again."""
    kept(1, 2)
    with charon((1, 2)) as server:
        handover(server, faults=[Fault("event", 0, "fail", errno.ENOBUFS, 1, 3)])
    expect(new(1, 2), real=6, held=6)


@cases([("a policy", MSG_DELPOLICY), ("an SA", MSG_DELSA)])
def deletion_refused(_, kind):
    """If the kernel refuses to remove {0}, handover reports it, and removes everything else."""
    kept(1)
    with charon() as server:
        result = handover(server, faults=[Fault("send", kind, "refuse", errno.EPERM, 1, 1)], status=1)
    contains(result.err, "Could not remove ", "Operation not permitted")
    equal((len(shadows(KEPT)) + len(spis() & old(1)), len(shadows())), (1, 3), "what is left of old SAs, and the shadows")


@case
def gone_already():
    """An SA that has expired meanwhile is no failure."""
    kept(1)
    with charon() as server:
        handover(server, faults=[Fault("send", MSG_DELSA, "refuse", errno.ESRCH, 1, 1)])


@case
def real_sas():
    """With real SAs: new SAs replace the kept ones, and all kept SAs and guard SAs are removed."""
    living.add_real_sas(1)
    xfrm.add_policies(*policies(1, spi_out(1)))
    keep()
    equal((len(shadows(KEPT)), spis()), (3, old(1)), "what is kept")

    def initiate(_):
        living.add_real_sas(1, NEW)
        replace(policies(1, NEW + spi_out(1)), 1, 1)
        return YES
    with charon(initiate=initiate) as server:
        equal(run("handover", server.option).status, 0, "exit status")
    expect(new(1), real=3, held=3)


# Checks at every instant.


@cases([("handed over", "yes"), ("removed from the configuration beside a wider bypass", "removed"),
        ("with charon's traps", "traps")])
def stopped_anywhere(_, how):
    """Wherever handover is stopped, traffic of connections with SAs is protected: {0}"""
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
    """Wherever handover is killed, traffic stays protected, and a second run removes all stale state."""
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
            equal((spis(), len(shadows(KEPT)), len(real_policies())), (new(*numbers), 0, 6),
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
