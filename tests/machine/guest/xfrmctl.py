# SPDX-License-Identifier: GPL-2.0-or-later
"""The installed xfrmctl: its drop-in, its defaults file, its program and its messages."""

import re
from pathlib import Path

import journal
import kernel
from command import run
from strongswan import gateway

DROP_IN_NAME = "50-xfrmctl.conf"
DEFAULTS = Path("/etc/default/xfrmctl")

UNIT_FOLDERS = (Path("/usr/lib/systemd/system"), Path("/usr/local/lib/systemd/system"))


def drop_in_of(unit):
    [found] = [file for folder in UNIT_FOLDERS for file in (folder / f"{unit}.d").glob(f"{DROP_IN_NAME}*")]
    return found.with_name(DROP_IN_NAME)


DROP_IN = drop_in_of(gateway.unit)
DEFAULTS_INSTALLED = DEFAULTS.read_text()
PROGRAM = Path(re.search(r"^ExecStartPre=-?(\S+)", DROP_IN.read_text(), re.MULTILINE)[1])

# What the selectors of shadows carry: those that hold, those that the kernel lets expire, and those that arm puts close
# behind a policy.
HOLD = 0x58464d48
GRACE = 0x58464d47
CLOSE = 0x58464d43


def shadows(tags=(HOLD, GRACE, CLOSE), netns=None):
    return [policy for policy in kernel.policies(netns) if policy.user in tags]


def enable(wanted, unit=gateway.unit):
    """With the drop-in or, as strongSwan comes, without it."""
    drop_in = drop_in_of(unit)
    disabled = drop_in.with_name(f"{DROP_IN_NAME}.disabled")
    source, target = (disabled, drop_in) if wanted else (drop_in, disabled)
    if source.exists():
        source.rename(target)
        run("systemctl", "daemon-reload")


def configure(options=None, release_options=None, select=None):
    """Sets the options of the flush, those of the release, and what is charon's; without any, the file is as it was
    installed."""
    settings = {"XFRMCTL_FLUSH_OPTIONS": options, "XFRMCTL_RELEASE_OPTIONS": release_options, "XFRMCTL_SELECT": select}
    chosen = "".join(f'{name}="{value}"\n' for name, value in settings.items() if value is not None)
    DEFAULTS.write_text(chosen or DEFAULTS_INSTALLED)


def summaries(cursor=None, unit=gateway.unit):
    """The entries in which a flush says what it removed, as `journalctl -u` finds them."""
    return [entry for entry in journal.of_unit(unit, cursor)
            if entry.get("SYSLOG_IDENTIFIER") == "xfrmctl" and "XFRM_SAS" in entry]


def releases(cursor=None, unit=gateway.unit):
    """The entries in which a release says what became of the shadows."""
    return [entry for entry in journal.of_unit(unit, cursor)
            if entry.get("SYSLOG_IDENTIFIER") == "xfrmctl" and "XFRM_SHADOWS_RELEASED" in entry]


def removed(summary):
    """How many (SAs, policies) a flush removed."""
    return int(summary["XFRM_SAS"]), int(summary["XFRM_POLICIES"])
