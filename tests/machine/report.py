# SPDX-License-Identifier: GPL-2.0-or-later
"""Follows the scenarios in the lines that a machine prints, and reports those that did not run or did not end. This
module reads lines and returns lines; it has no other effect."""

import re

# Patterns of the lines that guest/checks.py and guest/calibration.py print.
BEGINS = re.compile(r"# (\w+): begins$")
ENDS = re.compile(r"# (\w+): ends after [\d.]+ s\b")
RESULT = re.compile(r"(?:not )?ok (\d+)\b")
PLAN = re.compile(r"1\.\.\d+")
SLOWNESS = re.compile(r"# calibration: .* times ([\d.]+)$")


def slowness(line, before):
    """Returns the machine's slowness from this line, or `before` if the line has none."""
    found = SLOWNESS.match(line)
    return float(found[1]) if found else before


class Report:
    """The state of a run: scenarios that have not ended, the one that began last, and the number of results so far. It
    is complete when the machine has printed the plan of TAP."""

    def __init__(self, scenarios):
        self.not_run = list(scenarios)
        self.begun = None
        self.results = 0
        self.complete = False

    def read(self, line):
        """Updates the state by one line of the machine."""
        if found := RESULT.match(line):
            self.results = int(found[1])
        elif found := BEGINS.match(line):
            self.begun = found[1]
        elif (found := ENDS.match(line)) and found[1] in self.not_run:
            self.not_run.remove(found[1])
        elif PLAN.match(line):
            self.complete = True

    def missing(self, why):
        """Yields a failure for each scenario that has not ended, and then the plan. Yields no lines if the run is
        complete."""
        if self.complete:
            return
        reason, *more = str(why).splitlines()
        for name in self.not_run:
            self.results += 1
            what = "not ended" if name == self.begun else "not run"
            # In TAP, a number sign begins a directive.
            yield f"not ok {self.results} - {name}: {what}: {reason}".replace("#", "")
        yield from (f"# {line}" for line in more)
        yield f"1..{self.results}"
