# SPDX-License-Identifier: GPL-2.0-or-later
"""What an event costs the traffic of a connection: pings both ways, and a TCP stream."""

import time
from typing import NamedTuple

import tcpstream
from plaintext import BothWays, Seen
from tcpstream import TcpStream


class Losses(NamedTuple):
    ours: int           # of the gateway's pings
    theirs: int         # of the peer's
    sent: int           # pings of each
    seen: Seen          # from the event on
    tcp: tcpstream.Result
    back_after: float   # from the event to the first answer behind the gateway's last lost ping; None: not at all


def losses(event, settled, name="net4", tcp_name=None):
    """Runs event() under the traffic of one connection, and goes on until settled() returns, which gets the time.time()
    of the event. TCP may go through another one."""
    with BothWays(name) as pings, TcpStream(tcp_name or name) as stream:
        pings.wait_for_answers()
        stream.wait_carried()
        totals, moment = pings.totals(), time.time()
        event()
        settled(moment)
        tcp, seen = stream.result(moment), pings.since(totals)
        ours, theirs = pings.ours.stop(), pings.theirs.stop()
    back = moment if ours.lost == 0 else ours.back_at()
    return Losses(ours.lost, theirs.lost, ours.sent, seen, tcp, None if back is None else max(back - moment, 0))
