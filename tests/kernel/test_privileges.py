# SPDX-License-Identifier: GPL-2.0-or-later
"""Without a privilege that it needs, xfrmctl names the privilege, and nothing changes. It gives up privileges that it
does not need."""

import ctypes
import os
import re
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import living
import linux
import xfrm
from cases import case, cases, main
from negotiating import charon
from program import XFRMCTL, Faults, Steps, environment, flush, run, until
from tap import Skip, contains, equal, is_lacking
from vici_server import Server

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_KILL, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_ADMIN = 1, 2, 5, 12, 19, 21
CAPABILITIES = {name: number for name, number in globals().items() if name.startswith("CAP_")}

NETWORK = {CAP_NET_ADMIN}
OTHERS = {CAP_SYS_PTRACE, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH}

FILTERED = 2    # SECCOMP_MODE_FILTER

# Whether the build has a filter of system calls. A build for sanitizers has none, the builds for the machines have it.
HAS_FILTER = os.environ.get("SECCOMP", "1") == "1"

REMEDY = "CAP_NET_ADMIN is needed in the user namespace of the network namespace. Run as root."


def without(*capabilities):
    """Returns a function that drops capabilities in the child process before its execve()."""
    def drop():
        for capability in capabilities:
            if linux.libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl(PR_CAPBSET_DROP)")
    return drop


@cases([(options,) for options in ("", "--match=reqid=1", "--dry-run", "--force", "-q")])
def no_net_admin(options):
    """Without CAP_NET_ADMIN, flush {0} fails, and the message has the remedy"""
    state = xfrm.a_few()
    result = flush(*options.split(), status=1, preexec_fn=without(CAP_NET_ADMIN))
    equal(result.err, f"xfrmctl: Could not read and change XFRM state: {REMEDY}\n", "standard error")
    equal(result.out, "", "output")
    state.expect_untouched()


@case
def no_sys_admin():
    """Without CAP_SYS_ADMIN, flush works, but does not enter another namespace."""
    state = xfrm.a_few()
    result = flush("--netns=/proc/self/ns/net", status=1, preexec_fn=without(CAP_SYS_ADMIN))
    contains(result.err, "Could not enter the network namespace '/proc/self/ns/net': Operation not permitted ",
             "CAP_SYS_ADMIN is needed")
    state.expect_untouched()
    flush("--match=reqid=1", preexec_fn=without(CAP_SYS_ADMIN))
    state.expect("v6", "v6 ah")


def user_namespace(*options):
    command = ["unshare", "--user", "--map-root-user", *options]
    done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skip(f"no user namespace can be made: {done.stderr.strip()}")
    return [*command, XFRMCTL]


@case
def user_namespace_not_owner():
    """In a user namespace that does not own the network namespace, root gets the remedy."""
    state = xfrm.a_few()
    result = flush(status=1, command=user_namespace())
    contains(result.err, REMEDY)
    state.expect_untouched()


@case
def user_namespace_owner():
    """In a user namespace that owns the network namespace, root may flush it."""
    result = flush(command=user_namespace("--net"))
    equal(result.out, "Nothing to remove.\n", "output")


def privileges(pid):
    """Returns the privileges of a process: effective, permitted, and inheritable or ambient capabilities, no_new_privs,
    and its filter of system calls."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())

    def capabilities(name):
        return {number for number in range(64) if int(status[name], 16) >> number & 1}

    return (capabilities("CapEff"), capabilities("CapPrm"), capabilities("CapInh") | capabilities("CapAmb"),
            int(status["NoNewPrivs"]), int(status["Seccomp"]))


def confined(capabilities):
    return capabilities, capabilities, set(), 1, FILTERED if HAS_FILTER else 0


@cases([(words, at, kept) for words, at, kept in (
    ("flush --hold", "change", NETWORK), ("flush --keep", "change", NETWORK), ("flush", "change", NETWORK),
    ("flush --hold --routes", "change", NETWORK), ("flush --match=reqid=1", "change", NETWORK),
    ("flush --dry-run", "receive", NETWORK | OTHERS), ("arm", "change", NETWORK),
    ("arm --routes", "change", NETWORK), ("release", "change", NETWORK),
    ("release --routes", "change", NETWORK | OTHERS), ("handover", "receive", NETWORK | OTHERS),
    ("save --file=/nowhere/saved", "receive", NETWORK), ("status", "send", NETWORK),
    ("status --json --output=/nowhere/json", "send", NETWORK | {CAP_DAC_OVERRIDE}),
    ("service start-pre --unit=x.service", "change", NETWORK), ("service stop --unit=x.service", "change", NETWORK),
    ("service start-post --unit=x.service", "change", NETWORK),
    ("--netns=/proc/self/ns/net flush", "change", NETWORK))])
def gives_up(words, at, kept):
    """At its first message, xfrmctl {0} has only the privileges that it needs, and cannot get others"""
    xfrm.a_few()
    if "release" in words or "start-post" in words:
        flush("--hold")
    with Steps(*words.split(), of=at) as steps:
        steps.ours.recv(16)
        equal(privileges(steps.process.pid), confined(kept), "privileges")
        steps.kill()


@cases([("wait", OTHERS), ("watch", OTHERS | {CAP_KILL, CAP_NET_ADMIN})])
def gives_up_waiting(verb, kept):
    """While it waits, xfrmctl {0} has only the privileges that it needs, and cannot get others"""
    with subprocess.Popen([XFRMCTL, "-q", verb, "--socket=/nowhere/vici"], env=environment()) as process:
        try:
            until(lambda: privileges(process.pid) == confined(kept), "it has given up the rest")
        finally:
            process.kill()


NOBODY = 65534


def as_in(unit):
    """Returns a function that gives the child process, before its execve(), the capabilities of one of our units."""
    if not (folder := os.environ.get("UNITS")):
        raise Skip("the units are not here")
    [names] = re.findall(r"^CapabilityBoundingSet=(.+)$", (Path(folder) / f"{unit}.in").read_text(), re.MULTILINE)
    kept = {CAPABILITIES[name] for name in names.split()}
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return without(*set(range(last + 1)) - kept)


def give_away(path, mode):
    try:
        os.chown(path, NOBODY, NOBODY)
    except OSError as failure:
        raise Skip(f"no file can be given to another user here: {failure}") from failure
    os.chmod(path, mode)


@contextmanager
def of_other_user(mode):
    """Runs a charon with charon.user=: its VICI socket and the socket's folder belong to that user."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vici"
        answers = {"version": {"daemon": "charon", "version": "5.9.8"}, "stats": {"ikesas": {"total": "0"}}}
        with Server(path, answers) as server:
            give_away(path, mode)
            give_away(folder, mode)
            yield server


MODES = [(0o700,), (0o770,)]


@cases(MODES)
def metrics_of_other_user(mode):
    """The unit of the metrics asks a charon whose socket is another user's, with the mode {0:o}."""
    with of_other_user(mode) as server:
        result = run("status", "--metrics", f"--socket={server.path}", preexec_fn=as_in("xfrmctl-metrics.service"))
    contains(result.out, "xfrmctl_charon_up 1\n")


@cases(MODES)
def watch_over_other_user(mode):
    """The unit of watch asks a charon whose socket is another user's, with the mode {0:o}, repeatedly."""
    with of_other_user(mode) as server, tempfile.TemporaryFile("w+") as said:
        def output():
            said.seek(0)
            return said.read()
        with subprocess.Popen([XFRMCTL, "watch", f"--socket={server.path}", "--interval=100ms"], env=environment(),
                              preexec_fn=as_in("xfrmctl-watch@.service"), stderr=said) as process:
            try:
                until(lambda: len(server.seen) > 2 or "Could not ask" in output(), "charon is asked, or it is said why not")
            finally:
                process.kill()
        is_lacking(output(), "Could not ask an IKE daemon")


@cases(MODES)
def handover_to_other_user(mode):
    """The unit of the handover asks a charon whose socket is another user's, with the mode {0:o}."""
    living.make(1)
    living.xfrmctl_living("flush", "--keep")
    with charon((1,)) as server, Faults(living.MATURE) as active:
        give_away(server.path, mode)
        give_away(server.path.parent, mode)
        result = run("handover", server.option, env=active.env, preexec_fn=as_in("xfrmctl-handover@.service"))
    equal((result.status, result.err), (0, ""), "status, and what is said")
    contains(result.out, "Handed over 1 of 1 connections")


@cases([(words,) for words in ("status", "wait --timeout=1s", "flush --orphans", "release --routes --grace=1s", "handover")])
def no_dac_override(words):
    """Without CAP_DAC_OVERRIDE, a failed connection to another user's socket names the capability: {0}"""
    living.make(1)
    xfrm.make_uplink()
    xfrm.ip("route", "add", "10.2.0.0/24", "dev", "uplink", "src", "10.8.0.1", "table", "220", "proto", "88")
    if words == "handover":
        living.xfrmctl_living("flush", "--keep")
    with of_other_user(0o770) as server, Faults(living.MATURE, sure=0) as active:
        result = run(*words.split(), f"--socket={server.path}", env=active.env,
                     preexec_fn=without(CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH))
    contains(result.out + result.err, f"{server.path}", "permission to connect", "CAP_DAC_OVERRIDE")


def xfrmctl_processes():
    """Returns the PIDs of xfrmctl in this network namespace."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):    # it may end meanwhile
            if (folder / "comm").read_text() == "xfrmctl\n" and (folder / "ns/net").samefile("/proc/self/ns/net"):
                found.append(folder.name)
    return found


@case
def command_of_wait():
    """The command of `wait --exec` has all privileges; xfrmctl's process beside it has only those that it needs."""
    with subprocess.Popen([XFRMCTL, "wait", "--exec", "--socket=/nowhere/vici", "--", "cat"], env=environment(),
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "cat\n", "the command runs")
        equal(privileges(process.pid), privileges("self"), "the command's privileges")
        [beside] = xfrmctl_processes()
        until(lambda: privileges(beside) == confined(OTHERS | {CAP_KILL, CAP_SYS_ADMIN}), "it has given up the rest")
        process.stdin.close()


main()
