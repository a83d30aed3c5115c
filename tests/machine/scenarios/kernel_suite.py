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

# Those in which this kernel makes a difference, by words of their titles; emulated, all of them take six minutes. What
# is selected, and who is an owner, is decided in xfrmctl: here it is shown that this kernel understands the deletions, and
# that its tables of sockets are read.
TESTS = {
    "everything": (),
    "larval": ("takes the SAs", "counted by protocol", "After", "with an if_id", "So it does"),
    "owners": ("PF_KEY", "`ip xfrm monitor`", "charon, told", "in another network namespace", "cannot be seen"),
    "selection": ("An SA behind", "--match=proto=comp removes", "--match=mark=0x10 removes", "--match=mark=0/0xff removes",
                  "--match=if-id=42 removes", "--match=ptype=sub removes", "--match=src=2001:db8::/32 removes",
                  "--exclude=dir=out --exclude"),
    "hold": (),
    "precedence": (),
    "keep": ("With real SAs", "When no process ends"),
    "handover": ("With real SAs",),
    "virtual_address": (),
    "routes": ("gateway the table covers", "cannot be reached any more"),
}
SECONDS = 200

# One case of so many: a kernel that differs differs in more than one.
ONE_OF = 3

LINE = re.compile(r"^(ok|not ok) \d+ - (.*?)( # SKIP (.*))?$")


def run_tests(check, tests, one_of=1):
    """Of these test programs the cases with these words in their titles, or one of so many."""
    env = {
        **os.environ,
        "ONE_OF": str(one_of),
        "XFRMCTL": str(xfrmctl.PROGRAM),
        "FAULT": str(TOOLS / "libfault.so"),
        "FILL": str(TOOLS / "fill"),
        "LISTENER": str(TOOLS / "listener"),
    }
    for check.variant, words in tests.items():
        done = run(sys.executable, str(SUITE / f"test_{check.variant}.py"), *words, check=False, env=env, seconds=SECONDS)
        report_tap(check, done)


def report_tap(check, done):
    """What a test program has said in TAP."""
    results = [result for line in done.stdout.splitlines() if (result := LINE.match(line))]
    for result in results:
        if result[3]:
            check.skip(result[2], result[4])
        else:
            check.that(result[2], result[1] == "ok", done.stdout)
    check.that("it comes to its end", results and done.returncode in (0, 1), done.stdout + done.stderr)


def kernel_suite(check):
    run_tests(check, TESTS, ONE_OF)


SCENARIOS = (kernel_suite,)
