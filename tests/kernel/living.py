# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections whose SAs are in use, as a crash leaves them. Larval SAs represent negotiated ones (see `mature` in
fault.c), since this machine's kernel may have no ciphers. Other larval SAs represent guard SAs. The case creates these.
When xfrmctl adds a guard SA, a fault refuses it with EEXIST."""

import errno
import re

import netlink
import xfrm
from program import Fault, xfrmctl_with
from tables import both_ways

HERE, THERE = "192.0.2.1", "198.51.100.1"

MATURE = Fault("receive", netlink.MSG_GETSA, "mature")
STOPPED = Fault("send", netlink.MSG_NEWSA, "refuse", errno.EEXIST)
# A larval SA cannot get a lifetime. xfrmctl's update does not reach the kernel, and xfrmctl reads that it succeeded.
LIMITED = Fault("send", netlink.MSG_UPDSA, "refuse", 0)
LIVING = (MATURE, STOPPED, LIMITED)

PRIORITY = 2000


def complement(spi):
    """Returns the SPI of an SA's guard SA."""
    return spi ^ 0xffffffff


def template(number, spi=0, mode="tunnel"):
    """Returns the templates of both directions, outbound first."""
    ends = [(HERE, THERE), (THERE, HERE)]
    named = [f"spi {spi:#x} " if spi else "", ""]
    return [f"tmpl src {src} dst {dst} proto esp {name}reqid {number} mode {mode}"
            for (src, dst), name in zip(ends, named)]


def policies(number, spi=0, priority=PRIORITY, here="10.1.0.0/16", there=None):
    """Returns the policies of connection `number`. Without an SPI, these are the policies of its trap."""
    out, back = template(number, spi)
    return [policy.replace(out, back) if "dir out" not in policy else policy
            for policy in both_ways(here, there or f"10.{10 + number}.0.0/16", f"priority {priority} {out}")]


def spi_out(number):
    return 0x1000 + number


def spi_in(number):
    return 0x2000 + number


def make_sas(number, guard_sa=True, first=0):
    netlink.allocate_spi(HERE, THERE, first + spi_out(number), reqid=number)
    netlink.allocate_spi(THERE, HERE, first + spi_in(number), reqid=number)
    if guard_sa:
        netlink.allocate_spi(HERE, THERE, complement(first + spi_out(number)), reqid=number)


def make(*numbers, **more):
    """Creates connections with their SAs and policies."""
    for number in numbers:
        make_sas(number)
        xfrm.add_policies(*policies(number, spi_out(number), **more))


def add_real_sas(number, first=0):
    """Adds both SAs of a connection. Skips the case if the kernel has no ciphers."""
    for (src, dst), spi in (((HERE, THERE), spi_out(number)), ((THERE, HERE), spi_in(number))):
        xfrm.add_sa(f"src {src} dst {dst} proto esp spi {first + spi:#x} reqid {number} mode tunnel flag af-unspec"
                    f" enc cbc(aes) 0x{spi:032x} auth-trunc hmac(sha256) 0x{spi:064x} 128")


def packets(number):
    """Returns the number of packets that the outbound SA of a connection has protected."""
    [sa] = [sa for sa in re.split(r"\n(?=src )", xfrm.ip("-s", "xfrm", "state")) if f"spi {spi_out(number):#010x}" in sa]
    return int(re.search(r"lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)", sa)[1])


def xfrmctl_living(*words, faults=(), without=(), **options):
    return xfrmctl_with([*(fault for fault in LIVING if fault not in without), *faults], *words, **options)


def spis():
    return set(xfrm.numbers(xfrm.sa_lines(), "spi"))
