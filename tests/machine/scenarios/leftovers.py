# SPDX-License-Identifier: GPL-2.0-or-later
"""Less common things that a crash leaves, or that stand in the way of removing it."""

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
    """charon dies during a negotiation: larval SAs and trap policies are left."""
    for check.variant, with_xfrmctl in (("stock", False), ("xfrmctl", True)):
        start(with_xfrmctl=with_xfrmctl)
        network.block_ike_auth()
        ping(CONNECTIONS["net4"].inner, 1)
        # The kernel's own, for the acquire, has no SPI yet; charon's has the one that it will offer.
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
            # As long as the kernel waits for the old negotiation, it asks for no other.
            lost = ping(CONNECTIONS["net4"].inner).lost
            check.equal("packets are lost, and bring no SA", (lost, gateway.has_ike_sas()), (10, False))


def acquire_listeners():
    """Sockets of NETLINK_XFRM (6) that hear acquires (group 1)."""
    rows = [line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:]]
    return [row for row in rows if row[1] == "6" and int(row[3], 16) & 1]


LISTENERS = (
    ("ip xfrm monitor", ["ip", "xfrm", "monitor"]),
    ("some other listener", ["python3", "-c", "import socket, time; s = socket.socket(socket.AF_NETLINK, "
                             "socket.SOCK_RAW, 6); s.bind((0, 1)); time.sleep(1000)"]),
)


def listener(check):
    """Somebody watches XFRM events, and so looks like a key manager, while charon crashes."""
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
