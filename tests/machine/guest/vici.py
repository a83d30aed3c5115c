# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of charon's VICI socket: in an emulated machine, swanctl takes half a second of a processor for a question."""

import socket
import struct

from calibration import scaled
from command import CommandFailed

(CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN, EVENT_REGISTER, EVENT_UNREGISTER, EVENT_CONFIRM, EVENT_UNKNOWN,
 EVENT) = range(8)
SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = range(1, 7)

ANSWER_SECONDS = 60


def name_of(text):
    return struct.pack("B", len(text)) + text.encode()


def encode(arguments):
    return b"".join(bytes([KEY_VALUE]) + name_of(name) + struct.pack(">H", len(value)) + value.encode()
                    for name, value in arguments.items())


class Reader:
    def __init__(self, data):
        self.data = data

    def take(self, length):
        taken, self.data = self.data[:length], self.data[length:]
        return taken

    def number(self, length):
        return int.from_bytes(self.take(length), "big")

    def name(self):
        return self.take(self.number(1)).decode()

    def value(self):
        return self.take(self.number(2)).decode(errors="replace")

    def message(self):
        """The elements up to the end of this section, as a dictionary."""
        found = {}
        while self.data and (kind := self.number(1)) != SECTION_END:
            name = self.name()
            if kind == SECTION_START:
                found[name] = self.message()
            elif kind == KEY_VALUE:
                found[name] = self.value()
            elif kind == LIST_START:
                found[name] = []
                while self.number(1) == LIST_ITEM:
                    found[name].append(self.value())
        return found


class Client:
    """In a with block."""

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
        packet = bytes([kind]) + name_of(name) + arguments
        self.socket.sendall(struct.pack(">I", len(packet)) + packet)

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
        """The answer to a command, and the messages of this event that came before it."""
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
    with Client(path) as client:
        return client.request(command, event, **arguments)
