# SPDX-License-Identifier: GPL-2.0-or-later
"""The ends at which a service manager and the journal listen."""

import os
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

from program import XFRMCTL, environment

JOURNAL = Path("/run/systemd/journal/socket")


@contextmanager
def mailbox(address):
    """A socket that takes datagrams. Yields a list which has all of them when the block has ended, each as a list of
    its lines."""
    found = []
    box, end = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    with box, end:
        box.bind(address)

        # They are read as they come: the socket holds a few, and then its senders wait.
        def read():
            while datagram := box.recv(65536):
                found.append(datagram.decode().splitlines())

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield found
        finally:
            end.sendto(b"", address)
            reader.join()


@contextmanager
def service_manager(address=None):
    """Yields the environment that a service manager gives, and what it is told."""
    with tempfile.TemporaryDirectory() as folder:
        address = address or f"{folder}/notify"
        with mailbox(address.replace("@", "\0")) as messages:
            yield environment(NOTIFY_SOCKET=address), messages


# Where the journal's stream is said to be: standard error is the null device here.
NULL_DEVICE = os.stat("/dev/null")
JOURNAL_STREAM = f"{NULL_DEVICE.st_dev}:{NULL_DEVICE.st_ino}"
INTO_JOURNAL = ("sh", "-c", 'exec "$0" "$@" 2>/dev/null', XFRMCTL)


@contextmanager
def journal():
    JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    with mailbox(str(JOURNAL)) as messages:
        yield messages
    JOURNAL.unlink()
