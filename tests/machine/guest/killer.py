# SPDX-License-Identifier: GPL-2.0-or-later
"""Kills charon at random moments, whatever it is doing then."""

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import network
import vici
import xfrmctl
from command import CommandFailed, run, wait_for
from strongswan import gateway
from waiting import NotInTime

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)

CGROUPS = Path("/sys/fs/cgroup/system.slice")
OF_GATEWAY = CGROUPS / gateway.unit / "cgroup.procs"
OF_HANDOVER = CGROUPS / "system-xfrmctl\\x2dhandover.slice" / xfrmctl.HANDOVER_UNIT / "cgroup.procs"

POLL_SECONDS = 0.02     # time between two checks of a condition
POLL_SECONDS_ASKING = 0.1       # time between two checks that send a command to charon
AIM_SECONDS = 10        # deadline for events that may be missed or may not come
START_SECONDS = 60      # deadline for events that have to come

# Number of crashes of which one, on average, happens during a planned restart.
RESTARTS_IN = 8
# Number of crashes after one of which, on average, a command of xfrmctl is killed.
HELPERS_IN = 8
# Number of crashes after one of which, on average, IKE is blocked until the next crash.
BLOCKED_IN = 8
HELPERS = {"start-pre", "start-post"}


def processes(*groups):
    """Returns the process ids in control groups, by the name of the program. A process of xfrmctl has the name of its
    verb, or of its step of `xfrmctl service`."""
    found = {}
    for group in groups:
        try:
            for pid in group.read_text().split():
                program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                name = os.path.basename(program)
                found[next(word for word in arguments if word != "service") if name == "xfrmctl" else name] = int(pid)
        except (OSError, ValueError, StopIteration):     # the process or the group has ended
            pass
    return found


def charon():
    """Returns charon's process id; None while it does not run."""
    return processes(OF_GATEWAY).get("charon-systemd")


def under_way():
    """Returns what the service or the handover is doing beside charon."""
    running = processes(OF_GATEWAY, OF_HANDOVER)
    return next((what for name, what in (("stop", "arm"), ("stop-post", "arm"), ("start-post", "release"), ("swanctl", "load"),
                                         ("handover", "handover")) if name in running), "nothing")


def asked(question):
    """Returns charon's answer; None if charon does not answer."""
    try:
        return question()
    except (CommandFailed, OSError):
        return None


def negotiates():
    """Returns whether charon has a half-open IKE_SA."""
    answer = asked(lambda: vici.ask(gateway.socket, "stats"))
    return answer and int(answer[0]["ikesas"]["half-open"]) > 0


def kill(pid, with_signal):
    """Sends a signal to a process and waits for its end. Returns whether the process existed."""
    try:
        os.kill(pid, with_signal)
    except ProcessLookupError:
        return False
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), START_SECONDS, f"process {pid} is gone", POLL_SECONDS)
    return True


class Aim(NamedTuple):
    """A moment: a random time after a condition holds."""
    holds: object       # the condition, a function
    later: float        # maximum delay after the condition, in seconds
    poll: float = POLL_SECONDS  # time between two checks of the condition, in seconds


class Killer:
    """Kills charon and counts the crashes. `names` are the connections that charon establishes by itself."""

    def __init__(self, rng, mode, names):
        self.rng, self.names = rng, set(names)
        self.aims = {
            "any time": Aim(charon, 6),
            "up": Aim(self.is_up, 1, POLL_SECONDS_ASKING),
            "starting": Aim(charon, 0.3),
            "loading": Aim(lambda: "swanctl" in processes(OF_GATEWAY), 0.2),
            "negotiating": Aim(negotiates, 0.05, POLL_SECONDS_ASKING),
            "rekeying": Aim(self.rekeys, 0.1, POLL_SECONDS_ASKING),
            "releasing": Aim(lambda: "start-post" in processes(OF_GATEWAY), 0.05),
        }
        if mode in ("handover", "auto"):
            self.aims["handing over"] = Aim(lambda: "handover" in processes(OF_HANDOVER), 0.5)
        self.aimed, self.met = Counter(), Counter()
        self.missed = self.restarts = self.helpers = self.blocked = 0

    def __str__(self):
        aimed, met = (", ".join(f"{what} {number}" for what, number in counter.most_common())
                      for counter in (self.aimed, self.met))
        return (f"{self.aimed.total()} crashes of charon, aimed at: {aimed} ({self.missed} came later); what ran beside it: "
                f"{met}; besides, {self.restarts} planned restarts, {self.helpers} commands of xfrmctl killed, and {self.blocked} times no IKE until the "
                "next crash")

    @property
    def starts(self):
        return self.aimed.total() + self.restarts

    def is_up(self):
        """Returns whether charon has SAs of all connections."""
        children = asked(gateway.child_sas)
        return children and self.names <= {child.name for child in children}

    def rekeys(self):
        """Makes charon rekey a connection, without waiting for the end. Returns false if charon is not up or does not
        answer."""
        name = self.rng.choice(sorted(self.names))
        return self.is_up() and asked(lambda: vici.ask(gateway.socket, "rekey", child=name))

    def crash(self, name=None):
        """Crashes charon once, at the aim of this name or at a random one. Returns a description of the crash."""
        is_last = bool(name)
        name = name or self.rng.choice(list(self.aims))
        with_signal = self.rng.choice(SIGNALS)
        network.unblock_ike()
        if self.rng.randrange(RESTARTS_IN) == 0:
            self.restarts += 1
            run("systemctl", "--no-block", "restart", gateway.unit)
        self.wait(self.aims[name])
        while True:
            pid = wait_for(charon, START_SECONDS, "charon runs", POLL_SECONDS)
            found = under_way()
            if kill(pid, with_signal):
                break
        self.aimed[name] += 1
        self.met[found] += 1
        if not is_last and self.rng.randrange(BLOCKED_IN) == 0:
            self.blocked += 1
            network.block_ike()
        return f"{with_signal.name} while {name}: {found}"

    def wait(self, aim):
        """Waits until the condition of an aim holds, and for a random time after that. Counts the aim as missed if the
        condition does not hold in time."""
        try:
            wait_for(aim.holds, AIM_SECONDS, "the moment to kill charon", aim.poll)
        except NotInTime:
            self.missed += 1
        # A random delay and no wait for an event: charon must be killed at any moment.
        time.sleep(self.rng.uniform(0, aim.later))

    def kill_helper(self):
        """Kills the next start-pre or start-post of `xfrmctl service` as well, after some of the crashes."""
        if self.rng.randrange(HELPERS_IN) != 0:
            return
        wanted = self.rng.choice(sorted(HELPERS))
        try:
            pid = wait_for(lambda: processes(OF_GATEWAY).get(wanted), AIM_SECONDS, f"{wanted} runs", POLL_SECONDS)
        except NotInTime:
            return
        self.helpers += kill(pid, signal.SIGKILL)
