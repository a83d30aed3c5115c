# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes XFRM state in the present network namespace and reads it back with `ip xfrm`."""

import os
import re
import socket
import subprocess

import netlink
from tap import Skip, equal

FILL = os.environ["FILL"]

# What keeps entries apart: a priority of its own for each policy, an SPI of its own for each SA.
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
    """An SA with keys, compression, or a security context, which not every kernel has."""
    done = subprocess.run(["ip", "xfrm", "state", "add", *arguments.split()], capture_output=True, text=True,
                          check=False)
    # What `ip` itself does not understand is the test's mistake.
    assert "argument" not in done.stderr.split("\n")[0] or "Invalid argument" in done.stderr, done.stderr
    if done.returncode != 0:
        raise Skip(f"this kernel takes no such SA: {done.stderr.strip()}")


def policy_lines():
    """One line for each policy, those of sockets included."""
    return ip("-o", "-d", "xfrm", "policy").splitlines()


def sa_lines():
    return ip("-o", "-d", "xfrm", "state").splitlines()


def numbers(lines, name):
    """The number behind a name in each line, which must have one."""
    return [int(re.search(rf"\b{name} (0x[0-9a-f]+|\d+)", line)[1], 0) for line in lines]


def counts():
    """How many policies (but those of sockets) and how many SAs there are."""
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
    """Policies and SAs by name, no two with the same: {name: arguments of `ip xfrm policy add`}, {name: arguments of
    allocate_spi()}."""

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
        """These are left, every one as it was made, and nothing else."""
        lines = self.read()
        equal(sorted(lines), sorted(names), "what is left")
        equal(lines, {name: self.lines[name] for name in names}, "what is left")

    def expect_untouched(self):
        self.expect(*self.lines)


def a_few():
    """A little of everything, for cases that are not about what is selected."""
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
    """A network device with routes to 10.9.0.0/16 and 2001:db8:9::/48, whose packets come to nothing."""
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
    """Makes a larval SA without SPI for each destination as the kernel does: by a packet for which a policy wants an SA
    that is not there."""
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
