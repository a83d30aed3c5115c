#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine with a kernel of i386, and xfrmctl built for i386. The C library of i386 opens sockets in another way
(socketcall(2)), and its kernel lays out XFRM messages differently. No program of i386 has to run on this host.

    i386.py BUILD       configures the build directory BUILD for i386, and builds in it
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import image

# Debian 12 is the last release with a kernel for i386.
NAME, SUITE = "bookworm-i386", "bookworm"

KERNEL = "linux-image-686-pae"
PACKAGES = (KERNEL, "bash", "busybox-static", "coreutils", "dash", "iproute2", "kmod", "libc-bin", "mount", "python3", "tar",
            "util-linux")
PACKAGES_TO_BUILD = ("libc6-dev", "libcmocka-dev", "libgcc-12-dev", "libjansson-dev", "libnl-3-dev", "libnl-route-3-dev",
                     "libnl-xfrm-3-dev", "libseccomp-dev", "libsystemd-dev", "linux-libc-dev")

# Folders of these packages that a compiler reads.
SYSROOT = ("usr/include", "usr/lib/gcc", "usr/lib/i386-linux-gnu", "usr/share/pkgconfig")

LOADER = "usr/lib/ld-linux.so.2"

# Packages are unpacked and not installed, because their scripts would have to run on this host. Security updates are
# left out, because not every mirror has all of them for i386. $1 is the root file system.
OPTIONS = ("--variant=extract", "--architectures=i386", r"""--setup-hook=sed -i '/\bsecurity\b/d' "$1/etc/apt/sources.list" """,
           '--setup-hook=cd "$1" && for folder in bin sbin lib; do mkdir -p usr/$folder && ln -s usr/$folder $folder; done')

FIRST_PROCESS = Path(__file__).with_name("i386-init")
SOURCE = Path(__file__).resolve().parents[2]

# -B: the compiler of this host has no files of its own for -m32. They are in gcc-multilib, which conflicts with other
# packages.
CROSS_FILE = """\
[constants]
sysroot = '{sysroot}'

[binaries]
c = ['gcc', '-m32', '-march=i686', '--sysroot=' + sysroot, '-B' + sysroot / 'usr/lib/gcc/i686-linux-gnu/12']
pkgconfig = 'pkg-config'
strip = 'strip'

[properties]
needs_exe_wrapper = true
pkg_config_libdir = [sysroot / 'usr/lib/i386-linux-gnu/pkgconfig', sysroot / 'usr/share/pkgconfig']
sys_root = sysroot

[host_machine]
cpu = 'i686'
cpu_family = 'x86'
endian = 'little'
system = 'linux'
"""


def folder():
    """Returns the folder with root.img, vmlinuz, initramfs and sysroot. Builds it first if it is not in the cache."""
    inputs = [Path(file).read_bytes() for file in (__file__, image.__file__, image.INIT, FIRST_PROCESS)]
    return image.cached(NAME, hashlib.sha256(b"\0".join(inputs)).hexdigest()[:16],
                        lambda work, result: make(work / "root", result))


def make(root, result):
    with image.step(f"{NAME}: packages unpacked"):
        image.bootstrap(SUITE, root, PACKAGES + PACKAGES_TO_BUILD, options=OPTIONS)
    sysroot = result / "sysroot"
    for tree in SYSROOT:
        shutil.copytree(root / tree, sysroot / tree, symlinks=True)
    # The linker script of the C library looks for the loader in this folder.
    (sysroot / "lib").symlink_to("usr/lib")
    shutil.copy(root / LOADER, sysroot / LOADER)

    [vmlinuz] = root.glob("boot/vmlinuz-*")
    shutil.copyfile(vmlinuz, result / "vmlinuz")
    [modules] = root.glob("usr/lib/modules/*")
    image.run("depmod", "-b", root, modules.name)
    shutil.copy(FIRST_PROCESS, root / "usr/sbin/init")
    # guest/main.py writes a configuration of strongSwan here, although strongSwan is not installed.
    (root / "etc/strongswan.d").mkdir()
    image.make_initramfs(root, modules, result / "initramfs")
    image.write_file_system(NAME, root, result)


def configure(build):
    """Configures the build directory, unless it is configured for the current sysroot already."""
    text = CROSS_FILE.format(sysroot=folder() / "sysroot")
    cross_file = build / "i386.cross"
    if (build / "build.ninja").exists() and cross_file.exists() and cross_file.read_text() == text:
        return
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    cross_file.write_text(text)
    subprocess.run(["meson", "setup", build, SOURCE, "--cross-file", cross_file, "--prefix=/usr", "-Dtests=enabled",
                    "-Dunits=disabled"], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    configure(Path(sys.argv[1]))
    sys.exit(subprocess.run(["ninja", "-C", sys.argv[1], "--quiet"], check=False).returncode)
