# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes with the sockets of an IKE daemon."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from tap import Skip, equal

LISTENER = os.environ["LISTENER"]

# The groups to which charon subscribes: acquires, expiries, migrations and mappings.
GROUPS_OF_CHARON = "0xc3"


@contextmanager
def process(name, *words):
    """Runs a process whose executable has this name, with the sockets that listener.c opens. Yields its PID."""
    with tempfile.TemporaryDirectory() as folder:
        executable = Path(folder) / name
        shutil.copy(LISTENER, executable)
        with subprocess.Popen([executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as running:
            try:
                said = running.stdout.readline().strip()
                if said == "unsupported":
                    raise Skip(f"this kernel has no such sockets: {' '.join(words)}")
                equal(said, "ready", f"what {name} says")
                yield running.pid
            finally:
                running.stdin.close()
