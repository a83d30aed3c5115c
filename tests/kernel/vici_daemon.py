# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that answers on a VICI socket, until it does not:

    python3 vici_daemon.py SOCKET ANSWERS THEN

After so many answers it is `silent`, and does nothing; it `works` on the next one for two seconds, or `spins` for ever.
It says "ready", and ends with its standard input."""

import os
import sys
import threading
import time

from vici_server import Server

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
        # It answers nobody else meanwhile.
        with self.lock:
            if not self.has_worked:
                work(WORK_SECONDS)
                self.has_worked = True
        return VERSION

    def version(self, _):
        self.left -= 1
        return VERSION if self.left >= 0 else self.then()


def main():
    path, answers, then = sys.argv[1:]
    # Whatever thread is at work, this one ends the process.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    with Server(path, {"version": Daemon(int(answers), then).version}):
        print("ready", flush=True)
        threading.Event().wait()


main()
