# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl flush` without options removes everything except policies of sockets."""

import socket

import netlink
import xfrm
from cases import case, main
from program import flush
from tap import Skip, contains, equal

POLICIES = {
    "out": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel",
    "in": "src 10.2.0.0/16 dst 10.1.0.0/16 dir in tmpl src 192.0.2.2 dst 192.0.2.1 proto esp reqid 1 mode tunnel",
    "fwd": "src 10.2.0.0/16 dst 10.1.0.0/16 dir fwd tmpl src 192.0.2.2 dst 192.0.2.1 proto esp reqid 1 mode tunnel",
    "v6 transport": "src 2001:db8::1/128 dst 2001:db8::2/128 dir out tmpl proto ah reqid 2 mode transport",
    "beet": "src 10.3.0.1/32 dst 10.3.0.2/32 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 3 mode beet",
    "ipcomp": "src 10.4.0.0/24 dst 10.5.0.0/24 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto comp reqid 4 mode tunnel"
              " tmpl src 0.0.0.0 dst 0.0.0.0 proto esp reqid 4 mode transport",
    "pass": "src 0.0.0.0/0 dst 0.0.0.0/0 proto 17 dport 500 dir in",
    "block": "src 10.6.0.0/16 dst 0.0.0.0/0 dir out action block",
    "mark": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out mark 0x10 mask 0xff",
    "mark zero": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out mark 0 mask 0xff",
    "if_id": "src 10.1.0.0/16 dst 10.2.0.0/16 dir out if_id 0x2a",
}
SUB_POLICIES = {"sub": "src 10.1.0.0/16 dst 10.2.0.0/16 dir in ptype sub"}
SAS = {
    "esp": {"src": "192.0.2.1", "dst": "192.0.2.2", "reqid": 1},
    "esp back": {"src": "192.0.2.2", "dst": "192.0.2.1", "reqid": 1},
    "v6 ah": {"src": "2001:db8::1", "dst": "2001:db8::2", "proto": "ah", "mode": "transport", "reqid": 2},
    "esp beet": {"src": "192.0.2.1", "dst": "192.0.2.2", "mode": "beet", "reqid": 3},
    "comp": {"src": "192.0.2.1", "dst": "192.0.2.2", "proto": "comp", "reqid": 4},
    "esp mark": {"src": "192.0.2.1", "dst": "192.0.2.2", "mark": (0x10, 0xff)},
    "esp if_id": {"src": "192.0.2.1", "dst": "192.0.2.2", "if_id": 0x2a},
}


def everything():
    return xfrm.State(POLICIES | (SUB_POLICIES if xfrm.has_sub_policies() else {}), SAS)


@case
def goes():
    """Every SA and every policy is removed, and the summary counts them by protocol and direction."""
    state = everything()
    ins = 2 + ("sub" in state.names())
    result = flush()
    state.expect()
    contains(result.out, f"Removed 7 SAs (5 esp, 1 ah, 1 comp) and {ins + 9} policies ({ins} in, 8 out, 1 fwd) in ")
    equal(result.out.count("\n"), 1, "lines of output")
    equal(result.err, "", "standard error")


@case
def sub_goes():
    """Sub policies are removed."""
    if not xfrm.has_sub_policies():
        raise Skip("this kernel has no sub policies (CONFIG_XFRM_SUB_POLICY)")
    state = xfrm.State(SUB_POLICIES)
    contains(flush().out, "Removed 0 SAs and 1 policy (1 in) in ")
    state.expect()


@case
def ipcomp():
    """An SA of IPComp counts once, although the kernel adds and removes a second SA with it, for its tunnel."""
    xfrm.add_sa("src 192.0.2.1 dst 192.0.2.2 proto comp spi 0x1000 mode tunnel reqid 4 comp deflate")
    equal(xfrm.counts(), (0, 2), "policies and SAs")
    contains(flush().out, "Removed 1 SA (1 comp) and 0 policies in ")
    equal(xfrm.counts(), (0, 0), "policies and SAs left")


@case
def security_contexts():
    """Of entries that differ in their security context, the selected ones are removed, and then the others."""
    tunnel = "src 192.0.2.1 dst 192.0.2.2 proto esp {} reqid {} mode tunnel"
    key = "aead rfc4106(gcm(aes)) 0x0102030405060708090a0b0c0d0e0f1011121314 128"
    # SELinux knows these two contexts without a loaded policy.
    for reqid, context in ((1, "kernel"), (2, "unlabeled")):
        xfrm.add_sa(f"{tunnel.format(f'spi {0x1000 + reqid}', reqid)} ctx {context} {key}")
        # A kernel without SELinux adds the SA without its context.
        if "security context" not in xfrm.sa_lines()[0]:
            raise Skip("this kernel has no security module that labels SAs")
        xfrm.add_policies(f"src 10.1.0.0/16 dst 10.2.0.0/16 ctx {context} dir out tmpl {tunnel.format('', reqid)}")
    contains(flush("--match=reqid=1").out, "Removed 1 SA (1 esp) and 1 policy (1 out) in ")
    equal(xfrm.numbers(xfrm.sa_lines() + xfrm.policy_lines(), "reqid"), [2, 2], "reqids left")
    contains(flush().out, "Removed 1 SA (1 esp) and 1 policy (1 out) in ")
    equal(xfrm.counts(), (0, 0), "policies and SAs left")


@case
def nothing():
    """Without SAs and policies, flush reports it and succeeds."""
    result = flush()
    equal((result.out, result.err), ("Nothing to remove.\n", ""), "output")


@case
def twice():
    """A second run has nothing to remove."""
    everything()
    flush()
    equal(flush().out, "Nothing to remove.\n", "output")


@case
def states_only():
    """--states-only leaves the policies."""
    state = everything()
    contains(flush("--states-only").out, "Removed 7 SAs (5 esp, 1 ah, 1 comp) and 0 policies in ")
    state.expect(*state.priorities.values())


@case
def policies_only():
    """--policies-only leaves the SAs."""
    state = everything()
    contains(flush("--policies-only").out, f"Removed 0 SAs and {len(state.priorities)} policies (")
    state.expect(*state.spis.values())


@case
def quiet():
    """With -q, flush prints nothing."""
    for options in ((), ("--match=reqid=1",), ("--exclude=reqid=1",)):
        state = everything()
        result = flush("-q", *options)
        equal((result.out, result.err), ("", ""), f"output with {options}")
        assert set(state.read()) < state.names(), "nothing went"
        flush()


@case
def verbose():
    """With -v, flush reports its passes on standard error."""
    xfrm.a_few()
    result = flush("-v", "--match=reqid=1")
    contains(result.err, "xfrmctl: Pass 1 over the policies; 0 were gone already.\n", "Pass 1 over the SAs")
    contains(result.out, "Removed 1 SA (1 esp) and 2 policies (1 in, 1 out) in ")


def with_socket_policies(*options):
    """Runs flush while a v4 and a v6 socket have policies of their own, and checks that these stay."""
    v4, v6 = (socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6))
    with v4, v6:
        for sock in (v4, v6):
            for direction in netlink.DIRS:
                netlink.set_socket_policy(sock, direction)
        before = xfrm.policy_lines()
        equal(len(before), 4, "the number of policies of sockets")
        # Policies of sockets cannot be deleted, and flush must not try it.
        equal(flush("--dry-run", *options).out, "Nothing to remove.\n", "what would go")
        xfrm.add_policies(*POLICIES.values())
        result = flush(*options)
        equal(xfrm.policy_lines(), before, "the policies left")
        contains(result.out, f"Removed 0 SAs and {len(POLICIES)} policies (2 in, 8 out, 1 fwd) in ")


@case
def socket_policies():
    """Policies of sockets stay and are not counted."""
    with_socket_policies()


@case
def socket_policies_selected():
    """Policies of sockets stay if a selection matches them."""
    with_socket_policies("--match=priority=0-0xffffffff")


@case
def socket_policies_excluded():
    """Policies of sockets stay with --exclude alone."""
    with_socket_policies("--exclude=reqid=77")


main()
