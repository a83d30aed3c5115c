# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of tests in the Test Anything Protocol (TAP), and comparisons that fail with both values in the text."""

import traceback


class Skip(Exception):
    """This machine cannot show whether the test holds; the text says why."""


def comment(text):
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


class Tap:
    """Prints results and counts them."""

    def __init__(self):
        self.count = self.failed = 0

    def that(self, what, passed, *diagnostics):
        """One result; the diagnostics follow when it is a failure."""
        self.count += 1
        self.failed += not passed
        # TAP gives the number sign a meaning.
        print(f"{'ok' if passed else 'not ok'} {self.count} - {what}".replace("#", ""), flush=True)
        for text in () if passed else diagnostics:
            comment(text)

    def skip(self, what, reason):
        self.count += 1
        print(f"ok {self.count} - {what}".replace("#", ""), f"# SKIP {reason}", flush=True)

    def run(self, title, function):
        """One result for a function that fails by any exception."""
        title = title.rstrip(".")
        try:
            function()
        except Skip as reason:
            self.skip(title, reason)
        except Exception:
            self.that(title, False, traceback.format_exc())
        else:
            self.that(title, True)

    def plan(self, count=None):
        """Before the results with their number, or behind them."""
        print(f"1..{self.count if count is None else count}", flush=True)


def equal(found, expected, what="what was found"):
    if found != expected:
        raise AssertionError(f"{what}:\n    {found!r}\ninstead of\n    {expected!r}")


def contains(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in\n{text}")


def is_lacking(text, *parts):
    for part in parts:
        if part in text:
            raise AssertionError(f"{part!r} is in\n{text}")
