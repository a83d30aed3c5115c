# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures status beside a charon that knows 1,000, 10,000 and 100,000 SAs, and as many policies.

charon is a server of the kernel suite. The SAs are larval, because this makes them fast; status compares their SPIs as
those of others."""

import ipaddress
import tempfile
from pathlib import Path

import sandbox
import xfrm
from bench import XFRMCTL, Benchmark, conclude, step
from vici_server import Server, event, response

SIZES = (1_000, 10_000)
LARGE = 100_000
ROUNDS = 3
LINEAR = 2
CHILDREN_EACH = 100
NAME = "status"


def address(network, number):
    return str(ipaddress.ip_address(network) + number)


def child(number, spis):
    """Returns a CHILD_SA, which has two SAs and three policies between two addresses."""
    return {"name": "site", "uniqueid": str(number + 1), "reqid": str(number + 1), "state": "INSTALLED",
            "mode": "TUNNEL", "protocol": "ESP", "spi-in": spis[0], "spi-out": spis[1], "install-time": "60",
            "local-ts": [address("10.0.0.0", number) + "/32"], "remote-ts": [address("11.0.0.0", number) + "/32"]}


def fill(size):
    """Adds SAs and policies to the present namespace. Returns charon's answers about them."""
    xfrm.clear()
    children = size // 2
    xfrm.fill("sas", size)
    spis = [line.split("spi 0x")[1][:8] for line in xfrm.sa_lines() if "spi 0x" in line]
    policies = [(src, dst, way) for number in range(size // 3)
                for src, dst, way in ((address("10.0.0.0", number), address("11.0.0.0", number), "out"),
                                      (address("11.0.0.0", number), address("10.0.0.0", number), "in"),
                                      (address("11.0.0.0", number), address("10.0.0.0", number), "fwd"))]
    xfrm.add_policies(*(f"src {src}/32 dst {dst}/32 dir {way} tmpl proto esp mode tunnel" for src, dst, way in policies))
    sas = [child(number, spis[2 * number:2 * number + 2]) for number in range(children)]
    # A third of the SAs have no policies of their own: three policies come with two SAs.
    for sa in sas[size // 3:]:
        del sa["local-ts"], sa["remote-ts"]
    events = [{"site": {"child-sas": {f"site-{sa['uniqueid']}": sa for sa in sas[first:first + CHILDREN_EACH]}}}
              for first in range(0, children, CHILDREN_EACH)]
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
    bench.goal_of_growth(NAME, (*SIZES, LARGE), LINEAR)
    least, most = (bench.median(NAME, str(size), what="maxrss_kib") for size in (0, LARGE))
    bench.goal("resident size, in bytes for each SA and policy", (most - least) * 1024 / LARGE, 512,
               f"{least:.0f} KiB at none, {most:.0f} KiB at {LARGE:,}")
    conclude(bench)


main()
