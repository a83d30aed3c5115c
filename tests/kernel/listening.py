# SPDX-License-Identifier: GPL-2.0-or-later
"""The sockets of a service manager and of the journal."""

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
    """Receives datagrams on a socket. Yields a list of the datagrams, each as a list of its lines. The list is complete
    when the block has ended."""
    found = []
    box, end = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    with box, end:
        box.bind(address)

        # A thread reads the datagrams, because the socket holds only a few before its senders wait.
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
    """Yields the environment that a service manager sets, and the messages that it receives."""
    with tempfile.TemporaryDirectory() as folder:
        address = address or f"{folder}/notify"
        with mailbox(address.replace("@", "\0")) as messages:
            yield environment(NOTIFY_SOCKET=address), messages


# $JOURNAL_STREAM has device and inode of the journal's stream. In the tests it names the null device. With
# INTO_JOURNAL, standard error is the null device, too, so xfrmctl takes standard error for the journal.
NULL_DEVICE = os.stat("/dev/null")
JOURNAL_STREAM = f"{NULL_DEVICE.st_dev}:{NULL_DEVICE.st_ino}"
INTO_JOURNAL = ("sh", "-c", 'exec "$0" "$@" 2>/dev/null', XFRMCTL)


@contextmanager
def journal():
    JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    with mailbox(str(JOURNAL)) as messages:
        yield messages
    JOURNAL.unlink()
