# SPDX-License-Identifier: GPL-2.0-or-later
"""status: the state of the kernel, the state of charon, and orphans, for people and for programs."""

import errno
import fcntl
import json
import os
import pty
import re
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import netlink
import xfrm
from cases import case, cases, main
from daemon import GROUPS_OF_CHARON, process
from netlink import MSG_GETPOLICY, MSG_GETSA
from program import XFRMCTL, Fault, Faults, environment, hold, release, run
from tap import Skip, contains, equal, is_lacking
from vici_server import HANG_UP, Drip, Server, Stream, busy, frame, in_turn

# Number of packets that each SA carries between two messages of the kernel. A list of SAs has two messages.
PACKETS = 7
MATURE = Fault("receive", MSG_GETSA, "mature", PACKETS)

VERSION = {"daemon": "charon-systemd", "version": "5.9.8"}
STATS = {
    "uptime": {"running": "3 minutes", "since": "Nov 23 15:04:26 2026"},
    "workers": {"total": "16", "idle": "11", "active": {"critical": "4"}},
    "queues": {"critical": "0", "high": "1", "medium": "0", "low": "2"},
    "ikesas": {"total": "1", "half-open": "0"},
}


# Traffic selectors of the policies of xfrm.a_few(). A CHILD_SA without a state explains policies, and lacks none.
SELECTORS = {"ESP": {"local-ts": ["10.1.0.0/16"], "remote-ts": ["10.2.0.0/16"]},
             "AH": {"local-ts": ["2001:db8:1::/48"], "remote-ts": ["2001:db8:2::/48"]}}


def child(proto, spi_in, spi_out, **keys):
    spis = {"protocol": proto, "mode": "TUNNEL", "spi-in": f"{spi_in:08x}", "spi-out": f"{spi_out:08x}"}
    return spis | SELECTORS[proto] | keys


def list_sas(*children):
    named = {f"net4-{number}": child for number, child in enumerate(children)}
    return Stream("list-sa", [{"net4": {"version": "2", "child-sas": named}}])


def conn(name, local, remote):
    return {name: {"local_addrs": [local], "remote_addrs": [remote], "children": {name: {"mode": "TUNNEL"}}}}


CONNS = Stream("list-conn", [conn("net6", "2001:db8::1", "2001:db8::2")])

# The SPIs of the SAs of xfrm.a_few().
ESP, AH = 0x1000, 0x1001


def charon(**commands):
    """Returns the answers of a charon that knows both SAs of xfrm.a_few()."""
    answers = {"version": VERSION, "stats": STATS,
               "list-sas": list_sas(child("ESP", ESP, 0x99), child("AH", AH, 0x98)), "list-conns": CONNS, "get-conns": {"conns": ["net6"]}, "list-policies": Stream("list-policy", [])}
    return answers | {name.replace("_", "-"): answer for name, answer in commands.items()}


@contextmanager
def folder():
    with tempfile.TemporaryDirectory() as name:
        # The cases without privileges read this folder.
        os.chmod(name, 0o755)
        yield Path(name)


@contextmanager
def serving(**commands):
    with folder() as where, Server(where / "vici", charon(**commands)) as server:
        yield server


def status(*words, vici="/nonexistent", code=0, **options):
    result = run("status", f"--socket={vici}", *words, **options)
    equal(result.status, code, f"exit status ({result})")
    return result


def status_of_mature(*words, **options):
    with Faults(MATURE) as active:
        return status(*words, env=active.env, **options)


def as_json(*words, read=status, **options):
    result = read("--json", *words, **options)
    assert result.out.count("\n") == 1 and result.out.endswith("}\n"), result.out
    return json.loads(result.out)


@case
def nothing():
    """An empty kernel without charon has no orphans."""
    result = status()
    equal(result.err, "", "standard error")
    contains(result.out, "charon       does not answer: there is no socket /nonexistent.\n", "key managers none\n",
             "SAs          0\n", "policies     0\n", "shadows      none\n", "orphans      none\n")


@case
def counts():
    """SAs and policies are counted by kind, apart from larval SAs, policies of sockets, and shadows."""
    xfrm.add_policies(
        "src 10.1.0.0/16 dst 10.2.0.0/16 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel",
        "src 10.1.0.0/16 dst 10.3.0.0/16 dir out", "src 10.3.0.0/16 dst 10.1.0.0/16 dir in action block")
    netlink.allocate_spi("192.0.2.1", "192.0.2.2", 0x1000)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for direction in ("in", "out"):
            netlink.set_socket_policy(sock, direction)
        found = as_json()
        text = status().out
    equal(found["policies"], [
        {"dir": "in", "kind": "block", "ptype": "main", "count": 1},
        {"dir": "out", "kind": "protect", "ptype": "main", "count": 1},
        {"dir": "out", "kind": "bypass", "ptype": "main", "count": 1},
    ], "policies")
    equal((found["sas"], found["larval_sas"], found["orphans"]), ([], 1, []), "SAs")
    equal(found["socket_policies"], 2, "policies of sockets")
    contains(text, "SAs          0, 1 being negotiated\n", "policies     3, and 2 of sockets\n",
             "\n  out               1        1        0\n  in                0        0        1\n")


@case
def shadows():
    """Shadows are counted by kind, with the time for which expiring ones stay."""
    xfrm.a_few()
    hold()
    found = as_json()["shadows"]
    equal((found["hold"], found["expiring"], "expire_seconds" in found), (3, 0, False), "those that hold")
    contains(status().out, "shadows      3: 3 hold\n             since they were made, policies blocked 0 packets out ")
    release("--grace=5min")
    found = as_json()["shadows"]
    equal((found["hold"], found["expiring"], found["passing"]), (0, 2, 0), "expiring ones")
    assert 290 < found["expire_seconds"] <= 300, found
    assert re.search(r"\nshadows      2: 2 expiring, the last in (5min|4min \d+s)\n", status().out)


@case
def blocked():
    """Packets that shadows have blocked are counted from the time at which the shadows were made."""
    xfrm.make_uplink()
    xfrm.add_policies("src 10.8.0.1/32 dst 10.9.0.0/16 dir out action block")

    def send(count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(count):
                with suppress(PermissionError):
                    sender.sendto(b"x", ("10.9.1.1", 9))
    send(2)
    hold()
    send(3)
    found = as_json()
    equal((found["blocked_packets"]["out"], found["shadows"]["blocked_packets"]["out"]), (5, 3), "packets")


@case
def without_charon():
    """Without charon, every SA is an orphan; the oldest is first, with its current traffic."""
    xfrm.a_few()
    found = as_json(read=status_of_mature, code=4)
    equal(found["charon"], {"state": "absent", "socket": "/nonexistent"}, "charon")
    equal([(sa["src"], sa["dst"], sa["proto"], sa["spi"], sa["reqid"], sa["mode"], sa["packets"], sa["bytes"])
           for sa in found["orphans"]],
          [("192.0.2.1", "192.0.2.2", "esp", ESP, 1, "tunnel", 2 * PACKETS, 84 * 2 * PACKETS),
           ("2001:db8::1", "2001:db8::2", "ah", AH, 2, "tunnel", 2 * PACKETS, 84 * 2 * PACKETS)], "orphans")
    equal([(group["proto"], group["family"], group["mode"], group["count"]) for group in found["sas"]],
          [("esp", "ipv4", "tunnel", 1), ("ah", "ipv6", "tunnel", 1)], "SAs")
    assert found["traffic_usec"] >= 2_000_000, found


@case
def dead_socket():
    """With a socket that a previous charon has left, charon counts as absent."""
    with folder() as where:
        with Server(where / "vici", {}):
            os.link(where / "vici", where / "left")
        found = as_json(vici=where / "left")
    equal(found["charon"]["state"], "absent", "charon")
    contains(found["problems"][0], "nobody listens any more on ")


@case
def all_known():
    """An SA that charon knows is no orphan."""
    xfrm.a_few()
    with serving() as server:
        result = status_of_mature(vici=server.path)
        equal([name for name, _ in server.seen], ["version", "stats", "list-sas", "list-policies", "list-conns", "get-conns"],
              "what charon is asked")
    contains(result.out, f"charon       charon-systemd 5.9.8 (PID {os.getpid()}), up 3 minutes\n"
             "             1 IKE SA (0 half open), 2 child SAs\n             11 of 16 threads idle, 3 jobs queued\n",
             "SAs          2\n  esp  tunnel    IPv4        1  ", "\n  ah   tunnel    IPv6        1  ",
             "orphans      none\n")


@case
def orphans():
    """An SA that charon does not know is an orphan, shown with the connection that it belonged to."""
    xfrm.a_few()
    with serving(list_sas=list_sas(child("ESP", ESP, 0x99))) as server:
        with Faults(MATURE) as active:
            result = status(vici=server.path, code=4, env=active.env)
    contains(result.out, "orphans      1 of 2 SAs unknown to charon (traffic of 2s)\n")
    assert re.search(r"\n  ah  0x00001001  2001:db8::1  2001:db8::2      2 +\d+s +14 +1.1k  net6\n", result.out), result


@case
def just_negotiated():
    """An SA that charon reports only in its second list is no orphan."""
    xfrm.a_few()
    with serving(list_sas=in_turn(list_sas(), list_sas(child("ESP", ESP, 0x99), child("AH", AH, 0x98)))) as server:
        contains(status_of_mature(vici=server.path).out, "orphans      none\n")


@case
def many():
    """The first ten orphans are shown, or with --all each of them."""
    xfrm.fill("sas", 300)
    text = status_of_mature(code=4).out
    equal(text.count("\n  esp  0x"), 10, "orphans shown")
    contains(text, "orphans      300 of 300 SAs without a charon", "  … and 290 more; --all shows them\n")
    text = status_of_mature("--all", code=4).out
    equal(text.count("\n  esp  0x"), 300, "orphans shown with --all")
    is_lacking(text, "more")


SILENCE = "no word on "


@cases([
    ("is silent", {"version": b""}, "silent", SILENCE),
    ("falls silent when asked for SAs", {"list-sas": b""}, "silent", SILENCE),
    ("drips", {"version": Drip(frame(b"\1" * 1000), 0.05)}, "silent", SILENCE),
    ("hangs up", {"version": HANG_UP}, "broken", "it hung up"),
    ("hangs up when asked for SAs", {"list-sas": HANG_UP}, "broken", "it hung up"),
    ("speaks something else", {"version": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, "broken", "is not VICI"),
])
def does_not_answer(_, commands, state, why):
    """With a charon that {0}, orphans are unknown, and this is reported in time."""
    xfrm.a_few()
    with folder() as where, Server(where / "vici", charon() | commands) as server:
        begun = time.monotonic()
        with Faults(MATURE) as active:
            found = as_json("--timeout=300ms", vici=server.path, code=1, env=active.env)
        with Faults(MATURE) as active:
            result = status("--timeout=300ms", vici=server.path, code=1, env=active.env)
        assert time.monotonic() - begun < 10, "it takes too long"
    equal((found["charon"]["state"], "orphans" in found), (state, False), "state, and whether orphans are known")
    contains(found["problems"][0], why)
    contains(result.out, "SAs          2\n", "orphans      unknown", "policies     3\n")


@case
def backlog():
    """A charon that does not accept the connection counts as silent."""
    with folder() as where, busy(where / "vici"):
        result = status("--timeout=300ms", vici=where / "vici", code=1)
    contains(result.out, SILENCE)


@case
def no_stats():
    """A charon without the command stats is asked for the rest."""
    with folder() as where, Server(where / "vici", {k: v for k, v in charon().items() if k != "stats"}) as server:
        found = as_json(vici=server.path)
    equal((found["charon"]["state"], "uptime" in found["charon"]), ("up", False), "charon")


@case
def hostile_names():
    """Control characters in charon's answers do not reach the terminal."""
    xfrm.a_few()
    evil = "\x1b]0;x\x07\n\"\\"
    with serving(version={"daemon": evil, "version": f"{evil}\u0085"}, list_sas=list_sas(),
                 list_conns=Stream("list-conn", [conn(evil, "2001:db8::1", "2001:db8::2")])) as server:
        text = status_of_mature(vici=server.path, code=4).out
        found = as_json("--timeout=10s", vici=server.path, code=4)
        metrics = status("--metrics", vici=server.path, code=4).out
    is_lacking(text, "\x1b", "\x07", "\x85")
    contains(text, '?]0;x??"\\')
    equal(found["charon"]["daemon"][:8], '?]0;x??"', "daemon")
    contains(metrics, 'xfrmctl_charon_info{daemon="?]0;x??\\"\\\\')


@case
def elsewhere():
    """A charon of another network namespace is not asked about the SAs of this one."""
    with serving() as server:
        with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; read x"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as other:
            other.stdout.readline()
            result = run(f"--netns=/proc/{other.pid}/ns/net", "status", f"--socket={server.path}", "--json")
            other.stdin.close()
    found = json.loads(result.out)
    equal((result.status, found["charon"]["state"], "orphans" in found), (1, "elsewhere", False), "what is said")
    contains(result.err, "works in another network namespace; --socket= names that of this one.\n")


@case
def key_managers():
    """Every process that listens for acquires is named, with its sockets."""
    with process("charon-systemd", GROUPS_OF_CHARON, "500") as first, process("watcher", GROUPS_OF_CHARON) as second:
        found = as_json(code=1)["key_managers"]
        text = status(code=1).out
    equal(sorted(found, key=lambda owner: owner["name"]), [
        {"pid": first, "name": "charon-systemd", "kind": "key-manager", "sockets": ["xfrm", "udp-500"]},
        {"pid": second, "name": "watcher", "kind": "unknown", "sockets": ["xfrm"]},
    ], "key managers")
    contains(text, f"charon-systemd (PID {first}): XFRM netlink, IKE port 500\n",
             f"watcher (PID {second}): XFRM netlink (no sign of IKE)\n")


@cases([("pluto", (GROUPS_OF_CHARON,)), ("charon", (GROUPS_OF_CHARON, "500"))])
def without_vici(name, sockets):
    """Beside {0} without a VICI socket, orphans and explained routes are unknown."""
    xfrm.a_few()
    add_routes()
    with process(name, *sockets) as pid:
        found = as_json(read=status_of_mature, code=1)
        text = status_of_mature(code=1).out
        samples = check_metrics(status_of_mature("--metrics", code=1).out)
    why = (f"charon cannot be asked: there is no socket /nonexistent, and the key manager {name} (PID {pid}) is alive. "
           "Orphans are unknown; --socket= names charon's VICI socket, if it has one.")
    equal((found["charon"]["state"], found["problems"]), ("absent", [why]), "charon, and what is said")
    equal([name for name in ("orphans", "routes") if name in found], [], "what is known")
    equal(sum(group["count"] for group in found["sas"]), 2, "SAs")
    equal((samples["xfrmctl_charon_up"], samples["xfrmctl_key_managers"],
           [name for name in samples if re.match("xfrmctl_(orphans|routes)", name)]), (0, 1, []), "metrics")
    contains(" ".join(text.split()), why.removeprefix("charon "),
             f"orphans unknown: charon cannot be asked on /nonexistent, and {name} (PID {pid}) is alive")


@case
def listener_of_acquires():
    """A process without a sign of IKE does not make orphans unknown."""
    xfrm.a_few()
    with process("watcher", GROUPS_OF_CHARON):
        contains(status_of_mature(code=4).out, "orphans      2 of 2 SAs without a charon")


@case
def other_key_manager():
    """Beside another key manager, status reports that orphans may be its own."""
    xfrm.a_few()
    with serving(list_sas=list_sas()) as server, process("pluto", GROUPS_OF_CHARON) as pid:
        contains(status_of_mature(vici=server.path, code=4).out,
                 f"\n             pluto (PID {pid}) is alive: they may be its own\n")


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", XFRMCTL)


def need_nobody():
    if subprocess.run([*NOBODY, "--version"], capture_output=True, check=False).returncode != 0:
        raise Skip("no user without privileges can run the program here")


@case
def unprivileged():
    """Without privileges, status reports what it cannot see and why, and shows the rest."""
    need_nobody()
    xfrm.a_few()
    with process("charon", GROUPS_OF_CHARON), serving() as server:
        os.chmod(server.path, 0o700)
        result = status(vici=server.path, code=1, command=NOBODY)
        quiet = run("-q", "status", f"--socket={server.path}", command=NOBODY)
        found = as_json(vici=server.path, code=1, command=NOBODY)
        os.chmod(server.path, 0o777)
        allowed = as_json(vici=server.path, code=1, command=NOBODY)
    equal(result.err, "", "standard error")
    contains(result.out, f"cannot be asked on {server.path}: no permission to connect; run as root, with CAP_DAC_OVERRIDE",
             "key managers a process that cannot be seen: XFRM netlink", "CAP_SYS_PTRACE",
             "kernel       The kernel's SAs and policies cannot be seen: CAP_NET_ADMIN is needed",
             "orphans      unknown")
    equal((quiet.status, quiet.out, quiet.err.count("\n")), (1, "", 3), "what is said with -q")
    equal(sorted(found), ["blocked_packets", "charon", "key_managers", "problems"], "what is known")
    equal(len(found["problems"]), 3, "problems")
    equal((allowed["charon"]["state"], allowed["charon"]["version"]), ("up", "5.9.8"), "charon")


@case
def no_xfrm():
    """status reports a kernel without XFRM."""
    with Faults(Fault("socket", 0, "fail", 93)) as active:
        contains(status(code=1, env=active.env).out, "The kernel's SAs and policies cannot be seen: it has no XFRM (")


@case
def lost():
    """An incomplete list is requested again, and counted once."""
    xfrm.a_few()
    both = [Fault("receive", kind, "fail", errno.ENOBUFS, last=2) for kind in (MSG_GETPOLICY, MSG_GETSA)]
    with Faults(*both) as active:
        found = as_json(env=active.env)
    equal((sum(group["count"] for group in found["policies"]), found["larval_sas"]), (3, 2), "what is counted")
    with Faults(Fault("receive", MSG_GETPOLICY, "fail", errno.ENOBUFS)) as active:
        contains(status(code=1, env=active.env).out, "a part of the lists was lost each time")


@case
def quiet():
    """With -q, status prints nothing; the exit status shows orphans."""
    xfrm.a_few()
    with Faults(MATURE) as active:
        result = run("-q", "status", "--socket=/nonexistent", env=active.env)
    equal(result, (4, "", ""), "what is said")


def on_terminal(columns, *words, **env):
    """Runs status on a terminal of this width. Returns its output there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    with Faults(MATURE) as active:
        with subprocess.Popen([XFRMCTL, "status", "--socket=/nonexistent", *words], stdout=theirs,
                              stdin=subprocess.DEVNULL, env=active.env | {"TERM": "xterm"} | env) as running:
            os.close(theirs)
            seen = b""
            # A terminal ends with an error (EIO).
            try:
                while data := os.read(ours, 65536):
                    seen += data
            except OSError:
                pass
            os.close(ours)
            equal(running.wait(), 4, "exit status")
    return seen.decode().replace("\r\n", "\n")


ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@cases([(80,), (200,)])
def terminal(columns):
    """On a terminal of {0} columns no line is longer, and orphans have a colour."""
    netlink.allocate_spi("2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222:3333:4444:5555:7777", ESP)
    seen = on_terminal(columns)
    contains(seen, "\x1b[31morphans ", "\x1b[0m\n")
    text = ESCAPES.sub("", seen)
    assert "\x1b" not in text, text
    too_long = [line for line in text.splitlines() if len(line) > columns]
    equal(too_long, [], "longer lines")
    contains(text, *(["2001:db8:1111:2222:3333:4444:5555:7777"] if columns == 200 else ["…"]))


@cases([("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")])
def no_colour(name, value):
    """With {0}={1}, a terminal gets no escape sequences."""
    xfrm.a_few()
    seen = on_terminal(80, **{name: value})
    is_lacking(seen, "\x1b")
    contains(seen, "orphans      2 of 2 ")


@case
def pipe():
    """In a pipe, nothing is shortened, and nothing has a colour."""
    netlink.allocate_spi("2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222:3333:4444:5555:7777", ESP)
    with Faults(MATURE) as active:
        text = status(code=4, env=active.env | {"TERM": "xterm", "COLUMNS": "40"}).out
    is_lacking(text, "\x1b")
    contains(text, "  2001:db8:1111:2222:3333:4444:5555:6666  2001:db8:1111:2222:3333:4444:5555:7777  ")


def names_in(value):
    if isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from names_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from names_in(part)


METRIC = re.compile(r'^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)'
                    r'(?P<labels>\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
                    r'(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")*\})? (?P<value>[0-9]+)$')


def check_metrics(text):
    """Checks Prometheus's text format: HELP and TYPE come before the samples of a metric, which stand together and
    differ. Returns the samples."""
    assert text.endswith("\n"), text
    samples, seen, current = {}, set(), None
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("# HELP "):
            name, _, help_text = line[len("# HELP "):].partition(" ")
            assert name not in seen and help_text.endswith("."), line
            kind = next(lines)
            assert re.fullmatch(rf"# TYPE {name} (counter|gauge)", kind), kind
            equal(name.endswith("_total"), kind.endswith(" counter"), f"whether {name} is a counter")
            seen.add(name)
            current = name
            continue
        sample = METRIC.match(line)
        assert sample and sample["name"] == current, line
        key = sample["name"] + (sample["labels"] or "")
        assert key not in samples, line
        samples[key] = int(sample["value"])
    assert seen <= {key.partition("{")[0] for key in samples}, "a metric without samples"
    return samples


def everything():
    """Creates a state of the kernel of which nothing is left out. Returns a charon for it."""
    add_routes()
    xfrm.add_policies("src 10.1.0.0/16 dst 10.2.0.0/16 dir out", "src 10.1.0.0/16 dst 10.2.0.0/16 dir fwd action block")
    hold()
    release("--grace=5min")
    netlink.allocate_spi("2001:db8::1", "2001:db8::2", AH, proto="ah", mark=(1, 0xff), if_id=7)
    xfrm.add_policies("src 10.1.0.0/16 dst 10.3.0.0/16 dir out")
    return serving(list_sas=list_sas(), list_policies=Stream("list-policy", []))


@case
def metrics():
    """--metrics keeps to the text format, and is complete."""
    with everything() as server, process("charon", GROUPS_OF_CHARON):
        samples = check_metrics(status_of_mature("--metrics", vici=server.path, code=4).out)
    expected = {
        "xfrmctl_kernel_readable": 1, "xfrmctl_charon_up": 1, "xfrmctl_charon_ike_sas": 1, "xfrmctl_orphans": 1,
        'xfrmctl_charon_info{daemon="charon-systemd",version="5.9.8"}': 1, "xfrmctl_orphans_active": 1,
        'xfrmctl_sas{proto="ah",family="ipv6",mode="tunnel"}': 1, 'xfrmctl_shadows{kind="expiring"}': 1,
        'xfrmctl_policies{dir="out",kind="bypass",ptype="main"}': 1, "xfrmctl_key_managers": 1,
        'xfrmctl_blocked_packets_total{dir="out"}': 0, "xfrmctl_charon_queued_jobs": 3,
        "xfrmctl_routes_unexplained": 2, "xfrmctl_routes_static": 2, "xfrmctl_routes_backup": 0,
    }
    equal({name: samples.get(name) for name in expected}, expected, "samples")
    oldest = samples['xfrmctl_sas_oldest_timestamp_seconds{proto="ah",family="ipv6",mode="tunnel"}']
    assert abs(time.time() - oldest) < 60, oldest


@case
def metrics_of_nothing():
    """--metrics keeps to the text format when little is known."""
    need_nobody()
    samples = check_metrics(status("--metrics", code=1, command=NOBODY).out)
    equal((samples["xfrmctl_kernel_readable"], samples["xfrmctl_charon_up"], "xfrmctl_orphans" in samples),
          (0, 0, False), "samples")
    check_metrics(status("--metrics").out)


@case
def documented():
    """The manual has every name in the JSON, and every metric with its labels."""
    if not (manual := os.environ.get("MANUAL")):
        raise Skip("the manual is not here")
    words = set(re.findall(r"[a-zA-Z_0-9]+", Path(manual).read_text()))
    with everything() as server, process("charon", GROUPS_OF_CHARON):
        found = as_json(read=status_of_mature, vici=server.path, code=4)
        text = status_of_mature("--metrics", vici=server.path, code=4).out
    equal(sorted(set(names_in(found)) - words), [], "names that the manual lacks")
    names = {name.partition("{")[0] for name in check_metrics(text)}
    labels = set(re.findall(r'[{,]([a-z_]+)="', text))
    equal(sorted((names | labels) - words), [], "metrics that the manual lacks")
    # Optional names, without which the check would be incomplete.
    equal({"expire_seconds", "connection", "if_id", "mark", "traffic_usec", "since"} - set(names_in(found)), set(),
          "names that there should be")


@case
def output():
    """--output makes a file that everybody can read, and leaves no other file."""
    with folder() as where:
        file = where / "xfrmctl.prom"
        result = status("--metrics", f"--output={file}")
        equal((result.out, result.err), ("", ""), "what is said")
        check_metrics(file.read_text())
        equal(oct(file.stat().st_mode & 0o7777), oct(0o644), "mode")
        equal(os.listdir(where), ["xfrmctl.prom"], "files")
        status("--json", f"--output={file}")
        json.loads(file.read_text())
        # A name without a folder is a file in the current folder.
        status("--json", "--output=here", cwd=where)
        equal(sorted(os.listdir(where)), ["here", "xfrmctl.prom"], "files")


@case
def output_at_once():
    """A reader of the file always sees a whole one while it is replaced."""
    xfrm.fill("networks", 100)
    with folder() as where:
        file, done, seen = where / "status.json", threading.Event(), []
        status("--json", f"--output={file}")

        def read():
            while not done.is_set():
                seen.append(file.read_bytes())
        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(50):
            status("--json", f"--output={file}")
        done.set()
        reader.join()
        for text in set(seen):
            json.loads(text)


@case
def output_fails():
    """If the file cannot be written, the old one stays, and no other file is left."""
    def small_files_only():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    with folder() as where:
        file = where / "status"
        file.write_text("old")
        result = status("--metrics", f"--output={file}", code=1, preexec_fn=small_files_only)
        equal(result.err, f"xfrmctl: Could not write {file}: File too large. It is as it was.\n", "standard error")
        equal((file.read_text(), os.listdir(where)), ("old", ["status"]), "what is there")
        result = status("--metrics", f"--output={where}/none/status", code=1)
        contains(result.err, f"Could not write {where}/none/status: No such file or directory.")


@case
def full_output():
    """Standard output that takes nothing is a failure."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([XFRMCTL, "status", "--socket=/nonexistent"], stdout=full, stderr=subprocess.PIPE,
                              text=True, env=environment(), check=False)
    equal((done.returncode, done.stderr), (1, "xfrmctl: Could not write the status: No space left on device.\n"),
          "what is said")


def add_routes():
    xfrm.make_uplink()
    xfrm.ip("route", "add", "10.2.0.0/24", "dev", "uplink", "src", "10.8.0.1", "table", "220", "proto", "static")
    xfrm.ip("address", "add", "10.9.0.1/32", "dev", "uplink")
    xfrm.ip("route", "add", "10.3.0.0/24", "dev", "uplink", "src", "10.9.0.1", "table", "220", "proto", "static")
    xfrm.ip("rule", "add", "table", "220", "priority", "220")


@case
def routes():
    """Routes in charon's table that no connection explains are shown, with stale virtual addresses."""
    add_routes()
    conns = Stream("list-conn", [{"net4": {"children": {"net4": {"remote-ts": ["10.2.0.0/16"]}}}}])
    with serving(list_conns=conns, list_policies=Stream("list-policy", [])) as server:
        text = status(vici=server.path).out
        found = as_json(vici=server.path)["routes"]
        empty = as_json("--routes=221", vici=server.path)["routes"]
    contains(text, "routes       1 of 2 in table 220 explained by no connection of charon\n"
             "  10.3.0.0/24 dev uplink src ", "; its source is probably a left-over virtual address on uplink\n")
    equal(found, {"table": 220, "static": 2, "unexplained": 1, "backup": 0, "left_over": [
        {"type": "unicast", "dst": "10.3.0.0/24", "dev": "uplink", "table": 220, "protocol": "static",
         "prefsrc": "10.9.0.1", "explained": False, "stale_address_on": "uplink"}]}, "routes")
    equal(empty, {"table": 221, "static": 0, "unexplained": 0, "backup": 0, "left_over": []},
          "routes of an empty table")


@case
def routes_without_charon():
    """Without charon, no route is explained; beside a silent charon, this is unknown."""
    add_routes()
    contains(status().out, "routes       2 of 2 in table 220 without a charon\n")
    equal(len(as_json()["routes"]["left_over"]), 2, "routes")
    with serving(version=b"") as server:
        found = as_json("--timeout=300ms", vici=server.path, code=1)
    equal("routes" in found, False, "whether routes are known")


@case
def routes_not_explained():
    """If charon stops answering when it is asked about routes, the rest of the answer is complete."""
    add_routes()
    with serving(list_policies=in_turn(Stream("list-policy", []), b"")) as server:
        found = as_json("--timeout=300ms", vici=server.path)
    equal(("routes" in found, found["orphans"], found["problems"]),
          (False, [], ["The routes of table 220 are not known: Connection timed out."]), "what is known")


@cases([
    (["--json", "--metrics"], "exclude each other"),
    (["--output=x"], "--output needs --json or --metrics"),
    (["--json", "--output="], "Use the name of a file"),
    (["--timeout=0", "--json"], "'0' is too short"),
    (["--routes=main"], "'main' is not the number of a routing table"),
    (["--timeout=soon"], "'soon' is not a time span"),
    (["--force"], "`xfrmctl status --help` lists"),
    (["all"], "`xfrmctl status --help` lists"),
])
def usage(words, why):
    """status {0} is refused."""
    result = run("status", *words)
    equal((result.status, result.out, result.err.count("\n")), (2, "", 1), f"what is said ({result})")
    contains(result.err, why)


@case
def output_is_no_file():
    """--output replaces only regular files."""
    with folder() as where:
        os.mkfifo(where / "fifo")
        (where / "link").symlink_to("nothing")
        for name in ("fifo", "link", "."):
            result = run("status", "--json", f"--output={where}/{name}")
            equal(result.status, 2, "exit status")
            contains(result.err, f"{where}/{name} is no regular file, and would be replaced by one.\n")
        equal(sorted(os.listdir(where)), ["fifo", "link"], "files")


# The two ends of the SAs of charon's CHILD_SA in the cases below.
HERE, THERE = "192.0.2.1", "192.0.2.2"
LOCAL, REMOTE = "10.1.0.0/16", "10.2.0.0/16"
DIRECTIONS = ("out", "in", "fwd")


def policies_of(local=LOCAL, remote=REMOTE, more="", dirs=DIRECTIONS):
    """Returns policies as charon installs them for a CHILD_SA. `more` is for the end of each."""
    return [f"src {local if way == 'out' else remote} dst {remote if way == 'out' else local} dir {way} {more} "
            f"tmpl src {HERE} dst {THERE} proto esp reqid 1 mode tunnel" for way in dirs]


def installed(**keys):
    """Returns a CHILD_SA of charon that is in use."""
    return child("ESP", ESP, 0x99) | {"name": "net4", "state": "INSTALLED", "uniqueid": "3", "reqid": "1", "install-time": "60",
                                      "local-ts": [LOCAL], "remote-ts": [REMOTE]} | keys


def conns(*names):
    """Returns the answers about a configuration with a child of the same name in each of these connections."""
    found = [{name: {"remote_addrs": [THERE], "children": {name: {"mode": "TUNNEL"}}}} for name in names]
    return {"list_conns": Stream("list-conn", found), "get_conns": {"conns": list(names)}}


def listed(*policies):
    """Returns the answer about traps and shunts: (name, mode, local selectors, remote selectors)."""
    return Stream("list-policy", [{f"net4/{name}": {"child": name, "ike": "net4", "mode": mode, "local-ts": ours,
                                                    "remote-ts": theirs}} for name, mode, ours, theirs in policies])


def in_use(*names, **keys):
    """Returns the answer about SAs: connections with a child of the same name; `keys` are those of the children."""
    sas = {f"{name}-{number}": installed(**{"name": name, "uniqueid": str(number + 3)} | keys)
           for number, name in enumerate(names or ("net4",))}
    return Stream("list-sa", [{"net4": {"version": "2", "child-sas": sas}}])


def have_sas(*spis):
    for spi in spis or (ESP, 0x99):
        netlink.allocate_spi(HERE, THERE, spi)


KINDS = ("missing_sas", "missing_policies", "unexplained_policies", "missing_rules", "missing_routes",
         "unconfigured_child_sas")


def found_by(**commands):
    """Returns the findings of status beside a charon with these answers, by kind, without empty kinds."""
    with serving(**({"list_sas": in_use()} | conns("net4") | commands)) as server:
        result = run("status", f"--socket={server.path}", "--json")
    found = json.loads(result.out)
    kinds = {kind: found[kind] for kind in KINDS if found[kind]}
    equal(result.status, 4 if kinds else 0, f"exit status ({result})")
    return kinds


@case
def metrics_of_findings():
    """Each kind of finding is a metric, and is documented."""
    add_routes()
    xfrm.ip("rule", "delete", "table", "220")
    xfrm.add_policies(*policies_of("10.7.0.0/16", dirs=["out"]), *policies_of(dirs=["in"]))
    hold("--match=dir=in")
    keys = {"local-ts": ["10.8.0.0/24", LOCAL], "remote-ts": [REMOTE]}
    with serving(list_sas=in_use(**keys), **conns("other")) as server:
        samples = check_metrics(status("--metrics", vici=server.path, code=4).out)
        found = as_json(vici=server.path, code=4)
    expected = {
        "xfrmctl_missing_sas": 2, 'xfrmctl_missing_policies{traffic="unprotected"}': 5,
        'xfrmctl_missing_policies{traffic="blocked"}': 1, "xfrmctl_unexplained_policies": 1,
        'xfrmctl_missing_rules{family="ipv4"}': 1, 'xfrmctl_missing_rules{family="ipv6"}': 0,
        "xfrmctl_missing_routes": 1, "xfrmctl_unconfigured_child_sas": 1, "xfrmctl_connections_left_out": 0,
        'xfrmctl_connection_up{connection="other",child="other",waits_for="nothing"}': 0,
    }
    equal({name: samples.get(name) for name in expected}, expected, "samples")
    equal([len(found[kind]) for kind in KINDS], [2, 6, 1, 1, 1, 1], "findings")
    if manual := os.environ.get("MANUAL"):
        words = set(re.findall(r"[a-zA-Z_0-9]+", Path(manual).read_text()))
        names = set(names_in(found)) | {name.partition("{")[0] for name in samples}
        equal(sorted(names - words), [], "names that the manual lacks")


@case
def agreement():
    """status finds nothing if the kernel has what charon has, and shows the connection as up."""
    have_sas()
    xfrm.add_policies(*policies_of())
    equal(found_by(), {}, "findings")
    with serving(list_sas=in_use(), **conns("net4")) as server:
        begun = time.monotonic()
        text = status(vici=server.path).out
        assert time.monotonic() - begun < 1.9, "it reads twice"
        samples = check_metrics(status("--metrics", vici=server.path).out)
    contains(text, "missing      none: the kernel has what charon has\n",
             "connections  0 down, 0 waiting, 1 up\n  up       net4/net4 for 1min\n")
    equal(samples['xfrmctl_connection_up{connection="net4",child="net4",waits_for="nothing"}'], 1, "whether it is up")
    since = samples['xfrmctl_connection_up_since_timestamp_seconds{connection="net4",child="net4"}']
    assert abs(time.time() - 60 - since) < 20, since


@cases([(way,) for way in DIRECTIONS])
def missing_policy(way):
    """A policy of the direction {0} that the kernel lacks is found; its packets are unprotected."""
    have_sas()
    xfrm.add_policies(*policies_of(dirs=[other for other in DIRECTIONS if other != way]))
    [missing] = found_by()["missing_policies"]
    equal((missing["dir"], missing["src"], missing["traffic"], missing["connection"], missing["child"],
           missing["child_id"], missing["mend"]),
          (way, LOCAL if way == "out" else REMOTE, "unprotected", "net4", "net4", 3,
           "swanctl --terminate --child-id 3; swanctl --initiate --ike 'net4' --child 'net4'"), "finding")
    with serving(list_sas=in_use(), **conns("net4")) as server:
        contains(status(vici=server.path, code=4).out, "missing      1 policy that charon has and the kernel lacks\n",
                 f"dir {way} (unprotected)\n    swanctl --terminate --child-id 3; ")


@cases([
    ("a shadow", policies_of(dirs=["out"]), "hold"),
    ("a policy for all addresses", ["src 0.0.0.0/0 dst 0.0.0.0/0 dir out action block"], ""),
    ("the default policy", [], "setdefault"),
])
def missing_but_blocked(_, policies, how):
    """Packets of a missing policy are blocked by {0}."""
    have_sas()
    xfrm.add_policies(*policies)
    if how == "hold":
        hold("--match=dir=out")
    if how == "setdefault":
        if subprocess.run(["ip", "xfrm", "policy", "setdefault", "out", "block"], capture_output=True,
                          check=False).returncode:
            raise Skip("this kernel, or this iproute2, has no default policy")
        equal(as_json()["default_policy"], {"blocks": {"in": False, "out": True, "fwd": False}}, "default policy")
        contains(status().out, "\ndefault      in allow, fwd allow, out block\n")
        samples = check_metrics(status("--metrics").out)
        equal([samples[f'xfrmctl_default_policy_blocks{{dir="{way}"}}'] for way in ("in", "fwd", "out")], [0, 0, 1],
              "samples")
    xfrm.add_policies(*policies_of(dirs=["in", "fwd"]))
    missing = found_by()["missing_policies"]
    if how == "setdefault":
        xfrm.ip("xfrm", "policy", "setdefault", "out", "accept")
    equal([(policy["dir"], policy["traffic"]) for policy in missing], [("out", "blocked")], "findings")


@case
def no_default():
    """On a kernel without a default policy, it is left out."""
    get_default = 0x28
    with Faults(Fault("send", get_default, "refuse", errno.EINVAL)) as active:
        found = as_json(env=active.env)
        samples = check_metrics(status("--metrics", env=active.env).out)
    equal(("default_policy" in found, [name for name in samples if "default" in name]), (False, []), "what is known")


@case
def missing_of_trap_and_child_sa():
    """A missing policy that a trap and its CHILD_SA share is found once."""
    have_sas()
    xfrm.add_policies(*policies_of(dirs=["in", "fwd"]))
    missing = found_by(list_policies=listed(("net4", "TUNNEL", [LOCAL], [REMOTE])))["missing_policies"]
    equal([(policy["dir"], policy.get("child_id")) for policy in missing], [("out", 3)], "findings")


@cases([(ESP, "in"), (0x99, "out")])
def missing_sa(spi, way):
    """An SA of charon that the kernel lacks is found (SPI {0}, {1})."""
    have_sas(*({ESP, 0x99} - {spi}))
    xfrm.add_policies(*policies_of())
    [missing] = found_by()["missing_sas"]
    equal((missing["spi"], missing["dir"], missing["proto"], missing["connection"]), (spi, way, "esp", "net4"), "SA")


@cases([
    ("is not INSTALLED", {"list_sas": in_use(state="REKEYING")}),
    ("is being replaced", {"list_sas": list_sas(installed(), installed(uniqueid="4", state="REKEYED"))}),
    ("has gone at the second look", {"list_sas": in_turn(in_use(), list_sas())}),
    ("has come at the second look", {"list_sas": in_turn(list_sas(), in_use())}),
    ("is another one at the second look", {"list_sas": in_turn(in_use(), in_use(uniqueid="9"))}),
])
def judged_only_if_settled(_, commands):
    """Nothing is missing for a CHILD_SA that {0}."""
    with serving(**(conns("net4", "net4-0") | commands)) as server:
        found = as_json(vici=server.path)
    equal([found[kind] for kind in KINDS], [[]] * len(KINDS), "findings")


@cases([
    ("a mark", {"mark-in": "0000002a", "mark-out": "0000002a"}, policies_of(more="mark 0x2a mask 0xffffffff")),
    ("a mark with a mask", {"mark-in": "00000002", "mark-mask-in": "0000000f", "mark-out": "00000002",
                            "mark-mask-out": "0000000f"}, policies_of(more="mark 0x2 mask 0xf")),
    ("an if_id", {"if-id-in": "0000004d", "if-id-out": "0000004d"}, policies_of(more="if_id 77")),
    ("transport mode", {"mode": "TRANSPORT"}, policies_of(dirs=("out", "in"))),
    ("IPv6", {"local-ts": ["fd00:1::/64"], "remote-ts": ["fd00:2::/64"]}, policies_of("fd00:1::/64", "fd00:2::/64")),
    ("several selectors", {"local-ts": [LOCAL, "10.3.0.0/16", "fd00:1::/64"], "remote-ts": [REMOTE, "fd00:2::/64"]},
     [*policies_of(), *policies_of("10.3.0.0/16"), *policies_of("fd00:1::/64", "fd00:2::/64")]),
    ("a range", {"local-ts": ["10.1.0.3..10.1.0.9"]}, policies_of("10.1.0.0/28")),
    ("a protocol", {"local-ts": ["10.1.0.0/16[icmp]"]}, policies_of(more="proto icmp")),
    ("a port", {"remote-ts": ["10.2.0.0/16[tcp/8443]"]},
     [line.replace(" tmpl", f" proto tcp {'dport' if 'dir out' in line else 'sport'} 8443 tmpl")
      for line in policies_of()]),
    ("a service", {"remote-ts": ["10.2.0.0/16[tcp/https]"]},
     [line.replace(" tmpl", f" proto tcp {'dport' if 'dir out' in line else 'sport'} 443 tmpl")
      for line in policies_of()]),
])
def explained(_, keys, policies):
    """status knows the policies of a CHILD_SA with {0}; it misses each, and explains each."""
    have_sas()
    # In a file of arguments of ip, what follows the direction may come in another order.
    policies = [re.sub(r"( dir \w+) (.*?)( proto .*?)? tmpl", order, line) for line in policies]
    xfrm.add_policies(*policies)
    equal(found_by(list_sas=in_use(**keys)), {}, "findings with all policies")
    subprocess.run(["ip", "xfrm", "policy", "flush"], check=True)
    found = found_by(list_sas=in_use(**keys))
    equal((list(found), len(found["missing_policies"])), (["missing_policies"], len(policies)), "findings without them")


def order(match):
    """Puts protocol and ports of a selector before the direction, as ip requires it."""
    words, before, limits = match[2] or "", match[1], match[3] or ""
    if words.startswith("proto"):
        words, limits = "", f" {words}{limits}"
    return f"{limits}{before} {words} tmpl"


@case
def wrong_mark():
    """A policy with another mark, or without the if_id, is not that of the CHILD_SA."""
    have_sas()
    xfrm.add_policies(*policies_of(more="mark 0x2b mask 0xffffffff"))
    keys = {"mark-in": "0000002a", "mark-out": "0000002a"}
    equal(len(found_by(list_sas=in_use(**keys))["missing_policies"]), 3, "missing policies")


@case
def traps_and_shunts():
    """Traps and shunts explain their policies, whatever mark these have, and miss them."""
    traps = listed(("trap", "TUNNEL", [LOCAL], [REMOTE]), ("pass", "PASS", ["10.5.0.0/16"], ["10.6.0.0/16"]),
                   ("drop", "DROP", ["dynamic"], ["dynamic"]))
    xfrm.add_policies(*policies_of(more="if_id 5"), *(f"src {a} dst {b} dir {way}" for a, b, way in (
        ("10.5.0.0/16", "10.6.0.0/16", "out"), ("10.6.0.0/16", "10.5.0.0/16", "in"),
        ("10.6.0.0/16", "10.5.0.0/16", "fwd"), ("0.0.0.0/0", "0.0.0.0/0", "out"), ("::/0", "::/0", "in"))))
    equal(found_by(list_sas=list_sas(), list_policies=traps), {}, "findings")
    xfrm.ip("xfrm", "policy", "delete", "src", LOCAL, "dst", REMOTE, "dir", "out", "if_id", "5")
    xfrm.ip("xfrm", "policy", "delete", "src", "10.6.0.0/16", "dst", "10.5.0.0/16", "dir", "fwd")
    missing = found_by(list_sas=list_sas(), list_policies=traps)["missing_policies"]
    equal(sorted((policy["child"], policy["dir"], policy["mend"]) for policy in missing), [
        (name, way, f"swanctl --uninstall --ike 'net4' --child '{name}'; swanctl --install --ike 'net4' --child '{name}'")
        for name, way in (("pass", "fwd"), ("trap", "out"))], "findings")


@case
def unexplained():
    """Policies that nobody explains are found, but no shadows, kept policies, or policies of sockets."""
    have_sas()
    xfrm.add_policies(*policies_of(), "src 10.7.0.0/16 dst 10.8.0.0/16 dir out action block")
    hold("--match=dst=10.8.0.0/16")
    xfrm.add_policies("src 10.77.0.0/16 dst 10.78.0.0/16 dir out mark 0x10 mask 0xff if_id 0x2a")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        netlink.set_socket_policy(sock, "out")
        [policy] = found_by()["unexplained_policies"]
    equal((policy["dst"], policy["dir"], policy["mark"], policy["if_id"]),
          ("10.78.0.0/16", "out", {"value": 0x10, "mask": 0xff}, 0x2a), "policy")
    subprocess.run(policy["mend"].split(), check=True)
    equal(found_by(), {}, "findings after the command that mends it")


@case
def unconfigured():
    """A CHILD_SA whose connection is not configured is found, unless charon left out connections."""
    have_sas()
    xfrm.add_policies(*policies_of())
    [child_sa] = found_by(**conns("other"))["unconfigured_child_sas"]
    equal(child_sa, {"connection": "net4", "child": "net4", "child_id": 3,
                     "mend": "swanctl --terminate --child-id 3"}, "finding")
    equal(found_by(**(conns("other") | {"get_conns": {"conns": ["other", "huge"]}})), {}, "with an incomplete list")
    equal(found_by(list_sas=in_use("other"), **conns("net4", "other")), {}, "with the IKE_SA of another connection")


@case
def rules_and_routes():
    """A missing rule and a missing route are found; a backup route counts as a route."""
    have_sas()
    add_routes()
    keys = {"local-ts": ["10.8.0.0/24"], "remote-ts": ["10.2.0.0/24"]}
    xfrm.add_policies(*policies_of("10.8.0.0/24", "10.2.0.0/24"))
    commands = {"list_sas": in_use(**keys)}
    equal(found_by(**commands), {}, "findings with both")
    xfrm.ip("rule", "delete", "table", "220")
    [rule] = found_by(**commands)["missing_rules"]
    equal(rule, {"family": "ipv4", "mend": "ip -4 rule add priority 220 table 220"}, "rule")
    subprocess.run(rule["mend"].split(), check=True)
    xfrm.ip("route", "delete", "10.2.0.0/24", "table", "220")
    [route] = found_by(**commands)["missing_routes"]
    equal((route["dst"], route["child"]), ("10.2.0.0/24", "net4"), "route")
    xfrm.ip("route", "add", "10.2.0.0/24", "dev", "uplink", "table", "220", "proto", "88", "metric", "4000000000")
    equal(found_by(**commands), {}, "findings with a backup route")
    for more in ({"if-id-out": "0000004d"}, {"mode": "TRANSPORT"}, {"local-ts": ["10.99.0.0/24"]}):
        xfrm.ip("route", "flush", "table", "220")
        xfrm.ip("route", "add", "10.3.0.0/24", "dev", "uplink", "table", "220", "proto", "static")
        equal("missing_routes" in found_by(list_sas=in_use(**(keys | more))), False, f"a route is missed with {more}")


@case
def connection_states():
    """Connections that are down come first, then those that wait for traffic or for their peer; shunts do not count."""
    have_sas()
    xfrm.add_policies(*policies_of(), *policies_of("10.3.0.0/16"))
    answers = {"list_conns": Stream("list-conn", [
        {"net4": {"remote_addrs": [THERE], "children": {"net4": {"mode": "TUNNEL"}, "lan": {"mode": "PASS"},
                                                        "trap": {"mode": "TUNNEL"}}}},
        {"rw": {"remote_addrs": ["%any"], "children": {"rw": {"mode": "TUNNEL"}}}},
        {"dead": {"remote_addrs": ["gw.example.net"], "children": {"dead": {"mode": "TUNNEL"}}}}]),
        "get_conns": {"conns": ["net4", "rw", "dead"]}}
    with serving(list_sas=in_use(), list_policies=listed(("trap", "TUNNEL", ["10.3.0.0/16"], [REMOTE])),
                 **answers) as server:
        text = status(vici=server.path).out
        found = as_json(vici=server.path)["connections"]
        samples = check_metrics(status("--metrics", vici=server.path).out)
    contains(text, "connections  1 down, 2 waiting, 1 up\n  down     dead/dead\n  waiting  net4/trap for traffic\n"
             "  waiting  rw/rw for its peer\n  up       net4/net4 for 1min\n")
    equal([(entry["child"], entry["up"], entry.get("waits_for")) for entry in found],
          [("dead", False, "nothing"), ("net4", True, None), ("trap", False, "traffic"), ("rw", False, "peer")], "JSON")
    equal(samples['xfrmctl_connection_up{connection="rw",child="rw",waits_for="peer"}'], 0, "sample")


@case
def many_connections():
    """The text has ten connections, the metrics have 256, and the number of the others."""
    names = [f"c{number:03}" for number in range(300)]
    with serving(list_sas=list_sas(), **conns(*names)) as server:
        text = status(vici=server.path).out
        samples = check_metrics(status("--metrics", vici=server.path).out)
        every = status("--all", vici=server.path).out
    equal((text.count("\n  down "), every.count("\n  down ")), (10, 300), "connections in the text")
    contains(text, "connections  300 down, 0 waiting, 0 up\n", "  … and 290 more; --all shows them\n")
    shown = [name for name in samples if name.startswith("xfrmctl_connection_up{")]
    equal((len(shown), "c255" in shown[-1], samples["xfrmctl_connections_left_out"]), (256, True, 44), "samples")


@case
def many_findings():
    """Of each kind of finding ten are shown, or with --all each of them."""
    xfrm.fill("networks", 40)
    with serving(list_sas=list_sas(), **conns("net4")) as server:
        text, every = (status(*words, vici=server.path, code=4).out for words in ((), ("--all",)))
    equal((text.count("\n    ip xfrm policy delete "), every.count("\n    ip xfrm policy delete ") > 10), (10, True),
          "findings")


main()
