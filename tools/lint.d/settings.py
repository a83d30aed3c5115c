#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that the defaults file, the manual and the units have the same settings. Each unit must have a default value
for each setting that it uses.

A unit uses the settings that its commands name, and those that its steps of `xfrmctl service` read according to the
help. Argument: the program. Prints each difference, and exits with 1 if there are any.
"""

import pathlib
import re
import subprocess
import sys

DEFAULTS, MANUAL = "units/default", "man/xfrmctl.conf.5"
STEPS = {"start-pre", "start-post", "stop", "stop-post"}
SETTING = r"XFRMCTL_\w+"


def read(file):
    return pathlib.Path(file).read_text(encoding="utf-8")


def lines(pattern, text):
    return re.findall(pattern, text, re.MULTILINE)


def settings_of_steps(program):
    """Returns the settings that each step reads, by the step's name."""
    text = subprocess.run([program, "service", "--help"], check=True, capture_output=True, text=True).stdout
    steps = {step: set(re.findall(SETTING, names))
             for step, names in lines(r"^  ([a-z]+(?:-[a-z]+)?)  (?:.*\n)+? +\((XFRMCTL_.*)\)$", text)}
    if set(steps) != STEPS:
        sys.exit(f"the help of service has the steps {sorted(steps)}")
    return steps


def settings_of_section(heading):
    """Returns the settings that are items of this section of the manual."""
    section = re.search(rf"^\.Sh {heading}$.*?^\.Sh ", read(MANUAL), re.MULTILINE | re.DOTALL)[0]
    return set(re.findall(SETTING, " ".join(lines(r"^\.It Va (.*)$", section))))


def settings_of_unit(text, steps):
    """Returns the settings that the commands of a unit use."""
    names = set()
    for command in lines(r"^Exec.*", text):
        names |= set(re.findall(r"\$\{?(XFRMCTL_\w+)", command))
        for step, options in re.findall(r"/xfrmctl service (\S+)(.*)", command):
            # With --mode= or --unit=, the step does not read the mode of the service.
            names |= steps[step] - ({"XFRMCTL_MODE"} if re.search("--(mode|unit)=", options) else set())
    return names - {name for line in lines(r"^UnsetEnvironment=(.*)", text) for name in line.split()}


def problems(program):
    """Yields a line for each difference."""
    steps = settings_of_steps(program)
    units = {str(file): read(file) for file in sorted(pathlib.Path("units").glob("**/*.in"))}
    uses = {file: settings_of_unit(text, steps) for file, text in units.items()}
    places = {
        DEFAULTS: set(lines(rf"^#({SETTING})=", read(DEFAULTS))),
        f"SETTINGS of {MANUAL}": settings_of_section("SETTINGS"),
        f"WRONG VALUES of {MANUAL}": settings_of_section("WRONG VALUES"),
        "the units": set().union(*uses.values()),
    }
    every = set().union(*places.values())
    for place, names in places.items():
        if names != every:
            yield f"{place} lacks {sorted(every - names)}"
    for file, text in units.items():
        given = set(re.findall(rf"({SETTING})=", "\n".join(lines(r"^Environment=.*", text))))
        if uses[file] != given:
            yield f"{file} uses {sorted(uses[file])} and has defaults of {sorted(given)}"
        if uses[file] and "default/xfrmctl" not in text:
            yield f"{file} does not read /etc/default/xfrmctl"


def main():
    found = list(problems(sys.argv[1]))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


sys.exit(main())
