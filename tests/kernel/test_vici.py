# SPDX-License-Identifier: GPL-2.0-or-later
"""The client of charon's socket: how it handles answers, right and wrong, and that it always ends."""

import itertools
import os
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cases import case, cases, main
from program import NEVER_SAID, SECONDS, environment
from tap import equal
from vici_server import (CMD_REQUEST, CONFIRM, EVENT_CONFIRM, HANG_UP, UNKNOWN, UNKNOWN_EVENT, Drip, Server, Stream, busy,
                         encode, event, frame, response, unaccepted)

PROBE = os.environ["VICI_PROBE"]

# Timeout of requests that get no answer, in seconds.
DEADLINE_SECONDS = 0.3

# Additional time for a slow machine, in seconds.
LATE_SECONDS = 20

MESSAGE_MAX = 512 * 1024
DEPTH_MAX = 16

# Maximum memory for a buffer for one message, with a margin, in KiB.
MEMORY_KIB_MAX = 1024

SA = {"net4": {"version": "2", "child-sas": {"net4-1": {"spi-in": "c0ffee01", "local-ts": ["10.1.0.0/24"]}}}}
SA_ELEMENTS = 11


class Asked(NamedTuple):
    open: str
    peer: int
    results: list   # (command, result, messages, elements)
    memory_kib: int
    seconds: float


@contextmanager
def socket_path():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "charon.vici"


def probe(path, *requests, seconds=SECONDS, command=(), interrupted=True):
    begun = time.monotonic()
    done = subprocess.run([*command, PROBE, path, str(seconds), *requests], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=SECONDS, check=False,
                          env=environment(**{"INTERRUPTED": "1"} if interrupted else {}))
    assert not NEVER_SAID.search(done.stderr), done.stderr
    equal((done.returncode in (0, 1), done.stderr), (True, ""), "how the probe ended")
    found = Asked("OK", None, [], 0, time.monotonic() - begun)
    for what, first, *rest in map(str.split, done.stdout.splitlines()):
        if what == "open":
            found = found._replace(open=first)
        elif what in ("peer", "memory"):
            found = found._replace(**{{"peer": "peer", "memory": "memory_kib"}[what]: int(first)})
        else:
            found.results.append((what, first, *map(int, rest)))
    return found


def ask(commands, *requests, seconds=SECONDS, **confirmations):
    with socket_path() as path, Server(path, commands, **confirmations) as server:
        return probe(path, *requests, seconds=seconds), server


def list_sas(answer, seconds=SECONDS, **confirmations):
    """Sends list-sas, which gets this answer, and another request. Returns both results, and the server."""
    return ask({"list-sas": answer, "version": {"daemon": "charon"}}, "list-sas+list-sa", "version", seconds=seconds,
               **confirmations)


def check_ended(asked):
    assert DEADLINE_SECONDS <= asked.seconds < DEADLINE_SECONDS + LATE_SECONDS, asked


def nested(depth, inner):
    """Returns nested sections with names of one byte."""
    return b"\x01\x01s" * depth + inner + b"\x02" * depth


def as_event(message):
    return frame(b"\x07\x07list-sa" + message)


@case
def answers():
    """All answers and events arrive."""
    asked, server = ask({"version": {"daemon": "charon", "version": "6.0.1"}, "list-sas": Stream("list-sa", [SA] * 3),
                         "list-conns": Stream("list-conn", [])},
                        "version", "list-sas+list-sa", "list-conns+list-conn", "version")
    equal(asked.results, [("version", "OK", 1, 2), ("list-sas", "OK", 4, 3 * SA_ELEMENTS), ("list-conns", "OK", 1, 0),
                          ("version", "OK", 1, 2)])
    equal(asked.peer, os.getpid())
    equal([command for command, _ in server.seen], ["version", "list-sas", "list-conns", "version"])
    equal((len(server.connections), server.registered), (1, []), "one connection, no event still registered")


@case
def pieces():
    """Packets may arrive in pieces of any size."""
    data = event("list-sa", SA) + event("list-sa", {}) + response({"a": "b"})
    for answer in (data, (data[:3], data[3:50], data[50:]), Drip(data, 0.0001)):
        asked, _ = list_sas(answer)
        equal(asked.results, [("list-sas", "OK", 3, SA_ELEMENTS + 1), ("version", "OK", 1, 1)])


@case
def events_around():
    """Events of another thread of charon may arrive around the confirmations."""
    stray = event("list-sa", SA)
    asked, _ = list_sas(Stream("list-sa", [SA]), register=stray + CONFIRM, unregister=stray * 2 + CONFIRM)
    equal(asked.results, [("list-sas", "OK", 2, SA_ELEMENTS), ("version", "OK", 1, 1)])


@case
def unknown():
    """Unknown commands and events are reported, and the connection stays."""
    asked, server = ask({"version": {}}, "nothing", "nothing+list-sa", "version")
    equal(asked.results, [("nothing", "EOPNOTSUPP", 0, 0), ("nothing", "EOPNOTSUPP", 0, 0), ("version", "OK", 1, 0)])
    equal(server.registered, [], "events that are registered")
    asked, _ = list_sas({}, register=UNKNOWN_EVENT)
    equal(asked.results, [("list-sas", "EOPNOTSUPP", 0, 0), ("version", "OK", 1, 1)])


@case
def largest():
    """A message may have the length of charon's limit in both directions, and not more."""
    room = MESSAGE_MAX - 1
    fill = b"\x04\x01l" + b"\x05\xff\xff" + b"x" * 65535
    while len(fill) + 1 + 3 + 65535 < room:
        fill += b"\x05\xff\xff" + b"x" * 65535
    rest = room - len(fill) - 4
    fill += b"\x05" + rest.to_bytes(2, "big") + b"x" * rest + b"\x06"
    equal(len(fill), room)
    asked, _ = ask({"version": frame(b"\x01" + fill)}, "version")
    equal(asked.results[0][:3], ("version", "OK", 1))
    assert asked.memory_kib, asked

    asked, server = ask({"version": {}}, "version=500", "version=530", "version=600")
    equal(asked.results, [("version", "OK", 1, 0), ("version", "EMSGSIZE", 0, 0), ("version", "ECONNRESET", 0, 0)])
    equal(server.seen, [("version", {"values": ["x" * 1000] * 500})])


@case
def gone():
    """If the daemon hangs up between two requests, the client fails, and no signal ends the program."""
    asked, _ = ask({"version": ({}, HANG_UP)}, "version", "version=500")
    equal(asked.results, [("version", "OK", 1, 0), ("version", "ECONNRESET", 0, 0)])


@cases([
    ("a length of 0", "EBADMSG", frame(b"")),
    ("a length above the limit", "EBADMSG", (MESSAGE_MAX + 1).to_bytes(4, "big") + b"\x01"),
    ("a length of 4 GiB", "EBADMSG", b"\xff\xff\xff\xff" + b"\x01" * 100),
    ("an end within a length", "ECONNRESET", (b"\x00\x00", HANG_UP)),
    ("an end within a packet", "ECONNRESET", (response(SA)[:-1], HANG_UP)),
    ("an end within the longest packet", "ECONNRESET", (MESSAGE_MAX.to_bytes(4, "big") + b"\x01", HANG_UP)),
    ("an end at once", "ECONNRESET", HANG_UP),
    ("an end between events", "ECONNRESET", Stream("list-sa", [SA] * 2, HANG_UP)),
    ("a confirmation for an answer", "EBADMSG", frame(bytes([EVENT_CONFIRM]))),
    ("a request for an answer", "EBADMSG", frame(bytes([CMD_REQUEST]) + b"\x07version")),
    ("an unknown packet", "EBADMSG", frame(b"\x08")),
    ("another event", "EBADMSG", Stream("list-conn", [SA])),
    ("an event of a longer name", "EBADMSG", Stream("list-sas", [SA])),
    ("an event whose name is too long", "EBADMSG", frame(b"\x07\xfflist-sa")),
    ("text of another protocol", "EBADMSG", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ("a truncated message", "EBADMSG", as_event(encode(SA)[:-1])),
    ("a length in a message that is wrong", "EBADMSG", as_event(b"\x03\x01a\xff\xffone")),
    ("sections that nest too deep", "EBADMSG", as_event(nested(DEPTH_MAX + 1, b""))),
    ("sections that nest a hundred thousand times", "EBADMSG", as_event(nested(100_000, b""))),
    ("a truncated answer", "EBADMSG", response(SA)[:3] + bytes([len(response(SA)) - 5]) + response(SA)[4:-1]),
])
def hostile(what, error, answer):
    """The client fails immediately: {0}."""
    asked, _ = list_sas(answer)
    equal([result[:2] for result in asked.results], [("list-sas", error), ("version", "ECONNRESET")])


@cases([
    ("an answer before the registration is confirmed", {"register": response({})}),
    ("another event before that", {"register": event("list-conn", {}) + CONFIRM}),
    ("the event unknown once it was sent", {"unregister": UNKNOWN_EVENT}),
    ("a second answer", {"unregister": response({})}),
    ("a second answer, unknown", {"unregister": UNKNOWN}),
])
def hostile_confirmation(what, confirmations):
    """The client fails immediately: {0}."""
    asked, _ = list_sas(Stream("list-sa", [SA]), **confirmations)
    equal([result[:2] for result in asked.results], [("list-sas", "EBADMSG"), ("version", "ECONNRESET")])


@cases([("no name", b"\x07"), ("half a name", b"\x07\x07list")])
def event_before(what, packet):
    """An event with {0} is invalid, although the buffer still has the name of the previous one."""
    asked, _ = list_sas(Stream("list-sa", [SA], frame(packet)))
    equal(asked.results[0], ("list-sas", "EBADMSG", 1, SA_ELEMENTS))


@case
def event_unasked():
    """An event without a registration ends the connection."""
    asked, _ = ask({"version": (event("list-sa", SA), {})}, "version")
    equal(asked.results, [("version", "EBADMSG", 0, 0)])


@cases([
    ("silence", b"", {}),
    ("silence within a length", b"\x00\x00", {}),
    ("silence within a packet", response(SA)[:-1], {}),
    ("silence after an event", Stream("list-sa", [SA], b""), {}),
    ("silence instead of a confirmation", {}, {"register": b""}),
    ("silence at the end", {}, {"unregister": b""}),
    ("a byte now and then", Drip(response({"a": "b" * 10000}), 0.02), {}),
    ("events without end", Stream("list-sa", itertools.repeat(SA)), {}),
    ("empty events without end", Stream("list-sa", itertools.repeat({})), {}),
    ("events without end before the confirmation", {}, {"register": Stream("list-sa", itertools.repeat({}))}),
    ("events without end after the answer", {}, {"unregister": Stream("list-sa", itertools.repeat({}))}),
])
def endless(what, answer, confirmations):
    """The client ends at the deadline: {0}."""
    asked, _ = list_sas(answer, DEADLINE_SECONDS, **confirmations)
    equal([result[:2] for result in asked.results], [("list-sas", "ETIMEDOUT"), ("version", "ECONNRESET")])
    check_ended(asked)


@case
def memory():
    """The memory of the client does not grow with the number of events, nor beyond the largest event."""
    long = {"l": ["x" * 60000] * 8}
    once, _ = list_sas({})
    for message in (SA, long):
        asked, server = list_sas(Stream("list-sa", itertools.repeat(message)), DEADLINE_SECONDS)
        assert asked.results[0][2] > 20, asked
        assert asked.memory_kib - once.memory_kib < MEMORY_KIB_MAX, (asked, once)


@cases([("with signals", True), ("without signals", False)])
def busy_daemon(how, interrupted):
    """The client ends at the deadline, {0}: a daemon accepts no connection, or reads nothing."""
    with socket_path() as path, busy(path):
        asked = probe(path, "version", seconds=DEADLINE_SECONDS, interrupted=interrupted)
        equal(asked.open, "ETIMEDOUT")
        check_ended(asked)
    with socket_path() as path, unaccepted(path):
        asked = probe(path, "version=500", seconds=DEADLINE_SECONDS, interrupted=interrupted)
        equal(asked.results, [("version", "ETIMEDOUT", 0, 0)])
        check_ended(asked)


@case
def late():
    """The client does nothing after the deadline."""
    with socket_path() as path, Server(path, {}):
        equal(probe(path, seconds=0).open, "ETIMEDOUT")


@case
def no_socket():
    """For a socket that cannot be used, the error is its reason."""
    with socket_path() as path:
        equal(probe(path).open, "ENOENT")
        equal(probe("").open, "ENOENT")
        equal(probe(f"{path}/x").open, "ENOENT")
        equal(probe("/" + "x" * 200).open, "ENAMETOOLONG")
        path.write_text("")
        equal(probe(path).open, "ENOTSOCK")
        equal(probe(path.parent).open, "ENOTSOCK")
        path.unlink()
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
            equal(probe(path).open, "ECONNREFUSED")
        equal(probe(path).open, "ECONNREFUSED")
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
            bound.bind(str(path))
            equal(probe(path).open, "EPROTOTYPE")


@case
def not_permitted():
    """Without the permission, the error is EACCES."""
    with socket_path() as path, Server(path, {}):
        path.parent.chmod(0o755)
        path.chmod(0o770)
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        equal(probe(path, command=nobody).open, "EACCES")


if __name__ == "__main__":
    main()
