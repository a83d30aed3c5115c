# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs of `xfrmctl watch`, and daemons for it."""

import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from program import SECONDS, XFRMCTL, environment, until
from service import running
from tap import equal

DAEMON = Path(__file__).with_name("vici_daemon.py")

# Number of answers of a daemon that answers during the whole case.
ALWAYS = 10**9

TWO_MISSES = ("--interval=100ms", "--deadline=300ms", "--misses=2")


@contextmanager
def daemon(path, answers=ALWAYS, then="silent", before=()):
    """Runs a daemon. `before` is a command that runs it, if there is one."""
    with running(*before, sys.executable, DAEMON, path, str(answers), then) as process:
        yield process


class Watch:
    """One run of watch, whose output goes to a file."""

    def __init__(self, path, *options, command=(XFRMCTL,), env=None):
        self.command = [*command, "-v", "watch", f"--socket={path}", *(options or TWO_MISSES)]
        self.env = env or environment()

    def __enter__(self):
        self.file = tempfile.NamedTemporaryFile("r")
        with open(self.file.name, "w") as output:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            env=self.env)
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        status = self.process.wait(SECONDS)
        self.file.close()
        if exception[0] is None:
            equal(status, -signal.SIGTERM, "how it ended")

    @property
    def said(self):
        return Path(self.file.name).read_text()

    def wait_for(self, *parts):
        """Waits until the output has all these parts."""
        until(lambda: all(part in self.said for part in parts), f"{parts} in {self.said}")

    def misses(self):
        return self.said.count("unanswered")
