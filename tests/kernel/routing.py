# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes and rules of the present network namespace, with `ip`, in the manner of charon."""

import re
import subprocess

import xfrm
from tags import ROUTE_PROTOCOL

# The types of rtnetlink's messages, as fault.c counts them.
ROUTE = 0x1000
GETADDR, NEWROUTE, DELROUTE, GETROUTE = ROUTE + 22, ROUTE + 24, ROUTE + 25, ROUTE + 26
NEWRULE, DELRULE = ROUTE + 32, ROUTE + 33
NEWNEXTHOP, DELNEXTHOP, GETNEXTHOP = ROUTE + 104, ROUTE + 105, ROUTE + 106

STATIC, STAND_IN = "proto static", f"proto {ROUTE_PROTOCOL}"


def batch(*commands):
    """Commands of `ip`, which are about IPv4 where they have no address that says otherwise."""
    for which in ("-4", "-6"):
        chosen = [command for command in commands if (":" in command) == (which == "-6")]
        xfrm.ip(which, "-batch", "-", stdin="".join(f"{command}\n" for command in chosen))


def add(*routes, table=220, verb="add"):
    """As charon adds them."""
    batch(*(f"route {verb} table {table} proto static {route}" for route in routes))


def listed(table="all"):
    """Every route, as `ip route` shows it: one line each. Those of the kernel come and go with addresses."""
    lines = []
    for which in ("-4", "-6"):
        done = subprocess.run(["ip", "-o", "-d", which, "route", "show", "table", str(table)], capture_output=True,
                              text=True, check=False)
        # A table that nobody uses is none.
        assert done.returncode == 0 or "table does not exist" in done.stderr, done.stderr
        lines += [" ".join(line.split()) for line in done.stdout.splitlines()]
    # What `ip` says of a nexthop object that a route names is said of the object, too.
    return sorted(line for line in lines if "proto kernel" not in line and not line.startswith("nh_info"))


def of_protocol(protocol, table=220):
    return [line for line in listed(table) if re.search(rf"\b{protocol}\b", line)]


def without(lines):
    """Routes without what tells a stand-in from its route."""
    return sorted(re.sub(r" proto \w+| metric \d+", "", line) for line in lines)


def rules():
    return [" ".join(line.split()) for which in ("-4", "-6")
            for line in xfrm.ip("-d", which, "rule", "show").splitlines()]
