# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures for tools/compare what a crash of the gateway's charon costs many road warriors. All of them use one
connection of the gateway, and each gets a virtual address from it."""

import json
import signal
import time
from statistics import quantiles

import connections
import fan
import gateway_setup
import kernel
import network
import vici
import xfrmctl
from command import POLL_SECONDS_SLOW, CommandFailed, run, wait_for
from strongswan import gateway, peer

GATEWAY_FILE = connections.GATEWAY_FOLDER / "warriors.conf"
GATEWAY_NETWORK = "10.100.0.0/16"
POOL = "10.9.0.0/24"

# Deadline for all road warriors, in seconds: the kept SAs end after 300 s, and a warrior notices 195 s later.
RECOVERY_SECONDS = 600
# Time of traffic before the crash, in seconds.
BEFORE_SECONDS = 5

CHILD = """
                esp_proposals = aes128-sha256
                rekey_time = 0s"""


def outer(number):
    return f"198.51.100.{10 + number}"


def gateway_configuration():
    return f"""
connections {{
    warriors {{
        version = 2
        proposals = aes128-sha256-x25519
        local_addrs = 192.0.2.1
        remote_addrs = %any
        pools = warriors
        local {{
            auth = psk
            id = gateway.example
        }}
        remote {{
            auth = psk
        }}
        children {{
            warriors {{
                local_ts = {GATEWAY_NETWORK}{CHILD}
            }}
        }}
    }}
}}
pools {{
    warriors {{
        addrs = {POOL}
    }}
}}
secrets {{
    ike-warriors {{
        secret = "a secret of the test"
    }}
}}
"""


def warriors_configuration(count):
    """Returns the swanctl.conf of road warriors that notice a dead gateway by DPD, and retry until it is back."""
    conns = "".join(f"""
    warrior{i} {{
        version = 2
        proposals = aes128-sha256-x25519
        local_addrs = {outer(i)}
        remote_addrs = 192.0.2.1
        vips = 0.0.0.0
        dpd_delay = 30s
        keyingtries = 0
        local {{
            auth = psk
            id = warrior{i}.example
        }}
        remote {{
            auth = psk
            id = gateway.example
        }}
        children {{
            warrior{i} {{
                remote_ts = {GATEWAY_NETWORK}{CHILD}
                dpd_action = restart
            }}
        }}
    }}""" for i in range(count))
    return f"""
connections {{{conns}
}}
secrets {{
    ike-warriors {{
        secret = "a secret of the test"
    }}
}}
"""


def virtual_addresses():
    """Returns the virtual addresses that charon has assigned to road warriors."""
    return sorted(address for _, ike in gateway.ike_sas() for address in ike["remote-vips"])


def are_back(count):
    """Returns whether charon has an SA of each road warrior, knows all SAs, and nothing is kept. Initiates the
    connection of a road warrior whose charon has given up, as its user would. That charon gives up when a gateway has
    not loaded its connections yet."""
    try:
        missing = len(gateway.child_sas()) < count
        for i in range(count) if missing else ():
            if not peer.has_ike_sas(f"warrior{i}"):
                peer.initiate(f"warrior{i}", 10)
        return not missing and gateway_setup.is_in_step() and not xfrmctl.kept()
    except CommandFailed:
        return False


def measured(count, seconds_between, mode):
    """Returns the figures of a crash under traffic: a packet to each road warrior each `seconds_between` seconds."""
    gateway_setup.stop()
    for file in connections.GATEWAY_FOLDER.glob("*.conf"):
        file.unlink()
    GATEWAY_FILE.write_text(gateway_configuration())
    xfrmctl.configure(mode=mode)
    xfrmctl.enable(True)
    gateway.start()
    with gateway_setup.peer_with(warriors_configuration(count)):
        for i in range(count):
            vici.ask(peer.socket, "initiate", ike=f"warrior{i}", child=f"warrior{i}", timeout="60000")
        gateway_setup.wait_in_step()
        pairs = [(f"10.100.0.{i + 1}", address) for i, address in enumerate(virtual_addresses())]
        leaked, old = network.counts()["plain_out"], kernel.spis()
        with fan.fan(pairs, 1 / seconds_between, "peer") as end:
            begun = time.monotonic()
            wait_for(lambda: time.monotonic() >= begun + max(BEFORE_SECONDS, 2 * seconds_between),
                     3 * max(BEFORE_SECONDS, 2 * seconds_between), "there is traffic")
            moment = time.monotonic()
            gateway.crash_and_wait(signal.SIGKILL)
            wait_for(lambda: are_back(count), RECOVERY_SECONDS, "all road warriors are back", POLL_SECONDS_SLOW)
            back = time.monotonic() - moment
            lost = sorted(end())
        spis, known = kernel.spis(), gateway.known_spis()
        figures = {"mode": mode, "warriors": count, "seconds between": seconds_between, "all are back after": back,
                   "lost, median": quantiles(lost, n=2, method="inclusive")[0], "lost, most": lost[-1],
                   "plaintext out": network.counts()["plain_out"] - leaked, "old SAs left": len(old & spis),
                   "unknown SAs": len(spis - known)}
        gateway.stop()
    GATEWAY_FILE.unlink()
    return figures


def compare(count, seconds_between, modes):
    """Prints the figures of each mode and each interval of packets as JSON."""
    run("ip", "route", "add", "local", GATEWAY_NETWORK, "dev", "lo")
    for i in range(count):
        run("ip", "address", "add", f"{outer(i)}/24", "dev", "wan", netns="peer")
    for seconds in seconds_between:
        for mode in modes:
            print(json.dumps(measured(count, seconds, mode)), flush=True)
