# SPDX-License-Identifier: GPL-2.0-or-later
"""The scenarios, in the order in which they run."""

from . import (boot, crash, disagreement, failing_helper, fallback, grace, handover, hold, kernel_suite, kinds,
               leftovers, libreswan, loads, messages, mixups, monitoring, never_back, no_xfrm, not_blocked, orphans,
               other_architecture, other_owners, package, reporting, restarts, routes, service, soak, starter, status,
               ten_crashes, traps, units, wait_exec, watch)

MODULES = (boot, service, crash, hold, handover, mixups, kinds, fallback, grace, never_back, restarts, routes,
           ten_crashes, traps, loads, soak, not_blocked, failing_helper, other_owners, orphans, status, disagreement,
           leftovers, reporting, monitoring, wait_exec, watch, kernel_suite, starter, units, no_xfrm, messages)

# Modules whose scenarios run in the machines of the packages.
PACKAGED = (package, libreswan)

# Modules whose scenarios run only if named, in a machine of their own.
ELSEWHERE = (other_architecture,)

# The reference is Debian 12. The scenarios in a module's ONLY_REFERENCE do not depend on the release, so they run there
# alone. Those in its ON_REQUEST take too long for a check, so they run only if named.
REFERENCE = "bookworm"


def of(module):
    """Returns all scenarios of a module."""
    return (*module.SCENARIOS, *getattr(module, "ON_REQUEST", ()))


def chosen(names, release, packages=False):
    """Returns the scenarios to run: those of these names, which may also be names of modules. Without names, those for
    a machine of this release, or for the machine of its packages."""
    found = [(module.__name__.split(".")[1], scenario)
             for module in (*MODULES, *PACKAGED, *ELSEWHERE) for scenario in of(module)]
    known = {name for module, scenario in found for name in (module, scenario.__name__)}
    on_request = {scenario.__name__ for module in (*MODULES, *PACKAGED)
                  for scenario in getattr(module, "ON_REQUEST", ())}
    if unknown := sorted(set(names) - known):
        raise SystemExit(f"machine: no such scenario: {', '.join(unknown)}")
    if names:
        return [scenario for module, scenario in found if scenario.__name__ in names
                or module in names and scenario.__name__ not in on_request]
    return [scenario for module in (PACKAGED if packages else MODULES) for scenario in module.SCENARIOS
            if release == REFERENCE or scenario not in getattr(module, "ONLY_REFERENCE", ())]


def named(names):
    """Returns the scenarios of exactly these names."""
    found = {scenario.__name__: scenario for module in (*MODULES, *PACKAGED, *ELSEWHERE) for scenario in of(module)}
    return [found[name] for name in names]
