# SPDX-License-Identifier: GPL-2.0-or-later
"""charon crashes ten times in a row, also during incomplete starts."""

import errno
import os
import signal
import time
from pathlib import Path

import kernel
import xfrmctl
from command import wait_for
from gateway_setup import establish, look, start, wait_in_step
from plaintext import BothWays
from strongswan import gateway

from .traffic import carries_traffic, check_blocked, check_replaced, note_seen, trigger

NAMES = ("net4", "net6")

START_SECONDS = 30
MINUTE = 60


class Halt:
    """A command in a drop-in of the unit, at which a start halts on request. Use in a with block."""

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
        """Requests that the next start halts."""
        self.flag.touch()

    def reached(self):
        """Returns the writing end of the FIFO that the command reads; None if the command does not read it yet. The
        start continues when the caller closes it."""
        try:
            return open(os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK), "wb")
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None

    def wait_reached(self):
        return wait_for(self.reached, START_SECONDS, f"the start halts at {self.setting}")


# By the names of the drop-ins, one command runs after xfrmctl's ExecStartPre=, the other before its ExecStartPost=.
BEHIND_HOLD = Halt("ExecStartPre", "60-behind-hold")
BEFORE_RELEASE = Halt("ExecStartPost", "05-before-release")


def kill(with_signal, pid):
    os.kill(pid, with_signal)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), START_SECONDS, f"process {pid} is gone")


def crash(with_signal):
    """Kills charon. Returns the time of the kill. Unlike Strongswan.crash(), it does not reset the start limit."""
    moment = time.monotonic()
    kill(with_signal, gateway.main_pid())
    return moment


def crash_and_wait(with_signal):
    pid = gateway.main_pid()
    moment = crash(with_signal)
    gateway.wait_restarted(pid)
    return moment


def crash_in_start_pre(check):
    """Crashes charon, and then the command at which the next start halts. Returns the times of both."""
    BEHIND_HOLD.ask()
    moments = [crash(signal.SIGKILL)]
    with BEHIND_HOLD.wait_reached():
        shadows, policies = xfrmctl.shadows(), kernel.policies()
        check.that("in ExecStartPre: shadows alone stand", shadows and len(shadows) == len(policies), policies)
        moments.append(time.monotonic())
        kill(signal.SIGKILL, int(gateway.show("ControlPID")))
    gateway.wait_restarted(0)
    return moments


def crash_in_start_post(check):
    """Crashes charon, and then the next one before its shadows are released. Returns the times of both."""
    BEFORE_RELEASE.ask()
    moments = [crash(signal.SIGKILL)]
    with BEFORE_RELEASE.wait_reached():
        shadows, policies = xfrmctl.shadows(), kernel.policies()
        check.that("in ExecStartPost: policies and shadows stand", shadows and len(shadows) < len(policies), policies)
        pid = gateway.main_pid()
        moments.append(crash(signal.SIGSEGV))
    gateway.wait_restarted(pid)
    return moments


def crash_ten_times(check):
    """Crashes charon ten times. Returns the time of each crash."""
    plain = (signal.SIGKILL, signal.SIGSEGV, signal.SIGKILL, signal.SIGSEGV, signal.SIGKILL)
    return [
        *map(crash_and_wait, plain),
        *crash_in_start_pre(check),
        *crash_in_start_post(check),
        crash_and_wait(signal.SIGSEGV),
    ]


def selectors(policies):
    return {(policy.direction, policy.src, policy.dst) for policy in policies}


def ten_crashes(check):
    start(NAMES)
    establish(NAMES)
    before = look()
    with BEHIND_HOLD, BEFORE_RELEASE, BothWays("net4") as pings:
        pings.wait_for_answers()
        totals, restarts = pings.totals(), int(gateway.show("NRestarts"))
        moments = crash_ten_times(check)
        wait_in_step()
        pings.wait_for_answers()
        seen, result = pings.since(totals), pings.ours.stop()

    after = look()
    check.equal("systemd restarted charon after each of ten crashes",
                (len(moments), int(gateway.show("NRestarts")) - restarts), (10, 10))
    if moments[4] - moments[0] < MINUTE:
        check.that("also after the first five, which were within a minute", len(moments) == 10, moments)
    else:
        check.skip("also after five within a minute", f"this host takes {moments[4] - moments[0]:.0f} s for five crashes")
    check.equal("the policies are there that were there before", selectors(after.policies), selectors(before.policies))
    check.equal("no shadow is left", xfrmctl.shadows(), [])
    check_replaced(check, before, after)
    check_blocked(check, seen)
    note_seen(check, seen, f"{result.lost} of {result.sent} pings lost; "
              f"{moments[-1] - moments[0]:.0f} s from the first crash to the last")
    for name in NAMES:
        trigger(name)
        carries_traffic(check, name)


def wait_for_auto_restart():
    wait_for(lambda: gateway.show("SubState") == "auto-restart", START_SECONDS, "the unit waits for its restart")


def stop_midway(check):
    """Stops the service while it restarts after a crash."""
    start()
    with BEHIND_HOLD, gateway.drop_in("[Service]\nRestartSec=3s\n", "70-wait"):
        for check.variant, command, wait in (("before the start", lambda: None, wait_for_auto_restart),
                                             ("in ExecStartPre", BEHIND_HOLD.ask, BEHIND_HOLD.wait_reached)):
            command()
            crash(signal.SIGKILL)
            halted = wait()
            check.that("shadows stand", xfrmctl.shadows(), kernel.policies())
            gateway.stop()
            check.equal("no SA, no policy and no shadow is left", (kernel.sas(), kernel.policies()), ([], []))
            if halted:
                halted.close()
            gateway.start()


SCENARIOS = (ten_crashes, stop_midway)
ONLY_REFERENCE = SCENARIOS
