# SPDX-License-Identifier: GPL-2.0-or-later
"""Queries of the systemd journal."""

import json

from command import run


def entries(*arguments):
    """The matching entries, oldest first, as dictionaries of their fields."""
    run("journalctl", "--sync")     # what was sent before this call is in the answer
    return [json.loads(line) for line in run("journalctl", "-b", "-o", "json", *arguments).stdout.splitlines()]


def now():
    """A place in the journal: give it to --after-cursor."""
    [last] = entries("-n", "1")
    return last["__CURSOR"]


def of_unit(unit, cursor=None, *matches):
    """What `journalctl -u` shows, since the cursor or since boot, of the entries with these fields."""
    # With --after-cursor, systemd 252 leaves out the unit's first entry when that at the cursor is not the unit's.
    found = entries("-u", unit, *([f"--cursor={cursor}"] if cursor else []), *matches)
    return [entry for entry in found if entry["__CURSOR"] != cursor]


def explained(unit, cursor):
    """What `journalctl -x -u` shows since the cursor, as an operator reads it."""
    run("journalctl", "--sync")
    # See of_unit(); an entry too many does no harm.
    return run("journalctl", "-b", "-x", "-u", unit, f"--cursor={cursor}").stdout


def monotonic(entry):
    """When the entry arrived, in microseconds of the system's monotonic clock."""
    return int(entry["__MONOTONIC_TIMESTAMP"])


def sent(entry):
    """When the entry was sent, in microseconds since 1970: a busy journald takes it later."""
    return int(entry["_SOURCE_REALTIME_TIMESTAMP"])


def text(found):
    return "\n".join(str(entry["MESSAGE"]) for entry in found)
