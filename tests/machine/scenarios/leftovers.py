# SPDX-License-Identifier: GPL-2.0-or-later
"""Less common state that a crash leaves, and other listeners for acquires, which must not prevent its removal."""

import signal
import subprocess
from pathlib import Path

import kernel
import network
from command import wait_for
from connections import CONNECTIONS
from gateway_setup import establish, look, start
from pings import ping
from strongswan import gateway

from .traffic import carries_traffic, trigger


def half_open(check):
    """Kills charon during a negotiation, which leaves larval SAs and trap policies."""
    for check.variant, with_xfrmctl in (("stock", False), ("xfrmctl", True)):
        start(with_xfrmctl=with_xfrmctl)
        network.block_ike_auth()
        ping(CONNECTIONS["net4"].inner, 1)
        # The kernel's own larval SA, for the acquire, has no SPI yet. charon's has the SPI that charon will offer.
        wait_for(lambda: 0 in kernel.spis() and len(kernel.spis()) == 2, 20, "two larval SAs")
        before = look()
        gateway.crash_and_wait(signal.SIGKILL)
        after = look()
        network.unblock_ike()
        if with_xfrmctl:
            check.equal("no larval SA is left", after.spis, set())
            check.equal("no trap policy of the previous instance is left", before.indexes & after.indexes, set())
            trigger("net4")
            carries_traffic(check, "net4")
        else:
            check.equal("the larval SAs are left", after.spis, before.spis)
            check.equal("the old trap policies are in force", after.indexes, before.indexes)
            # The kernel sends no other acquire while it waits for the old negotiation.
            lost = ping(CONNECTIONS["net4"].inner).lost
            check.equal("packets are lost, and bring no SA", (lost, gateway.has_ike_sas()), (10, False))


def acquire_listeners():
    """Returns the sockets of NETLINK_XFRM (6) that listen for acquires (group 1)."""
    rows = [line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:]]
    return [row for row in rows if row[1] == "6" and int(row[3], 16) & 1]


LISTENERS = (
    ("ip xfrm monitor", ["ip", "xfrm", "monitor"]),
    ("some other listener", ["python3", "-c", "import socket, time; s = socket.socket(socket.AF_NETLINK, "
                             "socket.SOCK_RAW, 6); s.bind((0, 1)); time.sleep(1000)"]),
)


def listener(check):
    """Crashes charon while another process listens for XFRM events, and so looks like a key manager."""
    start()
    for check.variant, command in LISTENERS:
        establish()
        before, others = look(), len(acquire_listeners())
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                wait_for(lambda: len(acquire_listeners()) > others, 20, "it listens")
                gateway.crash_and_wait(signal.SIGKILL)
                after = look()
                check.equal("no SA of the previous instance is left", before.spis & after.spis, set())
                check.equal("no policy of the previous instance is left", before.indexes & after.indexes, set())
                check.equal("the listener still runs", process.poll(), None)
            finally:
                process.kill()


SCENARIOS = (half_open, listener)
ONLY_REFERENCE = SCENARIOS
