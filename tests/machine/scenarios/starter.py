# SPDX-License-Identifier: GPL-2.0-or-later
"""strongSwan with ipsec.conf: starter, which is the main process of the service, and its charon are killed under
traffic and restarted."""

import os
import signal
from pathlib import Path

import gateway_setup
import journal
import kernel
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import CONNECTIONS
from gateway_setup import look, wait_in_step
from streams import FEW, Flows
from strongswan import Strongswan

from .traffic import RESTART_SECONDS, check_replaced, check_tally, comes_back

starter = Strongswan("strongswan-starter.service")

NAME = "net4"
RETIRED = "retired"

# Number of other connections. While starter loads them, charon already answers.
MORE = 8

CHARON_PID = Path("/run/charon.pid")

CONNECTION = """
conn {name}
    keyexchange = ikev2
    ike = aes128-sha256-ecp256!
    esp = aes128-sha256!
    authby = secret
    mobike = no
    left = {outer[0]}
    leftid = {name}.gateway.example
    leftsubnet = {networks[0]}
    right = {outer[1]}
    rightid = {name}.peer.example
    rightsubnet = {networks[1]}
    auto = route
"""


def install():
    """Unpacks the files of the packages: Debian 13 does not install them beside charon-systemd, which runs the peer.

    Leaves out ipsec.service, an alias of the service, since the drop-in for libreswan would apply to it.
    """
    unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x -C / --keep-directory-symlink --exclude="*/ipsec.service"'
    for package in Path("/opt/packages").glob("strongswan-*.deb"):
        run("sh", "-c", unpack, "sh", str(package))
    run("systemctl", "daemon-reload")


def configure(*names):
    more = [CONNECTIONS[NAME]._replace(name=f"more{number}", networks=(f"10.1.{100 + number}.0/24", "10.2.9.0/24"))
            for number in range(MORE)]
    Path("/etc/ipsec.conf").write_text("config setup\n" + "".join(
        CONNECTION.format(**connection._asdict()) for connection in (*more, *(CONNECTIONS[name] for name in names))))
    Path("/etc/ipsec.secrets").write_text(': PSK "a secret of the test"\n')


def charon_pid():
    try:
        return int(CHARON_PID.read_text() or 0)
    except FileNotFoundError:
        return 0


def processes():
    """Returns the process ids of the service."""
    folder = Path("/sys/fs/cgroup") / starter.show("ControlGroup").lstrip("/")
    return {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}


def stock(check, flows):
    """Kills charon without xfrmctl: starter starts another one, which does not know the SAs of the first."""
    flows.wait_carried()
    wait_in_step(starter)
    before, main_pid, pid = look(starter), starter.main_pid(), charon_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: charon_pid() not in (0, pid), RESTART_SECONDS, "starter starts a charon", POLL_SECONDS_SLOW)
    wait_for(lambda: starter.has_loaded(RETIRED), RESTART_SECONDS, "charon has its connections")
    flows.wait_carried()
    after = look(starter)
    check.equal("systemd has seen nothing", (starter.main_pid(), starter.show("NRestarts")), (main_pid, "0"))
    check.equal("the old SAs carry the traffic, and charon does not know them", (after.spis, after.known_spis),
                (before.spis, set()))
    starter.stop()
    check.equal("stopped: they are still there", kernel.spis(), before.spis)
    kernel.flush()


def kill_charon():
    os.kill(charon_pid(), signal.SIGKILL)


def kill_starter():
    os.kill(starter.main_pid(), signal.SIGKILL)


def stays_blocked(check, flows, act):
    cursor = journal.now()
    tally, old, now = comes_back(flows, NAME, starter, act)
    check_tally(check, tally)
    check_replaced(check, old, now)
    check.equal("starter and its charon are all that runs", processes(), {starter.main_pid(), charon_pid()})
    return old, xfrmctl.releases(cursor, starter.unit)


def check_xfrmctl(check, flows):
    starter.start()
    flows.wait_carried()

    check.variant = "starter dies"
    stays_blocked(check, flows, kill_starter)

    # The service has restarted automatically before. The watch over charon has to work after that, too.
    check.variant = "charon dies"
    configure(NAME)
    old, releases = stays_blocked(check, flows, kill_charon)
    check.equal("systemd has started the service again", starter.show("NRestarts"), "2")
    # charon has loaded its last connection by then, so the release removes each shadow that a policy covers.
    check.equal("released when all connections were loaded: only what was removed stays blocked",
                [(int(entry["XFRM_SHADOWS_RELEASED"]), int(entry["XFRM_SHADOWS_KEPT"])) for entry in releases],
                [(len(old.policies) - 3, 3)])

    check.variant = "restart"
    stays_blocked(check, flows, lambda: starter.systemctl("restart"))

    check.variant = "stop"
    starter.stop()
    check.equal("nothing is left", (kernel.policies(), kernel.spis()), ([], set()))
    check.equal("the service has ended well", starter.show("Result"), "success")
    check.that("plaintext passes both ways", flows.becomes_free(NAME), flows.tallies())


def begin(with_xfrmctl):
    """Installs and configures starter. Stops charon-systemd first, since both listen on the same sockets."""
    gateway_setup.stop()
    install()
    configure(NAME, RETIRED)
    xfrmctl.configure()
    xfrmctl.enable(with_xfrmctl, starter.unit)


def ipsec_conf_stock(check):
    begin(with_xfrmctl=False)
    starter.start()
    # Without traffic: charon would lose acquires, and without xfrmctl no process would find them.
    wait_for(lambda: starter.has_loaded(RETIRED), RESTART_SECONDS, "charon has its connections")
    with Flows({NAME: FEW}) as flows:
        stock(check, flows)


def ipsec_conf(check):
    begin(with_xfrmctl=True)
    with Flows({NAME: FEW}) as flows:
        check_xfrmctl(check, flows)


SCENARIOS = (ipsec_conf_stock, ipsec_conf)
ONLY_REFERENCE = (ipsec_conf_stock,)
