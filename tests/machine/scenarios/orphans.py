# SPDX-License-Identifier: GPL-2.0-or-later
"""Orphans, and SAs that only look like orphans because charon is rekeying them."""

import json
import re
import signal

import connections
import kernel
import many
import network
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import CONNECTIONS
from gateway_setup import RETIRED, establish, look, start
from pings import Pings
from strongswan import gateway

CONNECTIONS_MANY = 20
CHILDREN_EACH = 10


# Exit status when charon does not answer.
UNKNOWN = 1


def flush_orphans(*options):
    return run(xfrmctl.PROGRAM, "flush", "--orphans", *options)


def orphans(check):
    """Kills charon while xfrmctl's drop-in is disabled. The next charon negotiates new SAs beside the stale ones, which
    `flush --orphans` removes."""
    start(("net4", RETIRED), with_xfrmctl=False)
    establish(("net4", RETIRED))
    old = look()
    connections.remove_from_gateway(RETIRED)
    gateway.crash_and_wait(signal.SIGKILL)
    gateway.initiate("net4")

    with Pings(CONNECTIONS["net4"].inner) as pings:
        pings.wait_for_answers()
        mixed = look()
        listed = flush_orphans("--dry-run").stdout
        check.equal("a dry run lists the old SAs and no other",
                    {int(spi, 16) for spi in re.findall(r"spi 0x([0-9a-f]{8})", listed)}, old.spis)
        check.equal("and changes nothing", kernel.spis(), mixed.spis)
        said = flush_orphans().stdout
        check.equal("the SAs that charon knows are left, and no other", (kernel.spis(), len(mixed.known_spis)),
                    (mixed.known_spis, 2))
        pings.wait_for_answers()
        result = pings.stop()
    check.that("it says so", said.startswith(f"Removed {len(old.spis)} SAs ({len(old.spis)} esp)"), said)
    check.equal("no ping of the new tunnel is lost", result.lost, 0)
    check.equal("policies stay", {policy.index for policy in look().policies}, mixed.indexes)
    check.equal("then there is nothing to remove", flush_orphans().stdout, "Nothing to remove.\n")


def rekeyings(check):
    """Rekeys 200 CHILD_SAs at once. Meanwhile status finds no disagreement, and flush --orphans finds no orphan."""
    start(())
    count = CONNECTIONS_MANY * CHILDREN_EACH
    with many.configured(CONNECTIONS_MANY, CHILDREN_EACH):
        many.establish(CONNECTIONS_MANY, CHILDREN_EACH)
        wait_for(lambda: len(gateway.child_sas()) >= count, 100, f"{count} CHILD_SAs", POLL_SECONDS_SLOW)
        begun, under_way, looks, said = kernel.spis(), [], [], []
        # Block IKE first, so that all rekeyings have begun or are queued before the first one ends.
        network.block_ike()
        many.rekey(CHILDREN_EACH)
        while left := many.rekeyings():
            under_way.append(left)
            if len(under_way) == 2:
                network.unblock_ike()
            seen = run(xfrmctl.PROGRAM, "status", "--json", check=False)
            removed = run(xfrmctl.PROGRAM, "flush", "--orphans", "-v", "--dry-run", check=False)
            # A busy charon may not answer in time. Then neither command reports orphans.
            if seen.returncode != UNKNOWN:
                found = json.loads(seen.stdout)
                looks.append((seen.returncode, {name: found.get(name) for name in xfrmctl.DISAGREEMENTS
                                                if found.get(name) != []}))
            if removed.returncode != UNKNOWN:
                said.append(removed.stdout)
            check.note(removed.stderr.strip())
        replaced = len(begun - kernel.spis())
        check.note(f"{under_way} of {count} being rekeyed, {replaced} of {len(begun)} SAs replaced")
        check.equal("all rekeyings were under way", under_way[0], count)
        check.equal("status finds no disagreement", looks, [(0, {})] * max(len(looks), 1))
        check.equal("nor does flush", said, ["Nothing to remove.\n"] * max(len(said), 1))
        check.that("SAs were replaced meanwhile", replaced >= count, replaced)
        gateway.stop()


SCENARIOS = (orphans, rekeyings)
ONLY_REFERENCE = (rekeyings,)
