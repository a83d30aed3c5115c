# SPDX-License-Identifier: GPL-2.0-or-later
"""The stories, in the order in which they are told."""

from . import (crash, failing_helper, grace, hold, kernel_suite, leftovers, messages, never_back, no_xfrm, not_blocked,
               orphans, other_owners, reporting, restarts, routes, service, starter, status, ten_crashes, wait_exec,
               watch)

MODULES = (service, crash, hold, grace, never_back, restarts, routes, ten_crashes, not_blocked, failing_helper,
           other_owners, orphans, status, leftovers, reporting, wait_exec, watch, kernel_suite, starter, no_xfrm, messages)


def chosen(names):
    """The stories of these names, or of these files; all, if none is named."""
    found = [(module.__name__.split(".")[1], story) for module in MODULES for story in module.STORIES]
    known = {name for module, story in found for name in (module, story.__name__)}
    if unknown := sorted(set(names) - known):
        raise SystemExit(f"Bail out! no such story: {', '.join(unknown)}")
    return [story for module, story in found if not names or story.__name__ in names or module in names]
