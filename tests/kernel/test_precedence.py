# SPDX-License-Identifier: GPL-2.0-or-later
"""Which policy decides stays the same in a hold: what was protected is blocked, everything else goes on as it was."""

from cases import cases, main
from program import hold
from tables import MANY_PRIORITIES, TABLES, require
from wire import Wire, same


@cases([(table.name, table) for table in [*TABLES, MANY_PRIORITIES]])
def kept(_, table):
    """Precedence is kept: {0}"""
    require(table)
    table.add()
    with Wire() as wire:
        same(wire.verdicts(table.before()), table.before(), "what becomes of the flows")
        hold(*table.options)
        same(wire.verdicts(table.held()), table.held(), "what becomes of the flows in the hold")


main()
