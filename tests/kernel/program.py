# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs xfrmctl, if need be with faults between it and the kernel."""

import os
import re
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tap import equal
from waiting import wait_for

# Instead: a program that runs it in some way.
XFRMCTL = os.environ.get("XFRMCTL_INSTEAD") or os.environ["XFRMCTL"]

# The runtime library of AddressSanitizer wants to be the first.
PRELOADED = " ".join([*re.findall(r"\S*/libasan\S*", subprocess.run(["ldd", XFRMCTL], capture_output=True, text=True,
                                                                   check=False).stdout), os.environ["FAULT"]])

# xfrmctl as systemd starts it: $SYSTEMD_EXEC_PID is its own PID.
IN_UNIT = ("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$0" "$@"', XFRMCTL)

SECONDS = 60
POLL_SECONDS = 0.01

# What systemd would tell the program about itself.
OF_SYSTEMD = ("NOTIFY_SOCKET", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID")

# Whatever happens: no sanitizer's complaint, no sentence cut off.
NEVER_SAID = re.compile(r"runtime error|Sanitizer")

ALWAYS = 2**31

# As the type of a Fault.
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
    """Runs xfrmctl, or a command that ends in running it, with these arguments."""
    done = subprocess.run([*command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS, check=False, env=env or environment(), **options)
    assert not NEVER_SAID.search(done.stderr), done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def xfrmctl(*words, status=0, **options):
    """xfrmctl with these arguments, which must end with this status."""
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
    """Faults for one run, and how often each took place: of the first `sure`, one that never did would prove
    nothing."""

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
        """How often fault number `number` took place."""
        return Path(self.log.name).read_text().split().count(str(number))


def xfrmctl_with(faults, *words, status=0, command=""):
    """xfrmctl with faults, all of which must take place."""
    with Faults(*faults, command=command) as active:
        return xfrmctl(*words, status=status, env=active.env)


def flush_with(faults, *words, **options):
    return xfrmctl_with(faults, "flush", *words, **options)


class Steps:
    """One run that waits each time when the kernel has carried out one more message by which it changes something, or
    one more `datagram` of such; iterating lets it go on, and tells the type of that message."""

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
        """How it ended."""
        out, err = self.process.communicate(timeout=SECONDS)
        assert not NEVER_SAID.search(err), err
        return Result(self.process.returncode, out, err)


def until(condition, what):
    """Returns the first true value of condition()."""
    return wait_for(condition, SECONDS, what, POLL_SECONDS)
