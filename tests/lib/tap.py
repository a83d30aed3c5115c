# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of tests in the Test Anything Protocol (TAP), and comparisons whose failures show both values."""

import traceback


class Skip(Exception):
    """Raised if this machine cannot run the test. The text gives the reason."""


def comment(text):
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


class Tap:
    """Prints results and counts them."""

    def __init__(self):
        self.count = self.failed = 0

    def that(self, what, passed, *diagnostics):
        """Prints one result, and the diagnostics after a failure."""
        self.count += 1
        self.failed += not passed
        # In TAP, a number sign begins a directive.
        print(f"{'ok' if passed else 'not ok'} {self.count} - {what}".replace("#", ""), flush=True)
        for text in () if passed else diagnostics:
            comment(text)

    def skip(self, what, reason):
        self.count += 1
        print(f"ok {self.count} - {what}".replace("#", ""), f"# SKIP {reason}", flush=True)

    def run(self, title, function):
        """Runs a function and prints its result: Skip is a skipped test, any other exception a failure."""
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
        """Prints the number of results. Before the results, the caller has to pass it. After them, it is known."""
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
