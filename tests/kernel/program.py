# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs xfrmctl, with faults between it and the kernel if a case needs them."""

import os
import re
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tap import equal
from waiting import wait_for

# $XFRMCTL_INSTEAD: a program that runs xfrmctl, such as under_valgrind.
XFRMCTL = os.environ.get("XFRMCTL_INSTEAD") or os.environ["XFRMCTL"]

# Libraries that a run with faults preloads. AddressSanitizer's runtime library has to be the first one.
PRELOADED = " ".join([*re.findall(r"\S*/libasan\S*", subprocess.run(["ldd", XFRMCTL], capture_output=True, text=True,
                                                                   check=False).stdout), os.environ["FAULT"]])

# xfrmctl as systemd starts it: $SYSTEMD_EXEC_PID is its own PID.
IN_UNIT = ("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$0" "$@"', XFRMCTL)

SECONDS = 60
POLL_SECONDS = 0.01

# The variables that systemd sets for a program.
OF_SYSTEMD = ("NOTIFY_SOCKET", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID")

# Text in the reports of sanitizers, which no run may print.
NEVER_SAID = re.compile(r"runtime error|Sanitizer")

ALWAYS = 2**31

# Type of a Fault that counts messages of every type.
ANY = 0


class Result(NamedTuple):
    status: int
    out: str
    err: str


class Fault(NamedTuple):
    """A rule of fault.c."""
    call: str
    type: int
    effect: str
    value: int = 0
    first: int = 1
    last: int = ALWAYS

    def __str__(self):
        return f"{self.call}:{self.type}:{self.first}:{self.last}:{self.effect}:{self.value}"


def environment(**more):
    return {name: value for name, value in os.environ.items() if name not in OF_SYSTEMD} | more


def run(*words, env=None, command=(XFRMCTL,), **options):
    """Runs xfrmctl, or a command that runs it, with these arguments. Returns the result."""
    done = subprocess.run([*command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS, check=False, env=env or environment(), **options)
    assert not NEVER_SAID.search(done.stderr), done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def xfrmctl(*words, status=0, **options):
    """Runs xfrmctl with these arguments, and checks its exit status. Returns the result."""
    result = run(*words, **options)
    equal(result.status, status, f"exit status ({result})")
    return result


def flush(*words, **options):
    return xfrmctl("flush", *words, **options)


def hold(*words, **options):
    return xfrmctl("flush", "--hold", *words, **options)


def keep(*words, **options):
    return xfrmctl("flush", "--keep", *words, **options)


def arm(*words, **options):
    return xfrmctl("arm", *words, **options)


def release(*words, **options):
    return xfrmctl("release", *words, **options)


class Faults:
    """Faults for one run. Each of the first `sure` faults has to take place, because the case would prove nothing
    otherwise."""

    def __init__(self, *faults, command="", sure=ALWAYS):
        self.faults = faults
        self.sure = sure
        self.command = command

    def __enter__(self):
        self.log = tempfile.NamedTemporaryFile(prefix="faults-")
        self.rules = {"LD_PRELOAD": PRELOADED, "FAULTS": ";".join(map(str, self.faults)),
                      "FAULT_LOG": self.log.name, "FAULT_COMMAND": self.command}
        self.env = environment(**self.rules)
        return self

    def __exit__(self, *exception):
        with self.log:
            if exception[0] is None:
                for number, fault in enumerate(self.faults[:self.sure]):
                    assert fault.effect == "note" or self.count(number), f"the fault {fault} never took place"

    def count(self, number=0):
        """Returns how often fault `number` took place."""
        return Path(self.log.name).read_text().split().count(str(number))


def xfrmctl_with(faults, *words, status=0, command=""):
    """Runs xfrmctl with faults, all of which have to take place. Returns the result."""
    with Faults(*faults, command=command) as active:
        return xfrmctl(*words, status=status, env=active.env)


def flush_with(faults, *words, **options):
    return xfrmctl_with(faults, "flush", *words, **options)


class Steps:
    """One run of xfrmctl, which waits at each call of the kind `of` in fault.c: by default when the kernel has carried
    out a message that changes something. Iterating yields the type of the message, and lets the run continue."""

    def __init__(self, *words, faults=(), of="change", sure=ALWAYS):
        self.words = words
        self.faults = Faults(Fault(of, ANY, "wait"), *faults, sure=sure)

    def __enter__(self):
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(SECONDS)
        self.faults.__enter__()
        with theirs:
            env = self.faults.env | {"FAULT_FD": str(theirs.fileno())}
            self.process = subprocess.Popen([XFRMCTL, *self.words], env=env, pass_fds=[theirs.fileno()], text=True,
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return self

    def __exit__(self, *exception):
        self.ours.close()
        self.process.kill()
        self.process.communicate()
        self.faults.__exit__(*exception)

    def __iter__(self):
        while message := self.ours.recv(16):
            yield int(message)
            self.ours.send(b"\n")

    def kill(self):
        self.process.kill()
        self.process.wait(SECONDS)

    def result(self):
        """Returns the result of the run, after its end."""
        out, err = self.process.communicate(timeout=SECONDS)
        assert not NEVER_SAID.search(err), err
        return Result(self.process.returncode, out, err)


def until(condition, what):
    """Waits until condition() returns a true value. Returns that value."""
    return wait_for(condition, SECONDS, what, POLL_SECONDS)
