#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that no file uses a word that doc/GLOSSARY.md has replaced, not even in an identifier.

Prints each place with the word to use instead, and exits with 1 if there is any. Names of journal fields, JSON members
and metrics are an interface, and stay.
"""

import pathlib
import re
import sys

PLACES = ("src", "man", "units", "doc", "tests", "tools", "debian", "README.md", "CONTRIBUTING.md", "SECURITY.md")

# Pattern of each retired word, with the word to use instead. A blank in a pattern matches also "_" and "-".
RETIRED = {
    "stoppers?": "guard SA",
    "kept shadows?": "kept policy",
    "stand[_-]ins?": "backup route",
    "earlier li(?:fe|ves)": "previous instance",
    "goodbyes?": "clean shutdown",
    "rival(?:led|s)?": "reqid conflict",
    "askers?": "initiator",
    "impatien(?:t|ce)|patien(?:t|ce)": "liveness, deadline, timeout",
    "lets? pass": "bypass",
    "stor(?:y|ies)": "scenario",
    "told": "informed, shown, distinguished",
    "doors?": "client",
    "(?:stays?|fails?|check|while) closed": "blocked",
    "shadow (?:keep|grace|close)": "kept policy, SHADOW_EXPIRING, SHADOW_ADJACENT",
}

# Names that stay: of fields, JSON members and metrics.
INTERFACE = re.compile(r"XFRM_ROUTE_STAND_INS|xfrmctl_routes_stand_ins|\"stand_ins\\?\"|\.Va stand_ins|\.It Va stand_ins")

# The words of these files are data, or those of others.
EXCLUDED = re.compile(r"tests/fuzz/corpus/|doc/.*\.(svg|csv|json)$|.*/__pycache__/|tools/lint\.d/words\.py$")

# A word ends where a letter or a digit is followed by anything else, so the parts of an identifier are words.
PATTERN = re.compile("|".join(rf"(?P<g{number}>(?<![^\W_])(?:{word.replace(' ', '[ _-]')})(?![^\W_]))"
                              for number, word in enumerate(RETIRED)), re.IGNORECASE)
INSTEAD = list(RETIRED.values())


def files():
    """Yields the names of the files to check."""
    for place in map(pathlib.Path, PLACES):
        yield from map(str, sorted(filter(pathlib.Path.is_file, place.rglob("*"))) if place.is_dir() else (place,))


def problems(name):
    """Yields a line for each retired word in a file."""
    for number, line in enumerate(pathlib.Path(name).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        for match in PATTERN.finditer(INTERFACE.sub("", line)):
            yield f"{name}:{number}: '{match.group()}' is retired: {INSTEAD[int(match.lastgroup[1:])]}"


def main():
    found = [problem for name in files() if not EXCLUDED.match(name) for problem in problems(name)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


sys.exit(main())
