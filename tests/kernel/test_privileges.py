# SPDX-License-Identifier: GPL-2.0-or-later
"""Without the privileges that it needs, xfrmctl says which, and nothing changes."""

import ctypes
import subprocess

import sandbox
import xfrm
from program import XFRMCTL, flush
from tap import Skip, case, cases, contains, equal, main

PR_CAPBSET_DROP = 24
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21

REMEDY = "CAP_NET_ADMIN is needed in the user namespace that owns the network namespace; run as root."


def without(*capabilities):
    """For the process that a program is started in."""
    def drop():
        for capability in capabilities:
            if sandbox.libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl(PR_CAPBSET_DROP)")
    return drop


@cases([(options,) for options in ("", "--match=reqid=1", "--dry-run", "--force", "-q")])
def no_net_admin(options):
    """Without CAP_NET_ADMIN it fails with the remedy: flush {0}"""
    state = xfrm.a_few()
    result = flush(*options.split(), status=1, preexec_fn=without(CAP_NET_ADMIN))
    equal(result.err, f"xfrmctl: Not permitted to see and change XFRM state: {REMEDY}\n", "standard error")
    equal(result.out, "", "output")
    state.expect_untouched()


@case
def no_sys_admin():
    """Without CAP_SYS_ADMIN it works, but enters no other namespace."""
    state = xfrm.a_few()
    result = flush("--netns=/proc/self/ns/net", status=1, preexec_fn=without(CAP_SYS_ADMIN))
    contains(result.err, "Could not enter the network namespace '/proc/self/ns/net': Operation not permitted ",
             "CAP_SYS_ADMIN is needed")
    state.expect_untouched()
    flush("--match=reqid=1", preexec_fn=without(CAP_SYS_ADMIN))
    state.expect("v6", "v6 ah")


def user_namespace(*options):
    command = ["unshare", "--user", "--map-root-user", *options]
    done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skip(f"no user namespace can be made: {done.stderr.strip()}")
    return [*command, XFRMCTL]


@case
def user_namespace_not_owner():
    """Root of a user namespace that does not own the network namespace is told what is needed."""
    state = xfrm.a_few()
    result = flush(status=1, command=user_namespace())
    contains(result.err, REMEDY)
    state.expect_untouched()


@case
def user_namespace_owner():
    """Root of a user namespace may flush the network namespace that it owns."""
    result = flush(command=user_namespace("--net"))
    equal(result.out, "Nothing to remove.\n", "output")


main()
