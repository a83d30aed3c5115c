# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports to the service manager, in the journal, and on a terminal."""

import errno
import os
import pty
import re
import subprocess
import tempfile

import sandbox
import xfrm
from cases import case, cases, main
from listening import INTO_JOURNAL, JOURNAL_STREAM, journal, service_manager
from netlink import MSG_DELPOLICY, MSG_GETPOLICY, MSG_NEWPOLICY
from program import SECONDS, XFRMCTL, Fault, Faults, environment, flush, hold, xfrmctl
from tap import contains, equal, is_lacking
from wire import Wire, into, out

# Minimum number of entries for which xfrmctl asks the service manager for time.
MANY = 10000


@cases([(None,), (f"@xfrmctl-test-{os.getpid()}",)])
def status(address):
    """The status of the unit is the summary (socket: {0})."""
    with service_manager(address) as (env, messages):
        xfrm.a_few()
        summary = flush(env=env).out.strip()
        flush(env=env)
    contains(summary, "Removed 2 SAs (1 esp, 1 ah) and 3 policies (1 in, 1 out, 1 fwd) in ")
    equal(messages, [[f"STATUS={summary}"], ["STATUS=Nothing to remove."]], "messages")


@case
def status_quiet():
    """With -q, the unit gets its status."""
    with service_manager() as (env, messages):
        equal(flush("-q", env=env).out, "", "output")
    equal(messages, [["STATUS=Nothing to remove."]], "messages")


@case
def status_dry_run():
    """A dry run leaves the unit's status as it is."""
    with service_manager() as (env, messages):
        flush("--dry-run", env=env)
    equal(messages, [], "messages")


@cases([("without options", ""), ("of a selection", "--match=reqid=1")])
def more_time(_, options):
    """Before a large flush {0}, the service manager is asked for time in proportion."""
    xfrm.fill("networks", MANY)
    with service_manager() as (env, messages):
        flush(*options.split(), env=env)
    equal(messages[0], [f"EXTEND_TIMEOUT_USEC={30_000_000 + MANY * 1000}",
                        f"STATUS=Removing {MANY} SAs and policies…"], "the first message")


@cases([("--policies-only", MANY - 1), ("--states-only", MANY)])
def no_more_time(option, count):
    """Before a small flush, the service manager is not asked for time: {0}, {1} policies."""
    xfrm.fill("networks", count)
    with service_manager() as (env, messages):
        flush(option, env=env)
    equal(len(messages), 1, "the number of messages")


@case
def more_time_again():
    """During a long flush, the service manager is asked for more time every five seconds."""
    xfrm.fill("networks", MANY)
    with service_manager() as (env, messages), Faults(Fault("receive", MSG_GETPOLICY, "later", 1000)) as faults:
        flush("--match=reqid=1", env=env | faults.rules)
        seconds = faults.count()
    extensions = messages[1:-1]
    assert seconds > 30, f"the dump has {seconds} messages only"
    equal({tuple(lines) for lines in extensions}, {("EXTEND_TIMEOUT_USEC=30000000",)}, "messages")
    # A second passes with each message of the dump, and the last ones may have few entries.
    assert seconds // 6 <= len(extensions) <= seconds // 5, f"{len(extensions)} extensions in {seconds} s"
    contains(messages[-1][0], "STATUS=Removed 0 SAs and 5000 policies (")


def in_journal(*words, status=0):
    """Runs xfrmctl with the journal's stream as its standard error. Returns the fields of each message in the
    journal."""
    with journal() as messages:
        result = xfrmctl(*words, status=status, command=INTO_JOURNAL, env=environment(JOURNAL_STREAM=JOURNAL_STREAM))
    equal((result.out, result.err), ("", ""), "output beside the journal")
    return [dict(line.split("=", 1) for line in lines) for lines in messages]


@case
def journal_summary():
    """The journal gets the counts as fields."""
    xfrm.a_few()
    [fields] = in_journal("flush")
    contains(fields["MESSAGE"], "Removed 2 SAs (1 esp, 1 ah) and 3 policies (1 in, 1 out, 1 fwd) in ")
    expected = {"PRIORITY": "6", "MESSAGE_ID": "3f52a1357c9d46b79144b67f542eb3d8", "XFRM_SAS": "2", "XFRM_SAS_ESP": "1",
                "XFRM_SAS_AH": "1", "XFRM_SAS_COMP": "0", "XFRM_POLICIES": "3", "XFRM_POLICIES_IN": "1",
                "XFRM_POLICIES_OUT": "1", "XFRM_POLICIES_FWD": "1", "XFRM_FAILED": "0", "XFRM_SHADOWS": "0"}
    has_fields(fields, expected)


def has_fields(fields, expected):
    """Checks that a message has these fields, and the same duration in its sentence as in its field."""
    equal({name: fields.get(name) for name in expected}, expected, "the fields")
    usec = int(fields["XFRM_DURATION_USEC"])
    contains(fields["MESSAGE"], f" in {usec // 1000}.{usec % 1000:03} ms")


@case
def journal_hold():
    """The journal gets the number of shadows as a field."""
    xfrm.a_few()
    [fields] = in_journal("flush", "--hold")
    contains(fields["MESSAGE"], "; 3 shadows are in place.")
    has_fields(fields, {"MESSAGE_ID": "3f52a1357c9d46b79144b67f542eb3d8", "XFRM_SAS": "2", "XFRM_POLICIES": "3",
                        "XFRM_FAILED": "0", "XFRM_SHADOWS": "3"})


@case
def journal_arm():
    """The journal gets the counts of arm as fields."""
    xfrm.a_few()
    [fields] = in_journal("arm")
    contains(fields["MESSAGE"], "Put shadows behind 3 policies (1 in, 1 out, 1 fwd) in ")
    has_fields(fields, {"PRIORITY": "6", "MESSAGE_ID": "3e4c0f6a8b524d0ea07d5f1962c811e7", "XFRM_POLICIES": "3",
                        "XFRM_SHADOWS": "3", "XFRM_FAILED": "0"})


@case
def journal_release():
    """The journal gets the counts of release as fields."""
    with Wire() as wire:
        xfrm.add_policies("dst 10.2.0.0/16 dir out action block", "src 10.2.0.0/16 dir in action block",
                          "src 10.2.0.0/16 dir fwd action block")
        hold()
        for flow in (out("10.2.0.1"), out("10.2.0.1"), into("10.2.0.1")):
            wire.verdict(flow)
        xfrm.add_policies("dst 10.2.0.0/16 dir out")
        [fields] = in_journal("release", "--grace=5min")
    contains(fields["MESSAGE"], "; 2 stay for 5min. Packets blocked meanwhile: 2 outgoing, 1 incoming.")
    has_fields(fields, {"PRIORITY": "6", "MESSAGE_ID": "b71d90435e2a4f6c8dc3079af436e25b", "XFRM_SHADOWS_RELEASED": "1",
                        "XFRM_SHADOWS_KEPT": "2", "XFRM_GRACE_USEC": "300000000", "XFRM_BLOCKED_OUT": "2",
                        "XFRM_BLOCKED_IN": "1", "XFRM_ACQUIRES": "0", "XFRM_FAILED": "0"})


@case
def journal_acquires():
    """The journal gets the number of acquires that a release removes as a field."""
    xfrm.make_uplink()
    xfrm.add_policies("dst 10.9.0.0/16 dir out tmpl proto esp mode transport reqid 7")
    xfrm.acquire("10.9.0.1", "10.9.0.2")
    [fields] = in_journal("release")
    equal((fields["MESSAGE"], fields["XFRM_ACQUIRES"], fields["XFRM_SHADOWS_RELEASED"]),
          ("No shadows. Removed 2 pending acquires: the next packets cause new ones.", "2", "0"), "the fields")


@case
def journal_not_held():
    """The journal gets a policy that could not be held as an error with a MESSAGE_ID, and the counts."""
    xfrm.a_few()
    with Faults(Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, first=1, last=1)) as faults, journal() as messages:
        # Only xfrmctl gets the faults, not the shell.
        env = faults.env | {"JOURNAL_STREAM": JOURNAL_STREAM, "PRELOADED": faults.env["LD_PRELOAD"], "LD_PRELOAD": ""}
        hold(status=1, command=("sh", "-c", f"LD_PRELOAD=$PRELOADED; export LD_PRELOAD; {INTO_JOURNAL[2]}", XFRMCTL),
             env=env)
    failure, summary = [dict(line.split("=", 1) for line in lines) for lines in messages]
    equal((failure["PRIORITY"], failure["MESSAGE_ID"]), ("3", "da611faf26da492381649fde84d24458"),
          "priority and MESSAGE_ID")
    contains(failure["MESSAGE"], "Could not remove policy ", "the kernel refused the shadow: ")
    has_fields(summary, {"XFRM_POLICIES": "2", "XFRM_SHADOWS": "2", "XFRM_FAILED": "1"})


@cases([
    ("--match=reqid=x", 2, "c93d113f02c24bb9999423bebab9d8b2"),
    ("--netns=missing", 1, "fa39b7b719a84b369644710a1819bd28"),
])
def journal_failure(option, expected_status, message_id):
    """The journal gets a failure as an error with a MESSAGE_ID: flush {0}"""
    [fields] = in_journal("flush", option, status=expected_status)
    equal((fields["PRIORITY"], fields["MESSAGE_ID"]), ("3", message_id), "priority and MESSAGE_ID")


@case
def journal_elsewhere():
    """Output that no longer goes to the journal's stream is text."""
    with journal() as messages:
        result = flush(env=environment(JOURNAL_STREAM=JOURNAL_STREAM))
    equal((result.out, messages), ("Nothing to remove.\n", []), "output and the journal's messages")


@case
def journal_deaf():
    """If no journal listens, the summary is text."""
    result = flush(command=INTO_JOURNAL, env=environment(JOURNAL_STREAM=JOURNAL_STREAM))
    equal(result.out, "Nothing to remove.\n", "output")


def read_all(terminal):
    """Returns all that was written to a terminal. The end of a terminal is an I/O error."""
    text = b""
    while True:
        try:
            text += os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return text.decode()


def on_terminal(*words, status=0, env=None, **streams):
    """Runs `xfrmctl flush` on a terminal, except for the streams given. Returns the output on the terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen([XFRMCTL, "flush", *words], env=env or environment(), stdin=slave,
                          **{"stdout": slave, "stderr": slave} | streams) as process:
        os.close(slave)
        written = read_all(master)
        os.close(master)
        equal(process.wait(SECONDS), status, f"exit status ({written})")
    return written


def visible(written):
    """Returns the lines that a terminal shows after this output."""
    lines, column = [""], 0
    for token in re.findall(r"\x1b\[K|.", written, re.DOTALL):
        if token == "\n":
            lines.append("")
        elif token == "\r":
            column = 0
        elif token == "\x1b[K":
            lines[-1] = lines[-1][:column]
        else:
            lines[-1] = lines[-1][:column] + token + lines[-1][column + 1:]
            column += 1
    return [line for line in lines if line]


BAR = re.compile(r"\r\[#*\.*\] (\d+) of (\d+) entries\x1b\[K")
SLOW = Fault("receive", MSG_GETPOLICY, "later", 300)
FAST = Fault("receive", MSG_GETPOLICY, "note")
COUNT = 4000
REMOVED = f"Removed 0 SAs and {COUNT // 2} policies ("


def on_terminal_with(faults, *options, **more):
    """Runs on_terminal() with faults, for a flush of half of COUNT policies. Returns the output."""
    xfrm.fill("networks", COUNT)
    with Faults(*faults) as active:
        return on_terminal("--match=reqid=1", *options, env=active.env, **more)


@case
def one_line():
    """On a terminal, the output is one line."""
    xfrm.a_few()
    written = on_terminal()
    contains(written, "Removed 2 SAs ")
    equal((written.count("\n"), written.count("\x1b"), len(visible(written))), (1, 0, 1), f"lines of {written!r}")


@case
def bar():
    """On a terminal, a progress bar appears after half a second, and disappears at the end."""
    written = on_terminal_with([SLOW])
    done = [int(match[1]) for match in BAR.finditer(written)]
    assert len(done) > 2 and done == sorted(set(done)) and done[-1] < COUNT, f"progress: {done}"
    equal({int(match[2]) for match in BAR.finditer(written)}, {COUNT}, "the totals")
    [line] = visible(written)
    contains(line, REMOVED)


@case
def bar_and_failure():
    """A failure after a progress bar has a line of its own."""
    written = on_terminal_with([SLOW, Fault("send", MSG_DELPOLICY, "refuse", errno.EPERM, first=1900, last=1900)],
                               status=1)
    assert BAR.search(written), "no progress bar"
    failure, summary = visible(written)
    assert failure.startswith("xfrmctl: Could not remove policy "), failure
    contains(summary, "Removed 0 SAs and 1999 policies (")


@cases([("it takes less than half a second", FAST, []), ("-q is given", SLOW, ["-q"])])
def no_bar(_, fault, options):
    """There is no progress bar when {0}."""
    written = on_terminal_with([fault], *options)
    is_lacking(written, "[", "\x1b")
    equal(REMOVED in written, "-q" not in options, "whether the summary is there")
    equal(xfrm.counts(), (COUNT // 2, 0), "policies and SAs left")


@case
def no_bar_in_a_file():
    """There is no progress bar when standard error is no terminal, whatever standard output is."""
    with tempfile.TemporaryFile("w+") as file:
        written = on_terminal_with([SLOW], stderr=file)
        file.seek(0)
        equal(file.read(), "", "standard error")
    contains(written, REMOVED)


main(sandbox.new_run_folder)
