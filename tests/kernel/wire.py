# SPDX-License-Identifier: GPL-2.0-or-later
"""Real packets, which show the kernel's verdict on a flow. The case holds the far ends of the network devices."""

import fcntl
import os
import socket
import struct
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

import xfrm
from linux import checksum
from netlink import family_of
from program import until
from tap import Skip, equal

# linux/if_tun.h
TUNSETIFF, TUNSETPERSIST, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x400454cb, 0x0001, 0x1000

PASSES, PROTECTED, BLOCKED = "passes", "wants an SA", "is blocked"

# The counters that increase when a packet is dropped, and the verdict that each stands for.
VERDICTS = {"XfrmOutPolBlock": BLOCKED, "XfrmInPolBlock": BLOCKED, "XfrmOutNoStates": PROTECTED,
            "XfrmInTmplMismatch": PROTECTED}

PROTOS = {"udp": socket.IPPROTO_UDP, "tcp": socket.IPPROTO_TCP, "icmpv6": socket.IPPROTO_ICMPV6}

# The networks behind the device "lan", and the host's addresses on both devices. All else is behind "uplink".
LAN, LAN_V6 = "10.1.0.0/16", "2001:db8:1::/48"
HOST, HOST_V6 = "10.1.0.1", "2001:db8:1::1"
UPLINK, UPLINK_V6 = "10.8.0.1", "2001:db8:8::1"

MARKER = b"packet %08d"

# Number of attempts. The kernel sometimes sends packets of its own (MLD), which are counted too and may fill a queue.
ATTEMPTS = 5


class Flow(NamedTuple):
    """Packets of one kind. For ICMPv6, `port` is the type."""
    direction: str
    src: str
    dst: str
    proto: str = "udp"
    port: int = 9
    mark: int = 0

    def __str__(self):
        return f"{self.direction} {self.src} → {self.dst} {self.proto} {self.port}" + f" mark {self.mark}" * (
            self.mark != 0)


def host_of(address):
    return HOST_V6 if ":" in address else HOST


def out(dst, *args, src=None, **more):
    """Returns a flow from the host itself."""
    return Flow("out", src or host_of(dst), dst, *args, **more)


def into(src, *args, dst=None, **more):
    """Returns a flow to the host itself."""
    return Flow("in", src, dst or host_of(src), *args, **more)


def through(src, dst, *args, **more):
    """Returns a flow that the host forwards."""
    return Flow("fwd", src, dst, *args, **more)


def same(found, expected, what):
    """Checks the verdicts on flows. The failure shows the flows that differ."""
    differ = {flow for flow in expected if found[flow] != expected[flow]}
    equal({str(flow): found[flow] for flow in differ}, {str(flow): expected[flow] for flow in differ}, what)


def payload_of(flow, marker):
    """Returns the data that a socket of this protocol has to send."""
    return struct.pack("BBHI", flow.port, 0, 0, 0) + marker if flow.proto == "icmpv6" else marker


def packet_of(flow, marker):
    """Returns a packet as it arrives at a device."""
    src, dst = ip_address(flow.src), ip_address(flow.dst)
    proto = PROTOS[flow.proto]
    if flow.proto == "udp":
        body, at = struct.pack("!4H", flow.port, flow.port, 8 + len(marker), 0) + marker, 6
    else:
        body, at = payload_of(flow, marker), 2
    sum_of_all = checksum(src.packed + dst.packed + struct.pack("!II", len(body), proto) + body)
    body = body[:at] + struct.pack("!H", sum_of_all) + body[at + 2:]
    if src.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(body), proto, 255) + src.packed + dst.packed + body
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, proto, 0) + src.packed + dst.packed
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def make_device(name):
    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Skip(f"no network device can be made (module tun): {error.strerror}") from error
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    # The kernel removes the device with its namespace. That takes time, but no case has to wait for it.
    fcntl.ioctl(device, TUNSETPERSIST, 1)
    return device


class Wire:
    """Two network devices, "lan" and "uplink", of a host that forwards between them. The kernel has handled a packet
    when the system call that sends it returns, so that no case has to wait."""

    def __init__(self):
        self.devices = {name: make_device(name) for name in ("lan", "uplink")}
        xfrm.ip("-batch", "-", stdin=f"""
            link set lo up
            link set lan up
            link set uplink up
            address add {HOST}/16 dev lan
            address add {HOST_V6}/48 dev lan nodad
            address add {UPLINK}/24 dev uplink
            address add {UPLINK_V6}/64 dev uplink nodad
            route add default dev uplink
            route add ::/0 dev uplink
        """)
        for setting in ("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/conf/all/rp_filter=0",
                        "ipv4/conf/lan/rp_filter=0", "ipv4/conf/uplink/rp_filter=0"):
            name, value = setting.split("=")
            Path("/proc/sys/net", name).write_text(value)
        # The kernel adds the routes to its own addresses of IPv6 a moment later.
        until(lambda: all(f"{ip_address(address).packed.hex()} 80 " in Path("/proc/net/ipv6_route").read_text()
                          for address in (HOST_V6, UPLINK_V6)), "the host has its addresses")
        self.statistics = open("/proc/net/xfrm_stat")
        self.sockets = {}
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for device in self.devices.values():
            os.close(device)
        for sock in self.sockets.values():
            sock.close()
        self.statistics.close()

    def counters(self):
        """Returns the counters of /proc/net/xfrm_stat."""
        words = os.pread(self.statistics.fileno(), 65536, 0).decode().split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def read(self, name):
        """Returns the next packet that has left by a device. Raises BlockingIOError if there is none."""
        return os.read(self.devices[name], 65536)

    def side(self, address):
        return self.devices["lan" if ip_address(address) in ip_network(LAN_V6 if ":" in address else LAN) else "uplink"]

    def socket(self, flow, address):
        proto = PROTOS[flow.proto]
        port = flow.port if flow.proto == "udp" else 0
        key = (proto, address, port)
        if key not in self.sockets:
            kind = socket.SOCK_DGRAM if flow.proto == "udp" else socket.SOCK_RAW
            self.sockets[key] = sock = socket.socket(family_of(address), kind, proto)
            sock.setblocking(False)
            sock.bind((address, port))
        return self.sockets[key]

    def send(self, flow, marker):
        """Sends a packet. Returns a function that reads the packets that arrive at its destination."""
        if flow.direction == "out":
            sock = self.socket(flow, flow.src)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, flow.mark)
            try:
                sock.sendto(payload_of(flow, marker), (flow.dst, flow.port if flow.proto == "udp" else 0))
            except OSError:
                pass    # the counters show the reason
            return lambda: os.read(self.side(flow.dst), 65536)
        read = self.socket(flow, flow.dst).recv if flow.direction == "in" else None
        os.write(self.side(flow.src), packet_of(flow, marker))
        return (lambda: read(65536)) if read else lambda: os.read(self.side(flow.dst), 65536)

    def attempt(self, flow):
        """Returns the verdict on one packet of this flow, or None if the counters are ambiguous."""
        self.number += 1
        marker = MARKER % self.number
        before = self.counters()
        read = self.send(flow, marker)
        try:
            while marker not in read():
                pass    # the kernel's own packets
        except BlockingIOError:
            pass
        else:
            return PASSES
        moved = [name for name, count in self.counters().items() if count > before[name]]
        return VERDICTS[moved[0]] if len(moved) == 1 else None

    def verdict(self, flow):
        """Returns the current verdict on packets of this flow."""
        for _ in range(ATTEMPTS):
            if verdict := self.attempt(flow):
                return verdict
        raise AssertionError(f"what became of {flow} is unknown: {self.counters()}")

    def verdicts(self, flows):
        return {flow: self.verdict(flow) for flow in flows}
