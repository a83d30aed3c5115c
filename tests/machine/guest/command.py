# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs commands, and waits for their effects."""

import subprocess

import waiting
from calibration import scaled

# Time between two checks of a condition, in seconds.
POLL_SECONDS = 0.05

# Time between two checks of a condition that runs a program, in seconds: shorter times keep an emulated processor busy.
POLL_SECONDS_SLOW = 0.5


class CommandFailed(Exception):
    pass


def in_namespace(netns, command):
    """Returns the command line that runs a command in a named network namespace. None is the gateway's own."""
    return ["nsenter", f"--net=/run/netns/{netns}", *command] if netns else list(command)


def run(*command, netns=None, check=True, stdin="", env=None, seconds=60):
    """Runs a command. Returns the completed process; raises CommandFailed if it fails and `check` is set. `seconds` is
    the time limit on the reference machine (calibration.py)."""
    done = subprocess.run(in_namespace(netns, command), input=stdin, capture_output=True, text=True, errors="replace",
                          check=False, timeout=scaled(seconds), env=env)
    if check and done.returncode != 0:
        raise CommandFailed(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stderr.strip()}")
    return done


def wait_for(condition, seconds, what, poll=POLL_SECONDS):
    """Waits until condition() is true, at most for this time of the reference machine. Returns its value."""
    return waiting.wait_for(condition, scaled(seconds), what, poll)
