# SPDX-License-Identifier: GPL-2.0-or-later
"""The first steps of a tool that measures in a machine. Other modules of this folder need packages that these steps
install, so a tool imports them afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent


def prepare(tool, build, *options):
    """Exits unless root runs the tool. Installs the packages that are missing, and builds xfrmctl in the folder `build`,
    which is set up with these options of meson if it is new. From then on SIGTERM ends the tool, and so its machine."""
    if os.geteuid() != 0:
        sys.exit(f"{tool}: run this as root (sudo tools/{tool}).")
    subprocess.run([TOP / "tools/deps"], check=True)
    if not (build / "build.ninja").exists():
        subprocess.run(["meson", "setup", build, TOP, *options], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["meson", "compile", "-C", build], stdout=subprocess.DEVNULL, check=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
