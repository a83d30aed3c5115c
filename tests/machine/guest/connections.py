# SPDX-License-Identifier: GPL-2.0-or-later
"""The connections between the gateways and the peer, and the files that configure them."""

from pathlib import Path
from typing import NamedTuple

GATEWAY_FOLDER = Path("/etc/swanctl/conf.d")
ACQUIRES_FILE = Path("/etc/strongswan.d/acquires.conf")

# How long the kernel waits for the answer to an acquire before it asks again. charon loses one that comes while it is
# still installing the trap policy ("trap not found, unable to acquire reqid"), as may happen under traffic.
ACQUIRE_SECONDS = 10
ACQUIRE_SECONDS_DEFAULT = 165


class Connection(NamedTuple):
    name: str
    outer: tuple    # (gateway, peer)
    inner: tuple    # addresses for the test's packets
    networks: tuple     # traffic selectors
    mode: str = "tunnel"


CONNECTIONS = {connection.name: connection for connection in (
    Connection("net4", ("192.0.2.1", "198.51.100.1"), ("10.1.0.1", "10.2.0.1"), ("10.1.0.0/24", "10.2.0.0/24")),
    Connection("retired", ("192.0.2.1", "198.51.100.1"), ("10.1.1.1", "10.2.1.1"), ("10.1.1.0/24", "10.2.1.0/24")),
    Connection("net6", ("2001:db8:1::1", "2001:db8:2::1"), ("fd00:1::1", "fd00:2::1"), ("fd00:1::/64", "fd00:2::/64")),
    Connection("host", ("192.0.2.1", "198.51.100.1"), ("192.0.2.1", "198.51.100.1"),
               ("192.0.2.1[1]", "198.51.100.1[1]"), "transport"),
    Connection("blue", ("203.0.113.1", "198.51.100.1"), ("10.3.0.1", "10.2.0.1"), ("10.3.0.0/24", "10.2.0.0/24")),
)}


def rendered(connection, start_action, here=0, rekey_time="1h"):
    """The swanctl.conf text of one end: 0 is the gateway's, 1 the peer's.

    Each connection has identities of its own, so that the first contact of one does not end another.
    """
    there = 1 - here
    ends = ("gateway", "peer")
    name = connection.name
    return f"""
connections {{
    {name} {{
        version = 2
        mobike = no
        proposals = aes128-sha256-ecp256
        local_addrs = {connection.outer[here]}
        remote_addrs = {connection.outer[there]}
        local {{
            auth = psk
            id = {name}.{ends[here]}.example
        }}
        remote {{
            auth = psk
            id = {name}.{ends[there]}.example
        }}
        children {{
            {name} {{
                mode = {connection.mode}
                local_ts = {connection.networks[here]}
                remote_ts = {connection.networks[there]}
                esp_proposals = aes128-sha256
                start_action = {start_action}
                rekey_time = {rekey_time}
                rand_time = 0s
            }}
        }}
    }}
}}
secrets {{
    ike-{name} {{
        secret = "a secret of the test"
    }}
}}
"""


def configure_gateway(names, start_action="trap"):
    """Exactly these connections are in the gateway's configuration, to be loaded at its next start."""
    for file in GATEWAY_FOLDER.glob("*.conf"):
        file.unlink()
    for name in names:
        (GATEWAY_FOLDER / f"{name}.conf").write_text(rendered(CONNECTIONS[name], start_action))


def configure_acquires(seconds):
    """For each charon that starts from now on."""
    ACQUIRES_FILE.write_text(f"charon {{ plugins {{ kernel-netlink {{ xfrm_acq_expires = {seconds} }} }} }}\n")


def remove_from_gateway(name):
    (GATEWAY_FOLDER / f"{name}.conf").unlink()


def configure_instance(instance, swanctl, settings=""):
    """Files of a second charon, the unit strongswan@INSTANCE.service."""
    folder = Path(f"/etc/strongswan-{instance}")
    folder.mkdir(exist_ok=True)
    socket = f"unix:///run/strongswan-{instance}/charon.vici"
    (folder / "strongswan.conf").write_text(f"""
include /etc/strongswan.conf
charon {{
    {settings}
    plugins {{
        vici {{
            socket = {socket}
        }}
    }}
}}
swanctl {{
    socket = {socket}
}}
""")
    (folder / "swanctl.conf").write_text(swanctl)


def configure_peer(rekey_time="1h"):
    """The peer waits for the gateways to begin. When one does not answer, it soon gives up."""
    configure_instance("peer",
                       "".join(rendered(connection, "none", 1, rekey_time) for connection in CONNECTIONS.values()),
                       "retransmit_tries = 2\n    retransmit_timeout = 1\n    retransmit_base = 1")


def configure_blue():
    configure_instance("blue", rendered(CONNECTIONS["blue"], "trap"))
