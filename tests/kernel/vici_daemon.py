# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers a number of requests on a VICI socket, and then behaves as THEN prescribes:

    python3 vici_daemon.py SOCKET ANSWERS THEN

ANSWERS is the number of answers before that. `silent`: the process sends no more answers. `works`: it uses the
processor for two seconds before the next answer. `spins`: it uses the processor for ever. The process prints "ready",
and ends when its standard input ends.

If the file SOCKET.json exists, it has the answers to further commands. "sas" has the events list-sa, "policies" has the
events list-policy, and "ike_sas" has the number of IKE_SAs in the statistics."""

import json
import os
import sys
import threading
import time
from pathlib import Path

from vici_server import Server, Stream

VERSION = {"daemon": "charon-test", "version": "5.9.8"}
WORK_SECONDS = 2


def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return VERSION


class Daemon:
    def __init__(self, answers, then):
        self.left = answers
        self.then = {"silent": lambda: b"", "works": self.work_once, "spins": lambda: work(float("inf"))}[then]
        self.has_worked = False
        self.lock = threading.Lock()

    def work_once(self):
        # The lock delays the answers to all other clients.
        with self.lock:
            if not self.has_worked:
                work(WORK_SECONDS)
                self.has_worked = True
        return VERSION

    def version(self, _):
        self.left -= 1
        return VERSION if self.left >= 0 else self.then()


def listing(path):
    """Returns the answers to the commands that list SAs and policies."""
    def known():
        try:
            return json.loads(Path(f"{path}.json").read_text())
        except FileNotFoundError:
            return {}
    return {"list-sas": lambda _: Stream("list-sa", known().get("sas", [])),
            "list-policies": lambda _: Stream("list-policy", known().get("policies", [])),
            "stats": lambda _: {"ikesas": {"total": str(known().get("ike_sas", 0))}}}


def main():
    path, answers, then = sys.argv[1:]
    # This thread ends the process even while another one uses the processor.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    with Server(path, {"version": Daemon(int(answers), then).version} | listing(path)):
        print("ready", flush=True)
        threading.Event().wait()


main()
