# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults between the program and the kernel: each has a defined outcome and a message."""

import errno

import xfrm
from cases import case, cases, main
from netlink import (MSG_ALLOCSPI, MSG_DELPOLICY, MSG_DELSA, MSG_FLUSHPOLICY, MSG_FLUSHSA, MSG_GETPOLICY, MSG_GETSA,
                     MSG_GETSADINFO)
from program import Fault, Faults, flush, flush_with
from tap import contains, equal, is_lacking

KINDS = [("policies", MSG_GETPOLICY, MSG_DELPOLICY), ("SAs", MSG_GETSA, MSG_DELSA)]

ONLY = {"policies": "--policies-only", "SAs": "--states-only"}

MANY = 3000


def fill(kind, count=MANY):
    xfrm.fill("sas" if kind == "SAs" else "networks", count)


def left(kind):
    return xfrm.counts()[kind == "SAs"]


def expect_half(kind, result):
    """Checks that entries with reqid 1 are removed, and that the others are there."""
    lines = xfrm.sa_lines() if kind == "SAs" else xfrm.policy_lines()
    equal((len(lines), set(xfrm.numbers(lines, "reqid"))), (MANY // 2, {2}), f"the {kind} left")
    contains(result.out, f"Removed {MANY // 2} SAs" if kind == "SAs" else f" and {MANY // 2} policies (")


@cases(KINDS)
def always_lost(kind, dump, _):
    """If a part of every dump of {0} is lost, flush fails and reports it."""
    fill(kind)
    # The first message of each dump arrives, and the second is lost.
    lost = [Fault("receive", dump, "fail", errno.ENOBUFS, first=number, last=number) for number in (2, 4, 6, 8, 10)]
    with Faults(Fault("send", dump, "note"), *lost) as faults:
        result = flush("--match=reqid=1", status=1, env=faults.env)
        equal(faults.count(), 5, "the number of dumps")
    equal(result.err, f"xfrmctl: Could not read all {kind} in 5 passes: some may be left. Run this "
                      "command again.\n", "standard error")


@cases(KINDS)
def lost_from_dump(kind, dump, _):
    """Entries that are lost from a dump of {0} (ENOBUFS) are removed in the next pass."""
    fill(kind)
    result = flush_with([Fault("receive", dump, "fail", errno.ENOBUFS, first=3, last=3)], "-v", "--match=reqid=1")
    contains(result.err, f"Pass 1 over the {kind} lost a part of the kernel's list;", f"Pass 2 over the {kind};")
    is_lacking(result.err, "Pass 3")
    expect_half(kind, result)


@case
def dry_run_lost():
    """A dry run reports that its list may lack entries."""
    xfrm.a_few()
    result = flush_with([Fault("receive", MSG_GETPOLICY, "fail", errno.ENOBUFS)], "--dry-run")
    equal(result.err, "xfrmctl: Could not read the kernel's whole list: entries may be missing here. Run this command "
          "again.\n", "standard error")
    contains(result.out, "Would remove 2 SAs (1 esp, 1 ah) and 0 policies.\n")


NO_XFRM = "Could not use XFRM: this kernel lacks it. Load the module xfrm_user, or use a kernel with CONFIG_XFRM_USER."

FILTERED = ("Could not open a netlink socket: a filter of system calls forbids it ({}). Allow it in the unit "
            "(SystemCallFilter=, RestrictAddressFamilies=). If the unit allows it, report this as a bug of xfrmctl.")


@cases([
    (errno.EPROTONOSUPPORT, NO_XFRM),
    (errno.EPERM, FILTERED.format("Operation not permitted")),
    (errno.EAFNOSUPPORT, FILTERED.format("Address family not supported by protocol")),
    (errno.EMFILE, "Could not read XFRM state: Too many open files."),
])
def no_socket(error, sentence):
    """Without a socket (errno {0}), flush fails: {1}"""
    state = xfrm.a_few()
    for number in (1, 2):
        result = flush_with([Fault("socket", 0, "fail", error, first=number, last=number)], status=1)
        equal((result.err, result.out), (f"xfrmctl: {sentence}\n", ""), "output")
        state.expect_untouched()


LATE = (errno.EAGAIN, "Connection timed out")
BROKEN = (errno.ENOMEM, "Cannot allocate memory")


@cases([LATE, BROKEN])
def no_counts(error, reason):
    """If the kernel does not answer the first request ({1}), nothing is done."""
    state = xfrm.a_few()
    result = flush_with([Fault("receive", MSG_GETSADINFO, "fail", error)], status=1)
    equal((result.err, result.out), (f"xfrmctl: Could not read XFRM state: {reason}.\n", ""), "output")
    state.expect_untouched()


@case
def other_word_size():
    """The answer of a 64-bit kernel to a 32-bit program is explained."""
    state = xfrm.a_few()
    result = flush_with([Fault("send", MSG_GETSADINFO, "refuse", errno.EOPNOTSUPP)], status=1)
    contains(result.err, "this kernel accepts no XFRM messages of a 32-bit program (CONFIG_XFRM_USER_COMPAT)")
    state.expect_untouched()


@cases([(*kind, *error) for kind in KINDS for error in (LATE, BROKEN)])
def dump_breaks_off(kind, dump, _, error, reason):
    """If a dump of {0} breaks off ({4}), flush fails, and reports the right number of removed entries."""
    fill(kind)
    result = flush_with([Fault("receive", dump, "fail", error, first=4)], ONLY[kind], "--match=reqid=1", status=1)
    equal(result.err, f"xfrmctl: Could not remove the {kind}: {reason}.\n", "standard error")
    removed = MANY - left(kind)
    assert 0 < removed < MANY // 2, removed
    contains(result.out, f"Removed {removed} SAs (" if kind == "SAs" else f"Removed 0 SAs and {removed} policies (")


@case
def dump_breaks_off_before_sas():
    """If the dump of policies breaks off, the SAs are removed all the same."""
    xfrm.a_few()
    result = flush_with([Fault("receive", MSG_GETPOLICY, "fail", errno.EAGAIN)], "--exclude=reqid=77", status=1)
    equal(result.err, "xfrmctl: Could not remove the policies: Connection timed out.\n", "standard error")
    contains(result.out, "Removed 2 SAs (1 esp, 1 ah) and 0 policies in ")
    equal(xfrm.counts(), (3, 0), "policies and SAs left")


@cases([("send", *kind) for kind in KINDS] + [("receive", *kind) for kind in KINDS])
def change_breaks_off(call, kind, _, delete):
    """If deletions of {1} break off (ENOMEM on {0}), flush fails with a message."""
    fill(kind, 1000)
    result = flush_with([Fault(call, delete, "fail", errno.ENOMEM)], ONLY[kind], "--match=reqid=1", status=1)
    contains(result.err, f"xfrmctl: Could not remove the {kind}: Cannot allocate memory.\n")
    removed = 1000 - left(kind)
    contains(result.out, f"Removed {removed} SA" if kind == "SAs" else f"Removed 0 SAs and {removed} policies")


@case
def refused_policy():
    """A policy that the kernel does not remove is named and counted; the others are removed."""
    state = xfrm.State({
        "first": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out",
        "kept": "src 10.1.0.0/16 dst 10.3.0.0/16 dir out mark 0x10 mask 0xff if_id 0x2a",
        "last": "src 10.1.0.0/16 dst 10.4.0.0/16 dir out",
    })
    [index] = xfrm.numbers([flush("--dry-run", "--match=if-id=42").out], "index")
    result = flush_with([Fault("send", MSG_DELPOLICY, "refuse", errno.EPERM, first=2, last=2)], "--match=dir=out",
                        status=1)
    equal(result.err, f"xfrmctl: Could not remove policy 10.1.0.0/16 → 10.3.0.0/16 dir out ptype main index {index} "
                      "mark 0x10/0xff if_id 0x2a: Operation not permitted.\n", "standard error")
    contains(result.out, "Removed 0 SAs and 2 policies (2 out) in ")
    state.expect("kept")


@case
def refused_sa():
    """An SA that the kernel does not remove is named and counted; the others are removed."""
    state = xfrm.State(sas={
        "first": {"src": "192.0.2.1", "dst": "192.0.2.2"},
        "kept": {"src": "2001:db8::1", "dst": "2001:db8::2", "proto": "ah", "mark": (0x10, 0xff), "reqid": 7},
        "last": {"src": "192.0.2.1", "dst": "192.0.2.2"},
    })
    result = flush_with([Fault("send", MSG_DELSA, "refuse", errno.EPERM, first=2, last=2)], "--exclude=reqid=77",
                        status=1)
    contains(result.err, "xfrmctl: Could not remove ah SA 2001:db8::1 → 2001:db8::2 spi 0x00001001 ",
             "mark 0x10/0xff: Operation not permitted.\n")
    is_lacking(result.err, "reqid 0")
    contains(result.out, "Removed 2 SAs (2 esp) and 0 policies in ")
    state.expect("kept")


@cases(KINDS)
def many_refused(kind, _, delete):
    """Of many {0} that the kernel does not remove, ten are named and the others counted."""
    fill(kind, 100)
    result = flush_with([Fault("send", delete, "refuse", errno.EPERM, first=21, last=45)], "--exclude=reqid=77",
                        status=1)
    equal(left(kind), 25, f"the number of {kind} left")
    lines = result.err.splitlines()
    equal(len(lines), 11, "the number of lines")
    for line in lines[:-1]:
        contains(line, "xfrmctl: Could not remove ", ": Operation not permitted.")
    equal(len(set(lines)), 11, "the number of different lines")
    equal(lines[-1], "xfrmctl: 15 more could not be removed.", "the last line")
    contains(result.out, "Removed 75 SAs" if kind == "SAs" else " and 75 policies")


@case
def no_spi_to_be_had():
    """A larval SA that cannot be deleted, because it gets no SPI, is named and stays."""
    xfrm.make_uplink()
    xfrm.add_policies("dst 10.9.0.0/16 dir out tmpl src 192.0.2.1 dst 198.51.100.1 proto esp reqid 7 mode tunnel")
    xfrm.acquire("10.9.0.1")
    result = flush_with([Fault("send", MSG_ALLOCSPI, "refuse", errno.ENOMEM)], "--states-only", "--match=reqid=7",
                        status=1)
    equal(result.err, "xfrmctl: Could not remove esp SA 192.0.2.1 → 198.51.100.1 spi 0x00000000 reqid 7: Cannot "
                      "allocate memory.\n", "standard error")
    equal(left("SAs"), 1, "the number of SAs left")


@case
def refusals_lost():
    """If refusals are lost (ENOBUFS), the next pass removes the entries that are left, and none counts twice."""
    fill("policies", 100)
    result = flush_with([Fault("send", MSG_DELPOLICY, "refuse", errno.EPERM, first=1, last=3),
                         Fault("receive", MSG_DELPOLICY, "fail", errno.ENOBUFS, first=1, last=1)], "--exclude=reqid=77")
    equal(result.err, "", "standard error")
    contains(result.out, "Removed 0 SAs and 100 policies (")
    equal(xfrm.counts(), (0, 0), "policies and SAs left")


@case
def refusals_lost_and_repeated():
    """If refusals are lost (ENOBUFS), they are reported if the kernel refuses again."""
    fill("policies", 100)
    result = flush_with([Fault("send", MSG_DELPOLICY, "refuse", errno.EPERM, first=1, last=3),
                         Fault("receive", MSG_DELPOLICY, "fail", errno.ENOBUFS, first=1, last=1),
                         Fault("send", MSG_DELPOLICY, "refuse", errno.EPERM, first=101, last=103)],
                        "--exclude=reqid=77", status=1)
    equal(result.err.count("Could not remove policy "), 3, f"the number of policies named in {result.err}")
    contains(result.out, "Removed 0 SAs and 97 policies (")
    equal(xfrm.counts(), (3, 0), "policies and SAs left")


DISAPPEARING = {
    "A policy": ({"a": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out", "b": "src 10.1.0.0/16 dst 10.3.0.0/16 dir out"}, {},
               MSG_DELPOLICY, "ip xfrm policy delete src 10.1.0.0/16 dst 10.2.0.0/16 dir out"),
    "An SA": ({}, {"a": {"src": "192.0.2.1", "dst": "192.0.2.2"}, "b": {"src": "192.0.2.1", "dst": "192.0.2.3"}},
           MSG_DELSA, "ip xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000"),
    "An SA with a mark": ({}, {"a": {"src": "192.0.2.1", "dst": "192.0.2.2", "mark": (5, 0xff)},
                            "b": {"src": "192.0.2.1", "dst": "192.0.2.3"}},
                       MSG_GETSA, "ip xfrm state flush proto esp"),
}


@cases([("A policy", 1), ("An SA", 1), ("An SA with a mark", 0)])
def gone_in_between(what, removed):
    """{0} that disappears between dump and deletion is no failure and not counted."""
    policies, sas, message, command = DISAPPEARING[what]
    state = xfrm.State(policies, sas)
    # The first XFRM_MSG_GETSA requests the dump. With the second one, xfrmctl checks whether another SA with the same
    # SPI and a wider mark hides this SA.
    number = 2 if message == MSG_GETSA else 1
    result = flush_with([Fault("send", message, "run", first=number, last=number)], "-v", "--exclude=reqid=77",
                        command=command)
    state.expect()
    contains(result.err, f"{2 - removed} were gone already.")
    contains(result.out, ("Removed 0 SAs and 1 policy" if policies else "Removed 1 SA") if removed else
             "Nothing to remove.\n")


@cases(KINDS)
def all_gone_in_between(kind, _, delete):
    """If all {0} of a long list disappear at once, none is a failure or counted."""
    fill(kind)
    result = flush_with([Fault("send", delete, "run", first=1, last=1)], "--match=reqid=1",
                        command="ip xfrm policy flush; ip xfrm state flush")
    equal((result.err, result.out), ("", "Nothing to remove.\n"), "output")


@case
def flushes_of_the_kernel():
    """Without a selection, the kernel's own flush requests remove everything, without a dump."""
    xfrm.a_few()
    with Faults(*(Fault("send", message, "note") for message in (MSG_FLUSHPOLICY, MSG_FLUSHSA, MSG_GETPOLICY, MSG_GETSA,
                                                                 MSG_DELPOLICY, MSG_DELSA))) as faults:
        flush(env=faults.env)
        # One message each for main and sub policies, and one each for SAs of esp, ah and comp.
        equal([faults.count(number) for number in range(6)], [2, 3, 0, 0, 0, 0], "the number of messages")


@case
def no_sub_policies():
    """A kernel without sub policies is no failure, and needs no dump."""
    state = xfrm.a_few()
    with Faults(Fault("send", MSG_FLUSHPOLICY, "refuse", errno.EINVAL, first=2, last=2),
                Fault("send", MSG_GETPOLICY, "note")) as faults:
        result = flush("-v", env=faults.env)
        equal(faults.count(1), 0, "the number of dumps")
    contains(result.err, "This kernel has no sub policies (CONFIG_XFRM_SUB_POLICY).")
    contains(result.out, "Removed 2 SAs (1 esp, 1 ah) and 3 policies (1 in, 1 out, 1 fwd) in ")
    state.expect()


@cases([("policies", MSG_FLUSHPOLICY), ("esp SAs", MSG_FLUSHSA)])
def flush_refused(kind, message):
    """If the kernel refuses to flush {0}, as a security module may, they are removed one by one."""
    state = xfrm.a_few()
    result = flush_with([Fault("send", message, "refuse", errno.EPERM)], "-v")
    contains(result.err, f"Could not flush the {kind} at once: Operation not permitted. They are removed one by one.\n")
    contains(result.out, "Removed 2 SAs (1 esp, 1 ah) and 3 policies (1 in, 1 out, 1 fwd) in ")
    state.expect()


@case
def flush_late():
    """If the kernel's answer to a flush is late, the entries that are left are removed one by one."""
    state = xfrm.a_few()
    flush_with([Fault("send", MSG_FLUSHPOLICY, "refuse", errno.EPERM, first=1, last=1),
                Fault("receive", MSG_FLUSHPOLICY, "fail", errno.EAGAIN, first=1, last=1)])
    state.expect()


@case
def added_meanwhile():
    """Entries that are added during a flush are removed too."""
    xfrm.a_few()
    flush_with([Fault("send", MSG_FLUSHPOLICY, "run", first=2, last=2)],
               command="ip xfrm policy add dst 10.7.0.0/16 dir out")
    equal(xfrm.counts(), (0, 0), "policies and SAs left")


main()
