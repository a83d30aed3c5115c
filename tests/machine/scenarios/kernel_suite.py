# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel suite on this machine's kernel, which has ESP and PF_KEY; the kernel of a build machine may lack them."""

import os
import re
import sys
from pathlib import Path

import xfrmctl
from command import run

HOME = Path(__file__).parent.parent
SUITE = HOME / "kernel"
TOOLS = HOME / "tools"

# The cases that depend on the kernel, by program, with words of their titles; without words, all cases. The whole suite
# takes six minutes in an emulated machine. xfrmctl itself decides which entries it selects and who is a key manager. So
# it is enough to show that this kernel understands the deletions, and that xfrmctl can read the kernel's tables of
# sockets.
TESTS = {
    "everything": (),
    "larval": ("takes the SAs", "counted by protocol", "After", "with an if_id", "So it does"),
    "owners": ("PF_KEY", "`ip xfrm monitor`", "charon, which listens", "in another network namespace", "cannot be seen"),
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
# Time limit of a program, in seconds.
SECONDS = 200

# Number of cases of which one is run: a kernel that differs would fail more than one case.
ONE_OF = 3

LINE = re.compile(r"^(ok|not ok) \d+ - (.*?)( # SKIP (.*))?$")


def run_tests(check, tests, one_of=1):
    """Runs these test programs. Of the cases with these words in their titles, runs one of every `one_of`."""
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
    """Reports the TAP results of a test program as checks of the scenario."""
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
