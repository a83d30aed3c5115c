# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl wait --starter` waits until strongSwan's starter has loaded the connections, and `xfrmctl watch --starter`
until starter's charon has ended. systemd cannot detect either event. Test processes with a /run of their own replace
both daemons; tests/machine has the real ones."""

import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import sandbox
from cases import case, cases, main
from program import SECONDS, XFRMCTL, environment, until, xfrmctl
from tap import contains, equal

FILES = {"starter": Path("/run/starter.charon.pid"), "charon": Path("/run/charon.pid")}

# A test process for starter. It blocks the signals that a busy starter blocks, until the test makes it idle.
BUSY = """
import signal
signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM, signal.SIGHUP})
print("busy", flush=True)
input()
signal.pthread_sigmask(signal.SIG_SETMASK, ())
print("idle", flush=True)
signal.pause()
"""

NO_PID = "the file does not begin with a process ID"
NO_STARTER = "Could not watch starter: no process runs with the PID in "


class Family(ExitStack):
    """Test processes for starter, which is busy, and for charon."""

    def __enter__(self):
        super().__enter__()
        for file in FILES.values():
            file.unlink(missing_ok=True)
        self.starter = self.process("starter", [sys.executable, "-c", BUSY])
        self.charon = self.process("charon", ["sleep", "1000"])
        equal(self.starter.stdout.readline(), "busy\n", "what starter says")
        return self

    def popen(self, command, **options):
        process = self.enter_context(subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                      **options))
        self.callback(process.kill)
        return process

    def process(self, name, command):
        process = self.popen(command)
        FILES[name].write_text(f"{process.pid}\n")
        return process

    def load(self):
        """Makes starter idle."""
        print(file=self.starter.stdin, flush=True)
        equal(self.starter.stdout.readline(), "idle\n", "what starter says")

    def end(self, name):
        """Ends a process, and leaves its file."""
        process = getattr(self, name)
        process.kill()
        process.wait()

    def xfrmctl(self, *words, **more):
        """Runs xfrmctl. Returns its process when it waits."""
        process = self.popen([XFRMCTL, *words], stderr=subprocess.PIPE, env=environment(**more))
        until(lambda: "poll" in Path(f"/proc/{process.pid}/wchan").read_text(), "it waits")
        return process


def outcome(process):
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def check_killed(family, err):
    equal(family.starter.wait(SECONDS), -signal.SIGKILL, "the end of starter")
    contains(err, f"starter (PID {family.starter.pid})", "Killing starter")


@case
def charon_ends():
    """watch --starter: if charon ends and starter does not, starter is killed."""
    with Family() as family:
        process = family.xfrmctl("watch", "--starter")
        equal(family.starter.poll(), None, "starter before")
        family.end("charon")
        status, out, err = outcome(process)
        equal((status, out), (0, ""), "status and output")
        check_killed(family, err)


@case
def both_end():
    """watch --starter: if starter ends right after charon, as in a stop, nothing is reported."""
    with Family() as family:
        process = family.xfrmctl("watch", "--starter")
        family.end("charon")
        family.end("starter")
        equal(outcome(process), (0, "", ""), "how it ends")


@case
def starter_ends():
    """watch --starter: if starter ends first, charon is left alone."""
    with Family() as family:
        process = family.xfrmctl("watch", "--starter")
        family.end("starter")
        equal(outcome(process), (0, "", ""), "how it ends")
        equal(family.charon.poll(), None, "charon")


@cases([("has ended",), ("has no file any more",)])
def charon_is_gone(how):
    """watch --starter: if charon {0} already at the beginning, starter is killed."""
    with Family() as family:
        family.end("charon")
        if how != "has ended":
            FILES["charon"].unlink()
        check_killed(family, xfrmctl("watch", "--starter").err)


@case
def charon_comes():
    """watch --starter: if charon starts later, starter is not killed, and watch ends when starter ends."""
    with Family() as family:
        text = FILES["charon"].read_text()
        FILES["charon"].unlink()
        process = family.xfrmctl("watch", "--starter")
        FILES["charon"].write_text(text)
        family.end("starter")
        equal(outcome(process), (0, "", ""), "how it ends")


@cases([("charon", "", NO_PID), ("charon", "0", NO_PID), ("starter", "-1", NO_PID),
        ("starter", "99999999999999999999", NO_PID), ("starter", "4194305", NO_STARTER), ("starter", None, NO_STARTER)])
def bad_file(name, text, said):
    """watch --starter: if the file of {0} has {1!r}, watch fails, and nothing is killed."""
    with Family() as family:
        FILES[name].unlink() if text is None else FILES[name].write_text(text)
        contains(xfrmctl("watch", "--starter", status=1).err, str(FILES[name]), said)
        equal((family.charon.poll(), family.starter.poll()), (None, None), "both live on")


@cases([("of a unit", True), ("by hand", False)])
def loads(how, in_unit):
    """wait --starter, {0}: it ends when starter is idle."""
    with Family() as family:
        process = family.xfrmctl("wait", "--starter", **({"MAINPID": str(family.starter.pid)} if in_unit else {}))
        equal(process.poll(), None, "before")
        family.load()
        status, out, err = outcome(process)
        equal((status, err), (0, ""), "status and complaints")
        assert re.fullmatch(r"charon has all its connections from starter after \d+\.\d{3} s\.\n", out), out


def check_fails(said, *words, **more):
    result = xfrmctl("wait", "--starter", *words, status=1, env=environment(**more))
    equal(result.out, "", "output")
    assert re.fullmatch(r"xfrmctl: charon does not have all its connections from starter after \d\.\d{3} s: "
                        rf"{said}.*\.\n", result.err), result.err


@cases([("is busy",), ("has no charon yet",), ("is not the one of the file",), ("does not run",)])
def not_in_time(how):
    """wait --starter: if starter {0}, wait fails after the timeout."""
    with Family() as family:
        more = {}
        if how != "is busy":
            family.load()
        if how == "has no charon yet":
            FILES["charon"].unlink()
        if how == "is not the one of the file":
            more["MAINPID"] = str(family.charon.pid)
        if how == "does not run":
            family.end("starter")
        check_fails("starter still starts charon", "--timeout=200ms", **more)


@cases([("before",), ("meanwhile",)])
def main_process_ends(when):
    """wait --starter: if the main process ends {0}, wait fails immediately."""
    with Family() as family:
        more = {"MAINPID": str(family.starter.pid)}
        if when == "before":
            family.end("starter")
            check_fails("starter has ended", **more)
        else:
            process = family.xfrmctl("wait", "--starter", **more)
            family.end("starter")
            status, out, err = outcome(process)
            equal((status, out), (1, ""), "status and output")
            contains(err, "starter has ended")


@cases([("still has connections for it", False), ("has nothing left to do, as after that", True)])
def charon_ends_meanwhile(how, is_idle):
    """wait --starter: if charon ends when starter {0}, wait fails immediately."""
    with Family() as family:
        process = family.xfrmctl("wait", "--starter", MAINPID=str(family.starter.pid))
        family.end("charon")
        if is_idle:
            family.load()
        status, out, err = outcome(process)
        equal((status, out), (1, ""), "status and output")
        contains(err, ": charon has ended. Its messages")


@case
def charon_of_before():
    """wait --starter: if the file names a previous charon, wait waits for the new one."""
    with Family() as family:
        family.end("charon")
        family.load()
        process = family.xfrmctl("wait", "--starter", MAINPID=str(family.starter.pid))
        family.charon = family.process("charon", ["sleep", "1000"])
        status, out, err = outcome(process)
        equal((status, err), (0, ""), "status and complaints")
        contains(out, "charon has all its connections")


main(sandbox.new_run_folder)
