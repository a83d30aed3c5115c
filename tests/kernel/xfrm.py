# SPDX-License-Identifier: GPL-2.0-or-later
"""Creates XFRM state in the current network namespace and reads it back with `ip xfrm`."""

import os
import re
import socket
import subprocess

import netlink
from tap import Skip, equal

FILL = os.environ["FILL"]

# Each policy has a priority of its own, and each SA an SPI of its own, by which tests recognize them.
FIRST_PRIORITY = 1000
FIRST_SPI = 0x1000


def ip(*words, stdin=""):
    done = subprocess.run(["ip", *words], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr or done.stdout}"
    return done.stdout


def clear():
    netlink.flush_policies()
    netlink.flush_sas()


def add_policies(*policies):
    ip("-batch", "-", stdin="".join(f"xfrm policy add {policy}\n" for policy in policies))


def add_sa(arguments):
    """Adds an SA with keys, compression or a security context. Skips the case if the kernel does not support it."""
    done = subprocess.run(["ip", "xfrm", "state", "add", *arguments.split()], capture_output=True, text=True,
                          check=False)
    # An argument that `ip` itself rejects is a mistake of the test.
    assert "argument" not in done.stderr.split("\n")[0] or "Invalid argument" in done.stderr, done.stderr
    if done.returncode != 0:
        raise Skip(f"this kernel takes no such SA: {done.stderr.strip()}")


def policy_lines():
    """Returns a line for each policy, including those of sockets."""
    return ip("-o", "-d", "xfrm", "policy").splitlines()


def sa_lines():
    return ip("-o", "-d", "xfrm", "state").splitlines()


def numbers(lines, name):
    """Returns the number behind a name in each line. Each line must have one."""
    return [int(re.search(rf"\b{name} (0x[0-9a-f]+|\d+)", line)[1], 0) for line in lines]


def counts():
    """Returns the number of policies, except those of sockets, and the number of SAs."""
    policies = re.search(r"IN +(\d+) OUT +(\d+) FWD +(\d+)", ip("xfrm", "policy", "count"))
    return sum(map(int, policies.groups())), int(ip("xfrm", "state", "count").split()[-1])


def fill(kind, count):
    subprocess.run([FILL, kind, str(count)], check=True)


def has_sub_policies():
    policy = ["src", "0.0.0.0/0", "dst", "0.0.0.0/0", "dir", "out", "ptype", "sub"]
    if subprocess.run(["ip", "xfrm", "policy", "add", *policy], capture_output=True, check=False).returncode != 0:
        return False
    ip("xfrm", "policy", "delete", *policy)
    return True


class State:
    """Policies and SAs by name: {name: arguments of `ip xfrm policy add`}, {name: arguments of allocate_spi()}. No name
    is used twice."""

    def __init__(self, policies=None, sas=None):
        self.priorities = dict(enumerate(policies or {}, FIRST_PRIORITY))
        self.spis = dict(enumerate(sas or {}, FIRST_SPI))
        add_policies(*(f"{arguments} priority {priority}"
                       for priority, arguments in zip(self.priorities, (policies or {}).values())))
        for spi, arguments in zip(self.spis, (sas or {}).values()):
            netlink.allocate_spi(spi=spi, **arguments)
        self.lines = self.read()
        equal(sorted(self.lines), sorted([*self.priorities.values(), *self.spis.values()]), "what was made")

    def read(self):
        policies, sas = policy_lines(), sa_lines()
        lines = {self.priorities[priority]: line for priority, line in zip(numbers(policies, "priority"), policies)}
        lines |= {self.spis[spi]: line for spi, line in zip(numbers(sas, "spi"), sas)}
        equal(len(lines), len(policies) + len(sas), "the number of entries")
        return lines

    def names(self):
        return set(self.lines)

    def expect(self, *names):
        """Checks that exactly these entries are left, each as it was made."""
        lines = self.read()
        equal(sorted(lines), sorted(names), "what is left")
        equal(lines, {name: self.lines[name] for name in names}, "what is left")

    def expect_untouched(self):
        self.expect(*self.lines)


def a_few():
    """Creates a few policies and SAs of different kinds, for cases that are not about selection."""
    esp = "proto esp reqid 1 mode tunnel"
    return State(
        policies={
            "out": f"src 10.1.0.0/16 dst 10.2.0.0/16 dir out tmpl src 192.0.2.1 dst 192.0.2.2 {esp}",
            "in": f"src 10.2.0.0/16 dst 10.1.0.0/16 dir in tmpl src 192.0.2.2 dst 192.0.2.1 {esp}",
            "v6": "src 2001:db8:1::/48 dst 2001:db8:2::/48 dir fwd",
        },
        sas={
            "esp": {"src": "192.0.2.1", "dst": "192.0.2.2", "reqid": 1},
            "v6 ah": {"src": "2001:db8::1", "dst": "2001:db8::2", "proto": "ah", "reqid": 2},
        },
    )


def make_uplink():
    """Creates a network device with routes to 10.9.0.0/16 and 2001:db8:9::/48. No host receives its packets."""
    done = subprocess.run(["ip", "link", "add", "uplink", "type", "veth", "peer", "name", "far-end"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skip(f"no network device can be made: {done.stderr.strip()}")
    ip("-batch", "-", stdin="""
        address add 10.8.0.1/24 dev uplink
        address add 2001:db8:8::1/64 dev uplink nodad
        link set uplink up
        link set far-end up
        route add 10.9.0.0/16 via 10.8.0.2
        route add 2001:db8:9::/48 via 2001:db8:8::2
    """)


def acquire(*destinations, mark=0):
    """Creates a larval SA without SPI for each destination, as the kernel does: by a packet whose policy needs an SA
    that does not exist."""
    with netlink.open_socket(netlink.ACQUIRES) as daemon:
        for destination in destinations:
            with socket.socket(netlink.family_of(destination), socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
                sender.setblocking(False)
                try:
                    sender.sendto(b"x", (destination, 9))
                except BlockingIOError:
                    pass    # the packet has to wait for its SA
                daemon.recv(65536)
