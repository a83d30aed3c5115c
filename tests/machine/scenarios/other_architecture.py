# SPDX-License-Identifier: GPL-2.0-or-later
"""xfrmctl on another architecture, under its filter of system calls, and with the kernel's messages as they are there: unit
tests, and of the kernel suite what flush, hold, release and the others need of the C library and of the kernel."""

import os
import platform

import xfrmctl
from command import run

from .kernel_suite import TOOLS, report_tap, run_tests

# The first takes long, and the second needs the source.
LEFT_OUT = ("test-timespan", "test-vici_message")

TESTS = {
    "privileges": (),
    "everything": (),
    "hold": (),
    "release": (),
    "keep": ("With real SAs",),
    "handover": ("With real SAs",),
}


def other_architecture(check):
    check.note(" ".join(platform.uname()))
    env = {**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP", "XFRMCTL": str(xfrmctl.PROGRAM)}
    for test in sorted((TOOLS / "unit").iterdir()):
        if test.name not in LEFT_OUT:
            check.variant = test.name
            report_tap(check, run(str(test), check=False, env=env))
    run_tests(check, TESTS)


SCENARIOS = (other_architecture,)
