# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine's lines say of its scenarios, and the results of those that it did not get to. Pure: lines in, lines out.
"""

import re

# What guest/checks.py and guest/calibration.py print.
BEGINS = re.compile(r"# (\w+): begins$")
ENDS = re.compile(r"# (\w+): ends after [\d.]+ s\b")
RESULT = re.compile(r"(?:not )?ok (\d+)\b")
PLAN = re.compile(r"1\.\.\d+")
SLOWNESS = re.compile(r"# calibration: .* times ([\d.]+)$")


def slowness(line, before):
    """How slow the machine is, if this line has it."""
    found = SLOWNESS.match(line)
    return float(found[1]) if found else before


class Report:
    def __init__(self, scenarios):
        self.not_run = list(scenarios)
        self.begun = None
        self.results = 0
        self.complete = False

    def read(self, line):
        if found := RESULT.match(line):
            self.results = int(found[1])
        elif found := BEGINS.match(line):
            self.begun = found[1]
        elif (found := ENDS.match(line)) and found[1] in self.not_run:
            self.not_run.remove(found[1])
        elif PLAN.match(line):
            self.complete = True

    def missing(self, why):
        """A failure for each scenario that has not ended, and the plan, unless the machine has given it itself."""
        if self.complete:
            return
        reason, *more = str(why).splitlines()
        for name in self.not_run:
            self.results += 1
            what = "not ended" if name == self.begun else "not run"
            # TAP gives the number sign a meaning.
            yield f"not ok {self.results} - {name}: {what}: {reason}".replace("#", "")
        yield from (f"# {line}" for line in more)
        yield f"1..{self.results}"
