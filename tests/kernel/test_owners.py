# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that listens for acquires may be a key manager: key managers prevent a flush, monitors do not."""

import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import sandbox
import xfrm
from cases import case, cases, main
from daemon import GROUPS_OF_CHARON, process
from program import IN_UNIT, XFRMCTL, flush, until
from tap import contains, equal

ALL_BUT_ACQUIRES = "0xfffffffe"

# Runs a command with a /proc of its own, in which other processes cannot be seen.
ALONE = ("unshare", "--pid", "--fork", "--mount-proc")

BY_HAND = ("by hand", (XFRMCTL,))
BY_SYSTEMD = ("by systemd", IN_UNIT)


@contextmanager
def looker_on():
    """Runs `ip xfrm monitor`, which is subscribed to all groups. Yields its PID."""
    with subprocess.Popen(["ip", "xfrm", "monitor"], stdout=subprocess.DEVNULL) as running:
        try:
            # Columns: socket, protocol, port id, groups.
            until(lambda: any(columns[1] == "6" and int(columns[3], 16) & 1 for columns in
                              map(str.split, Path("/proc/net/netlink").read_text().splitlines()[1:])),
                  "`ip xfrm monitor` listens")
            yield running.pid
        finally:
            running.kill()


def refuses(*names, options=(), command=(XFRMCTL,)):
    """Checks that the flush is refused in a sentence with these names, and that nothing changes."""
    state = xfrm.a_few()
    result = flush(*options, status=3, command=command)
    contains(result.err, *names, " network namespace. Nothing was removed. Stop the process first, or use --force.\n")
    equal((result.err.count("\n"), result.out), (1, ""), "lines on standard error, and output")
    state.expect_untouched()


def goes_on(*options, command=(XFRMCTL,)):
    """Checks that the flush takes place. Returns its standard error."""
    state = xfrm.a_few()
    result = flush(*options, command=command)
    state.expect()
    return result.err


def sentence_about(name, pid):
    return f"xfrmctl: {name} (PID {pid}) "


ALIVE = "is alive, and manages the SAs and policies of this"
UNKNOWN = "listens for acquires, and may manage the SAs and policies of this"
GOING_ON = "listens for acquires, but does not look like an IKE daemon. The removal continues.\n"
UNSEEN = "A process that /proc does not show "


@cases([(name, *how) for how in (BY_HAND, BY_SYSTEMD)
        for name in ("charon-systemd", "charon", "charon-nm", "pluto", "iked", "racoon")])
def daemon(name, _, command):
    """{0}, which listens for acquires, prevents a flush {1}."""
    with process(name, GROUPS_OF_CHARON) as pid:
        refuses(sentence_about(name, pid), ALIVE, command=command)


@cases([(port, *how) for how in (BY_HAND, BY_SYSTEMD) for port in ("500", "4500")])
def ike_port(port, _, command):
    """Any process that listens for acquires and has UDP port {0} prevents a flush {1}."""
    with process("keyed", GROUPS_OF_CHARON, port) as pid:
        refuses(sentence_about("keyed", pid), ALIVE, command=command)


@cases([(GROUPS_OF_CHARON,), (GROUPS_OF_CHARON, "501")])
def unknown(*words):
    """A process that listens for acquires without a sign of IKE prevents a flush by hand: {0}"""
    with process("watcher", *words) as pid:
        refuses(sentence_about("watcher", pid), UNKNOWN)


@case
def unknown_in_unit():
    """A process that listens for acquires without a sign of IKE does not prevent a flush in a unit."""
    with process("watcher", GROUPS_OF_CHARON) as pid:
        equal(goes_on(command=IN_UNIT), f"xfrmctl: watcher (PID {pid}) {GOING_ON}", "standard error")
        equal(goes_on("-q", command=IN_UNIT), "", "standard error with -q")


@case
def not_the_process_of_the_unit():
    """A command in a shell of a unit counts as run by hand: $SYSTEMD_EXEC_PID has to be xfrmctl's own PID."""
    with process("watcher", GROUPS_OF_CHARON) as pid:
        refuses(sentence_about("watcher", pid), UNKNOWN,
                command=("sh", "-c", 'SYSTEMD_EXEC_PID=$$ "$0" "$@"; exit $?', XFRMCTL))


@cases([BY_HAND, BY_SYSTEMD])
def monitor(_, command):
    """`ip xfrm monitor` does not prevent a flush {0}."""
    with looker_on():
        equal(goes_on(command=command), "", "standard error")


@case
def monitor_detail():
    """With -v, flush names the monitor."""
    with looker_on() as pid:
        contains(goes_on("-v"), f"xfrmctl: ip (PID {pid}) only monitors XFRM events, and is no key manager.\n")


@case
def several():
    """Of several processes that listen for acquires, the most probable key manager is named."""
    with looker_on(), process("watcher", GROUPS_OF_CHARON) as watcher:
        refuses(sentence_about("watcher", watcher), UNKNOWN)
        xfrm.clear()
        with process("charon", GROUPS_OF_CHARON) as charon:
            refuses(sentence_about("charon", charon), ALIVE)


@case
def force():
    """With --force, flush works beside a key manager."""
    with process("charon-systemd", GROUPS_OF_CHARON):
        equal(goes_on("--force"), "", "standard error")


@case
def dry_run():
    """--dry-run works beside a key manager, and reports that a flush needs --force."""
    with process("charon-systemd", GROUPS_OF_CHARON) as pid:
        state = xfrm.a_few()
        result = flush("--dry-run", "--json")
        contains(result.err, sentence_about("charon-systemd", pid), "A removal needs --force.\n")
        equal(json.loads(result.out)["counts"], {"policies": 3, "sas": 2}, "the counts")
        state.expect_untouched()


@cases([("--match=reqid=77",), ("--states-only",), ("--policies-only",), ("-q",)])
def whatever_is_selected(option):
    """A key manager prevents `flush {0}`."""
    with process("charon-systemd", GROUPS_OF_CHARON):
        refuses("charon-systemd", ALIVE, options=[option])


@case
def no_acquires():
    """A process with a daemon's name that listens only for other events does not prevent a flush."""
    with process("charon-systemd", ALL_BUT_ACQUIRES, "500"):
        equal(goes_on(), "", "standard error")


@case
def ended():
    """A key manager that has ended does not prevent a flush."""
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        pass
    equal(goes_on(), "", "standard error")


@case
def upgraded():
    """A key manager is recognized after its executable was removed."""
    with process("charon-systemd", GROUPS_OF_CHARON) as pid:
        os.unlink(os.readlink(f"/proc/{pid}/exe"))
        refuses(sentence_about("charon-systemd", pid), ALIVE, command=IN_UNIT)


@case
def elsewhere():
    """A key manager in another network namespace prevents a flush there, and not here."""
    with process("charon-systemd", GROUPS_OF_CHARON, "500") as pid:
        sandbox.new_network()
        equal(goes_on(), "", "standard error")
        refuses(sentence_about("charon-systemd", pid), ALIVE, options=[f"--netns=/proc/{pid}/ns/net"])


@case
def unseen():
    """A process that cannot be seen prevents a flush by hand, and not in a unit."""
    with process("charon-systemd", GROUPS_OF_CHARON):
        refuses(UNSEEN, UNKNOWN, command=(*ALONE, XFRMCTL))
        xfrm.clear()
        equal(goes_on(command=(*ALONE, *IN_UNIT)), f"xfrmctl: {UNSEEN}{GOING_ON}", "standard error")


@case
def unseen_with_ike_port():
    """A process that cannot be seen, with an IKE port, prevents a flush in a unit too."""
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        refuses(UNSEEN, ALIVE, command=(*ALONE, *IN_UNIT))


@case
def no_proc():
    """Without /proc/net, in which key managers are found, flush fails and reports it; with --force it works."""
    # Only /proc/net is hidden, because AddressSanitizer needs /proc.
    command = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "/proc/$$/net" && exec "$0" "$@"', XFRMCTL)
    state = xfrm.a_few()
    result = flush(status=1, command=command)
    contains(result.err, "Could not find out whether a key manager is alive: ", "Mount /proc, or use --force.\n")
    state.expect_untouched()
    flush("--force", command=command)
    state.expect()


@case
def pfkey():
    """A daemon with a PF_KEY socket prevents a flush."""
    with process("racoon", "pfkey") as pid:
        refuses(sentence_about("racoon", pid), ALIVE)


main()
