# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends packets during the machine's own boot, as soon as the gateway has a network and before strongSwan starts. At
that time net4 is blocked by shadows, which the boot unit has restored from the file that machine.py wrote."""

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
    """Sends the packets and writes the counts to SEEN. Does nothing without a saved file, as in demonstrations."""
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
    """Returns the counts that send() has written."""
    return json.loads(SEEN.read_text())
