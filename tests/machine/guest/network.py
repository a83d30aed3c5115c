# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the network inside the machine: gateway - router - peer. Reads the router's packet counts.

    gateway (the machine itself)   namespace inet           namespace peer
    lan  10.1.0.1 .. 10.1.24.1     gateway  192.0.2.254     lan  10.2.0.1 .. 10.2.24.1
         fd00:1::1                          2001:db8:1::fe       fd00:2::1
    wan  192.0.2.1                 peer     198.51.100.254  wan  198.51.100.1
         2001:db8:1::1                      2001:db8:2::fe       2001:db8:2::1
         (virtual: fd00:9::1)                                    (virtual: 10.9.0.1)
                                   blue     203.0.113.254
    namespace blue, a second gateway:  lan 10.3.0.1, wan 203.0.113.1
"""

import json

from command import run

ROUTER = "inet"
INNER = 25        # number of inner IPv4 addresses at the gateway and at the peer
SITES = {   # namespace: (outer addresses, router's outer addresses, inner addresses, inner networks)
    "gateway": (("192.0.2.1", "2001:db8:1::1"), ("192.0.2.254", "2001:db8:1::fe"),
                (*(f"10.1.{n}.1" for n in range(INNER)), "fd00:1::1"), ("10.1.0.0/16", "fd00:1::/64")),
    "peer": (("198.51.100.1", "2001:db8:2::1"), ("198.51.100.254", "2001:db8:2::fe"),
             (*(f"10.2.{n}.1" for n in range(INNER)), "fd00:2::1"), ("10.2.0.0/16", "10.9.0.0/24", "fd00:2::/64")),
    "blue": (("203.0.113.1",), ("203.0.113.254",), ("10.3.0.1",), ("10.3.0.0/16",)),
}

# Rules of nft(8) at the router. The tests send pings, IKE, ESP, and packets of two ports that bypass policies exempt.
# So a ping, or any other packet with an inner address, is plaintext here.
RULES = """
table inet counted {
    counter esp_out {}
    counter esp_in {}
    counter esp6_out {}
    counter esp6_in {}
    counter ike_out {}
    counter ike_in {}
    counter bypass_out {}
    counter bypass_in {}
    counter plain_out {}
    counter plain_in {}
    # Plaintext of the gateway by (source, destination).
    set leaks { type ipv4_addr . ipv4_addr; size 64; flags dynamic; counter; }
    set plaintext_echo { type icmp_type; elements = { echo-request, echo-reply } }
    set plaintext_echo6 { type icmpv6_type; elements = { echo-request, echo-reply } }
    chain blocked {}
    chain passing {
        type filter hook forward priority 0
        iifname gateway ip saddr 10.0.0.0/8 update @leaks { ip saddr . ip daddr }
        iifname gateway ip protocol esp counter name esp_out accept
        oifname gateway ip protocol esp counter name esp_in accept
        iifname gateway ip6 nexthdr esp counter name esp6_out accept
        oifname gateway ip6 nexthdr esp counter name esp6_in accept
        iifname gateway udp dport { 500, 4500 } counter name ike_out jump blocked
        oifname gateway udp dport { 500, 4500 } counter name ike_in accept
        iifname gateway udp dport 53 counter name bypass_out accept
        oifname gateway udp sport 53 counter name bypass_in accept
        iifname gateway tcp sport 22 counter name bypass_out accept
        oifname gateway tcp dport 22 counter name bypass_in accept
        iifname gateway icmp type @plaintext_echo counter name plain_out accept
        oifname gateway icmp type @plaintext_echo counter name plain_in accept
        iifname gateway icmpv6 type @plaintext_echo6 counter name plain_out accept
        oifname gateway icmpv6 type @plaintext_echo6 counter name plain_in accept
        iifname gateway ip saddr 10.0.0.0/8 counter name plain_out accept
        oifname gateway ip daddr 10.0.0.0/8 counter name plain_in accept
        iifname gateway ip6 saddr fd00::/8 counter name plain_out accept
        iifname gateway ip daddr 10.0.0.0/8 counter name plain_out accept
        iifname gateway ip6 daddr fd00::/8 counter name plain_out accept
        oifname gateway ip6 daddr fd00::/8 counter name plain_in accept
    }
}
"""


def with_length(address):
    return f"{address}/64" if ":" in address else f"{address}/24"


def ip_batch(commands, netns=None):
    run("ip", "-batch", "-", netns=netns, stdin="".join(f"{command}\n" for command in commands))


def create():
    """Makes the network namespaces with their links, addresses and routes, and the router's rules."""
    ip_batch([f"netns add {netns}" for netns in (ROUTER, "peer", "blue")])
    ip_batch([f"link add wan netns {site} type veth peer name {site} netns {ROUTER}"
              for site in ("peer", "blue")] + [f"link add wan type veth peer name gateway netns {ROUTER}"])
    for site, (outer, router, inner, _) in SITES.items():
        ip_batch([
            "link set lo up",
            "link add lan type dummy",
            "link set lan up",
            "link set wan up",
            *(f"address add {with_length(address)} dev wan nodad" for address in outer),
            *(f"address add {with_length(address)} dev lan nodad" for address in inner),
            *(f"route add default via {address}" for address in router),
        ], netns=None if site == "gateway" else site)
    ip_batch([
        "link set lo up",
        *(f"link set {site} up" for site in SITES),
        *(f"address add {with_length(address)} dev {site} nodad" for site in SITES for address in SITES[site][1]),
    ], netns=ROUTER)
    ip_batch([f"route add {network} via {next(hop for hop in outer if (':' in hop) == (':' in network))}"
              for outer, _, _, inner in SITES.values() for network in inner], netns=ROUTER)
    run("sysctl", "-q", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", netns=ROUTER)
    run("nft", "-f", "-", netns=ROUTER, stdin=RULES)


def counts():
    """Returns the packets that the router has forwarded, by counter. `out` is from the gateway, `in` is to the
    gateway."""
    listed = json.loads(run("nft", "-j", "list", "counters", netns=ROUTER).stdout)["nftables"]
    return {entry["counter"]["name"]: entry["counter"]["packets"] for entry in listed if "counter" in entry}


def counted_since(before):
    return {name: packets - before[name] for name, packets in counts().items()}


def counted_in_set(table, name, netns=ROUTER):
    """Returns the packets by element of a set whose elements are concatenations."""
    listed = json.loads(run("nft", "-j", "list", "set", "inet", table, name, netns=netns).stdout)["nftables"]
    [found] = [entry["set"] for entry in listed if "set" in entry]
    return {tuple(element["elem"]["val"]["concat"]): element["elem"]["counter"]["packets"]
            for element in found.get("elem", ())}


def leaks():
    """Returns the plaintext IPv4 packets of the gateway that the router has forwarded, by (source, destination)."""
    return counted_in_set("counted", "leaks")


def block_ike():
    """Blocks the gateway's IKE messages to the peer from now on."""
    run("nft", "add rule inet counted blocked drop", netns=ROUTER)


def block_ike_auth():
    """Blocks the gateway's IKE_AUTH requests to the peer from now on, so that new negotiations stay half open."""
    # The exchange type is the 19th byte after the UDP header (RFC 7296, 3.1).
    run("nft", "add rule inet counted blocked @th,208,8 35 drop", netns=ROUTER)


def unblock_ike():
    run("nft", "flush chain inet counted blocked", netns=ROUTER)
