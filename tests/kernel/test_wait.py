# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl wait`: when it ends, its messages, and the command that it starts."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import sandbox
from cases import case, cases, main
from program import SECONDS, XFRMCTL, environment, until, xfrmctl
from tap import contains, equal
from vici_server import HANG_UP, UNKNOWN, Server, busy, in_turn

DAEMON = Path(__file__).with_name("vici_daemon.py")
VERSION = {"version": {"daemon": "charon-test", "version": "5.9.8"}}
ANSWERS = re.compile(r"charon-test 5\.9\.8 answers after (\d+\.\d{3}) s\.\n")

# Timeouts far below and far above the time that a test may take.
SHORT = "--timeout=700ms"
LONG = "--timeout=10min"


@contextmanager
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextmanager
def waiting(path, *options, **more):
    """Runs `xfrmctl wait`. Yields its process, which has looked for the socket in vain and waits."""
    process = subprocess.Popen([XFRMCTL, "wait", f"--socket={path}", LONG, *options], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), **more)
    try:
        until(lambda: is_polling(process.pid), "it waits")
        yield process
    finally:
        process.kill()
        process.wait()


def is_polling(pid):
    """Returns whether a process waits in ppoll()."""
    number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return number == SYS_PPOLL


SYS_PPOLL = {"x86_64": "271", "aarch64": "73"}.get(os.uname().machine)


def ends_well(process):
    out, err = process.communicate(timeout=SECONDS)
    equal((process.returncode, err), (0, ""), "status and standard error")
    assert ANSWERS.fullmatch(out), out
    return float(ANSWERS.fullmatch(out)[1])


@case
def at_once():
    """wait ends immediately if a daemon answers."""
    with folder() as there, Server(there / "vici", VERSION) as server:
        result = xfrmctl("wait", f"--socket={there}/vici")
        assert ANSWERS.fullmatch(result.out), result
        equal((result.err, server.seen), ("", [("version", {})]), "standard error, and what it asked")


@case
def quiet():
    """With -q, wait prints nothing when a daemon answers."""
    with folder() as there, Server(there / "vici", VERSION):
        equal(xfrmctl("-q", "wait", f"--socket={there}/vici")[1:], ("", ""), "what it says")


@case
def socket_appears():
    """wait ends when a socket appears."""
    with folder() as there, waiting(there / "vici") as process, Server(there / "vici", VERSION):
        ends_well(process)


@case
def folder_appears():
    """wait ends when the socket's folder and its parent appear, and then the socket."""
    with folder() as there:
        path = there / "run/strongswan/vici"
        with waiting(path) as process:
            path.parent.parent.mkdir()
            path.parent.mkdir()
            with Server(path, VERSION):
                ends_well(process)


@cases([("removed", Path.rmdir), ("moved away", lambda path: path.rename(path.with_name("away")))])
def folder_anew(_, leave):
    """wait ends when the folder of the socket was {0} and made again."""
    with folder() as there:
        path = there / "run/vici"
        path.parent.mkdir()
        with waiting(path) as process:
            leave(path.parent)
            path.parent.mkdir()
            with Server(path, VERSION):
                ends_well(process)


@case
def stale():
    """A socket that a crashed daemon has left does not count; wait ends when there is a new one."""
    with folder() as there:
        path = there / "vici"
        leave_socket(path)
        with waiting(path) as process:
            path.unlink()
            with Server(path, VERSION):
                ends_well(process)


def leave_socket(path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


@case
def late_listen():
    """wait ends if the daemon listens only some time after the socket appeared."""
    with folder() as there, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(there / "vici"))
        with waiting(there / "vici") as process:
            listener.listen()
            listener.settimeout(SECONDS)
            connection, _ = listener.accept()
            connection.close()
            listener.close()
            (there / "vici").unlink()
            with Server(there / "vici", VERSION):
                ends_well(process)


@cases([
    ("hangs up", HANG_UP),
    ("does not know the command yet", UNKNOWN),
    ("is silent", b""),
    ("talks nonsense", b"\0\0\0\2no"),
])
def tries_again(_, answer):
    """wait asks again after a daemon that {0}."""
    with folder() as there:
        with Server(there / "vici", {"version": in_turn(answer, answer, VERSION["version"])}) as server:
            result = xfrmctl("wait", f"--socket={there}/vici", LONG)
            assert ANSWERS.fullmatch(result.out), result
            equal(len(server.seen), 3, "how often it asked")


def fails(path, *parts, options=(SHORT,), at_least=0.7):
    begun = time.monotonic()
    result = xfrmctl("wait", f"--socket={path}", *options, status=1)
    elapsed = time.monotonic() - begun
    equal((result.out, result.err.count("\n")), ("", 1), f"output, and lines of {result.err}")
    contains(result.err, f"xfrmctl: No IKE daemon answers at {path} after ", *parts)
    assert at_least <= elapsed < at_least + 30, elapsed
    return result


@case
def no_socket():
    """Without a socket, wait fails after the timeout, and names the plugin that makes the socket."""
    with folder() as there:
        fails(there / "vici", "the socket does not exist", "plugin vici (Debian: package strongswan-swanctl)", "use the --socket= of")
        fails(there / "missing/vici", "the socket does not exist")


@case
def nobody_listens():
    """With a stale socket, wait fails after the timeout, and reports it."""
    with folder() as there:
        leave_socket(there / "vici")
        fails(there / "vici", "no process listens on the socket any more")


@case
def no_answer():
    """With a daemon that accepts no connection or does not answer, wait fails after the timeout."""
    with folder() as there:
        with busy(there / "vici"):
            fails(there / "vici", "accepts connections, but does not answer")
        with Server(there / "vici", {"version": b""}):
            fails(there / "vici", "accepts connections, but does not answer")


@case
def no_charon():
    """With a file, or a socket of another program, wait reports that this is not charon's."""
    with folder() as there:
        (there / "file").write_text("")
        fails(there / "file", "the file is not a socket. Use the --socket= of")
        with Server(there / "vici", {"version": b"\0\0\0\2no"}):
            fails(there / "vici", "another program than charon answers")


@case
def one_try():
    """With --timeout=0, wait tries once."""
    with folder() as there:
        fails(there / "vici", "the socket does not exist", options=["--timeout=0"], at_least=0)
        with Server(there / "vici", VERSION):
            xfrmctl("wait", f"--socket={there}/vici", "--timeout=0")


@case
def hopeless():
    """A path that is too long for a socket is refused immediately."""
    result = xfrmctl("wait", "--socket=/" + "x" * 200, LONG, status=1)
    contains(result.err, "File name too long")


# Cases with --exec.

@contextmanager
def mailbox():
    """Receives the messages to a service manager. Yields the socket's path, and a function that returns the next
    message as a list of its lines, with the PID of its sender."""
    with folder() as there, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as box:
        box.bind(str(there / "notify"))
        box.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        box.settimeout(SECONDS)

        def receive():
            while True:
                data, control, _, _ = box.recvmsg(4096, socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4))
                of = {kind: content for _, kind, content in control}
                for fd in of.get(socket.SCM_RIGHTS, b""):
                    # A barrier waits until its descriptor is closed.
                    os.close(int(fd))
                if data != b"BARRIER=1":
                    return data.decode().splitlines(), int.from_bytes(of[socket.SCM_CREDENTIALS][:4], sys.byteorder)
        yield there / "notify", receive


@contextmanager
def started(path, *command, options=(LONG,), notify=None, prefix=(), **more):
    """Runs `xfrmctl wait --exec` with this command, and yields its process."""
    env = environment(NOTIFY_SOCKET=str(notify)) if notify else environment()
    words = map(str, [*prefix, XFRMCTL, "wait", "--exec", f"--socket={path}", *options, "--", *command])
    process = subprocess.Popen(words, env=env, text=True, **more)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        # The pipes are not read to their ends, because a process that is left might hold them open.
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()


def said(process):
    """Returns all that the process writes to standard error."""
    return process.communicate(timeout=SECONDS)[1]


def daemon(path):
    return sys.executable, DAEMON, path, "1000000", "silent"


@case
def notifies():
    """The process becomes the daemon. When the daemon answers, systemd gets READY=1 from its PID."""
    with folder() as there, mailbox() as (notify, receive):
        with started(there / "vici", *daemon(there / "vici"), notify=notify, stdin=subprocess.PIPE,
                   stdout=subprocess.PIPE) as process:
            equal(receive(), (["EXTEND_TIMEOUT_USEC=610000000"], process.pid), "the first message")
            lines, pid = receive()
            equal((lines[0], pid), ("READY=1", process.pid), "the second message")
            assert ANSWERS.fullmatch(lines[1].removeprefix("STATUS=") + "\n"), lines
            contains(Path(f"/proc/{process.pid}/cmdline").read_text(), "vici_daemon.py")


@case
def unprivileged():
    """Without the privilege to send for another PID, READY=1 comes from another process."""
    with folder() as there, mailbox() as (notify, receive):
        with started(there / "vici", *daemon(there / "vici"), notify=notify, stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE,
                     prefix=("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--")) as process:
            receive()
            lines, pid = receive()
            equal((lines[0], pid != process.pid), ("READY=1", True), "the message, and whether it is another's")


@case
def no_systemd():
    """Without a service manager, wait --exec starts the daemon, and reports when it answers."""
    with folder() as there:
        with started(there / "vici", *daemon(there / "vici"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            said = [process.stdout.readline() for _ in range(2)]
            assert "ready\n" in said and any(ANSWERS.fullmatch(line) for line in said), said


@cases([("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", -15), ("kill -SEGV $$", -11)])
def status(script, expected):
    """The exit status is the command's: {0}"""
    with folder() as there, mailbox() as (notify, receive):
        with started(there / "vici", "sh", "-c", script, notify=notify) as process:
            equal(process.wait(SECONDS), expected, "status")
            receive()


@case
def inherits():
    """The command gets unchanged descriptors, signals and environment, without the notification socket."""
    # Prints ignored and blocked signals, open descriptors, and variables.
    script = ("grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd; env | grep -v -e ^_= -e ^SHLVL= -e ^PWD= | "
              "sort")

    def prepare():
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})

    def seen(command, **more):
        with open("/dev/null") as extra:
            return subprocess.run(command, preexec_fn=prepare, pass_fds=[extra.fileno()], capture_output=True,
                                  text=True, check=True, timeout=SECONDS, **more).stdout
    with folder() as there, mailbox() as (notify, receive):
        expected = seen(["sh", "-c", script], env=environment())
        found = seen([XFRMCTL, "wait", "--exec", f"--socket={there}/vici", "--", "sh", "-c", script],
                     env=environment(NOTIFY_SOCKET=str(notify)))
        receive()
    equal(found, expected, "what the command sees")


@case
def pipe_ends():
    """No process except the command holds descriptors that the command inherits."""
    with folder() as there:
        inside, outside = os.pipe()

        def prepare():
            # Numbers below and above the descriptors that xfrmctl opens.
            for fd in (3, 9):
                os.dup2(outside, fd)
        with started(there / "vici", "sh", "-c", "exec 3>&- 9>&-; cat", preexec_fn=prepare, pass_fds=[3, 9],
                     stdin=subprocess.PIPE, stdout=subprocess.DEVNULL), open(inside, "rb") as end:
            os.close(outside)
            assert select.select([end], [], [], SECONDS)[0], "somebody holds the pipe"
            equal(end.read(), b"", "what comes out of it")


@case
def nobody_left():
    """When the command has ended, no process of wait is left."""
    with folder() as there, started(there / "vici", "true", stderr=subprocess.PIPE) as process:
        equal((said(process), process.returncode), ("", 0), "standard error, to its end, and status")


@case
def children():
    """The command has no child that it did not start."""
    with folder() as there:
        with started(there / "vici", "sh", "-c", "cat; true", stdin=subprocess.PIPE) as process:
            until(lambda: "cat" in comm_of_children(process.pid), "it has started its child")
            equal(comm_of_children(process.pid), ["cat"], "the children")


def comm_of_children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/comm").read_text().strip() for child in found]


@case
def never_answers():
    """A daemon that does not answer in time is ended, and the reason is reported."""
    with folder() as there, mailbox() as (notify, receive):
        with started(there / "vici", "sleep", "1000", options=[SHORT], notify=notify, stderr=subprocess.PIPE) as process:
            equal(receive()[0], ["EXTEND_TIMEOUT_USEC=10700000"], "the first message")
            contains(said(process), f"xfrmctl: No IKE daemon answers at {there}/vici after ", "the socket does not exist")
            equal(process.returncode, -signal.SIGTERM, "status")


@case
def stopped():
    """A stopped daemon that does not answer in time is ended."""
    with folder() as there:
        with started(there / "vici", "sh", "-c", "kill -STOP $$", options=[SHORT], stderr=subprocess.PIPE) as process:
            said(process)
            equal(process.returncode, -signal.SIGTERM, "status")


@case
def another_answers():
    """An answer of another daemon does not count; an answer of a child does."""
    with folder() as there:
        with Server(there / "vici", VERSION):
            with started(there / "vici", "sleep", "1000", options=[SHORT], stderr=subprocess.PIPE) as process:
                contains(said(process), "another process than the started one answers.")
                equal(process.returncode, -signal.SIGTERM, "status")
        script = f"{sys.executable} {DAEMON} {there}/vici 1000 silent; true"
        with mailbox() as (notify, receive), started(there / "vici", "sh", "-c", script, notify=notify,
                                                     stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            receive()
            equal(receive()[0][0], "READY=1", "the message")
            process.communicate(timeout=SECONDS)
            equal(process.returncode, 0, "status")


@case
def no_command():
    """A command that cannot be started is named."""
    with folder() as there:
        with started(there / "vici", "/nonexistent", stderr=subprocess.PIPE) as process:
            equal(said(process), "xfrmctl: Could not start /nonexistent: No such file or directory.\n",
                  "standard error")
            equal(process.returncode, 1, "status")


@case
def asks_for_time():
    """In a unit, wait asks systemd for the time that it may take."""
    with folder() as there, mailbox() as (notify, receive), Server(there / "vici", VERSION):
        xfrmctl("wait", f"--socket={there}/vici", "--timeout=5min", env=environment(NOTIFY_SOCKET=str(notify)))
        equal(receive()[0], ["EXTEND_TIMEOUT_USEC=310000000"], "the message")


main(sandbox.new_run_folder)
