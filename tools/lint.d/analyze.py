#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs gcc's analyzer on one file of the program, with the build's own options.

Arguments: the build directory and the file. Exits with gcc's status.
"""

import json
import pathlib
import shlex
import subprocess
import sys

# Without malloc-leak: the analyzer reports memory as leaked if it is stored in a list at an index that the analyzer
# does not know. Sanitizers and valgrind find leaks instead.
OPTIONS = ("-fanalyzer", "-Wno-analyzer-malloc-leak")


def main():
    build, file = sys.argv[1:]
    for entry in json.loads(pathlib.Path(build, "compile_commands.json").read_text()):
        if entry["file"].endswith(f"/{file}") and entry["output"].startswith("src/"):
            options = shlex.split(entry["command"])[1:]
            options[options.index("-o") + 1] = "/dev/null"
            return subprocess.run(["gcc", *options, *OPTIONS], cwd=build, check=False).returncode
    return f"{file} is not part of the build"


sys.exit(main())
