# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever xfrmctl has said in the journal, in all scenarios."""

import re

import journal
from command import run

# Of the helpers that a scenario puts in the place of xfrmctl, whole or in part, and of one without its library.
NOT_OURS = "^no luck today$|error while loading shared libraries|^/usr/(local/)?sbin/xfrmctl: [0-9]+: |^SyntaxError: "


def messages(check):
    """Runs last."""
    run("journalctl", "--update-catalog")
    explained = {line.split()[0] for line in run("journalctl", "--list-catalog").stdout.splitlines()}
    said = [entry for entry in journal.entries("SYSLOG_IDENTIFIER=xfrmctl")
            if not re.search(NOT_OURS, str(entry["MESSAGE"]))]
    check.that("xfrmctl has said something", said)
    check.empty("the catalog explains each message",
                [entry["MESSAGE"] for entry in said if entry.get("MESSAGE_ID") not in explained])


SCENARIOS = (messages,)
