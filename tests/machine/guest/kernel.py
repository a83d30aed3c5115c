# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the kernel's SAs and policies with `ip xfrm`, and its counters."""

import re
from pathlib import Path
from typing import NamedTuple

from command import run


class SA(NamedTuple):
    src: str
    dst: str
    proto: str
    spi: int
    reqid: int
    mode: str
    if_id: int
    user: int       # xfrmctl's tag in the selector of a guard SA


class Policy(NamedTuple):
    index: int
    direction: str
    src: str
    dst: str
    ptype: str
    if_id: int
    user: int       # xfrmctl's tag in the selector of a shadow or a kept policy


def number(text, name, default=0):
    match = re.search(rf"\b{name} (0x[0-9a-f]+|\d+)", text)
    return int(match[1], 0) if match else default


def sas(netns=None):
    found = []
    for line in run("ip", "-o", "-d", "-s", "xfrm", "state", netns=netns).stdout.splitlines():
        src, dst, proto = re.match(r"src (\S+) dst (\S+)\s*\\\s*proto (\S+)", line).groups()
        mode = re.search(r"\bmode ([a-z_]+)", line)[1]
        found.append(SA(src, dst, proto, number(line, "spi"), number(line, "reqid"), mode, number(line, "if_id"),
                        number(line, "uid")))
    return found


def policies(netns=None):
    """Returns all policies except those of sockets, which the kernel removes with their socket."""
    found = []
    for line in run("ip", "-o", "-d", "-s", "xfrm", "policy", netns=netns).stdout.splitlines():
        src, dst = re.match(r"src (\S+) dst (\S+)", line).groups()
        direction = re.search(r"\\\s*(dir \w+|socket \w+)", line)[1]
        if direction.startswith("dir "):
            ptype = re.search(r"\bptype (\w+)", line)[1]
            found.append(Policy(number(line, "index"), direction.split()[1], src, dst, ptype, number(line, "if_id"),
                                number(line, "uid")))
    return found


def spis(netns=None):
    return {sa.spi for sa in sas(netns)}


def indexes(netns=None):
    return {policy.index for policy in policies(netns)}


def counted(name):
    """Returns the value of a counter: the gateway's packets that the kernel has dropped for one reason since boot."""
    counters = dict(line.split() for line in Path("/proc/net/xfrm_stat").read_text().splitlines())
    return int(counters[name])


def blocked():
    """Returns the number of the gateway's outbound packets that policies have blocked since boot."""
    return counted("XfrmOutPolBlock")


def stopped():
    """Returns the number of the gateway's outbound packets that guard SAs have dropped since boot."""
    return counted("XfrmOutStateSeqError")


def flush(netns=None):
    run("ip", "xfrm", "state", "flush", netns=netns)
    run("ip", "xfrm", "policy", "flush", netns=netns)
