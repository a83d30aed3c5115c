#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that each folder of src includes only headers of itself and of the folders below it.

Argument: the folder src. Prints each #include that breaks the rule, and exits with 1 if there are any.
"""

import pathlib
import re
import sys

# For each folder, the folders whose headers it may include.
BELOW = {
    "base": set(),
    "xfrm": {"base"},
    "ike": {"base", "xfrm"},
    "hold": {"base", "xfrm"},
    "routes": {"base", "xfrm", "ike", "hold"},
    "handover": {"base", "xfrm", "ike", "hold"},
    "status": {"base", "xfrm", "ike", "hold", "routes", "handover"},
    "verbs": {"base", "xfrm", "ike", "hold", "routes", "handover", "status"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def problems(source):
    """Yields a line for each include of `source` that breaks the rule."""
    for path in sorted(source.glob("*/*.[ch]")):
        folder = path.parent.name
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1).split("/")
            if len(target) != 2:
                yield f"{path}:{number}: {match.group(1)}: name the header with its folder"
            elif target[0] != folder and target[0] not in BELOW.get(folder, set()):
                yield f"{path}:{number}: {folder} must not include {match.group(1)}"


def main():
    found = list(problems(pathlib.Path(sys.argv[1])))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


sys.exit(main())
