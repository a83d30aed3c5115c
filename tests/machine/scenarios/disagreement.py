# SPDX-License-Identifier: GPL-2.0-or-later
"""What others do to charon's state in the kernel, as `xfrmctl status` shows it, and the commands that mend it.
And policies of all kinds, in which it finds nothing."""

import json
import signal
from contextlib import contextmanager
from pathlib import Path

import connections
import network
import xfrmctl
from command import run, wait_for
from connections import CONNECTIONS, NEGOTIATED, POLICY_KINDS
from gateway_setup import RECOVERY_SECONDS, configured, establish, start, wait_handover_over, wait_in_step
from strongswan import gateway

NAME = "net4"
LINK = "foreign"
NETWORKD = "systemd-networkd.service"
NETWORK = Path("/run/systemd/network/50-foreign.network")
SETTINGS = Path("/run/systemd/networkd.conf.d/rules.conf")


def check_found(check, what, expected):
    """Checks that status finds exactly this: names of JSON members, with the number of their elements. Returns the
    findings."""
    code, found = xfrmctl.disagreements()
    check.equal(f"status finds {what}", (code, {name: len(value) for name, value in found.items()}), (4, expected))
    return [finding for value in found.values() for finding in value]


def mend(findings):
    """Runs the commands that mend these findings, each once."""
    for command in dict.fromkeys(finding["mend"] for finding in findings):
        run("sh", "-c", command, check=False)


def check_mended(check, findings):
    mend(findings)
    gateway.initiate(NAME)
    wait_in_step()
    check.note("\n".join(finding["mend"] for finding in findings))
    xfrmctl.check_agreement(check)


def policy_deleted(check):
    ours, theirs = CONNECTIONS[NAME].networks
    run("ip", "xfrm", "policy", "delete", "src", ours, "dst", theirs, "dir", "out")
    found = check_found(check, "the policy that was deleted by hand", {"missing_policies": 1})
    check.equal("its packets are unprotected",
                [(finding["dir"], finding["src"], finding["dst"], finding["traffic"]) for finding in found],
                [("out", ours, theirs, "unprotected")])
    check.note(run(xfrmctl.PROGRAM, "status", check=False).stdout)
    check_mended(check, found)


def states_flushed(check):
    run("ip", "xfrm", "state", "flush")
    found = check_found(check, "the SAs that were flushed", {"missing_sas": 4})
    check_mended(check, found)


def rule_deleted(check):
    run("ip", "rule", "delete", "table", "220")
    found = check_found(check, "the rule that was deleted", {"missing_rules": 1})
    check_mended(check, found)


def route_deleted(check):
    run("ip", "route", "delete", CONNECTIONS[NAME].networks[1], "table", "220")
    check_mended(check, check_found(check, "the route that was deleted", {"missing_routes": 1}))


@contextmanager
def networkd(manages_rules):
    """Lets networkd configure a link, and with it all routing rules if it manages foreign ones."""
    NETWORK.parent.mkdir(parents=True, exist_ok=True)
    SETTINGS.parent.mkdir(parents=True, exist_ok=True)
    NETWORK.write_text(f"[Match]\nName={LINK}\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n")
    SETTINGS.write_text(f"[Network]\nManageForeignRoutingPolicyRules={manages_rules}\n")
    run("ip", "link", "add", LINK, "up", "type", "veth", "peer", "name", f"{LINK}-far")
    run("ip", "link", "set", f"{LINK}-far", "up")
    run("systemctl", "unmask", NETWORKD)
    run("systemctl", "restart", NETWORKD)
    try:
        wait_for(lambda: json.loads(run("networkctl", "--json=short", "status", LINK).stdout)["AdministrativeState"]
                 == "configured", 60, "networkd has configured the link")
        yield
    finally:
        run("systemctl", "stop", NETWORKD, "systemd-networkd.socket", check=False)
        run("systemctl", "mask", NETWORKD)
        run("ip", "link", "delete", LINK)
        NETWORK.unlink()
        SETTINGS.unlink()


def networkd_restarted(check):
    with networkd("no"):
        xfrmctl.check_agreement(check)
    with networkd("yes"):
        found = check_found(check, "the rules that networkd removed", {"missing_rules": 2})
    check_mended(check, found)


def policy_added(check):
    run("ip", "xfrm", "policy", "add", "src", "10.77.0.0/24", "dst", "10.78.0.0/24", "dir", "out", "action", "block")
    check_mended(check, check_found(check, "the policy that nobody explains", {"unexplained_policies": 1}))


def default_set(check):
    run("ip", "xfrm", "policy", "setdefault", "fwd", "block")
    code, text = (done := run(xfrmctl.PROGRAM, "status", check=False)).returncode, done.stdout
    check.equal("the default policy is shown, and is no disagreement",
                (code, "\ndefault      in allow, fwd block, out allow\n" in text), (0, True))
    run("ip", "xfrm", "policy", "setdefault", "fwd", "accept")


def connection_removed(check):
    connections.remove_from_gateway(NAME)
    gateway.swanctl("--load-all")
    found = check_found(check, "the CHILD_SA whose connection is not configured", {"unconfigured_child_sas": 1})
    mend(found)
    xfrmctl.check_agreement(check)


def disagreement(check):
    # Each family has a route, since status does not miss a route in a table without any.
    start((NAME, "net6"))
    establish((NAME, "net6"))
    xfrmctl.check_agreement(check)
    for part in (policy_deleted, states_flushed, rule_deleted, route_deleted, networkd_restarted, policy_added,
                 default_set, connection_removed):
        check.variant = part.__name__.replace("_", " ")
        part(check)


def handover_waits(check):
    """Lets status look while a handover waits for the peer: at traps, shunts, kept policies and guard SAs."""
    network.block_ike()
    gateway.crash_and_wait(signal.SIGKILL)
    wait_for(xfrmctl.kept, RECOVERY_SECONDS, "old SAs go on")
    xfrmctl.check_agreement(check)
    check.that("the handover still waits", xfrmctl.kept())
    network.unblock_ike()
    wait_handover_over()
    wait_in_step()


def policy_kinds(check):
    """Lets status look at marks, narrowed selectors and shunts, before, during and after a handover."""
    start((), mode="auto")
    xfrmctl.configure(mode="auto", handover_options="--timeout=1min")
    with configured(POLICY_KINDS):
        check.variant = "traps and shunts"
        xfrmctl.check_agreement(check)
        establish(NEGOTIATED)
        check.variant = "established"
        xfrmctl.check_agreement(check)
        check.variant = "the handover waits"
        handover_waits(check)
        check.variant = "handed over"
        xfrmctl.check_agreement(check)
        gateway.stop()


SCENARIOS = (disagreement, policy_kinds)
