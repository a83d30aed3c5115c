# SPDX-License-Identifier: GPL-2.0-or-later
"""Configures and establishes many CHILD_SAs between the gateway and the peer."""

from contextlib import contextmanager

import connections
import vici
from connections import CONNECTIONS
from gateway_setup import peer_with
from strongswan import gateway

GATEWAY_FILE = connections.GATEWAY_FOLDER / "many.conf"
OUTER = CONNECTIONS["net4"].outer


def address(end, connection, child):
    """Returns the inner address of a child at one end: 0 is the gateway, 1 the peer."""
    return f"10.{100 + end + 2 * (connection // 256)}.{connection % 256}.{child}"


def network(end, connection, child):
    return f"{address(end, connection, child)}/32"


def configuration(here, n_connections, n_children, start_action="none"):
    """Returns the swanctl.conf of one end: 0 is the gateway, 1 the peer."""
    there = 1 - here
    conns = []
    for i in range(n_connections):
        children = "".join(f"""
            child{j} {{
                local_ts = {network(here, i, j)}
                remote_ts = {network(there, i, j)}
                esp_proposals = aes128-sha256
                rekey_time = 0s
                start_action = {start_action}
            }}""" for j in range(n_children))
        conns.append(f"""
    many{i} {{
        version = 2
        mobike = no
        proposals = aes128-sha256-x25519
        local_addrs = {OUTER[here]}
        remote_addrs = {OUTER[there]}
        local {{
            auth = psk
            id = many{i}.end{here}.example
        }}
        remote {{
            auth = psk
            id = many{i}.end{there}.example
        }}
        children {{{children}
        }}
    }}""")
    return f"""connections {{{"".join(conns)}
}}
secrets {{
    ike-many {{
        secret = "a secret of the test"
    }}
}}
"""


@contextmanager
def configured(n_connections, n_children, start_action="none"):
    """Loads this number of connections, each with this number of children, at both ends for the with block. The peer
    unloads its other connections. start_action is the gateway's."""
    GATEWAY_FILE.write_text(configuration(0, n_connections, n_children, start_action))
    with peer_with(configuration(1, n_connections, n_children)):
        gateway.swanctl("--load-all")
        try:
            yield
        finally:
            GATEWAY_FILE.unlink()


def establish(n_connections, n_children):
    """Makes the gateway negotiate all children. Waits only for the first child of each connection."""
    for j in range(n_children):
        for i in range(n_connections):
            # Wait for the first child: with two negotiations at once for one peer, charon's threads wait for each
            # other.
            vici.ask(gateway.socket, "initiate", ike=f"many{i}", child=f"child{j}", timeout="-1" if j else "60000")


def rekey(n_children):
    """Makes the gateway rekey all CHILD_SAs, without waiting for the end."""
    for j in range(n_children):
        vici.ask(gateway.socket, "rekey", child=f"child{j}")


def rekeyings():
    """Returns the number of CHILD_SAs that are being rekeyed or are queued for it."""
    _, events = vici.ask(gateway.socket, "list-sas", "list-sa")
    return sum(tasks.count("CHILD_REKEY") for event in events for sa in event.values()
               for tasks in (sa.get("tasks-queued", []), sa.get("tasks-active", [])))
