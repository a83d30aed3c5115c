# SPDX-License-Identifier: GPL-2.0-or-later
"""What the journal says of a flush, and where."""

import re
import signal

import journal
import xfrmctl
from command import run
from scenario import establish, start
from strongswan import gateway

ROUNDS = 5


def reporting(check):
    start()
    establish()
    cursor = journal.now()
    for _ in range(ROUNDS):
        gateway.crash_and_wait(signal.SIGKILL)
    summaries = xfrmctl.summaries(cursor)
    # Only the first life had SAs; each had three trap policies.
    check.equal("`journalctl -u` shows the flush of every crash, with what it removed",
                [xfrmctl.removed(entry) for entry in summaries], [(2, 3)] + [(0, 3)] * (ROUNDS - 1))

    summary = summaries[0]
    check.equal("the message belongs to the unit", summary.get("OBJECT_SYSTEMD_UNIT"), gateway.unit)
    check.that("its text has the counts", re.search(r"\b2 SAs\b.*\b3 policies\b", summary["MESSAGE"]),
               summary["MESSAGE"])
    check.equal("it is for information", summary.get("PRIORITY"), "6")

    # An installation without DESTDIR does this.
    run("journalctl", "--update-catalog")
    explained = run("journalctl", "--list-catalog", summary["MESSAGE_ID"], check=False).stdout
    check.that("the catalog explains the message", "xfrmctl" in explained, explained)


STORIES = (reporting,)
