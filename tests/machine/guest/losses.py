# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures what an event costs the traffic of a connection: pings in both directions, and a TCP stream."""

import time
from typing import NamedTuple

import tcpstream
from plaintext import BothWays, Seen
from tcpstream import TcpStream


class Losses(NamedTuple):
    ours: int           # lost pings of the gateway
    theirs: int         # lost pings of the peer
    sent: int           # pings that the gateway has sent
    seen: Seen          # counts from the event on
    tcp: tcpstream.Result
    back_after: float   # seconds from the event to the first answer after the gateway's last lost ping; None: no answer


def losses(event, settled, name="net4", tcp_name=None):
    """Runs event() under the traffic of one connection. Then calls settled() with the time of the event, by
    time.time(), and ends the traffic when settled() returns. TCP may use another connection. Returns the losses."""
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
