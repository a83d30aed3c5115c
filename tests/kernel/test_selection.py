# SPDX-License-Identifier: GPL-2.0-or-later
"""--match and --exclude: selected entries are removed, and every other entry stays as it was."""

import xfrm
from cases import case, cases, main
from program import flush
from tap import contains, equal

# The order decides which priority (from 1000) or SPI (from 0x1000) an entry gets.
POLICIES = {
    "out": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out tmpl src 192.0.2.1 dst 198.51.100.1 proto esp reqid 1 mode tunnel",
    "in": "src 10.2.0.0/16 dst 10.1.0.0/16 dir in tmpl src 198.51.100.1 dst 192.0.2.1 proto esp reqid 1 mode tunnel",
    "fwd": "src 10.2.0.0/16 dst 10.1.0.0/16 dir fwd tmpl src 198.51.100.1 dst 192.0.2.1 proto esp reqid 1 mode tunnel",
    "ah": "src 203.0.113.1/32 dst 203.0.113.2/32 dir out tmpl proto ah reqid 5 mode transport",
    "comp": "src 10.1.7.0/24 dst 10.2.7.0/24 dir out"
            " tmpl src 192.0.2.1 dst 198.51.100.9 proto comp reqid 10 mode tunnel"
            " tmpl src 0.0.0.0 dst 0.0.0.0 proto esp reqid 11 mode transport",
    "v6": "src 2001:db8:1::/48 dst 2001:db8:2::/48 dir out"
          " tmpl src 2001:db8:ffff::1 dst 2001:db8:ffff::2 proto esp reqid 1 mode tunnel",
    "beet": "src 10.4.0.1/32 dst 10.4.0.2/32 dir out tmpl src 192.0.2.1 dst 198.51.100.1 proto esp reqid 12 mode beet",
    "pass": "src 0.0.0.0/0 dst 0.0.0.0/0 dir in",
    "mark": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out mark 0x10 mask 0xff",
    "mark exact": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out mark 0x10 mask 0xffffffff",
    "mark zero": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out mark 0 mask 0xff",
    "if_id": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out if_id 0x2a",
    "if_id mark": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out if_id 0x2a mark 0x10 mask 0xff",
}
SUB_POLICIES = {
    "sub": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out ptype sub",
    "sub mark": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out ptype sub mark 0x10 mask 0xff",
}
# SAs of XFRM_MSG_ALLOCSPI have selectors without a family, which are within no prefix.
SAS = {
    "SA out": {"src": "192.0.2.1", "dst": "198.51.100.1", "reqid": 1},
    "SA in": {"src": "198.51.100.1", "dst": "192.0.2.1", "reqid": 1},
    "SA ah": {"src": "203.0.113.1", "dst": "203.0.113.2", "proto": "ah", "mode": "transport", "reqid": 5},
    "SA comp": {"src": "192.0.2.1", "dst": "198.51.100.9", "proto": "comp", "reqid": 10},
    "SA v6": {"src": "2001:db8:ffff::1", "dst": "2001:db8:ffff::2", "reqid": 1},
    "SA mark": {"src": "192.0.2.1", "dst": "198.51.100.1", "mark": (0x10, 0xff), "reqid": 20},
    "SA mark exact": {"src": "192.0.2.1", "dst": "198.51.100.1", "mark": (0x10, 0xffffffff), "reqid": 20},
    "SA if_id": {"src": "192.0.2.1", "dst": "198.51.100.1", "if_id": 0x2a, "reqid": 21},
}
EVERY_POLICY = [*POLICIES, *SUB_POLICIES]
EVERYTHING = [*EVERY_POLICY, *SAS]
SAME_SELECTOR = ["out", "mark", "mark exact", "mark zero", "if_id", "if_id mark", "sub", "sub mark"]
MARKED = ["mark", "mark exact", "if_id mark", "sub mark", "SA mark", "SA mark exact"]


def but(names, *others):
    return [name for name in names if name not in others]


KEYS = [
    ("proto=esp", ["out", "in", "fwd", "comp", "v6", "beet", *but(SAS, "SA ah", "SA comp")]),
    ("proto=ah", ["ah", "SA ah"]),
    ("proto=comp", ["comp", "SA comp"]),
    ("reqid=1", ["out", "in", "fwd", "v6", "SA out", "SA in", "SA v6"]),
    ("reqid=0x5-11", ["ah", "comp", "SA ah", "SA comp"]),
    ("reqid=11", ["comp"]),
    ("reqid=2-4", []),
    ("mark=0x10", MARKED),
    ("mark=16/0xff", MARKED),
    ("mark=0x10/0xffff", ["mark exact", "SA mark exact"]),
    ("mark=0/0xff", ["mark zero"]),
    ("mark=0", but(EVERYTHING, *MARKED)),
    ("if-id=42", ["if_id", "if_id mark", "SA if_id"]),
    ("if-id=0", but(EVERYTHING, "if_id", "if_id mark", "SA if_id")),
    ("dir=in", ["in", "pass"]),
    ("dir=out", but(EVERY_POLICY, "in", "pass", "fwd")),
    ("dir=fwd", ["fwd"]),
    ("ptype=main", [*POLICIES]),
    ("ptype=sub", [*SUB_POLICIES]),
    ("src=10.1.0.0/16", ["comp", *SAME_SELECTOR]),
    ("src=10.1.7.0/24", ["comp"]),
    ("src=10.1.0.0/24", []),
    ("src=10.1.0.0", []),
    ("src=10.0.0.0/8", ["in", "fwd", "comp", "beet", *SAME_SELECTOR]),
    ("src=0.0.0.0/0", but(EVERY_POLICY, "v6")),
    ("src=2001:db8::/32", ["v6"]),
    ("src=::/0", ["v6"]),
    ("dst=10.2.0.0/16", ["comp", *SAME_SELECTOR]),
    ("dst=10.4.0.2/32", ["beet"]),
    ("dst=0.0.0.0", []),
    ("dst=2001:db8:2::/48", ["v6"]),
    ("peer=198.51.100.1", ["out", "in", "fwd", "beet", "SA out", "SA in", "SA mark", "SA mark exact", "SA if_id"]),
    ("peer=198.51.100.8/29", ["comp", "SA comp"]),
    ("peer=203.0.113.0/24", ["ah", "SA ah"]),
    ("peer=2001:db8:ffff::2", ["v6", "SA v6"]),
    ("peer=10.0.0.0/8", []),
    ("priority=1000", ["out"]),
    ("priority=1001-0x3eb", ["in", "fwd", "ah"]),
    ("priority=0-999", []),
    ("spi=0x1001", ["SA in"]),
    ("spi=4098", ["SA ah"]),
    ("spi=0", []),
]

COMBINED = [
    ("--match=reqid=1,dir=out", ["out", "v6"]),
    ("--match=proto=esp,peer=198.51.100.1,reqid=1", ["out", "in", "fwd", "SA out", "SA in"]),
    ("--match=mark=0x10,if-id=0x2a", ["if_id mark"]),
    ("--match=mark=0x10,ptype=sub", ["sub mark"]),
    ("--match=proto=esp,reqid=1,mark=0,if-id=0,dir=out,ptype=main,src=10.1.0.0/16,dst=10.2.0.0/16,"
     "peer=198.51.100.0/24,priority=1000-1999", ["out"]),
    ("--match=proto=esp,reqid=1,mark=0,if-id=0,peer=192.0.2.0/24,spi=0x1000", ["SA out"]),
    ("--match=dir=in,dst=2001:db8::/32", []),
    ("--match=dir=in --match=dir=fwd", ["in", "pass", "fwd"]),
    ("--match=spi=0x1000 --match=priority=1000 --match=proto=ah", ["SA out", "out", "SA ah", "ah"]),
    ("--match=reqid=1 --match=proto=esp,reqid=1", ["out", "in", "fwd", "v6", "SA out", "SA in", "SA v6"]),
    ("--exclude=if-id=42", but(EVERYTHING, "if_id", "if_id mark", "SA if_id")),
    ("--exclude=dir=out --exclude=proto=esp", ["pass", "SA ah", "SA comp"]),
    ("--match=reqid=1 --exclude=reqid=1", []),
    ("--match=mark=0x10 --exclude=if-id=0x2a", but(MARKED, "if_id mark")),
    ("--exclude=peer=198.51.100.0/24 --match=proto=esp", ["v6", "SA v6"]),
    ("--match=reqid=1 --states-only", ["SA out", "SA in", "SA v6"]),
    ("--match=reqid=1 --policies-only", ["out", "in", "fwd", "v6"]),
    ("--match=dir=out --states-only", []),
    ("--match=spi=0x1000 --policies-only", []),
    ("--match=reqid=1 --force", ["out", "in", "fwd", "v6", "SA out", "SA in", "SA v6"]),
]


def check(options, selected):
    state = xfrm.State(POLICIES | (SUB_POLICIES if xfrm.has_sub_policies() else {}), SAS)
    gone = state.names() & set(selected)
    result = flush(*options)
    state.expect(*state.names() - gone)
    if not gone:
        equal(result.out, "Nothing to remove.\n", "output")
        return
    sas, policies = len(gone & set(SAS)), len(gone - set(SAS))
    contains(result.out, f"Removed {sas} SA" + ("s" if sas != 1 else ""),
             f" and {policies} " + ("policies" if policies != 1 else "policy"))


@cases(KEYS)
def match(expression, selected):
    """--match={0} removes what it matches and nothing else."""
    check([f"--match={expression}"], selected)


@cases(KEYS)
def exclude(expression, selected):
    """--exclude={0} leaves what it matches and nothing else."""
    check([f"--exclude={expression}"], but(EVERYTHING, *selected))


@cases(COMBINED)
def combined(options, selected):
    """{0} removes what is selected and nothing else."""
    check(options.split(), selected)


@case
def many_expressions():
    """The maximum number of expressions of each kind takes effect."""
    state = xfrm.State({str(n): f"src 10.1.{n}.0/24 dst 10.2.0.0/16 dir out" for n in range(130)})
    flush(*(f"--match=src=10.1.{n}.0/24" for n in range(64)), *(f"--exclude=src=10.1.{n}.0/24" for n in range(63, 127)))
    state.expect(*map(str, range(63, 130)))


def add_hidden():
    """Adds an SA with a mark, and one without mark that the kernel finds in its place. Larval SAs never have the same
    SPI. Returns how `ip` shows the SAs."""
    for mark in ("mark 5 mask 0xff", ""):
        xfrm.add_sa(f"src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode tunnel reqid 7 {mark}"
                    f" aead rfc4106(gcm(aes)) 0x{'1' * 40} 128")
    return xfrm.sa_lines()


@case
def hidden_by_mark():
    """An SA behind one with the same SPI and a wider mark is named, and both stay."""
    before = add_hidden()
    result = flush("--match=mark=5", status=1)
    contains(result.err, "Could not remove esp SA 192.0.2.1 → 192.0.2.2 spi 0x00001000 reqid 7 mark 0x5/0xff: ",
             " wider mark ")
    equal(xfrm.sa_lines(), before, "the SAs left")


@case
def hidden_by_mark_and_both_selected():
    """An SA behind one with the same SPI and a wider mark is removed if both are selected."""
    add_hidden()
    contains(flush("--match=spi=0x1000").out, "Removed 2 SAs (2 esp) and 0 policies in ")
    equal(xfrm.sa_lines(), [], "the SAs left")


main()
