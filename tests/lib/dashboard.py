# SPDX-License-Identifier: GPL-2.0-or-later
"""The panels of the dashboard for Grafana, and their queries as Prometheus takes them."""

import json
from typing import NamedTuple

# Values that Grafana gives to the variables, if it shows all gateways and Prometheus asks each every 15 seconds.
VARIABLES = {"$job": ".+", "$instance": ".+", "$__rate_interval": "1m"}


class Panel(NamedTuple):
    title: str
    type: str
    unit: str
    queries: dict       # by legend


def query(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def panels(text):
    """Returns the panels of a dashboard, whose JSON is the text."""
    return [Panel(panel["title"], panel["type"], panel["fieldConfig"]["defaults"].get("unit", ""),
                  {target["legendFormat"]: query(target["expr"]) for target in panel["targets"]})
            for panel in json.loads(text)["panels"]]
