# SPDX-License-Identifier: GPL-2.0-or-later
"""Shadows must not block IKE, ESP in UDP, and the packets of bypass policies."""

import os
import signal

import kernel
import network
import xfrmctl
from command import run, wait_for
from connections import GATEWAY_FOLDER, Connection, rendered
from exchange import ask, server
from gateway_setup import RECOVERY_SECONDS, is_in_step, peer_with, start
from pings import Pings
from strongswan import gateway

OUTER = ("192.0.2.1", "198.51.100.1")
INNER = ("10.1.0.1", "10.2.0.1")

# All traffic of a network through one tunnel, and all traffic between the two hosts, IKE and the tunnel's packets
# included.
EVERYTHING = Connection("everything", OUTER, INNER, ("10.1.0.0/24", "0.0.0.0/0"))
WHOLE_HOST = Connection("whole-host", OUTER, OUTER, OUTER, "transport")

# Bypass policies exempt DNS to the peer's side and SSH from there. Protocols are numbers, since a minimal system does
# not know their names.
BESIDE = (("dns", "10.1.0.0/24[17]", "0.0.0.0/0[17/53]"), ("ssh", "10.1.0.0/24[6/22]", "0.0.0.0/0[6]"))
DNS = ("udp", "10.2.0.1", 53)
SSH = ("tcp", "10.1.0.1", 22)

PACKETS = 20

# Keeps systemd from restarting charon, and keeps the shadows when charon is started again.
DROP_IN = """
[Service]
Restart=no
ExecStartPost=
ExecStartPost=/usr/sbin/swanctl --load-all --noprompt
"""


def beside(name, ends):
    return f"""
        {name} {{
            mode = pass
            local_ts = {ends[0]}
            remote_ts = {ends[1]}
            start_action = trap
        }}"""


def configuration(start_action, here=0):
    """Returns the swanctl.conf of one end: 0 is the gateway, 1 the peer. The tunnel's ESP goes in UDP. swanctl merges
    sections of the same name, so the third section adds settings to EVERYTHING."""
    turn = 1 if here == 0 else -1
    shunts = "".join(beside(name, ends[::turn]) for name, *ends in BESIDE)
    return f"""
{rendered(EVERYTHING, start_action, here)}
{rendered(WHOLE_HOST, start_action, here)}
connections {{
    {EVERYTHING.name} {{
        encap = yes
        children {{{shunts}
        }}
    }}
}}
"""


class Scene:
    """Pings through both connections, with servers that are reached outside the tunnel. It counts packets since the
    last count."""

    def __init__(self, check, tunnel, hosts):
        self.check = check
        self.streams = {EVERYTHING.name: tunnel, WHOLE_HOST.name: hosts}
        self.counts = network.counts()

    def counted(self):
        counts, self.counts = network.counted_since(self.counts), network.counts()
        return counts

    def answered(self):
        return {name: stream.answered() for name, stream in self.streams.items()}

    def check_beside(self):
        self.check.that("DNS passes", ask(*DNS, source=INNER[0]))
        self.check.that("SSH passes", ask(*SSH, source=INNER[1], netns="peer"))
        counts = self.counted()
        self.check.that("they pass beside the tunnel, everything else is protected",
                        counts["bypass_out"] > 0 and counts["bypass_in"] > 0 and counts["plain_out"] == 0, counts)

    def check_carried(self):
        for stream in self.streams.values():
            stream.wait_for_answers(PACKETS)
        counts = network.counted_since(self.counts)
        # ike_out and ike_in count IKE and ESP in UDP. IKE itself is some ten packets.
        self.check.that("packets between the hosts go as ESP, those of the tunnel as ESP in UDP",
                        all(counts[name] >= PACKETS for name in ("esp_out", "esp_in", "ike_out", "ike_in")), counts)

    def check_blocked(self):
        before, blocked = self.answered(), kernel.blocked()
        # Both streams send at the same rate.
        wait_for(lambda: kernel.blocked() >= blocked + 4 * PACKETS, 20, "packets are held back")
        self.check.equal("no ping is answered", self.answered(), before)


def wait_established():
    wait_for(lambda: len(gateway.child_sas()) == 2 and is_in_step(), RECOVERY_SECONDS, "an SA of both connections")


def not_blocked(check):
    start(())
    # trap|start: under traffic, charon may lose the acquire of a trap that it is installing, and here no release finds
    # it.
    (GATEWAY_FOLDER / "everything.conf").write_text(configuration("trap|start"))
    with (gateway.drop_in(DROP_IN), peer_with(configuration("none", 1), beside_own=True), server(*DNS, netns="peer"),
          server(*SSH), Pings(INNER) as tunnel, Pings(OUTER) as hosts):
        gateway.swanctl("--load-all", "--noprompt")
        check_scene(check, Scene(check, tunnel, hosts))


def check_scene(check, scene):
    check.variant = "charon runs"
    wait_established()
    scene.counted()
    scene.check_carried()
    scene.check_beside()
    policies = kernel.policies()

    check.variant = "only shadows stand"
    os.kill(gateway.main_pid(), signal.SIGKILL)
    wait_for(lambda: gateway.show("ActiveState") == "failed", 20, "charon stays away")
    run(xfrmctl.PROGRAM, "flush", "--hold")
    check.equal("nothing but a shadow of each policy is in the kernel",
                (kernel.sas(), len(kernel.policies()), len(xfrmctl.shadows())), ([], len(policies), len(policies)))
    scene.check_blocked()
    scene.check_beside()

    check.variant = "charon negotiates while shadows stand"
    gateway.start()
    wait_established()
    check.equal("the shadows are still there", len(xfrmctl.shadows()), len(policies))
    scene.check_carried()
    scene.check_beside()

    check.variant = "released"
    released = run(xfrmctl.PROGRAM, "release")
    check.note(released.stdout.strip())
    check.equal("no shadow is left", xfrmctl.shadows(), [])
    scene.check_carried()
    scene.check_beside()


SCENARIOS = (not_blocked,)
ONLY_REFERENCE = SCENARIOS
