# SPDX-License-Identifier: GPL-2.0-or-later
"""Larval SAs that wait for their negotiation and have no SPI yet: by packets that want an SA which is not there."""

import re

import netlink
import xfrm
from program import flush
from tap import case, cases, contains, equal, main

TUNNEL = "tmpl src 192.0.2.1 dst 198.51.100.1 proto esp mode tunnel"
POLICIES = [
    f"src 10.8.0.1/32 dst 10.9.1.0/24 dir out {TUNNEL} reqid 1",
    f"src 10.8.0.1/32 dst 10.9.2.0/24 dir out {TUNNEL} reqid 2",
    f"src 10.8.0.1/32 dst 10.9.3.0/24 dir out {TUNNEL} reqid 3 ",
    "src 10.8.0.1/32 dst 10.9.4.0/24 dir out tmpl proto ah mode transport reqid 4",
    "src 10.8.0.1/32 dst 10.9.5.0/24 dir out tmpl src 192.0.2.1 dst 198.51.100.1 proto comp mode tunnel reqid 5",
    "src 2001:db8:8::1/128 dst 2001:db8:9:6::/64 dir out"
    " tmpl src 2001:db8:8::1 dst 2001:db8:9::f proto esp mode tunnel reqid 6",
]
MARKED_POLICY = f"src 10.8.0.1/32 dst 10.9.7.0/24 dir out mark 0x10 mask 0xff {TUNNEL} reqid 7"

WAITING = {1, 2, 3, 4, 5, 6, 7}
WITH_SPI = {8, 9}


def reqids():
    return set(xfrm.numbers(xfrm.sa_lines(), "reqid"))


def make():
    """SAs of WAITING without SPI and of WITH_SPI, of which most have one destination; returns how `ip` shows them."""
    xfrm.make_uplink()
    xfrm.add_policies(*POLICIES, MARKED_POLICY)
    xfrm.acquire("10.9.1.1", "10.9.2.1", "10.9.3.1", "10.9.4.1", "10.9.5.1", "2001:db8:9:6::1")
    xfrm.acquire("10.9.7.1", mark=0x10)
    netlink.allocate_spi("192.0.2.1", "198.51.100.1", 0x1000, reqid=8)
    netlink.allocate_spi("192.0.2.1", "198.51.100.1", 0x1001, reqid=9, mark=(0x10, 0xff))
    lines = xfrm.sa_lines()
    equal(set(xfrm.numbers(lines, "reqid")), WAITING | WITH_SPI, "the SAs made")
    equal(sum("spi 0x00000000" in line for line in lines), len(WAITING), "the number of SAs without SPI")
    return lines


@cases([
    ("--match=reqid=1", {1}),
    ("--match=reqid=4", {4}),
    ("--match=reqid=5", {5}),
    ("--match=reqid=6", {6}),
    ("--match=reqid=7", {7}),
    ("--match=reqid=2-3", {2, 3}),
    ("--match=mark=0x10", {7, 9}),
    ("--match=peer=198.51.100.1", {1, 2, 3, 5, 7, 8, 9}),
    ("--match=peer=10.9.4.1", {4}),
    ("--match=proto=comp", {5}),
    ("--match=dst=10.9.2.0/24", {2}),
    ("--match=src=2001:db8:8::/48", {6}),
    ("--match=spi=0", WAITING),
    ("--exclude=spi=0", WITH_SPI),
    ("--exclude=reqid=1", (WAITING | WITH_SPI) - {1}),
])
def selected(option, gone):
    """{0} takes the SAs that it holds for, and others with the same destination stay."""
    before = make()
    result = flush("--states-only", option)
    equal(set(xfrm.sa_lines()), {line for line in before if int(re.search(r"reqid (\d+)", line)[1]) not in gone},
          "the SAs left")
    contains(result.out, f"Removed {len(gone)} SA")


@case
def everything():
    """Without options they go, counted by protocol."""
    make()
    contains(flush("--states-only").out, "Removed 9 SAs (7 esp, 1 ah, 1 comp) and 0 policies in ")
    equal(xfrm.sa_lines(), [], "the SAs left")


@case
def again():
    """After their end the next packet asks for an SA again."""
    make()
    flush("--states-only", "--match=reqid=1")
    xfrm.acquire("10.9.1.1")
    equal(reqids(), WAITING | WITH_SPI, "the SAs")


main()
