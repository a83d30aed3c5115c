# SPDX-License-Identifier: GPL-2.0-or-later
"""A server that sends back what it gets, and its client, for ports that pass by the tunnels.

As a program: exchange.py serve|ask PROTOCOL ADDRESS PORT [FROM]
"""

import socket
import subprocess
import sys
from contextlib import contextmanager

from command import in_namespace, run, wait_for

TYPES = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
QUESTION = b"does this pass?"
ANSWER_SECONDS = 5


def bound(protocol, address, port):
    listener = socket.socket(socket.AF_INET, TYPES[protocol])
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    return listener


def serve_udp(listener):
    while True:
        question, client = listener.recvfrom(2048)
        listener.sendto(question, client)


def serve_tcp(listener):
    listener.listen()
    while True:
        with listener.accept()[0] as connected:
            connected.sendall(connected.recv(2048))


def is_answered(protocol, address, port, source):
    with bound(protocol, source, 0) as client:
        client.settimeout(ANSWER_SECONDS)
        try:
            client.connect((address, port))
            client.sendall(QUESTION)
            return client.recv(2048) == QUESTION
        except OSError:
            return False


def program(netns, *arguments):
    return in_namespace(netns, [sys.executable, __file__, *map(str, arguments)])


@contextmanager
def server(protocol, address, port, netns=None):
    with subprocess.Popen(program(netns, "serve", protocol, address, port)) as process:
        try:
            filters = f"sport = :{port}"
            wait_for(lambda: run("ss", "-Hln", f"--{protocol}", filters, netns=netns).stdout, 20,
                     f"a server listens on {protocol} port {port}")
            yield
        finally:
            process.kill()


def ask(protocol, address, port, source, netns=None):
    """Whether a question from one address to the server at another is answered."""
    return run(*program(netns, "ask", protocol, address, port, source), check=False).returncode == 0


def main():
    verb, protocol, address, port, *source = sys.argv[1:]
    if verb == "serve":
        {"udp": serve_udp, "tcp": serve_tcp}[protocol](bound(protocol, address, int(port)))
    sys.exit(0 if is_answered(protocol, address, int(port), *source) else 1)


if __name__ == "__main__":
    main()
