# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts, for each connection, the packets that arrive through each of the peer's SAs."""

import network
from command import run

# Rules of nft(8). At this hook, a packet from a tunnel has the SPI of its SA; the peer checks its policies later.
RULES = """
table inet arrivals {
    set carried { typeof ip saddr . ipsec in spi; size 256; flags dynamic; counter; }
    chain incoming {
        type filter hook input priority 0
        meta ipsec exists update @carried { ip saddr . ipsec in spi }
    }
}
"""


class Arrivals:
    """The counter. Use in a with block."""

    def __enter__(self):
        run("nft", "-f", "-", netns="peer", stdin=RULES)
        return self

    def __exit__(self, *exception):
        run("nft", "delete", "table", "inet", "arrivals", netns="peer")

    def counts(self):
        """Returns the packets by (inner source, SPI)."""
        return network.counted_in_set("arrivals", "carried", "peer")

    def sources(self):
        """Returns, by SPI, the inner sources of the packets that its SA has carried."""
        found = {}
        for source, spi in self.counts():
            found.setdefault(spi, set()).add(source)
        return found
