# SPDX-License-Identifier: GPL-2.0-or-later
"""Records the messages of the kernel and of charon, byte for byte, as seeds for the fuzzers (tests/fuzz). tools/corpus
calls it in a network namespace and in a machine."""

import os
import re
import shlex
import socket
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import linux
import netlink
import vici
import vici_message
from netlink import (ACK, DUMP, MSG_DELSA, MSG_GETPOLICY, MSG_GETSA, MSG_GETSADINFO, MSG_GETSPDINFO, MSG_NEWPOLICY,
                     NETLINK_ROUTE as ROUTE, NETLINK_XFRM as XFRM)

GETADDR, GETROUTE, GETRULE, GETNEXTHOP = 22, 26, 34, 106

# By message type, the size of the message's header and the offset of the address family in it. The types are those of
# SAs, policies, routes, rules, addresses and nexthop objects.
HEADERS = {0x10: (224, 212), 0x1a: (224, 212), 0x13: (168, 40), 0x19: (168, 40), 24: (12, 0), 32: (12, 0), 20: (8, 0),
           104: (8, 0)}

# Maximum sizes of a seed with messages and of a seed with a conversation, in bytes. Longer seeds add no new cases.
SIZE_MAX = 4096
CONVERSATION_MAX = 16384

# Text files to record. Those below /proc/self are of this process.
FILES = ("/proc/net/netlink", "/proc/net/pfkey", "/proc/net/udp", "/proc/net/udp6", "/proc/net/xfrm_stat",
         "/proc/self/stat", "/proc/self/status", "/proc/self/schedstat", "/run/charon.pid")

# VICI: the command, the event that precedes its answer, and the arguments.
QUESTIONS = (("version", None, {}), ("stats", None, {}), ("list-conns", "list-conn", {}), ("get-conns", None, {}),
             ("list-sas", "list-sa", {}), ("list-policies", "list-policy", {"trap": "yes", "drop": "yes", "pass": "yes"}),
             ("initiate", None, {"child": "nobody", "ike": "nobody", "timeout": "-1"}))


class Recorder:
    """Writes seeds below a folder. It skips messages of a shape that it already has, since they add no new cases."""

    def __init__(self, folder, name):
        self.folder, self.name, self.shapes = Path(folder), name, {}

    def write(self, fuzzer, name, data):
        file = self.folder / fuzzer / f"{self.name}-{name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def write_new(self, fuzzer, name, shape, data, size_max=SIZE_MAX):
        """Writes a seed, unless it is empty or too long, or there is one of this shape already."""
        shapes = self.shapes.setdefault((fuzzer, name), set())
        if shape not in shapes and 0 < len(data) <= size_max:
            shapes.add(shape)
            self.write(fuzzer, f"{name}-{len(shapes)}", data)


def shape(kind, message):
    """Returns the shape of a message: its type, its family, and its attributes with their lengths."""
    size, family = HEADERS.get(kind, (None, 0))
    if size is None:
        return kind, len(message)
    attributes = netlink.attributes(message[16 + size:])
    return kind, message[16 + family], tuple((attribute, 4 + len(data)) for attribute, data in attributes)


def record_dump(recorder, fuzzer, name, protocol, kind, payload):
    """Records a dump: a seed for each shape of message, followed by the end of the list. Returns the messages."""
    answer = list(netlink.ask(kind, DUMP, payload, protocol=protocol))
    padded = [message.ljust((len(message) + 3) & ~3, b"\0") for _, message in answer]
    for (got, message), data in zip(answer[:-1], padded):
        recorder.write_new(fuzzer, name, shape(got, message), data + padded[-1])
    recorder.write_new(fuzzer, f"{name}-list", "list", b"".join(padded)[:SIZE_MAX])
    return [message for _, message in answer[:-1]]


def record_answer(recorder, fuzzer, name, protocol, kind, flags, payload):
    """Records the answer to one request. Returns it."""
    data = b"".join(message for _, message in netlink.ask(kind, flags, payload, protocol=protocol))
    recorder.write_new(fuzzer, name, (name, len(data)), data)
    return data


def record_batch(recorder, policies):
    """Records some policies of a dump, with the kernel's answers to requests that add each of them once more."""
    known, refused = b"", b""
    for i, policy in enumerate(policies[:4]):
        known += policy
        # The sequence numbers are odd: in xfrmctl, the deletion that depends on an addition has the next number.
        refused += b"".join(message for _, message in netlink.ask(MSG_NEWPOLICY, ACK, policy[16:], 1 + 2 * i))
        recorder.write_new("batch", "exists", len(known), struct.pack("H", len(known)) + known + refused)


def record_xfrm(recorder):
    record_dump(recorder, "xfrm", "sa", XFRM, MSG_GETSA, b"")
    policies = record_dump(recorder, "xfrm", "policy", XFRM, MSG_GETPOLICY, bytes(64))
    record_batch(recorder, policies)
    record_answer(recorder, "xfrm", "sadinfo", XFRM, MSG_GETSADINFO, 0, bytes(4))
    record_answer(recorder, "xfrm", "spdinfo", XFRM, MSG_GETSPDINFO, 0, bytes(4))
    record_answer(recorder, "xfrm", "acknowledged", XFRM, MSG_DELSA, ACK, bytes(24))
    if policies:
        found = min(policies, key=len)
        index, direction = struct.unpack_from("I", found, 16 + 56 + 64 + 32 + 4)[0], found[16 + 56 + 64 + 32 + 8]
        record_answer(recorder, "xfrm", "found", XFRM, MSG_GETPOLICY, 0,
                      found[16:16 + 56] + struct.pack("IB3x", index, direction) + found[16 + 168:])


def record_events(recorder, change):
    """Records the kernel's notifications while change() changes something."""
    with netlink.open_socket(netlink.SAS | netlink.POLICIES) as sock:
        change()
        sock.settimeout(0.2)
        with suppress(TimeoutError):
            while True:
                for kind, message in netlink.messages(sock.recv(1 << 16)):
                    recorder.write_new("xfrm", "event", ("event", kind, len(message)), message)


def record_routes(recorder):
    for family in (socket.AF_INET, socket.AF_INET6):
        for name, kind, size in (("route", GETROUTE, 12), ("rule", GETRULE, 12), ("address", GETADDR, 8)):
            record_dump(recorder, "route", name, ROUTE, kind, bytes([family]).ljust(size, b"\0"))
    record_dump(recorder, "route", "nexthop", ROUTE, GETNEXTHOP, bytes(8))


def record_files(recorder):
    for file in FILES:
        with suppress(OSError):
            recorder.write("proc", re.sub("[^a-z0-9_]+", "-", file.removeprefix("/")), Path(file).read_bytes()[:SIZE_MAX])
    sockets = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    for link in sockets:
        with suppress(OSError):
            target = os.readlink(link)
            if target.startswith("socket:"):
                recorder.write("proc", "link", target.encode())


def packet(client):
    """Receives one packet. Returns it with its length field."""
    length = client.read(4)
    return length + client.read(struct.unpack(">I", length)[0])


def record_question(recorder, client, command, event, arguments):
    conversation = b""
    if event:
        client.send(vici_message.EVENT_REGISTER, event)
        conversation += packet(client)
    client.send(vici_message.CMD_REQUEST, command, vici_message.encode(arguments))
    while True:
        got = packet(client)
        conversation += got
        kind, message = got[4], got[5:]
        if kind == vici_message.EVENT:
            message = message[1 + message[0]:]
        text = bytes(byte for byte in message if byte < 32 or byte in b"{}[]")
        recorder.write_new("vici_message", command, (command, kind, text), message)
        if kind != vici_message.EVENT:
            break
    if event:
        client.send(vici_message.EVENT_UNREGISTER, event)
        conversation += packet(client)
        recorder.write_new("vici_stream", command, command, conversation, CONVERSATION_MAX)


def record_charon(recorder, path):
    with vici.Client(path) as client:
        for command, event, arguments in QUESTIONS:
            record_question(recorder, client, command, event, arguments)


def ip(*lines):
    """Runs commands of ip(8), and ignores those that this kernel refuses. Does not use a batch, because a batch ends at
    the first `ip xfrm` command that fails."""
    for line in lines:
        subprocess.run(["ip", *shlex.split(line)], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


KEY = "0x00112233445566778899aabbccddeeff"
KEYS = f"enc cbc(aes) {KEY} auth hmac(sha256) {KEY}"
AEAD = "aead rfc4106(gcm(aes)) 0x00112233445566778899aabbccddeeff01020304 128"
SA = "xfrm state add src 192.0.2.1 dst 198.51.100.1"
POLICY = "xfrm policy add"
TEMPLATE = "tmpl src 192.0.2.1 dst 198.51.100.1"
STATE = (
    "link set lo up",
    "link add first type veth peer name second",
    "link set first up",
    "link set second up",
    "address add 192.0.2.1/24 dev first",
    "address add 10.9.9.9/32 dev first",
    "address add 2001:db8:1::1/64 dev first nodad",
    "address add fd00:9::9/128 dev first nodad",
    "route add 10.2.0.0/24 via 192.0.2.254 dev first src 10.9.9.9 table 220 proto static",
    "route add 10.3.0.0/24 dev first table 220 proto static metric 7 tos 4 onlink",
    "route add throw 10.4.0.0/24 table 220",
    "route add 10.5.0.0/24 table 220 proto static nexthop via 192.0.2.253 weight 1 nexthop via 192.0.2.254 weight 2",
    "route add 10.6.0.0/24 dev first table 220 mtu 1400 advmss 1300 window 9000 rto_min 5ms",
    "-6 route add fd00:2::/64 via 2001:db8:1::2 dev first src fd00:9::9 table 220 proto static",
    "-6 route add fd00:3::/64 table 220 proto static nexthop via 2001:db8:1::2 dev first nexthop via 2001:db8:1::3 dev first",
    "nexthop add id 1 via 192.0.2.254 dev first",
    "nexthop add id 0x58464d00 via 2001:db8:1::2 dev first onlink protocol 88",
    "-6 nexthop add id 0x58464d01 dev first protocol 88",
    "nexthop add id 4 group 1",
    "nexthop add id 5 blackhole",
    "-6 route add fd00:4::/64 nhid 0x58464d00 src fd00:9::9 table 220 proto 88",
    "rule add table 220 pref 220",
    "-6 rule add table 220 pref 220",
    "rule add not fwmark 0x1/0xff from 10.0.0.0/8 to 10.2.0.0/24 iif lo ipproto tcp dport 80 lookup 220 pref 221",
    "rule add table 220 pref 222 protocol 88 suppress_prefixlength 0",
    f"{SA} proto esp spi 0x101 reqid 1 mode tunnel {KEYS}",
    f"{SA} proto esp spi 0x102 reqid 1 mode tunnel {AEAD} flag esn replay-window 128 replay-seq-hi 1",
    f"{SA} proto esp spi 0x103 reqid 1 mode transport {KEYS} sel src 10.1.0.0/24 dst 10.2.0.0/24 proto tcp dport 80",
    f"{SA} proto esp spi 0x104 reqid 2 mode beet {KEYS} mark 5 mask 0xff if_id 77 output-mark 3",
    f"{SA} proto esp spi 0x105 reqid 2 mode tunnel {KEYS} encap espinudp 4500 4500 0.0.0.0 tfcpad 9",
    f"{SA} proto esp spi 0x106 mode tunnel {KEYS} limit time-hard 3600 limit byte-soft 1000 ctx system_u:object_r:a_t:s0",
    f"{SA} proto ah spi 0x107 mode tunnel auth-trunc hmac(sha256) {KEY} 128",
    f"{SA} proto comp spi 0x108 mode tunnel comp deflate",
    f"xfrm state add src 2001:db8::1 dst 2001:db8::2 proto esp spi 0x10a mode tunnel {AEAD} mark 1 mask 1",
    "xfrm state allocspi src 192.0.2.1 dst 198.51.100.1 proto esp reqid 3 mode tunnel min 0x200 max 0x300",
    "xfrm state allocspi src 2001:db8::1 dst 2001:db8::2 proto ah mode transport mark 5 mask 7 min 0x200 max 0x300",
    *(f"{POLICY} src 10.1.0.0/24 dst 10.2.0.0/24 dir {dir} priority 371327 {TEMPLATE} proto esp reqid 1 mode tunnel"
      for dir in ("in", "out", "fwd")),
    f"{POLICY} src 10.1.1.0/24 dst 10.2.1.0/24 dir in {TEMPLATE} proto comp reqid 1 mode tunnel level use "
    "tmpl proto esp reqid 1 mode transport",
    f"{POLICY} src 2001:db8:3::/48 dst ::/0 proto udp sport 500 dport 4500 dir out flag icmp {TEMPLATE} proto ah",
    f"{POLICY} src 0.0.0.0/0 dst 0.0.0.0/0 dir out ptype main action block mark 5 mask 0xff if_id 77",
    f"{POLICY} src 10.7.0.0/16 dst 10.8.0.0/16 dev lo dir fwd limit time-hard 3600 limit packet-soft 7",
    f"{POLICY} src 10.7.0.0/16 dst 10.8.0.0/16 dir in ctx system_u:object_r:a_t:s0",
    f"{POLICY} src 10.9.0.0/16 dst 10.8.0.0/16 dir in ptype sub",
)


def change_state():
    ip("xfrm state deleteall spi 0x101", "xfrm policy delete src 10.1.0.0/24 dst 10.2.0.0/24 dir in",
       f"{POLICY} src 10.1.0.0/24 dst 10.2.0.0/24 dir in {TEMPLATE} proto esp reqid 1 mode tunnel",
       "xfrm policy update src 10.1.0.0/24 dst 10.2.0.0/24 dir out action block",
       "xfrm state allocspi src 192.0.2.1 dst 198.51.100.1 proto esp reqid 9 mode tunnel min 0x400 max 0x500",
       f"{SA} proto esp spi 0x101 mode tunnel {KEYS}", "xfrm policy flush", "xfrm state flush")


def enter(netns):
    """Moves into a network namespace of /run/netns."""
    with open(f"/run/netns/{netns}") as file:
        linux.enter(file)


def record_state(recorder):
    """Makes all kinds of state in an empty network namespace, and records it."""
    ip(*STATE)
    record_xfrm(recorder)
    record_routes(recorder)
    record_files(recorder)
    record_events(recorder, change_state)
