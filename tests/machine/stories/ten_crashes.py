# SPDX-License-Identifier: GPL-2.0-or-later
"""Ten crashes in a row, also of starts that are not complete yet."""

import errno
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import kernel
import network
import xfrmctl
from command import wait_for
from connections import CONNECTIONS
from pings import Pings
from plaintext import Accepted
from scenario import establish, look, start, wait_in_step
from strongswan import gateway

from .traffic import carries_traffic, trigger

NAMES = ("net4", "net6")
INNER = CONNECTIONS["net4"].inner

ACQUIRE_SECONDS = 2
START_SECONDS = 30
MINUTE = 60


class Halt:
    """A command of the unit at which a start halts when it is asked to; a drop-in of the unit."""

    def __init__(self, setting, name):
        self.setting = setting
        self.name = name
        self.fifo = Path(f"/run/{name}.fifo")
        self.flag = Path(f"/run/{name}.once")

    def __enter__(self):
        self.fifo.unlink(missing_ok=True)
        os.mkfifo(self.fifo)
        self.drop_in = gateway.drop_in(f"[Service]\n{self.setting}=/bin/sh -c"
                                       f" 'if rm {self.flag} 2>/dev/null; then exec cat {self.fifo}; fi'\n", self.name)
        self.drop_in.__enter__()
        return self

    def __exit__(self, *exception):
        self.drop_in.__exit__(*exception)
        self.flag.unlink(missing_ok=True)

    def ask(self):
        """For the next start."""
        self.flag.touch()

    def reached(self):
        """The writing end of what the command waits for; None if there is no command yet."""
        try:
            return open(os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK), "wb")
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None

    def wait_reached(self):
        return wait_for(self.reached, START_SECONDS, f"the start halts at {self.setting}")


# Behind xfrmctl's own command, and before it.
BEHIND_HOLD = Halt("ExecStartPre", "60-behind-hold")
BEFORE_RELEASE = Halt("ExecStartPost", "40-before-release")


def kill(with_signal, pid):
    os.kill(pid, with_signal)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), START_SECONDS, f"process {pid} is gone")


def crash(with_signal):
    """Unlike Strongswan.crash() it leaves the start limit alone."""
    kill(with_signal, gateway.main_pid())


def crash_and_wait(with_signal):
    pid = gateway.main_pid()
    crash(with_signal)
    gateway.wait_restarted(pid)


def crash_in_start_pre(check):
    """Two crashes: of charon, and of the start that follows."""
    BEHIND_HOLD.ask()
    crash(signal.SIGKILL)
    with BEHIND_HOLD.wait_reached():
        check.that("in ExecStartPre: shadows alone stand",
                   xfrmctl.shadows() and len(xfrmctl.shadows()) == len(kernel.policies()), kernel.policies())
        kill(signal.SIGKILL, int(gateway.show("ControlPID")))
    gateway.wait_restarted(0)


def crash_in_start_post(check):
    """Two crashes: of charon, and of the next one before its shadows are released."""
    BEFORE_RELEASE.ask()
    crash(signal.SIGKILL)
    with BEFORE_RELEASE.wait_reached():
        check.that("in ExecStartPost: policies and shadows stand",
                   xfrmctl.shadows() and len(xfrmctl.shadows()) < len(kernel.policies()), kernel.policies())
        pid = gateway.main_pid()
        crash(signal.SIGSEGV)
    gateway.wait_restarted(pid)


def crash_ten_times(check):
    """Returns when each pair of crashes was over."""
    moments = [time.monotonic()]
    for pair in (
        lambda: (crash_and_wait(signal.SIGKILL), crash_and_wait(signal.SIGSEGV)),
        lambda: crash_in_start_pre(check),
        lambda: (crash_and_wait(signal.SIGSEGV), crash_and_wait(signal.SIGKILL)),
        lambda: crash_in_start_post(check),
        lambda: (crash_and_wait(signal.SIGSEGV), crash_and_wait(signal.SIGKILL)),
    ):
        pair()
        moments.append(time.monotonic())
    return moments


def selectors(policies):
    return {(policy.direction, policy.src, policy.dst) for policy in policies}


def ten_crashes(check):
    start(NAMES, acquire_seconds=ACQUIRE_SECONDS)
    establish(NAMES)
    before = look()
    with ExitStack() as stack:
        stack.enter_context(BEHIND_HOLD)
        stack.enter_context(BEFORE_RELEASE)
        accepted = stack.enter_context(Accepted())
        ours, theirs = (stack.enter_context(Pings(*ends)) for ends in ((INNER,), (INNER[::-1], "peer")))
        for stream in (ours, theirs):
            stream.wait_for_answers()
        accepted.read()
        counts, blocked, restarts = network.counts(), kernel.blocked(), int(gateway.show("NRestarts"))

        moments = crash_ten_times(check)
        wait_in_step()
        for stream in (ours, theirs):
            stream.wait_for_answers()
        counted, came_in, held_back = network.counted_since(counts), accepted.counted(), kernel.blocked() - blocked
        result = ours.stop()

    after = look()
    check.equal("systemd restarted charon ten times", int(gateway.show("NRestarts")) - restarts, 10)
    check.that("six of these were within a minute", moments[3] - moments[0] < MINUTE, moments)
    check.equal("the policies are there that were there before", selectors(after.policies), selectors(before.policies))
    check.equal("no shadow is left", xfrmctl.shadows(), [])
    check.equal("no policy and no SA of before is left", (before.indexes & after.indexes, before.spis & after.spis),
                (set(), set()))
    check.equal("charon knows every SA of the kernel", after.spis, after.known_spis)
    check.that("no packet left in plaintext, some were held back", counted["plain_out"] == 0 and held_back > 0, counted)
    check.that("no packet in plaintext was accepted, some came through the tunnel",
               came_in[0] == 0 and came_in[1] > 0, (came_in, counted))
    check.note(f"{moments[-1] - moments[0]:.0f} s; {result.lost} of {result.sent} pings lost, {held_back} packets held "
               f"back; plaintext: {counted['plain_out']} out, {came_in[0]} of {counted['plain_in']} in accepted")
    for name in NAMES:
        trigger(name)
        carries_traffic(check, name)


STORIES = (ten_crashes,)
