# SPDX-License-Identifier: GPL-2.0-or-later
"""`xfrmctl save` and `restore`: protected traffic is blocked at the next boot. If an operator has stopped the service,
the next boot blocks nothing."""

import errno
import os
import re
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import netlink
import service
import xfrm
from cases import case, cases, main
from netlink import MSG_GETPOLICY, MSG_NEWPOLICY
from program import XFRMCTL, Fault, flush, hold, release, xfrmctl, xfrmctl_with
from service import SAVED, UNIT, manager, run_step, stopping
from shadows import BEHIND, EXPIRING, HOLD, make_shadow, real_policies, shadow_of, shadows
from tables import ESP, IN_THE_ORDER_OF_PRIORITIES, require
from tap import Skip, contains, equal
from wire import Wire, same

PTYPE_SUB = 1   # XFRM_POLICY_TYPE_SUB

POLICIES = [
    f"src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 1000 {ESP}",
    f"src 10.2.0.0/16 dst 10.1.0.0/16 dir in priority 1001 mark 5 mask 0xff if_id 7 flag localok {ESP}",
    "src 0.0.0.0/0 dst 0.0.0.0/0 proto 17 dport 500 dir out priority 999",
    "src fd00::1/128 dst fd00:2::/64 proto 58 dir fwd priority 1003 action block flag icmp",
]


class Folder:
    """A temporary folder for the saved file, as a context manager."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="saved-")
        self.path = Path(self.folder.name, "saved")
        return self

    def __exit__(self, *exception):
        self.folder.cleanup()

    def save(self, *words, **options):
        return xfrmctl("save", f"--file={self.path}", *words, **options)

    def restore(self, *words, **options):
        return xfrmctl("restore", f"--file={self.path}", *words, **options)

    def is_alone(self):
        """Returns whether the folder has no other file."""
        return os.listdir(self.folder.name) == [self.path.name]

    def identity(self):
        return self.path.stat().st_ino, self.path.stat().st_mtime_ns


def make():
    xfrm.add_policies(*POLICIES)
    return netlink.policies()


def boot():
    """Removes XFRM state as a boot does."""
    xfrm.clear()


def plain(policies):
    """Returns policies without the fields that the kernel sets."""
    return sorted((policy._replace(index=0, used=None) for policy in policies), key=lambda policy: policy.key)


def require_sub_policies():
    if not xfrm.has_sub_policies():
        raise Skip("this kernel has no sub policies (CONFIG_XFRM_SUB_POLICY)")


@case
def as_held():
    """restore leaves the same shadows as a hold."""
    with Folder() as folder:
        make()
        assert re.fullmatch(r"Saved 4 policies \(1 in, 2 out, 1 fwd\) in \d+\.\d{3} ms\.\n", folder.save().out)
        equal(len(real_policies()), 4, "the number of policies afterwards")
        hold()
        held = plain(shadows())
        boot()
        result = folder.restore()
        assert re.fullmatch(r"Put shadows in place of 4 policies \(1 in, 2 out, 1 fwd\) of the file in \d+\.\d{3} ms\. "
                            r"`xfrmctl release` unblocks the traffic\.\n", result.out), result.out
        equal((plain(netlink.policies()), len(held)), (held, 4), "the shadows")
        hold()
        equal(plain(shadows()), held, "the shadows behind a hold")
        release()
        equal(netlink.policies(), [], "what is left behind the release")


@cases([(table.name, table) for table in IN_THE_ORDER_OF_PRIORITIES])
def verdicts(_, table):
    """After restore, each packet gets the verdict of a hold: {0}"""
    require(table)
    with Folder() as folder, Wire() as wire:
        table.add()
        folder.save(*table.options)
        flush(*table.options)
        folder.restore()
        same(wire.verdicts(table.before()), table.held(), "what becomes of the flows")


@case
def as_sub_policies():
    """Shadows that are sub policies stay when a daemon flushes main policies at its start; main ones replace them."""
    require_sub_policies()
    with Folder() as folder:
        make()
        folder.save()
        hold()
        held = plain(shadows())
        folder.restore("--sub")
        xfrm.ip("xfrm", "policy", "flush", "ptype", "main")
        equal({policy.ptype for policy in netlink.policies()}, {PTYPE_SUB}, "the types that are left")
        equal(len(shadows()), 4, "the number of shadows")
        folder.restore("--from-sub")
        equal(plain(netlink.policies()), held, "the shadows")
        folder.restore("--from-sub")
        equal(plain(netlink.policies()), held, "the shadows after it was done twice")


@cases([(table.name, table) for table in IN_THE_ORDER_OF_PRIORITIES if not table.options and not table.needs_sub_policies])
def verdicts_of_sub_policies(_, table):
    """Sub policies alone give each packet the verdict of a hold: {0}"""
    require_sub_policies()
    with Folder() as folder, Wire() as wire:
        table.add()
        folder.save(*table.options)
        flush(*table.options)
        folder.restore("--sub")
        same(wire.verdicts(table.before()), table.held(), "what becomes of the flows")


@case
def sub_policies_stay():
    """If main shadows are refused, the sub policies stay, so that traffic stays blocked."""
    require_sub_policies()
    with Folder() as folder:
        make()
        folder.save()
        boot()
        folder.restore("--sub")
        result = xfrmctl_with([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, 2, 2)], "restore",
                              "--from-sub", f"--file={folder.path}", status=1)
        contains(result.err, "Cannot allocate memory")
        equal(len([shadow for shadow in shadows() if shadow.ptype == PTYPE_SUB]), 4, "the number of sub policies")


@case
def nothing():
    """Without policies, nothing is blocked at boot."""
    with Folder() as folder:
        contains(folder.save().out, "Saved 0 policies in ")
        equal(folder.restore(), (0, "The file contains no policies: nothing is blocked.\n", ""), "result")


@case
def replaced():
    """Only root may read the file, and save replaces it only if its content changes."""
    with Folder() as folder:
        make()
        folder.save()
        before = folder.identity()
        equal((stat.filemode(folder.path.stat().st_mode), folder.save(), folder.identity()),
              ("-rw-------", (0, "", ""), before), "mode, second run and file")
        xfrm.add_policies(f"src 10.3.0.0/16 dst 10.4.0.0/16 dir out priority 1000 {ESP}")
        folder.save()
        assert folder.identity() != before and folder.is_alone(), os.listdir(folder.folder.name)


@case
def selection():
    """Policies that are not selected are not saved."""
    with Folder() as folder:
        make()
        contains(folder.save("--match=reqid=1", "--exclude=dir=in").out, "Saved 1 policy (1 out) in ")
        boot()
        folder.restore()
        equal([shadow.priority for shadow in shadows()], [1000 | BEHIND], "the priorities of shadows")


@case
def behind_one_that_stays():
    """A shadow stands right behind its policy if a later policy is not selected."""
    with Folder() as folder:
        xfrm.add_policies(f"src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 1000 {ESP}",
                          "src 0.0.0.0/0 dst 0.0.0.0/0 dir out priority 2000")
        folder.save("--match=reqid=1")
        boot()
        folder.restore()
        equal([shadow.priority for shadow in shadows()], [1001], "the priorities of shadows")


@case
def before_a_bypass():
    """As after a hold, a shadow stands behind all policies, even if a bypass stands behind its policy."""
    with Folder() as folder:
        xfrm.add_policies(f"src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 1000 {ESP}",
                          "src 0.0.0.0/0 dst 0.0.0.0/0 dir out priority 2000")
        folder.save()
        boot()
        folder.restore()
        equal(sorted(shadow.priority for shadow in shadows()), [1000 | BEHIND, 2000 | BEHIND], "the priorities of shadows")


@case
def left_out():
    """A policy that is bound to an interface is left out, and named."""
    with Folder() as folder:
        make()
        xfrm.add_policies(f"src 10.3.0.0/16 dst 10.4.0.0/16 dev lo dir out priority 1000 {ESP}")
        result = folder.save()
        contains(result.out, "Saved 4 policies (1 in, 2 out, 1 fwd) in ", " ms; 1 left out.\n")
        assert re.fullmatch(r"xfrmctl: Could not save policy 10\.3\.0\.0/16 → 10\.4\.0\.0/16 dir out ptype main "
                            r"index \d+ for the next boot: the policy is bound to an interface by number, .*\.\n", result.err), result.err


@case
def many_left_out():
    """Of many policies that are left out, ten are named, and the others counted."""
    with Folder() as folder:
        xfrm.add_policies(*[f"src 10.3.{i}.0/24 dst 10.4.0.0/16 dev lo dir out {ESP}" for i in range(13)])
        lines = folder.save().err.splitlines()
        equal(sum(line.startswith("xfrmctl: Could not save policy 10.3.") for line in lines), 10, "those that are named")
        equal(lines[10:], ["xfrmctl: 3 more policies will not be blocked at boot."], "what is said of the others")


@case
def of_shadows():
    """Shadows are saved too, and restored without a time limit; of two in one place, one that blocks counts."""
    with Folder() as folder:
        policies = make()
        for policy in policies:
            make_shadow(policy, EXPIRING, seconds=3600)
        flush("--match=priority=1001")
        folder.save()
        boot()
        folder.restore()
        equal(plain(netlink.policies()), plain(shadow_of(policy) for policy in policies), "the shadows")


BLOCK = "src 10.1.0.0/16 dst 10.2.0.0/16 dir out ptype main action block priority 5 replaces 5\n"
PASS = BLOCK.replace("block", "allow")


@cases([(BLOCK + PASS,), (PASS + BLOCK,), (BLOCK + BLOCK,)])
def twice(lines):
    """Of two shadows in one place, one that blocks stays: {0!r}"""
    with Folder() as folder:
        folder.path.write_text(f"xfrmctl shadows 1\n{lines}end 2\n")
        folder.restore()
        equal([shadow.action for shadow in shadows()], [netlink.BLOCK], "what the shadows do")


def of_others(path):
    path.chmod(0o644)
    os.chown(path, 12345, 12345)


def writable(path):
    path.chmod(0o620)


def linked(path):
    path.rename(f"{path}.there")
    path.symlink_to(f"{path}.there")


def folder_instead(path):
    path.unlink()
    path.mkdir()


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def cut_off(path):
    path.write_text(path.read_text()[:-3])


def garbled(path):
    path.write_text(path.read_text().replace("dir in", "dir im"))


@cases([("belongs to others", of_others, "the file belongs to another user"),
        ("can be written by others", writable, "other users may write the file"),
        ("is a link", linked, os.strerror(errno.ELOOP)),
        ("is a folder", folder_instead, "the file is not a regular file"),
        ("is a FIFO", fifo, "the file is not a regular file"),
        ("was cut off", cut_off, "line 6 is too long, or not text"),
        ("has an error in it", garbled, "has a wrong 'dir'")])
def refused(_, change, why):
    """A file that {0} is not used."""
    with Folder() as folder:
        make()
        folder.save()
        boot()
        change(folder.path)
        result = folder.restore(status=1)
        contains(result.err, f"xfrmctl: Could not use {folder.path}: ",
                 f"{why}. No traffic is blocked until the IKE daemon has started.\n")
        equal((result.out, result.err.count("\n"), netlink.policies()), ("", 1, []), "output, lines and policies")


@case
def no_file():
    """Without a file, nothing is done."""
    with Folder() as folder:
        equal((folder.restore(), netlink.policies()), ((0, "", ""), []), "result and policies")
        contains(folder.restore("-v").err, "no traffic is blocked.\n")


@case
def no_folder():
    """Without its folder, the file cannot be written."""
    with Folder() as folder:
        folder.path = folder.path / "saved"
        contains(folder.save(status=1).err, f"xfrmctl: Could not save the policies in {folder.path}: "
                 f"{os.strerror(errno.ENOENT)}. The next boot uses the policies that were saved before.\n")


@case
def changing():
    """If a part of the list of policies is lost each time, the saved file stays as it is."""
    with Folder() as folder:
        make()
        folder.save()
        before = folder.identity()
        boot()
        result = xfrmctl_with([Fault("receive", MSG_GETPOLICY, "fail", errno.ENOBUFS)], "save", f"--file={folder.path}", status=1)
        contains(result.err, "Could not save the policies in ", ": a part of the kernel's list was lost each time.")
        assert folder.identity() == before and folder.is_alone(), os.listdir(folder.folder.name)


@cases([(number,) for number in range(1, 5)])
def lost(number):
    """If a part of the list of policies is lost, the file is written again from its beginning: at message {0}"""
    with Folder() as folder:
        make()
        folder.save()
        whole = folder.path.read_text()
        folder.path.unlink()
        xfrmctl_with([Fault("receive", MSG_GETPOLICY, "fail", errno.ENOBUFS, number, number)], "save", f"--file={folder.path}")
        equal(folder.path.read_text(), whole, "the file")


@case
def kernel_refuses():
    """A shadow that the kernel refuses is named, and the others are added."""
    with Folder() as folder:
        make()
        folder.save()
        boot()
        result = xfrmctl_with([Fault("send", MSG_NEWPOLICY, "refuse", errno.ENOMEM, 2, 2)], "restore",
                              f"--file={folder.path}", status=1)
        assert re.fullmatch(r"xfrmctl: Could not put a shadow in place of policy .*: Cannot allocate memory\.\n",
                            result.err), result.err
        contains(result.out, "Put shadows in place of 3 policies (")
        equal(len(shadows(HOLD)), 3, "number of shadows")


@case
def answer_lost():
    """If an answer of the kernel is lost, restore checks each shadow."""
    with Folder() as folder:
        make()
        folder.save()
        boot()
        xfrmctl_with([Fault("receive", MSG_NEWPOLICY, "fail", errno.ENOBUFS, 1, 1)], "restore", f"--file={folder.path}")
        equal(len(shadows(HOLD)), 4, "number of shadows")


@cases([(("active", "running", "running", ""), True), (("active", "running", "running", "stop"), False),
        (("active", "running", "running", "restart"), False), (("active", "running", "frozen", ""), False),
        (("activating", "start-post", "running", "start"), False), (("failed", "failed", "running", ""), False)])
def saves_of(state, saves):
    """For a service in the state {0}, save writes a file: {1}"""
    with Folder() as folder, manager(0, state):
        make()
        folder.save(f"--unit={UNIT}")
        equal(folder.path.exists(), saves, "whether there is a file")


@cases([("save", "Could not ask systemd whether", 1), ("restore", "Shadows are put in place as if the service did not run.", 0)])
def no_systemd(verb, says, status):
    """If systemd cannot be asked, {0} reports: {1}"""
    with Folder() as folder:
        service.MANAGERS_SOCKET.unlink(missing_ok=True)
        make()
        folder.save()
        boot()
        contains(xfrmctl(verb, f"--file={folder.path}", f"--unit={UNIT}", status=status).err, says)
        equal(len(shadows()), 4 if verb == "restore" else 0, "number of shadows")


@cases([(("inactive", "dead", "running", "start"), True), (("activating", "start-pre", "running", "start"), False),
        (("active", "running", "running", ""), False), (("failed", "failed", "running", ""), True)])
def restores_of(state, restores):
    """For a service in the state {0}, restore adds shadows: {1}"""
    with Folder() as folder, manager(0, state):
        make()
        folder.save()
        boot()
        folder.restore(f"--unit={UNIT}")
        equal(len(shadows()), 4 if restores else 0, "number of shadows")


SHUTDOWNS = [("start", True, True), ("", True, False), ("stop", True, False), ("start", False, False)]


def step(command, name):
    equal(run_step(command, name).err, "", "standard error")


@contextmanager
def saved_of_service(wanted):
    """Yields the path of the file of policies that the next boot blocks. The file exists if it is `wanted`."""
    SAVED.unlink(missing_ok=True)
    if wanted:
        xfrmctl("save", f"--file={SAVED}")
    yield SAVED
    SAVED.unlink(missing_ok=True)


@cases(SHUTDOWNS)
def armed(shutdown_job, saved, stays):
    """stop, job of shutdown.target '{0}', with a saved file: {1}; traffic stays blocked: {2}"""
    with saved_of_service(saved) as path, stopping(shutdown_job) as command:
        make()
        step(command, "stop")
        equal((len(shadows()), path.exists() and path.read_text().count("\nsrc ")),
              (4 if stays else 0, saved and (4 if stays else 0)), "number of shadows, and of lines")


@cases(SHUTDOWNS)
def flushed(shutdown_job, saved, stays):
    """stop-post, job of shutdown.target '{0}', with a saved file: {1}; traffic stays blocked: {2}"""
    make()
    with saved_of_service(saved) as path, stopping(shutdown_job) as command:
        hold()
        step(command, "stop-post")
        equal((len(shadows()), path.exists()), (4 if stays else 0, stays), "number of shadows, and the file")


@cases([("restart",), ("",)])
def not_stopped(job):
    """The file of a unit that is not stopped for good stays: '{0}'"""
    make()
    with saved_of_service(True) as path, stopping("", job) as command:
        hold()
        step(command, "stop-post")
        equal((len(shadows()), path.exists()), (4, True), "number of shadows, and the file")


@case
def of_failed():
    """The file of a unit that has failed is removed."""
    with saved_of_service(True) as path, manager(0, ("failed", "failed", "running", "")):
        run_step((XFRMCTL,), "stop-post", f"--unit={UNIT}")
        equal(path.exists(), False, "whether there is a file")


@cases([(["save"], "save needs --file=FILE"), (["save", "--file="], "Use the name of a file"),
        (["restore"], "--file=FILE"), (["save", "--match=reqid=x", "--file=x"], "N or N-M"),
        (["restore", "--match=reqid=1"], "`xfrmctl restore --help` lists"),
        (["save", "--file=x", "x"], "`xfrmctl save --help` lists"),
        (["restore", "--file=x", "--sub", "--from-sub"], "--sub and --from-sub exclude each other")])
def usage(words, says):
    """Wrong usage: {0}"""
    contains(xfrmctl(*words, status=2).err, says)


main(service.own_control_groups)
