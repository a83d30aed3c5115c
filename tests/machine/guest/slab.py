# SPDX-License-Identifier: GPL-2.0-or-later
"""What XFRM holds of the kernel's memory: objects in its slab caches."""

import re
from collections import Counter
from pathlib import Path

from command import run

CACHES = Path("/sys/kernel/slab")

# SAs, and packets' routes through them. Policies have no cache of their own.
OWN = re.compile(r"xfrm_(state|dst)")

# More than anything else takes, or gives back, at the same time.
POLICIES = 1000


def name_of(cache):
    """Newer kernels spread allocations over copies of each general cache."""
    return re.sub(r"^kmalloc-rnd-\d+", "kmalloc", cache)


def objects():
    """Objects in use, by cache. What a processor keeps for itself would count, so it has to give that back first."""
    for cache in CACHES.iterdir():
        if OWN.match(cache.name) or cache.name.startswith("kmalloc-"):
            (cache / "shrink").write_text("1")
    found = Counter()
    for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
        cache, used = line.split()[:2]
        found[name_of(cache)] += int(used)
    return found


def change_policies(verb, netns):
    run("ip", "-batch", "-", netns=netns, stdin="".join(
        f"xfrm policy {verb} src 10.200.0.1 dst 10.201.{i >> 8}.{i & 255} dir out\n" for i in range(POLICIES)))


def of_xfrm():
    """Names of XFRM's own caches."""
    return sorted(cache.name for cache in CACHES.iterdir() if OWN.match(cache.name))


def of_policies(netns):
    """Names of the caches that grow with policies, of which this network namespace has none."""
    before = objects()
    change_policies("add", netns)
    grown = objects() - before
    change_policies("delete", netns)
    return sorted(name for name, count in grown.items() if count >= POLICIES / 2)
