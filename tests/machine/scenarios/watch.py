# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl watch` ends a charon that hangs, so that systemd restarts it. It leaves a busy charon alone."""

import signal
import time
from pathlib import Path

import journal
import kernel
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import GATEWAY_FOLDER, Connection, rendered
from gateway_setup import establish, peer_with, start
from linux import processor_seconds
from streams import FEW
from strongswan import Strongswan, gateway

from .hold import crash_under_traffic, note
from .traffic import check_tally

NAME = "net4"
OF_WATCH = Strongswan("xfrmctl-watch@strongswan.service")

HUNG = "An IKE daemon hangs, and is ended"
SLOW = "An IKE daemon does not answer, and is left alone"
ENDED = "An IKE daemon that hung was ended"
ANSWERS = "An IKE daemon answers again"

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


SCENARIOS = (watch, busy)
ONLY_REFERENCE = SCENARIOS
