# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of charon's VICI socket. The tests use it instead of swanctl, which takes half a second of processor time
for each command in an emulated machine."""

import socket
import struct

from calibration import scaled
from command import CommandFailed
from vici_message import CMD_REQUEST, CMD_RESPONSE, EVENT, EVENT_REGISTER, Reader, encode, frame, name_of

ANSWER_SECONDS = 60


class Client:
    """A connection to the socket. Use in a with block."""

    def __init__(self, path):
        self.path = str(path)

    def __enter__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(scaled(ANSWER_SECONDS))
        try:
            self.socket.connect(self.path)
        except OSError as error:
            self.socket.close()
            raise CommandFailed(f"{self.path}: {error}") from error
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def send(self, kind, name, arguments=b""):
        self.socket.sendall(frame(bytes([kind]) + name_of(name) + arguments))

    def read(self, length):
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            if not more:
                raise CommandFailed(f"{self.path}: charon hangs up")
            data += more
        return data

    def receive(self):
        return Reader(self.read(struct.unpack(">I", self.read(4))[0]))

    def request(self, command, event=None, **arguments):
        """Sends a command. Returns its answer, and the messages of this event that came before the answer."""
        if event:
            self.send(EVENT_REGISTER, event)
            self.receive()
        self.send(CMD_REQUEST, command, encode(arguments))
        events = []
        while True:
            packet = self.receive()
            kind = packet.number(1)
            if kind == CMD_RESPONSE:
                return packet.message(), events
            if kind != EVENT:
                raise CommandFailed(f"{self.path}: {command}: charon answers with {kind}")
            packet.name()
            events.append(packet.message())


def ask(path, command, event=None, **arguments):
    """Sends one command over a connection of its own. Returns the same as Client.request()."""
    with Client(path) as client:
        return client.request(command, event, **arguments)
