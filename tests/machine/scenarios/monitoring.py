# SPDX-License-Identifier: GPL-2.0-or-later
"""Prometheus, with the rules of doc/monitoring, asks node_exporter for the metrics of xfrmctl-metrics.timer. A policy
deleted by hand and a crash of charon make alerts fire, and mending ends them.

Writes Prometheus's answers to the queries of the dashboard into the file monitoring.json of the results.
tools/dashboard-picture draws them."""

import json
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import dashboard
import prometheus
import xfrmctl
from command import run, wait_for
from connections import CONNECTIONS, gateway_file, rendered
from gateway_setup import establish, start, wait_known
from pings import Pings
from strongswan import gateway

# A connection that waits for traffic, one that charon initiates itself, and two that stay down: one waits for its peer, one
# for traffic.
TRAP, STARTED, WARRIOR, _ = NAMES = ("net4", "started", "warrior", "third")
ESTABLISHED = (TRAP, STARTED)

EXAMPLES = "share/doc/xfrmctl/examples/monitoring"
RESULTS = Path("/opt/machine/results")
TIMER = "xfrmctl-metrics.timer"
NOT_RESTARTED = "[Service]\nRestart=no\n"
PINGS_SECONDS_BETWEEN = 0.5

UNPROTECTED, DOWN = "XfrmctlTrafficUnprotected", "XfrmctlCharonDown"
# This alert fires as well if charon is away for long enough.
BLOCKED = "XfrmctlTrafficBlocked"

# Times from an event to a firing alert, and to the end of the alert, in seconds: 30 until the timer's next run, 15
# until Prometheus asks for the metrics, 15 until it evaluates its rules, and the "for:" of the rule.
READING_SECONDS = 30 + 15 + 15
DOWN_SECONDS = READING_SECONDS + 60
# Additional time for emulated machines, in seconds.
MORE_SECONDS = 60

STEP_SECONDS = 5
POLL_SECONDS = 2


@contextmanager
def timer():
    run("systemctl", "start", TIMER)
    try:
        yield
    finally:
        run("systemctl", "stop", TIMER)
        (prometheus.COLLECTED / "xfrmctl.prom").unlink(missing_ok=True)


class Events:
    """The events of the scenario, with their times, for the picture."""

    def __init__(self, check):
        self.check = check
        self.list = []

    def add(self, what):
        self.list.append((time.time(), what))

    def wait(self, condition, seconds, what):
        """Waits, and notes how long that took."""
        begun = time.monotonic()
        wait_for(condition, seconds + MORE_SECONDS, what, POLL_SECONDS)
        self.check.note(f"{what} after {time.monotonic() - begun:.0f} s")

    def wait_firing(self, name, seconds):
        self.wait(lambda: name in prometheus.alerts("firing"), seconds, f"{name} fires")
        return prometheus.alerts("firing")

    def wait_ended(self):
        self.wait(lambda: not prometheus.alerts("firing"), READING_SECONDS, "no alert fires")


def check_alert(check, alerts, name):
    """Checks what an operator reads in a firing alert."""
    texts = alerts[name]["annotations"]
    check.equal("no other alert fires", set(alerts) - {BLOCKED}, {name})
    check.that("it names the gateway and says what to do", "localhost:9100" in texts["summary"]
               and "on the gateway" in texts["runbook"], texts)


def delete_policy(check, events):
    check.variant = "a policy is deleted"
    local, remote = CONNECTIONS[STARTED].networks
    run("ip", "xfrm", "policy", "delete", "src", local, "dst", remote, "dir", "out")
    events.add("a policy is deleted")
    check_alert(check, events.wait_firing(UNPROTECTED, READING_SECONDS), UNPROTECTED)
    _, found = xfrmctl.disagreements()
    check.equal("status names what is missing, and nothing else",
                [(name, finding["child"]) for name, findings in found.items() for finding in findings],
                [("missing_policies", STARTED)])
    run("sh", "-c", found["missing_policies"][0]["mend"])
    events.add("mended")
    events.wait_ended()


def crash(check, events):
    check.variant = "charon crashes"
    with gateway.drop_in(NOT_RESTARTED):
        gateway.crash(signal.SIGKILL)
        events.add("charon crashes")
        check_alert(check, events.wait_firing(DOWN, DOWN_SECONDS), DOWN)
    gateway.start()
    events.add("charon is started")
    wait_known(ESTABLISHED)
    events.wait_ended()
    events.wait(lambda: prometheus.value("sum(xfrmctl_connection_up)") == len(ESTABLISHED), READING_SECONDS,
                "the connections are up")


def configure_warrior():
    """Loads the warrior's connection again, without the address of its peer: charon cannot initiate it."""
    warrior = CONNECTIONS[WARRIOR]._replace(settings={"remote_addrs": "%any"})
    gateway_file(WARRIOR).write_text(rendered(warrior, warrior.start_action))
    gateway.swanctl("--load-all", "--noprompt")


def answered(panels, begin, end):
    """Returns Prometheus's answers to the queries of panels: the series, by panel and query."""
    return {panel.title: {legend: prometheus.series(query, begin, end, STEP_SECONDS)
                          for legend, query in panel.queries.items()} for panel in panels}


def check_dashboard(check, examples, begin, end, events):
    """Checks that each query of the dashboard has an answer, and saves the answers."""
    check.variant = "dashboard"
    panels = dashboard.panels((examples / "dashboard.json").read_text())
    answers = answered(panels, begin, end)
    check.empty("each query has an answer", [(title, legend) for title, queries in answers.items()
                                             for legend, found in queries.items() if not found])
    alerts = prometheus.series('ALERTS{alertname=~"Xfrmctl.+"}', begin, end, STEP_SECONDS)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "monitoring.json").write_text(json.dumps({
        "begin": begin, "end": end, "step": STEP_SECONDS, "events": events.list, "alerts": alerts,
        "panels": [{"title": panel.title, "type": panel.type, "unit": panel.unit, "queries": answers[panel.title]}
                   for panel in panels]}) + "\n")


def monitoring(check):
    examples = xfrmctl.PROGRAM.parents[1] / EXAMPLES
    start(NAMES)
    configure_warrior()
    establish((TRAP,))
    wait_known(ESTABLISHED)
    events = Events(check)
    begun = time.monotonic()
    with prometheus.running(examples / "xfrmctl.rules.yml"), timer():
        check.note(f"Prometheus answers after {time.monotonic() - begun:.0f} s")
        begin = time.time()
        events.wait(lambda: prometheus.value("xfrmctl_charon_up") == 1, READING_SECONDS, "Prometheus has the metrics")
        check.equal("no alert fires or is pending", (prometheus.alerts("firing"), prometheus.alerts("pending")),
                    ({}, {}))
        with Pings(CONNECTIONS[TRAP].inner, seconds_between=PINGS_SECONDS_BETWEEN) as pings:
            pings.wait_for_answers()
            delete_policy(check, events)
            crash(check, events)
        check_dashboard(check, examples, begin, time.time(), events)


SCENARIOS = (monitoring,)
ONLY_REFERENCE = SCENARIOS
