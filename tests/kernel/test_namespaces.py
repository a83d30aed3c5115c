# SPDX-License-Identifier: GPL-2.0-or-later
"""--netns: xfrmctl removes the state of another network namespace, and only that."""

import json
import subprocess

import linux
import sandbox
import xfrm
from cases import case, cases, main
from program import flush, run
from tap import contains, equal

NAME = "elsewhere"
NAMED = f"/run/netns/{NAME}"


class Two:
    """State in this network namespace and in a named one."""

    def __init__(self):
        xfrm.ip("netns", "add", NAME)
        with linux.inside(NAMED):
            self.there = xfrm.a_few()
        self.here = xfrm.a_few()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        xfrm.ip("netns", "delete", NAME)

    def expect(self, *there):
        self.here.expect_untouched()
        with linux.inside(NAMED):
            self.there.expect(*there)


@cases([(f"--netns={NAME} flush",), (f"--netns {NAME} flush",), (f"flush --netns={NAME}",),
        (f"flush --netns={NAMED}",)])
def goes(words):
    """xfrmctl {0} empties that namespace and no other."""
    with Two() as two:
        result = run(*words.split())
        equal(result.status, 0, f"status ({result.err})")
        contains(result.out, "Removed 2 SAs (1 esp, 1 ah) and 3 policies (1 in, 1 out, 1 fwd) in ")
        two.expect()


@case
def of_process():
    """--netns takes a path below /proc, for the namespace of a process."""
    with Two() as two, subprocess.Popen(["ip", "netns", "exec", NAME, "sh", "-c", "echo ready; read x"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        flush(f"--netns=/proc/{process.pid}/ns/net")
        process.stdin.close()
        two.expect()


@case
def selected():
    """--netns works with selections and dry runs."""
    with Two() as two:
        found = json.loads(flush(f"--netns={NAME}", "--dry-run", "--json", "--match=reqid=1").out)
        equal(found["counts"], {"policies": 2, "sas": 1}, "counts")
        flush(f"--netns={NAME}", "--match=reqid=1")
        two.expect("v6", "v6 ah")


REMEDY = "Use a name of `ip netns list`, or a path such as /proc/PID/ns/net."
MISSING = f"it does not exist. {REMEDY}"
INVALID = f"it is not a network namespace. {REMEDY}"


@cases([
    ("missing", f"Could not enter the network namespace 'missing': {MISSING}"),
    ("/proc/0/ns/net", f"Could not enter the network namespace '/proc/0/ns/net': {MISSING}"),
    ("/dev/null", f"Could not enter '/dev/null': {INVALID}"),
    ("/", f"Could not enter '/': {INVALID}"),
    ("/proc/self/ns/mnt", f"Could not enter '/proc/self/ns/mnt': {INVALID}"),
    ("", f"Could not enter '': {INVALID}"),
])
def refused(netns, sentence):
    """--netns={0} is refused with status 1 and a sentence, and nothing changes."""
    state = xfrm.a_few()
    result = flush(f"--netns={netns}", status=1)
    contains(result.err, f"xfrmctl: {sentence}")
    equal(result.out, "", "output")
    state.expect_untouched()


@case
def too_long():
    """An overlong name is refused with status 1 and one sentence, and nothing changes."""
    state = xfrm.a_few()
    result = flush("--netns=" + "x" * 10000, status=1)
    equal(result.err, f"xfrmctl: Could not enter '{'x' * 64}': {INVALID}\n", "standard error")
    state.expect_untouched()


main(sandbox.new_run_folder)
