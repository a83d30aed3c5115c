# SPDX-License-Identifier: GPL-2.0-or-later
"""charon's routing table, from `ip route` and `ip rule`."""

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
    """None is there where nobody has used the table."""
    out = run("ip", "-j", "-N", *words, netns=netns, check=False).stdout
    return json.loads(out or "[]")


def routes(netns=None):
    """All routes of the table, of both families."""
    return [Route(route["dst"], route["protocol"], route.get("prefsrc", ""))
            for family in ("-4", "-6") for route in shown(family, "route", "show", "table", str(TABLE), netns=netns)]


def destinations(netns=None):
    """Those of charon's own routes, in order."""
    return sorted(route.dst for route in routes(netns) if route.protocol == "4")


def backup_routes(netns=None):
    return [route for route in routes(netns) if route.protocol == str(ROUTE_PROTOCOL)]


def nexthops():
    """The objects that routes can name."""
    return shown("nexthop", "show")


def rules(netns=None):
    """How many rules lead to the table."""
    return sum(rule.get("table") == str(TABLE) for family in ("-4", "-6")
               for rule in shown(family, "rule", "show", netns=netns))
