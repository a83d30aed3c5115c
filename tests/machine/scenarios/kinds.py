# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections of all kinds are handed over at the same time after a crash."""

import signal
import time
from contextlib import ExitStack, contextmanager

import journal
import kernel
import network
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import CONNECTIONS, IF_ID, KINDS
from gateway_setup import RECOVERY_SECONDS, configured, start
from pings import Pings
from streams import Forgery
from strongswan import gateway

# The first three are more kinds: IPv4 with a peer that removes its old SAs on INITIAL_CONTACT, IPv6, and transport
# mode.
NAMES = ("net4", "net6", "host", *KINDS)

# First version of strongSwan without IKEv1.
WITHOUT_IKEV1 = (6, 1)

# More streams: of the second traffic selector of "selectors", and of the second child of "children".
MORE_STREAMS = {"selectors, second": ("10.1.13.1", "10.2.13.1"), "children2": ("10.1.15.1", "10.2.15.1")}
MORE_CHILDREN = {"children2"}

SECONDS_BETWEEN = 0.2

# Maximum loss of a stream, in packets: those of one second. Packets are lost because the peer removes its old SAs
# before it has new ones.
LOST_AT_MOST = 5
# Maximum loss of a stream, as a share of its packets from the crash to the end of the handover. The larger limit
# applies. On a busy host the gap is longer, since both ends share two emulated processors. Without the old SAs, all
# these packets would be lost.
SHARE_LOST_AT_MOST = 1 / 3

# Kinds without a limit, since they must lose packets. Without charon's socket, the kernel does not extract ESP from
# UDP. In IKEv1, the peer learns of the new IKE_SA a whole exchange before there are new SAs.
LOSE_MORE = ("encap", "ikev1")

# Kinds without forged packets, which are UDP over IPv4. Policies with an if_id apply only to packets that come in
# through their XFRM interface.
NOT_FORGED = ("net6", "host", "interface")
FORGED_PER_SECOND = 5

# Timeout of the handover: in an emulated machine, a dozen negotiations at once take long.
LONG_TIMEOUT = "--timeout=1min"

# Protocols of the SAs that charon lists. In the kernel, each SA of IPComp has a second one of IP in IP, which charon
# does not list.
PROTOS_OF_CHARON = ("esp", "comp")


@contextmanager
def xfrm_interface():
    network.ip_batch([f"link add ipsec type xfrm dev wan if_id {IF_ID}", "link set ipsec up",
                      f"route add {CONNECTIONS['interface'].networks[1]} dev ipsec"])
    try:
        yield
    finally:
        run("ip", "link", "delete", "ipsec")


def names_here(check):
    """Returns the connections that this version of strongSwan supports."""
    version = gateway.version()
    if version < WITHOUT_IKEV1:
        return NAMES
    check.skip("ikev1", f"strongSwan {version[0]}.{version[1]} has no IKEv1")
    return tuple(name for name in NAMES if name != "ikev1")


def children():
    return sorted(child.name for child in gateway.child_sas())


def spis():
    return {sa.spi for sa in kernel.sas() if sa.proto in PROTOS_OF_CHARON}


def is_handed_over(wanted):
    return not xfrmctl.kept() and set(children()) >= wanted


@contextmanager
def forgeries(addresses):
    """Sends forged packets between all these addresses, except those of NOT_FORGED, for the with block."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Forgery(ends, FORGED_PER_SECOND))
               for name, ends in addresses.items() if name not in NOT_FORGED}


def check_forgeries_refused(check, forged):
    counts = {name: (forgery.sent.counts.passed, forgery.accepted.counts.passed) for name, forgery in forged.items()}
    check.that("no forged packet is accepted", all(sent > 0 and accepted == 0 for sent, accepted in counts.values()),
               counts)


def wait_forgeries_accepted(forged):
    """Waits until each receiver has accepted a forged packet, which shows that the check could have failed."""
    wait_for(lambda: all(forgery.accepted.counts.passed for forgery in forged.values()), RECOVERY_SECONDS,
             "forged packets are accepted where no policy is left")


def crash_under_traffic(addresses, wanted):
    """Kills charon and waits until these children are handed over. Returns the results of the streams, and how many
    packets each may lose."""
    with ExitStack() as stack:
        streams = {name: stack.enter_context(Pings(ends, seconds_between=SECONDS_BETWEEN))
                   for name, ends in addresses.items()}
        for stream in streams.values():
            stream.wait_for_answers(5)
        begun = time.monotonic()
        gateway.crash_and_wait(signal.SIGKILL)
        wait_for(lambda: is_handed_over(wanted), RECOVERY_SECONDS, "all children are handed over", POLL_SECONDS_SLOW)
        sent = (time.monotonic() - begun) / SECONDS_BETWEEN
        for stream in streams.values():
            stream.wait_for_answers(5)
        at_most = max(LOST_AT_MOST, round(sent * SHARE_LOST_AT_MOST))
        return {name: stream.stop() for name, stream in streams.items()}, at_most


def check_handed_over(check, addresses, wanted):
    old, before, cursor = spis(), network.counts(), journal.now()
    results, at_most = crash_under_traffic(addresses, wanted)
    counts, known = network.counted_since(before), gateway.known_spis()
    check.equal("charon has one of each child", children(), sorted(wanted))
    check.equal("no old SA is left", old & spis(), set())
    check.equal("charon knows every SA of the kernel", spis(), known)
    check.equal("no packet leaves in plaintext", counts["plain_out"], 0)
    for name, result in results.items():
        if name not in LOSE_MORE:
            check.that(f"{name}: not more than {LOST_AT_MOST} packets are lost, or a third of what a hold would take",
                       result.lost <= at_most, f"{result.lost} of {result.sent}, at most {at_most}")
    said = xfrmctl.handovers(cursor)
    check.equal("the journal says so", [(entry["XFRM_HANDED_OVER"], entry["XFRM_FELL_BACK"]) for entry in said],
                [(str(len(wanted)), "0")])
    check.note(f"packets lost, {1 / SECONDS_BETWEEN:.0f} a second: "
               + ", ".join(f"{name} {result.lost}" for name, result in results.items()))
    # On INITIAL_CONTACT, charon removes the policies of the old IKE_SA before it installs those of the new one
    # (check_uniqueness() in build_r() of ike_auth.c). Meanwhile the peer may answer in plaintext.
    check.note(f"{counts['plain_in']} packets of the peer in plaintext")
    check.note(journal.text(said))


def kinds(check):
    start((), mode="auto")
    xfrmctl.configure(mode="auto", handover_options=LONG_TIMEOUT)
    names = names_here(check)
    wanted = {*names, *MORE_CHILDREN}
    addresses = {**{name: CONNECTIONS[name].inner for name in names}, **MORE_STREAMS}
    with xfrm_interface(), configured(names):
        for child in sorted(wanted):
            gateway.initiate(child)
        with forgeries(addresses) as forged:
            check_handed_over(check, addresses, wanted)
            check_forgeries_refused(check, forged)
            xfrmctl.check_agreement(check)
            gateway.stop()
            check.equal("a stop leaves nothing", (kernel.sas(), kernel.policies()), ([], []))
            wait_forgeries_accepted(forged)


SCENARIOS = (kinds,)
ONLY_REFERENCE = (kinds,)
