# SPDX-License-Identifier: GPL-2.0-or-later
"""--routes of flush, arm and release: the static routes in charon's table, and nothing else."""

import errno
import json
import os
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import linux
import sandbox
import vici_server
import xfrm
from cases import case, cases, main
from daemon import GROUPS_OF_CHARON, process
from program import Fault, Steps, arm, flush, hold, release, run, until, xfrmctl_with
from routing import (DELROUTE, DELRULE, GETROUTE, NEWROUTE, NEWRULE, BACKUP, STATIC, add, batch, listed, of_protocol,
                     rules, without)
from tap import Skip, contains, equal
from vici_server import HANG_UP, Stream

# charon's routes by the name of their kind, as arguments of `ip route add`, without proto static table 220.
ROUTES = {
    "IPv4": "10.2.0.0/24 via 10.8.0.2 dev uplink src 10.1.0.1",
    "MTU": "10.2.1.0/24 via 10.8.0.2 dev uplink src 10.1.0.1 mtu 1300 advmss 1200",
    "no gateway": "10.2.2.0/24 dev uplink src 10.1.0.1",
    "everything": "0.0.0.0/0 via 10.8.0.2 dev uplink src 10.1.0.3",
    "an address": "10.2.3.4/32 via 10.8.0.2 dev uplink src 10.1.0.1",
    "not reachable itself": "10.2.4.0/24 via 10.99.0.1 dev uplink onlink src 10.1.0.1",
    "TOS": "10.2.5.0/24 tos 0x10 via 10.8.0.2 dev uplink src 10.1.0.1",
    "metric": "10.2.6.0/24 metric 7 via 10.8.0.2 dev uplink src 10.1.0.1",
    "two hops": "10.2.7.0/24 src 10.1.0.1 nexthop via 10.8.0.2 dev uplink weight 3 "
                "nexthop via 10.8.0.3 dev uplink weight 1",
    "bypass": "throw 10.3.0.0/24",
}
ROUTES6 = {
    "IPv6": "fd00:2::/64 via 2001:db8:8::2 dev uplink src fd00:1::1",
    "IPv6, no gateway": "fd00:2:0:1::/64 dev uplink src fd00:1::1",
    "IPv6, metric": "fd00:2:0:2::/64 via 2001:db8:8::2 dev uplink src fd00:1::1 metric 7",
    "IPv6, two hops": "fd00:2:0:3::/64 src fd00:1::1 nexthop via 2001:db8:8::2 dev uplink weight 1 "
                      "nexthop via 2001:db8:8::3 dev uplink weight 1",
    "IPv6, bypass": "throw fd00:3::/64",
}
NUMBER = len(ROUTES) + len(ROUTES6)

# Destinations, and the sources that the tables have to give packets to them.
SOURCES = {
    "10.2.0.9": "10.1.0.1", "10.2.1.9": "10.1.0.1", "10.2.2.9": "10.1.0.1", "10.2.3.4": "10.1.0.1",
    "10.2.4.9": "10.1.0.1",
    "10.2.6.9": "10.1.0.1", "10.2.7.9": "10.1.0.1", "10.77.0.1": "10.1.0.3", "fd00:2::9": "fd00:1::1",
    "fd00:2:0:1::9": "fd00:1::1", "fd00:2:0:2::9": "fd00:1::1", "fd00:2:0:3::9": "fd00:1::1",
}

# Routes that no verb may change: with other protocols in the table, and in other tables.
OTHERS = [
    "route add 10.4.0.0/24 dev uplink proto boot table 220",
    "route add 10.5.0.0/24 dev uplink proto bird table 220",
    "route add 10.2.0.0/24 dev uplink proto static table 221",
    "route add 10.2.0.0/24 dev uplink proto static metric 9",
    "route add fd00:4::/64 dev uplink proto boot table 220",
    "route add fd00:2::/64 dev uplink proto static table 221",
    "route add fd00:2::/64 dev uplink proto static metric 9",
]


def make_link():
    xfrm.make_uplink()
    batch("link set lo up", "address add 10.1.0.1/24 dev uplink", "address add 10.1.0.3/24 dev uplink",
          "address add fd00:1::1/64 dev uplink nodad",
          "rule add pref 220 table 220", "rule add from ::/0 pref 220 table 220")


def make(others=True):
    make_link()
    add(*ROUTES.values(), *ROUTES6.values())
    if others:
        batch(*OTHERS)
    return listed()


def not_ours():
    return [line for line in listed() if not ("table 220" in line and (STATIC in line or BACKUP in line))]


def sources():
    found = {}
    for destination in SOURCES:
        answer = xfrm.ip("-o", "route", "get", destination)
        found[destination] = re.search(r"\bsrc (\S+)", answer)[1]
    return found


def charon_ends():
    """Makes the changes of charon when it ends: it removes its rules, and its routes by destination and protocol
    alone."""
    batch("rule del pref 220 table 220", "rule del from ::/0 pref 220 table 220")
    for route in (*ROUTES.values(), *ROUTES6.values()):
        words = route.split()
        destination = words[1] if words[0] == "throw" else words[0]
        batch(f"route del {destination} {'tos 0x10' if 'tos' in words else ''} proto static table 220")


@case
def flushes():
    """flush --routes removes the static routes of table 220, IPv4 and IPv6, and nothing else."""
    make()
    before = not_ours()
    result = flush("--routes")
    assert re.fullmatch(rf"Removed 0 SAs, 0 policies and {NUMBER} routes in \d+\.\d+ ms\.\n", result.out), result.out
    equal((result.err, listed()), ("", before), "errors, and what is left")


@case
def left_alone():
    """Without --routes, no verb changes a route."""
    before = make()
    for words in ((), ("--hold",)):
        equal(flush(*words).out, "Nothing to remove.\n", "output")
    release()
    equal(listed(), before, "the routes")


@cases([("221", 221), ("0xdd", 221), ("1", 1), ("252", 252), ("256", 256), ("4294967295", 2**32 - 1), ("0220", 220)])
def other_table(text, table):
    """--routes={0} applies to that table alone."""
    make_link()
    add(*ROUTES.values(), *ROUTES6.values(), table=table)
    batch("route add 10.2.0.0/24 dev uplink proto static table 199")
    before = listed(199)
    contains(flush(f"--routes={text}").out, f" and {NUMBER} routes in ")
    equal((listed(table), listed(199)), ([], before), "what is left")


@cases([("--routes=253", "table 253 (default) is the system's"), ("--routes=254", "table 254 (main) is the system's"),
        ("--routes=0xff", "table 255 (local) is the system's"),
        ("--routes=0", "'0' is not the number of a routing table"),
        ("--routes=", "'' is not the number"), ("--routes=main", "'main' is not the number"),
        ("--routes=220x", "'220x' is not the number"), ("--routes=-1", "'-1' is not the number"),
        ("--routes=4294967296", "'4294967296' is not the number"), ("--routes= 220", "' 220' is not the number")])
def refused_table(option, sentence):
    """No verb accepts {0}, and nothing changes."""
    before = make()
    for verb in (flush, release):
        result = verb(option, status=2)
        contains(result.err, f"xfrmctl: --routes: {sentence}")
    equal(listed(), before, "the routes")


@case
def nothing_there():
    """If the table does not exist, and no rule names it, there is no error."""
    for words in (("--routes",), ("--hold", "--routes"), ("--routes=4711",), ("--dry-run", "--routes")):
        equal(flush(*words), (0, "Nothing to remove.\n", ""), f"flush {words}")
    for words in (("--routes",), ("--routes", "--grace=5min")):
        equal(release(*words), (0, "No shadows.\n", ""), f"release {words}")


@case
def not_selected():
    """With --force and a selection, the routes stay, because they may belong to others."""
    before = make()
    flush("--routes", "--force", "--match=reqid=7")
    equal(listed(), before, "the routes")
    flush("--routes", "--match=reqid=7")
    equal(of_protocol(STATIC), [], "the routes without --force")


@case
def owned():
    """Beside a running key manager, no route is removed."""
    before = make()
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        flush("--routes", status=3)
        hold("--routes", status=3)
    equal(listed(), before, "the routes")


@case
def dry_run_text():
    """--dry-run lists the routes and leaves them."""
    before = make()
    lines = flush("--dry-run", "--routes").out.splitlines()
    equal(lines[-1], f"Would remove 0 SAs, 0 policies and {NUMBER} routes.", "the last line")
    for line in ("route 10.2.0.0/24 via 10.8.0.2 dev uplink src 10.1.0.1 table 220",
                 "route fd00:2::/64 via 2001:db8:8::2 dev uplink src fd00:1::1 metric 1024 table 220",
                 "route throw 10.3.0.0/24 table 220", "route 0.0.0.0/0 via 10.8.0.2 dev uplink src 10.1.0.3 table 220"):
        assert line in lines, (line, lines)
    equal((len(lines), listed()), (NUMBER + 1, before), "how many lines, and the routes")


@case
def dry_run_json():
    """--dry-run --json lists the routes; with --hold, it lists no backup routes."""
    make(others=False)
    found = json.loads(flush("--dry-run", "--json", "--routes").out)
    equal(found["counts"], {"policies": 0, "sas": 0, "routes": NUMBER}, "the counts")
    assert {"type": "unicast", "dst": "10.2.0.0/24", "gateway": "10.8.0.2", "dev": "uplink", "table": 220,
            "protocol": "static", "prefsrc": "10.1.0.1"} in found["routes"], found
    equal("routes" in json.loads(flush("--dry-run", "--json").out), False, "without --routes")
    hold("--routes")
    equal({route["protocol"] for route in json.loads(flush("--dry-run", "--json", "--routes").out)["routes"]}, {"88"},
          "backup routes")
    equal(json.loads(hold("--dry-run", "--json", "--routes").out)["routes"], [], "what a hold would exchange")


def as_ip_has_it(route, which):
    """Returns the members of a route of `ip -j` that xfrmctl has too. xfrmctl gives the table as a number. It always
    gives the prefix, also of a default route, because its list has both families. The device of a route that is not
    unicast is left out."""
    length = {"-4": "/32", "-6": "/128"}[which]
    default = {"-4": "0.0.0.0/0", "-6": "::/0"}[which]
    dst = route["dst"]
    found = {name: route[name] for name in ("type", "gateway", "dev", "protocol", "prefsrc", "metric") if name in route}
    if found["type"] != "unicast":
        found.pop("dev", None)
    # `ip` gives no device for a route with several next hops. xfrmctl gives the device of the first next hop.
    for hop in route.get("nexthops", [])[:1]:
        found["dev"] = hop["dev"]
    return found | {"dst": default if dst == "default" else dst if "/" in dst else dst + length,
                    "table": int(route["table"])}


@cases([("flush --dry-run", ""), ("flush --dry-run of backup routes", "--hold"), ("status", "")])
def json_as_ip(words, before):
    """In the JSON of {0}, a route has the names and values of `ip -j route`."""
    make(others=False)
    add("blackhole 10.6.0.0/24", "unreachable fd00:6::/64")
    if before:
        flush(before, "--routes")
    shown = [as_ip_has_it(route, which) for which in ("-4", "-6")
             for route in json.loads(xfrm.ip("-j", "-d", which, "route", "show", "table", "all"))
             if route["table"] == "220"]
    if words == "status":
        found = json.loads(run("status", "--json", "--socket=/nonexistent").out)["routes"]["left_over"]
        for route in found:
            equal(route.pop("explained"), False, "whether it is explained")
            route.pop("stale_address_on", None)
    else:
        found = json.loads(flush("--dry-run", "--json", "--routes").out)["routes"]
    for route in found:
        if route["type"] != "unicast":
            route.pop("dev", None)

    def in_order(routes):
        return sorted(routes, key=lambda route: sorted((name, str(value)) for name, value in route.items()))
    equal(in_order(found), in_order(shown), "routes")


@case
def holds():
    """flush --hold --routes replaces each static route by a backup route, which differs in protocol and metric."""
    make()
    before, originals, found = not_ours(), of_protocol(STATIC), sources()
    equal({name: found[name] for name in SOURCES}, SOURCES, "the sources before")
    result = hold("--routes")
    contains(result.out, f"Removed 0 SAs, 0 policies and {NUMBER} routes in ",
             f"; {NUMBER} backup routes are in place.\n")
    backups = of_protocol(BACKUP)
    equal((without(backups), of_protocol(STATIC)), (without(originals), []), "backup routes, and static routes")
    metrics = sorted({int(re.search(r"metric (\d+)", line)[1]) for line in backups})
    equal(metrics, [2**31, 2**31 + 7, 2**31 + 1024], "their metrics")
    equal((not_ours(), sources()), (before, found), "the other routes, and the sources")


@case
def holds_twice():
    """A second hold changes nothing, and reports the backup routes."""
    make()
    hold("--routes")
    before = listed()
    equal(hold("--routes").out, f"Nothing to remove; {NUMBER} backup routes are in place.\n", "output")
    equal(listed(), before, "the routes")


@case
def each_instant():
    """At no instant of a hold is a source missing; after a kill, a second hold completes it."""
    make()
    expected = sources()
    hold("--routes")
    complete = of_protocol(BACKUP)
    for stop in range(2 * NUMBER):
        flush("--routes")
        add(*ROUTES.values(), *ROUTES6.values())
        changes = 0
        with Steps("flush", "--hold", "--routes") as steps:
            for kind in steps:
                changes += kind in (NEWROUTE, DELROUTE)
                # It is enough to check each instant of one run.
                if stop == 0 or changes == stop:
                    equal(sources(), expected, f"the sources behind change {changes}")
                if changes == stop != 0:
                    steps.kill()
                    break
        hold("--routes")
        equal((of_protocol(BACKUP), of_protocol(STATIC)), (complete, []), f"backup routes and routes, killed at {stop}")
        if stop == 0:
            assert changes == 2 * NUMBER, changes


@case
def newer_source():
    """A route of the new instance replaces the backup route of the previous instance."""
    make_link()
    batch("address add 10.1.0.2/24 dev uplink")
    add(ROUTES["IPv4"], ROUTES6["IPv6"])
    hold("--routes")
    add(ROUTES["IPv4"].replace("10.1.0.1", "10.1.0.2"))
    contains(hold("--routes").out, " and 1 route in ", "; 2 backup routes are in place.")
    [line] = [line for line in of_protocol(BACKUP) if line.startswith("unicast 10.2.0.0/24")]
    contains(line, "src 10.1.0.2")


@case
def appended():
    """Of routes with the same metric, the first one gets a backup route; all are removed."""
    make_link()
    add("10.2.0.0/24 via 10.8.0.2 dev uplink src 10.1.0.1")
    add("10.2.0.0/24 via 10.8.0.3 dev uplink src 10.1.0.1", verb="append")
    contains(hold("--routes").out, " and 2 routes in ", "; 1 backup route is in place.")
    equal((len(of_protocol(BACKUP)), of_protocol(STATIC)), (1, []), "backup routes and routes")


@case
def charon_takes_over():
    """A charon that starts adds its own route beside the backup route, and removes only its own."""
    make_link()
    add(ROUTES["IPv4"], ROUTES6["IPv6"])
    hold("--routes")
    # charon adds routes with NLM_F_REPLACE from strongSwan 5.6.3 on, and with NLM_F_EXCL before.
    add(ROUTES["IPv4"], verb="replace")
    add(ROUTES6["IPv6"], verb="add")
    equal((len(of_protocol(STATIC)), len(of_protocol(BACKUP))), (2, 2), "routes and backup routes")
    # charon names only destination, protocol and table.
    batch("route del 10.2.0.0/24 proto static table 220", "route del fd00:2::/64 proto static table 220")
    equal((of_protocol(STATIC), len(of_protocol(BACKUP))), ([], 2), "routes and backup routes")


@case
def arms():
    """arm --routes puts a backup route behind each static route, and rules behind charon's; nothing is removed."""
    make()
    before, found, had = listed(), sources(), rules()
    contains(arm("--routes").out, f"Put shadows behind 0 policies and backup routes behind {NUMBER} routes in ")
    equal([line for line in listed() if BACKUP not in line], before, "what was there")
    equal((without(of_protocol(BACKUP)), sources()), (without(of_protocol(STATIC)), found), "backup routes and sources")
    more = [line for line in rules() if line not in had]
    equal(more, ["221: from all lookup 220 proto 88"] * 2, "the rules")
    armed = listed(), rules()
    arm("--routes")
    equal((listed(), rules()), armed, "after another arm")


@case
def outlives_charon():
    """When charon removes its routes and rules, the sources stay until the release."""
    make()
    before, found = not_ours(), sources()
    had = [line for line in rules() if "220:" not in line]
    arm("--routes")
    charon_ends()
    equal((of_protocol(STATIC), sources()), ([], found), "routes and sources")
    contains(hold("--routes").out, f"Nothing to remove; {NUMBER} backup routes are in place.")
    equal(sources(), found, "sources behind the hold")
    release("--routes")
    equal((listed(), rules()), (before, had), "routes and rules behind the release")


@case
def rule_is_copied():
    """The rule that arm adds has all properties of charon's; flush removes it; rules of others stay."""
    make_link()
    batch("rule add not fwmark 0x42/0xff pref 230 table 220", "rule add pref 240 table 221",
          "rule add pref 250 protocol static table 220", "rule del pref 220 table 220")
    add(ROUTES["IPv4"])
    had = rules()
    arm("--routes")
    equal([line for line in rules() if line not in had],
          ["231: not from all fwmark 0x42/0xff lookup 220 proto 88", "221: from all lookup 220 proto 88"], "the rules")
    flush("--routes")
    equal(rules(), had, "the rules behind flush")


# Routes in an order in which the kernel accepts them, and the source of packets to their gateway. Table 220 then covers
# the gateway.
COVERED = {
    "by itself": (["::/0 via 2001:db8:8::2 dev uplink src fd00:1::1"], "fd00:1::1"),
    "by another": (["fd00:2::/64 via 2001:db8:8::2 dev uplink src fd00:1::1",
                    "2001:db8::/32 via fe80::9 dev uplink src fd00:1::2"], "fd00:1::2"),
    "by two": (["::/0 via 2001:db8:8::2 dev uplink src fd00:1::1",
                "2001:db8::/32 via fe80::9 dev uplink src fd00:1::2"], "fd00:1::2"),
    "by a bypass": (["::/0 via 2001:db8:8::2 dev uplink src fd00:1::1", "throw 2001:db8:8::/64"], "2001:db8:8::1"),
}


def source_of(destination):
    return re.search(r"\bsrc (\S+)", xfrm.ip("-o", "route", "get", destination))[1]


def make_covered(routes):
    make_link()
    batch("address add fd00:1::2/64 dev uplink nodad")
    for route in routes:
        add(route)


def next_charon(routes):
    """Adds the routes of the next charon, in another order than before."""
    batch("rule add from ::/0 pref 220 table 220")
    for route in routes[::-1]:
        add(route, verb="replace")
    equal(len(of_protocol(STATIC)), len(routes), "the next charon's routes")


@cases(COVERED.items())
def covered_gateway_held(_, routes_and_source):
    """A route whose gateway the table covers gets a backup route, and charon can add its own again: {0}."""
    routes, source = routes_and_source
    make_covered(routes)
    before = [listed(220), source_of("2001:db8:8::2")]
    equal(before[1], source, "the source of packets to the gateway")
    result = hold("--routes")
    equal((result.err, of_protocol(STATIC)), ("", []), "what is said, and the static routes")
    equal(source_of("2001:db8:8::2"), source, "the source of packets to the gateway in the hold")
    backups = [line.replace(" onlink", "") for line in without(of_protocol(BACKUP))]
    assert set(without(before[0])) < set(backups), backups
    equal(hold("--routes").err, "", "what another hold says")
    batch("rule del from ::/0 pref 220 table 220")
    next_charon(routes)
    release("--routes")
    equal([listed(220), source_of("2001:db8:8::2")], before, "the routes behind the release")


@cases(COVERED.items())
def covered_gateway_armed(_, routes_and_source):
    """With arm, a planned restart keeps the source of packets to a covered gateway: {0}."""
    routes, source = routes_and_source
    make_covered(routes)
    armed = arm("--routes")
    equal(armed.err, "", "what is said")
    for route in routes:
        batch(f"route del {route.removeprefix('throw ').split()[0]} proto static table 220")
    batch("rule del from ::/0 pref 220 table 220")
    equal(source_of("2001:db8:8::2"), source, "the source of packets to the gateway without charon")
    hold("--routes")
    next_charon(routes)
    flush("--routes")
    equal((listed(220), [rule for rule in rules() if "proto 88" in rule]), ([], []), "routes and rules behind flush")


@case
def way_to_gateway():
    """During a grace, a backup route to a gateway stays as long as a backup route through it does."""
    make_covered(COVERED["by itself"][0])
    hold("--routes")
    commands = CONNECTIONS | {"list-sas": Stream("list-sa", [{"all": {"child-sas": {"all": {"remote-ts": ["::/0"]}}}}])}
    with charon(commands) as (option, _):
        equal(release("--routes", "--grace=5min", option).out, "No shadows. 2 backup routes stay.\n", "output")
        add(*COVERED["by itself"][0])
        equal(release("--routes", "--grace=5min", option).out, "No shadows. Removed 2 backup routes.\n",
              "output when charon has its route")


@cases([("10.2.0.0/24 via 10.8.0.2 dev uplink src 10.1.0.1", "10.8.0.1/24"),
        ("fd00:2::/64 via 2001:db8:8::2 dev uplink src fd00:1::1", "2001:db8:8::1/64")])
def lost_gateway(route, address):
    """A route whose gateway cannot be reached any more is replaced by a backup route: {0}."""
    make_link()
    add(route)
    batch(f"address del {address} dev uplink")
    equal((hold("--routes").err, of_protocol(STATIC), len(of_protocol(BACKUP))), ("", [], 1),
          "what is said, static routes and backup routes")
    equal((arm("--routes").err, release("--routes").err, listed(220)), ("", "", []), "what is said, and what is left")


@case
def nothing_to_arm():
    """Without static routes, arm adds no rule."""
    make_link()
    had = rules()
    equal(arm("--routes").out, "No policies: no shadows are needed.\n", "output")
    equal(rules(), had, "the rules")


@case
def rule_refused():
    """A rule that cannot be added or removed is reported; the rest is done."""
    make()
    result = xfrmctl_with([Fault("send", NEWRULE, "refuse", errno.EPERM)], "arm", "--routes", status=1)
    contains(result.err, "xfrmctl: Could not add a rule for table 220 behind charon's rule: Operation not ")
    arm("--routes")
    result = xfrmctl_with([Fault("send", DELRULE, "refuse", errno.EPERM)], "release", "--routes", status=1)
    contains(result.err, "xfrmctl: Could not remove the rule of `xfrmctl arm` for table 220: ")
    equal(of_protocol(BACKUP), [], "the backup routes")


@case
def released():
    """release --routes removes all backup routes without a grace, and no other route."""
    make()
    before = not_ours()
    hold("--routes")
    equal(release().out, "No shadows.\n", "without --routes")
    add(ROUTES["IPv4"])
    kept = of_protocol(STATIC)
    equal(release("--routes").out, f"No shadows. Removed {NUMBER} backup routes.\n", "output")
    equal((of_protocol(STATIC), of_protocol(BACKUP), not_ours()), (kept, [], before), "what is left")


# charon's connections, policies and SAs.
CONNECTIONS = {
    "list-conns": Stream("list-conn", [
        {"net4": {"remote_addrs": ["198.51.100.1"], "children": {
            "net4": {"mode": "TUNNEL", "local-ts": ["10.1.0.0/24"], "remote-ts": ["10.2.0.0/23"]},
            "web": {"mode": "TUNNEL", "local-ts": ["10.1.0.0/24"], "remote-ts": ["10.2.5.0/24[tcp/http]"]}}}},
        {"warrior": {"children": {"warrior": {"local-ts": ["10.1.0.0/24"], "remote-ts": ["dynamic"]}}}}]),
    "list-policies": Stream("list-policy", [
        {"lan/bypass": {"child": "bypass", "mode": "PASS", "local-ts": ["10.3.0.0/24"],
                        "remote-ts": ["10.3.0.0/24"]}}]),
    "list-sas": Stream("list-sa", [
        {"net6": {"local-vips": ["10.1.0.7"], "child-sas": {"net6-1": {"remote-ts": ["fd00:2::/64"]}}}}]),
}
EXPLAINED = ("IPv4", "MTU", "an address", "bypass")


@contextmanager
def charon(commands=None):
    path = Path("/run") / f"charon-{os.getpid()}.vici"
    with vici_server.Server(path, CONNECTIONS if commands is None else commands) as server:
        yield f"--socket={path}", server


@case
def released_with_grace():
    """With a grace, backup routes stay that a connection, policy or SA of charon explains."""
    make()
    before = not_ours()
    hold("--routes")
    with charon() as (option, server):
        result = release("--routes", "--grace=5min", option)
    equal([name for name, _ in server.seen], ["list-conns", "list-policies", "list-sas"], "what charon was asked")
    explained = len(EXPLAINED) + 1
    equal(result, (0, f"No shadows. Removed {NUMBER - explained} backup routes; {explained} stay.\n", ""),
          "output")
    kept = [line.split(" proto")[0] for line in of_protocol(BACKUP)]
    equal([bool(re.search(r"10\.2\.[01]\.0/24|10\.2\.3\.4|10\.3\.0\.0|fd00:2::/64", line)) for line in kept],
          [True] * explained, f"what is left: {kept}")
    equal(not_ours(), before, "the other routes")


@case
def covered():
    """Backup routes behind another route are removed, explained or not; a route of another TOS does not count."""
    make_link()
    batch("route add 10.2.1.0/24 dev uplink proto bird table 220")
    add(ROUTES["IPv4"], ROUTES["MTU"] + " metric 5", ROUTES6["IPv6"])
    hold("--routes")
    add(ROUTES["IPv4"], "10.2.1.0/24 tos 0x10 dev uplink")
    with charon() as (option, _):
        equal(release("--routes", "--grace=infinity", option).out,
              "No shadows. Removed 2 backup routes; 1 stays.\n", "output")
    [line] = of_protocol(BACKUP)
    contains(line, "fd00:2::/64")


@cases([("hangs up", {"list-conns": HANG_UP}), ("knows no such command", {}),
        ("talks nonsense", {"list-conns": b"\0\0\0\3\1\3\5"}),
        ("hangs up in the middle", CONNECTIONS | {"list-sas": HANG_UP}),
        ("has a selector that nobody understands",
         CONNECTIONS | {"list-sas": Stream("list-sa", [
             {"x": {"child-sas": {"x": {"remote-ts": ["10.2.0.0/16/3"]}}}}])})])
def charon_fails(what, commands):
    """If charon {0}, during a grace only backup routes behind another route are removed."""
    make_link()
    add(ROUTES["IPv4"], ROUTES["MTU"])
    hold("--routes")
    add(ROUTES["IPv4"])
    with charon(commands) as (option, _):
        result = release("--routes", "--grace=5min", option)
    equal(result.out, "No shadows. Removed 1 backup route; 1 stays.\n", "output")
    contains(result.err, "xfrmctl: Could not ask charon at ",
             "Backup routes stay where the real route is absent. Use --socket= for another socket.\n")


@case
def no_charon():
    """Without charon's socket, uncovered backup routes stay for a grace; without a grace, charon is not asked."""
    make_link()
    add(ROUTES["IPv4"], ROUTES["MTU"])
    hold("--routes")
    result = release("--routes", "--grace=5min", "--socket=/run/missing.vici")
    contains(result.err, "/run/missing.vici for its connections: No such file or directory.")
    equal(result.out, "No shadows. 2 backup routes stay.\n", "output")
    equal(release("--routes", "--socket=/run/missing.vici"),
          (0, "No shadows. Removed 2 backup routes.\n", ""), "output without a grace")


@case
def charon_is_silent():
    """A release waits only a few seconds for a charon that does not answer."""
    make_link()
    add(ROUTES["IPv4"])
    hold("--routes")
    begin = time.monotonic()
    with charon({"list-conns": b""}) as (option, _):
        contains(release("--routes", "--grace=5min", option).err, "Could not ask charon at ", "timed out")
    assert time.monotonic() - begin < 20, "it took too long"
    equal(len(of_protocol(BACKUP)), 1, "the backup routes")


@case
def orphans():
    """flush --orphans --routes lists and removes only routes that charon does not explain."""
    make()
    before = not_ours()
    with charon() as (option, _):
        listed_first = flush("--orphans", "--routes", "--dry-run", option).out
        result = flush("--orphans", "--routes", option)
    gone = NUMBER - len(EXPLAINED) - 1
    contains(listed_first, f"Would remove 0 SAs, 0 policies and {gone} routes.\n")
    contains(result.out, f" and {gone} routes in ")
    equal((len(of_protocol(STATIC)), not_ours()), (NUMBER - gone, before), "what is left")


@case
def stale_address():
    """An address that only a removed backup route has as its source is reported, with a command that removes it."""
    make_link()
    batch("address add 10.1.0.7/32 dev uplink", "address add 10.1.0.8/32 dev uplink",
          "address add 10.1.0.9/32 dev uplink", "address add 10.1.0.10/32 dev uplink",
          "address add fd00:1::8/128 dev uplink nodad")
    add("10.2.0.0/24 dev uplink src 10.1.0.7", "10.2.1.0/24 dev uplink src 10.1.0.8",
        "10.7.0.0/24 dev uplink src 10.1.0.8", "10.8.9.0/24 dev uplink src 10.1.0.1",
        "fd00:7::/64 dev uplink src fd00:1::8", "10.7.1.0/24 dev uplink src 10.1.0.9",
        "10.2.0.7/32 dev uplink src 10.1.0.9",
        "10.0.7.0/24 dev uplink src 10.1.0.10", "10.2.0.8/32 dev uplink src 10.1.0.10")
    hold("--routes")
    # The connections with the addresses 10.1.0.7 and .8 have new SAs, both with .7, which charon knows. Those with .9
    # and .10 may get new SAs later.
    add("10.2.0.0/24 dev uplink src 10.1.0.7", "10.2.1.0/24 dev uplink src 10.1.0.7")
    with charon() as (option, _):
        result = release("--routes", "--grace=5min", option)
    found = re.findall(r"If the address is not yours: (.*)\n", result.err)
    equal(sorted(set(found)), ["ip address del 10.1.0.8/32 dev uplink", "ip address del fd00:1::8/128 dev uplink"],
          f"the commands in {result.err}")
    equal(len(found), 2, "reported once each")
    assert "10.1.0.8/32" in xfrm.ip("address"), "it is left alone"


@case
def address_in_use():
    """status reports no address as stale that an explained route has as its source, or that charon knows."""
    make_link()
    batch(*(f"address add 10.1.0.{n}/32 dev uplink" for n in (7, 8, 9)))
    add("10.2.0.0/24 dev uplink src 10.1.0.8", "10.7.0.0/24 dev uplink src 10.1.0.8",
        "10.7.1.0/24 dev uplink src 10.1.0.7", "10.7.2.0/24 dev uplink src 10.1.0.9")
    with charon(CONNECTIONS | {"version": {"daemon": "charon-systemd", "version": "6.0.1"}}) as (option, _):
        found = json.loads(run("status", "--json", option).out)["routes"]["left_over"]
    equal({route["dst"]: route.get("stale_address_on") for route in found},
          {"10.7.0.0/24": None, "10.7.1.0/24": None, "10.7.2.0/24": "uplink"}, "left-over routes")


@case
def namespace():
    """With --netns, flush removes the routes of that namespace, and no others."""
    xfrm.ip("netns", "add", "elsewhere")
    try:
        before = make()
        with linux.inside("/run/netns/elsewhere"):
            make()
            there = not_ours()
        contains(flush("--netns=elsewhere", "--routes").out, f" and {NUMBER} routes in ")
        equal(listed(), before, "the routes here")
        with linux.inside("/run/netns/elsewhere"):
            equal(listed(), there, "the routes there")
    finally:
        xfrm.ip("netns", "delete", "elsewhere")


@case
def vrf():
    """A route through an interface of a VRF is replaced like any other."""
    make_link()
    done = subprocess.run(["ip", "link", "add", "red", "type", "vrf", "table", "300"], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise Skip(f"this kernel has no VRF: {done.stderr.strip()}")
    batch("link set red up", "link add inred type veth peer name farinred", "link set inred master red",
          "link set inred up", "link set farinred up", "address add 10.30.0.1/24 dev inred")
    add("10.2.0.0/24 via 10.30.0.2 dev inred onlink src 10.30.0.1")
    before = without(of_protocol(STATIC))
    hold("--routes")
    equal(without(of_protocol(BACKUP)), before, "the backup route")


@case
def deletion_refused():
    """A route that the kernel does not remove is named and counted; the others are removed."""
    make()
    result = xfrmctl_with([Fault("send", DELROUTE, "refuse", errno.EPERM, first=2, last=2)], "flush", "--routes",
                          status=1)
    equal(result.err, "xfrmctl: Could not remove route 10.2.0.0/24 via 10.8.0.2 dev uplink src 10.1.0.1 of table 220: "
                      "Operation not permitted.\n", "standard error")
    contains(result.out, f" and {NUMBER - 1} routes in ")
    equal(len(of_protocol(STATIC)), 1, "the routes left")


@case
def every_deletion_refused():
    """Of many routes that stay, ten are named."""
    make_link()
    add(*(f"10.2.{n}.0/24 dev uplink src 10.1.0.1" for n in range(30)))
    result = xfrmctl_with([Fault("send", DELROUTE, "refuse", errno.EACCES)], "flush", "--routes", status=1)
    equal(result.err.count("Could not remove route "), 10, "how many are named")
    contains(result.err, "xfrmctl: 20 more routes could not be changed.\n")


@case
def addition_refused():
    """A route whose backup route the kernel refuses stays."""
    make()
    expected = sources()
    result = xfrmctl_with([Fault("send", NEWROUTE, "refuse", errno.ENOMEM, first=2, last=2)],
                          "flush", "--hold", "--routes", status=1)
    contains(result.err, "xfrmctl: Could not add a backup route for route 10.2.0.0/24 via 10.8.0.2 dev uplink src 10.1.0.1 "
                         "of table 220: Cannot allocate memory.\n")
    equal((len(of_protocol(STATIC)), len(of_protocol(BACKUP)), sources()), (1, NUMBER - 1, expected),
          "routes, backup routes and sources")


@case
def no_room():
    """A route with the highest metric stays, because its backup route needs a higher one, and is named."""
    make_link()
    add("10.2.0.0/24 dev uplink src 10.1.0.1 metric 4294967295", ROUTES["MTU"])
    contains(hold("--routes", status=1).err, "metric 4294967295 of table 220: no metric is higher than that of the route.\n")
    equal((len(of_protocol(STATIC)), len(of_protocol(BACKUP))), (1, 1), "routes and backup routes")


@case
def gone_already():
    """A route that another process removes meanwhile is no failure."""
    make_link()
    add(ROUTES["IPv4"], ROUTES["MTU"])
    result = xfrmctl_with([Fault("send", DELROUTE, "run", first=1, last=1)], "flush", "--routes",
                          command="ip route del 10.2.1.0/24 table 220")
    contains(result.out, " and 1 route in ")
    equal((result.err, of_protocol(STATIC)), ("", []), "errors and routes")


@case
def interrupted():
    """A list that changes while it is read is read again."""
    make()
    result = xfrmctl_with([Fault("receive", GETROUTE, "interrupt", first=1, last=3)], "flush", "--routes")
    contains(result.out, f" and {NUMBER} routes in ")
    equal(of_protocol(STATIC), [], "the routes left")


@case
def not_listed():
    """If the routes cannot be listed, flush fails and reports it, and the rest is done."""
    make()
    xfrm.add_policies("src 10.1.0.0/16 dst 10.2.0.0/16 dir out")
    result = xfrmctl_with([Fault("receive", GETROUTE, "fail", errno.ENOMEM)], "flush", "--routes", status=1)
    contains(result.err, "xfrmctl: Could not list the routes of table 220: Cannot allocate memory.\n")
    equal((len(of_protocol(STATIC)), xfrm.counts()), (NUMBER, (0, 0)), "routes, policies and SAs left")


@case
def lost_link():
    """Routes over a link without carrier are replaced."""
    make()
    batch("link set far-end down")
    # The kernel notices the lost carrier after some time (linkwatch).
    until(lambda: all("linkdown" in line for line in of_protocol(STATIC) if "dev uplink" in line), "the carrier is lost")
    before = without(of_protocol(STATIC))
    hold("--routes")
    equal((without(of_protocol(BACKUP)), of_protocol(STATIC)), (before, []), "backup routes and routes")


@case
def beside_shadows():
    """A hold of policies and routes reports both, and a release removes both."""
    make_link()
    xfrm.add_policies("src 10.1.0.0/16 dst 10.2.0.0/16 dir out tmpl src 10.8.0.1 dst 10.8.0.2 proto esp mode tunnel")
    add(ROUTES["IPv4"])
    contains(hold("--routes").out, "Removed 0 SAs, 1 policy (1 out) and 1 route in ",
             "; 1 shadow and 1 backup route are in place.\n")
    contains(release("--routes").out, "Released 1 shadow in ", " Removed 1 backup route.\n")
    equal((listed(220), xfrm.counts()), ([], (0, 0)), "what is left")


main(sandbox.new_run_folder)
