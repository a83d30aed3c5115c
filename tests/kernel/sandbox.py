# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces for the tests, so that they do not change the machine on which they run."""

import ctypes
import os
import subprocess
from contextlib import suppress
from pathlib import Path

from linux import CLONE_NEWNET, CLONE_NEWNS, libc

# Lifetime of a larval SA in seconds. The kernel's default of 30 s may be too short on a slow machine.
LARVAL_SECONDS = 3600


class NoSandbox(Exception):
    """Raised if there is no sandbox. The tests have to end, because they would change the state of the machine."""


def identity(kind):
    status = os.stat(f"/proc/self/ns/{kind}")
    return status.st_dev, status.st_ino


STARTED_IN = {kind: identity(kind) for kind in ("net", "mnt")}


def unshare(flag, kind):
    # os.unshare() exists since Python 3.12.
    if libc.unshare(flag) != 0:
        raise NoSandbox(f"no {kind} namespace can be made: {os.strerror(ctypes.get_errno())} (run this as root)")
    if identity(kind) == STARTED_IN[kind]:
        raise NoSandbox(f"this is still the {kind} namespace that the program was started in")


def new_network():
    """Moves into a new, empty network namespace. The kernel removes the previous one when no process is left in it."""
    unshare(CLONE_NEWNET, "net")
    # In a container, this file may be missing or read-only.
    with suppress(OSError):
        Path("/proc/sys/net/core/xfrm_acq_expires").write_text(f"{LARVAL_SECONDS}\n")


def new_run_folder():
    """Gives this process and its children an empty /run. Only they see the names that `ip netns add` makes there."""
    unshare(CLONE_NEWNS, "mnt")
    for command in (("mount", "--make-rprivate", "/"), ("mount", "-t", "tmpfs", "tmpfs", "/run")):
        subprocess.run(command, check=True)
