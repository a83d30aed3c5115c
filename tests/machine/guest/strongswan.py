# SPDX-License-Identifier: GPL-2.0-or-later
"""The instances of charon that systemd runs: the gateway under test, its peer, and a second gateway in a namespace of
its own."""

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import vici
from command import POLL_SECONDS_SLOW, CommandFailed, run, wait_for

RUNTIME_UNITS = Path("/run/systemd/system")


class ChildSA(NamedTuple):
    """A CHILD_SA as charon lists it. SPIs are numbers."""
    name: str
    spi_in: int
    spi_out: int
    packets_in: int
    packets_out: int
    cpis: tuple     # CPIs of IPComp; empty without IPComp


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
        """Adds a drop-in with this text to the unit for the with block. Drop-ins apply in the order of their names."""
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
        """Returns the first two numbers of the version."""
        answer, _ = vici.ask(self.socket, "version")
        return tuple(map(int, answer["version"].split(".")[:2]))

    def connections(self):
        """Returns the names of the connections that charon has loaded."""
        _, events = vici.ask(self.socket, "list-conns", "list-conn")
        return {name for event in events for name in event}

    def has_loaded(self, name):
        """Returns whether charon runs and has loaded this connection."""
        try:
            return name in self.connections()
        except CommandFailed:
            return False

    def ike_sas(self):
        """Returns (name, attributes) of each IKE_SA that charon lists."""
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
        """Returns whether charon has an IKE_SA of this connection, or any at all."""
        return any(name in (None, found) for found, _ in self.ike_sas())

    def initiate(self, name, seconds=0):
        """Initiates a child and waits for its SA, for at most `seconds` (0: no limit). Returns whether there is an
        SA."""
        answer, _ = vici.ask(self.socket, "initiate", child=name, timeout=str(1000 * seconds))
        return answer["success"] == "yes"

    def crash(self, signal):
        """Kills charon. Returns the time of the kill, by time.time(), and charon's process id."""
        # The tests crash charon often in a row, which must not reach the start limit.
        self.systemctl("reset-failed")
        pid = self.main_pid()
        moment = time.time()
        os.kill(pid, signal)
        return moment, pid

    def is_running_again(self, old_pid):
        state = run("systemctl", "show", "--property=ActiveState,SubState,MainPID", self.unit).stdout.split()
        return "ActiveState=active" in state and "SubState=running" in state and f"MainPID={old_pid}" not in state

    def wait_restarted(self, old_pid):
        """Waits until a new charon runs and has loaded its configuration."""
        wait_for(lambda: self.is_running_again(old_pid), 60, f"{self.unit} restarted", POLL_SECONDS_SLOW)

    def crash_and_wait(self, signal):
        _, pid = self.crash(signal)
        self.wait_restarted(pid)


gateway = Strongswan("strongswan.service")
peer = Strongswan("strongswan@peer.service", "peer")
blue = Strongswan("strongswan@blue.service", "blue")
