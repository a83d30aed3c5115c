# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal's messages about a flush: their text, their order, and the unit that they belong to."""

import re
import signal

import journal
import xfrmctl
from command import run
from gateway_setup import establish, start
from strongswan import gateway

ROUNDS = 3

# Messages with words of their explanations, in the order in which an operator reads them.
EXPLANATION = (
    "Main process exited, code=killed, status=9/KILL",
    "Put shadows behind 3 policies", "the old policies and SAs carry the traffic until the new start",
    "Scheduled restart job",
    "Removed 2 SAs (2 esp), 3 policies", "2 SAs and 3 policies have been removed", "3 shadows replace policies",
    "Released 3 shadows", "protects its traffic again", "What to do: nothing",
    f"Started {gateway.unit}",
)


def check_explanation(check, text):
    """Checks the output of `journalctl -x` after a crash."""
    # journalctl does not break lines, but the catalog's explanations have several lines.
    words, place = " ".join(line.removeprefix("░░ ").strip() for line in text.splitlines()), 0
    for expected in EXPLANATION:
        found = words.find(expected, place)
        check.that(f"`journalctl -x` goes on: {expected}", found >= 0, words[place:])
        place = max(found, place)


def reporting(check):
    start()
    establish()
    cursor = journal.now()
    # An installation without DESTDIR also runs this command.
    run("journalctl", "--update-catalog")
    gateway.crash_and_wait(signal.SIGKILL)
    check_explanation(check, journal.explained(gateway.unit, cursor))
    for _ in range(ROUNDS - 1):
        gateway.crash_and_wait(signal.SIGKILL)
    summaries = xfrmctl.summaries(cursor)
    # Only the first instance had SAs. Each instance had three trap policies.
    check.equal("`journalctl -u` shows the flush of every crash, with what it removed",
                [xfrmctl.removed(entry) for entry in summaries], [(2, 3)] + [(0, 3)] * (ROUNDS - 1))

    summary = summaries[0]
    check.equal("the message belongs to the unit", summary.get("OBJECT_SYSTEMD_UNIT"), gateway.unit)
    check.that("its text has the counts", re.search(r"\b2 SAs\b.*\b3 policies\b", summary["MESSAGE"]),
               summary["MESSAGE"])
    check.equal("it is for information", summary.get("PRIORITY"), "6")


SCENARIOS = (reporting,)
ONLY_REFERENCE = SCENARIOS
