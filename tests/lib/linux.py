# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux functions that Python's standard library lacks."""

import ctypes
import os
import struct
from contextlib import contextmanager

libc = ctypes.CDLL(None, use_errno=True)

# linux/sched.h
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWNET = 0x00020000, 0x02000000, 0x40000000

# asm-generic/socket.h
SO_RCVBUFFORCE = 33


def processor_seconds(pid):
    """Returns the processor time that a process has used, in seconds."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def enter(file):
    """Moves this thread into the network namespace of an open file."""
    if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter {file.name}: {os.strerror(ctypes.get_errno())}")


@contextmanager
def inside(path):
    """Runs the block in the network namespace of a file. A socket stays in the namespace in which it was created."""
    with open("/proc/self/ns/net") as home, open(path) as there:
        enter(there)
        try:
            yield
        finally:
            enter(home)


def checksum(data):
    """Returns the checksum of the Internet protocols (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
