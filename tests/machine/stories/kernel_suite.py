# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel suite on this kernel, which has what a build machine may lack: ESP, PF_KEY."""

import os
import re
import sys
from pathlib import Path

import xfrmctl
from command import run

HOME = Path(__file__).parent.parent
SUITE = HOME / "kernel"
TOOLS = HOME / "tools"

# Those in which this kernel makes a difference; emulated, all of them take six minutes.
TESTS = ("everything", "larval", "owners", "selection", "hold", "precedence")
SECONDS = 200

LINE = re.compile(r"^(ok|not ok) \d+ - (.*?)( # SKIP (.*))?$")


def kernel_suite(check):
    env = {
        **os.environ,
        "XFRMCTL": str(xfrmctl.PROGRAM),
        "FAULT": str(TOOLS / "libfault.so"),
        "FILL": str(TOOLS / "fill"),
        "LISTENER": str(TOOLS / "listener"),
    }
    for check.variant in TESTS:
        done = run(sys.executable, str(SUITE / f"test_{check.variant}.py"), check=False, env=env, seconds=SECONDS)
        results = [result for line in done.stdout.splitlines() if (result := LINE.match(line))]
        for result in results:
            if result[3]:
                check.skip(result[2], result[4])
            else:
                check.that(result[2], result[1] == "ok", done.stdout)
        check.that("it comes to its end", results and done.returncode in (0, 1), done.stdout + done.stderr)


STORIES = (kernel_suite,)
