# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel without XFRM. After this scenario, no other can run that needs XFRM."""

from pathlib import Path

import kernel
import xfrmctl
from command import run, wait_for
from strongswan import blue, gateway, peer


def no_xfrm(check):
    for strongswan in (gateway, peer, blue):
        strongswan.stop()
        kernel.flush(strongswan.netns)
    Path("/etc/modprobe.d/no-xfrm.conf").write_text("install xfrm_user /bin/false\n")
    wait_for(lambda: run("rmmod", "xfrm_user", check=False).returncode == 0, 20, "xfrm_user unloaded")

    failed = run(xfrmctl.PROGRAM, "flush", check=False)
    check.equal("a flush fails with status 1", failed.returncode, 1)
    check.that("and says that the kernel has no XFRM", "XFRM" in failed.stderr and "kernel" in failed.stderr,
               failed.stderr)


SCENARIOS = (no_xfrm,)
