# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs scenarios, and prints a line of TAP for each of their checks."""

import faulthandler
import signal
import sys
import time
import traceback

from calibration import scaled
from tap import Skip, comment

# Limits of one scenario and of its cleanup after a timeout, in seconds of the reference machine. The longest scenario
# takes some two minutes, but the host may get busy at any time.
SCENARIO_SECONDS = 600
CLEANUP_SECONDS = 60


class TooSlow(Exception):
    pass


class Checks:
    """The checks of one scenario. A failed check is reported, and the scenario continues. It ends early only if it has
    waited in vain for a condition that the rest of it needs."""

    def __init__(self, tap, scenario):
        self.tap = tap
        self.scenario = scenario
        self.variant = ""

    def name(self, what):
        return ": ".join(part for part in (self.scenario, self.variant, what) if part)

    def note(self, text):
        comment(self.name(text))

    def that(self, what, passed, seen=""):
        self.tap.that(self.name(what), passed, *([f"seen: {seen}"] if seen != "" else []))

    def skip(self, what, reason):
        self.tap.skip(self.name(what), reason)

    def equal(self, what, seen, expected):
        self.tap.that(self.name(what), seen == expected, f"expected: {expected!r}", f"seen:     {seen!r}")

    def empty(self, what, seen):
        self.that(what, not seen, seen)


def ring(*_):
    raise TooSlow("not at its end within its time")


def set_alarms(seconds):
    """Sets the limits. First an exception ends the scenario. If its handlers hang, more exceptions end them. Finally
    the program exits, so that its unit saves the journal."""
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, scaled(seconds), scaled(CLEANUP_SECONDS))
    faulthandler.dump_traceback_later(scaled(seconds + 3 * CLEANUP_SECONDS), exit=True, file=sys.stdout)


def clear_alarms():
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.cancel_dump_traceback_later()


def run_scenario(tap, name, scenario, seconds=SCENARIO_SECONDS):
    """Runs one scenario. Reports its exceptions, so that the next scenario can run."""
    checks = Checks(tap, name)
    comment(f"{name}: begins")
    started = time.monotonic()
    set_alarms(seconds)
    try:
        scenario(checks)
    except Skip as reason:
        tap.skip(name, reason)
    except Exception as error:
        tap.that(checks.name(f"ends early: {error!r}"), False, traceback.format_exc())
    finally:
        clear_alarms()
    comment(f"{name}: ends after {time.monotonic() - started:.1f} s")
