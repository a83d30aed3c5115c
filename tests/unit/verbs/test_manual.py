# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares the options in the help of each verb, which come from its table, with those in its section of the manual."""

import os
import re
import subprocess
from pathlib import Path

FOLDER = Path(os.environ["MANUAL"])
OPTION = re.compile(r"^  (?:-([a-z]), )?-(-[a-z-]+)(\[?)=?([A-Z|]*)", re.MULTILINE)


def help_of(*verb):
    return subprocess.run([os.environ["XFRMCTL"], *verb, "--help"], check=True, capture_output=True, text=True).stdout


def in_help(text):
    """Returns the options of a help in the notation of the manual: Fl -routes Ns Op = Ns Ar TABLE."""
    found = set()
    for letter, name, bracket, argument in OPTION.findall(text):
        item = f"Fl {letter} , {name}" if letter else f"Fl {name}"
        if argument:
            item += " Ns Op" if bracket else " Ns"
            item += " = Ns Ar " + argument.replace("|", " Ns | Ns Ar ")
        found.add(item)
    return found


def in_manual(text):
    return {item for line in re.findall(r"^\.It (Fl .*)", text, re.MULTILINE)
            for item in re.split(" , (?=Fl )", line)}


def comparisons():
    """Yields a title, a set from the manual, and the set from the help that must equal it."""
    pages = {page.name: page.read_text(encoding="utf-8") for page in FOLDER.glob("*.[1-8]")}
    text = re.search(r"^\.Sh VERBS$(.*?)^\.Sh ", pages["xfrmctl.8"], re.MULTILINE | re.DOTALL)[1]
    intro, *parts = re.split(r"^\.Ss (.*)\n", text, flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2]))
    helps = {verb: help_of(verb) for verb in re.findall(r"^  ([a-z]+) ", help_of(), re.MULTILINE)}
    general = in_help(help_of())

    yield "verbs", set(sections), set(helps)
    yield "options of all verbs", in_manual(intro), general
    for verb, shown in helps.items():
        yield f"options of {verb}", in_manual(sections.get(verb, "")), in_help(shown) - general
    # Compare the options that sentences mention, too.
    existing = set(re.findall(r"(?<= )-[a-z-]{2,}", " ".join(general.union(*map(in_help, helps.values())))))
    named = {option for page in pages.values() for line in re.findall(r".*\bFl (.*)", page)
             for option in re.findall(r"\B-[a-z-]{2,}", line)}
    yield "no page names another option", named, existing
    wide = {line for shown in (help_of(), *helps.values()) for line in shown.splitlines() if len(line) > 80}
    yield "no line of a help has more than 80 columns", set(), wide


def main():
    number = 0
    for number, (title, manual, shown) in enumerate(comparisons(), 1):
        print(f"{'ok' if manual == shown else 'not ok'} {number} - {title}")
        for where, lacking in (("the manual", shown - manual), ("the help", manual - shown)):
            if lacking:
                print(f"# {where} lacks {sorted(lacking)}")
    print(f"1..{number}")


main()
