# SPDX-License-Identifier: GPL-2.0-or-later
"""charon is killed repeatedly at random moments under traffic. tools/soak runs this with any number of crashes."""

import random
import time
from typing import NamedTuple

import connections
import journal
import kernel
import slab
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import CONNECTIONS
from gateway_setup import RECOVERY_SECONDS, establish, start, wait_known
from killer import Killer
from plaintext import BothWays
from streams import FEW, Flows
from strongswan import gateway, peer
from together import Together

from .traffic import carries_traffic, trigger

# PINGS carries pings in both directions. FLOW, which charon also initiates itself, carries UDP in both directions, and
# the router forges such packets in plaintext. QUIET carries no traffic; its shadows stay for the grace.
PINGS, FLOW, QUIET = "net4", "third", "started"
NAMES = (PINGS, FLOW, QUIET, "net6")
GRACE_SECONDS = 10

# Keeps systemd from giving up after many crashes.
NO_LIMIT = "[Unit]\nStartLimitIntervalSec=0\n"

# Maximum number of xfrmctl's journal entries for each start of charon: messages of the flush, the release and the
# handover, and their warnings.
ENTRIES_AT_MOST = 6

# Objects by which a general cache may grow without a leak, because of its other users.
OTHERS_OBJECTS = 20

# Crashes for each mode in the scenario, and its seed.
SCENARIO_CRASHES = 2
SCENARIO_SEED = 6


def begin(mode):
    """Starts the gateway in this mode, and waits for its SAs."""
    start(NAMES, release_options=f"--grace={GRACE_SECONDS}s", mode=mode)
    connections.gateway_file(FLOW).write_text(connections.rendered(CONNECTIONS[FLOW], "trap|start"))
    gateway.swanctl("--load-all", "--noprompt")
    establish((PINGS,))
    wait_known((PINGS, FLOW, QUIET))


class Memory(NamedTuple):
    """Numbers of objects in the kernel's slab caches while XFRM has no SAs and no policies."""
    own: dict           # by XFRM's own caches
    policies: dict      # by the general caches that may contain policies


def memory():
    """Stops both ends and removes their state from the kernel. Returns the memory in use then."""
    gateway.stop()
    peer.stop()
    kernel.flush("peer")
    own, seen = slab.of_xfrm(), []

    def is_steady():
        objects = slab.objects()
        seen.append({name: objects[name] for name in own})
        return len(seen) > 1 and seen[-1] == seen[-2]

    wait_for(is_steady, 30, "the kernel frees what it has to free", POLL_SECONDS_SLOW)
    objects, general = slab.objects(), slab.of_policies("blue")
    peer.start()
    return Memory(seen[-1], {name: objects[name] for name in general})


def entries_since(cursor):
    """Returns xfrmctl's journal entries since the cursor."""
    return [entry for entry in journal.entries("-t", "xfrmctl", f"--cursor={cursor}") if entry["__CURSOR"] != cursor]


class Seen(NamedTuple):
    out: int            # packets that the gateway sent in plaintext
    accepted: int       # plaintext packets that the gateway accepted
    offered: int        # forged packets that were sent to the gateway
    held_back: int      # packets of the gateway that policies have blocked
    carried: int        # pings and answers that the gateway has received through the tunnel


class Traffic(Together):
    """The pings and the flow. Use in a with block."""

    def __init__(self):
        self.pings, self.flows = self.parts = BothWays(PINGS), Flows({FLOW: FEW})

    def begun(self):
        self.wait_carried()

    def wait_carried(self):
        self.pings.wait_for_answers()
        self.flows.wait_carried()

    def totals(self):
        """Returns the counts. `out` needs no addition: the router counts plaintext of the pings and of the flow
        together."""
        pings, flow = self.pings.totals(), self.flows.tallies()[FLOW]
        return Seen(pings.out, pings.accepted + flow.accepted, flow.forged, pings.held_back, pings.carried)

    def since(self, before):
        return Seen(*(now - then for now, then in zip(self.totals(), before)))


def crash_often(check, killer, crashes, closed):
    """Kills charon `crashes` times, and waits until all connections have recovered and no shadow is left. With
    `closed`, no packet may pass in plaintext. Returns the counts of the traffic, and the numbers of xfrmctl's journal
    entries per start of charon in both halves of the crashes."""
    rates, cursor, starts = [], journal.now(), 0
    with Traffic() as traffic:
        before = last = traffic.totals()
        for number in range(1, crashes + 1):
            begun = time.monotonic()
            # No state may remain after the last crash, so it comes when charon is up, and no helper is killed after it.
            # The other crashes may come while state of the one before is left.
            is_last = number == crashes
            what = killer.crash("up" if is_last else None)
            if not is_last:
                killer.kill_helper()
            if number in (crashes // 2, crashes):
                gateway.wait_restarted(0)
                rates.append(len(entries_since(cursor)) / (killer.starts - starts))
                cursor, starts = journal.now(), killer.starts
            now = traffic.totals()
            if closed and (now.out, now.accepted) != (last.out, last.accepted):
                check.that(f"crash {number}: nothing passes in plaintext", False, (what, last, now))
            last = now
            check.note(f"crash {number}: {what}; {time.monotonic() - begun:.1f} s")
        wait_known((PINGS, FLOW, QUIET))
        traffic.wait_carried()
        seen = traffic.since(before)
    wait_for(lambda: not xfrmctl.kept(), RECOVERY_SECONDS, "nothing is kept", POLL_SECONDS_SLOW)
    # Shadows behind kept policies stay five minutes longer, or until a release finds charon's own policies.
    run(xfrmctl.PROGRAM, "release", "--routes", f"--grace={GRACE_SECONDS}s")
    wait_for(lambda: not xfrmctl.shadows(), GRACE_SECONDS + RECOVERY_SECONDS, "shadows go", POLL_SECONDS_SLOW)
    return seen, rates


def crash_at_random(check, mode, crashes, seed):
    """Crashes charon `crashes` times in this mode, and checks the traffic, the journal and the final state."""
    check.variant = mode
    check.note(f"seed {seed}")
    killer = Killer(random.Random(f"{mode} {seed}"), mode, (PINGS, FLOW))
    with gateway.drop_in(NO_LIMIT):
        begin(mode)
        seen, rates = crash_often(check, killer, crashes, mode != "flush")
    check.note(str(killer))
    check.note(f"{seen.out} packets out in plaintext; {seen.accepted} accepted in plaintext, {seen.offered} forged ones came; "
               f"{seen.held_back} held back; {seen.carried} came through the tunnel")
    if mode != "flush":
        check.that("no packet leaves in plaintext, none is accepted", seen.out == seen.accepted == 0 < seen.offered, seen)
        check.that("some were held back" if mode == "hold" else "some came through the tunnel",
                   seen.held_back if mode == "hold" else seen.carried, seen)
    check_journal(check, rates)
    check_end(check)


def check_journal(check, rates):
    check.note("entries of xfrmctl in the journal for each start: {:.1f} in the first half, {:.1f} in the second".format(*rates))
    check.that("the journal does not fill", max(rates) <= ENTRIES_AT_MOST, rates)


def check_end(check):
    check.equal("no shadow and no guard SA is left", (xfrmctl.shadows(), xfrmctl.kept()), ([], []))
    check.equal("charon knows every SA of the kernel", kernel.spis(), gateway.known_spis())
    trigger("net6")
    for name in NAMES:
        carries_traffic(check, name)


def check_memory(check, before, after, crashes):
    """Checks that the kernel's memory does not grow. A crash that leaked policies would leak a dozen of them."""
    check.note(f"objects in slab caches, with all stopped: {before.own}, {before.policies} before; "
               f"{after.own}, {after.policies} after")
    check.that("no SA, and no route through one, stays in the kernel", not any(after.own.values()), after)
    check.that("policies do not pile up there", before.policies and before.policies.keys() == after.policies.keys()
               and all(after.policies[name] - before.policies[name] < max(crashes, OTHERS_OBJECTS) for name in before.policies), (before, after))


def soak_for_long(check, mode, crashes, seed):
    """Runs the soak in one mode, for tools/soak."""
    check.variant = mode
    # First some crashes that do not count, until the caches have grown to their usual size.
    crash_at_random(check, mode, max(crashes // 25, 2), seed)
    before = memory()
    crash_at_random(check, mode, crashes, seed)
    check_memory(check, before, memory(), crashes)


def soak(check):
    """Runs a short soak, as one of the scenarios."""
    before = memory()
    for mode in ("hold", "auto"):
        crash_at_random(check, mode, SCENARIO_CRASHES, SCENARIO_SEED)
    check.variant = ""
    check_memory(check, before, memory(), 2 * SCENARIO_CRASHES)


SCENARIOS = (soak,)
ONLY_REFERENCE = (soak,)
