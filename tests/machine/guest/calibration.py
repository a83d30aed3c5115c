# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures the slowness of this machine, and scales deadlines by it: they are chosen for a reference machine."""

import subprocess
import time

# The program to start, and the number of starts. Scenarios spend most of their time starting programs.
PROGRAM = ("ip", "-V")
PROGRAMS = 50

# Time of these starts on the reference, in seconds: an emulated machine with two processors of its host (EPYC, 2.4 GHz)
# to itself.
REFERENCE_SECONDS = 3

# Time of this machine divided by that of the reference; at least 1.
slowness = 1.0


def measure():
    """Sets slowness. Returns a line with it, which tests/machine/report.py reads."""
    global slowness
    begun = time.monotonic()
    for _ in range(PROGRAMS):
        subprocess.run(PROGRAM, stdout=subprocess.DEVNULL, check=True)
    seconds = time.monotonic() - begun
    slowness = max(seconds / REFERENCE_SECONDS, 1.0)
    return (f"# calibration: {PROGRAMS} programs take {seconds:.2f} s, the reference takes {REFERENCE_SECONDS} s: "
            f"deadlines are times {slowness:.2f}")


def scaled(seconds):
    """Returns a deadline of the reference machine, scaled for this machine."""
    return seconds * slowness
