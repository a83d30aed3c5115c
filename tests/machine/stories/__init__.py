# SPDX-License-Identifier: GPL-2.0-or-later
"""The stories, in the order in which they are told."""

from . import (boot, crash, failing_helper, fallback, grace, handover, hold, kernel_suite, kinds, leftovers, libreswan,
               loads, messages, mixups, never_back, no_xfrm, not_blocked, orphans, other_architecture, other_owners, package,
               reporting, restarts, routes, service, soak, starter, status, ten_crashes, traps, units, wait_exec, watch)

MODULES = (boot, service, crash, hold, handover, mixups, kinds, fallback, grace, never_back, restarts, routes, ten_crashes,
           traps, loads, soak, not_blocked, failing_helper, other_owners, orphans, status, leftovers, reporting, wait_exec, watch,
           kernel_suite, starter, units, no_xfrm, messages)

# Told in the machines of the packages.
PACKAGED = (package, libreswan)

# Told in a machine of its own, when it is named.
ELSEWHERE = (other_architecture,)

# What takes too long for a check, of a module its ON_REQUEST, is told when it is named.

# Debian 12 is the reference. What does not depend on the release (of a module: its ONLY_REFERENCE) is told there alone.
REFERENCE = "bookworm"


def of(module):
    return (*module.STORIES, *getattr(module, "ON_REQUEST", ()))


def chosen(names, release, packages=False):
    """The stories of these names, or of these files; if none is named, all that a machine of this release has to tell, or
    that of its packages."""
    found = [(module.__name__.split(".")[1], story) for module in (*MODULES, *PACKAGED, *ELSEWHERE) for story in of(module)]
    known = {name for module, story in found for name in (module, story.__name__)}
    on_request = {story.__name__ for module in MODULES for story in getattr(module, "ON_REQUEST", ())}
    if unknown := sorted(set(names) - known):
        raise SystemExit(f"machine: no such story: {', '.join(unknown)}")
    if names:
        return [story for module, story in found if story.__name__ in names
                or module in names and story.__name__ not in on_request]
    return [story for module in (PACKAGED if packages else MODULES) for story in module.STORIES
            if release == REFERENCE or story not in getattr(module, "ONLY_REFERENCE", ())]


def named(names):
    """The stories of exactly these names."""
    found = {story.__name__: story for module in (*MODULES, *PACKAGED, *ELSEWHERE) for story in of(module)}
    return [found[name] for name in names]
