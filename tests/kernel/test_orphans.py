# SPDX-License-Identifier: GPL-2.0-or-later
"""flush --orphans with a server that answers for charon: SAs that charon does not know are removed, and no others."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import living
import netlink
import xfrm
from cases import case, cases, main
from daemon import GROUPS_OF_CHARON, process
from program import IN_UNIT, XFRMCTL, Fault, flush, flush_with
from tap import contains, equal
from vici_server import HANG_UP, Server, Stream, in_turn

# Makes larval SAs look negotiated, because this machine's kernel may have no ciphers.
MATURE = Fault("receive", netlink.MSG_GETSA, "mature")

V4 = {"src": "192.0.2.1", "dst": "192.0.2.2"}

# SAs of common kinds, by SPI.
SAS = {
    0x1001: {**V4, "reqid": 1},
    0x1002: {"src": "192.0.2.2", "dst": "192.0.2.1", "reqid": 1},
    0x1003: {**V4, "mode": "transport", "reqid": 2, "mark": (0x10, 0xff)},
    0x1004: {"src": "2001:db8::1", "dst": "2001:db8::2", "reqid": 3, "if_id": 7},
    0x1005: {**V4, "proto": "ah", "mode": "transport", "reqid": 4},
    0x1006: {**V4, "proto": "comp", "reqid": 5},
    0x1007: {**V4, "proto": "ah", "mode": "transport", "reqid": 6},
}


def child(**keys):
    """Returns a CHILD_SA in an IKE_SA of its own, as charon reports it."""
    return {"site": {"state": "ESTABLISHED", "child-sas": {"site-1": {
        "name": "site", "state": "INSTALLED", "protocol": "ESP", "spi-in": "00000000", "spi-out": "00000000", **keys}}}}


def known(*spis):
    """Returns an answer with an inbound ESP SA for each SPI."""
    return Stream("list-sa", [child(**{"spi-in": f"{spi:08x}"}) for spi in spis])


NOTHING_KNOWN = Stream("list-sa", [])
CONNS = Stream("list-conn", [])


@contextmanager
def charon(sas, conns=CONNS, ike_sas=0):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "charon.vici"
        with Server(path, {"list-sas": sas, "list-conns": conns, "stats": {"ikesas": {"total": ike_sas}}}) as server:
            server.option = f"--socket={path}"
            yield server


def make(*spis):
    for spi in spis:
        netlink.allocate_spi(spi=spi, **SAS[spi])


def flush_orphans(server, *options, status=0):
    return flush_with([MATURE], "-v", "--orphans", server.option, *options, status=status)


def left():
    return set(xfrm.numbers(xfrm.sa_lines(), "spi"))


@case
def known_stay():
    """Known SAs stay: ESP, AH and IPComp, inbound and outbound; protocol and SPI identify an SA."""
    make(*SAS)
    children = [
        child(**{"spi-in": "00001001", "spi-out": "00001002", "cpi-out": "1006"}),
        child(**{"spi-in": "00001005", "protocol": "AH"}),
        child(**{"spi-in": "00001007"}),
    ]
    with charon(Stream("list-sa", children)) as server:
        result = flush_orphans(server)
    equal(left(), {0x1001, 0x1002, 0x1005, 0x1006}, "what is left")
    contains(result.out, "Removed 3 SAs (2 esp, 1 ah)")


@case
def unknown_go():
    """If charon knows no SA, all are orphans; policies stay."""
    make(*SAS)
    xfrm.add_policies("src 10.1.0.0/16 dst 10.2.0.0/16 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1")
    with charon(NOTHING_KNOWN) as server:
        flush_orphans(server)
    equal(xfrm.counts(), (1, 0), "policies and SAs")


@case
def known_later():
    """An SA that charon reports only in its second list is no orphan."""
    make(0x1001, 0x1002)
    with charon(in_turn(known(0x1001), known(0x1001, 0x1002))) as server:
        result = flush_orphans(server)
        equal([command for command, _ in server.seen], ["list-sas"] * 2, "questions")
    equal(left(), {0x1001, 0x1002}, "what is left")
    contains(result.out, "Nothing to remove.")
    contains(result.err, "The kernel had 1 other SAs at the first comparison, and 0 at the second")


@case
def known_no_more():
    """An SA that charon reports only in its first list is no orphan."""
    make(0x1001, 0x1002)
    with charon(in_turn(known(0x1001), known(0x1002))) as server:
        flush_orphans(server)
    equal(left(), {0x1001, 0x1002}, "what is left")


@cases([("--match=spi=0x1003", {0x1003}), ("--exclude=proto=ah", {0x1003, 0x1004})])
def selected(option, expected):
    """--orphans removes only selected orphans: {0}"""
    make(0x1001, 0x1003, 0x1004, 0x1005)
    before = left()
    with charon(known(0x1001)) as server:
        flush_orphans(server, option)
    equal(before - left(), expected, "what is gone")


@case
def kept_stay():
    """SAs that kept policies use are no orphans: the handover removes them."""
    living.make(1)
    living.xfrmctl_living("flush", "--keep")
    netlink.allocate_spi(living.HERE, living.THERE, 0x3000, reqid=7)
    with charon(NOTHING_KNOWN) as server:
        flush_orphans(server)
    equal(left(), {living.spi_out(1), living.spi_in(1), living.complement(living.spi_out(1))}, "what is left")


@case
def larval():
    """Larval SAs are no orphans."""
    netlink.allocate_spi("192.0.2.1", "192.0.2.2", 0x1000)
    netlink.allocate_spi("2001:db8::1", "2001:db8::2", 0x1001, proto="ah")
    with charon(NOTHING_KNOWN) as server:
        result = flush("--orphans", server.option)
        equal([command for command, _ in server.seen], ["list-sas"], "questions")
    equal((result.out, left()), ("Nothing to remove.\n", {0x1000, 0x1001}), "what it says and leaves")


@cases([
    ("unknown command", None, "Operation not supported"),
    ("hangs up", HANG_UP, "Connection reset by peer"),
    ("an SPI that is none", Stream("list-sa", [{"a": {"child-sas": {"a-1": {"spi-in": "xyz"}}}}]), "Bad message"),
    ("breaks off", Stream("list-sa", [{"a": {}}], HANG_UP), "Connection reset by peer"),
])
def answers_badly(_, answer, why):
    """Without a valid answer of charon, nothing is removed: {0}"""
    state = xfrm.a_few()
    with charon(answer) as server:
        if answer is None:
            del server.commands["list-sas"]
        result = flush("--orphans", server.option, status=1)
    contains(result.err, "Could not find out which SAs charon does not know", why, "Nothing was removed.")
    state.expect_untouched()


@case
def left_out():
    """If charon has more IKE_SAs than it lists, nothing is removed."""
    make(0x1001, 0x1002)
    with charon(known(0x1001), ike_sas=2) as server:
        result = flush_orphans(server, status=1)
    contains(result.err, "charon leaves out IKE_SAs with more CHILD_SAs than fit into a message")
    equal(left(), {0x1001, 0x1002}, "what is left")


@case
def breaks_off_later():
    """If charon ends between its two lists, nothing is removed."""
    make(0x1001)
    with charon(in_turn(NOTHING_KNOWN, HANG_UP)) as server:
        flush_orphans(server, status=1)
    equal(left(), {0x1001}, "what is left")


@case
def no_charon():
    """Without charon, nothing is removed, and the message names the command that removes all SAs."""
    state = xfrm.a_few()
    result = flush("--orphans", "--socket=/run/nobody/charon.vici", status=1)
    contains(result.err, "Could not ask charon at /run/nobody/charon.vici for its SAs: No such file or directory.",
             "Nothing was removed", "`xfrmctl flush` removes all SAs.")
    state.expect_untouched()


@case
def elsewhere():
    """With a charon of another network namespace, nothing is removed."""
    with charon(NOTHING_KNOWN) as server:
        result = flush("--orphans", server.option, status=1, command=("unshare", "--net", XFRMCTL))
    contains(result.err, "works in another network namespace. Nothing was removed")


@cases([("by hand", (XFRMCTL,)), ("by systemd", IN_UNIT)])
def other_key_manager(_, command):
    """Beside another key manager, nothing is removed without --force: {0}"""
    with charon(NOTHING_KNOWN) as server, process("pluto", GROUPS_OF_CHARON) as pid:
        result = flush("--orphans", server.option, status=3, command=command)
        contains(result.err, f"pluto (PID {pid}) is alive", "Nothing was removed")
        flush("--orphans", "--force", server.option, command=command)


@case
def charon_itself():
    """charon as the only key manager is no reason to refuse."""
    with charon(NOTHING_KNOWN) as server, netlink.open_socket(netlink.ACQUIRES):
        result = flush("--orphans", server.option)
    equal(result.out, "Nothing to remove.\n", "what it says")


main()
