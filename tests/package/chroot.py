#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a command on a release of Debian: on this machine if it has that release, otherwise in a root file system.
mmdebstrap makes that file system once, with lintian and the build dependencies in debian/control.

    chroot.py RELEASE FOLDER COMMAND...     COMMAND has FOLDER as its working directory, and writes nowhere else
"""

import hashlib
import os
import platform
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
CONTROL = SOURCE / "debian/control"

sys.path.append(str(SOURCE / "tests/machine"))
sys.dont_write_bytecode = True

import image

# $1 is a root file system, $2 the working directory. The mounts exist only for the command.
ENTER = """
    set -e
    mount --bind "$2" "$1/mnt"
    mount -t proc proc "$1/proc"
    mount -t tmpfs tmpfs "$1/tmp"
    root=$1
    shift 2
    exec chroot "$root" env --unset=TMPDIR --chdir=/mnt "$@"
"""

NEEDED_TO_BUILD = f"""
    APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -q --yes --no-install-recommends -o DPkg::Chroot-Directory="$1" \\
        build-dep "{SOURCE}"
"""


def own_release():
    return platform.freedesktop_os_release().get("VERSION_CODENAME")


def root(release):
    """Returns the root file system of this release, and makes it if there is none."""
    if release not in image.RELEASES:
        sys.exit(f"chroot: unknown release '{release}'. Use one of {', '.join(image.RELEASES)}.")
    suite, _ = image.RELEASES[release]
    inputs = [Path(__file__).read_bytes(), Path(image.__file__).read_bytes(), CONTROL.read_bytes(), suite.encode()]
    key = hashlib.sha256(b"\0".join(inputs)).hexdigest()[:16]
    return image.cached(f"chroot-{suite}", key,
                        lambda _, result: image.bootstrap(suite, result, ["lintian"], [NEEDED_TO_BUILD]))


def command(release, folder, words):
    """Returns the command line that runs a command on this release."""
    if release == own_release():
        return ["env", f"--chdir={folder}", *words]
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh", str(root(release)),
            str(folder), *words]


def main():
    if len(sys.argv) < 4:
        sys.exit("Usage: chroot.py RELEASE FOLDER COMMAND...")
    release, folder, *words = sys.argv[1:]
    found = command(release, Path(folder).resolve(), words)
    os.execvp(found[0], found)


if __name__ == "__main__":
    main()
