# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections of every kind are handed over after a crash, all at once."""

import signal
import time
from contextlib import ExitStack, contextmanager

import connections
import journal
import kernel
import network
import xfrmctl
from command import POLL_SECONDS_SLOW, run, wait_for
from connections import CONNECTIONS, IF_ID, KINDS
from gateway_setup import RECOVERY_SECONDS, peer_with, start
from pings import Pings
from streams import Forgery
from strongswan import gateway

# Their own kinds: IPv4 with a peer that removes the old SAs when it is contacted anew, IPv6, and transport mode.
NAMES = ("net4", "net6", "host", *KINDS)

# strongSwan comes without it from here on.
WITHOUT_IKEV1 = (6, 1)

# One of the children has two streams, one for each of its traffic selectors.
MORE_STREAMS = {"selectors, second": ("10.1.13.1", "10.2.13.1"), "children2": ("10.1.15.1", "10.2.15.1")}
MORE_CHILDREN = {"children2"}

SECONDS_BETWEEN = 0.2

# A second's worth: a peer that removes the old SAs does so before there are new ones, and here they share two emulated
# processors. On a host with other things to do all of it takes longer. Without the old SAs, packets would be lost from the
# crash until all is handed over: at most a third of these is lost then.
LOST_AT_MOST = 5
SHARE_LOST_AT_MOST = 1 / 3

# Only noted, as they have to lose some: without charon's socket the kernel does not take ESP out of UDP, and in IKEv1 the
# peer hears of the new IKE_SA a whole exchange before there are new SAs.
LOSE_MORE = ("encap", "ikev1")

# Forged packets are UDP over IPv4. Policies with an if_id decide only on what comes in through their XFRM interface.
NOT_FORGED = ("net6", "host", "interface")
FORGED_PER_SECOND = 5

# In an emulated machine, a dozen negotiations at once take their time.
PATIENCE = "--timeout=1min"

# In the kernel, an SA of IPComp has one of IP in IP beside it.
PROTOS_OF_CHARON = ("esp", "comp")


@contextmanager
def xfrm_interface():
    network.ip_batch([f"link add ipsec type xfrm dev wan if_id {IF_ID}", "link set ipsec up",
                      f"route add {CONNECTIONS['interface'].networks[1]} dev ipsec"])
    try:
        yield
    finally:
        run("ip", "link", "delete", "ipsec")


@contextmanager
def configured(names):
    """Both ends have these connections, and no others."""
    connections.configure_gateway(names)
    with peer_with(connections.rendered_peer(names)):
        gateway.swanctl("--load-all")
        yield


def names_here(check):
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
    """Forged packets between all these addresses but those of NOT_FORGED."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Forgery(ends, FORGED_PER_SECOND))
               for name, ends in addresses.items() if name not in NOT_FORGED}


def check_forgeries_refused(check, forged):
    counts = {name: (forgery.sent.counts.passed, forgery.accepted.counts.passed) for name, forgery in forged.items()}
    check.that("no forged packet is accepted", all(sent > 0 and accepted == 0 for sent, accepted in counts.values()),
               counts)


def wait_forgeries_accepted(forged):
    """Until each receiver has shown that it would count one."""
    wait_for(lambda: all(forgery.accepted.counts.passed for forgery in forged.values()), RECOVERY_SECONDS,
             "forged packets are accepted where no policy is left")


def crash_under_traffic(addresses, wanted):
    """Until these children are handed over. Returns what became of each stream's packets, and how many may be lost."""
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
    # charon, when it is contacted anew, removes the policies of the old IKE_SA before it installs those of the new one
    # (check_uniqueness() in build_r() of ike_auth.c): the peer may answer in plaintext meanwhile.
    check.note(f"{counts['plain_in']} packets of the peer in plaintext")
    check.note(journal.text(said))


def kinds(check):
    start((), mode="auto")
    xfrmctl.configure(mode="auto", handover_options=PATIENCE)
    names = names_here(check)
    wanted = {*names, *MORE_CHILDREN}
    addresses = {**{name: CONNECTIONS[name].inner for name in names}, **MORE_STREAMS}
    with xfrm_interface(), configured(names):
        for child in sorted(wanted):
            gateway.initiate(child)
        with forgeries(addresses) as forged:
            check_handed_over(check, addresses, wanted)
            check_forgeries_refused(check, forged)
            gateway.stop()
            check.equal("a stop leaves nothing", (kernel.sas(), kernel.policies()), ([], []))
            wait_forgeries_accepted(forged)


SCENARIOS = (kinds,)
ONLY_REFERENCE = (kinds,)
