# SPDX-License-Identifier: GPL-2.0-or-later
"""charon's routes, which give the gateway's own packets an inner source address, over a crash, a restart and a stop.
Also the virtual address that a crash leaves."""

import re
import signal

import connections
import journal
import network
import routes
import xfrmctl
from command import run, wait_for
from connections import CONNECTIONS
from gateway_setup import RETIRED, establish, start, stop, wait_in_step, wait_known
from pings import Pings
from strongswan import gateway, peer
from together import Together

NAMES = ("net4", "net6", RETIRED)
LEFT = ("net4", "net6")


def remote(*names):
    return sorted(CONNECTIONS[name].networks[1] for name in names)


class Own(Together):
    """Pings of the gateway itself to the networks behind the peer; the kernel chooses the source address. Use in a with
    block."""

    def __init__(self, names):
        self.pings = self.parts = [Pings((None, CONNECTIONS[name].inner[1])) for name in names]

    def begun(self):
        self.wait_for_answers()
        self.before = network.counts()

    def wait_for_answers(self):
        for pings in self.pings:
            pings.wait_for_answers()

    def check_blocked(self, check, carried=("esp_out", "esp6_out")):
        counts = network.counted_since(self.before)
        lost = [pings.stop().lost for pings in self.pings]
        check.equal("no ping of the gateway itself left in plaintext", counts["plain_out"], 0)
        check.that("they went through the tunnels, and some were held back",
                   all(counts[name] for name in carried) and all(lost), (counts, lost))


def check_crash(check):
    check.equal("each connection has its route", routes.destinations(), remote(*NAMES))
    connections.remove_from_gateway(RETIRED)
    cursor = journal.now()
    with Own(LEFT) as own:
        gateway.crash_and_wait(signal.SIGKILL)
        wait_in_step()
        own.wait_for_answers()
        own.check_blocked(check)
    check.equal("the table holds what the running charon needs", routes.destinations(), remote(*LEFT))
    check.equal("and nothing else", [route.dst for route in routes.backup_routes()], [])
    [flushed], [released] = xfrmctl.summaries(cursor), xfrmctl.releases(cursor)
    check.equal("the flush says that backup routes took the place of the routes",
                (flushed["XFRM_ROUTES"], flushed["XFRM_ROUTE_STAND_INS"]), ("3", "3"))
    check.equal("the release says that they are gone", (released["XFRM_ROUTES"], released["XFRM_ROUTE_STAND_INS"]),
                ("3", "0"))
    check.note(journal.text([flushed, released]))


def check_restart(check):
    with Own(LEFT) as own:
        gateway.systemctl("restart")
        wait_in_step()
        own.wait_for_answers()
        own.check_blocked(check)
    check.equal("charon's routes and rules are there, and no others",
                (routes.destinations(), routes.backup_routes(), routes.rules()), (remote(*LEFT), [], 2))
    xfrmctl.check_agreement(check)


def check_owned(check):
    connections.remove_from_gateway("net6")
    gateway.swanctl("--load-all")
    gateway.swanctl("--terminate", "--ike", "net6", check=False)
    wait_for(lambda: routes.destinations() == remote("net4"), 20, "charon removes the route of a connection")
    check.equal("charon owns its routes: one goes with its connection", routes.destinations(), remote("net4"))


def check_stop(check):
    gateway.crash(signal.SIGKILL)
    gateway.stop()
    check.equal("a stop behind a crash leaves no route", routes.routes(), [])


def own_packets(check):
    start(NAMES)
    establish(NAMES)
    for check.variant, part in (("crash", check_crash), ("restart", check_restart), ("removed connection", check_owned),
                                ("stop", check_stop)):
        part(check)


# Drop-in for the peer's unit, which is the client of a connection with virtual addresses.
CLIENT = f"""
[Service]
ExecStartPre={xfrmctl.PROGRAM} flush --hold --routes
ExecStartPost={xfrmctl.PROGRAM} release --routes --grace=5min --socket=/run/strongswan-peer/charon.vici
"""
RELEASE = ("--netns=peer", "release", "--routes", "--grace=5min", "--socket=/run/strongswan-peer/charon.vici")


def addresses():
    """Returns the client's addresses from the pools."""
    return re.findall(r"inet (10\.9\.\S+/32)", run("ip", "-4", "address", netns="peer").stdout)


def configure_pool(pool):
    file = connections.gateway_file("warrior")
    file.write_text(re.sub(r"\baddrs = \S+", f"addrs = {pool}", file.read_text()))
    # charon does not change a pool while a client has an address of it.
    gateway.swanctl("--terminate", "--ike", "warrior", "--force", check=False)
    wait_for(lambda: not gateway.has_ike_sas("warrior"), 20, "the gateway has no client")
    gateway.swanctl("--load-pools")


def virtual_address(check):
    start(("warrior",))
    with peer.drop_in(CLIENT):
        wait_known(("warrior",))
        check.equal("charon installs an address", addresses(), ["10.9.0.1/32"])
        xfrmctl.check_agreement(check)
        peer.crash_and_wait(signal.SIGKILL)
        check.equal("it is there after a crash", addresses(), ["10.9.0.1/32"])
        check.equal("and a backup route that has it for its source",
                    [route.src for route in routes.backup_routes("peer")], ["10.9.0.1"])
        configure_pool("10.9.1.0/24")
        wait_known(("warrior",))
        check.equal("charon leaves it, beside one that it gets then", addresses(), ["10.9.0.1/32", "10.9.1.1/32"])
        said = run(xfrmctl.PROGRAM, *RELEASE).stderr
        check.that("the release tells of it, and how to remove it",
                   said.rstrip().endswith("If the address is not yours: ip address del 10.9.0.1/32 dev wan"), said)
        run(*said.rstrip().rsplit(": ", 1)[1].split(), netns="peer")
        check.equal("the other one stays", addresses(), ["10.9.1.1/32"])
        run(xfrmctl.PROGRAM, "--netns=peer", "release", "--routes")
    stop()
    check.equal("charon removes that itself", addresses(), [])


def own_virtual_address(check):
    """Restarts a gateway with a virtual address, which charon deletes when it ends. All IPv6 traffic goes through the
    tunnel, also that to the router."""
    start(("virtual",))
    wait_known(("virtual",))
    check.equal("charon has a route for everything, with its address",
                [(route.dst, route.src) for route in routes.routes()], [("default", "fd00:9::1")])
    with Own(("virtual",)) as own:
        gateway.systemctl("restart")
        wait_in_step()
        own.wait_for_answers()
        own.check_blocked(check, ("esp6_out",))
    check.equal("charon has its route again", (routes.destinations(), routes.rules()), (["default"], 2))
    xfrmctl.check_agreement(check)
    run(xfrmctl.PROGRAM, "release", "--routes")
    check.equal("what it had for a backup route goes", (routes.backup_routes(), routes.nexthops()), ([], []))
    stop()
    check.equal("a stop leaves nothing", (routes.routes(), routes.nexthops()), ([], []))


SCENARIOS = (own_packets, virtual_address, own_virtual_address)
# own_virtual_address runs on each release, since it depends on how the kernel handles the removal of an address.
ONLY_REFERENCE = (own_packets, virtual_address)
