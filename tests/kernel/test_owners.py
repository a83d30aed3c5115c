# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever is told of acquires may own the state: key managers stop a flush, lookers-on do not."""

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

# With a /proc of its own, in which no other process can be seen.
ALONE = ("unshare", "--pid", "--fork", "--mount-proc")

BY_HAND = ("by hand", (XFRMCTL,))
BY_SYSTEMD = ("by systemd", IN_UNIT)


@contextmanager
def looker_on():
    """`ip xfrm monitor`, which is subscribed to everything."""
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
    """The flush is refused in a sentence that contains these, and everything stays."""
    state = xfrm.a_few()
    result = flush(*options, status=3, command=command)
    contains(result.err, *names, " network namespace: nothing was removed. Stop it first, or use --force.\n")
    equal((result.err.count("\n"), result.out), (1, ""), "lines on standard error, and output")
    state.expect_untouched()


def goes_on(*options, command=(XFRMCTL,)):
    """The flush takes place; returns what was said on standard error."""
    state = xfrm.a_few()
    result = flush(*options, command=command)
    state.expect()
    return result.err


def sentence_about(name, pid):
    return f"xfrmctl: {name} (PID {pid}) is "


ALIVE = "is alive and owns the SAs and policies of this"
UNKNOWN = "is told of acquires and may be a key manager that owns the SAs and policies of this"
GOING_ON = "is told of acquires, but is no IKE daemon as far as can be seen: going on.\n"
UNSEEN = "A process that cannot be seen from here "


@cases([(name, *how) for how in (BY_HAND, BY_SYSTEMD)
        for name in ("charon-systemd", "charon", "charon-nm", "pluto", "iked", "racoon")])
def daemon(name, _, command):
    """{0}, told of acquires, stops a flush {1}."""
    with process(name, GROUPS_OF_CHARON) as pid:
        refuses(sentence_about(name, pid), ALIVE, command=command)


@cases([(port, *how) for how in (BY_HAND, BY_SYSTEMD) for port in ("500", "4500")])
def ike_port(port, _, command):
    """A process of any name, told of acquires and with UDP port {0}, stops a flush {1}."""
    with process("keyed", GROUPS_OF_CHARON, port) as pid:
        refuses(sentence_about("keyed", pid), ALIVE, command=command)


@cases([(GROUPS_OF_CHARON,), (GROUPS_OF_CHARON, "501")])
def unknown(*words):
    """A process that is told of acquires and shows no sign of IKE stops a flush by hand: {0}"""
    with process("watcher", *words) as pid:
        refuses(sentence_about("watcher", pid), UNKNOWN)


@case
def unknown_in_unit():
    """A process that is told of acquires and shows no sign of IKE does not keep stale state alive in a unit."""
    with process("watcher", GROUPS_OF_CHARON) as pid:
        equal(goes_on(command=IN_UNIT), f"xfrmctl: watcher (PID {pid}) {GOING_ON}", "standard error")
        equal(goes_on("-q", command=IN_UNIT), "", "standard error with -q")


@case
def not_the_process_of_the_unit():
    """An operator's shell in a unit is no unit: $SYSTEMD_EXEC_PID has to be the program's own."""
    with process("watcher", GROUPS_OF_CHARON) as pid:
        refuses(sentence_about("watcher", pid), UNKNOWN,
                command=("sh", "-c", 'SYSTEMD_EXEC_PID=$$ "$0" "$@"; exit $?', XFRMCTL))


@cases([BY_HAND, BY_SYSTEMD])
def monitor(_, command):
    """`ip xfrm monitor` does not stop a flush {0}."""
    with looker_on():
        equal(goes_on(command=command), "", "standard error")


@case
def monitor_detail():
    """-v says who looks on."""
    with looker_on() as pid:
        contains(goes_on("-v"), f"xfrmctl: ip (PID {pid}) looks on at XFRM events; it is no key manager.\n")


@case
def several():
    """Of several that are told of acquires the one with the strongest evidence is named."""
    with looker_on(), process("watcher", GROUPS_OF_CHARON) as watcher:
        refuses(sentence_about("watcher", watcher), UNKNOWN)
        xfrm.clear()
        with process("charon", GROUPS_OF_CHARON) as charon:
            refuses(sentence_about("charon", charon), ALIVE)


@case
def force():
    """--force goes on beside a key manager."""
    with process("charon-systemd", GROUPS_OF_CHARON):
        equal(goes_on("--force"), "", "standard error")


@case
def dry_run():
    """--dry-run works beside a key manager, and says that --force would be needed."""
    with process("charon-systemd", GROUPS_OF_CHARON) as pid:
        state = xfrm.a_few()
        result = flush("--dry-run", "--json")
        contains(result.err, sentence_about("charon-systemd", pid), "--force would be needed.\n")
        equal(json.loads(result.out)["counts"], {"policies": 3, "sas": 2}, "the counts")
        state.expect_untouched()


@cases([("--match=reqid=77",), ("--states-only",), ("--policies-only",), ("-q",)])
def whatever_is_selected(option):
    """A key manager stops `flush {0}` as well."""
    with process("charon-systemd", GROUPS_OF_CHARON):
        refuses("charon-systemd", ALIVE, options=[option])


@case
def no_acquires():
    """A process of a daemon's name that is told of other events only does not stop a flush."""
    with process("charon-systemd", ALL_BUT_ACQUIRES, "500"):
        equal(goes_on(), "", "standard error")


@case
def ended():
    """A key manager that has ended does not stop a flush."""
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        pass
    equal(goes_on(), "", "standard error")


@case
def upgraded():
    """A key manager whose executable was removed since is known all the same."""
    with process("charon-systemd", GROUPS_OF_CHARON) as pid:
        os.unlink(os.readlink(f"/proc/{pid}/exe"))
        refuses(sentence_about("charon-systemd", pid), ALIVE, command=IN_UNIT)


@case
def elsewhere():
    """A key manager in another network namespace does not stop a flush here, but stops one there."""
    with process("charon-systemd", GROUPS_OF_CHARON, "500") as pid:
        sandbox.new_network()
        equal(goes_on(), "", "standard error")
        refuses(sentence_about("charon-systemd", pid), ALIVE, options=[f"--netns=/proc/{pid}/ns/net"])


@case
def unseen():
    """A process that cannot be seen stops a flush by hand, and does not keep stale state alive in a unit."""
    with process("charon-systemd", GROUPS_OF_CHARON):
        refuses(UNSEEN, UNKNOWN, command=(*ALONE, XFRMCTL))
        xfrm.clear()
        equal(goes_on(command=(*ALONE, *IN_UNIT)), f"xfrmctl: {UNSEEN}{GOING_ON}", "standard error")


@case
def unseen_with_ike_port():
    """A process that cannot be seen, and an IKE port of such a one, stop a flush in a unit too."""
    with process("charon-systemd", GROUPS_OF_CHARON, "500"):
        refuses(UNSEEN, ALIVE, command=(*ALONE, *IN_UNIT))


@case
def no_proc():
    """Where there is no /proc/net to look for owners in, it fails and says so; --force goes on."""
    # Not all of /proc: AddressSanitizer cannot do without.
    command = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "/proc/$$/net" && exec "$0" "$@"', XFRMCTL)
    state = xfrm.a_few()
    result = flush(status=1, command=command)
    contains(result.err, "Could not find out whether a key manager is alive: ", "is /proc mounted? --force goes on ")
    state.expect_untouched()
    flush("--force", command=command)
    state.expect()


@case
def pfkey():
    """A daemon with a PF_KEY socket stops a flush."""
    with process("racoon", "pfkey") as pid:
        refuses(sentence_about("racoon", pid), ALIVE)


main()
