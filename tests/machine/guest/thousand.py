# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures the time that strongswan.service takes to start with many connections, with and without xfrmctl."""

import json
import os
import signal
from pathlib import Path

import connections
import kernel
import xfrmctl
from command import run, wait_for
from strongswan import gateway

DROP_IN = Path("/run/systemd/system/strongswan.service.d/90-timeout.conf")
START_SECONDS = 600

# Traffic selectors of the gateway and of connection number i. The kernel has policies between single addresses in a
# hash table, all others in a tree with a list for each pair of networks.
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
    """Returns (name, begin, end) of each command of one Exec setting, in seconds of the monotonic clock."""
    path = run("systemctl", "show", "--value", "--property=Id", gateway.unit).stdout.strip()
    unit = "/org/freedesktop/systemd1/unit/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in path)
    found = run("busctl", "--json=short", "get-property", "org.freedesktop.systemd1", unit,
                "org.freedesktop.systemd1.Service", name)
    # org.freedesktop.systemd1(5): path, arguments, whether failure is ignored; realtime and monotonic times of the
    # start and of the exit.
    return [(Path(entry[0]).name, entry[4] / 1e6, entry[6] / 1e6) for entry in json.loads(found.stdout)["data"]]


def start_times():
    """Returns the duration of the last start and of its parts, in seconds."""
    before, [charon], after = (executions(f"ExecStart{when}") for when in ("Pre", "", "Post"))
    # Without a command of ExecStartPre, the start begins with charon itself.
    times = {"all": after[-1][2] - (before[0][1] if before else charon[1])}
    times.update({f"pre {program}": end - begin for program, begin, end in before})
    times["charon ready"] = after[0][1] - charon[1]
    times.update({f"post {program}": end - begin for program, begin, end in after})
    return times


def policies():
    """Returns the number of the kernel's policies."""
    return len(run("ip", "-o", "xfrm", "policy", seconds=START_SECONDS).stdout.splitlines())


def crash():
    """Kills charon, and waits until the service is up again."""
    pid = gateway.main_pid()
    run("systemctl", "reset-failed", gateway.unit)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: gateway.is_running_again(pid), START_SECONDS, "strongswan.service is up again")


def systemctl(verb):
    run("systemctl", verb, gateway.unit, seconds=START_SECONDS)


def configure(selectors, count):
    """Starts a gateway with `count` connections, without state of a previous instance in the kernel."""
    systemctl("stop")
    kernel.flush()
    run("ip", "route", "flush", "table", "220", check=False)
    for file in connections.GATEWAY_FOLDER.glob("*.conf"):
        file.unlink()
    (connections.GATEWAY_FOLDER / "sites.conf").write_text(configuration(selectors, count))
    systemctl("start")


def measured(with_xfrmctl):
    """Returns the figures of a start after a crash."""
    xfrmctl.enable(with_xfrmctl)
    before = policies()
    crash()
    return {**start_times(), "policies before": before, "policies after": policies()}


def measure(count, rounds, selectors):
    """Measures starts with and without xfrmctl. Prints the figures of each start as JSON at once, so that they survive
    if the machine runs out of time."""
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text(f"[Service]\nTimeoutStartSec={START_SECONDS}\n")
    run("systemctl", "daemon-reload")
    xfrmctl.configure()
    for kind in selectors:
        configure(kind, count)
        print(f"{kind}: {count} connections are loaded", flush=True)
        for number in range(rounds):
            # Alternate the order: if the machine gets slower meanwhile, both variants must suffer equally.
            for with_xfrmctl in (False, True) if number % 2 == 0 else (True, False):
                print(json.dumps({"selectors": kind, "round": number + 1, "xfrmctl": with_xfrmctl,
                                  **measured(with_xfrmctl)}), flush=True)
