# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl service stop-post` with --unit= and without systemd removes nothing. tests/machine has cases with
systemd."""

import re

import netlink
import sandbox
import xfrm
from cases import case, cases, main
from daemon import GROUPS_OF_CHARON, process
from program import XFRMCTL
from service import run_step
from shadows import make_shadow
from tap import equal


def refused(*words, **settings):
    """Checks that stop-post fails with one sentence, and that nothing changes."""
    xfrm.a_few()
    for policy in netlink.policies():
        make_shadow(policy)
    before = xfrm.policy_lines(), xfrm.sa_lines()
    result = run_step((XFRMCTL,), *words, "stop-post", "--unit=strongswan.service", status=1, **settings)
    assert re.fullmatch(r"xfrmctl: Could not ask systemd whether .+ is being stopped: .+\. Nothing was removed\. "
                        r"`xfrmctl flush` removes the state\.\n", result.err), result.err
    equal((result.out, (xfrm.policy_lines(), xfrm.sa_lines())), ("", before), "output, policies and SAs")


@cases([("SELECT", ""), ("SELECT", "--match=reqid=1"), ("FLUSH_OPTIONS", "--force"), ("SELECT", "-q"), ("SELECT", "wrong")])
def of_unit(name, value):
    """stop-post without systemd removes nothing with XFRMCTL_{0}: {1}"""
    refused(**{name: value})


@case
def quietly():
    """stop-post without systemd removes nothing with -q."""
    refused("-q")


@case
def key_manager():
    """stop-post without systemd removes nothing beside a running key manager."""
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        refused()


main(sandbox.new_run_folder)
