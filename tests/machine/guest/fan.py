#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends a slow stream of UDP packets through each of many tunnels, and counts the losses of each.

    fan.py send PORT RATE SOURCE-DESTINATION...     until SIGTERM; prints the number of packets sent by each source
    fan.py receive PORT                             until SIGTERM; prints the number of packets from each source
"""

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

from linux import SO_RCVBUFFORCE

PORT = 7003
BUFFER_BYTES = 1 << 22
IP_FREEBIND = 15     # linux/in.h: Python leaves it out

# Time for packets that are under way when the senders end, in seconds.
SETTLE_SECONDS = 2


def until_terminated():
    """Handles SIGTERM. Returns a function that returns whether to go on."""
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    return lambda: bool(going)


def socket_of(address, port):
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    found.bind((address, port))
    return found


def send(port, rate, *pairs):
    flows = {pair.split("-")[0]: (socket_of(pair.split("-")[0], port), pair.split("-")[1]) for pair in pairs}
    sent = dict.fromkeys(flows, 0)
    goes_on, pause = until_terminated(), 1 / (float(rate) * len(flows))
    due = time.monotonic()
    while goes_on():
        for source, (sender, destination) in flows.items():
            due += pause
            time.sleep(max(due - time.monotonic(), 0))
            sent[source] += 1
            try:
                sender.sendto(b"fan", (destination, port))
            except OSError:     # a policy blocks it
                pass
    print(json.dumps(sent))


def receive(port):
    receiver = socket_of("0.0.0.0", port)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    receiver.settimeout(0.2)
    came, goes_on = {}, until_terminated()
    while goes_on():
        try:
            _, (source, _) = receiver.recvfrom(64)
            came[source] = came.get(source, 0) + 1
        except TimeoutError:
            pass
    print(json.dumps(came))


def ended(process):
    """Ends a program of this file. Returns the counts that it prints."""
    process.send_signal(signal.SIGTERM)
    return json.loads(process.communicate()[0])


@contextmanager
def fan(pairs, rate, netns):
    """Sends packets between each pair of addresses, from the gateway into a network namespace. Yields a function that
    ends the streams and returns the number of packets that each pair has lost."""
    def run(*words, prefix=()):
        return subprocess.Popen([*prefix, sys.executable, __file__, *map(str, words)], stdout=subprocess.PIPE, text=True)

    with run("receive", PORT, prefix=("ip", "netns", "exec", netns)) as receiver, \
            run("send", PORT, rate, *(f"{here}-{there}" for here, there in pairs)) as sender:
        def lost():
            sent = ended(sender)
            time.sleep(SETTLE_SECONDS)
            came = ended(receiver)
            return [count - came.get(source, 0) for source, count in sent.items()]
        try:
            yield lost
        finally:
            sender.kill()
            receiver.kill()


if __name__ == "__main__":
    {"send": send, "receive": receive}[sys.argv[1]](*([int(sys.argv[2])] + sys.argv[3:]))
