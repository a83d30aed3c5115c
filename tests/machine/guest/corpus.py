# SPDX-License-Identifier: GPL-2.0-or-later
"""Seeds for the fuzzers: what charon installs and says with connections of every kind, and what this kernel says of all
that `ip` can make."""

from pathlib import Path

import connections
import kernel
import record
from command import run
from scenario import start
from stories.kinds import CHILDREN, NAMES, PEER_FILE, establish as establish_kinds, xfrm_interface
from strongswan import gateway, peer

RESULTS = Path("/opt/machine/results/corpus")


def record_everything(name):
    recorder = record.Recorder(RESULTS, f"{name}-charon")
    connections.configure_plugins()
    start((), with_xfrmctl=False)
    with xfrm_interface():
        connections.configure_gateway(NAMES)
        PEER_FILE.write_text(connections.rendered_peer(NAMES))
        peer.swanctl("--load-all", "--file", PEER_FILE)
        gateway.swanctl("--load-all")
        establish_kinds()
        print(f"# {len(CHILDREN)} children", flush=True)
        record.record_xfrm(recorder)
        record.record_routes(recorder)
        record.record_files(recorder)
        record.record_charon(recorder, "/run/charon.vici")
        record.record_events(recorder, lambda: gateway.initiate("net4"))
    gateway.stop()
    kernel.flush()
    run("ip", "netns", "add", "recording")
    record.enter("recording")
    record.record_state(record.Recorder(RESULTS, f"{name}-kernel"))
    print("# recorded", flush=True)
