# SPDX-License-Identifier: GPL-2.0-or-later
"""charon is killed while it loads its connections: swanctl waits for charon, and systemd waits for swanctl. All
timeouts are as installed."""

import os
import signal
import time
from pathlib import Path

import connections
import journal
import thousand
import xfrmctl
from calibration import scaled
from command import CommandFailed, run, wait_for
from gateway_setup import establish, start, wait_handover_over
from streams import FEW, Flows
from strongswan import gateway

from .traffic import check_tally

# The connection that is loaded last. Its traffic is never unprotected.
NAME = "net4"
# Numbers of the other connections, of all, and of those that must be loaded before the kill.
OTHERS = 299
COUNT = OTHERS + 1
ENOUGH = COUNT // 3

HELPER = "xfrmctl-load@strongswan.service"

# Maximum time until another charon runs, in seconds: RestartSec=, the flush, and charon's own start.
BACK_SECONDS = 10

# Deadline for the service and its helper, in seconds: more than TimeoutStartSec=.
WAIT_SECONDS = 150


def configure():
    """Configures the other connections, in a file that swanctl reads before that of NAME."""
    (connections.GATEWAY_FOLDER / "00-first.conf").write_text(thousand.configuration("/24", OTHERS))
    gateway.swanctl("--load-all")


def loaded():
    """Returns the names of the connections that charon has loaded; none if charon does not answer."""
    try:
        return gateway.connections()
    except (CommandFailed, OSError):
        return set()


def helper(name):
    """Returns a property of the helper's unit."""
    return run("systemctl", "show", "--value", f"--property={name}", HELPER).stdout.strip()


def kill_helper(check):
    pid = int(helper("MainPID"))
    check.that("the helper runs", pid, pid)
    if pid:
        os.kill(pid, signal.SIGKILL)


def halfway(check):
    """Kills charon, and waits until the next one has loaded a part of its connections."""
    _, pid = gateway.crash(signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), WAIT_SECONDS, f"process {pid} is gone")
    wait_for(lambda: len(loaded()) >= ENOUGH, WAIT_SECONDS, f"{ENOUGH} connections are loaded")
    state, names = gateway.show("SubState"), loaded()
    check.that("the load goes on", state == "start-post" and NAME not in names, (state, len(names)))
    check.note(f"killed with {len(names)} of {COUNT} connections loaded")


def check_held(check, tally):
    check.that("some packets are held back", tally.refused > 0, tally)
    check.equal("no shadow is left", xfrmctl.shadows(), [])


def check_went_on(check, _):
    wait_handover_over()
    check.note(journal.text(xfrmctl.handovers()[-1:]))


def check_command(check, cursor):
    """Checks how swanctl ended. Usually it waits for an answer and is killed; it exits by itself if its request
    fails."""
    said = journal.text(xfrmctl.said("The IKE daemon ended while its connections were loaded", cursor))
    ends = [entry["MESSAGE"] for entry in journal.of_unit(gateway.unit, cursor)
            if "Control process exited" in entry["MESSAGE"] and "status=0/" not in entry["MESSAGE"]]
    check.that("it is said once that swanctl was killed, or it has ended by itself",
               (said.count("Killing swanctl"), len(ends)) in ((1, 1), (0, 1)), (said, ends))
    check.note(ends[0] if ends else "")


def killed(check, flows, check_mode, before_kill=lambda check: None):
    tallies = flows.tallies()
    halfway(check)
    before_kill(check)
    cursor = journal.now()
    moment, pid = gateway.crash(signal.SIGKILL)
    wait_for(lambda: gateway.main_pid() not in (0, pid), WAIT_SECONDS, "another charon runs")
    seconds = time.time() - moment
    check.note(f"another charon runs after {seconds:.1f} s")
    check.that("another charon runs within seconds", seconds <= scaled(BACK_SECONDS), seconds)
    wait_for(lambda: gateway.is_running_again(pid), WAIT_SECONDS, "the service is up")
    check.note(f"the service is up after {time.time() - moment:.1f} s")
    check.equal("all connections are loaded", len(loaded()), COUNT)
    tally = flows.since(tallies)[NAME]
    check_tally(check, tally, held_back=False)
    check_mode(check, tally)
    results = [entry["UNIT_RESULT"] for entry in journal.of_unit(gateway.unit, cursor) if "UNIT_RESULT" in entry]
    check.equal("the result of the service is that of charon", results, ["signal"])
    check_command(check, cursor)
    wait_for(lambda: helper("ActiveState") == "inactive", WAIT_SECONDS, "the helper ends")
    check.equal("the helper has ended well", helper("Result"), "success")


def run_mode(check, mode, check_mode, before_kill=lambda check: None):
    start((NAME,), mode=mode)
    configure()
    establish((NAME,))
    with Flows({NAME: FEW}) as flows:
        flows.wait_carried()
        killed(check, flows, check_mode, before_kill)


def loads(check):
    run_mode(check, None, check_went_on)


def loads_held(check):
    """Runs in the mode hold. Kills the helper before it kills charon."""
    run_mode(check, "hold", check_held, kill_helper)


SCENARIOS = (loads, loads_held)
ONLY_REFERENCE = (loads_held,)
