# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl flush --on-stop` where there is no systemd to ask: it removes nothing. With systemd, the machine tells."""

import re

import netlink
import sandbox
import xfrm
from daemon import GROUPS_OF_CHARON, process
from program import IN_UNIT, XFRMCTL, flush
from shadows import make_shadow
from tap import case, cases, equal, main


def refused(*words, command=(XFRMCTL,)):
    """It fails with one sentence, and everything stays."""
    xfrm.a_few()
    for policy in netlink.policies():
        make_shadow(policy)
    before = xfrm.policy_lines(), xfrm.sa_lines()
    result = flush(*words, status=1, command=command)
    assert re.fullmatch(r"xfrmctl: Could not ask systemd whether .+ is being stopped: .+\. Nothing was removed; "
                        r"`xfrmctl flush` does it\.\n", result.err), result.err
    equal((result.out, (xfrm.policy_lines(), xfrm.sa_lines())), ("", before), "output, policies and SAs")


@cases([("",), ("--match=reqid=1",), ("--policies-only",), ("--force",), ("--dry-run",), ("-q",)])
def of_unit(options):
    """Of a unit by name: {0}"""
    refused("--on-stop=strongswan.service", *options.split())


@case
def of_own_unit():
    """Of the unit whose command it is."""
    refused("--on-stop", command=IN_UNIT)


@case
def key_manager():
    """Beside a live key manager."""
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        refused("--on-stop=strongswan.service")


main(sandbox.new_run_folder)
