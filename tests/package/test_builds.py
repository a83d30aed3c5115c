#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds on Debian that differ from a developer's: another compiler, an older C library, other folders.

    test_builds.py FOLDER      builds in FOLDER
"""

import json
import os
import shutil
import sys
from pathlib import Path

from test_package import Tap, run

SOURCE = Path(__file__).resolve().parents[2]

RUN_DIR = "/run/strongswan"
SOCKET = f"{RUN_DIR}/charon.vici"
PID_FILES = [f"{RUN_DIR}/charon.pid", f"{RUN_DIR}/starter.charon.pid"]
VERBS_WITH_SOCKET = ("flush", "release", "handover", "status", "wait", "watch")

# Replaces a header that glibc has since 2.36.
MISSING = '#error "no such header in this C library"\n'

# Folders of the units and paths of the catalog, by prefix and option.
VENDOR = run("pkg-config", "--variable=systemdsystemunitdir", "systemd").stdout.strip()
CATALOGS = "lib/systemd/catalog/xfrmctl.catalog"
FOLDERS = (
    ([], "/usr/local/lib/systemd/system", f"/usr/local/{CATALOGS}"),
    (["-Dprefix=/usr"], VENDOR, f"/usr/{CATALOGS}"),
    (["-Dprefix=/usr", "-Dsystemd-unit-dir=/etc/systemd/system"], "/etc/systemd/system", f"/usr/{CATALOGS}"),
)
SETTINGS = "/etc/default/xfrmctl"


def failure(*command, **environment):
    """Runs a command. Returns its output if it failed, otherwise an empty text."""
    done = run(*command, env={**os.environ, **environment})
    return done.stdout if done.returncode else ""


def setup(folder, *options, **environment):
    shutil.rmtree(folder, ignore_errors=True)
    return failure("meson", "setup", folder, SOURCE, *options, **environment)


def compile_all(folder):
    return failure("ninja", "-C", folder)


def option(folder, name):
    options = json.loads(run("meson", "introspect", "--buildoptions", folder).stdout)
    return next(found["value"] for found in options if found["name"] == name)


def check_clang(tap, folder):
    failed = setup(folder, "--werror", "-Dtests=enabled", "-Ddaemons=strongswan,libreswan", CC="clang") or \
        compile_all(folder)
    tap.that("clang compiles everything without a warning", not failed, "\n".join(
        line for line in failed.splitlines() if "error" in line) or failed)


def check_other(tap, folder):
    """Checks a build with an older C library and the folders of another distribution. Returns whether it can be
    built."""
    headers = folder.with_name("headers") / "sys"
    headers.mkdir(parents=True, exist_ok=True)
    (headers / "pidfd.h").write_text(MISSING)
    failed = setup(folder, "-Dtests=disabled", f"-Dcharon-run-dir={RUN_DIR}", f"-Dc_args=-I{headers.parent}")
    tap.that("charon's run directory can be chosen", not failed, failed)
    if failed:
        return False
    tap.that("warnings are no errors for whoever builds", option(folder, "werror") is False)
    failed = compile_all(folder)
    tap.that("compiles without <sys/pidfd.h>", not failed, failed)
    return not failed


def check_run_directory(tap, program):
    helps = {verb: run(program, verb, "--help").stdout for verb in VERBS_WITH_SOCKET}
    tap.that("--help shows the socket of this build", all(SOCKET in text for text in helps.values()), helps)
    paths = {text for text in run("strings", program).stdout.split() if text.startswith("/run/") and "charon" in text}
    tap.that("the program has no other path of charon's", paths >= {SOCKET, *PID_FILES} and all(
        path.startswith(f"{RUN_DIR}/") for path in paths), paths)
    said = run("unshare", "--net", program, "wait", "--timeout=0").stdout
    tap.that("what waits for a socket that is not there names it, and the option", SOCKET in said and "--socket" in said,
             said)


def installed(folder, *options):
    """Runs `meson install` into a folder of its own. Returns the folder, its files, and the output if it failed."""
    destdir = folder.with_name("installed")
    shutil.rmtree(destdir, ignore_errors=True)
    failed = options and failure("meson", "configure", folder, *options) or \
        failure("meson", "install", "-C", folder, f"--destdir={destdir}")
    return destdir, {f"/{path.relative_to(destdir)}" for path in destdir.rglob("*") if not path.is_dir()}, failed


def check_folders(tap, folder):
    for options, units, catalog in FOLDERS:
        prefix = options[0].partition("=")[2] if options else "/usr/local"
        destdir, files, failed = installed(folder, *options)
        what = " ".join(options) or "no option"
        found = {file.rpartition("/xfrmctl-")[0] for file in files if "/xfrmctl-" in file and
                 "/man/" not in file and "catalog" not in file}
        tap.that(f"{what}: units are in {units}, and nowhere else", not failed and found == {units}, failed or found)
        tap.that(f"{what}: so is the drop-in", f"{units}/strongswan.service.d/10-xfrmctl.conf" in files, sorted(files))
        tap.that(f"{what}: the catalog is {catalog}",
                 [file for file in files if file.endswith(".catalog")] == [catalog], sorted(files))
        tap.that(f"{what}: all else is below the prefix, but for {SETTINGS}",
                 [file for file in files if not file.startswith((f"{prefix}/", f"{units}/"))] == [SETTINGS], sorted(files))
        text = (destdir / f"{units}/xfrmctl-stop@.service".lstrip("/")).read_text() if not failed else ""
        tap.that(f"{what}: units run the program that is installed", f"={prefix}/sbin/xfrmctl" in text.replace("=-", "="),
                 text)


def check_uninstall(tap, folder):
    destdir, _, failed = installed(folder)
    made = ["etc/systemd/system/strongswan.service.wants/xfrmctl-boot@strongswan.service", "var/lib/xfrmctl/strongswan",
            "var/lib/prometheus/node-exporter/xfrmctl.prom"]
    others = "etc/systemd/system/timers.target.wants/apt-daily.timer"
    for name in (*made, others):
        (destdir / name).parent.mkdir(parents=True, exist_ok=True)
        (destdir / name).touch()
    failed = failed or failure(SOURCE / "tools/uninstall", folder, DESTDIR=str(destdir))
    left = [str(path.relative_to(destdir)) for path in destdir.rglob("*") if not path.is_dir()]
    tap.that("tools/uninstall removes all that was installed, switched on and written, and nothing else",
             not failed and left == [others], failed or left)


def main():
    if missing := [tool for tool in ("clang", "ninja", "meson", "strings") if not shutil.which(tool)]:
        print(f"1..0 # SKIP without {', '.join(missing)}, which tools/deps installs")
        return
    tap = Tap()
    folder = Path(sys.argv[1]).resolve()
    check_clang(tap, folder / "clang")
    other = folder / "other"
    if check_other(tap, other):
        check_run_directory(tap, other / "src/xfrmctl")
        check_folders(tap, other)
        check_uninstall(tap, other)
    tap.plan()
    sys.exit(tap.failed > 0)


if __name__ == "__main__":
    main()
