# SPDX-License-Identifier: GPL-2.0-or-later
"""xfrmctl's units: systemd accepts them, their exposure is limited, and an operator's units take precedence over
them."""

import re
from contextlib import contextmanager
from pathlib import Path

import xfrmctl
from command import run
from strongswan import gateway

# Folder of the distribution's units.
DISTRIBUTION = Path("/usr/lib/systemd/system")

# Maximum exposure of each unit (`systemd-analyze security`, from 0 to 10). The units need the remaining exposure: they
# run as root and use netlink and local sockets, also another user's. Some enter the network namespace of a service.
EXPOSURE = {
    "xfrmctl-boot@.service": 1.8,
    "xfrmctl-handover@.service": 2.3,
    "xfrmctl-load@.service": 1.1,
    "xfrmctl-metrics.service": 1.9,
    "xfrmctl-save@.service": 1.8,
    "xfrmctl-starter@.service": 1.1,
    "xfrmctl-stop@.service": 2.3,
    "xfrmctl-watch@.service": 2.6,
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


@contextmanager
def full_copy(**changed):
    """Copies the vendor's unit to /etc with some settings changed, as an operator may do. For the with block."""
    text = (DISTRIBUTION / gateway.unit).read_text()
    for name, value in changed.items():
        text = re.sub(rf"^{name}=.*\n", "", text, flags=re.MULTILINE)
        text = text.replace("[Service]\n", f"[Service]\n{name}={value}\n")
    copy = Path("/etc/systemd/system", gateway.unit)
    before = copy.readlink() if copy.is_symlink() else None
    copy.unlink(missing_ok=True)
    copy.write_text(text)
    run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        copy.unlink()
        if before:
            copy.symlink_to(before)
        run("systemctl", "daemon-reload")


def operators_units(check):
    with full_copy(Restart="always"):
        check.equal("Restart= of a full copy counts", gateway.show("Restart"), "always")
        with gateway.drop_in("[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=7s\n", "20-local"):
            check.equal("a drop-in whose name comes after 10-xfrmctl.conf counts more than that",
                        (gateway.show("StartLimitIntervalUSec"), gateway.show("RestartUSec")), ("0", "7s"))


SCENARIOS = (units, operators_units)
ONLY_REFERENCE = (operators_units,)
