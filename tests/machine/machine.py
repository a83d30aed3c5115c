#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots a test machine with xfrmctl and the guest's programs in it, and streams what it reports.

    machine.py [--release bookworm] [--build DIR | --destdir DIR] [--results DIR] [--keep] [STORY...]
    machine.py --packages DIR [...]     a machine without xfrmctl, with the .deb files of DIR, and their own story

tests/machine/stories has the stories; each is a function there.
"""

import argparse
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import image

HERE = Path(__file__).parent
GUEST_HOME = "opt/machine"
KERNEL_SUITE = HERE.parent / "kernel"
SOURCE = HERE.parents[1]

# Without that of symbols.
PACKAGES = ("xfrmctl_*.deb", "xfrmctl-strongswan_*.deb", "xfrmctl-libreswan_*.deb")
PACKAGES_HOME = "opt/xfrmctl"
# As autopkgtest has it: the tests of the packages, and what they use, where it lies in the source.
AUTOPKGTEST = ("debian/tests", "tests/machine/guest", "tests/machine/stories")
TOOLS = ("kernel/fill", "kernel/listener", "kernel/libfault.so", "machine/stream")
UNITS = "etc/systemd/system"

# What the first boot closes, as if an earlier life had saved it and the operator enabled that.
SAVED = HERE / "guest/first_boot.saved"
SAVED_PATH = "var/lib/xfrmctl/strongswan"
BOOT_UNIT = "strongswan.service.wants/xfrmctl-boot@strongswan.service"
ENABLED_UNITS = ("test-network.service", "test-program.service")

PROBE_SECONDS = 10
ACCELERATORS = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    "tcg": ("-accel", "tcg,thread=multi", "-cpu", "max"),
}
# Time that an emulated machine need not spend: probing for CPU bugs, testing ciphers, auditing, printing units. Each slab
# cache for itself: a story counts what is in some of them.
KERNEL_COMMAND_LINE = ("console=ttyS0 panic=-1 quiet mitigations=off cryptomgr.notests audit=0 "
                       "random.trust_cpu=on systemd.show_status=no slab_nomerge")
# One machine has Debian's default security modules, the other SELinux (without a policy: it permits all), so that SAs and
# policies can have security contexts.
SECURITY_MODULES = {"trixie": " lsm=capability,selinux enforcing=0"}
RESULTS_DISK_BYTES = 256 << 20

# Before the machine is ended from outside, it ends its program itself and saves the journal.
SAVING_SECONDS = 60


class Machine:
    """A qemu process of ours; it never outlives the with block."""

    def __init__(self, accelerator, folder, command_line, console, *options):
        self.command = (
            "qemu-system-x86_64", *ACCELERATORS[accelerator], "-smp", "2", "-m", "1024",
            "-nodefaults", "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot",
            "-kernel", folder / "vmlinuz", "-initrd", folder / "initramfs", "-append", command_line,
            "-serial", f"file:{console}", *options,
        )

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def processor_seconds(self):
        """What it has used until now. On a host with other things to do, this tells more than a clock."""
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def lines(self, deadline):
        """What comes over the serial port on qemu's standard output, until the machine ends or time.monotonic() says
        deadline."""
        pending = b""
        while (remaining := deadline - time.monotonic()) > 0:
            if not select.select([self.process.stdout], [], [], remaining)[0]:
                break
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                break
            *complete, pending = (pending + data).split(b"\n")
            for line in complete:
                yield line.decode(errors="replace").rstrip("\r")


def with_processor_seconds(machine, lines):
    """Adds to the line in which a story says how long it took what of a processor it took."""
    used = machine.processor_seconds()
    for line in lines:
        if re.fullmatch(r"# \w+: [\d.]+ s", line):
            before, used = used, machine.processor_seconds()
            line += f" (processor: {used - before:.0f} s)"
        yield line


def kvm_works(folder):
    """/dev/kvm can be there and a guest still hang in its first instructions, so a kernel has to say something."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryDirectory() as work:
        console = Path(work) / "console"
        with Machine("kvm", folder, "console=ttyS0 panic=-1 quiet xfrmctl.probe", console) as probe:
            try:
                probe.process.wait(PROBE_SECONDS)
            except subprocess.TimeoutExpired:
                return False
        return console.exists() and "the machine runs" in console.read_text(errors="replace")


def accelerator(folder):
    chosen = os.environ.get("XFRMCTL_TEST_ACCEL")
    if chosen is None:
        return "kvm" if kvm_works(folder) else "tcg"
    if chosen not in ACCELERATORS:
        sys.exit(f"machine: XFRMCTL_TEST_ACCEL={chosen}: use one of {', '.join(ACCELERATORS)}")
    return chosen


def write_payload(destdir, tools, program, seconds, payload, packages=None):
    """A tar that the initramfs unpacks over the root file system: the installed tree and the guest's programs.

    It has no directories of its own: theirs stay as they are, also where /lib is a link to usr/lib.
    """
    def add(file, name):
        def as_root(member):
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            return member
        tar.add(file, name, recursive=False, filter=as_root)

    def add_text(name, text):
        member = tarfile.TarInfo(name)
        member.size = len(text.encode())
        tar.addfile(member, BytesIO(text.encode()))

    def add_link(name, target):
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        tar.addfile(link)

    def add_tree(tree, prefix):
        for file in sorted(tree.rglob("*")):
            if (file.is_symlink() or not file.is_dir()) and file.suffix != ".pyc":
                add(file, f"{prefix}{file.relative_to(tree)}")

    with tarfile.open(payload, "w") as tar:
        if packages:
            for package in (file for pattern in PACKAGES for file in packages.glob(pattern)):
                add(package, f"{PACKAGES_HOME}/{package.name}")
            for folder in AUTOPKGTEST:
                add_tree(SOURCE / folder, f"opt/source/{folder}/")
        else:
            add_tree(destdir, "")
        for folder in (HERE / "guest", HERE / "stories", KERNEL_SUITE):
            add_tree(folder, f"{GUEST_HOME}/{folder.name}/")
        if tools:
            for tool in TOOLS:
                add(tools / tool, f"{GUEST_HOME}/tools/{Path(tool).name}")
        if tools and not packages:
            add_text(SAVED_PATH, SAVED.read_text())
            add_link(f"{UNITS}/{BOOT_UNIT}", "/usr/lib/systemd/system/xfrmctl-boot@.service")
        add_tree(HERE / "guest/units", f"{UNITS}/")
        for unit in ENABLED_UNITS:
            add_link(f"{UNITS}/multi-user.target.wants/{unit}", f"../{unit}")
        add_text(f"{GUEST_HOME}/arguments", "".join(f"{word}\n" for word in program))
        add_text(f"{UNITS}/test-program.service.d/deadline.conf", f"[Service]\nTimeoutStartSec={seconds}\n")


@contextmanager
def work_folder(results, keep):
    """A folder for disks; below results, since a temporary file system may be small."""
    if keep:
        kept = results / "disks"
        kept.mkdir(exist_ok=True)
        yield kept
    else:
        with tempfile.TemporaryDirectory(prefix="disks-", dir=results) as work:
            yield Path(work)


def run(release, destdir, program, results, seconds, keep=False, tools=None, packages=None):
    """Runs a guest program (its name and arguments) and yields the lines that it writes.

    tools is the folder of TOOLS in a build directory, which only stories need.

    The console, the journal and the program's own files are in the folder results afterwards.
    """
    folder = image.image(release)
    accel = accelerator(folder)
    results.mkdir(parents=True, exist_ok=True)
    with work_folder(results, keep) as work:
        root, payload, written = work / "root.img", work / "payload.tar", work / "results.tar"
        subprocess.run(["cp", "--sparse=always", folder / "root.img", root], check=True)
        write_payload(destdir, tools, program, seconds - SAVING_SECONDS, payload, packages)
        written.touch()
        os.truncate(written, RESULTS_DISK_BYTES)
        drive = "if=virtio,format=raw,cache=unsafe"
        with Machine(accel, folder, KERNEL_COMMAND_LINE + SECURITY_MODULES.get(release, ""), results / "console",
                     "-serial", "stdio",
                     "-drive", f"file={root},{drive}",
                     "-drive", f"file={payload},readonly=on,{drive}",
                     "-drive", f"file={written},{drive}") as machine:
            yield f"# {release} machine, accelerator {accel}"
            yield from with_processor_seconds(machine, machine.lines(time.monotonic() + seconds))
        subprocess.run(["tar", "-xf", written, "-C", results], check=True)


def install(build, destdir):
    """Installs what a build directory has built, as an operator would, into a folder of its own."""
    shutil.rmtree(destdir, ignore_errors=True)
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", destdir.absolute()],
                   stdout=subprocess.DEVNULL, check=True)
    return destdir


def are_current(packages):
    """Whether there are packages, and no file of the source is younger."""
    built = [file.stat().st_mtime for pattern in PACKAGES for file in packages.glob(pattern)]
    listed = subprocess.run(["git", "-c", "safe.directory=*", "-C", SOURCE, "ls-files", "-z"], stdout=subprocess.PIPE,
                            text=True, check=True).stdout
    files = [SOURCE / name for name in listed.split("\0") if name]
    return len(built) == len(PACKAGES) and max(file.lstat().st_mtime for file in files if file.exists()) < min(built)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Tells the stories in a test machine, as TAP.")
    parser.add_argument("--release", choices=image.RELEASES, default="bookworm")
    parser.add_argument("--build", type=Path, default=os.environ.get("MESON_BUILD_ROOT", "build"),
                        help="the build directory whose xfrmctl is tested")
    parser.add_argument("--destdir", type=Path, help="test what `meson install --destdir` put here instead")
    parser.add_argument("--packages", type=Path, help="tell the story of these Debian packages, in a machine without xfrmctl")
    parser.add_argument("--results", type=Path, help="folder for console and journal")
    parser.add_argument("--deadline", type=int, default=1400, metavar="SECONDS")
    parser.add_argument("--keep", action="store_true", help="keep the machine's disks, in the results")
    parser.add_argument("story", nargs="*", help="default: all")
    arguments = parser.parse_args()
    machine = "packages" if arguments.packages else arguments.release
    arguments.results = arguments.results or arguments.build / "machine" / machine
    return arguments


def main():
    arguments = parse_arguments()
    # So that an end from outside cleans up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    destdir = arguments.destdir
    if arguments.packages:
        arguments.story = arguments.story or ["package", "libreswan"]
        if not are_current(arguments.packages):
            build = subprocess.run([SOURCE / "tools/package", arguments.packages], check=False,
                                   env={**os.environ, "DEB_BUILD_OPTIONS": "nocheck"})
            if build.returncode != 0:
                print("Bail out! the packages cannot be built")
                sys.exit(1)
    elif not destdir:
        destdir = install(arguments.build, arguments.results / "installed")
    complete = False
    for line in run(arguments.release, destdir, ["stories", *arguments.story], arguments.results,
                    arguments.deadline, arguments.keep, arguments.build / "tests", arguments.packages):
        print(line, flush=True)
        complete = complete or re.match(r"1\.\.\d+", line)
    print(f"# console and journal: {arguments.results}")
    if not complete:
        print("Bail out! the machine ended, or its time, before every story was told")
        sys.exit(1)


if __name__ == "__main__":
    main()
