# SPDX-License-Identifier: GPL-2.0-or-later
"""Queries the systemd journal."""

import json

from command import run


def entries(*arguments):
    """Returns the matching entries, oldest first, as dictionaries of their fields."""
    run("journalctl", "--sync")     # so that entries sent before this call are in the answer
    return [json.loads(line) for line in run("journalctl", "-b", "-o", "json", *arguments).stdout.splitlines()]


def now():
    """Returns the cursor of the last entry, for use with --after-cursor."""
    [last] = entries("-n", "1")
    return last["__CURSOR"]


def of_unit(unit, cursor=None, *matches):
    """Returns the entries that `journalctl -u` shows, since the cursor or since boot, and that have these fields."""
    # With --after-cursor, systemd 252 omits the unit's first entry if the entry at the cursor belongs to another unit.
    found = entries("-u", unit, *([f"--cursor={cursor}"] if cursor else []), *matches)
    return [entry for entry in found if entry["__CURSOR"] != cursor]


def explained(unit, cursor):
    """Returns the output of `journalctl -x -u` since the cursor, as an operator reads it."""
    run("journalctl", "--sync")
    # --cursor, as in of_unit(). The entry at the cursor does no harm here.
    return run("journalctl", "-b", "-x", "-u", unit, f"--cursor={cursor}").stdout


def monotonic(entry):
    """Returns the time when the journal received the entry, in microseconds of the system's monotonic clock."""
    return int(entry["__MONOTONIC_TIMESTAMP"])


def sent(entry):
    """Returns the time when the entry was sent, in microseconds since 1970. A busy journald receives it later."""
    return int(entry["_SOURCE_REALTIME_TIMESTAMP"])


def text(found):
    return "\n".join(str(entry["MESSAGE"]) for entry in found)
