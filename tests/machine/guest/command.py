# SPDX-License-Identifier: GPL-2.0-or-later
"""Running commands, and waiting for what they bring about."""

import subprocess

import waiting
from calibration import scaled

POLL_SECONDS = 0.05

# For a condition that runs a program: in an emulated machine, asking all the time keeps a processor busy.
POLL_SECONDS_SLOW = 0.5


class CommandFailed(Exception):
    pass


def in_namespace(netns, command):
    """The command line that runs a command in a named network namespace; None is the gateway's own."""
    return ["nsenter", f"--net=/run/netns/{netns}", *command] if netns else list(command)


def run(*command, netns=None, check=True, stdin="", env=None, seconds=60):
    """seconds, as every deadline, is that of the reference: see calibration."""
    done = subprocess.run(in_namespace(netns, command), input=stdin, capture_output=True, text=True, errors="replace",
                          check=False, timeout=scaled(seconds), env=env)
    if check and done.returncode != 0:
        raise CommandFailed(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stderr.strip()}")
    return done


def wait_for(condition, seconds, what, poll=POLL_SECONDS):
    """Returns the first true value of condition(), which must come within this time of the reference."""
    return waiting.wait_for(condition, scaled(seconds), what, poll)
