#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that each MESSAGE_ID of the source has an entry in the journal's catalog. Each entry must have a remedy, and
the manual must list its subject.

Prints each problem, and exits with 1 if there are any.
"""

import pathlib
import re
import subprocess
import sys

SOURCE, CATALOG, MANUAL = "src/base/log.h", "units/xfrmctl.catalog", "man/xfrmctl.service.7"
SECTION = "WHAT THE JOURNAL SAYS"
WANTED = ("Documentation: man:xfrmctl.service(7)", "What to do: ")


def ids_of_source():
    """Returns the MESSAGE_IDs of the source, in the format of the catalog."""
    text = pathlib.Path(SOURCE).read_text(encoding="utf-8")
    return [re.sub("[, ]", "", found) for found in re.findall(r"SD_ID128_MAKE\(([0-9a-f, ]*)\)", text)]


def entries_of_catalog():
    """Returns the text of each entry, by its ID."""
    text = pathlib.Path(CATALOG).read_text(encoding="utf-8")
    parts = re.split(r"^-- ([0-9a-f]{32})$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def lines_of_manual():
    """Returns the lines of the section SECTION as mandoc renders them, because words of the page's source may be
    macros. The window is wide, so that no subject is broken into two lines."""
    page = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=200", MANUAL], check=True, capture_output=True,
                          text=True).stdout
    _, heading, rest = re.sub(".\b", "", page).partition(f"\n{SECTION}\n")
    if not heading:
        sys.exit(f"{MANUAL} has no section {SECTION}")
    return {line.strip() for line in re.split("^[A-Z]", rest, maxsplit=1, flags=re.MULTILINE)[0].splitlines()}


def problems():
    """Yields a line for each problem."""
    entries, lines = entries_of_catalog(), lines_of_manual()
    for message_id in ids_of_source():
        if message_id not in entries:
            yield f"no catalog entry for {message_id}"
    for entry in entries.values():
        subject = re.search(r"^Subject: (.*)$", entry, re.MULTILINE)[1]
        for wanted in WANTED:
            if wanted not in entry:
                yield f"the catalog entry '{subject}' lacks '{wanted}'"
        if subject not in lines:
            yield f"{SECTION} lacks '{subject}'"


def main():
    found = list(problems())
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


sys.exit(main())
