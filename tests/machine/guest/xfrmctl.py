# SPDX-License-Identifier: GPL-2.0-or-later
"""The installed xfrmctl: its drop-in, its defaults file, its program and its messages."""

import json
import re
from pathlib import Path

import journal
import kernel
from command import run
from strongswan import gateway
from tags import ADJACENT, EXPIRING, HOLD, KEPT

DROP_IN_NAME = "10-xfrmctl.conf"
DEFAULTS = Path("/etc/default/xfrmctl")

UNIT_FOLDERS = (Path("/usr/lib/systemd/system"), Path("/usr/local/lib/systemd/system"))


def drop_in_of(unit):
    """Returns the path of the unit's drop-in, also if the drop-in is disabled; None if xfrmctl is not installed."""
    found = [file for folder in UNIT_FOLDERS for file in (folder / f"{unit}.d").glob(f"{DROP_IN_NAME}*")]
    return found[0].with_name(DROP_IN_NAME) if found else None


DROP_IN = drop_in_of(gateway.unit)
BOOT_UNIT = "xfrmctl-boot@strongswan.service"
SAVE_UNIT = "xfrmctl-save@strongswan.service"
SAVE_TIMER = "xfrmctl-save@strongswan.timer"
SAVED = Path("/var/lib/xfrmctl/strongswan")
HANDOVER_UNIT = f"xfrmctl-handover@{gateway.unit}"
CATALOGS = (Path("/usr/lib/systemd/catalog/xfrmctl.catalog"), Path("/usr/local/lib/systemd/catalog/xfrmctl.catalog"))
DEFAULTS_INSTALLED = DEFAULTS.read_text() if DROP_IN else ""
PROGRAM = Path(re.search(r"^ExecStartPre=-?(\S+)", DROP_IN.read_text(), re.MULTILINE)[1] if DROP_IN
               else "/usr/sbin/xfrmctl")


# Members of the JSON of status that are empty when kernel and charon agree.
DISAGREEMENTS = ("orphans", "missing_sas", "missing_policies", "unexplained_policies", "missing_rules",
                 "missing_routes", "unconfigured_child_sas")


def disagreements(*options):
    """Returns the exit status of `xfrmctl status`, and the members DISAGREEMENTS of its JSON. Leaves out empty members;
    an absent member is None."""
    done = run(PROGRAM, *options, "status", "--json", check=False)
    seen = json.loads(done.stdout)
    found = {name: seen.get(name) for name in DISAGREEMENTS}
    return done.returncode, {name: value for name, value in found.items() if value != []}


def check_agreement(check):
    check.equal("status finds no disagreement", disagreements(), (0, {}))


def shadows(tags=(HOLD, EXPIRING, ADJACENT, KEPT), netns=None):
    return [policy for policy in kernel.policies(netns) if policy.user in tags]


def kept(netns=None):
    """Returns the kept policies and the guard SAs, which exist until the handover is over."""
    return shadows([KEPT], netns) + [sa for sa in kernel.sas(netns) if sa.user == KEPT]


def enable(wanted, unit=gateway.unit):
    """Enables the drop-in of the unit, or disables it, so that the unit is as strongSwan installs it."""
    drop_in = drop_in_of(unit)
    disabled = drop_in.with_name(f"{DROP_IN_NAME}.disabled")
    source, target = (disabled, drop_in) if wanted else (drop_in, disabled)
    if source.exists():
        source.rename(target)
        run("systemctl", "daemon-reload")


def configure(options=None, release_options=None, select=None, watch_options=None, mode=None,
              handover_options=None, routes=None):
    """Writes the defaults file with these settings. `options` are those of the flush, `select` is the filter for
    charon's entries, and `routes` is the option for charon's routing table. Without any setting, the file is as
    installed."""
    settings = {"XFRMCTL_FLUSH_OPTIONS": options, "XFRMCTL_RELEASE_OPTIONS": release_options, "XFRMCTL_SELECT": select,
                "XFRMCTL_WATCH_OPTIONS": watch_options, "XFRMCTL_MODE": mode,
                "XFRMCTL_HANDOVER_OPTIONS": handover_options, "XFRMCTL_ROUTES": routes}
    chosen = "".join(f'{name}="{value}"\n' for name, value in settings.items() if value is not None)
    DEFAULTS.write_text(chosen or DEFAULTS_INSTALLED)


def summaries(cursor=None, unit=gateway.unit):
    """Returns the journal entries in which a flush reports what it removed, as `journalctl -u` finds them."""
    return [entry for entry in journal.of_unit(unit, cursor)
            if entry.get("SYSLOG_IDENTIFIER") == "xfrmctl" and "XFRM_SAS" in entry]


def releases(cursor=None, unit=gateway.unit):
    """Returns the journal entries in which a release reports what became of the shadows."""
    return [entry for entry in journal.of_unit(unit, cursor)
            if entry.get("SYSLOG_IDENTIFIER") == "xfrmctl" and "XFRM_SHADOWS_RELEASED" in entry]


def handovers(cursor=None, unit=gateway.unit):
    """Returns the journal entries in which a handover reports its result."""
    return [entry for entry in journal.of_unit(unit, cursor) if "XFRM_HANDED_OVER" in entry]


def removed(summary):
    """Returns the numbers of (SAs, policies) that a flush removed."""
    return int(summary["XFRM_SAS"]), int(summary["XFRM_POLICIES"])


def said(message, cursor=None, unit=gateway.unit):
    """Returns the journal entries with the MESSAGE_ID that has this subject in the catalog, as `journalctl -u` finds
    them."""
    return journal.of_unit(unit, cursor, f"MESSAGE_ID={message_id(message)}")


def message_id(subject):
    """Returns the MESSAGE_ID that has this subject in the catalog."""
    [text] = [path.read_text() for path in CATALOGS if path.exists()]
    return re.search(rf"^-- ([0-9a-f]{{32}})\nSubject: {re.escape(subject)}$", text, re.MULTILINE)[1]
