# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's Prometheus and node_exporter, on the gateway's loopback interface, and what Prometheus answers."""

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from command import run, wait_for

UNITS = ("prometheus-node-exporter.service", "prometheus.service")
CONFIGURATION = Path("/etc/prometheus/prometheus.yml")
COLLECTED = Path("/var/lib/prometheus/node-exporter")
API = "http://localhost:9090/api/v1/"
ANSWER_SECONDS = 60
START_SECONDS = 120


def ask(path, **parameters):
    """Sends a request to Prometheus. Returns the data of its answer."""
    url = f"{API}{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
        return json.load(answer)["data"]


def answers():
    """Returns whether Prometheus runs and has read its rules."""
    try:
        return bool(ask("rules")["groups"])
    except (OSError, urllib.error.URLError):
        return False


def value(expression):
    """Returns the value of an expression that has one series, or None if it has none."""
    result = ask("query", query=expression)["result"]
    return float(result[0]["value"][1]) if result else None


def alerts(state):
    """Returns the alerts in this state, which is pending or firing, by their names."""
    return {alert["labels"]["alertname"]: alert for alert in ask("alerts")["alerts"] if alert["state"] == state}


def series(expression, begin, end, step):
    """Returns the values over a time, as (labels, [(time, value)...]) of each series."""
    result = ask("query_range", query=expression, start=begin, end=end, step=step)["result"]
    return [(found["metric"], [(moment, float(number)) for moment, number in found["values"]]) for found in result]


@contextmanager
def running(rules):
    """Runs Prometheus and node_exporter for the with block, as Debian configures them, with this file of rules."""
    before = CONFIGURATION.read_text()
    shutil.copy(rules, CONFIGURATION.parent)
    CONFIGURATION.write_text(before.replace("rule_files:\n", f"rule_files:\n  - {rules.name}\n"))
    COLLECTED.mkdir(exist_ok=True)
    try:
        run("systemctl", "unmask", *UNITS)
        run("systemctl", "start", *UNITS)
        wait_for(answers, START_SECONDS, "Prometheus answers")
        yield
    finally:
        run("systemctl", "stop", *UNITS, check=False)
        run("systemctl", "mask", *UNITS)
        CONFIGURATION.write_text(before)
