#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the analyzer of gcc over one file of the program, with the build's own options.

Takes the build directory and the file. Exits as gcc does.
"""

import json
import pathlib
import shlex
import subprocess
import sys

# The analyzer takes what is stored in a list with an index that it does not know for lost; sanitizers and valgrind look
# for leaks.
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
