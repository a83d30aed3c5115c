# SPDX-License-Identifier: GPL-2.0-or-later
"""Larval SAs without SPI, which wait for their negotiation. Packets that need an SA create them."""

import errno
import re

import netlink
import xfrm
from cases import case, cases, main
from program import Fault, Faults, Steps, flush, hold, release, xfrmctl_with
from shadows import shadows
from tap import Skip, contains, equal

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


def without(lines, gone):
    return {line for line in lines if int(re.search(r"reqid (\d+)", line)[1]) not in gone}


def make(held=False):
    """Creates SAs of WAITING without SPI, and SAs of WITH_SPI; most have the same destination. With `held`, there are
    also shadows of a previous instance behind the policies. Returns how `ip` shows the SAs."""
    xfrm.make_uplink()
    xfrm.add_policies(*POLICIES, MARKED_POLICY)
    if held:
        hold()
        xfrm.add_policies(*POLICIES, MARKED_POLICY)
    xfrm.acquire("10.9.1.1", "10.9.2.1", "10.9.3.1", "10.9.4.1", "10.9.5.1", "2001:db8:9:6::1")
    xfrm.acquire("10.9.7.1", mark=0x10)
    netlink.allocate_spi("192.0.2.1", "198.51.100.1", 0x1000, reqid=8)
    netlink.allocate_spi("192.0.2.1", "198.51.100.1", 0x1001, reqid=9, mark=(0x10, 0xff))
    lines = xfrm.sa_lines()
    equal(set(xfrm.numbers(lines, "reqid")), WAITING | WITH_SPI, "the SAs made")
    equal(sum("spi 0x00000000" in line for line in lines), len(WAITING), "the number of SAs without SPI")
    return lines


SELECTIONS = [
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
]


@cases(SELECTIONS)
def selected(option, gone):
    """{0} takes the SAs that it matches, and others with the same destination stay."""
    before = make()
    result = flush("--states-only", option)
    equal(set(xfrm.sa_lines()), without(before, gone), "the SAs left")
    contains(result.out, f"Removed {len(gone)} SA")


@case
def everything():
    """Without a selection, all SAs are removed, and counted by protocol."""
    make()
    contains(flush("--states-only").out, "Removed 9 SAs (7 esp, 1 ah, 1 comp) and 0 policies in ")
    equal(xfrm.sa_lines(), [], "the SAs left")


@case
def again():
    """After their removal, the next packet requests an SA again."""
    make()
    flush("--states-only", "--match=reqid=1")
    xfrm.acquire("10.9.1.1")
    equal(reqids(), WAITING | WITH_SPI, "the SAs")


@cases([((),), (("--grace=5min",),)])
def released(options):
    """A release removes SAs without SPI, whose acquires may have reached no daemon, and no others: {0}"""
    before = make()
    result = release(*options)
    equal((result.out, result.err), ("No shadows. Removed 7 pending acquires: the next packets cause new ones.\n", ""), "output")
    equal(set(xfrm.sa_lines()), without(before, WAITING), "the SAs left")
    equal(release(*options).out, "No shadows.\n", "what the next one says")


@cases([((),), (("--grace=5min",),)])
def released_with_shadows(options):
    """A release removes SAs without SPI. So it does when there are shadows: {0}"""
    before = make(held=True)
    result = release(*options)
    contains(result.out, "Released 7 shadows in ", " Removed 7 pending acquires: the next packets cause new ones.\n")
    equal((set(xfrm.sa_lines()), shadows(), len(netlink.policies())), (without(before, WAITING), [], 7),
          "SAs, shadows, policies")


@cases(SELECTIONS)
def released_of_selection(option, gone):
    """With {0}, a release removes the SAs without SPI that it matches, and every shadow."""
    before = make(held=True)
    result = release(option)
    equal((set(xfrm.sa_lines()), shadows()), (without(before, gone & WAITING), []), "the SAs left, and shadows")
    equal("Removed" in result.out, bool(gone & WAITING), f"whether it says what went ({result})")


@cases([("--match=dir=out", set()), ("--exclude=dir=out", WAITING), ("--match=priority=1", set())])
def released_of_policies(option, gone):
    """An expression with a key of policies matches no SA: release {0}"""
    before = make()
    release(option)
    equal(set(xfrm.sa_lines()), without(before, gone), "the SAs left")


@case
def released_one():
    """The message has the singular for one acquire."""
    make()
    contains(release("--match=reqid=7").out, " Removed 1 pending acquire: the next packet causes a new one.\n")


@case
def again_when_released():
    """After a release, the next packet requests an SA again: IPv4, IPv6, with a mark."""
    make()
    release()
    xfrm.acquire("10.9.1.1", "2001:db8:9:6::1")
    xfrm.acquire("10.9.7.1", mark=0x10)
    equal(reqids(), {1, 6, 7} | WITH_SPI, "the SAs")


@case
def of_an_interface():
    """A release removes an SA with an if_id, and its next packet requests an SA again."""
    xfrm.make_uplink()
    try:
        xfrm.ip("link", "add", "ipsec42", "type", "xfrm", "dev", "uplink", "if_id", "42")
    except AssertionError as reason:
        raise Skip(f"no xfrm interface can be made (CONFIG_XFRM_INTERFACE): {reason}") from reason
    xfrm.ip("link", "set", "ipsec42", "up")
    xfrm.ip("route", "add", "10.9.8.0/24", "dev", "ipsec42", "src", "10.8.0.1")
    xfrm.add_policies(f"src 10.8.0.1/32 dst 10.9.8.0/24 dir out if_id 42 {TUNNEL} reqid 8")
    for _ in range(2):
        xfrm.acquire("10.9.8.1")
        equal(xfrm.numbers(xfrm.sa_lines(), "if_id"), [42], "the if_id of the SA")
        release("--match=if-id=41")
        equal(reqids(), {8}, "SAs")
        release("--match=if-id=42")
        equal(reqids(), set(), "SAs")


@cases([("negotiated", netlink.MSG_DELSA, errno.ESRCH), ("deleted", netlink.MSG_DELSA, errno.ENOENT)])
def gone_meanwhile(_, message, error):
    """An SA that is gone before a release deletes it is no failure, and not counted: {0}"""
    make()
    result = xfrmctl_with([Fault("send", message, "refuse", error, last=1)], "release")
    equal((result.out, result.err), ("No shadows. Removed 6 pending acquires: the next packets cause new ones.\n", ""), "output")


@cases([(netlink.MSG_ALLOCSPI, errno.ENOMEM, "Cannot allocate memory", "00000000"),
        (netlink.MSG_DELSA, errno.EPERM, "Operation not permitted", "")])
def refused(message, error, reason, spi):
    """An SA that the kernel does not remove is named, with exit status 1: {2}"""
    make(held=True)
    result = xfrmctl_with([Fault("send", message, "refuse", error, first=7)], "release", status=1)
    contains(result.err, f"xfrmctl: Could not release esp SA 192.0.2.1 → 198.51.100.1 spi 0x{spi}", f": {reason}.\n")
    contains(result.out, "Released 7 shadows in ", " Removed 6 pending acquires: ")
    equal((result.err.count("\n"), len(shadows())), (1, 0), "lines, and shadows left")


@case
def list_refused():
    """If the kernel does not list SAs, a release reports it, and has released the shadows."""
    make(held=True)
    result = xfrmctl_with([Fault("send", netlink.MSG_GETSA, "refuse", errno.ENOMEM)], "release", status=1)
    equal(result.err, "xfrmctl: Could not release the SAs: Cannot allocate memory.\n", "standard error")
    contains(result.out, "Released 7 shadows in ")
    equal(shadows(), [], "shadows")


def kill_at(change, *words):
    """Kills xfrmctl behind its change number `change`, counted from 0. Returns whether there was such a change."""
    with Steps(*words) as steps:
        for number, _ in enumerate(steps):
            if number == change:
                steps.kill()
                return True
    return False


@case
def killed():
    """If a release is killed anywhere, the next release removes everything that it left."""
    make()
    for change in range(2 * len(WAITING)):
        if not kill_at(change, "release"):
            break
        release()
        equal(reqids(), WITH_SPI, f"the SAs behind a release that was killed at its change {change}")
        xfrm.acquire("10.9.1.1", "10.9.2.1", "10.9.3.1", "10.9.4.1", "10.9.5.1", "2001:db8:9:6::1")
        xfrm.acquire("10.9.7.1", mark=0x10)
    assert change > len(WAITING), f"there are {change} changes"


@case
def one_spi_left():
    """If two of three possible SPIs are taken, each release finds the third."""
    xfrm.make_uplink()
    xfrm.add_policies(POLICIES[0])
    for spi in (1, 2):
        netlink.allocate_spi("192.0.2.1", "198.51.100.1", spi, reqid=8)
    for number in range(30):
        xfrm.acquire("10.9.1.1")
        equal(reqids(), {1, 8}, f"the SAs before release {number}")
        release("--match=reqid=1")
        equal(reqids(), {8}, f"the SAs after release {number}")


@case
def many():
    """Of ten thousand SAs, each gets an SPI and is deleted once."""
    xfrm.make_uplink()
    xfrm.add_policies("src 10.8.0.1/32 dst 10.9.0.0/16 dir out tmpl proto esp mode transport reqid 1")
    xfrm.acquire(*(f"10.9.{number // 200}.{1 + number % 200}" for number in range(10000)))
    equal(xfrm.counts(), (1, 10000), "policies and SAs")
    with Faults(*(Fault("send", kind, "note") for kind in
                  (netlink.MSG_GETSA, netlink.MSG_ALLOCSPI, netlink.MSG_DELSA))) as faults:
        contains(release(env=faults.env).out, "Removed 10000 pending acquires: ")
        equal([faults.count(number) for number in range(3)], [1, 10000, 10000], "lists, SPIs and deletions asked for")
    equal(xfrm.counts(), (1, 0), "policies and SAs left")


main()
