# SPDX-License-Identifier: GPL-2.0-or-later
"""A test service manager with one service, whose state the test sets, and the commands of that service."""

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

# ActiveState, SubState, FreezerState, and the type of the service's job.
RUNNING = ("active", "running", "running", "")

CGROUPS = Path("/sys/fs/cgroup")

# The service of the tests, and the file in which its policies are saved for the next boot.
UNIT = "test.service"
SAVED = Path("/var/lib/xfrmctl/test")

# The settings as strongSwan's drop-in has them.
DEFAULTS = {"XFRMCTL_MODE": "hold", "XFRMCTL_SELECT": "", "XFRMCTL_ROUTES": "--routes", "XFRMCTL_FLUSH_OPTIONS": "",
            "XFRMCTL_RELEASE_OPTIONS": "--grace=5min"}


def own_control_groups():
    """Gives this process and its children a tree of control groups in which units can be made. Also gives them an empty
    /run, and an empty folder for the files of `xfrmctl save`."""
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
    """Creates the control group of a unit, by which xfrmctl recognizes the unit's processes. Yields the file that moves
    a process into the group."""
    if not (CGROUPS / "cgroup.procs").exists():
        raise Skip("no control groups (cgroup2) can be mounted here")
    folder = CGROUPS / name
    until(lambda: is_made(folder), f"no other test program that runs at the same time has {name}")
    try:
        yield folder / "cgroup.procs"
    finally:
        folder.rmdir()


def command_in(members, by_systemd=True):
    """Returns a command that runs xfrmctl in a unit. `members` is the file that moves a process into the unit. Without
    `by_systemd`, xfrmctl looks as if another process of the unit has started it."""
    variable = "SYSTEMD_EXEC_PID=$$ " if by_systemd else ""
    return "sh", "-c", f'echo $$ >{members} && {variable}exec "$0" "$@"', XFRMCTL


@contextmanager
def running(*command, **options):
    """Runs a process. Yields it after it has printed "ready"."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            equal(process.stdout.readline(), "ready\n", "what it says")
            yield process
        finally:
            process.kill()


@contextmanager
def manager(main_pid, properties=RUNNING, shutdown_job="", refuses=False, main_began=0, netns=""):
    """Runs a service manager. `shutdown_job` is the type of shutdown.target's job. With `refuses`, the manager refuses
    to start units. The main process began `main_began` microseconds after boot. `netns` is the path of the service's
    network namespace, if it has one of its own."""
    MANAGERS_SOCKET.parent.mkdir(exist_ok=True)
    MANAGERS_SOCKET.unlink(missing_ok=True)
    with running(MANAGER, MANAGERS_SOCKET, *properties, str(main_pid), shutdown_job,
                 "refuse" if refuses else "", str(main_began), netns) as process:
        yield process


def state(job):
    return "active", "running", "running", job


@contextmanager
def stopping(shutdown_job="", job="stop"):
    """Yields a command that runs xfrmctl in a unit with the job `job`. If shutdown.target has a job "start", the
    machine is shutting down."""
    with unit(UNIT) as members, manager(0, state(job), shutdown_job):
        yield command_in(members)


def run_step(command, *words, status=0, main_pid=None, before=None, **settings):
    """Runs `xfrmctl service` in the unit of the command, with settings such as MODE="hold". `before` has further
    environment variables, which systemd sets for the service's commands."""
    given = DEFAULTS | {f"XFRMCTL_{name}": value for name, value in settings.items()}
    more = {} if main_pid is None else {"MAINPID": str(main_pid)}
    result = run("service", *words, command=command, env=environment(**given, **more, **(before or {})))
    if status is not None:
        equal(result.status, status, f"exit status ({result})")
    return result
