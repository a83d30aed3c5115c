# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a program in the background, and reads its output meanwhile."""

import subprocess
import tempfile
from pathlib import Path


class Background:
    """The program. Use in a with block, at whose end it is killed."""

    def __init__(self, *command, **options):
        self.command, self.options = command, options

    def __enter__(self):
        self.output = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen(self.command, stdout=self.output, **self.options)
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        self.output.close()

    def text(self):
        return Path(self.output.name).read_text()

    def end(self, with_signal):
        """Ends the program by a signal. Returns its output."""
        self.process.send_signal(with_signal)
        self.process.wait()
        return self.text()
