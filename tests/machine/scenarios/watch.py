# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl watch` ends a charon that hangs, so that systemd restarts it. It leaves a busy charon alone. It blocks the
traffic of policies that vanish beside a live charon."""

import signal
import time
from pathlib import Path

import journal
import kernel
import netlink
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import CONNECTIONS, GATEWAY_FOLDER, Connection, rendered
from gateway_setup import establish, peer_with, start
from linux import processor_seconds
from streams import FEW, Flows
from strongswan import Strongswan, gateway

from .hold import crash_under_traffic, note
from .traffic import check_tally

NAME = "net4"
OF_WATCH = Strongswan("xfrmctl-watch@strongswan.service")

HUNG = "An IKE daemon hangs, and is ended"
SLOW = "An IKE daemon does not answer, and is left alone"
ENDED = "An IKE daemon that hung was ended"
ANSWERS = "An IKE daemon answers again"
MISSING = "Policies of the IKE daemon are missing in the kernel"
BACK = "Missing policies are back, or no longer needed"

# Maximum number of packets that may pass until a lost policy has its shadow. At FEW packets per second, an emulated
# machine has about 100 ms.
PASSED_MAX = 5

# Number of negotiations at once. Their arithmetic keeps an emulated processor busy for some seconds.
COUNT = 200
ADDRESSES = ("192.0.2.1", "198.51.100.1")
NEGOTIATION_SECONDS = 120


def watching(options):
    xfrmctl.configure(watch_options=options)
    OF_WATCH.systemctl("restart")


def figure(entry, name):
    return int(entry[f"XFRM_{name}"])


def hang(check):
    cursor = check_blocked(check)
    hung, ended = xfrmctl.said(HUNG, cursor), xfrmctl.said(ENDED, cursor)
    check.equal("`journalctl -u` tells once that charon hangs, and once that it has ended", (len(hung), len(ended)),
                (1, 1))
    for entry in hung:
        check.that("the figures: two misses, two seconds of silence and more, no work, and that it is stopped",
                   figure(entry, "MISSES") == 2 and figure(entry, "SILENT_USEC") >= 2_000_000
                   and figure(entry, "CPU_USEC") < 1_000_000 and "is in state T" in entry["MESSAGE"], entry)
    exits = [entry for entry in journal.of_unit(gateway.unit, cursor) if "Main process exited" in entry["MESSAGE"]]
    check.that("charon left a core, after that", hung and len(exits) == 1
               and "code=dumped, status=6/ABRT" in exits[0]["MESSAGE"]
               and journal.monotonic(hung[0]) < journal.monotonic(exits[0]), journal.text(exits))
    check.note(journal.text(hung + ended))


def check_blocked(check):
    outcome = crash_under_traffic(signal.SIGSTOP, {NAME: FEW}, [NAME])
    check_tally(check, outcome.tallies[NAME], held_back=False)
    note(check, outcome)
    return outcome.cursor


def bound(check):
    """Checks that the watch starts and stops with the service, and continues after an automatic restart."""
    check.that("after an automatic restart it goes on", wait_watched())
    gateway.stop()
    check.equal("stopped with the service", OF_WATCH.show("ActiveState"), "inactive")
    gateway.start()
    check.that("started with it", wait_watched())


def wait_watched():
    """Waits until the watch runs, which starts after the service. Returns true."""
    return wait_for(lambda: OF_WATCH.show("ActiveState") == "active", 20, "charon is watched", POLL_SECONDS_SLOW)


def many():
    """Returns the configuration of COUNT connections that the gateway initiates when it loads them."""
    return "".join(rendered(Connection(f"many{i}", ADDRESSES, ADDRESSES, ("10.1.0.1/32", f"10.64.{i}.1/32")), "start")
                   for i in range(COUNT))


# The peer's configuration: one connection that matches all of the gateway's.
FOR_ALL = f"""
connections {{
    many {{
        version = 2
        proposals = aes128-sha256-ecp256
        local_addrs = {ADDRESSES[1]}
        remote_addrs = {ADDRESSES[0]}
        local {{
            auth = psk
        }}
        remote {{
            auth = psk
        }}
        children {{
            many {{
                local_ts = 10.64.0.0/16
                remote_ts = 10.1.0.0/24
                esp_proposals = aes128-sha256
            }}
        }}
    }}
}}
"""


def busy(check):
    """Negotiates 200 SAs at once: the watch leaves the busy charon alone."""
    start((NAME,))
    (GATEWAY_FOLDER / "many.conf").write_text(many())
    # The times are so short that charon answers late and the watch has to decide. It takes three misses, so that the
    # watch does not count a pause of the whole machine as a hang.
    watching("--interval=200ms --deadline=100ms --misses=3")
    cursor, pid = journal.now(), gateway.main_pid()
    used, begun = processor_seconds(pid), time.monotonic()
    with peer_with(FOR_ALL, beside_own=True):
        gateway.swanctl("--load-all", "--noprompt")
        wait_for(lambda: len(kernel.spis()) >= 2 * COUNT, NEGOTIATION_SECONDS, "all negotiations have ended",
                 POLL_SECONDS_SLOW)
        used, elapsed = processor_seconds(pid) - used, time.monotonic() - begun
        check.that("charon was busy", used > elapsed / 10, (used, elapsed))
        check.equal("it is left alone", (gateway.main_pid(), xfrmctl.said(HUNG, cursor)), (pid, []))
        late = xfrmctl.said(ANSWERS, cursor)
        check.note(f"{used:.1f} s of processor time in {elapsed:.1f} s; it was judged "
                   f"{len(xfrmctl.said(SLOW, cursor))} times, its slowest answer came after "
                   f"{max((figure(entry, 'SILENT_USEC') for entry in late), default=0) / 1e6:.1f} s")
    OF_WATCH.systemctl("stop")


# systemd's default permits no core file.
LEAVES_CORE = """
[Service]
LimitCORE=infinity
"""


def watch(check):
    Path("/proc/sys/kernel/core_pattern").write_text("/run/core\n")
    with gateway.drop_in(LEAVES_CORE):
        start((NAME,))
        establish((NAME,))
        run("systemctl", "enable", OF_WATCH.unit)
        watching("--interval=1s --deadline=1s --misses=2")
        for check.variant, part in (("hangs", hang), ("with the service", bound)):
            part(check)
    run("systemctl", "disable", "--now", OF_WATCH.unit)


def lose(direction):
    """Deletes a policy of the connection as an operator might. Returns the milliseconds until its shadow was there."""
    [policy] = [policy for policy in netlink.policies()
                if policy.dir == netlink.DIRS[direction] and policy.templates and policy.selector[0] in ends()]
    with netlink.open_socket(netlink.POLICIES) as events:
        policy.delete()
        seen = {}
        while netlink.MSG_NEWPOLICY not in seen:
            for kind, _ in netlink.messages(events.recv(65536)):
                seen.setdefault(kind, time.monotonic())
    return 1000 * (seen[netlink.MSG_NEWPOLICY] - seen[netlink.MSG_DELPOLICY])


def wait_listening():
    """Waits until the watch has had an answer of charon, whose process it then holds."""
    folder = Path(f"/proc/{OF_WATCH.main_pid()}/fd")
    wait_for(lambda: any("pidfd" in str(file.readlink()) for file in folder.iterdir()), 20, "charon is watched")


def ends():
    """Returns the networks of both ends of the connection, as in selectors."""
    connection = CONNECTIONS[NAME]
    return [netlink.packed(network.split("/")[0]) for network in connection.networks]


def blocked_until_back(check, flows):
    before, cursor = flows.tallies(), journal.now()
    check.note(f"blocked {lose('out'):.1f} ms after the deletion")
    wait_for(lambda: xfrmctl.said(MISSING, cursor), 20, "the report")
    flows.wait_held_back()
    tally = flows.since(before)[NAME]
    check.that("hardly a packet leaves in plaintext, then all are blocked",
               tally.leaked <= PASSED_MAX and tally.refused > 0, tally)
    check.note(f"{tally.leaked} packets left in plaintext, {tally.refused} were blocked")
    gateway.swanctl("--rekey", "--child", NAME)
    wait_for(lambda: not xfrmctl.shadows(), 20, "no shadow is left when charon has the policy again")
    flows.wait_carried()
    check.equal("the journal has one warning, with the policy's name, and one all-clear",
                (len(xfrmctl.said(MISSING, cursor)), len(xfrmctl.said(BACK, cursor))), (2, 1))
    check.note(journal.text(xfrmctl.said(MISSING, cursor) + xfrmctl.said(BACK, cursor)))


def deleted_by_charon(check, flows):
    """charon terminates the connection: its own deletions are not judged."""
    cursor = journal.now()
    gateway.swanctl("--terminate", "--child", NAME)
    flows.wait_carried()
    check.equal("no warning, and no shadow", (xfrmctl.said(MISSING, cursor), xfrmctl.shadows()), ([], []))


def restarted(check, flows):
    watching("--interval=1s --on-missing=restart")
    wait_listening()
    before, cursor, pid = flows.tallies(), journal.now(), gateway.main_pid()
    check.note(f"blocked {lose('in'):.1f} ms after the deletion")
    gateway.wait_restarted(pid)
    flows.wait_carried()
    tally = flows.since(before)[NAME]
    check.that("hardly a forged packet is accepted, and none leaves in plaintext",
               tally.accepted <= PASSED_MAX and tally.forged > 0 and tally.leaked == 0, tally)
    check.equal("one process was ended", len(xfrmctl.said(ENDED, cursor)), 1)
    wait_for(lambda: not xfrmctl.shadows(), 30, "no shadow is left")
    check.note(journal.text(xfrmctl.said(MISSING, cursor) + xfrmctl.said(ENDED, cursor)))


def lost_policies(check):
    """Policies vanish beside a live charon, under traffic."""
    start((NAME,))
    establish((NAME,))
    watching("--interval=1s --on-missing=block")
    wait_listening()
    with Flows({NAME: FEW}) as flows:
        flows.wait_carried()
        for check.variant, part in (("block", blocked_until_back), ("charon deletes", deleted_by_charon),
                                    ("restart", restarted)):
            part(check, flows)
    OF_WATCH.systemctl("stop")


SCENARIOS = (watch, busy, lost_policies)
ONLY_REFERENCE = (watch, busy)
