#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages from a clean tree: lintian's report, their contents, and whether a second build is the same.

    test_package.py RELEASE FOLDER      builds on this release of Debian; the packages stay in FOLDER
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import chroot

SOURCE = Path(__file__).resolve().parents[2]

sys.path.append(str(SOURCE / "tests/lib"))

from tap import Tap

TOOLS = ("dpkg-buildpackage", "dh", "lintian")
TOOLS_ELSEWHERE = ("mmdebstrap", "unshare")

LINTIAN = ("lintian", "--allow-root", "--pedantic", "--display-info", "--fail-on=error,warning,info,pedantic")
# Tags that only this release has. Drop-ins of systemd have no alternative init script.
SUPPRESSED = {"bookworm": ["--suppress-tags=package-supports-alternative-init-but-no-init.d-script"]}

# Environments of two builds. The second one differs in every variable, and runs no tests.
FIRST = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "umask": 0o022}
SECOND = {"TZ": "America/Adak", "LC_ALL": "C", "DEB_BUILD_OPTIONS": "nocheck", "umask": 0o077}

# Patterns of all files of each package, without its documentation, but with its examples.
UNITS = r"(usr/)?lib/systemd/system"
CONTENTS = {
    "xfrmctl": (
        r"etc/default/xfrmctl", r"usr/sbin/xfrmctl", r"usr/lib/systemd/catalog/xfrmctl\.catalog",
        r"usr/share/bash-completion/completions/xfrmctl", r"usr/share/zsh/vendor-completions/_xfrmctl",
        r"usr/share/man/man8/xfrmctl\.8\.gz",
        r"usr/share/man/man7/xfrmctl-internals\.7\.gz", r"usr/share/man/man7/xfrmctl\.service\.7\.gz",
        r"usr/share/man/man5/xfrmctl-json\.5\.gz", r"usr/share/man/man5/xfrmctl\.conf\.5\.gz",
        *(rf"{UNITS}/xfrmctl-{unit}" for unit in (
            r"boot@\.service", r"handover@\.service", r"load@\.service", r"metrics\.service", r"metrics\.timer", r"save@\.service",
            r"save@\.timer", r"starter@\.service", r"stop@\.service", r"watch@\.service")),
        *(rf"usr/share/doc/xfrmctl/examples/monitoring/{file}" for file in (
            r"README\.md", r"dashboard\.json", r"dashboard\.svg", r"xfrmctl\.rules\.yml", r"xfrmctl\.rules\.test\.yml")),
    ),
    "xfrmctl-strongswan": (
        rf"{UNITS}/strongswan\.service\.d/10-xfrmctl\.conf",
        rf"{UNITS}/strongswan-starter\.service\.d/10-xfrmctl\.conf",
    ),
    "xfrmctl-libreswan": (
        rf"{UNITS}/ipsec\.service\.d/10-xfrmctl\.conf",
        rf"{UNITS}/xfrmctl-stop@ipsec\.service\.d/10-xfrmctl\.conf",
    ),
}
DOCUMENTATION = r"usr/share/(doc/[^/]+/[^/]+|lintian/.*)"


def run(*command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, **options)


def build(release, folder, how):
    """Builds the packages. Returns the output if that failed, otherwise an empty text."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {**os.environ, **{name: value for name, value in how.items() if name != "umask"}}
    # tools/package builds in a folder with another name each time.
    done = run(SOURCE / "tools/package", f"--release={release}", folder, env=environment, umask=how["umask"])
    return done.stdout if done.returncode else ""


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.deb"))}


def files(package):
    """Returns the files that a package installs, without directories."""
    listed = run("dpkg-deb", "--contents", package).stdout.splitlines()
    return [line.split()[5].removeprefix("./") for line in listed if not line.startswith("d")]


def check_contents(tap, folder):
    for name, patterns in CONTENTS.items():
        [package] = folder.glob(f"{name}_*.deb")
        found = [file for file in files(package) if not re.fullmatch(DOCUMENTATION, file)]
        missing = [pattern for pattern in patterns if not any(re.fullmatch(pattern, file) for file in found)]
        other = [file for file in found if not any(re.fullmatch(pattern, file) for pattern in patterns)]
        tap.that(f"{name}: has all that it should have, and nothing else", not missing and not other,
                 f"missing: {missing}\nnot expected: {other}")
    [conffiles] = [run("dpkg-deb", "--info", package, "conffiles").stdout for package in folder.glob("xfrmctl_*.deb")]
    tap.that("/etc/default/xfrmctl is a conffile", conffiles.split() == ["/etc/default/xfrmctl"], conffiles)


def check_again(tap, release, folder):
    again = folder / "again"
    failure = build(release, again, SECOND)
    first, second = digests(folder), digests(again)
    tap.that("built elsewhere, in another time zone, locale and umask, every package is the same, byte for byte",
             not failure and first == second and len(first) >= 3, failure or f"{first}\n{second}")
    shutil.rmtree(again)


def main():
    release, folder = sys.argv[1], Path(sys.argv[2])
    own = release == chroot.own_release()
    if missing := [tool for tool in (TOOLS if own else TOOLS_ELSEWHERE) if not shutil.which(tool)]:
        print(f"1..0 # SKIP without {', '.join(missing)}, which tools/deps installs")
        return
    tap = Tap()
    failure = build(release, folder, FIRST)
    tap.that(f"{release}: the packages can be built from a clean tree", not failure, failure)
    if not failure:
        [changes] = folder.glob("*.changes")
        said = run(*chroot.command(release, folder, [*LINTIAN, *SUPPRESSED.get(release, ()), changes.name]))
        tap.that("lintian has nothing to say, up to pedantic", said.returncode == 0 and not said.stdout, said.stdout)
        check_contents(tap, folder)
        if own:
            check_again(tap, release, folder)
    tap.plan()
    sys.exit(tap.failed > 0)


if __name__ == "__main__":
    main()
