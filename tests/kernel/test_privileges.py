# SPDX-License-Identifier: GPL-2.0-or-later
"""Without the privileges that it needs, xfrmctl says which, and nothing changes; those that it has and does not need it
gives up."""

import ctypes
import subprocess
from contextlib import suppress
from pathlib import Path

import sandbox
import xfrm
from program import ANY, XFRMCTL, Steps, environment, flush, until
from tap import Skip, case, cases, contains, equal, main

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_KILL, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_ADMIN = 1, 2, 5, 12, 19, 21

NETWORK = {CAP_NET_ADMIN}
OTHERS = {CAP_SYS_PTRACE, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH}

FILTERED = 2    # SECCOMP_MODE_FILTER

# A build for sanitizers has no filter.
HAS_FILTER = "libseccomp" in subprocess.run(["ldd", XFRMCTL], capture_output=True, text=True, check=False).stdout

REMEDY = "CAP_NET_ADMIN is needed in the user namespace that owns the network namespace; run as root."


def without(*capabilities):
    """For the process that a program is started in."""
    def drop():
        for capability in capabilities:
            if sandbox.libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl(PR_CAPBSET_DROP)")
    return drop


@cases([(options,) for options in ("", "--match=reqid=1", "--dry-run", "--force", "-q")])
def no_net_admin(options):
    """Without CAP_NET_ADMIN it fails with the remedy: flush {0}"""
    state = xfrm.a_few()
    result = flush(*options.split(), status=1, preexec_fn=without(CAP_NET_ADMIN))
    equal(result.err, f"xfrmctl: Not permitted to see and change XFRM state: {REMEDY}\n", "standard error")
    equal(result.out, "", "output")
    state.expect_untouched()


@case
def no_sys_admin():
    """Without CAP_SYS_ADMIN it works, but enters no other namespace."""
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
    """Root of a user namespace that does not own the network namespace is told what is needed."""
    state = xfrm.a_few()
    result = flush(status=1, command=user_namespace())
    contains(result.err, REMEDY)
    state.expect_untouched()


@case
def user_namespace_owner():
    """Root of a user namespace may flush the network namespace that it owns."""
    result = flush(command=user_namespace("--net"))
    equal(result.out, "Nothing to remove.\n", "output")


def privileges(pid):
    """Of a process: the capabilities that it may use, and those that it may get; whether it can get more by execve(), and
    its filter of system calls."""
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
    ("save --file=/nowhere/saved", "receive", NETWORK), ("status", "send", NETWORK | OTHERS - {CAP_SYS_PTRACE}),
    ("service start-pre --unit=x.service", "change", NETWORK), ("service stop --unit=x.service", "change", NETWORK),
    ("service start-post --unit=x.service", "change", NETWORK),
    ("--netns=/proc/self/ns/net flush", "change", NETWORK))])
def gives_up(words, at, kept):
    """At its first message it has the capabilities that it needs, no way to others and no needless system calls: {0}"""
    xfrm.a_few()
    if "release" in words or "start-post" in words:
        flush("--hold")
    with Steps(*words.split(), of=at) as steps:
        steps.ours.recv(16)
        equal(privileges(steps.process.pid), confined(kept), "privileges")
        steps.kill()


@cases([("wait", OTHERS), ("watch", OTHERS | {CAP_KILL})])
def gives_up_waiting(verb, kept):
    """It waits with the capabilities that it needs, no way to others and no needless system calls: {0}"""
    with subprocess.Popen([XFRMCTL, "-q", verb, "--socket=/nowhere/vici"], env=environment()) as process:
        try:
            until(lambda: privileges(process.pid) == confined(kept), "it has given up the rest")
        finally:
            process.kill()


def xfrmctl_processes():
    """Those in our network namespace."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):    # it may end meanwhile
            if (folder / "comm").read_text() == "xfrmctl\n" and (folder / "ns/net").samefile("/proc/self/ns/net"):
                found.append(folder.name)
    return found


@case
def command_of_wait():
    """What `wait --exec` starts has all that systemd gave it; the process that stays beside it has what it needs."""
    with subprocess.Popen([XFRMCTL, "wait", "--exec", "--socket=/nowhere/vici", "--", "cat"], env=environment(),
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "cat\n", "the command runs")
        equal(privileges(process.pid), privileges("self"), "the command's privileges")
        [beside] = xfrmctl_processes()
        until(lambda: privileges(beside) == confined(OTHERS | {CAP_KILL, CAP_SYS_ADMIN}), "it has given up the rest")
        process.stdin.close()


main()
