# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl watch --load`: the main process of a service ends while a command of its ExecStartPost= runs. The test sets
the state in the service manager; the commands are real processes."""

import re
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import sandbox
from cases import case, cases, main
from listening import INTO_JOURNAL, JOURNAL_STREAM, journal
from program import SECONDS, XFRMCTL, environment, run, until
from service import MANAGERS_SOCKET, manager
from tap import contains, equal

LOST = "4d467b8e755b457aa60df64eb3a58593"
UNIT = "test.service"
VERB = "watch", "--load", f"--unit={UNIT}"

# ActiveState, SubState and the type of the job.
STARTING = ("activating", "start-post", "start")
UP = ("active", "running", "-")

# The last main process of the service, which has ended.
MAIN = 4194303
ENDED_USEC = 1


class Service(ExitStack):
    """A service with a running main process, in start-post."""

    def __enter__(self):
        super().__enter__()
        self.manager = self.enter_context(manager(0))
        self.command = self.process("sleep", "1000")
        self.becomes(STARTING)
        return self

    def popen(self, *command, **options):
        process = self.enter_context(subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, **options))
        self.callback(process.kill)
        return process

    def process(self, *command):
        process = self.popen(*command)
        # Popen waits for a pipe, which the kernel closes before it renames the process (begin_new_exec()).
        until(lambda: "python" not in Path(f"/proc/{process.pid}/comm").read_text(), "it has its name")
        return process

    def tell(self, *words):
        print(*words, file=self.manager.stdin, flush=True)

    def state(self, phase, main=True, control=None):
        ended = (1, 1, 0) if main else (0, MAIN, ENDED_USEC)
        return (*phase, *ended, (control or self.command).pid)

    def changes(self, *state):
        """Sets this state in systemd. Returns when it has been read."""
        self.tell(*state)
        equal(self.manager.stdout.readline(), "changed\n", "what the manager says")

    def becomes(self, phase, main=True, control=None):
        self.changes(*self.state(phase, main, control))

    def becomes_next(self, phase, main=True, control=None):
        """Sets the state that follows when the control process has been read in start-post."""
        self.tell("next", *self.state(phase, main, control))
        equal(self.manager.stdout.readline(), "kept\n", "what the manager says")

    def watch(self, *command, **options):
        """Runs the watch. Returns its process when it waits."""
        process = self.popen(*(command or (XFRMCTL,)), *VERB, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=environment(), **options)
        waits(process)
        return process


def waits(process):
    until(lambda: "poll" in Path(f"/proc/{process.pid}/wchan").read_text() or process.poll() is not None, "it waits")
    equal(process.poll(), None, "exit status of what is to wait")


def outcome(process):
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def killed(process):
    equal(process.wait(SECONDS), -signal.SIGKILL, "the end of the command")


def sentence(name, process):
    return (f"xfrmctl: The main process (PID {MAIN}) of {UNIT} has ended, but systemd waits for {name} (PID "
            f"{process.pid}) of ExecStartPost=. Killing {name}, so that Restart= takes effect at once.\n")


@case
def main_ends():
    """If the main process ends, the command is killed once, and the watch continues until the start is over."""
    with Service() as service:
        watch = service.watch()
        equal(service.command.poll(), None, "the command before")
        service.becomes(STARTING, main=False)
        killed(service.command)
        for phase in (STARTING, ("deactivating", "stop-post", "-"), ("activating", "auto-restart", "-"),
                      ("inactive", "dead", "restart"), ("activating", "start-pre", "start")):
            service.becomes(phase, main=False)
            waits(watch)
        service.becomes(UP)
        equal(outcome(watch), (0, "", sentence("sleep", service.command)), "how it ends")


@case
def main_has_ended():
    """If the main process has ended before, the command is killed immediately."""
    with Service() as service:
        service.becomes(STARTING, main=False)
        watch = service.watch()
        killed(service.command)
        service.becomes(("failed", "failed", "-"), main=False)
        equal(outcome(watch), (0, "", sentence("sleep", service.command)), "how it ends")


@case
def next_command():
    """If systemd continues with the next command, that one is killed too."""
    with Service() as service:
        watch = service.watch()
        service.becomes(STARTING, main=False)
        killed(service.command)
        other = service.process("tail", "-f", "/dev/null")
        service.becomes(STARTING, main=False, control=other)
        killed(other)
        service.becomes(UP)
        equal(outcome(watch), (0, "", sentence("sleep", service.command) + sentence("tail", other)), "how it ends")


@case
def main_runs():
    """If the main process runs until the start is over, nothing is killed or reported."""
    with Service() as service:
        watch = service.watch()
        service.becomes(("active", "running", "start"))
        waits(watch)
        service.becomes(UP)
        equal(outcome(watch), (0, "", ""), "how it ends")
        equal(service.command.poll(), None, "the command")


@cases([("activating", "start-pre", "start"), ("activating", "start", "start"), ("deactivating", "stop-post", "-"),
        ("deactivating", "stop-sigterm", "stop"), ("activating", "auto-restart", "-")])
def other_commands(*phase):
    """A command is left alone while the service is {0} ({1}) and its last main process has ended."""
    with Service() as service:
        watch = service.watch()
        service.becomes(phase, main=False)
        waits(watch)
        equal(service.command.poll(), None, "the command")
        service.becomes(("inactive", "dead", "-"), main=False)
        equal(outcome(watch), (0, "", ""), "how it ends")


@cases([("of ExecStopPost=", ("deactivating", "stop-post", "-")), ("of another start", STARTING)])
def command_ends_meanwhile(what, phase):
    """If the command ends before it is killed, the next one, {0}, is left alone."""
    with Service() as service:
        watch = service.watch()
        other = service.process("sleep", "1001")
        service.becomes(("activating", "start", "start"), main=False)
        service.becomes_next(phase, main=phase == STARTING, control=other)
        service.becomes(STARTING, main=False)
        waits(watch)
        equal((service.command.poll(), other.poll()), (None, None), "the commands")
        service.becomes(UP)
        equal(outcome(watch), (0, "", ""), "how it ends")


@case
def no_main_process():
    """The command of a service that has had no main process yet is left alone."""
    with Service() as service:
        watch = service.watch()
        service.changes(*STARTING, 0, 0, 0, service.command.pid)
        waits(watch)
        service.becomes(UP)
        equal((outcome(watch), service.command.poll()), ((0, "", ""), None), "how it ends, and the command")


@cases([("inactive", "dead", "start"), ("active", "running", "restart"), ("deactivating", "stop-sigterm", "restart"),
        ("failed", "failed", "start"), ("activating", "auto-restart", "-")])
def start_is_to_come(*phase):
    """The watch waits for a start that is to come: {0} ({1}), job {2}"""
    with Service() as service:
        service.becomes(phase, main=False)
        watch = service.watch()
        service.becomes(STARTING, main=False)
        killed(service.command)
        service.becomes(UP)
        equal(outcome(watch)[:2], (0, ""), "how it ends")


@cases([UP, ("active", "exited", "-"), ("reloading", "reload", "-"), ("inactive", "dead", "-"), ("failed", "failed", "-")])
def is_over(*phase):
    """The watch ends if there is no start to wait for: {0} ({1})"""
    with Service() as service:
        service.becomes(phase, main=False)
        equal(run(*VERB), (0, "", ""), "how it ends")
        equal(service.command.poll(), None, "the command")


def check_fails(result):
    status, out, err = result
    equal((status, out), (1, ""), "status and output")
    assert re.fullmatch(rf"xfrmctl: Could not watch the start of {UNIT}: .+\. If the main process ends "
                        r"before the end of the start, the restart waits for TimeoutStartSec=\.\n", err), err


@case
def no_systemd():
    """Without systemd, the watch fails."""
    MANAGERS_SOCKET.unlink(missing_ok=True)
    check_fails(run(*VERB))


@case
def systemd_goes():
    """If systemd hangs up, as in a re-execution, the watch fails; its unit restarts it."""
    with Service() as service:
        watch = service.watch()
        service.manager.stdin.close()
        check_fails(outcome(watch))
        equal(service.command.poll(), None, "the command")


@case
def journal_fields():
    """The journal gets the message with the fields of the watched service."""
    with Service() as service, journal() as messages:
        service.becomes(STARTING, main=False)
        watch = service.popen(*INTO_JOURNAL, *VERB, env=environment(JOURNAL_STREAM=JOURNAL_STREAM))
        killed(service.command)
        service.becomes(UP)
        equal(watch.wait(SECONDS), 0, "exit status")
    [fields] = [dict(line.split("=", 1) for line in lines) for lines in messages]
    equal({name: fields.get(name) for name in ("PRIORITY", "MESSAGE_ID", "OBJECT_SYSTEMD_UNIT", "XFRM_DAEMON_PID")},
          {"PRIORITY": "5", "MESSAGE_ID": LOST, "OBJECT_SYSTEMD_UNIT": UNIT, "XFRM_DAEMON_PID": str(MAIN)}, "the fields")
    contains(fields["MESSAGE"], "Killing sleep")


main(sandbox.new_run_folder)
