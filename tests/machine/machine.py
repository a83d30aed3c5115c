#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots a test machine with xfrmctl and the guest's programs in it, and prints the lines that it reports.

    machine.py [--release bookworm] [--build DIR | --destdir DIR] [--results DIR] [--keep] [SCENARIO...]
    machine.py --packages DIR [...]     a machine without xfrmctl, with the .deb files of DIR, and their scenarios
    machine.py --release bookworm-i386 --build DIR      a machine without systemd; DIR was built by i386.py

Each scenario is a function in tests/machine/scenarios.
"""

import argparse
import os
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import i386
import image
import report

HERE = Path(__file__).parent
LIBRARY = HERE.parent / "lib"
sys.path.append(str(LIBRARY))

from linux import processor_seconds

GUEST_HOME = "opt/machine"
KERNEL_SUITE = HERE.parent / "kernel"
SOURCE = HERE.parents[1]

# All packages except the one with debug symbols.
PACKAGES = ("xfrmctl_*.deb", "xfrmctl-strongswan_*.deb", "xfrmctl-libreswan_*.deb")
PACKAGES_HOME = "opt/xfrmctl"
# The tests of the packages and all that they use, at the paths of the source tree, as autopkgtest provides them.
AUTOPKGTEST = ("debian/tests", "tests/lib", "tests/machine/guest", "tests/machine/scenarios")
TOOLS = ("kernel/fill", "kernel/listener", "kernel/libfault.so", "machine/stream")
UNIT_TESTS = "unit/test-*"
UNITS = "etc/systemd/system"

# The first boot restores the shadows in this file, as if they had been saved before and the boot unit were enabled.
SAVED = HERE / "guest/first_boot.saved"
SAVED_PATH = "var/lib/xfrmctl/strongswan"
BOOT_UNIT = "strongswan.service.wants/xfrmctl-boot@strongswan.service"
ENABLED_UNITS = ("test-network.service", "test-program.service")

PROBE_SECONDS = 10
ACCELERATORS = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    # Without la57, page tables have four levels, as on most hardware. Programs start faster by a seventh.
    "tcg": ("-accel", "tcg,thread=multi", "-cpu", "max,la57=off"),
}
# Saves time in an emulated machine: no probing for CPU bugs, no cipher tests, no auditing, no printing of units.
# no_timer_check: on a busy host, the kernel may miss the ticks that it waits for ("IO-APIC + timer doesn't work").
# slab_nomerge: a scenario counts the objects in some slab caches, so the kernel must not merge them.
KERNEL_COMMAND_LINE = ("console=ttyS0 panic=-1 quiet no_timer_check mitigations=off cryptomgr.notests audit=0 "
                       "random.trust_cpu=on systemd.show_status=no slab_nomerge")
# Debian 12 runs with Debian's default security modules. Debian 13 runs with SELinux, so that SAs and policies can have
# security contexts; without an SELinux policy it permits everything.
SECURITY_MODULES = {"trixie": " lsm=capability,selinux enforcing=0"}
RESULTS_DISK_BYTES = 256 << 20

# Maximum time without a line from the machine, in seconds; then it is killed. The limit of a scenario, which may print
# no line until then, is shorter (guest/checks.py), so that the guest can still save the journal. This time is scaled by
# the slowness that the machine reports.
SILENT_SECONDS = 900


class Machine:
    """A qemu process. Use in a with block, at whose end it is killed."""

    def __init__(self, accelerator, folder, command_line, console, *options):
        self.command = (
            "qemu-system-x86_64", *ACCELERATORS[accelerator], "-m", "1024",
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

    def lines(self, silent_seconds):
        """Yields the lines of the serial port on qemu's standard output, until the machine ends. Exits when no line has
        come for silent_seconds, scaled by the machine's slowness."""
        pending, slowness = b"", 1.0
        while select.select([self.process.stdout], [], [], silent_seconds * slowness)[0]:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return
            *complete, pending = (pending + data).split(b"\n")
            for line in complete:
                text = line.decode(errors="replace").rstrip("\r")
                slowness = report.slowness(text, slowness)
                yield text
        sys.exit(f"machine: no line came for {silent_seconds * slowness:g} s")


def with_processor_seconds(machine, lines):
    """Yields the lines. Adds the processor time of a scenario to the line that reports its duration. On a busy host,
    processor time is a better measure than elapsed time."""
    pid = machine.process.pid
    used = processor_seconds(pid)
    for line in lines:
        if report.ENDS.match(line):
            before, used = used, processor_seconds(pid)
            line += f" (processor: {used - before:.0f} s)"
        yield line


def kvm_works(folder):
    """Returns whether KVM can boot this kernel. A guest can hang in its first instructions although /dev/kvm exists, so
    the kernel has to print a line."""
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
    """Returns the accelerator to use, which $XFRMCTL_TEST_ACCEL overrides."""
    chosen = os.environ.get("XFRMCTL_TEST_ACCEL")
    if chosen is None:
        return "kvm" if kvm_works(folder) else "tcg"
    if chosen not in ACCELERATORS:
        sys.exit(f"machine: XFRMCTL_TEST_ACCEL={chosen}: use one of {', '.join(ACCELERATORS)}")
    return chosen


def write_payload(destdir, tools, program, payload, packages=None):
    """Writes the tar that the initramfs unpacks over the root file system: the installed tree and the guest's programs.

    The tar has no directory entries: the directories of the root file system must not change, also where /lib is a link
    to usr/lib.
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
        for folder in (HERE / "guest", HERE / "scenarios", KERNEL_SUITE):
            add_tree(folder, f"{GUEST_HOME}/{folder.name}/")
        # The library goes into each folder whose programs import it.
        for folder in ("guest", "kernel"):
            add_tree(LIBRARY, f"{GUEST_HOME}/{folder}/")
        if tools:
            for tool in TOOLS:
                add(tools / tool, f"{GUEST_HOME}/tools/{Path(tool).name}")
            for test in tools.glob(UNIT_TESTS):
                if test.is_file():
                    add(test, f"{GUEST_HOME}/tools/unit/{test.name}")
        if tools and not packages:
            add_text(SAVED_PATH, SAVED.read_text())
            add_link(f"{UNITS}/{BOOT_UNIT}", "/usr/local/lib/systemd/system/xfrmctl-boot@.service")
        add_tree(HERE / "guest/units", f"{UNITS}/")
        for unit in ENABLED_UNITS:
            add_link(f"{UNITS}/multi-user.target.wants/{unit}", f"../{unit}")
        add_text(f"{GUEST_HOME}/arguments", "".join(f"{word}\n" for word in program))


@contextmanager
def work_folder(results, keep):
    """Yields a folder for the disks, which is removed afterwards unless `keep`. It is below `results`, since a
    temporary file system may be too small."""
    if keep:
        kept = results / "disks"
        kept.mkdir(exist_ok=True)
        yield kept
    else:
        with tempfile.TemporaryDirectory(prefix="disks-", dir=results) as work:
            yield Path(work)


def processors(release, program, packages):
    """Returns the number of processors of a machine. With one, an emulated machine needs a quarter less of the host's
    processor time, because the emulator synchronizes no processors. That is for scenarios. Those of Debian 13 have two,
    so that races differ between the releases."""
    one = program[0] == "scenarios" and (packages or release in ("bookworm", i386.NAME))
    return "1" if one else "2"


def run(release, destdir, program, results, silent_seconds=SILENT_SECONDS, keep=False, tools=None, packages=None):
    """Runs a guest program (its name and arguments) and yields the lines that it prints.

    Kills the machine and exits when no line has come for silent_seconds. `tools` is the folder of TOOLS in a build
    directory; only scenarios need it.

    Afterwards the folder `results` has the console, the journal and the files that the program wrote.
    """
    folder = i386.folder() if release == i386.NAME else image.image(release)
    accel = accelerator(folder)
    results.mkdir(parents=True, exist_ok=True)
    with work_folder(results, keep) as work:
        root, payload, written = work / "root.img", work / "payload.tar", work / "results.tar"
        subprocess.run(["cp", "--sparse=always", folder / "root.img", root], check=True)
        write_payload(destdir, tools, program, payload, packages)
        written.touch()
        os.truncate(written, RESULTS_DISK_BYTES)
        drive = "if=virtio,format=raw,cache=unsafe"
        with Machine(accel, folder, KERNEL_COMMAND_LINE + SECURITY_MODULES.get(release, ""), results / "console",
                     "-smp", processors(release, program, packages),
                     "-serial", "stdio",
                     "-drive", f"file={root},{drive}",
                     "-drive", f"file={payload},readonly=on,{drive}",
                     "-drive", f"file={written},{drive}") as machine:
            yield f"# {release} machine, accelerator {accel}"
            yield from with_processor_seconds(machine, machine.lines(silent_seconds))
        subprocess.run(["tar", "-xf", written, "-C", results], check=True)


def install(build, destdir):
    """Installs a build into the folder destdir, as an operator would with DESTDIR. Returns destdir."""
    shutil.rmtree(destdir, ignore_errors=True)
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", destdir.absolute()],
                   stdout=subprocess.DEVNULL, check=True)
    return destdir


def are_current(packages):
    """Returns whether all packages exist and are newer than each file of the source."""
    built = [file.stat().st_mtime for pattern in PACKAGES for file in packages.glob(pattern)]
    listed = subprocess.run(["git", "-c", "safe.directory=*", "-C", SOURCE, "ls-files", "-z"], stdout=subprocess.PIPE,
                            text=True, check=True).stdout
    files = [SOURCE / name for name in listed.split("\0") if name]
    return len(built) == len(PACKAGES) and max(file.lstat().st_mtime for file in files if file.exists()) < min(built)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Runs the scenarios in a test machine and prints TAP.")
    parser.add_argument("--release", choices=(*image.RELEASES, i386.NAME), default="bookworm")
    parser.add_argument("--build", type=Path, default=os.environ.get("MESON_BUILD_ROOT", "build"),
                        help="the build directory whose xfrmctl is tested")
    parser.add_argument("--destdir", type=Path, help="test what `meson install --destdir` put here instead")
    parser.add_argument("--packages", type=Path,
                        help="run the scenarios of these Debian packages, in a machine without xfrmctl")
    parser.add_argument("--results", type=Path, help="folder for console and journal")
    parser.add_argument("--silent", type=int, default=SILENT_SECONDS, metavar="SECONDS",
                        help="end the machine when no line has come for this time (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the machine's disks, in the results")
    parser.add_argument("scenario", nargs="*", help="default: all")
    arguments = parser.parse_args()
    machine = f"packages-{arguments.release}" if arguments.packages else arguments.release
    arguments.results = arguments.results or arguments.build / "machine" / machine
    if arguments.release == i386.NAME:
        arguments.scenario = arguments.scenario or ["other_architecture"]
    return arguments


def chosen_scenarios(arguments):
    """Returns the names of the scenarios to run. The host needs them to report those that the machine does not run."""
    sys.path.append(str(HERE / "guest"))
    import scenarios
    debian, _ = image.RELEASES.get(arguments.release, (i386.SUITE, None))
    return [scenario.__name__ for scenario in scenarios.chosen(arguments.scenario, debian, arguments.packages)]


def build_packages(release, folder):
    """Builds the packages into the folder, unless it has current ones."""
    if are_current(folder):
        return
    debian, _ = image.RELEASES[release]
    build = subprocess.run([SOURCE / "tools/package", f"--release={debian}", folder], check=False,
                           env={**os.environ, "DEB_BUILD_OPTIONS": "nocheck"})
    if build.returncode != 0:
        sys.exit(f"machine: the packages cannot be built: {folder}/build.log")


def output(arguments, scenarios):
    """Prepares and runs the machine. Yields the lines to print."""
    destdir = arguments.destdir
    if arguments.packages:
        build_packages(arguments.release, arguments.packages)
    elif not destdir:
        destdir = install(arguments.build, arguments.results / "installed")
    yield from run(arguments.release, destdir, ["scenarios", *scenarios], arguments.results, arguments.silent,
                   arguments.keep, arguments.build / "tests", arguments.packages)


def end(number, _):
    """Exits on a signal, so that the machine is killed too."""
    sys.exit(f"machine: ended by {signal.Signals(number).name}")


def main():
    arguments = parse_arguments()
    scenarios = chosen_scenarios(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    machine, why = report.Report(scenarios), "the machine ended"
    try:
        for line in output(arguments, scenarios):
            print(line, flush=True)
            machine.read(line)
    except SystemExit as error:
        why = error
    except FileNotFoundError as error:
        why = f"{error.filename} is missing; tools/deps installs what this needs"
    except (OSError, subprocess.SubprocessError) as error:
        why = error
    print(f"# console and journal: {arguments.results}")
    for line in machine.missing(why):
        print(line, flush=True)
    sys.exit(0 if machine.complete else 1)


if __name__ == "__main__":
    main()
