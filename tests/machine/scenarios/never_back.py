# SPDX-License-Identifier: GPL-2.0-or-later
"""charon crashes and does not come back: all its traffic stays blocked until the service is stopped."""

import signal
import time
from contextlib import contextmanager
from pathlib import Path

import kernel
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import GATEWAY_FOLDER
from gateway_setup import establish, start
from streams import FEW, Flows
from strongswan import gateway

from .failing_helper import away
from .traffic import check_tally

NAME = "net4"
CHARON = Path("/usr/sbin/charon-systemd")

# Makes systemd give up after fewer starts than with the installed drop-in. Restart= makes it restart charon also after
# an exit with an error.
LOW_LIMIT = """
[Unit]
StartLimitBurst=2
[Service]
Restart=on-failure
"""
# The wait for the next attempt has to last until the service is stopped.
LONG_WAIT = """
[Service]
RestartSec=1min
"""

# Deadline for systemd to give up, in seconds.
GIVING_UP_SECONDS = 60

# Minimum time from the first crash for which traffic must stay blocked, in seconds.
BLOCKED_SECONDS = 30

# With the invalid proposal, swanctl reports the error and fails. With the syntax error, it loads no connection and
# exits with status 0.
INVALID = "connections { broken { proposals = nonsense } }\n"
SYNTAX_ERROR = "connections { broken {\n"


@contextmanager
def configuration(text):
    """Adds a file with this text to the gateway's configuration for the with block."""
    file = GATEWAY_FOLDER / "broken.conf"
    file.write_text(text)
    try:
        yield
    finally:
        file.unlink()


def is_waiting():
    return gateway.show("SubState") == "auto-restart"


def wait_given_up(service=gateway):
    wait_for(lambda: service.show("SubState") == "failed", GIVING_UP_SECONDS, "systemd gives up",
             POLL_SECONDS_SLOW)


def check_blocked(check, flows, before, tag=xfrmctl.HOLD):
    """Checks that the traffic has been blocked since the tallies `before`."""
    tally = flows.since(before)[NAME]
    check_tally(check, tally)
    check.equal("a shadow stands in the place of each policy", len(xfrmctl.shadows([tag])), 3)
    check.note(f"{tally.refused} packets held back, {tally.leaked} out in plaintext, "
               f"{tally.accepted} of {tally.forged} forged packets accepted")


def check_stopped(check, flows):
    """Stops the service. Checks that the traffic is unprotected, not blocked, and that no state is left."""
    gateway.stop()
    check.equal("stopped: nothing is left", (kernel.policies(), kernel.spis()), ([], set()))
    check.that("stopped: plaintext passes both ways", flows.becomes_free(NAME), flows.tallies())


def never_back(check):
    start((NAME,))
    establish((NAME,))
    with gateway.drop_in(LOW_LIMIT), Flows({NAME: FEW}) as flows:
        flows.wait_carried()
        before = flows.tallies()
        crashed = time.monotonic()

        check.variant = "no binary"
        with away(CHARON):
            gateway.crash(signal.SIGKILL)
            wait_given_up()
            flows.wait_held_back()
        check_blocked(check, flows, before)

        check.variant = "syntax error in the configuration"
        with configuration(SYNTAX_ERROR):
            run("systemctl", "reset-failed", gateway.unit)
            gateway.start()
            flows.wait_held_back()
        check.that("charon runs, without a connection", NAME not in gateway.connections())
        check_blocked(check, flows, before, xfrmctl.EXPIRING)

        check.variant = "configuration that swanctl refuses"
        with configuration(INVALID):
            gateway.crash(signal.SIGKILL)
            wait_given_up()
            wait_for(lambda: time.monotonic() > crashed + BLOCKED_SECONDS, BLOCKED_SECONDS, "the end of the watch")
            flows.wait_held_back()
        check_blocked(check, flows, before)
        check.note(f"blocked for {time.monotonic() - crashed:.0f} s")
        check_stopped(check, flows)

        check.variant = "between two attempts"
        run("systemctl", "reset-failed", gateway.unit)
        gateway.start()
        flows.wait_carried()
        before = flows.tallies()
        with away(CHARON), gateway.drop_in(LONG_WAIT, "61-test"):
            gateway.crash(signal.SIGKILL)
            wait_for(is_waiting, 30, "systemd waits for the first attempt", POLL_SECONDS_SLOW)
            # The first attempt at once, so that LONG_WAIT comes before the second.
            gateway.systemctl("start", check=False)
            wait_for(is_waiting, 30, "systemd waits for the second attempt", POLL_SECONDS_SLOW)
            flows.wait_held_back()
            check_blocked(check, flows, before)
            check_stopped(check, flows)


SCENARIOS = (never_back,)
ONLY_REFERENCE = SCENARIOS
