# SPDX-License-Identifier: GPL-2.0-or-later
"""Which policy decides stays the same in a hold: what was protected is blocked, everything else goes on as it was."""

import xfrm
from program import hold
from tables import TABLES
from tap import Skip, cases, equal, main
from wire import Wire


@cases([(table.name, table) for table in TABLES])
def kept(_, table):
    """Precedence is kept: {0}"""
    if table.needs_sub_policies and not xfrm.has_sub_policies():
        raise Skip("this kernel has no sub policies (CONFIG_XFRM_SUB_POLICY)")
    table.add()
    with Wire() as wire:
        equal(wire.verdicts(table.before()), table.before(), "what becomes of the flows")
        hold(*table.options)
        equal(wire.verdicts(table.held()), table.held(), "what becomes of the flows in the hold")


main()
