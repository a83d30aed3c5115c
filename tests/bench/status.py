# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures status beside a charon that knows 1,000, 10,000 and 100,000 SAs, and as many policies.

A server of the kernel suite answers for charon. The kernel has larval SAs, and status compares their SPIs like those of
others. The time to create them grows with the square of their number, so the kernel has at most 10,000. According to
charon, its other SAs are being rekeyed: status reads and sorts them, and does not report them as missing."""

import ipaddress
import tempfile
from pathlib import Path

import sandbox
import xfrm
from bench import XFRMCTL, Benchmark, conclude, milliseconds, step
from vici_server import Server, event, response

SIZES = (1_000, 10_000)
LARGE = 100_000
ROUNDS = 3
LINEAR = 2
CHILDREN_EACH = 100
SAS_MAX = 10_000
NAME = "status"


def address(network, number):
    return str(ipaddress.ip_address(network) + number)


def child(number, **keys):
    """Returns a CHILD_SA as charon lists it."""
    return {"name": "site", "uniqueid": str(number + 1), "reqid": str(number + 1), "state": "INSTALLED",
            "mode": "TUNNEL", "protocol": "ESP", "install-time": "60"} | keys


def children(size, spis):
    """Returns CHILD_SAs with `size` policies, and others with as many SAs. The first SAs have these SPIs."""
    for number in range(size // 3):
        yield child(number, **{"local-ts": [address("10.0.0.0", number) + "/32"],
                               "remote-ts": [address("11.0.0.0", number) + "/32"]})
    for number in range(0, size, 2):
        there = number + 1 < len(spis)
        ours = spis[number:number + 2] if there else [f"f{number:07x}", f"f{number + 1:07x}"]
        yield child(size + number, **{"spi-in": ours[0], "spi-out": ours[1]},
                    **({} if there else {"state": "REKEYING"}))


def fill(size):
    """Adds SAs and policies to the current network namespace. Returns charon's answers about them, and the number of
    policies."""
    xfrm.clear()
    if size:
        xfrm.fill("sas", min(size, SAS_MAX))
    spis = [line.split("spi 0x")[1][:8] for line in xfrm.sa_lines() if "spi 0x" in line]
    policies = [(src, dst, way) for number in range(size // 3)
                for src, dst, way in ((address("10.0.0.0", number), address("11.0.0.0", number), "out"),
                                      (address("11.0.0.0", number), address("10.0.0.0", number), "in"),
                                      (address("11.0.0.0", number), address("10.0.0.0", number), "fwd"))]
    xfrm.add_policies(*(f"src {src}/32 dst {dst}/32 dir {way} tmpl proto esp mode tunnel" for src, dst, way in policies))
    sas = list(children(size, spis))
    events = [{"site": {"child-sas": {f"site-{sa['uniqueid']}": sa for sa in sas[first:first + CHILDREN_EACH]}}}
              for first in range(0, len(sas), CHILDREN_EACH)]
    conns = [{"site": {"remote_addrs": ["192.0.2.2"], "children": {"site": {"mode": "TUNNEL"}}}}]
    return {"version": {"daemon": "charon", "version": "1"}, "stats": {"ikesas": {"total": str(len(events))}},
            "list-sas": b"".join(event("list-sa", message) for message in events) + response({}),
            "list-conns": event("list-conn", conns[0]) + response({}), "get-conns": {"conns": ["site"]},
            "list-policies": response({})}, len(policies)


def measure(bench, size):
    sandbox.new_network()
    with tempfile.TemporaryDirectory() as folder:
        answers, n_policies = fill(size)
        with Server(Path(folder) / "vici", answers) as server:
            for _ in range(ROUNDS):
                bench.measure(NAME, str(size), size, [XFRMCTL, "-q", "status", f"--socket={server.path}"], n_policies)


def main():
    bench = Benchmark("hosts")
    step("status (two minutes)")
    for size in (0, *SIZES, LARGE):
        measure(bench, size)
    # The time on a processor, because charon's server takes part of the time that passes.
    start, *times = (bench.median(NAME, str(size), what="cpu_nanoseconds") for size in (0, *SIZES, LARGE))
    each = [(time - start) / size for time, size in zip(times, (*SIZES, LARGE))]
    bench.goal("growth of the time on a processor per SA and policy", max(each[1:]) / each[0], LINEAR,
               ", ".join(f"{nanoseconds / 1000:.2f} µs at {size:,}" for nanoseconds, size in
                         zip(each, (*SIZES, LARGE))) + f" (start of {milliseconds(start)} not counted)")
    least, most = (bench.median(NAME, str(size), what="maxrss_kib") for size in (0, LARGE))
    bench.goal("resident size, in bytes for each SA and policy", (most - least) * 1024 / LARGE, 512,
               f"{least:.0f} KiB at none, {most:.0f} KiB at {LARGE:,}")
    conclude(bench)


main()
