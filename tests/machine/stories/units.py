# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own units: that systemd reads them as they are meant, and what they are exposed to."""

import re
from pathlib import Path

from command import run

# Where the packages' units are.
FOLDER = Path("/usr/lib/systemd/system")

# At most (`systemd-analyze security`, from 0 to 10). What is left: they run as root, ask the kernel by netlink and others
# by local sockets (another user's too), and those that work in a service's network namespace enter it.
EXPOSURE = {
    "xfrmctl-boot@.service": 1.8,
    "xfrmctl-handover@.service": 2.3,
    "xfrmctl-metrics.service": 1.9,
    "xfrmctl-save@.service": 1.8,
    "xfrmctl-starter@.service": 1.1,
    "xfrmctl-stop@.service": 2.3,
    "xfrmctl-watch@.service": 1.3,
}


def exposure(unit):
    said = run("systemd-analyze", "security", "--offline=true", "--no-pager", FOLDER / unit, check=False).stdout
    return float(re.search(r"Overall exposure level .*: ([\d.]+)", said)[1])


def units(check):
    check.equal("each has a limit", sorted(EXPOSURE), sorted(file.name for file in FOLDER.glob("xfrmctl-*.service")))
    for unit, limit in EXPOSURE.items():
        instance = unit.replace("@", "@strongswan")
        found = exposure(unit)
        check.that(f"{unit} is exposed to {limit} of 10 at most", found <= limit, str(found))
        said = run("systemd-analyze", "verify", "--man=no", instance, check=False)
        check.equal(f"{unit} is understood", (said.returncode, said.stderr), (0, ""))


STORIES = (units,)
