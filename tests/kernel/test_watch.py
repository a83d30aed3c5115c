# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl watch` and real processes that stop answering. The test sets the state in the service manager."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress

import linux
import sandbox
from cases import case, cases, main
from listening import INTO_JOURNAL, JOURNAL_STREAM, journal
from program import SECONDS, environment, until
from service import RUNNING, manager
from tap import contains, equal, is_lacking
from vici_server import busy
from watching import ALWAYS, TWO_MISSES, Watch, daemon

PTRACE_SEIZE = 0x4206

HUNG = "e2c325a28bfc4b4c8ed7e08ca694cf6a"
ENDED = "057303beb6c5421086526223c1ed0b63"


@contextmanager
def folder_of_daemon():
    with tempfile.TemporaryDirectory() as folder, daemon(f"{folder}/charon.vici") as process:
        yield f"{folder}/charon.vici", process


@contextmanager
def watched(answers=ALWAYS, then="silent", properties=RUNNING, options=(), main_pid=None):
    """Watches a daemon. Yields both when the daemon has answered."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/charon.vici"
        with daemon(path, answers, then) as process, manager(main_pid or process.pid, properties):
            with Watch(path, *options) as watch:
                watch.wait_for(f"charon-test (PID {process.pid}) answers after ")
                yield process, watch


def ends_by(process, number):
    """Checks that the process ends by this signal."""
    equal(signal.Signals(-process.wait(SECONDS)).name, signal.Signals(number).name, "the signal that ended it")


@case
def stopped():
    """A daemon that is stopped is ended by SIGABRT, after its figures were reported."""
    with watched() as (process, watch):
        process.send_signal(signal.SIGSTOP)
        ends_by(process, signal.SIGABRT)
        watch.wait_for(f"charon-test (PID {process.pid}) ended ")
        contains(watch.said, "has not answered for ", ", 2 questions in a row.", "is in state T",
                 "it is stopped, so xfrmctl ends it (SIGABRT).")
        reported, ended = (watch.said.index(part) for part in ("is stopped, so", "ended 0"))
        assert reported < ended, watch.said


@case
def journal_fields():
    """The journal gets the figures as fields, with the watched unit."""
    with folder_of_daemon() as (path, process), journal() as messages, manager(process.pid):
        with Watch(path, *TWO_MISSES, command=INTO_JOURNAL, env=environment(JOURNAL_STREAM=JOURNAL_STREAM)):
            until(lambda: any("answers after" in lines[0] for lines in messages), "an answer")
            process.send_signal(signal.SIGSTOP)
            until(lambda: any(f"MESSAGE_ID={ENDED}" in lines for lines in messages), "the end")
    found = [dict(line.split("=", 1) for line in lines) for lines in messages]
    [hung, ended] = [fields for fields in found if fields["MESSAGE_ID"] in (HUNG, ENDED)]
    equal({name: hung.get(name) for name in ("PRIORITY", "MESSAGE_ID", "OBJECT_SYSTEMD_UNIT", "XFRM_DAEMON_PID",
                                             "XFRM_MISSES", "XFRM_LIMIT_USEC")},
          {"PRIORITY": "4", "MESSAGE_ID": HUNG, "OBJECT_SYSTEMD_UNIT": "strongswan.service",
           "XFRM_DAEMON_PID": str(process.pid), "XFRM_MISSES": "2", "XFRM_LIMIT_USEC": "300000000"}, "the fields")
    figures = {name: int(hung[f"XFRM_{name}_USEC"]) for name in ("SILENT", "CPU", "QUEUED", "RECENT", "RECENT_BUSY",
                                                                 "SLOWEST")}
    assert 600_000 <= figures["SILENT"] < 30_000_000 and figures["CPU"] < 200_000, figures
    equal((ended["MESSAGE_ID"], ended["XFRM_KILLED"], ended["XFRM_ENDED"]), (ENDED, "0", "1"), "how it ended")


@case
def without_manager():
    """If no service manager answers, the current network namespace is watched, and the message says so."""
    with folder_of_daemon() as (path, _), Watch(path) as watch:
        watch.wait_for("Could not ask systemd for the network namespace of strongswan.service: ",
                       "The current one is used. Use --netns= for another.")


@case
def silent():
    """A daemon that hangs is ended."""
    with watched(answers=3) as (process, watch):
        ends_by(process, signal.SIGABRT)
        watch.wait_for("it hangs, so xfrmctl ends it (SIGABRT).")


@case
def full():
    """A daemon that accepts no connection of any client is ended."""
    with watched() as (process, watch):
        path = re.search(r"--socket=(\S+)", " ".join(watch.command))[1]
        process.send_signal(signal.SIGSTOP)
        with ExitStack() as stack:
            with suppress(BlockingIOError):
                while True:
                    client = stack.enter_context(socket.socket(socket.AF_UNIX))
                    client.setblocking(False)
                    client.connect(path)
            ends_by(process, signal.SIGABRT)
            is_lacking(watch.said, "Could not connect to")


@case
def works():
    """A daemon that is busy is left alone, which is reported once, and answers again."""
    with watched(answers=3, then="works") as (process, watch):
        watch.wait_for("it is busy, so xfrmctl does not end it.", "answers again, after ")
        equal(process.poll(), None, "its exit status")
        equal(watch.said.count("does not end it"), 1, "how often it is reported")


@case
def spins():
    """A daemon that stays busy is left alone until the limit, and then ended."""
    with watched(answers=3, then="spins", options=(*TWO_MISSES, "--limit=3s")) as (process, watch):
        ends_by(process, signal.SIGABRT)
        contains(watch.said, "it is busy, so xfrmctl does not end it.",
                 "the maximum time has passed (--limit), so xfrmctl ends it (SIGABRT).")
        [seconds] = re.findall(r"not answered for ([\d.]+) s.*the maximum time", watch.said)
        assert float(seconds) >= 3, watch.said


@cases([
    ("it is being restarted", ("active", "running", "running", "restart")),
    ("it is being stopped", ("deactivating", "stop-sigterm", "running", "stop")),
    ("it is starting", ("activating", "start-post", "running", "start")),
    ("it is reloading", ("reloading", "reload", "running", "reload")),
    ("it is frozen", ("active", "running", "frozen", "")),
    ("it has failed", ("failed", "failed", "running", "")),
])
def systemd_is_at_work(_, properties):
    """A unit that systemd is changing is left to systemd: {0}"""
    with watched(properties=properties) as (process, watch):
        process.send_signal(signal.SIGSTOP)
        watch.wait_for(f"systemd is changing strongswan.service, so xfrmctl does not end charon-test (PID {process.pid}).")
        until(lambda: watch.misses() > 5, "more questions")
        equal((process.poll(), watch.said.count("systemd is changing")), (None, 1),
              "its exit status, and how often that is reported")


@case
def another_process():
    """A daemon that is not the unit's main process is named immediately, and never ended."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other, watched(main_pid=other.pid) as (process, watch):
        watch.wait_for(f"charon-test (PID {process.pid}) is neither the main process of strongswan.service nor a child of it")
        process.send_signal(signal.SIGSTOP)
        until(lambda: watch.misses() > 5, "more questions")
        equal(process.poll(), None, "its exit status")


@case
def child_of_main():
    """A daemon that is a child of the unit's main process, as with starter, is ended, and not its parent."""
    with watched(main_pid=os.getpid()) as (process, watch):
        process.send_signal(signal.SIGSTOP)
        ends_by(process, signal.SIGABRT)
        watch.wait_for(f"charon-test (PID {process.pid}) ended ")


@case
def debugged():
    """A daemon that is being debugged is left alone."""
    with watched(answers=10) as (process, watch):
        assert linux.libc.ptrace(PTRACE_SEIZE, process.pid, None, None) == 0
        watch.wait_for("a debugger is attached, so xfrmctl does not end it.")
        equal(process.poll(), None, "its exit status")


@case
def no_systemd():
    """Without a service manager, no daemon is ended, and this is reported immediately."""
    with folder_of_daemon() as (path, process), Watch(path, *TWO_MISSES) as watch:
        watch.wait_for("Could not ask systemd about strongswan.service: ")
        process.send_signal(signal.SIGSTOP)
        until(lambda: watch.misses() > 5, "more questions")
        equal(process.poll(), None, "its exit status")


@case
def no_daemon():
    """Without a socket, watch reports it once, and watches when there is one."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/charon.vici"
        with Watch(path, *TWO_MISSES) as watch:
            watch.wait_for(f"Could not ask an IKE daemon on {path}: No such file or directory.", "correct --socket")
            with daemon(path) as process, manager(process.pid):
                watch.wait_for("answers after ")
                process.send_signal(signal.SIGSTOP)
                ends_by(process, signal.SIGABRT)


@case
def never_seen():
    """If no connection is accepted, and the listening process was never seen, no process is ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/charon.vici"
        with busy(path), manager(os.getpid()), Watch(path, *TWO_MISSES) as watch:
            watch.wait_for(f"Could not connect to {path}: no process accepts the connection")
            until(lambda: watch.misses() > 5, "more questions")


@case
def late_watch():
    """A watch that was itself stopped during a request does not count that request."""
    with watched(answers=1, options=("--interval=100ms", "--deadline=1s", "--misses=1")) as (process, watch):
        watch.process.send_signal(signal.SIGSTOP)
        time.sleep(3)   # what makes it late
        watch.process.send_signal(signal.SIGCONT)
        watch.wait_for("xfrmctl itself was late")
        equal(process.poll(), None, "its exit status")


main(sandbox.new_run_folder)
