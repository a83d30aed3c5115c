# SPDX-License-Identifier: GPL-2.0-or-later
"""A VICI server that answers like charon, or with errors that charon should never make.

    with Server(path, {"version": {"version": "6.0.1"}, "list-sas": Stream("list-sa", [{"net4": {...}}])}) as server:
        ...
    server.seen == [("version", {}), ("list-sas", {"noblock": "yes"})]

The answer to a command is one of
    a message       {"key": "value", "list": ["one", "two"], "section": {...}}
    Stream          events, and then a message
    bytes           sent as they are; for b"" nothing is sent
    Drip            bytes, sent one by one
    HANG_UP         the connection is closed
    a tuple         of these, one after another
    a function      called with the arguments of the request, in a thread; returns one of these
The server answers that all other commands are unknown.
"""

import socket
import struct
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from vici_message import (CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN, EVENT, EVENT_CONFIRM, EVENT_REGISTER, EVENT_UNKNOWN,
                          EVENT_UNREGISTER, Reader, encode, frame, name_of)

HANG_UP = object()

END_SECONDS = 60


class Stream(NamedTuple):
    event: str
    messages: object    # an iterable, which may be endless
    answer: object = {}     # any other answer, sent after the events


class Drip(NamedTuple):
    data: bytes
    seconds: float      # between two bytes


def in_turn(*answers):
    """Returns a function that gives the first answer to the first request, and so on. It repeats the last answer."""
    left = list(answers)
    return lambda arguments: left.pop(0) if len(left) > 1 else left[0]


def response(message):
    return frame(bytes([CMD_RESPONSE]) + encode(message))


def event(name, message):
    return frame(bytes([EVENT]) + name_of(name) + encode(message))


UNKNOWN = frame(bytes([CMD_UNKNOWN]))
CONFIRM = frame(bytes([EVENT_CONFIRM]))
UNKNOWN_EVENT = frame(bytes([EVENT_UNKNOWN]))


class Server:
    """Serves until the with block ends. The end of the block raises the first failure of a thread."""

    def __init__(self, path, commands, register=CONFIRM, unregister=CONFIRM):
        self.path = Path(path)
        self.commands = commands
        self.confirm = {EVENT_REGISTER: register, EVENT_UNREGISTER: unregister}
        self.seen = []      # (command, arguments)
        self.registered = []    # the names of registered events
        self.connections = []   # all connections, including closed ones
        self.threads = []
        self.failures = []
        self.stopping = threading.Event()

    def __enter__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.start(self.accept)
        return self

    def __exit__(self, *exception):
        self.stopping.set()
        self.end(self.listener)
        # When the accepting thread has ended, there are no new connections.
        self.threads[0].join(END_SECONDS)
        for connection in self.connections:
            self.end(connection)
        for thread in self.threads:
            thread.join(END_SECONDS)
        self.listener.close()
        self.path.unlink()
        if self.failures and exception[0] is None:
            raise self.failures[0]

    @staticmethod
    def end(sock):
        """Shuts a socket down, which ends every call that waits for it."""
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def start(self, function, *arguments):
        def guarded():
            try:
                function(*arguments)
            except OSError:
                pass    # the client hung up, or the server ends
            except Exception as failure:
                self.failures.append(failure)
        self.threads.append(threading.Thread(target=guarded, daemon=True))
        self.threads[-1].start()

    def accept(self):
        while not self.stopping.is_set():
            connection, _ = self.listener.accept()
            self.connections.append(connection)
            self.start(self.serve, connection)

    def serve(self, connection):
        with connection, connection.makefile("rb") as received:
            while header := received.read(4):
                packet = Reader(received.read(struct.unpack(">I", header)[0]))
                kind = packet.number(1)
                name = packet.name()
                if kind == CMD_REQUEST:
                    arguments = packet.message()
                    self.seen.append((name, arguments))
                    answer = self.commands.get(name, UNKNOWN)
                    answer = answer(arguments) if callable(answer) else answer
                else:
                    (self.registered.append if kind == EVENT_REGISTER else self.registered.remove)(name)
                    answer = self.confirm[kind]
                if not self.send(connection, answer):
                    break

    def send(self, connection, answer):
        """Sends an answer. Returns whether the connection stays."""
        if answer is HANG_UP:
            return False
        if isinstance(answer, Stream):
            for message in answer.messages:
                connection.sendall(event(answer.event, message))
            return self.send(connection, answer.answer)
        if isinstance(answer, Drip):
            for byte in answer.data:
                connection.sendall(bytes([byte]))
                self.stopping.wait(answer.seconds)
            return True
        if isinstance(answer, tuple):
            return all(self.send(connection, part) for part in answer)
        connection.sendall(answer if isinstance(answer, bytes) else response(answer))
        return True


@contextmanager
def unaccepted(path):
    """Listens on a socket, and accepts no connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        try:
            yield
        finally:
            Path(path).unlink()


@contextmanager
def busy(path):
    """Listens on a socket whose backlog is full."""
    with unaccepted(path), ExitStack() as waiting:
        with suppress(BlockingIOError):
            while True:
                sock = waiting.enter_context(socket.socket(socket.AF_UNIX))
                sock.setblocking(False)
                sock.connect(str(path))
        yield
