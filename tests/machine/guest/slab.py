# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the objects of XFRM in the kernel's slab caches."""

import re
from collections import Counter
from pathlib import Path

from command import run

CACHES = Path("/sys/kernel/slab")

# XFRM's own caches: of SAs, and of packets' routes through SAs. Policies have no cache of their own.
OWN = re.compile(r"xfrm_(state|dst)")

# Number of policies to add: more objects than other users allocate or free at the same time.
POLICIES = 1000


def name_of(cache):
    """Returns the name of a cache without the number of its copy: newer kernels have copies of each general cache."""
    return re.sub(r"^kmalloc-rnd-\d+", "kmalloc", cache)


def objects():
    """Returns the number of objects in use, by cache. Shrinks the caches first, since free objects on the processors'
    own lists would count too."""
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
    """Returns the names of XFRM's own caches."""
    return sorted(cache.name for cache in CACHES.iterdir() if OWN.match(cache.name))


def of_policies(netns):
    """Returns the names of the caches that grow when policies are added. The network namespace must have no
    policies."""
    before = objects()
    change_policies("add", netns)
    grown = objects() - before
    change_policies("delete", netns)
    return sorted(name for name, count in grown.items() if count >= POLICIES / 2)
