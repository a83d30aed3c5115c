# SPDX-License-Identifier: GPL-2.0-or-later
"""State that a flush must not remove: of a manual tunnel, of another strongSwan, and of a running charon."""

import shutil
import signal
from pathlib import Path

import journal
import kernel
import xfrmctl
from command import run
from connections import CONNECTIONS
from gateway_setup import establish, look, start
from pings import Pings
from strongswan import blue, gateway

from .traffic import trigger

IF_ID = 77
MANUAL_SA = "src 192.0.2.77 dst 198.51.100.77 proto esp"
MANUAL_POLICY = "src 10.77.0.0/24 dst 10.78.0.0/24 dir out"


def add_manual_state():
    run(*f"ip xfrm state add {MANUAL_SA} spi 0x7777 reqid 77 mode tunnel if_id {IF_ID}"
         f" aead rfc4106(gcm(aes)) 0x{'77' * 20} 128".split())
    run(*f"ip xfrm policy add {MANUAL_POLICY} if_id {IF_ID} tmpl {MANUAL_SA} reqid 77 mode tunnel".split())


def manual_state():
    return [entry for entry in kernel.sas() + kernel.policies() if entry.if_id == IF_ID]


def excluded(check):
    """Crashes charon beside a manual tunnel with an if_id of its own. The flush leaves it alone if XFRMCTL_SELECT
    excludes it, and removes it otherwise."""
    start()
    xfrmctl.configure(select=f"--exclude=if-id={IF_ID}", mode="hold")
    establish()
    charons = look()
    add_manual_state()
    manual = manual_state()
    check.equal("there is an SA and a policy of another owner", len(manual), 2)

    gateway.crash_and_wait(signal.SIGKILL)
    after = look()
    check.equal("excluded: the other's SA and policy are still there", manual_state(), manual)
    check.equal("excluded: no SA of charon's previous instance is left", charons.spis & after.spis, set())
    check.equal("excluded: no policy of charon's previous instance is left", charons.indexes & after.indexes, set())

    xfrmctl.configure(mode="hold")
    gateway.crash_and_wait(signal.SIGKILL)
    check.equal("not excluded: they are gone, and a shadow stands in the place of the policy",
                [getattr(entry, "user", None) for entry in manual_state()], [xfrmctl.EXPIRING])


def own_namespace(check):
    """Runs a second strongSwan with the same drop-in in its own network namespace. A crash of one must not affect the
    other."""
    drop_in = Path(f"/run/systemd/system/{blue.unit}.d") / xfrmctl.DROP_IN.name
    start()
    drop_in.parent.mkdir(parents=True)
    shutil.copy(xfrmctl.DROP_IN, drop_in)
    run("systemctl", "daemon-reload")
    try:
        blue.start()
        establish()
        establish(["blue"], blue)
        for check.variant, crashed, untouched, name in (("blue crashes", blue, gateway, "net4"),
                                                        ("the other crashes", gateway, blue, "blue")):
            old, others, cursor = look(crashed), look(untouched), journal.now()
            with Pings(CONNECTIONS[name].inner, untouched.netns) as stream:
                stream.wait_for_answers()
                crashed.crash_and_wait(signal.SIGKILL)
                stream.wait_for_answers()
                result = stream.stop()
            check.equal("its old SAs and policies are removed, and no others",
                        [xfrmctl.removed(entry) for entry in xfrmctl.summaries(cursor, crashed.unit)],
                        [(len(old.spis), len(old.indexes))])
            check.equal("no SA of its previous instance is left", old.spis & look(crashed).spis, set())
            check.equal("the other has its SAs and policies as before", look(untouched), others)
            check.that("the other has lost no packet", result.lost == 0, result.output[-300:])
            trigger("blue" if crashed is blue else "net4", crashed)
    finally:
        blue.stop()
        shutil.rmtree(drop_in.parent)
        run("systemctl", "daemon-reload")


def by_hand(check):
    """Runs a flush by hand while charon is running, which xfrmctl refuses unless forced."""
    start()
    establish()
    before = look()
    with Pings(CONNECTIONS["net4"].inner) as stream:
        stream.wait_for_answers()
        refused = run(xfrmctl.PROGRAM, "flush", check=False)
        stream.wait_for_answers()
        result = stream.stop()
    check.equal("it is refused with status 3", refused.returncode, 3)
    check.that("the message names charon and its process",
               "charon-systemd" in refused.stderr and str(gateway.main_pid()) in refused.stderr, refused.stderr)
    check.equal("SAs and policies are as before", look(), before)
    check.that("no packet is lost", result.lost == 0, result.output[-300:])
    forced = run(xfrmctl.PROGRAM, "flush", "--force", check=False)
    check.equal("forced, it removes them", (forced.returncode, kernel.spis(), kernel.policies()), (0, set(), []))


SCENARIOS = (excluded, own_namespace, by_hand)
ONLY_REFERENCE = (excluded, own_namespace, by_hand)
