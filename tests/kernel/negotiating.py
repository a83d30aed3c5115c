# SPDX-License-Identifier: GPL-2.0-or-later
"""A test charon for handover. It also makes the changes in the kernel that charon would make."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import netlink
import xfrm
from living import HERE, THERE, policies, spi_in, spi_out
from vici_server import Server, Stream

# Bit in the SPIs of the new instance's SAs. fault.c does not make SAs with this bit look older (NEW_BIT).
NEW = 0x20000000

YES, NO = {"success": "yes"}, {"success": "no", "errmsg": "CHILD_SA config not found"}


def connection(number, remote=THERE, **more):
    """Returns a connection as `list-conns` reports it. The connection and its child have the same name."""
    return {f"site{number}": {"local_addrs": [HERE], "remote_addrs": [remote], "version": "IKEv2", "children": {
        f"site{number}": {"mode": "TUNNEL", "local-ts": ["10.1.0.0/16"], "remote-ts": [f"10.{10 + number}.0.0/16"]}}},
        **more}


def conns(*messages):
    return Stream("list-conn", messages)


def sas(*numbers):
    """Returns the new SAs of these connections as `list-sas` reports them."""
    return Stream("list-sa", [{f"site{number}": {"state": "ESTABLISHED", "child-sas": {f"site{number}-1": {
        "name": f"site{number}", "state": "INSTALLED", "protocol": "ESP", "spi-in": f"{NEW + spi_in(number):08x}",
        "spi-out": f"{NEW + spi_out(number):08x}"}}}} for number in numbers])


def install(number, reqid=None):
    """Changes the kernel as charon does when it has negotiated a connection, with a new reqid if one is given."""
    reqid = reqid or number
    netlink.allocate_spi(HERE, THERE, NEW + spi_out(number), reqid=reqid)
    netlink.allocate_spi(THERE, HERE, NEW + spi_in(number), reqid=reqid)
    replace(policies(number, NEW + spi_out(number)), number, reqid)


def replace(wanted, number, reqid):
    """Updates policies as charon updates its traps."""
    xfrm.ip("-batch", "-", stdin="".join(
        f"xfrm policy update {policy.replace(f'reqid {number} ', f'reqid {reqid} ')}\n" for policy in wanted))


@contextmanager
def charon(numbers=(1,), **commands):
    """Runs a charon with these connections. It negotiates a child as soon as it is asked to."""
    def initiate(arguments):
        install(int(arguments["child"].removeprefix("site")))
        return YES

    answers = {"list-conns": conns(*map(connection, numbers)),
               "get-conns": {"conns": [f"site{number}" for number in numbers]},
               "list-sas": sas(), "initiate": initiate, **{name.replace("_", "-"): answer
                                                         for name, answer in commands.items()}}
    with tempfile.TemporaryDirectory() as folder:
        with Server(Path(folder) / "charon.vici", answers) as server:
            server.option = f"--socket={server.path}"
            yield server
