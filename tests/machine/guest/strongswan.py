# SPDX-License-Identifier: GPL-2.0-or-later
"""A charon that systemd runs: the gateway under test, its peer, and a second gateway in a namespace of its own."""

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import vici
from command import POLL_SECONDS_SLOW, CommandFailed, run, wait_for

RUNTIME_UNITS = Path("/run/systemd/system")


class ChildSA(NamedTuple):
    """A CHILD_SA as charon knows it; SPIs are numbers."""
    name: str
    spi_in: int
    spi_out: int
    packets_in: int
    packets_out: int
    cpis: tuple     # of IPComp, where that is used


class Strongswan:
    def __init__(self, unit, netns=None):
        self.unit = unit
        self.netns = netns
        self.socket = f"/run/strongswan-{netns}/charon.vici" if netns else "/run/charon.vici"
        self.env = {**os.environ, "STRONGSWAN_CONF": f"/etc/strongswan-{netns}/strongswan.conf"} if netns else None

    def systemctl(self, verb, check=True):
        return run("systemctl", verb, self.unit, check=check)

    def start(self):
        self.systemctl("start")

    def stop(self):
        self.systemctl("stop")

    def show(self, name):
        return run("systemctl", "show", "--value", f"--property={name}", self.unit).stdout.strip()

    @contextmanager
    def drop_in(self, text, name="60-test"):
        """With this text in a drop-in of the unit; the name says what it stands before and behind."""
        file = RUNTIME_UNITS / f"{self.unit}.d/{name}.conf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        run("systemctl", "daemon-reload")
        try:
            yield
        finally:
            file.unlink()
            run("systemctl", "daemon-reload")

    def main_pid(self):
        return int(self.show("MainPID"))

    def swanctl(self, *arguments, check=True):
        return run("swanctl", *arguments, env=self.env, check=check)

    def version(self):
        """As numbers: the first two."""
        answer, _ = vici.ask(self.socket, "version")
        return tuple(map(int, answer["version"].split(".")[:2]))

    def connections(self):
        """Names of those that charon has loaded."""
        _, events = vici.ask(self.socket, "list-conns", "list-conn")
        return {name for event in events for name in event}

    def has_loaded(self, name):
        """Whether charon runs and has this connection."""
        try:
            return name in self.connections()
        except CommandFailed:
            return False

    def ike_sas(self):
        """What charon says of each, with its name."""
        _, events = vici.ask(self.socket, "list-sas", "list-sa")
        return [entry for event in events for entry in event.items()]

    def child_sas(self):
        return [ChildSA(child["name"], int(child["spi-in"], 16), int(child["spi-out"], 16),
                        int(child.get("packets-in", 0)), int(child.get("packets-out", 0)),
                        tuple(int(child[cpi], 16) for cpi in ("cpi-in", "cpi-out") if cpi in child))
                for _, ike in self.ike_sas() for child in ike["child-sas"].values() if "spi-in" in child]

    def known_spis(self):
        return {spi for child in self.child_sas() for spi in (child.spi_in, child.spi_out, *child.cpis)}

    def has_ike_sas(self, name=None):
        """Of this connection, or of any."""
        return any(name in (None, found) for found, _ in self.ike_sas())

    def initiate(self, name, seconds=0):
        """Waits for the SA, or with a number of seconds so long at most; returns whether there is one."""
        answer, _ = vici.ask(self.socket, "initiate", child=name, timeout=str(1000 * seconds))
        return answer["success"] == "yes"

    def crash(self, signal):
        """Kills charon; returns the time of it by time.time() and charon's process id."""
        # Crashing often in a row is the test's doing: it must not run into the start limit.
        self.systemctl("reset-failed")
        pid = self.main_pid()
        moment = time.time()
        os.kill(pid, signal)
        return moment, pid

    def is_running_again(self, old_pid):
        state = run("systemctl", "show", "--property=ActiveState,SubState,MainPID", self.unit).stdout.split()
        return "ActiveState=active" in state and "SubState=running" in state and f"MainPID={old_pid}" not in state

    def wait_restarted(self, old_pid):
        """Until a new charon runs and has loaded its configuration."""
        wait_for(lambda: self.is_running_again(old_pid), 60, f"{self.unit} restarted", POLL_SECONDS_SLOW)

    def crash_and_wait(self, signal):
        _, pid = self.crash(signal)
        self.wait_restarted(pid)


gateway = Strongswan("strongswan.service")
peer = Strongswan("strongswan@peer.service", "peer")
blue = Strongswan("strongswan@blue.service", "blue")
