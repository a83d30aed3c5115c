# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit tests, and those kernel tests that depend on the C library and on the kernel, on another architecture.
There, xfrmctl has another filter of system calls, and the kernel's messages have another layout."""

import os
import platform

import xfrmctl
from command import run

from .kernel_suite import TOOLS, report_tap, run_tests

# Unit tests to skip: the first takes long, the second needs files of the source tree.
LEFT_OUT = ("test-timespan", "test-vici_message")

# Programs of the kernel suite, each with words of the titles of its cases; without words, all cases run.
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
