# SPDX-License-Identifier: GPL-2.0-or-later
"""Defines the connections between the gateways and the peer, and writes the files that configure them."""

from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

GATEWAY_FOLDER = Path("/etc/swanctl/conf.d")
SWANCTL_FILE = Path("/etc/strongswan.d/tests.conf")
PLUGINS_FILE = Path("/etc/strongswan.d/plugins.conf")
USER_FILE = Path("/etc/strongswan.d/user.conf")
RETRANSMIT_FILE = Path("/etc/strongswan.d/retransmit.conf")


class Connection(NamedTuple):
    name: str
    outer: tuple        # IKE addresses: (gateway, peer)
    inner: tuple        # addresses of the test's packets: (gateway, peer)
    networks: tuple     # traffic selectors: (gateway, peer)
    mode: str = "tunnel"
    start_action: str = "trap"      # start_action at the gateway
    pool: str = ""      # pool of virtual addresses; empty: none
    client: int = 1     # the end that asks for a virtual address and initiates: 0 is the gateway, 1 the peer
    settings: dict = {}         # more settings of the connection, at both ends
    child_settings: dict = {}   # more settings of the child, at both ends
    gateway_child_settings: dict = {}   # more settings of the child at the gateway
    second_child: tuple = ()    # traffic selectors of a second child; empty: none

    @property
    def begins_at_peer(self):
        return self.pool and self.client == 1


def numbered(name, number, **more):
    """Returns a connection between the networks of this number."""
    return Connection(name, ("192.0.2.1", "198.51.100.1"), (f"10.1.{number}.1", f"10.2.{number}.1"),
                      (f"10.1.{number}.0/24", f"10.2.{number}.0/24"), **more)


# Connections that differ in how they are negotiated. The peer does not load them by default.
IF_ID = 77
KINDS = {connection.name: connection for connection in (
    numbered("never", 6, settings={"unique": "never"}),
    numbered("ikev1", 7, settings={"version": "1"}),
    numbered("mobike", 8, settings={"mobike": "yes"}),
    numbered("encap", 9, settings={"encap": "yes"}),
    numbered("interface", 10, gateway_child_settings={"if_id_in": IF_ID, "if_id_out": IF_ID}),
    numbered("ipcomp", 11, child_settings={"ipcomp": "yes"}),
    numbered("selectors", 12)._replace(networks=("10.1.12.0/24, 10.1.13.0/24", "10.2.12.0/24, 10.2.13.0/24")),
    numbered("children", 14, second_child=("10.1.15.0/24", "10.2.15.0/24")),
)}

# Connections whose policies differ from those of other connections. The last three only pass or drop packets. The peer
# does not load them by default.
POLICY_KINDS = {connection.name: connection for connection in (
    numbered("marked", 17, gateway_child_settings={"mark_in": "0x11/0xff", "mark_out": "0x12"}),
    # The peer narrows the selectors of the gateway to its own.
    numbered("narrowed", 18, gateway_child_settings={"local_ts": "10.1.18.0/23", "remote_ts": "10.2.0.0/16"}),
    numbered("passed", 20, mode="pass")._replace(networks=("10.1.20.0/24, 10.1.21.0/24[6/22]",
                                                           "10.2.20.0/24, 10.2.21.0/24[6], 10.2.22.0/24")),
    numbered("lan", 23, mode="pass")._replace(networks=("10.1.23.0/24", "10.1.23.0/24")),
    numbered("dropped", 24, mode="drop"),
)}
NEGOTIATED = tuple(name for name, connection in POLICY_KINDS.items() if connection.mode == "tunnel")

CONNECTIONS = {connection.name: connection for connection in (
    Connection("net4", ("192.0.2.1", "198.51.100.1"), ("10.1.0.1", "10.2.0.1"), ("10.1.0.0/24", "10.2.0.0/24")),
    Connection("retired", ("192.0.2.1", "198.51.100.1"), ("10.1.1.1", "10.2.1.1"), ("10.1.1.0/24", "10.2.1.0/24")),
    Connection("net6", ("2001:db8:1::1", "2001:db8:2::1"), ("fd00:1::1", "fd00:2::1"), ("fd00:1::/64", "fd00:2::/64")),
    Connection("host", ("192.0.2.1", "198.51.100.1"), ("192.0.2.1", "198.51.100.1"),
               ("192.0.2.1[1]", "198.51.100.1[1]"), "transport"),
    Connection("started", ("192.0.2.1", "198.51.100.1"), ("10.1.2.1", "10.2.2.1"), ("10.1.2.0/24", "10.2.2.0/24"),
               start_action="start"),
    Connection("warrior", ("192.0.2.1", "198.51.100.1"), ("10.1.3.1", "10.9.0.1"), ("10.1.3.0/24", "dynamic"),
               start_action="none", pool="10.9.0.0/24"),
    numbered("third", 4),
    numbered("added", 5),
    numbered("another", 16),
    Connection("virtual", ("2001:db8:1::1", "2001:db8:2::1"), ("fd00:9::1", "fd00:2::1"), ("dynamic", "::/0"),
               start_action="start", pool="fd00:9::/120", client=0),
    Connection("blue", ("203.0.113.1", "198.51.100.1"), ("10.3.0.1", "10.2.0.1"), ("10.3.0.0/24", "10.2.0.0/24")),
    *KINDS.values(),
    *POLICY_KINDS.values(),
)}


def indented(settings, levels):
    return "".join(f"{'    ' * levels}{name} = {value}\n" for name, value in settings.items()).rstrip("\n")


# Settings of a connection with virtual addresses: of the end that assigns them, and of the client. A client that loses
# its gateway retries until the gateway is back.
POOL_SETTINGS = ({"pools": "{name}"}, {"vips": "{any}", "dpd_delay": "2s", "keyingtries": "0"})
POOL_CHILD_SETTINGS = ({}, {"dpd_action": "restart"})
POOL_SECTIONS = ("""
pools {{
    {name} {{
        addrs = {pool}
    }}
}}
""", "")


def rendered_children(connection, start_action, here, rekey_time):
    children = {connection.name: connection.networks}
    if connection.second_child:
        children[f"{connection.name}2"] = connection.second_child
    text = ""
    for name, networks in children.items():
        settings = {
            "mode": connection.mode,
            "local_ts": networks[here],
            "remote_ts": networks[1 - here],
            "esp_proposals": "aes128-sha256",
            "start_action": start_action,
            "rekey_time": rekey_time,
            "rand_time": "0s",
            **(POOL_CHILD_SETTINGS[here == connection.client] if connection.pool else {}),
            **connection.child_settings,
            **({} if here else connection.gateway_child_settings),
        }
        text += f"""
            {name} {{
{indented(settings, 4)}
            }}"""
    return text


def rendered(connection, start_action, here=0, rekey_time="1h"):
    """Returns the swanctl.conf of one end: 0 is the gateway, 1 the peer.

    Each connection has its own identities, so that the INITIAL_CONTACT of one does not end another (RFC 7296, 2.4).
    """
    there = 1 - here
    ends = ("gateway", "peer")
    name = connection.name
    settings = {
        "version": "2",
        "mobike": "no",
        "proposals": "aes128-sha256-ecp256",
        "local_addrs": connection.outer[here],
        "remote_addrs": connection.outer[there],
        **(POOL_SETTINGS[here == connection.client] if connection.pool else {}),
        **connection.settings,
    }
    pools = POOL_SECTIONS[here == connection.client].format(name=name, pool=connection.pool) if connection.pool else ""
    any_address = "::" if ":" in connection.pool else "0.0.0.0"
    return f"""
connections {{
    {name} {{
{indented(settings, 2).format(name=name, any=any_address)}
        local {{
            auth = psk
            id = {name}.{ends[here]}.example
        }}
        remote {{
            auth = psk
            id = {name}.{ends[there]}.example
        }}
        children {{{rendered_children(connection, start_action, here, rekey_time)}
        }}
    }}
}}
secrets {{
    ike-{name} {{
        secret = "a secret of the test"
    }}
}}
{pools}
"""


def configure_gateway(names):
    """Writes the gateway's configuration: exactly these connections, which its next start loads in this order."""
    for file in GATEWAY_FOLDER.glob("*.conf"):
        file.unlink()
    for number, name in enumerate(names):
        file = GATEWAY_FOLDER / f"{number:02}-{name}.conf"
        file.write_text(rendered(CONNECTIONS[name], CONNECTIONS[name].start_action))


def configure_swanctl():
    """Makes swanctl load only the plugins that the tests need. The others take a second at each start."""
    SWANCTL_FILE.write_text("swanctl { load = nonce random }\n")


def configure_plugins():
    """Makes each charon that starts from now on load only the plugins that the tests need. Debian's other plugins
    double the time of the load, and some of them listen to every packet."""
    PLUGINS_FILE.write_text("charon {\n    load_modular = no\n    load = random nonce openssl hmac kdf aes sha1 sha2"
                            " kernel-netlink socket-default vici stroke updown resolve attr counters\n}\n")


@contextmanager
def all_plugins():
    """For the with block: each charon and swanctl that starts loads all plugins that Debian installs and enables."""
    files = {file: file.read_text() for file in (SWANCTL_FILE, PLUGINS_FILE)}
    for file in files:
        file.unlink()
    try:
        yield
    finally:
        for file, text in files.items():
            file.write_text(text)


@contextmanager
def dropping_to(user, group):
    """For the with block: each charon that starts drops its privileges to this user."""
    USER_FILE.write_text(f"charon {{\n    user = {user}\n    group = {group}\n}}\n")
    try:
        yield
    finally:
        USER_FILE.unlink()


@contextmanager
def retransmitting_each_second():
    """For the with block: each charon that starts retransmits every second to a peer that does not answer."""
    RETRANSMIT_FILE.write_text("charon {\n    retransmit_timeout = 1\n    retransmit_base = 1\n"
                               "    retransmit_tries = 60\n}\n")
    try:
        yield
    finally:
        RETRANSMIT_FILE.unlink()


def gateway_file(name):
    [file] = GATEWAY_FOLDER.glob(f"??-{name}.conf")
    return file


def remove_from_gateway(name):
    gateway_file(name).unlink()


def configure_instance(instance, swanctl, settings=""):
    """Writes the files of another charon, the unit strongswan@INSTANCE.service."""
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


def rendered_peer(names, rekey_time="1h"):
    return "".join(rendered(CONNECTIONS[name], "none", 1, rekey_time) for name in names)


def configure_peer(rekey_time="1h", settings=""):
    """Configures the peer: it waits for the gateways to initiate. It accepts any number of negotiations at once."""
    names = [name for name in CONNECTIONS if name not in KINDS | POLICY_KINDS]
    configure_instance("peer", rendered_peer(names, rekey_time), f"dos_protection = no\n    {settings}")


def configure_blue():
    configure_instance("blue", rendered(CONNECTIONS["blue"], "trap"))
