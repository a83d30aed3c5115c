# SPDX-License-Identifier: GPL-2.0-or-later
"""A service manager with one service, which says what it is told to; and how its commands are run."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import sandbox
from linux import CLONE_NEWCGROUP, libc
from program import XFRMCTL, environment, run, until
from tap import Skip, equal

MANAGER = os.environ["MANAGER"]
MANAGERS_SOCKET = Path("/run/systemd/private")

# ActiveState, SubState, FreezerState and the type of its job.
RUNNING = ("active", "running", "running", "")

CGROUPS = Path("/sys/fs/cgroup")

# The service of the tests, and what its next boot closes.
UNIT = "test.service"
SAVED = Path("/var/lib/xfrmctl/test")

# As the drop-in of strongSwan has them.
DEFAULTS = {"XFRMCTL_MODE": "hold", "XFRMCTL_SELECT": "", "XFRMCTL_ROUTES": "--routes", "XFRMCTL_FLUSH_OPTIONS": "",
            "XFRMCTL_RELEASE_OPTIONS": "--grace=5min"}


def own_control_groups():
    """Gives this process and its children a tree of control groups in which units can be made, besides a /run and a
    folder for what is saved."""
    sandbox.new_run_folder()
    subprocess.run(("mount", "-t", "tmpfs", "tmpfs", "/var/lib"), check=True)
    SAVED.parent.mkdir()
    if libc.unshare(CLONE_NEWCGROUP) == 0:
        subprocess.run(("mount", "-t", "cgroup2", "cgroup2", CGROUPS), capture_output=True, check=False)


def is_made(folder):
    try:
        folder.mkdir()
        return True
    except FileExistsError:
        return False


@contextmanager
def unit(name):
    """A control group, by which a process is known to belong to this unit. Yields the file to move into it."""
    if not (CGROUPS / "cgroup.procs").exists():
        raise Skip("no control groups (cgroup2) can be mounted here")
    folder = CGROUPS / name
    until(lambda: is_made(folder), f"no other test program that runs at the same time has {name}")
    try:
        yield folder / "cgroup.procs"
    finally:
        folder.rmdir()


def command_in(members, by_systemd=True):
    """xfrmctl in the unit with this file, as systemd starts it or as a process of the unit does."""
    told = "SYSTEMD_EXEC_PID=$$ " if by_systemd else ""
    return "sh", "-c", f'echo $$ >{members} && {told}exec "$0" "$@"', XFRMCTL


@contextmanager
def running(*command, **options):
    """A process that says when it is ready."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            equal(process.stdout.readline(), "ready\n", "what it says")
            yield process
        finally:
            process.kill()


@contextmanager
def manager(main_pid, properties=RUNNING, shutdown_job="", refuses=False, main_began=0):
    """With the type of the job of shutdown.target; one that refuses starts no unit. The main process began so many
    microseconds after boot."""
    MANAGERS_SOCKET.parent.mkdir(exist_ok=True)
    MANAGERS_SOCKET.unlink(missing_ok=True)
    with running(MANAGER, MANAGERS_SOCKET, *properties, str(main_pid), shutdown_job,
                 "refuse" if refuses else "", str(main_began)) as process:
        yield process


def state(job):
    return "active", "running", "running", job


@contextmanager
def stopping(shutdown_job="", job="stop"):
    """The command that is xfrmctl in a unit with this job; with the other one, the machine goes down."""
    with unit(UNIT) as members, manager(0, state(job), shutdown_job):
        yield command_in(members)


def run_step(command, *words, status=0, main_pid=None, before=None, **settings):
    """`xfrmctl service` in the unit of the command, with these settings: MODE="hold"; `before`: what systemd says of the
    service in its environment."""
    given = DEFAULTS | {f"XFRMCTL_{name}": value for name, value in settings.items()}
    more = {} if main_pid is None else {"MAINPID": str(main_pid)}
    result = run("service", *words, command=command, env=environment(**given, **more, **(before or {})))
    if status is not None:
        equal(result.status, status, f"exit status ({result})")
    return result
