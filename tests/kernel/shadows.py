# SPDX-License-Identifier: GPL-2.0-or-later
"""Expected shadows and kept policies."""

from netlink import ATTRIBUTE_OFFLOAD, ATTRIBUTE_TEMPLATES, BLOCK, INFINITE, policies
from tags import ADJACENT, EXPIRING, HOLD, KEPT

BEHIND = 0x80000000

# Time after which the kernel removes a kept policy, in seconds.
KEPT_SECONDS = 300


def shadow_of(policy, user=HOLD, seconds=0, **more):
    """Returns the shadow that a policy gets if there is a priority left behind all policies."""
    without = {kind: data for kind, data in policy.attributes.items()
               if kind not in (ATTRIBUTE_TEMPLATES, ATTRIBUTE_OFFLOAD)}
    wanted = {"user": user, "lifetime": (policy.priority, INFINITE, 0, 0, 0, seconds, 0, 0), "attributes": without,
              "priority": policy.priority | BEHIND, "action": BLOCK if policy.templates else policy.action}
    return policy._replace(**wanted | more)


def kept_policy_of(policy, **more):
    """Returns the kept policy that takes the place of a policy."""
    without = {kind: data for kind, data in policy.attributes.items() if kind != ATTRIBUTE_OFFLOAD}
    return policy._replace(**{"user": KEPT, "attributes": without, "lifetime": (INFINITE,) * 4 + (0, KEPT_SECONDS, 0, 0)} | more)


def make_shadow(policy, *args, **more):
    shadow_of(policy, *args, **more).add()


def shadows(*users):
    """Returns the policies in the kernel that have one of these tags, by default all shadows."""
    return [policy for policy in policies() if policy.user in (users or (HOLD, EXPIRING, ADJACENT))]


def real_policies():
    return [policy for policy in policies() if policy.user == 0]
