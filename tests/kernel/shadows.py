# SPDX-License-Identifier: GPL-2.0-or-later
"""Shadows, as they are to be."""

from netlink import ATTRIBUTE_OFFLOAD, ATTRIBUTE_TEMPLATES, BLOCK, INFINITE, policies
from tags import CLOSE, GRACE, HOLD, KEEP

BEHIND = 0x80000000

# For how long kept shadows stand at most.
KEPT_SECONDS = 300


def shadow_of(policy, user=HOLD, seconds=0, **more):
    """The shadow that this policy gets when there is room behind all policies."""
    without = {kind: data for kind, data in policy.attributes.items()
               if kind not in (ATTRIBUTE_TEMPLATES, ATTRIBUTE_OFFLOAD)}
    wanted = {"user": user, "lifetime": (policy.priority, INFINITE, 0, 0, 0, seconds, 0, 0), "attributes": without,
              "priority": policy.priority | BEHIND, "action": BLOCK if policy.templates else policy.action}
    return policy._replace(**wanted | more)


def kept_shadow_of(policy, **more):
    """The kept shadow that this policy gets in its place."""
    without = {kind: data for kind, data in policy.attributes.items() if kind != ATTRIBUTE_OFFLOAD}
    return policy._replace(**{"user": KEEP, "attributes": without, "lifetime": (INFINITE,) * 4 + (0, KEPT_SECONDS, 0, 0)} | more)


def make_shadow(policy, *args, **more):
    shadow_of(policy, *args, **more).add()


def shadows(*users):
    """The shadows that are there; those with these tags."""
    return [policy for policy in policies() if policy.user in (users or (HOLD, GRACE, CLOSE))]


def real_policies():
    return [policy for policy in policies() if policy.user == 0]
