# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the kernel's events of all changes of policies, in the order of the changes. After each change, every guarded
key must have a policy that protects or blocks."""

from collections import Counter
from contextlib import suppress

import netlink
from linux import SO_RCVBUFFORCE
from netlink import (ALLOW, ATTRIBUTE_POLICY, MSG_DELPOLICY, MSG_FLUSHPOLICY, MSG_NEWPOLICY, MSG_POLEXPIRE, MSG_UPDPOLICY,
                     POLICIES, Policy)
from tap import equal

RECEIVE_BUFFER = 64 * 1024 * 1024

# Size in bytes of the struct xfrm_userpolicy_id that precedes the attributes of a deletion event.
ID_SIZE = 64


def is_bypass(policy):
    return policy.action == ALLOW and not policy.templates


def of_deletion(body):
    """Returns the index of the policy in a deletion event, which is one of its attributes."""
    return Policy.parse(dict(netlink.attributes(body[ID_SIZE:]))[ATTRIBUTE_POLICY]).index


class Guard:
    """Watches the keys in `guarded` from its creation on. The default is the keys of all policies that protect or
    block."""

    def __init__(self, guarded=None):
        self.sock = netlink.open_socket(POLICIES)
        self.sock.setsockopt(netlink.socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self.sock.setblocking(False)
        self.present = {}
        self.guards = Counter()
        self.open = Counter()       # how often each guarded key was unprotected
        for policy in netlink.policies():
            self.add(policy)
        self.guarded = set(self.guards) if guarded is None else set(guarded)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sock.close()

    def add(self, policy):
        self.present[policy.index] = policy
        if not is_bypass(policy):
            self.guards[policy.key] += 1

    def remove(self, policy):
        del self.present[policy.index]
        if not is_bypass(policy):
            self.lose(policy.key)

    def lose(self, key):
        self.guards[key] -= 1
        if key in self.guarded and not self.guards[key]:
            self.open[key] += 1

    def take(self, kind, body):
        if kind in (MSG_NEWPOLICY, MSG_UPDPOLICY):
            # An update replaces the policy with this index in one step.
            policy = Policy.parse(body)
            before = self.present.pop(policy.index, None)
            self.add(policy)
            if before and not is_bypass(before):
                self.lose(before.key)
        elif kind == MSG_DELPOLICY:
            index = of_deletion(body)
            if index in self.present:
                self.remove(self.present[index])
        elif kind == MSG_FLUSHPOLICY:
            # A flush removes the policies of one type, which is in its attribute.
            for policy in [policy for policy in self.present.values() if policy.ptype == (body[4] if body else 0)]:
                self.remove(policy)
        else:
            # The only other event is MSG_POLEXPIRE, which is ignored.
            equal(kind, MSG_POLEXPIRE, "the type of an event")

    def read(self):
        """Handles the events that have arrived since the last call."""
        with suppress(BlockingIOError):
            while True:
                for kind, message in netlink.messages(self.sock.recv(65536)):
                    self.take(kind, message[16:])

    def check(self, when=""):
        """Checks that no guarded key was unprotected after any change, and that none is now."""
        self.read()
        equal(dict(self.open), {}, f"the policies that nothing stood in for at some moment {when}")
        found = {policy.key for policy in netlink.policies() if not is_bypass(policy)}
        equal(self.guarded - found, set(), f"the policies that nothing stands in for {when}")
