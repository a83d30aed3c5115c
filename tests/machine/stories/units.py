# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own units: that systemd reads them as they are meant, and what they are exposed to."""

import re

import xfrmctl
from command import run

# At most (`systemd-analyze security`, from 0 to 10). What is left: they run as root, ask the kernel by netlink and others
# by local sockets, and those that work in a service's network namespace enter it.
EXPOSURE = {
    "xfrmctl-boot@.service": 1.8,
    "xfrmctl-handover@.service": 2.1,
    "xfrmctl-metrics.service": 1.8,
    "xfrmctl-save@.service": 1.8,
    "xfrmctl-starter@.service": 1.1,
    "xfrmctl-stop@.service": 2.3,
    "xfrmctl-watch@.service": 1.1,
}


def exposure(file):
    said = run("systemd-analyze", "security", "--offline=true", "--no-pager", file, check=False).stdout
    return float(re.search(r"Overall exposure level .*: ([\d.]+)", said)[1])


def units(check):
    folder = xfrmctl.DROP_IN.parents[1]
    check.equal("each has a limit", sorted(EXPOSURE), sorted(file.name for file in folder.glob("xfrmctl-*.service")))
    for unit, limit in EXPOSURE.items():
        instance = unit.replace("@", "@strongswan")
        found = exposure(folder / unit)
        check.that(f"{unit} is exposed to {limit} of 10 at most", found <= limit, str(found))
        said = run("systemd-analyze", "verify", "--man=no", instance, check=False)
        check.equal(f"{unit} is understood", (said.returncode, said.stderr), (0, ""))


STORIES = (units,)
