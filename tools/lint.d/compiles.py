#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that Python files compile, without writing anything.

Arguments: the paths. At the first file that does not compile, prints the reason and exits with 1.
"""

import pathlib
import sys


def main():
    for path in sys.argv[1:]:
        try:
            compile(pathlib.Path(path).read_text(encoding="utf-8"), path, "exec")
        except SyntaxError as error:
            print(f"{path}:{error.lineno}: {error.msg}")
            return 1
    return 0


sys.exit(main())
