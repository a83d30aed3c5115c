#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine images: a Debian release's root file system, kernel and initramfs, built once and cached.

    image.py RELEASE...     build what is missing, print the folder of each image
"""

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

# By the name of an image: Debian's release, and the suite of the kernel, which is the release if it is None.
RELEASES = {
    "bookworm": ("bookworm", None),
    "bookworm-backports": ("bookworm", "bookworm-backports"),
    "trixie": ("trixie", None),
    "trixie-backports": ("trixie", "trixie-backports"),
    "forky": ("forky", None),
}

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "busybox-static",
    "iproute2", "iputils-ping", "procps", "nftables", "jq", "python3", "adduser",
    "charon-systemd", "strongswan-swanctl", "libstrongswan-standard-plugins", "libcharon-extra-plugins",
    "libnl-3-200", "libnl-xfrm-3-200", "libnl-route-3-200", "libjansson4",
)
# Packages for scenarios that run on one release alone.
PACKAGES_OF = {"bookworm": ("prometheus", "prometheus-node-exporter")}
# Files of packages that no scenario needs: 270 MB, most of them of Prometheus's pages.
EXCLUDED = ("/usr/bin/promtool", "/usr/share/javascript/*", "/usr/share/nodejs/*")
KERNEL = "linux-image-cloud-amd64"

# Packages whose files are in a folder of the root file system. Scenarios install or unpack them.
PACKAGES_LATER = ("charon-systemd", "strongswan-starter", "strongswan-charon", "libreswan")
PACKAGE_FILES = "opt/packages"

# Dependencies of libreswan that its scenario does not need. The scenario only unpacks libreswan, because it conflicts
# with the peer's strongSwan. All other dependencies are installed, whatever their names are in a release.
LIBRESWAN_WITHOUT = ("dns-root-data", "host", "bind9-host", "iptables", "iproute2")

METRICS = "var/lib/prometheus/node-exporter"

# Units that take time in an emulated machine, and that scenarios do not need. One scenario unmasks those of Prometheus.
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "e2scrub_reap.service", "systemd-timesyncd.service", "systemd-tmpfiles-clean.timer", "systemd-pstore.service",
    "systemd-networkd.service", "systemd-networkd-wait-online.service", "systemd-logind.service",
    "prometheus.service", "prometheus-node-exporter.service",
    "getty.target", "getty@.service", "serial-getty@.service", "console-getty.service",
)

# Kernel modules for the disk. All other modules are loaded from the root file system. In some kernels, the last two are
# built in.
INITRAMFS_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
INIT = Path(__file__).with_name("initramfs-init")

DAYS_UNUSED = 7


def log(text):
    print(f"image: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(what):
    started = time.monotonic()
    yield
    log(f"{what}: {time.monotonic() - started:.0f} s")


def run(*command, **options):
    """Runs a command. Returns its output, or exits with its output if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False, **options)
    if done.returncode != 0:
        sys.exit(f"image: {command[0]} failed with status {done.returncode}:\n{done.stdout}")
    return done.stdout


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "xfrmctl"


def key(release):
    """Returns a hash of everything that an image depends on: two files, and the name of the release."""
    inputs = [Path(__file__).read_bytes(), INIT.read_bytes(), release.encode()]
    return hashlib.sha256(b"\0".join(inputs)).hexdigest()[:16]


def cached(name, key, make):
    """Returns the folder of this name and key in the cache. If it is missing, make(work, result) makes its content."""
    cache = cache_folder()
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = cache / f"{name}-{key}"
    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make_in_place(name, folder, make)
        os.utime(folder)
        remove_leftovers(cache, name, folder)
    return folder


def image(release):
    """Returns the folder with root.img, vmlinuz and initramfs of a release. Builds it first if it is not in the
    cache."""
    return cached(release, key(release), lambda work, result: build(release, work / "root", result))


def make_in_place(name, folder, make):
    if os.geteuid() != 0:
        sys.exit(f"image: making {name} needs root")
    os.umask(0o022)
    log(f"making {name} (once; about a minute)")
    with tempfile.TemporaryDirectory(prefix=f"{name}-", suffix=".building", dir=folder.parent) as work:
        result = Path(work) / "image"
        result.mkdir()
        make(Path(work), result)
        result.rename(folder)


def remove_leftovers(cache, name, current):
    """Removes old folders of this name. Other folders than the current one stay for DAYS_UNUSED days after their last
    use, because another checkout may use them. A builder that was killed leaves a .building folder."""
    oldest = time.time() - DAYS_UNUSED * 86400
    for folder in cache.iterdir():
        if not re.fullmatch(rf"{name}-\w+(\.building)?", folder.name):
            continue
        unused = folder.stat().st_mtime < oldest
        if folder != current and (unused or folder.suffix == ".building"):
            shutil.rmtree(folder)


def build(release, root, result):
    with step(f"{release}: packages installed"):
        install_packages(release, root)
    with step(f"{release}: kernel unpacked"):
        modules = unpack_kernel(root, result)
    configure(root)
    make_initramfs(root, modules, result / "initramfs")
    write_file_system(release, root, result)


def write_file_system(release, root, result):
    with step(f"{release}: file system written"):
        # The size leaves room for the files that the scenarios write.
        run("mke2fs", "-q", "-t", "ext4", "-d", root, result / "root.img", "1500M")


def install_packages(release, root):
    """Installs the packages. Only downloads the kernel, because its maintainer scripts would build another
    initramfs."""
    suite, kernel_suite = RELEASES[release]
    kernel_suite = kernel_suite or suite
    # A newer kernel is in two packages, on which the versioned package depends.
    download_kernel = f"""
        cd "$1/var/tmp"
        export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
        if [ {kernel_suite} != {suite} ]; then
            sed -i -n 's/ {suite} / {kernel_suite} /p' "$1/etc/apt/sources.list"
            apt-get -q update
        fi
        needs() {{
            apt-cache depends "$1" | sed -n "s/.*Depends: \\(linux-\\($2\\)-[0-9].*\\)/\\1/p"
        }}
        versioned=$(needs {KERNEL} image | head -n 1)
        apt-get -q download "$versioned" $(needs "$versioned" "binary\\|modules")
    """
    download_packages = f"""
        mkdir "$1/{PACKAGE_FILES}"
        cd "$1/{PACKAGE_FILES}"
        export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
        apt-get -q download {" ".join(PACKAGES_LATER)}
        depends=$(apt-cache show --no-all-versions libreswan | sed -n "s/^Depends: //p" |
            sed -E "s/(^|, )({"|".join(LIBRESWAN_WITHOUT)})( [^,]*)?//g; s/^, //")
        apt-get -q --yes --no-install-recommends -o DPkg::Chroot-Directory="$1" satisfy "$depends"
        apt-get clean
    """
    bootstrap(suite, root, PACKAGES + PACKAGES_OF.get(suite, ()), (download_packages, download_kernel),
              ("--variant=minbase", *(f"--dpkgopt=path-exclude={path}" for path in EXCLUDED)))


def bootstrap(suite, root, packages, hooks=(), options=("--variant=minbase",)):
    """Installs these packages into the folder root, and runs the hooks, in which $1 is root."""
    # If this host accepts a mirror that lags behind, the image is made from it, too.
    lagging = run("apt-config", "dump", "--format", '%f "%v";%n', "Acquire::Check-Valid-Until").splitlines()
    run("mmdebstrap", "--quiet", *options, f"--include={','.join(packages)}",
        *(f"--aptopt={option}" for option in lagging), *(f"--customize-hook={hook}" for hook in hooks), suite, root)


def unpack_kernel(root, result):
    """Unpacks the kernel into `result`, and its modules into the root file system. Returns the folder of the
    modules."""
    kernel = result.parent / "kernel"
    for package in (root / "var/tmp").glob("linux-*.deb"):
        run("dpkg", "-x", package, kernel)
        package.unlink()

    # The kernel is in /boot, or beside its modules. The modules are in /lib, or in /usr/lib.
    [vmlinuz] = (*kernel.glob("boot/vmlinuz-*"), *kernel.glob("usr/lib/modules/*/vmlinuz"))
    shutil.copyfile(vmlinuz, result / "vmlinuz")
    [modules] = (*kernel.glob("lib/modules/*"), *kernel.glob("usr/lib/modules/*"))
    version = modules.name
    shutil.copytree(modules, root / "usr/lib/modules" / version, symlinks=True)
    run("depmod", "-b", root, version)
    return root / "usr/lib/modules" / version


def configure(root):
    def write(path, text):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    # A machine without an id would run systemd's first-boot presets, which enable every unit.
    write("etc/machine-id", hashlib.md5(b"xfrmctl test machine").hexdigest() + "\n")
    write("etc/hostname", "gateway\n")
    write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 gateway\n")
    write("etc/fstab", "/dev/vda / ext4 defaults 0 0\n")
    write("etc/systemd/journald.conf.d/test.conf",
          "[Journal]\nStorage=volatile\nRateLimitBurst=0\nRuntimeMaxUse=200M\n")
    # The scenarios make the folder of the metrics; without it, xfrmctl writes none.
    shutil.rmtree(root / METRICS, ignore_errors=True)
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    # Generators run at every daemon-reload. The machine needs none of the installed ones.
    generators = root / "etc/systemd/system-generators"
    generators.mkdir(parents=True)
    for generator in (root / "usr/lib/systemd/system-generators").iterdir():
        (generators / generator.name).symlink_to("/dev/null")


def modules_in_load_order(modules):
    """Returns the relative paths of INITRAMFS_MODULES and of all modules that they need. Each module comes after those
    that it needs."""
    needs = dict(re.findall(r"^(\S+):(.*)$", (modules / "modules.dep").read_text(), re.MULTILINE))
    order = []

    def add(path):
        for need in needs[path].split():
            add(need)
        if path not in order:
            order.append(path)

    for path in needs:      # a driver that is not listed is built in
        if Path(path).name.split(".")[0] in INITRAMFS_MODULES:
            add(path)
    return order


def make_initramfs(root, modules, initramfs):
    tree = initramfs.parent.parent / "initramfs-tree"
    for folder in ("bin", "dev", "proc", "root", "modules"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox", tree / "bin/busybox")
    shutil.copy(INIT, tree / "init")
    (tree / "init").chmod(0o755)

    names = []
    for path in modules_in_load_order(modules):
        content = (modules / path).read_bytes()
        if path.endswith(".xz"):    # busybox loads plain modules only
            content = lzma.decompress(content)
        names.append(Path(path).name.removesuffix(".xz"))
        (tree / "modules" / names[-1]).write_bytes(content)
    (tree / "modules/order").write_text("".join(f"{name}\n" for name in names))

    run("sh", "-c", 'find . | cpio -o -H newc | gzip >"$1"', "sh", initramfs, cwd=tree)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RELEASES:
        print(image(wanted))
