# SPDX-License-Identifier: GPL-2.0-or-later
"""A planned restart of a charon with a virtual address, which it deletes when it ends. Meanwhile, no packet for its
tunnel leaves the host in plaintext, from any source address."""

import errno
import re
import socket
from pathlib import Path
from typing import NamedTuple

import sandbox
import vici_server
import xfrm
from cases import case, cases, main
from netlink import family_of
from program import Fault, Steps, arm, flush, hold, release, xfrmctl_with
from routing import (DELNEXTHOP, GETADDR, GETNEXTHOP, GETROUTE, NEWNEXTHOP, BACKUP, STATIC, add, batch, listed, of_protocol,
                     rules)
from tables import ESP
from tap import contains, equal
from vici_server import Stream
from wire import MARKER, Wire

# The nexthop objects that xfrmctl makes (src/routes/netlink.c).
FIRST_ID = 0x58464d00
OURS = "proto 88"


class Tunnel(NamedTuple):
    address: str
    route: str
    far: str

    @property
    def everything(self):
        return "::/0" if ":" in self.address else "0.0.0.0/0"

    @property
    def with_length(self):
        return f"{self.address}/{128 if ':' in self.address else 32}"

    @property
    def rule(self):
        return f"from {self.everything} pref 220 table 220"

    def starts(self):
        """Makes the changes of charon when a tunnel is up."""
        batch(f"address add {self.with_length} dev uplink {'nodad' if ':' in self.address else ''}",
              f"rule add {self.rule}")
        add(f"{self.route} src {self.address}")
        xfrm.add_policies(f"src {self.with_length} dst {self.everything} dir out priority 1000 {ESP}")

    def deletes_address(self):
        batch(f"address del {self.with_length} dev uplink")

    def ends(self):
        """Makes the changes of charon when it ends."""
        xfrm.ip("xfrm", "policy", "delete", "src", self.with_length, "dst", self.everything, "dir", "out")
        batch(f"route del {self.route.split()[0]} proto static table 220")
        self.deletes_address()
        batch(f"rule del {self.rule}")


LINK_LOCAL = Tunnel("fd00:9::1", "::/0 via fe80::2 dev uplink", "2001:db8:77::9")
TUNNELS = {
    "IPv6": LINK_LOCAL,
    "IPv6, a global gateway": Tunnel("fd00:9::1", "fd00:2::/64 via 2001:db8:8::2 dev uplink", "fd00:2::9"),
    "IPv6, a gateway that the route itself covers": Tunnel("fd00:9::1", "::/0 via 2001:db8:8::2 dev uplink",
                                                           "2001:db8:77::9"),
    "IPv6, no gateway": Tunnel("fd00:9::1", "fd00:2::/64 dev uplink", "fd00:2::9"),
    "IPv4": Tunnel("10.9.0.1", "0.0.0.0/0 via 10.8.0.2 dev uplink", "10.2.0.9"),
}


def departure(wire, destination):
    """Sends a packet without choosing a source address. Returns the source with which it left, or None if it did not
    leave."""
    wire.number += 1
    marker = MARKER % wire.number
    with socket.socket(family_of(destination), socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(marker, (destination, 9))
        except OSError:
            return None     # a policy blocks it, or waits for an SA
    while True:
        try:
            packet = wire.read("uplink")
        except BlockingIOError:
            return None
        if packet.endswith(marker):
            return (socket.inet_ntop(socket.AF_INET6, packet[8:24]) if ":" in destination
                    else socket.inet_ntop(socket.AF_INET, packet[12:16]))


def nexthops(which=OURS):
    return [" ".join(line.split()) for line in xfrm.ip("-o", "nexthop", "show").splitlines() if which in line]


@cases(TUNNELS.items())
def blocked(_, tunnel):
    """Packets for a tunnel leave neither from its virtual address nor from another one: {0}."""
    with Wire() as wire:
        had = rules()
        outer = departure(wire, tunnel.far)
        assert outer not in (None, tunnel.address), outer
        tunnel.starts()
        equal(departure(wire, tunnel.far), None, "what leaves before")
        arm("--routes")
        tunnel.ends()
        equal(departure(wire, tunnel.far), None, "what leaves when charon is down")
        hold("--routes")
        equal(departure(wire, tunnel.far), None, "what leaves in the hold")
        tunnel.starts()
        equal(len(of_protocol(STATIC)), 1, "the route of the next charon")
        release("--routes")
        equal(departure(wire, tunnel.far), None, "what leaves when the tunnel is up again")
        equal((of_protocol(BACKUP), nexthops()), ([], []), "backup routes and nexthop objects behind the release")
        tunnel.ends()
        equal((departure(wire, tunnel.far), rules()), (outer, had), "what leaves when all are gone, and the rules")



# Routes whose source is a virtual address: through two gateways, through none, and with a metric.
SEVERAL = ["::/0 via fe80::2 dev uplink", "fd00:3::/64 via fe80::2 dev uplink", "fd00:4::/64 via fe80::3 dev uplink",
           "fd00:5::/64 dev uplink", "fd00:6::/64 via fe80::2 dev uplink metric 7 mtu 1300"]
# Routes that need no nexthop object. Some have a source that charon does not delete, because it is on another device or
# belongs to a network. Others have a source that the kernel does not strip, or have no source.
PLAIN = ["fd00:7::/64 via fe80::2 dev uplink src fd00:9::2", "fd00:8::/64 via fe80::2 dev uplink src fd00:1::1",
         "fd00:a::/64 src fd00:9::1 nexthop via fe80::2 dev uplink nexthop via fe80::3 dev uplink",
         "throw fd00:b::/64", "10.2.0.0/24 via 10.8.0.2 dev uplink src 10.9.0.1"]


def make_several():
    xfrm.make_uplink()
    batch("link set lo up", "address add fd00:9::1/128 dev uplink nodad", "address add fd00:9::2/128 dev lo nodad",
          "address add fd00:1::1/64 dev uplink nodad", "address add 10.9.0.1/32 dev uplink", f"rule add {LINK_LOCAL.rule}")
    add_several()


def add_several():
    add(*(f"{route} src fd00:9::1" for route in SEVERAL), *PLAIN)


def named():
    """Returns how many backup routes name nexthop objects, and how many do not."""
    found = of_protocol(BACKUP)
    return sum("nhid" in line for line in found), sum("nhid" not in line for line in found)


@case
def objects():
    """A backup route names a nexthop object if charon may delete its source; each next hop has one object."""
    make_several()
    arm("--routes")
    equal(named(), (len(SEVERAL), len(PLAIN)), "backup routes with objects and without")
    equal([line.split(" proto")[0] for line in nexthops()],
          [f"id {FIRST_ID} via fe80::2 dev uplink scope link", f"id {FIRST_ID + 1} via fe80::3 dev uplink scope link",
           f"id {FIRST_ID + 2} dev uplink scope link"], "the objects")
    before = listed(), nexthops()
    arm("--routes")
    equal((listed(), nexthops()), before, "routes and objects behind a second arm")


@case
def same_route():
    """A backup route that names an object is otherwise the same as its route, and is shown like others."""
    make_several()
    shown = [flush("--dry-run", "--routes").out]
    before = of_protocol(STATIC)
    arm("--routes")
    for family in ("-4", "-6"):
        xfrm.ip(family, "route", "flush", "proto", "static", "table", "220")
    shown.append(flush("--dry-run", "--routes").out)
    equal([re.sub(r" nhid \d+| proto \w+| metric \d+", "", line) for line in of_protocol(BACKUP)],
          [re.sub(r" proto \w+| metric \d+", "", line) for line in before], "the backup routes")
    equal(*(sorted(re.sub(r" metric \d+| backup", "", text).splitlines()) for text in shown), "what --dry-run lists")


@cases([("release --routes", release), ("flush --routes", flush)])
def removed(_, verb):
    """{0} removes the objects with the backup routes, and no objects of others."""
    make_several()
    others = ["id 7 dev uplink protocol 88", f"id {FIRST_ID + 1} dev uplink protocol bird"]
    xfrm.ip("-batch", "-", stdin="".join(f"nexthop add {other}\n" for other in others))
    before = nexthops("id")
    arm("--routes")
    equal(len(nexthops("id")), len(before) + 3, "how many objects there are")
    verb("--routes")
    equal((of_protocol(BACKUP), nexthops("id")), ([], before), "backup routes and objects")


@case
def without_gateways():
    """Backup routes are removed if the kernel lists their objects without next hops."""
    Path("/proc/sys/net/ipv4/nexthop_compat_mode").write_text("0")
    make_several()
    arm("--routes")
    equal(sum("via fe80::" in line for line in of_protocol(BACKUP) if "nhid" in line), 0, "gateways listed")
    release("--routes")
    equal((of_protocol(BACKUP), nexthops()), ([], []), "backup routes and objects")


@case
def other_table():
    """An object stays as long as a backup route of another table names it."""
    make_several()
    add(f"{SEVERAL[0]} src fd00:9::1", table=221)
    arm("--routes")
    arm("--routes=221")
    release("--routes")
    equal((len(of_protocol(BACKUP, 221)), len(nexthops())), (1, 1), "backup routes of the other table, and objects")
    release("--routes=221")
    equal((of_protocol(BACKUP, 221), nexthops()), ([], []), "backup routes and objects")


@case
def unexplained():
    """flush --orphans --routes removes the objects of the backup routes that it removes."""
    make_several()
    arm("--routes")
    commands = {"list-conns": Stream("list-conn", [{"net": {"children": {"net": {"remote-ts": ["fd00:4::/64"]}}}}]),
                "list-policies": Stream("list-policy", []), "list-sas": Stream("list-sa", [])}
    with vici_server.Server(Path("/run/charon.vici"), commands) as server:
        flush("--orphans", "--routes", f"--socket={server.path}")
    [line] = of_protocol(BACKUP)
    contains(line, "fd00:4::/64", f"nhid {FIRST_ID + 1}")
    equal(len(nexthops()), 1, "the objects")


@case
def each_instant():
    """Another run completes an arm or a release that was killed; a release removes what either has left."""
    make_several()
    before = listed()
    arm("--routes")
    complete = listed(), nexthops()
    for verb, again, end in (("arm", arm, complete), ("release", release, (before, []))):
        stop = 0
        while True:
            stop += 1
            (release if verb == "arm" else arm)("--routes")
            with Steps(verb, "--routes") as steps:
                seen = sum(1 for _ in zip(range(stop), steps))
                steps.kill()
            if seen < stop:
                break
            if stop % 2:
                again("--routes")
                equal((listed(), nexthops()), end, f"what is left of {verb} and another, stopped at {stop}")
            release("--routes")
            equal((listed(), nexthops()), (before, []), f"what is left of {verb} and a release, stopped at {stop}")
        # Each object and each backup route is a change.
        equal(stop - 1, len(SEVERAL) + len(PLAIN) + 3, f"how many changes {verb} makes")


@case
def stripped():
    """A route that has lost its source does not replace a backup route that has it."""
    make_several()
    arm("--routes")
    LINK_LOCAL.deletes_address()
    contains(hold("--routes").out, f" backup routes are in place.\n")
    equal((of_protocol(STATIC), sum("src fd00:9::1" in line for line in of_protocol(BACKUP))), ([], len(SEVERAL)),
          "static routes, and backup routes with the source")


@case
def crashed():
    """If charon crashes after arm, a hold makes backup routes without objects, and a release removes them."""
    make_several()
    arm("--routes")
    hold("--routes")
    equal((of_protocol(STATIC), named()), ([], (0, len(SEVERAL) + len(PLAIN))), "static routes and backup routes")
    release("--routes")
    equal((of_protocol(BACKUP), nexthops()), ([], []), "backup routes and objects")


@case
def old_kernel():
    """On a kernel without nexthop objects (before Linux 5.3), backup routes name no objects."""
    make_several()
    with_none = [Fault("send", NEWNEXTHOP, "refuse", errno.EOPNOTSUPP),
                 Fault("send", GETNEXTHOP, "refuse", errno.EOPNOTSUPP)]
    result = xfrmctl_with(with_none, "arm", "--routes")
    equal((result.err, named(), nexthops()), ("", (0, len(SEVERAL) + len(PLAIN)), []), "what is said and made")
    result = xfrmctl_with(with_none[1:], "release", "--routes")
    equal((result.err, of_protocol(BACKUP)), ("", []), "what is said, and what is left")


@case
def no_carrier():
    """Backup routes of a device without a carrier name no objects, because the kernel refuses such objects."""
    make_several()
    batch("link set far-end down")
    equal((arm("--routes").err, named(), nexthops()), ("", (0, len(SEVERAL) + len(PLAIN)), []), "what is said and made")


@case
def refused():
    """An object that the kernel refuses is reported; its backup route is made without it."""
    make_several()
    result = xfrmctl_with([Fault("send", NEWNEXTHOP, "refuse", errno.ENOMEM, first=2, last=2)], "arm", "--routes", status=1)
    equal(result.err, "xfrmctl: Could not keep the source of the backup route of route fd00:4::/64 via fe80::3 dev uplink src "
          "fd00:9::1 metric 1024 of table 220: Cannot allocate memory.\n", "what is said")
    equal(named(), (len(SEVERAL) - 1, len(PLAIN) + 1), "backup routes with objects and without")
    result = xfrmctl_with([Fault("send", DELNEXTHOP, "refuse", errno.EPERM, first=1, last=1)], "release", "--routes",
                          status=1)
    contains(result.err, "xfrmctl: Could not remove the nexthop objects of `xfrmctl arm`: Operation not permitted. ")
    equal((of_protocol(BACKUP), len(nexthops())), ([], 1), "backup routes and objects")
    xfrm.ip(*result.err.rstrip().rsplit(": ip ", 1)[1].split())
    equal(nexthops(), [], "objects behind the command that it names")


@case
def not_known():
    """Without a list of addresses, arm makes no backup routes; without a list of objects, they name none."""
    make_several()
    result = xfrmctl_with([Fault("receive", GETADDR, "fail", errno.ENOMEM)], "arm", "--routes", status=1)
    contains(result.err, "xfrmctl: Could not list the addresses of interfaces: Cannot allocate memory. ")
    equal(of_protocol(BACKUP), [], "backup routes")
    result = xfrmctl_with([Fault("send", GETNEXTHOP, "refuse", errno.ENOMEM)], "arm", "--routes", status=1)
    contains(result.err, "xfrmctl: Could not keep the source of the backup route of route ")
    equal(named(), (0, len(SEVERAL) + len(PLAIN)), "backup routes with objects and without")


@case
def in_use():
    """If the objects in use are unknown, none is removed."""
    make_several()
    arm("--routes")
    # The first two lists are those of the table.
    result = xfrmctl_with([Fault("send", GETROUTE, "refuse", errno.ENOMEM, first=3)], "release", "--routes=221", status=1)
    contains(result.err, "xfrmctl: Could not remove the nexthop objects of `xfrmctl arm`: Cannot allocate memory. ")
    equal((named(), len(nexthops())), ((len(SEVERAL), len(PLAIN)), 3), "backup routes and objects")


main(sandbox.new_run_folder)
