# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl service start-pre`: systemd has to start the unit that hands over kept SAs. If it does not, kept policies
are held."""

import netlink
import sandbox
import xfrm
from cases import case, cases, main
from living import make, policies, spis, xfrmctl_living
from program import xfrmctl
from service import MANAGERS_SOCKET, manager
from shadows import HOLD, KEPT, shadows
from tap import contains, equal

UNIT = "xfrmctl-handover@x.service"
START = "service", "start-pre", "--unit=x.service"


def started(process):
    """Returns the units that systemd was asked to start. The manager ends when its standard input and its client are
    gone."""
    process.stdin.close()
    return process.stdout.read().splitlines()


@cases([("handover",), ("auto",)])
def kept(mode):
    """If SAs are kept, systemd starts the handover unit immediately, regardless of its ordering: {0}"""
    make(1)
    with manager(0) as process:
        xfrmctl_living(*START, f"--mode={mode}")
        equal(started(process), [f"start {UNIT} ignore-dependencies"], "what systemd is asked for")
    equal(len(shadows(KEPT)), 3, "number of kept policies")


@cases([("flush",), ("hold",), ("handover",), ("auto",)])
def nothing_kept(mode):
    """If no SA is kept, systemd is not asked: {0}"""
    xfrm.add_policies(*policies(1))
    with manager(0) as process:
        xfrmctl(*START, f"--mode={mode}")
        equal(started(process), [], "what systemd is asked for")


def expect_held(why):
    make(1)
    result = xfrmctl_living(*START, "--mode=handover", status=1)
    contains(result.err, f"xfrmctl: Could not start {UNIT} for the handover: {why}. Traffic is blocked "
             "instead.\n")
    equal((len(shadows(HOLD)), len(netlink.policies()), spis()), (3, 3, set()), "shadows, policies and SAs")


@case
def refused():
    """If systemd refuses to start the handover unit, kept policies are held."""
    with manager(0, refuses=True):
        expect_held("Invalid argument")


@case
def no_systemd():
    """Without systemd, kept policies are held."""
    MANAGERS_SOCKET.unlink(missing_ok=True)
    expect_held("No such file or directory")


main(sandbox.new_run_folder)
