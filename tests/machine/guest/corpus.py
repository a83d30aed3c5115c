# SPDX-License-Identifier: GPL-2.0-or-later
"""Records seeds for the fuzzers in a machine. With connections of all kinds, it records charon's answers and the state
that charon installs. It also records the kernel's answers for all state that `ip` can make."""

from pathlib import Path

import connections
import kernel
import record
from command import run
from gateway_setup import start
from scenarios.kinds import MORE_CHILDREN, NAMES, configured, xfrm_interface
from strongswan import gateway

RESULTS = Path("/opt/machine/results/corpus")


def record_everything(name):
    recorder = record.Recorder(RESULTS, f"{name}-charon")
    connections.configure_plugins()
    start((), with_xfrmctl=False)
    children = sorted({*NAMES, *MORE_CHILDREN})
    with xfrm_interface(), configured(NAMES):
        for child in children:
            gateway.initiate(child)
        print(f"# {len(children)} children", flush=True)
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
