# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks all messages that xfrmctl has written to the journal in the other scenarios."""

import re

import journal
from command import run

# Messages that are not xfrmctl's. They come from helpers by which a scenario replaces xfrmctl, or from the dynamic
# loader or a shell that could not run it.
NOT_OURS = "^no luck today$|error while loading shared libraries|^/usr/(local/)?sbin/xfrmctl: [0-9]+: |^SyntaxError: "


def messages(check):
    """Checks that the catalog explains each message. Runs after all other scenarios."""
    run("journalctl", "--update-catalog")
    explained = {line.split()[0] for line in run("journalctl", "--list-catalog").stdout.splitlines()}
    said = [entry for entry in journal.entries("SYSLOG_IDENTIFIER=xfrmctl")
            if not re.search(NOT_OURS, str(entry["MESSAGE"]))]
    check.that("xfrmctl has said something", said)
    check.empty("the catalog explains each message",
                [entry["MESSAGE"] for entry in said if entry.get("MESSAGE_ID") not in explained])


SCENARIOS = (messages,)
