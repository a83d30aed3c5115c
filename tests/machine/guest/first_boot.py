# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot of the machine itself, at which net4 is closed by what machine.py has saved for it: packets that the gateway
sends as soon as it has a network, before strongSwan starts."""

import json
import socket
from pathlib import Path

import kernel
import network
import xfrmctl
from connections import CONNECTIONS

NAME = "net4"
SEEN = Path("/run/first-boot.json")
PACKETS = 20
ANY_PORT, DISCARD = 0, 9


def send():
    """If there is something saved; demonstrations have nothing."""
    if not xfrmctl.SAVED.exists():
        return
    here, there = CONNECTIONS[NAME].inner
    refused = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((here, ANY_PORT))
        for _ in range(PACKETS):
            try:
                sender.sendto(b"", (there, DISCARD))
            except PermissionError:
                refused += 1
    SEEN.write_text(json.dumps({"refused": refused, "blocked": kernel.blocked(), "out": network.counts()["plain_out"]}))


def seen():
    return json.loads(SEEN.read_text())
