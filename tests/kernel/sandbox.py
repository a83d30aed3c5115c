# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces of our own, so that nothing here touches the machine that it runs on."""

import ctypes
import os
import subprocess
from contextlib import suppress
from pathlib import Path

from linux import CLONE_NEWNET, CLONE_NEWNS, libc

# Larval SAs live this long; the kernel's own 30 s may be short on a slow machine.
LARVAL_SECONDS = 3600


class NoSandbox(Exception):
    """Nothing may go on: it would work on the state of the machine."""


def identity(kind):
    status = os.stat(f"/proc/self/ns/{kind}")
    return status.st_dev, status.st_ino


STARTED_IN = {kind: identity(kind) for kind in ("net", "mnt")}


def unshare(flag, kind):
    # os.unshare() is Python 3.12's.
    if libc.unshare(flag) != 0:
        raise NoSandbox(f"no {kind} namespace can be made: {os.strerror(ctypes.get_errno())} (run this as root)")
    if identity(kind) == STARTED_IN[kind]:
        raise NoSandbox(f"this is still the {kind} namespace that the program was started in")


def new_network():
    """Moves into a new, empty network namespace. The one before goes when nobody is left in it."""
    unshare(CLONE_NEWNET, "net")
    # A container may have no such file, or none that can be written.
    with suppress(OSError):
        Path("/proc/sys/net/core/xfrm_acq_expires").write_text(f"{LARVAL_SECONDS}\n")


def new_run_folder():
    """Gives this process and its children an empty /run, so that `ip netns add` names what only they can see."""
    unshare(CLONE_NEWNS, "mnt")
    for command in (("mount", "--make-rprivate", "/"), ("mount", "-t", "tmpfs", "tmpfs", "/run")):
        subprocess.run(command, check=True)
