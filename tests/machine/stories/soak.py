# SPDX-License-Identifier: GPL-2.0-or-later
"""charon is killed over and over, at random moments, under traffic. tools/soak does it for as long as one likes."""

import random
from contextlib import ExitStack
from typing import NamedTuple

import connections
import journal
import kernel
import slab
import xfrmctl
from command import POLL_SECONDS_SLOW, wait_for
from connections import CONNECTIONS
from killer import Killer
from plaintext import BothWays
from scenario import RECOVERY_SECONDS, establish, start, wait_known
from streams import FEW, Flows
from strongswan import gateway, peer

from .traffic import carries_traffic

# Pings go through the first, both ways. Through the second, which charon also brings up by itself, goes UDP both ways, and
# packets that look like it come in from outside in plaintext. The third has shadows that stay for the grace.
PINGS, FLOW, QUIET = "net4", "third", "started"
NAMES = (PINGS, FLOW, QUIET, "net6")
GRACE_SECONDS = 10

# systemd is not to give up, whatever comes.
NO_LIMIT = "[Unit]\nStartLimitIntervalSec=0\n"

# Of xfrmctl, for each crash: what the flush, the release and the handover say, and what they may have to warn of.
ENTRIES_AT_MOST = 6

STORY_CRASHES = 5
STORY_SEED = 6


def begin(mode):
    start(NAMES, release_options=f"--grace={GRACE_SECONDS}s", mode=mode)
    connections.gateway_file(FLOW).write_text(connections.rendered(CONNECTIONS[FLOW], "trap|start"))
    gateway.swanctl("--load-all", "--noprompt")
    establish((PINGS,))
    wait_known((PINGS, FLOW, QUIET))


class Memory(NamedTuple):
    """Of the kernel, when nobody uses XFRM: objects in its slab caches."""
    own: dict           # XFRM's own caches
    policies: int       # the general cache that policies are in

    def __str__(self):
        return ", ".join(f"{name} {count}" for name, count in self.own.items()) + f", where policies are {self.policies}"


def memory():
    """With both ends stopped, and nothing left of them."""
    gateway.stop()
    peer.stop()
    kernel.flush("peer")
    own, general = slab.caches_of_xfrm("blue")
    seen = []

    def is_steady():
        objects = slab.objects()
        seen.append(Memory({name: objects[name] for name in own}, sum(objects[name] for name in general)))
        return len(seen) > 1 and seen[-1].own == seen[-2].own

    wait_for(is_steady, 30, "the kernel frees what it has to free", POLL_SECONDS_SLOW)
    peer.start()
    return seen[-1]


def entries_since(cursor):
    """What xfrmctl has told the journal."""
    return [entry for entry in journal.entries("-t", "xfrmctl", f"--cursor={cursor}") if entry["__CURSOR"] != cursor]


class Seen(NamedTuple):
    out: int            # packets of the gateway in plaintext
    accepted: int       # packets that it took in plaintext
    offered: int        # forged packets, of these
    held_back: int
    carried: int


class Traffic:
    """In a with block."""

    def __enter__(self):
        with ExitStack() as stack:
            self.pings = stack.enter_context(BothWays(PINGS))
            self.flows = stack.enter_context(Flows({FLOW: FEW}))
            self.stack = stack.pop_all()
        self.wait_carried()
        return self

    def __exit__(self, *exception):
        self.stack.close()

    def wait_carried(self):
        self.pings.wait_for_answers()
        self.flows.wait_carried()

    def totals(self):
        """The router's count of packets in plaintext has both in it."""
        pings, flow = self.pings.totals(), self.flows.tallies()[FLOW]
        return Seen(pings.out, pings.accepted + flow.accepted, flow.forged, pings.held_back, pings.carried)

    def since(self, before):
        return Seen(*(now - then for now, then in zip(self.totals(), before)))


def crash_often(check, killer, crashes, closed):
    """Kills charon so often, and then waits until everything is as it was. Returns what became of the traffic, and what the
    journal got in the first half and in the second."""
    entries, cursor = [], journal.now()
    with Traffic() as traffic:
        before = last = traffic.totals()
        for number in range(1, crashes + 1):
            # From the last one nothing has to be left; each of the others may come upon what the one before it has left.
            is_last = number == crashes
            what = killer.crash("up" if is_last else None)
            if not is_last:
                killer.kill_helper()
            if number in (crashes // 2, crashes):
                gateway.wait_restarted(0)
                entries.append(len(entries_since(cursor)))
                cursor = journal.now()
            now = traffic.totals()
            if closed and (now.out, now.accepted) != (last.out, last.accepted):
                check.that(f"crash {number}: nothing passes in plaintext", False, (what, last, now))
            last = now
        wait_known((PINGS, FLOW, QUIET))
        traffic.wait_carried()
        wait_for(lambda: not xfrmctl.shadows() and not xfrmctl.kept(), GRACE_SECONDS + RECOVERY_SECONDS,
                 "shadows and stoppers go", POLL_SECONDS_SLOW)
        return traffic.since(before), entries


def crash_at_random(check, mode, crashes, seed):
    """So many crashes of charon in this mode."""
    check.variant = mode
    check.note(f"seed {seed}")
    rng = random.Random(f"{mode} {seed}")
    closed = mode != "flush"
    with gateway.drop_in(NO_LIMIT):
        begin(mode)
        # Caches grow to what they need.
        crash_often(check, Killer(rng, mode, (PINGS, FLOW)), max(crashes // 10, 1), closed)
        before = memory()
        begin(mode)
        killer = Killer(rng, mode, (PINGS, FLOW))
        seen, entries = crash_often(check, killer, crashes, closed)
        check_end(check)
        after = memory()
    check.note(f"{crashes} crashes: {killer}")
    check.note(f"{seen.out} packets out in plaintext, {seen.accepted} accepted, with {seen.offered} forged ones; "
               f"{seen.held_back} held back, {seen.carried} came through the tunnels")
    if closed:
        check.that("no packet leaves in plaintext, none is accepted", seen.out == seen.accepted == 0 < seen.offered, seen)
        check.that("some were held back" if mode == "hold" else "some were carried",
                   seen.held_back if mode == "hold" else seen.carried, seen)
    check_growth(check, before, after, crashes)
    check_journal(check, entries, crashes)


def check_end(check):
    check.equal("no shadow and no stopper is left", (xfrmctl.shadows(), xfrmctl.kept()), ([], []))
    check.equal("charon knows every SA of the kernel", kernel.spis(), gateway.known_spis())
    for name in NAMES:
        carries_traffic(check, name)


def check_growth(check, before, after, crashes):
    """One object a crash would be a leak."""
    check.note(f"objects in use before, with both charons stopped: {before}; after: {after}")
    check.that("SAs and routes through them do not pile up in the kernel",
               all(after.own[name] - before.own[name] < crashes for name in before.own), (before, after))
    check.that("nor do policies", after.policies - before.policies < crashes, (before, after))


def check_journal(check, entries, crashes):
    first, second = entries
    rates = first / (crashes // 2), second / (crashes - crashes // 2)
    check.note(f"entries of xfrmctl in the journal for each crash: {rates[0]:.1f} in the first half, {rates[1]:.1f} in the "
               "second")
    check.that("the journal does not fill", max(rates) <= ENTRIES_AT_MOST, rates)


def soak(check):
    """hold and handover, a few crashes each."""
    for mode in ("hold", "handover"):
        crash_at_random(check, mode, STORY_CRASHES, STORY_SEED)


STORIES = (soak,)
ONLY_REFERENCE = (soak,)
