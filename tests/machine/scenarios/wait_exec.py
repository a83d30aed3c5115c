# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl wait --exec` starts a charon that does not notify systemd."""

import os
from pathlib import Path

import connections
import journal
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from gateway_setup import stop
from strongswan import gateway

GO = Path("/run/test-go")

# `wait --exec` removes NOTIFY_SOCKET from the environment, so charon-systemd does not notify systemd.
DAEMON = f"/bin/sh -c 'until [ -e {GO} ]; do sleep 0.2; done; exec /usr/sbin/charon-systemd'"
DROP_IN = """
[Service]
NotifyAccess={access}
SyslogIdentifier=charon
Restart={restart}
ExecStart=
ExecStart={program} wait --exec {options} -- {command}
"""

ANSWERS = "The IKE daemon answers"
SILENT = "The IKE daemon does not answer"


def drop_in(access, command=DAEMON, options="", restart="on-failure"):
    return gateway.drop_in(DROP_IN.format(access=access, program=xfrmctl.PROGRAM, options=options, command=command,
                                          restart=restart))


def executable(pid):
    return Path(os.readlink(f"/proc/{pid}/exe")).name


def others(pid):
    """Returns the process ids of the unit, except for the main process."""
    group = Path("/sys/fs/cgroup" + gateway.show("ControlGroup"), "cgroup.procs")
    return set(group.read_text().split()) - {str(pid)}


def started(check):
    """Checks that the unit becomes active only when charon answers over VICI, and that charon is then its only process.
    Returns charon's process id."""
    GO.unlink(missing_ok=True)
    run("systemctl", "start", "--no-block", gateway.unit)
    wait_for(lambda: gateway.main_pid() and executable(gateway.main_pid()) != "xfrmctl", 20, "the daemon is started")
    pid = gateway.main_pid()
    check.equal("not active before it answers", gateway.show("SubState"), "start")
    cursor = journal.now()
    GO.touch()
    wait_for(lambda: gateway.show("SubState") == "running", 60, "the unit is active", POLL_SECONDS_SLOW)
    check.equal("active when it answers, as the unit's main process", (gateway.main_pid(), executable(pid)),
                (pid, "charon-systemd"))
    check.empty("nobody stays beside it", others(pid))
    answers = xfrmctl.said(ANSWERS, cursor)
    check.that("it says so, in the journal and in the unit's status",
               len(answers) == 1 and gateway.show("StatusText") == answers[0]["MESSAGE"],
               (journal.text(answers), gateway.show("StatusText")))
    check.note(journal.text(answers))
    return pid


def check_signals(check, pid):
    cursor = journal.now()
    run("systemctl", "kill", "--signal=SEGV", "--kill-who=main", gateway.unit)
    gateway.wait_restarted(pid)
    exits = [entry for entry in journal.of_unit(gateway.unit, cursor) if "Main process exited" in entry["MESSAGE"]]
    # charon's handler of SIGSEGV aborts the process.
    check.that("a crash is seen by systemd, and charon is started again",
               len(exits) == 1 and "status=6/ABRT" in exits[0]["MESSAGE"], journal.text(exits))
    gateway.stop()
    check.equal("stopped, in good order", (gateway.show("ActiveState"), gateway.show("Result"),
                                           gateway.show("ExecMainStatus")), ("inactive", "success", "0"))


def wait_exec(check):
    stop()
    connections.configure_gateway(())
    xfrmctl.configure()
    xfrmctl.enable(True)
    # NotifyAccess=main is the default of Type=notify, and the strictest value that permits notification.
    with drop_in("main"):
        check_signals(check, started(check))

    check.variant = "never answers"
    with drop_in("main", "/bin/sleep infinity", "--timeout=1s", "no"):
        cursor = journal.now()
        gateway.systemctl("start", check=False)
        said = journal.text(journal.of_unit(gateway.unit, cursor))
        check.that("it is said and ended, and the start has failed",
                   len(xfrmctl.said(SILENT, cursor)) == 1 and "Failed with result 'protocol'" in said, said)
    stop()


SCENARIOS = (wait_exec,)
ONLY_REFERENCE = SCENARIOS
