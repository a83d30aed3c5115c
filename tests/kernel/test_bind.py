# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl bind`: when a daemon ends, so does its parent; whoever ends otherwise is nobody's business."""

import signal
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from program import SECONDS, XFRMCTL, environment, until, xfrmctl
from tap import case, cases, contains, equal, main

SLEEP = ["sleep", "1000"]


class Family(ExitStack):
    """A daemon and its parent, whose ids lie in files; the kinship itself is of no importance."""

    def __init__(self):
        super().__init__()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.daemon, self.parent = self.process("daemon"), self.process("parent")

    def process(self, name):
        process = self.enter_context(subprocess.Popen(SLEEP))
        self.callback(process.kill)
        (self.folder / name).write_text(f"{process.pid}\n")
        return process

    @property
    def options(self):
        return [f"--{name}={self.folder / name}" for name in ("daemon", "parent")]

    def end(self, *names):
        """Ends some, and leaves their files behind."""
        for name in names:
            getattr(self, name).kill()
            getattr(self, name).wait()

    def bound(self):
        """xfrmctl, when it waits for the end of the daemon."""
        process = self.enter_context(subprocess.Popen([XFRMCTL, "bind", *self.options], env=environment(), text=True,
                                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        self.callback(process.kill)
        until(lambda: "poll" in Path(f"/proc/{process.pid}/wchan").read_text(), "it waits")
        return process

    def outcome(self, process):
        """How xfrmctl ends, and whether the parent is killed."""
        out, err = process.communicate(timeout=SECONDS)
        killed = self.parent.poll() == -signal.SIGKILL
        equal((out, bool(err)), ("", killed), "output")
        return process.returncode, killed


@case
def daemon_ends():
    """The daemon ends, and its parent goes on: that is killed."""
    with Family() as family:
        process = family.bound()
        equal(family.parent.poll(), None, "the parent before")
        family.end("daemon")
        equal(family.parent.wait(SECONDS), -signal.SIGKILL, "the parent's end")
        status, _ = family.outcome(process)
        equal(status, 0, "status")


@case
def both_end():
    """The parent ends right behind the daemon, as in a stop: nothing is killed."""
    with Family() as family:
        process = family.bound()
        family.end("daemon")
        family.parent.terminate()
        family.parent.wait()
        equal(family.outcome(process), (0, False), "status and whether the parent was killed")


@case
def parent_ends():
    """The parent ends first: the daemon is left alone."""
    with Family() as family:
        process = family.bound()
        family.parent.terminate()
        family.parent.wait()
        equal(family.outcome(process), (0, False), "status and whether the parent was killed")
        equal(family.daemon.poll(), None, "the daemon")


@cases([("has ended",), ("has no file any more",)])
def daemon_is_gone(how):
    """The daemon {0} when xfrmctl comes: its parent is killed."""
    with Family() as family:
        family.end("daemon")
        if how != "has ended":
            (family.folder / "daemon").unlink()
        result = xfrmctl("bind", *family.options)
        equal(family.parent.wait(SECONDS), -signal.SIGKILL, "the parent's end")
        contains(result.err, f"its parent (process {family.parent.pid})")


@cases([("daemon", "", "it does not begin with a process id"), ("daemon", "0", "it does not begin with a process id"),
        ("parent", "-1", "it does not begin with a process id"),
        ("parent", "99999999999999999999", "it does not begin with a process id"),
        ("parent", "4194305", "only a daemon whose parent starts it needs this"),
        ("parent", None, "only a daemon whose parent starts it needs this")])
def bad_file(name, text, said):
    """The file of the {0} has {1!r}: refused, nothing is killed."""
    with Family() as family:
        file = family.folder / name
        file.unlink() if text is None else file.write_text(text)
        result = xfrmctl("bind", *family.options, status=1)
        contains(result.err, str(file), said)
        equal((family.daemon.poll(), family.parent.poll()), (None, None), "both live on")


main()
