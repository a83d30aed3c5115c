# SPDX-License-Identifier: GPL-2.0-or-later
"""With xfrmctl as installed, the old SAs carry the traffic after a crash of charon until there are new SAs. In the mode
handover they do so over a planned restart, too. As installed, a planned restart is a clean shutdown of charon."""

import re
import signal

import connections
import journal
import kernel
import xfrmctl
from command import POLL_SECONDS_SLOW, wait_for
from gateway_setup import RECOVERY_SECONDS, RETIRED, establish, is_in_step, look, of_retired, start, wait_known
from losses import losses
from pings import SECONDS_BETWEEN
from strongswan import gateway, peer

# Pings go through the first, TCP through the second, which charon initiates itself.
NAMES = ("net4", "started")

PING = NAMES[0]

# Maximum number of pings lost in each direction.
LOST_AT_MOST = 5

CLEAN_SHUTDOWN = "received DELETE for IKE_SA"


def crash(with_signal):
    return lambda: gateway.crash_and_wait(with_signal)


def wait_handed_over(_):
    wait_for(lambda: is_in_step() and not xfrmctl.kept(), RECOVERY_SECONDS,
             "the kernel's SAs are those that charon lists, and nothing is kept", POLL_SECONDS_SLOW)


def peers_gap(cursor):
    """Returns for how many seconds only one end had SAs. On INITIAL_CONTACT the peer removes its old SAs before it
    makes new ones, and the gateway installs its new SAs later still. In a busy machine, this gap alone costs
    packets."""
    gone = [entry for entry in journal.of_unit(peer.unit, cursor)
            if f"destroying duplicate IKE_SA for peer '{PING}." in str(entry["MESSAGE"])]
    new = [entry for entry in journal.of_unit(gateway.unit, cursor)
           if re.match(rf"CHILD_SA {PING}\{{\d+\}} established", str(entry["MESSAGE"]))]
    return (journal.sent(new[0]) - journal.sent(gone[0])) / 1e6 if gone and new else 0


def check_event(check, event):
    """Checks that an event which ends charon costs at most a few packets, and that all connections are handed over."""
    before, cursor, pid = look(), journal.now(), gateway.main_pid()
    result = losses(event, wait_handed_over, *NAMES)
    after, said, gap = look(), xfrmctl.handovers(cursor), peers_gap(cursor)
    at_most = max(LOST_AT_MOST, round(gap / SECONDS_BETWEEN) + 2)
    check.that("another charon runs", gateway.is_running_again(pid))
    check.that(f"not more than {LOST_AT_MOST} packets are lost each way, or what the peer's gap takes",
               result.ours <= at_most and result.theirs <= at_most, (result, gap))
    check.that("a TCP connection does not break", not result.tcp.broken and result.tcp.bytes > 0, result.tcp)
    check.that("no packet leaves, or is accepted, in plaintext", result.seen.out == result.seen.accepted == 0,
               result.seen)
    check.equal("no SA and no policy of before is left", (before.spis & after.spis, before.indexes & after.indexes),
                (set(), set()))
    check.equal("charon knows every SA of the kernel", after.spis, after.known_spis)
    check.equal("each connection has one", sorted(child.name for child in gateway.child_sas()), sorted(NAMES))
    check.equal("nothing is kept", xfrmctl.kept(), [])
    xfrmctl.check_agreement(check)
    check.equal("the journal says how many were handed over, fell back, and are not configured any more",
                [(entry["XFRM_HANDED_OVER"], entry["XFRM_FELL_BACK"], entry["XFRM_REMOVED"]) for entry in said],
                [(str(len(NAMES)), "0", str(int(bool(before.retired_spis))))])
    check.note(f"{result.ours} and {result.theirs} of {result.sent} pings lost, the peer's gap was {gap:.2f} s; "
               f"longest stall of TCP {result.tcp.longest_stall:.2f} s; {journal.text(said)}")


def clean_shutdowns(cursor):
    """Returns the peer's journal entries about a clean shutdown of the gateway's charon."""
    return [entry for entry in journal.of_unit(peer.unit, cursor) if CLEAN_SHUTDOWN in str(entry["MESSAGE"])]


def check_planned(check):
    cursor, pid = journal.now(), gateway.main_pid()
    result = losses(lambda: gateway.systemctl("restart"), lambda _: wait_known(NAMES), *NAMES)
    check.that("another charon runs", gateway.is_running_again(pid))
    check.that("no packet leaves, or is accepted, in plaintext", result.seen.out == result.seen.accepted == 0,
               result.seen)
    check.that("the peer has heard of it", clean_shutdowns(cursor))
    check.equal("nothing is handed over or kept", (xfrmctl.handovers(cursor), xfrmctl.kept()), ([], []))
    check.note(f"{result.ours} and {result.theirs} of {result.sent} pings lost")


def check_stop(check):
    gateway.stop()
    check.equal("no SA, no policy and no shadow is left", (kernel.sas(), kernel.policies()), ([], []))
    # The clean shutdown does not include the removed connection, which charon does not know.
    wait_for(lambda: not any(peer.has_ike_sas(name) for name in NAMES), 20, "the peer has heard of it")


def check_as_installed(check):
    names = (*NAMES, RETIRED)
    start(names, mode=None)
    establish(("net4", RETIRED))        # charon initiates the other one itself
    wait_known(names)
    connections.remove_from_gateway(RETIRED)
    check.variant = "SIGKILL"
    check_event(check, crash(signal.SIGKILL))
    left = of_retired(kernel.policies())
    check.equal("of the removed connection only shadows are left, for the grace",
                ({policy.user for policy in left}, bool(left)), ({xfrmctl.EXPIRING}, True))
    check.variant = "SIGSEGV"
    check_event(check, crash(signal.SIGSEGV))
    check.variant = "restart"
    check_planned(check)
    check.variant = "restart in the mode handover"
    xfrmctl.configure(mode="handover")
    cursor = journal.now()
    check_event(check, lambda: gateway.systemctl("restart"))
    check.equal("the peer has heard nothing", clean_shutdowns(cursor), [])
    check.variant = "stop"
    check_stop(check)


def handover(check):
    """Configures only the connections. All plugins, the mode and the restart settings are those of the packages."""
    with connections.all_plugins():
        check_as_installed(check)


SCENARIOS = (handover,)
