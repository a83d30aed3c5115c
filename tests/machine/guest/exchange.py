# SPDX-License-Identifier: GPL-2.0-or-later
"""A server that returns each message to its sender, and a client. Tests use them for ports that are exempt from the
tunnels by bypass policies."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import linux

TYPES = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
QUESTION = b"does this pass?"
ANSWER_SECONDS = 5
POLL_SECONDS = 0.1


def bound(protocol, address, port, netns=None):
    """Returns a bound socket in a network namespace. Makes it in a separate thread, since only this thread must enter
    the namespace."""
    def make():
        if netns:
            with open(f"/run/netns/{netns}") as namespace:
                linux.enter(namespace)
        made = socket.socket(socket.AF_INET, TYPES[protocol])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        return made

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def answer_udp(listener):
    question, client = listener.recvfrom(2048)
    listener.sendto(question, client)


def answer_tcp(listener):
    with listener.accept()[0] as connected:
        connected.settimeout(ANSWER_SECONDS)
        connected.sendall(connected.recv(2048))


def serve(listener, answer, end):
    while not end.is_set():
        try:
            answer(listener)
        except OSError:     # no client has sent a message in time, or the client has ended
            pass


@contextmanager
def server(protocol, address, port, netns=None):
    """Runs a server for the with block."""
    end = Event()
    with bound(protocol, address, port, netns) as listener, ThreadPoolExecutor(1) as thread:
        listener.settimeout(POLL_SECONDS)
        if protocol == "tcp":
            listener.listen()
        thread.submit(serve, listener, {"udp": answer_udp, "tcp": answer_tcp}[protocol], end)
        try:
            yield
        finally:
            end.set()


def ask(protocol, address, port, source, netns=None):
    """Sends a message from the address `source` to a server. Returns whether the server returned it."""
    with bound(protocol, source, 0, netns) as client:
        client.settimeout(ANSWER_SECONDS)
        try:
            client.connect((address, port))
            client.sendall(QUESTION)
            return client.recv(2048) == QUESTION
        except OSError:
            return False
