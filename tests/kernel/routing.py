# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes and rules of the current network namespace, added with `ip` in the way of charon."""

import re
import subprocess

import xfrm
from tags import ROUTE_PROTOCOL

# The types of rtnetlink's messages, with the offset that fault.c adds to them.
ROUTE = 0x1000
GETADDR, NEWROUTE, DELROUTE, GETROUTE = ROUTE + 22, ROUTE + 24, ROUTE + 25, ROUTE + 26
NEWRULE, DELRULE = ROUTE + 32, ROUTE + 33
NEWNEXTHOP, DELNEXTHOP, GETNEXTHOP = ROUTE + 104, ROUTE + 105, ROUTE + 106

STATIC, BACKUP = "proto static", f"proto {ROUTE_PROTOCOL}"


def batch(*commands):
    """Runs commands of `ip`: for IPv6 if they contain a colon, otherwise for IPv4."""
    for which in ("-4", "-6"):
        chosen = [command for command in commands if (":" in command) == (which == "-6")]
        xfrm.ip(which, "-batch", "-", stdin="".join(f"{command}\n" for command in chosen))


def add(*routes, table=220, verb="add"):
    """Adds routes as charon does."""
    batch(*(f"route {verb} table {table} proto static {route}" for route in routes))


def listed(table="all"):
    """Returns every route as a line of `ip route`. Omits the routes that the kernel itself adds and removes together
    with addresses."""
    lines = []
    for which in ("-4", "-6"):
        done = subprocess.run(["ip", "-o", "-d", which, "route", "show", "table", str(table)], capture_output=True,
                              text=True, check=False)
        # A table without routes and rules does not exist.
        assert done.returncode == 0 or "table does not exist" in done.stderr, done.stderr
        lines += [" ".join(line.split()) for line in done.stdout.splitlines()]
    # For the nexthop object of a route, `ip` prints a separate line, which is left out.
    return sorted(line for line in lines if "proto kernel" not in line and not line.startswith("nh_info"))


def of_protocol(protocol, table=220):
    return [line for line in listed(table) if re.search(rf"\b{protocol}\b", line)]


def without(lines):
    """Returns routes without the protocol and the metric, in which a backup route differs from its route."""
    return sorted(re.sub(r" proto \w+| metric \d+", "", line) for line in lines)


def rules():
    return [" ".join(line.split()) for which in ("-4", "-6")
            for line in xfrm.ip("-d", which, "rule", "show").splitlines()]
