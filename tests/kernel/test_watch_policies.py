# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl watch --on-missing=` and policies that vanish beside a live charon."""

import json
import signal
import struct
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import linux
import netlink
import sandbox
import xfrm
from cases import case, cases, main
from listening import INTO_JOURNAL, JOURNAL_STREAM, journal
from netlink import BLOCK
from program import SECONDS, XFRMCTL, environment, release, run, until
from service import RUNNING, manager
from shadows import real_policies, shadow_of, shadows
from tap import contains, equal, is_lacking
from tags import HOLD
from watching import TWO_MISSES, Watch, daemon

MISSING = "6c0b1e8497d34f2ab5680ec17af43952"
BACK = "e357a80c1b9648df924eb70563da8c1f"

TEMPLATE = "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel"
BACK_TEMPLATE = "tmpl src 192.0.2.2 dst 192.0.2.1 proto esp reqid 1 mode tunnel"
HERE = "10.1.0.0/16"

NAME = "elsewhere"
NAMED = f"/run/netns/{NAME}"

WARNING = "Another process has deleted "


def network(number):
    return f"10.{number // 200 + 2}.{number % 200}.0/24"


def out(number, more=""):
    return f"src {HERE} dst {network(number)} dir out priority 1000 {more} {TEMPLATE}"


def back(number, direction="in"):
    return f"src {network(number)} dst {HERE} dir {direction} priority 1000 {BACK_TEMPLATE}"


def child(number, state="INSTALLED", **more):
    return {"name": f"net{number}", "state": state, **more, "local-ts": [HERE], "remote-ts": [network(number)]}


def ike_sa(*children):
    return {"net": {"state": "ESTABLISHED", "child-sas": {f"{a['name']}-{i}": a for i, a in enumerate(children)}}}


class Charon:
    """A charon with these CHILD_SAs, and a run of watch."""

    def __init__(self, folder, process):
        self.path = Path(folder) / "charon.vici"
        self.process = process
        self.pid = process.pid

    def lists(self, *children, policies=(), ike_sas=1):
        """Sets what charon lists from now on."""
        new = Path(f"{self.path}.new")
        new.write_text(json.dumps({"sas": [ike_sa(*children)], "policies": list(policies), "ike_sas": ike_sas}))
        new.rename(f"{self.path}.json")

    def delete(self, policy):
        """Deletes a policy as charon does, with charon's PID in the request."""
        body = struct.pack(netlink.SELECTOR, *policy.selector, policy.user) + struct.pack("IB3x", 0, policy.dir)
        message = struct.pack("IHHII", 16 + len(body), netlink.MSG_DELPOLICY, netlink.REQUEST | netlink.ACK, 1, self.pid)
        with netlink.open_socket() as sock:
            sock.send(message + body)
            equal(struct.unpack_from("i", sock.recv(65536), 16), (0,), "the kernel's answer")


@contextmanager
def watched(action, *policies, children=(1, 2, 3), properties=RUNNING, netns="", **more):
    """Watches a charon that has these policies, and lists CHILD_SAs with these numbers. `netns` is the network namespace
    of its service."""
    xfrm.add_policies(*policies)
    inside = ("nsenter", f"--net={netns}") if netns else ()
    with tempfile.TemporaryDirectory() as folder, daemon(f"{folder}/charon.vici", before=inside) as process:
        charon = Charon(folder, process)
        charon.lists(*map(child, children))
        with manager(process.pid, properties, netns=netns), Watch(charon.path, *TWO_MISSES, f"--on-missing={action}", **more) as watch:
            if "env" not in more:
                watch.wait_for("answers after ")
            yield charon, watch


def delete(number, direction="out"):
    src, dst = (HERE, network(number)) if direction == "out" else (network(number), HERE)
    xfrm.ip("xfrm", "policy", "delete", "src", src, "dst", dst, "dir", direction)


def wait_blocked(count):
    until(lambda: len(shadows()) == count, f"{count} shadows")


def wait_quiet(watch, count=4):
    """Waits until charon has answered several more questions."""
    before = watch.said.count("answers after")
    until(lambda: watch.said.count("answers after") > before + count, "more answers")


@case
def blocks():
    """A deleted policy that charon needs gets a shadow with the same selector, which is reported"""
    with watched("block", out(1), back(1), back(1, "fwd")) as (charon, watch):
        [lost] = [policy for policy in real_policies() if policy.dir == netlink.DIRS["out"]]
        delete(1)
        wait_blocked(1)
        watch.wait_for(f"{WARNING}1 policy that charon-test (PID {charon.pid}) still needs", "traffic is blocked",
                       f"The kernel has lost policy {HERE} → {network(1)} dir out", "Restart strongswan.service.")
        [shadow] = shadows()
        equal((shadow.user, shadow.action, shadow.key), (HOLD, BLOCK, lost.key), "the shadow")
        wait_quiet(watch)
        equal((len(shadows()), watch.said.count("still needs")), (1, 1), "shadows and reports")


@case
def of_other_namespace():
    """A policy in the service's own network namespace gets its shadow there"""
    xfrm.ip("netns", "add", NAME)
    try:
        with linux.inside(NAMED):
            xfrm.add_policies(out(1), back(1))
        with watched("block", netns=NAMED) as (_, watch):
            with linux.inside(NAMED):
                delete(1)
                wait_blocked(1)
            watch.wait_for(WARNING)
            equal(shadows(), [], "the shadows in this namespace")
    finally:
        xfrm.ip("netns", "delete", NAME)


@case
def back_again():
    """A shadow goes when the policy is back, which is reported"""
    with watched("block", out(1), back(1)) as (_, watch):
        delete(1)
        watch.wait_for(WARNING)
        xfrm.add_policies(out(1))
        wait_blocked(0)
        watch.wait_for("The kernel has 1 lost policy again: the traffic is protected, and not blocked any more.")
        delete(1)
        wait_blocked(1)


@case
def reports():
    """By default a lost policy is only reported, with those that are lost at the same time"""
    with watched("report", *map(out, range(1, 15)), children=range(1, 15)) as (_, watch):
        # A stopped watch receives the events of all deletions at once.
        watch.process.send_signal(signal.SIGSTOP)
        for number in range(1, 15):
            delete(number)
        watch.process.send_signal(signal.SIGCONT)
        watch.wait_for("deleted 14 policies", "traffic is unprotected", "4 more policies are missing.")
        equal((shadows(), watch.said.count("lost policy")), ([], 10), "shadows and names")
        xfrm.add_policies(out(3))
        watch.wait_for("The kernel has 1 lost policy again: the traffic is protected.")


@case
def restarts():
    """With --on-missing=restart the daemon is ended by SIGABRT, once, and the traffic is blocked"""
    with watched("restart", out(1), out(2)) as (charon, watch):
        delete(1)
        equal(signal.Signals(-charon.process.wait(SECONDS)).name, "SIGABRT", "the signal that ended it")
        watch.wait_for("xfrmctl ends charon-test (SIGABRT).", " after SIGABRT.")
        equal(len(shadows()), 1, "shadows")
        # The daemon has ended: xfrmctl does not judge what is deleted now.
        delete(2)
        time.sleep(0.3)     # in which watch would block
        equal(len(shadows()), 1, "shadows")


@case
def restart_needs_unit():
    """A daemon whose unit systemd is changing is not ended"""
    with watched("restart", out(1), properties=("reloading", "reload", "running", "reload")) as (charon, watch):
        delete(1)
        watch.wait_for("systemd is changing strongswan.service, so xfrmctl does not end")
        equal((charon.process.poll(), len(shadows())), (None, 1), "its exit status, and shadows")


@case
def deleted_by_charon():
    """A policy that charon itself deletes is not judged"""
    with watched("block", out(1), out(2)) as (charon, watch):
        [first, _] = sorted(real_policies(), key=lambda policy: policy.selector)
        charon.delete(first)
        delete(2)
        watch.wait_for(WARNING)
        equal((len(shadows()), shadows()[0].selector == first.selector), (1, False), "shadows")
        is_lacking(watch.said, network(1))


@case
def by_index():
    """A policy that is deleted by its index is blocked"""
    with watched("block", out(1)) as (_, watch):
        [policy] = real_policies()
        xfrm.ip("xfrm", "policy", "delete", "dir", "out", "index", str(policy.index))
        watch.wait_for(f"lost policy {HERE}")
        equal(len(shadows()), 1, "shadows")


@case
def flushed():
    """All policies that are flushed are blocked"""
    numbers = range(1, 101)
    with watched("block", *map(out, numbers), *map(back, numbers), children=numbers) as (_, watch):
        wanted = sorted(policy.key for policy in real_policies())
        netlink.flush_policies()
        wait_blocked(200)
        equal(sorted(policy.key for policy in shadows()), wanted, "what the shadows match")
        watch.wait_for("deleted 200 policies", "190 more policies are missing.")


@cases([("mark", "", "mark 0x5 mask 0xff"), ("if_id", "", "if_id 0x7"), ("port", "proto tcp dport 80", "")])
def with_key(_, selector, ids):
    """A policy with {0} is blocked, and its shadow goes"""
    policy = f"src {HERE} dst {network(1)} {selector} dir out {ids} priority 1000 {TEMPLATE}"
    with watched("block", policy) as (charon, watch):
        charon.lists(child(1, **({"if-id-in": "00000007", "if-id-out": "00000007"} if "if_id" in ids else {})))
        [lost] = real_policies()
        lost.delete()
        watch.wait_for(WARNING)
        equal([policy.key for policy in shadows()], [lost.key], "shadows")
        lost.add()
        wait_blocked(0)


@case
def not_needed():
    """A shadow goes when charon does not list the policy: what else deletes a policy may be charon's own doing"""
    with watched("block", out(1), out(2), children=(2,)) as (_, watch):
        delete(1)
        wait_quiet(watch)
        equal(shadows(), [], "shadows")
        is_lacking(watch.said, WARNING)


@case
def not_needed_any_more():
    """A shadow goes when charon no longer lists the policy"""
    with watched("block", out(1)) as (charon, watch):
        delete(1)
        watch.wait_for(WARNING)
        charon.lists(child(1, state="DELETING"))
        wait_blocked(0)
        watch.wait_for("charon-test does not need 1 lost policy any more, so the traffic is not blocked any more.")


@case
def trap():
    """A policy of a trap is blocked"""
    with watched("block", out(1), children=()) as (charon, watch):
        charon.lists(policies=[{"net/net1": {"child": "net1", "local-ts": ["dynamic"], "remote-ts": [network(1)]}}])
        delete(1)
        watch.wait_for(WARNING)
        equal(len(shadows()), 1, "shadows")


@case
def incomplete_list():
    """While charon does not list all of its IKE_SAs, a policy that it does not list stays blocked"""
    with watched("block", out(1), children=()) as (charon, watch):
        charon.lists(child(2), ike_sas=2)
        delete(1)
        watch.wait_for("it did not list all of its IKE_SAs", "Their traffic stays blocked until it answers.")
        equal(len(shadows()), 1, "shadows")
        charon.lists(child(2))
        wait_blocked(0)


@case
def hangs():
    """While charon does not answer, the traffic is blocked at once all the same"""
    with watched("block", out(1), properties=("reloading", "reload", "running", "reload")) as (charon, watch):
        charon.process.send_signal(signal.SIGSTOP)
        until(lambda: watch.misses() > 1, "charon does not answer")
        delete(1)
        wait_blocked(1)
        charon.process.send_signal(signal.SIGCONT)
        watch.wait_for(WARNING)


@case
def bypass_behind():
    """A shadow stands before a bypass that is behind the lost policy"""
    bypass = f"src {HERE} dst 10.0.0.0/8 dir out priority 2000"
    with watched("block", out(1), bypass) as (_, watch):
        delete(1)
        watch.wait_for(WARNING)
        [shadow] = shadows()
        equal(1000 <= shadow.priority < 2000, True, f"its priority ({shadow.priority})")


@case
def bypass_lost():
    """A bypass that is deleted is not judged"""
    with watched("block", f"src {HERE} dst {network(1)} dir out priority 1000", out(2)) as (_, watch):
        delete(1)
        delete(2)
        watch.wait_for(WARNING)
        is_lacking(watch.said, network(1))
        equal(len(shadows()), 1, "shadows")


@case
def own_policies():
    """Shadows that are released are not judged"""
    with watched("block", out(1), out(2)) as (charon, watch):
        delete(1)
        watch.wait_for(WARNING)
        release()
        equal(shadows(), [], "shadows")
        wait_quiet(watch)
        equal(shadows(), [], "shadows")


@case
def armed():
    """A shadow of arm stays when the policy is back"""
    with watched("block", out(1)) as (_, watch):
        equal(run("arm").status, 0, "exit status")
        delete(1)
        watch.wait_for(WARNING)
        xfrm.add_policies(out(1))
        watch.wait_for("The kernel has 1 lost policy again")
        wait_quiet(watch)
        equal(len(shadows()), 1, "shadows")


@case
def killed():
    """A watch that is killed leaves the shadow, which release removes"""
    xfrm.add_policies(out(1))
    with tempfile.TemporaryDirectory() as folder, daemon(f"{folder}/charon.vici") as process:
        charon = Charon(folder, process)
        charon.lists(child(1))
        with manager(process.pid), Watch(charon.path, *TWO_MISSES, "--on-missing=block") as watch:
            watch.wait_for("answers after ")
            delete(1)
            wait_blocked(1)
    equal(len(shadows()), 1, "shadows")
    equal((run("release").status, shadows()), (0, []), "exit status, and shadows")


@case
def storm():
    """What is deleted while the kernel drops events is blocked, and what charon deleted then is not"""
    count = 6000
    xfrm.fill("networks", 20)
    with watched("block", *map(out, range(1, 4)), children=(1, 2)) as (_, watch):
        watch.process.send_signal(signal.SIGSTOP)
        for _ in range(2):
            xfrm.ip("-batch", "-", stdin="".join(
                f"xfrm policy update src 10.77.{i // 250}.{i % 250}/32 dst 10.78.0.0/16 dir out\n" for i in range(count)))
        delete(1)
        delete(3)
        watch.process.send_signal(signal.SIGCONT)
        watch.wait_for(WARNING, network(1))
        wait_blocked(1)
        is_lacking(watch.said, network(3))


@case
def journal_fields():
    """The journal gets the number of lost policies, and the number of those that are back"""
    with journal() as messages:
        with watched("block", out(1), command=INTO_JOURNAL, env=environment(JOURNAL_STREAM=JOURNAL_STREAM)) as (charon, _):
            until(lambda: any("answers after" in lines[0] for lines in messages), "an answer")
            delete(1)
            until(lambda: any(f"MESSAGE_ID={MISSING}" in lines for lines in messages), "the report")
            xfrm.add_policies(out(1))
            until(lambda: any(f"MESSAGE_ID={BACK}" in lines for lines in messages), "the end")
    [first, *_] = [lines for lines in messages if f"MESSAGE_ID={MISSING}" in lines]
    contains("\n".join(first), "PRIORITY=4", "OBJECT_SYSTEMD_UNIT=strongswan.service", f"XFRM_DAEMON_PID={charon.pid}",
             "XFRM_POLICIES=1", "XFRM_BLOCKED=1")


@case
def elsewhere():
    """The policies of a daemon in another network namespace are not watched, which is reported"""
    xfrm.add_policies(out(1))
    with tempfile.TemporaryDirectory() as folder, daemon(f"{folder}/charon.vici", before=("unshare", "-n")) as process:
        charon = Charon(folder, process)
        charon.lists(child(1))
        with manager(process.pid), Watch(charon.path, *TWO_MISSES, "--on-missing=block") as watch:
            watch.wait_for(f"Could not watch the policies of the IKE daemon (PID {process.pid}): it works in another "
                           "network namespace.")
            delete(1)
            wait_quiet(watch)
            equal(shadows(), [], "shadows")


@case
def forbidden():
    """Without CAP_NET_ADMIN the policies are not watched, which is reported, but the daemon is"""
    command = ("setpriv", "--bounding-set=-net_admin", XFRMCTL)
    with watched("block", out(1), command=command) as (charon, watch):
        watch.wait_for("Could not watch charon's policies: Operation not permitted", "xfrmctl only asks whether")
        charon.process.send_signal(signal.SIGSTOP)
        equal(signal.Signals(-charon.process.wait(SECONDS)).name, "SIGABRT", "the signal that ended it")


main(sandbox.new_run_folder)
