# SPDX-License-Identifier: GPL-2.0-or-later
"""How slow this machine is. Deadlines are chosen for a reference; here they are scaled."""

import subprocess
import time

# Most of a scenario is programs that start.
PROGRAM = ("ip", "-V")
PROGRAMS = 50

# Seconds that these take in an emulated machine that has two processors of its host (EPYC, 2.4 GHz) for itself.
REFERENCE_SECONDS = 3

# How many times the time of the reference something takes here; never less than 1.
slowness = 1.0


def measure():
    """Sets slowness; returns a line that says so, which tests/machine/report.py reads."""
    global slowness
    begun = time.monotonic()
    for _ in range(PROGRAMS):
        subprocess.run(PROGRAM, stdout=subprocess.DEVNULL, check=True)
    seconds = time.monotonic() - begun
    slowness = max(seconds / REFERENCE_SECONDS, 1.0)
    return (f"# calibration: {PROGRAMS} programs take {seconds:.2f} s, the reference takes {REFERENCE_SECONDS} s: "
            f"deadlines are times {slowness:.2f}")


def scaled(seconds):
    return seconds * slowness
