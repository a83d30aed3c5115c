# SPDX-License-Identifier: GPL-2.0-or-later
"""xfrmctl fails before charon's start: charon starts all the same, and the journal has the error. A setting is wrong:
traffic stays blocked until charon protects it, and a stop unblocks it."""

import re
import signal
from contextlib import contextmanager
from pathlib import Path

import journal
import xfrmctl
from gateway_setup import establish, look, start
from streams import FEW, Flows
from strongswan import gateway
from xfrmctl import PROGRAM

from .traffic import check_tally

[LIBRARY] = Path("/usr/lib").glob("*-linux-gnu/libnl-route-3.so.200")


@contextmanager
def away(file):
    moved = file.with_suffix(".away")
    file.rename(moved)
    try:
        yield
    finally:
        moved.rename(file)


@contextmanager
def replaced(script):
    with away(PROGRAM):
        PROGRAM.write_text(script)
        PROGRAM.chmod(0o755)
        yield


@contextmanager
def not_executable():
    PROGRAM.chmod(0o644)
    try:
        yield
    finally:
        PROGRAM.chmod(0o755)


# (description, context manager that breaks the helper, pattern of the journal's message)
FAILURES = (
    ("no program", away(PROGRAM), rf"{PROGRAM}.*(missing|No such file)"),
    ("a program that may not be run", not_executable(), rf"{PROGRAM}.*Permission denied"),
    ("a library is missing", away(LIBRARY), re.escape(LIBRARY.name)),
    ("a helper that ends with status 1", replaced("#!/bin/sh\necho no luck today >&2\nexit 1\n"), r"no luck today"),
    # systemd logs no crash of a command whose failures it has to ignore, but the kernel does.
    ("a helper that crashes", replaced("#!/usr/bin/python3\nimport ctypes\nctypes.string_at(0)\n"),
     r"xfrmctl\[\d+\]: segfault"),
)

# (setting, arguments of xfrmctl.configure() with a wrong value, words of the message)
WRONG = (
    ("MODE", {"mode": "holf"}, "holf"),
    ("SELECT", {"select": "--exclude=reqid=many"}, "many"),
    ("ROUTES", {"routes": "--routes=main"}, "main"),
    ("FLUSH_OPTIONS", {"options": "--no-such-option"}, "--no-such-option"),
    ("RELEASE_OPTIONS", {"release_options": "--grace=soon"}, "soon"),
)
NAME = "net4"


def everything_said(cursor):
    """Returns the messages of the unit, of systemd about the unit, and of the kernel.

    A child of systemd that could not execute the helper may have ended when journald looks up its unit. Then
    `journalctl -u` does not find its message, but a match of the field UNIT= does.
    """
    since = f"--after-cursor={cursor}"
    found = (journal.of_unit(gateway.unit, cursor) + journal.entries(since, f"UNIT={gateway.unit}")
             + journal.entries(since, "-k"))
    return journal.text(found)


def failing_helper(check):
    start()
    establish()
    for check.variant, broken, explanation in FAILURES:
        before, cursor = look(), journal.now()
        with broken:
            gateway.crash_and_wait(signal.SIGKILL)
        said = everything_said(cursor)
        trapped = gateway.swanctl("--list-pols", "--trap").stdout
        check.that("charon runs and has trapped its connection", "net4" in trapped, trapped)
        check.equal("nothing was removed", before.spis - look().spis, set())
        check.that("the journal says what was wrong", re.search(explanation, said), said)

    check.variant = "repaired"
    before = look()
    gateway.crash_and_wait(signal.SIGKILL)
    check.equal("the old SAs are gone", before.spis & look().spis, set())


def crash_with(check, flows, setting, explanation):
    before, cursor = flows.tallies(), journal.now()
    gateway.crash_and_wait(signal.SIGKILL)
    flows.wait_carried()
    tally = flows.since(before)[NAME]
    check_tally(check, tally, held_back=False)
    trapped = gateway.swanctl("--list-pols", "--trap").stdout
    check.that("charon runs and has trapped its connection", NAME in trapped, trapped)
    said = [entry["MESSAGE"] for entry in xfrmctl.said("A setting of xfrmctl is wrong", cursor)]
    check.that("each sentence names the setting, and what is wrong with it",
               said and all(f"XFRMCTL_{setting} is wrong: " in text and explanation in text for text in said), said)


def wrong_settings(check):
    for setting, configured, explanation in WRONG:
        check.variant = setting
        start((NAME,))
        establish((NAME,))
        with Flows({NAME: FEW}) as flows:
            flows.wait_carried()
            xfrmctl.configure(**configured)
            crash_with(check, flows, setting, explanation)
            gateway.stop()
            check.equal("stopped: nothing is blocked or kept", xfrmctl.kept() + xfrmctl.shadows(), [])
            check.that("stopped: plaintext passes both ways", flows.becomes_free(NAME), flows.tallies())
        xfrmctl.configure()


SCENARIOS = (failing_helper, wrong_settings)
ONLY_REFERENCE = SCENARIOS
