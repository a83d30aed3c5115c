# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl service stop`: whether and how it ends the main process of a unit, so that no clean shutdown takes place."""

import re
import signal
from contextlib import contextmanager

import service
import xfrm
from cases import case, cases, main
from program import SECONDS
from service import UNIT, command_in, manager, run_step, running, state, unit
from shadows import shadows
from tables import ESP
from tap import contains, equal

# Test daemons. A signal that is ignored stays ignored over exec().
DAEMON = "echo $$ >{}; echo ready; exec cat"
DAEMON_THAT_IGNORES = "trap '' VTALRM; " + DAEMON


@contextmanager
def daemon(members, program=DAEMON):
    with running("sh", "-c", program.format(members)) as process:
        yield process


def add_policy():
    xfrm.add_policies(f"src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 1000 {ESP}")


def stop(mode, command, **options):
    """Adds a policy, runs `service stop`, and checks that the policy has a shadow. Returns the result."""
    add_policy()
    result = run_step(command, "stop", "-v", MODE=mode, **options)
    equal(len(shadows()), 1, f"number of shadows ({result})")
    return result


def lives(process):
    equal(process.poll(), None, "how the daemon ended")


def ended_by(process, number):
    equal(signal.Signals(-process.wait(SECONDS)).name, signal.Signals(number).name, "the signal that ended it")


@contextmanager
def restarting(program=DAEMON, job="restart", by_systemd=True):
    """Runs a daemon whose unit has this job. Yields its process, and a command that runs xfrmctl in this unit."""
    with unit(UNIT) as members, daemon(members, program) as process, manager(process.pid, state(job)):
        yield process, command_in(members, by_systemd)
        process.kill()
        process.wait(SECONDS)


@case
def handover():
    """If the unit restarts in the mode handover, the shadows are made, then the main process is ended."""
    with restarting() as (process, command):
        result = stop("handover", command, main_pid=process.pid)
        ended_by(process, signal.SIGVTALRM)
    assert re.fullmatch(r"Put shadows behind 1 policy \(1 out\) in \d+\.\d{3} ms\.\n"
                        rf"Ended the main process \(PID {process.pid}\) without a clean shutdown in \d+\.\d{{3}} ms\. "
                        r"Its SAs stay in use until the handover\.\n", result.out), result.out


@case
def ignores():
    """A main process that ignores SIGVTALRM is ended by SIGKILL."""
    with restarting(DAEMON_THAT_IGNORES) as (process, command):
        result = stop("handover", command, main_pid=process.pid)
        ended_by(process, signal.SIGKILL)
    contains(result.out, " without a clean shutdown in 2", " ms, by SIGKILL. Its SAs stay in use ")


@case
def stopped():
    """A main process that SIGSTOP has stopped is ended by SIGKILL."""
    with restarting() as (process, command):
        process.send_signal(signal.SIGSTOP)
        contains(stop("handover", command, main_pid=process.pid).out, " ms, by SIGKILL. ")
        ended_by(process, signal.SIGKILL)


@cases([("hold", "restart"), ("auto", "restart"), ("handover", "start"), ("handover", "reload"), ("handover", "")])
def left_alone(mode, job):
    """In the mode {0}, with the job '{1}', shadows are made, and the main process is left alone."""
    with restarting(job=job) as (process, command):
        stop(mode, command, main_pid=process.pid)
        lives(process)


@cases([("hold",), ("auto",), ("handover",)])
def stopped_for_good(mode):
    """If systemd stops the unit for good, `service stop` does nothing in the mode {0}."""
    with restarting(job="stop") as (process, command):
        add_policy()
        result = run_step(command, "stop", "-v", MODE=mode, main_pid=process.pid)
        equal((result.out, shadows()), ("", []), "output and shadows")
        lives(process)


@case
def flush():
    """In the mode flush, `service stop` does nothing."""
    with restarting() as (process, command):
        add_policy()
        result = run_step(command, "stop", MODE="flush", main_pid=process.pid)
        equal((result, shadows()), ((0, "", ""), []), "result and shadows")
        lives(process)


@case
def by_hand():
    """If systemd has not started xfrmctl, xfrmctl ends no main process, whatever $MAINPID is."""
    with restarting(by_systemd=False) as (process, command):
        stop("handover", command, main_pid=process.pid)
        lives(process)


@case
def no_main_process():
    """Without a main process ($MAINPID), as in ExecStopPost=, only shadows are made."""
    with restarting() as (process, command):
        result = stop("handover", command)
        lives(process)
    contains(result.err, "The unit has no main process: there is nothing to end.\n")


@case
def has_ended():
    """If the main process has ended already, only shadows are made."""
    with restarting() as (process, command):
        process.kill()
        process.wait(SECONDS)
        contains(stop("handover", command, main_pid=process.pid).err, "The unit has no main process")


@case
def of_other_unit():
    """A process of another unit is not ended, and this is reported."""
    with restarting() as (process, command), unit("other.service") as members, daemon(members) as other:
        result = stop("handover", command, status=1, main_pid=other.pid)
        contains(result.err, f"xfrmctl: Could not end process {other.pid} ($MAINPID): the process does not belong to this unit. "
                 "After its clean shutdown, charon negotiates all tunnels anew.\n")
        lives(process)
        lives(other)
        other.kill()
        other.wait(SECONDS)


@case
def no_systemd():
    """If systemd cannot be asked for the job, no process is ended."""
    with unit(UNIT) as members, daemon(members) as process:
        service.MANAGERS_SOCKET.unlink(missing_ok=True)
        result = stop("handover", command_in(members), main_pid=process.pid)
        contains(result.err, f"Could not ask systemd whether {UNIT} is being stopped for good: ")
        lives(process)
        process.kill()
        process.wait(SECONDS)


main(service.own_control_groups)
