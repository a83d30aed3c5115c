# SPDX-License-Identifier: GPL-2.0-or-later
"""A pluto that systemd runs, as the gateway's IKE daemon."""

import re
from pathlib import Path

from command import run
from connections import CONNECTIONS
from strongswan import ChildSA, Strongswan

CONNECTION = """
conn {name}
    ike = aes128-sha2_256-dh19
    esp = aes128-sha2_256
    authby = secret
    mobike = no
    left = {outer[0]}
    leftid = @{name}.gateway.example
    leftsubnet = {networks[0]}
    right = {outer[1]}
    rightid = @{name}.peer.example
    rightsubnet = {networks[1]}
    auto = ondemand
"""

CHILD = re.compile(r'#\d+: "([^"]+)".* esp\.([0-9a-f]+)@\S+ esp\.([0-9a-f]+)@')


class Libreswan(Strongswan):
    """A pluto. It has no VICI, so this class reads its state with whack."""

    def status(self):
        return run("/usr/libexec/ipsec/whack", "--status", check=False).stdout

    def has_loaded(self, name):
        return f'"{name}":' in self.status()

    def child_sas(self):
        """Returns the CHILD_SAs; pluto names the outbound SA first."""
        return [ChildSA(name, int(spi_in, 16), int(spi_out, 16), 0, 0, ())
                for name, spi_out, spi_in in CHILD.findall(self.status())]


pluto = Libreswan("ipsec.service")


def unpack_files(package):
    """Unpacks the files of a package, without its dependencies and scripts."""
    run("sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x -C / --keep-directory-symlink', "sh", str(package))


def install():
    """Unpacks the files of the package. It cannot be installed, since it conflicts with strongSwan, which runs the
    peer."""
    [package] = Path("/opt/packages").glob("libreswan_*.deb")
    unpack_files(package)
    run("systemd-tmpfiles", "--create", "libreswan.conf")
    run("systemctl", "daemon-reload")


def configure(*names):
    Path("/etc/ipsec.conf").write_text("config setup\n" + "".join(
        CONNECTION.format(**CONNECTIONS[name]._asdict()) for name in names))
    secrets = Path("/etc/ipsec.secrets")
    secrets.write_text(': PSK "a secret of the test"\n')
    secrets.chmod(0o600)
