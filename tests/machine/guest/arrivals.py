# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the peer's SAs the packets of each connection come out of."""

import network
from command import run

# A packet that comes out of a tunnel passes this hook with the SPI of its SA, before the peer's policies are asked.
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
    """In a with block."""

    def __enter__(self):
        run("nft", "-f", "-", netns="peer", stdin=RULES)
        return self

    def __exit__(self, *exception):
        run("nft", "delete", "table", "inet", "arrivals", netns="peer")

    def counts(self):
        """Packets by (inner source, SPI)."""
        return network.counted_in_set("arrivals", "carried", "peer")

    def sources(self):
        """By SPI, the inner sources of what it has carried."""
        found = {}
        for source, spi in self.counts():
            found.setdefault(spi, set()).add(source)
        return found
