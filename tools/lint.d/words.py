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
    "carrying": "kept, in use",
    "take_option|mode_take|verb_parsed": "parse_option, parse_mode, verb_exit_status",
    "orphans_have|earlier_of|kernel_dump_whole": "orphans_contain, usec_min, xfrm_dump_consistent",
}

# Names that stay: of fields, JSON members and metrics.
INTERFACE = re.compile(r'xfrm_route_stand_ins|xfrm_shadows_carrying|xfrmctl_routes_stand_ins|"stand_ins\\?"|va stand_ins')

# Files that contain data, or words of other programs.
EXCLUDED = re.compile(r"tests/fuzz/corpus/|doc/.*\.(svg|csv|json)$|.*/__pycache__/|tools/lint\.d/words\.py$")

# The parts of an identifier are words: between them is neither a letter nor a digit.
WORDS = [word.replace(" ", "[ _-]") for word in RETIRED]
PATTERN = re.compile(rf"(?<![^\W_])(?:{'|'.join(WORDS)})(?![^\W_])")


def files():
    """Yields the names of the files to check."""
    for place in map(pathlib.Path, PLACES):
        yield from map(str, sorted(filter(pathlib.Path.is_file, place.rglob("*"))) if place.is_dir() else (place,))


def problems(name):
    """Yields a line for each retired word in a file."""
    text = INTERFACE.sub("", pathlib.Path(name).read_text(encoding="utf-8", errors="replace").lower())
    for match in PATTERN.finditer(text):
        instead = next(RETIRED[word] for word, pattern in zip(RETIRED, WORDS) if re.fullmatch(pattern, match.group()))
        yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: '{match.group()}' is retired: {instead}"


def main():
    found = [problem for name in files() if not EXCLUDED.match(name) for problem in problems(name)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


sys.exit(main())
