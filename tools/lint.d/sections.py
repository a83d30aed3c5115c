#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that each .Sx of a manual page names headings of the page: mandoc makes links even to missing headings.

Argument: the page. Prints the names without a heading, and exits with 1 if there are any.
"""

import pathlib
import re
import sys


def main():
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").replace("\\&", "")
    headings = set(re.findall(r"^\.S[hs] (.*)$", text, re.MULTILINE))
    names = [name for line in re.findall(r"^\.(?:It )?Sx (.*)$", text, re.MULTILINE)
             for name in re.split(r" [,.;:)](?: |$)", line.partition(" Xr ")[0]) if name.strip(" ,.;:)")]
    missing = [name for name in names if name not in headings]
    return f"no such section: {missing}" if missing else 0


sys.exit(main())
