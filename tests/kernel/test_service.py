# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl service`, which the units run, with the settings of the operator. With a wrong setting, it blocks traffic
rather than leave it unprotected, and removes no entries of others. When systemd stops the daemon's service for good,
`xfrmctl service` removes everything that it has made."""

import re
import time

import living
import netlink
import service
import xfrm
from cases import case, cases, main
from program import XFRMCTL, environment, flush, run
from service import SAVED, UNIT, command_in, manager, run_step, stopping, unit
from shadows import EXPIRING, HOLD, KEPT, make_shadow, real_policies, shadows
from tables import ESP
from tap import contains, equal, is_lacking

OURS = f"src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 1000 {ESP}"
OTHERS = f"src 10.3.0.0/16 dst 10.4.0.0/16 dir out priority 1077 if_id 77 {ESP}"
SELECT = "--exclude=if-id=77"

# A bypass route of charon's table, which needs no device.
ROUTE = "throw 10.5.0.0/24 proto static"

WRONG_SELECTS = ("--exclude=reqid=many", "--no-such-option", "exclude=if-id=77", "--netns=blue", "--force", "-h",
                 "--exclude", "--exclude=if-id=77 --match='")
WRONG_ROUTES = ("--routes=main", "--routes=x", "220", "--table=220", "--routes=254")
WRONG_FLUSH_OPTIONS = ("--hold", "--force=yes", "--exclude=if-id=77", "force", "--on-stop")
WRONG_RELEASE_OPTIONS = ("--grace=soon", "--grace", "--routes", "5min", "--grace=0 --nonsense")
WRONG_MODES = ("", "hold ", "Handover", "keep")

ANY = [("SELECT", "--exclude=reqid=many"), ("ROUTES", "--routes=x"), ("FLUSH_OPTIONS", "--hold"), ("MODE", "")]


def wrong(result, name):
    """Checks that standard error has one sentence about a wrong setting, with its name and its file."""
    lines = [line for line in result.err.splitlines() if " is wrong: " in line]
    equal(len(lines), 1, f"sentences about wrong settings ({result.err})")
    assert re.fullmatch(rf"xfrmctl: XFRMCTL_{name} is wrong: .+\. .+\. Correct XFRMCTL_{name} in /etc/default/xfrmctl\.", lines[0]), \
        lines[0]
    is_lacking(result.err, "called with", "Nothing was changed")


def make_both():
    """Creates a policy and an SA of the daemon, and of another owner, and a route of charon."""
    xfrm.add_policies(OURS, OTHERS)
    netlink.allocate_spi("192.0.2.1", "192.0.2.2", 0x5001, reqid=1)
    netlink.allocate_spi("192.0.2.1", "192.0.2.3", 0x5077, if_id=77)
    xfrm.ip("route", "add", *ROUTE.split(), "table", "220")


def priorities():
    """Returns the priorities of the policies that are left, by which their owners are recognized."""
    return sorted(policy.priority for policy in real_policies())


def left():
    """Returns the numbers of real policies, of shadows that stay, and of SAs."""
    return len(real_policies()), len(shadows(HOLD)), len(netlink.spis())


def table():
    """Returns the numbers of charon's routes and of backup routes."""
    lines = xfrm.ip("route", "show", "table", "220").splitlines() if "220" in xfrm.ip("route", "show", "table", "all") else []
    return sum("proto static" in line for line in lines), sum("proto 88" in line for line in lines)


@case
def start_pre():
    """start-pre holds the daemon's policies."""
    make_both()
    with stopping(job="start") as command:
        run_step(command, "start-pre", SELECT=SELECT)
    equal((priorities(), left(), table()), ([1077], (1, 1, 1), (0, 1)), "what is left; policies, shadows and SAs; routes")


@cases([(value,) for value in WRONG_MODES])
def mode(value):
    """With a wrong XFRMCTL_MODE, the mode is hold: '{0}'"""
    make_both()
    with stopping(job="start") as command:
        wrong(run_step(command, "start-pre", MODE=value, SELECT=SELECT, status=1), "MODE")
    equal((len(real_policies()), len(shadows(HOLD))), (1, 1), "policies and shadows")


@cases([("stop",), ("stop-post",)])
def mode_at_restart(step):
    """With a wrong XFRMCTL_MODE, {0} holds at a restart"""
    make_both()
    with stopping(job="restart") as command:
        wrong(run_step(command, step, MODE="", SELECT=SELECT, status=1), "MODE")
    equal((len(real_policies()), len(shadows(HOLD))), (2, 1), "policies and shadows")


@cases([(value,) for value in WRONG_SELECTS])
def select(value):
    """With a wrong XFRMCTL_SELECT, a start removes nothing, and every policy gets a shadow: {0}"""
    make_both()
    with stopping(job="start") as command:
        wrong(run_step(command, "start-pre", SELECT=value, status=1), "SELECT")
    equal(left(), (2, 2, 2), "policies, shadows and SAs")


@cases([("hold",), ("auto",), ("handover",), ("flush",)])
def select_in_mode(of_mode):
    """With a wrong XFRMCTL_SELECT in the mode {0}, a restart neither removes anything nor ends the daemon"""
    make_both()
    with stopping(job="restart") as command:
        for step in ("stop", "stop-post", "start-pre"):
            wrong(run_step(command, step, SELECT="all", MODE=of_mode, main_pid=1, status=1), "SELECT")
            equal(left(), (2, 2, 2), "policies, shadows and SAs")


@cases([("stop",), ("stop-post",)])
def select_at_restart(step):
    """With a wrong XFRMCTL_SELECT, every policy gets a shadow at a restart: {0}"""
    make_both()
    with stopping(job="restart") as command:
        wrong(run_step(command, step, SELECT="--match=", status=1), "SELECT")
    equal(left(), (2, 2, 2), "policies, shadows and SAs")


def stop(command, words, **options):
    return run_step(command, "stop-post", *words, **options)


@cases([((),), ((f"--unit={UNIT}",),)])
def select_at_stop(words):
    """With a wrong XFRMCTL_SELECT, a stop removes shadows and kept policies, and no entries of others: {0}"""
    living.make(1)
    living.xfrmctl_living("flush", "--keep")
    make_both()
    flush("--hold", "--policies-only", "--match=priority=1000")
    spis = netlink.spis()
    equal((len(shadows(KEPT)), len(shadows())), (3, 4), "kept policies, and shadows")
    with stopping() as command:
        wrong(stop(command, words, SELECT="--match=", status=1), "SELECT")
    equal((netlink.policies(), priorities(), netlink.spis(), table()), (real_policies(), [1077], spis, (1, 0)),
          "policies, SAs and routes")


@case
def guard_sas_at_stop():
    """With a wrong XFRMCTL_SELECT, a stop removes guard SAs."""
    living.add_real_sas(1)
    xfrm.add_policies(*living.policies(1, living.spi_out(1)))
    spis = netlink.spis()
    flush("--keep")
    equal(netlink.spis(), spis | {living.complement(living.spi_out(1))}, "SAs")
    with stopping() as command:
        wrong(stop(command, (), SELECT="--match=", status=1), "SELECT")
    equal((netlink.policies(), netlink.spis()), ([], spis), "policies and SAs")


def make_acquires():
    """Creates pending acquires of the daemon and of another owner."""
    xfrm.make_uplink()
    xfrm.add_policies(*(f"src 10.8.0.1/32 dst 10.9.{reqid}.0/24 dir out {ESP.replace('reqid 1', f'reqid {reqid}')}"
                        for reqid in (1, 77)))
    xfrm.acquire("10.9.1.1", "10.9.77.1")
    equal(acquires(), [1, 77], "the acquires made")


def acquires():
    """Returns the reqids of the pending acquires."""
    return sorted(xfrm.numbers(xfrm.sa_lines(), "reqid"))


@cases([("", []), ("--exclude=reqid=77", [77]), ("--match=reqid=77", [1])])
def acquires_at_start(value, stay):
    """start-post removes the pending acquires that XFRMCTL_SELECT selects: '{0}'"""
    make_acquires()
    with stopping(job="start") as command:
        contains(run_step(command, "start-post", SELECT=value).out, f"Removed {2 - len(stay)} pending acquire")
    equal(acquires(), stay, "reqids of the acquires that stay")


@case
def acquires_with_wrong_select():
    """With a wrong XFRMCTL_SELECT, start-post removes no acquires, and releases the shadows."""
    make_acquires()
    flush("--hold", "--policies-only")
    with stopping(job="start") as command:
        result = run_step(command, "start-post", SELECT="--match=", RELEASE_OPTIONS="--grace=0", status=1)
    wrong(result, "SELECT")
    contains(result.out, "Released 2 shadows in ")
    equal((acquires(), shadows()), ([1, 77], []), "acquires, and shadows")


@cases([(value,) for value in WRONG_ROUTES])
def routes(value):
    """With a wrong XFRMCTL_ROUTES, start-pre leaves routes as they are: {0}"""
    make_both()
    with stopping(job="start") as command:
        wrong(run_step(command, "start-pre", ROUTES=value, status=1), "ROUTES")
    equal((table(), left()), ((1, 0), (0, 2, 0)), "routes; policies, shadows and SAs")


@case
def backup_routes():
    """With a wrong XFRMCTL_ROUTES, table 220 gets backup routes, which start-post and a stop remove."""
    make_both()
    with stopping(job="restart") as command:
        wrong(run_step(command, "stop", ROUTES="x", status=1), "ROUTES")
        equal(table(), (1, 1), "routes and backup routes")
        wrong(run_step(command, "start-post", ROUTES="x", RELEASE_OPTIONS="--grace=0", status=1), "ROUTES")
        equal(table(), (1, 0), "routes and backup routes")
        run_step(command, "stop")
    with stopping() as command:
        wrong(stop(command, (), ROUTES="x", status=1), "ROUTES")
    equal((table(), left()), ((1, 0), (0, 0, 0)), "routes; policies, shadows and SAs")


@case
def routes_of_another_table():
    """With a wrong XFRMCTL_SELECT, start-pre makes backup routes in the table of XFRMCTL_ROUTES."""
    make_both()
    xfrm.ip("route", "add", *ROUTE.split(), "table", "221")
    with stopping(job="start") as command:
        wrong(run_step(command, "start-pre", SELECT="x", ROUTES="--routes=221", status=1), "SELECT")
    equal((table(), xfrm.ip("route", "show", "table", "221").count("proto 88")), ((1, 0), 1), "routes and backup routes")


@cases([(value,) for value in WRONG_FLUSH_OPTIONS])
def flush_options(value):
    """A wrong XFRMCTL_FLUSH_OPTIONS is ignored: {0}"""
    make_both()
    with stopping(job="start") as command:
        wrong(run_step(command, "start-pre", FLUSH_OPTIONS=value, SELECT=SELECT, status=1), "FLUSH_OPTIONS")
    equal((len(real_policies()), len(shadows(HOLD))), (1, 1), "policies and shadows")
    with stopping() as command:
        wrong(stop(command, (), FLUSH_OPTIONS=value, SELECT=SELECT, status=1), "FLUSH_OPTIONS")
    equal((len(real_policies()), shadows()), (1, []), "policies and shadows")


@cases([(value,) for value in WRONG_RELEASE_OPTIONS])
def release_options(value):
    """With a wrong XFRMCTL_RELEASE_OPTIONS, the grace is five minutes: {0}"""
    xfrm.add_policies(OURS)
    [policy] = netlink.policies()
    make_shadow(policy)
    policy.delete()
    with stopping(job="start") as command:
        wrong(run_step(command, "start-post", RELEASE_OPTIONS=value, status=1), "RELEASE_OPTIONS")
    [shadow] = shadows(EXPIRING)
    equal(shadow.lifetime[5], 300, "seconds of the grace")


@cases(ANY)
def stop_opens(name, value):
    """With a wrong setting, a stop leaves nothing blocked, and removes the saved file: {0}"""
    xfrm.add_policies(OURS)
    with stopping(job="restart") as command:
        for step in ("stop", "stop-post", "start-pre"):
            run_step(command, step, **{name: value}, status=None)
    equal(len(shadows(HOLD)), 1, "shadows")
    SAVED.touch()
    with stopping() as command:
        stop(command, (), **{name: value}, status=0 if name == "MODE" else 1)
    equal((shadows(), SAVED.exists()), ([], False), "shadows, and whether what was saved is there")


@case
def saved_stays():
    """With a wrong XFRMCTL_SELECT, the saved file stays as it is when the machine shuts down."""
    make_both()
    SAVED.write_text("what was there\n")
    with stopping("start") as command:
        wrong(run_step(command, "stop", SELECT="x", status=1), "SELECT")
        equal(len(shadows(HOLD)), 2, "shadows")
        run_step(command, "stop-post", SELECT="x")
    equal((len(shadows(HOLD)), SAVED.read_text()), (2, "what was there\n"), "shadows, and what was saved")
    SAVED.unlink()


@cases([("--exclude='if-id=77'",), ('"--exclude=if-id=77"',), ("  --exclude  if-id=77\t",), (r"--exclude=if\-id=77",),
        ("--verbose --exclude=if-id=77",), ("--exclude=if-id=77 -v",), ("--exclude='if-id=77",)])
def words(value):
    """Settings are split into words as systemd splits them: {0}"""
    make_both()
    with stopping(job="start") as command:
        run_step(command, "start-pre", SELECT=value)
    equal(priorities(), [1077], "policies that are left")


@case
def without_settings():
    """Without settings, the defaults apply: routes are not touched."""
    make_both()
    with stopping(job="start") as command:
        equal(run("service", "start-pre", command=command, env=environment()).status, 0, "exit status")
    equal((left(), table()), ((0, 2, 0), (1, 0)), "policies, shadows and SAs; routes")
    with stopping(job="start") as command:
        equal(run("service", "start-post", command=command, env=environment()).status, 0, "exit status")
    equal([shadow.lifetime[5] for shadow in shadows(EXPIRING)], [300, 300], "seconds of the grace")


@case
def mode_of_the_unit():
    """--mode takes precedence over XFRMCTL_MODE, which is not read."""
    make_both()
    with stopping(job="start") as command:
        equal(run_step(command, "start-pre", "--mode=flush", MODE="nonsense").err, "", "standard error")
    equal(left(), (0, 0, 0), "policies, shadows and SAs")


@cases([("start-pre", ("start",)), ("start-post", ("start",)), ("stop", ("restart",)), ("stop-post", ("restart", "stop"))])
def settings_of(step, jobs):
    """The help lists the settings that {0} reads."""
    listed = re.search(rf"^  {step}  (?:.*\n)+? +\((.*)\)$", run("service", "--help").out, re.MULTILINE)[1].split(", ")
    said = ""
    for job in jobs:
        with stopping(job=job) as command:
            said += run_step(command, step, status=1, **{name.removeprefix("XFRMCTL_"): "x" for name in service.DEFAULTS}).err
    equal(set(re.findall(r"(XFRMCTL_\w+) is wrong", said)), set(listed), "settings")


@cases([("stop",), ("stop-post",)])
def no_systemd(step):
    """If systemd cannot be asked whether it stops the unit, {0} reports it and continues."""
    make_both()
    service.MANAGERS_SOCKET.unlink(missing_ok=True)
    with unit(UNIT) as members:
        result = run_step(command_in(members), step)
    contains(result.err, f"xfrmctl: Could not ask systemd whether {UNIT} is being stopped for good: ")
    equal(left(), (2, 2, 2), "policies, shadows and SAs")


@cases([
    ("signal", "", 0, True), ("core-dump", "", 9, True), ("exit-code", "", 0, True), ("signal", "", 11, False),
    ("success", "", 0, False), ("signal", "restart", 0, False), ("signal", "", None, False)])
def pause(result, job, seconds, pauses):
    """With result {0}, job '{1}', and a main process that began {2} s ago, stop-post delays the restart: {3}"""
    began = 0 if seconds is None else int((time.monotonic() - seconds) * 1e6)
    with unit(UNIT) as members, manager(0, service.state(job), main_began=began):
        done = run_step(command_in(members), "stop-post", "-v", before={"SERVICE_RESULT": result})
    equal("has failed within 10 s of its start: pausing for 1 s." in done.out + done.err, pauses, f"whether it pauses ({done})")


@case
def pause_behind_shadows():
    """stop-post makes the shadows before it delays the automatic restart."""
    make_both()
    with unit(UNIT) as members, manager(0, service.state(""), main_began=int(time.monotonic() * 1e6)):
        done = run_step(command_in(members), "stop-post", "-v", before={"SERVICE_RESULT": "signal"})
    lines = done.out.splitlines() + done.err.splitlines()
    order = [line.split()[0] for line in lines if line.startswith("Put shadows") or "pausing" in line]
    equal((order, left()), (["Put", "xfrmctl:"], (2, 2, 2)), f"order ({done}); policies, shadows and SAs")


@case
def two_wrong():
    """Each wrong setting is reported in a sentence of its own."""
    make_both()
    with stopping(job="start") as command:
        result = run_step(command, "start-pre", MODE="x", ROUTES="x", FLUSH_OPTIONS="x", status=1)
    equal(result.err.count(" is wrong: "), 3, f"sentences ({result.err})")


@case
def of_another_service():
    """With --unit= of another service that restarts, stop-post removes nothing."""
    make_both()
    with unit("other.service") as members, manager(0, service.state("restart")):
        run_step(command_in(members), "stop-post", f"--unit={UNIT}")
    equal(left(), (2, 0, 2), "policies, shadows and SAs")


@cases([([], "start-pre, start-post, stop or stop-post"), (["start"], "start-pre, start-post, stop or stop-post"),
        (["stop", "now", "--unit=x.service"], "`xfrmctl service --help` lists"), (["stop", "--unit=strongswan"], "--unit="),
        (["stop", "--unit=../x.service"], "--unit="), (["stop", "--unit="], "--unit="),
        (["stop", "--unit=x.service", "--mode="], "auto, hold, handover or flush"),
        (["--mode=keep", "stop", "--unit=x.service"], "auto, hold, handover or flush")])
def usage(given, says):
    """Wrong usage: {0}"""
    state = xfrm.a_few()
    result = run("service", *given, command=(XFRMCTL,))
    equal((result.status, result.out), (2, ""), "status and output")
    contains(result.err, says)
    state.expect_untouched()


main(service.own_control_groups)
