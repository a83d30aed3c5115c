# SPDX-License-Identifier: GPL-2.0-or-later
"""The time that strongswan.service takes to start with many connections, with and without xfrmctl."""

import json
import os
import signal
from pathlib import Path

import connections
import kernel
import xfrmctl
from command import run, wait_for
from strongswan import gateway

DROP_IN = Path("/run/systemd/system/strongswan.service.d/90-patience.conf")
START_SECONDS = 600

# Traffic selectors of the gateway and of connection number i. The kernel keeps policies between single addresses in a
# hash table; all others are in a tree, and a list for each pair of networks.
SELECTORS = {
    "/32": ("10.1.0.1/32", lambda i: f"10.{64 + i // 250}.{1 + i % 250}.1/32"),
    "/24": ("10.1.0.0/24", lambda i: f"10.{64 + i // 250}.{1 + i % 250}.0/24"),
}

SECRETS = """
secrets {
    ike-all {
        secret = "a secret of the test"
    }
}
"""


def configuration(selectors, count):
    local, remote = SELECTORS[selectors]
    conns = "".join(f"""
    site{i} {{
        version = 2
        proposals = aes128-sha256-ecp256
        local_addrs = 192.0.2.1
        remote_addrs = 198.51.100.1
        local {{
            auth = psk
            id = gateway.example
        }}
        remote {{
            auth = psk
            id = site{i}.example
        }}
        children {{
            site{i} {{
                local_ts = {local}
                remote_ts = {remote(i)}
                esp_proposals = aes128-sha256
                start_action = trap
            }}
        }}
    }}""" for i in range(count))
    return f"connections {{{conns}\n}}\n" + SECRETS


def executions(name):
    """When the commands of one Exec setting began and ended: (path, begin, end) in seconds of the monotonic clock."""
    path = run("systemctl", "show", "--value", "--property=Id", gateway.unit).stdout.strip()
    unit = "/org/freedesktop/systemd1/unit/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in path)
    found = run("busctl", "--json=short", "get-property", "org.freedesktop.systemd1", unit,
                "org.freedesktop.systemd1.Service", name)
    # org.freedesktop.systemd1(5): path, arguments, ignore failure, and the real and monotonic times of start and exit.
    return [(Path(entry[0]).name, entry[4] / 1e6, entry[6] / 1e6) for entry in json.loads(found.stdout)["data"]]


def start_times():
    """How long the last start took, and its parts, in seconds."""
    before, [charon], after = (executions(f"ExecStart{when}") for when in ("Pre", "", "Post"))
    # Without a command of ExecStartPre, the start begins with charon itself.
    times = {"all": after[-1][2] - (before[0][1] if before else charon[1])}
    times.update({f"pre {program}": end - begin for program, begin, end in before})
    times["charon ready"] = after[0][1] - charon[1]
    times.update({f"post {program}": end - begin for program, begin, end in after})
    return times


def policies():
    return len(run("ip", "-o", "xfrm", "policy", seconds=START_SECONDS).stdout.splitlines())


def crash():
    pid = gateway.main_pid()
    run("systemctl", "reset-failed", gateway.unit)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: gateway.is_running_again(pid), START_SECONDS, "strongswan.service is up again")


def systemctl(verb):
    run("systemctl", verb, gateway.unit, seconds=START_SECONDS)


def configure(selectors, count):
    """A gateway with these connections, on a clean kernel."""
    systemctl("stop")
    kernel.flush()
    run("ip", "route", "flush", "table", "220", check=False)
    for file in connections.GATEWAY_FOLDER.glob("*.conf"):
        file.unlink()
    (connections.GATEWAY_FOLDER / "sites.conf").write_text(configuration(selectors, count))
    systemctl("start")


def measured(with_xfrmctl):
    """Figures of a start after a crash."""
    xfrmctl.enable(with_xfrmctl)
    before = policies()
    crash()
    return {**start_times(), "policies before": before, "policies after": policies()}


def measure(count, rounds, selectors):
    """Prints each start's figures as JSON at once, so that a machine that runs out of time leaves what it has."""
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text(f"[Service]\nTimeoutStartSec={START_SECONDS}\n")
    run("systemctl", "daemon-reload")
    xfrmctl.configure()
    for kind in selectors:
        configure(kind, count)
        print(f"{kind}: {count} connections are loaded", flush=True)
        for number in range(rounds):
            # The order alternates, so that a machine that gets slower does not favour one of the two.
            for with_xfrmctl in (False, True) if number % 2 == 0 else (True, False):
                print(json.dumps({"selectors": kind, "round": number + 1, "xfrmctl": with_xfrmctl,
                                  **measured(with_xfrmctl)}), flush=True)
