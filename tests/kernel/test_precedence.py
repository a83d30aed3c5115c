# SPDX-License-Identifier: GPL-2.0-or-later
"""A hold keeps the order in which policies decide: protected traffic is blocked, all other verdicts stay."""

from cases import cases, main
from program import hold
from tables import MANY_PRIORITIES, TABLES, require
from wire import Wire, same


@cases([(table.name, table) for table in [*TABLES, MANY_PRIORITIES]])
def kept(_, table):
    """A hold keeps precedence: {0}"""
    require(table)
    table.add()
    with Wire() as wire:
        same(wire.verdicts(table.before()), table.before(), "what becomes of the flows")
        hold(*table.options)
        same(wire.verdicts(table.held()), table.held(), "what becomes of the flows in the hold")


main()
