# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads charon's routing table with `ip route` and `ip rule`."""

import json
from typing import NamedTuple

from command import run
from tags import ROUTE_PROTOCOL

TABLE = 220


class Route(NamedTuple):
    dst: str
    protocol: str
    src: str


def shown(*words, netns=None):
    """Returns the JSON output of ip(8); an empty list if it fails, as it does for a table that was never used."""
    out = run("ip", "-j", "-N", *words, netns=netns, check=False).stdout
    return json.loads(out or "[]")


def routes(netns=None):
    """Returns all routes of the table, of both families."""
    return [Route(route["dst"], route["protocol"], route.get("prefsrc", ""))
            for family in ("-4", "-6") for route in shown(family, "route", "show", "table", str(TABLE), netns=netns)]


def destinations(netns=None):
    """Returns the destinations of charon's own routes, sorted."""
    return sorted(route.dst for route in routes(netns) if route.protocol == "4")


def backup_routes(netns=None):
    return [route for route in routes(netns) if route.protocol == str(ROUTE_PROTOCOL)]


def nexthops():
    """Returns the nexthop objects, which routes can refer to."""
    return shown("nexthop", "show")


def rules(netns=None):
    """Returns the number of rules that lead to the table."""
    return sum(rule.get("table") == str(TABLE) for family in ("-4", "-6")
               for rule in shown(family, "rule", "show", netns=netns))
