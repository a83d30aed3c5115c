#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks the alert rules and the dashboard of doc/monitoring. promtool accepts the rules and the queries of the
dashboard, and the tests of the rules pass. Each metric exists. Each alert has a runbook and tests, and the README names
it.

promtool is the host's, or that of Debian's package, which is unpacked once. Prints each problem, and exits with 1 if
there are any.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP / "doc/monitoring"
RULES, TESTS = FOLDER / "xfrmctl.rules.yml", FOLDER / "xfrmctl.rules.test.yml"
DASHBOARD, README = FOLDER / "dashboard.json", FOLDER / "README.md"
SOURCE = TOP / "src/status/metrics.c"

# Metrics of node_exporter.
OTHER_METRICS = {"node_textfile_mtime_seconds", "node_time_seconds"}

# Members that a dashboard needs, so that Grafana can import it.
IMPORTED = {"title", "uid", "schemaVersion", "panels", "templating", "time"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

sys.path += [str(TOP / "tests/lib"), str(TOP / "tests/machine")]
sys.dont_write_bytecode = True

import dashboard
import image

PACKAGE, SUITE = "prometheus", "bookworm"
PROGRAM = "usr/bin/promtool"


def unpack(work, result):
    # The package is unpacked and not installed, because its scripts enable and start a service.
    image.bootstrap(SUITE, work / "root", [PACKAGE], options=("--variant=extract",))
    shutil.copy(work / "root" / PROGRAM, result)


def promtool(*arguments):
    """Runs promtool. Returns its output if it fails, otherwise an empty text."""
    inputs = f"{SUITE} {PACKAGE} {PROGRAM}".encode()
    program = shutil.which("promtool") or \
        image.cached("promtool", hashlib.sha256(inputs).hexdigest()[:16], unpack) / "promtool"
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.strip() if done.returncode else ""


def alerts():
    """Returns the lines of each alert, by its name."""
    parts = re.split(r"^ +- alert: (\w+)$", RULES.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def tests_of(alert):
    """Returns the text of the tests of this alert."""
    tests = re.split(r'^  - name: "', TESTS.read_text(), flags=re.MULTILINE)[1:]
    return "".join(test for test in tests if test.startswith(f"{alert}: "))


def metrics(text):
    """Returns the names of metrics in a text of queries."""
    return set(re.findall(r"\b(?:xfrmctl|node)_\w+", text))


def problems_of_rules():
    for command in (("check", "rules", RULES), ("test", "rules", TESTS)):
        yield promtool(*command)
    for name, text in alerts().items():
        if not re.search(r"^ +summary: ", text, re.MULTILINE) or not re.search(r"^ +runbook: ", text, re.MULTILINE):
            yield f"{name} has no summary, or no runbook"
        tests = tests_of(name)
        if f'alertname="{name}"' not in tests:
            yield f"no test of {name} lets it fire"
        if "exp_samples: []" not in tests:
            yield f"in no test of {name} it does not fire"
        if f"`{name}`" not in README.read_text():
            yield f"{README.name} does not name {name}"


def problems_of_metrics(queries):
    known = set(re.findall(r"xfrmctl_\w+", SOURCE.read_text())) | OTHER_METRICS
    expressions = re.findall(r"^ +expr: (.*?)^ +(?:for|labels):", RULES.read_text(), re.MULTILINE | re.DOTALL)
    for place, text in ((RULES, "\n".join(expressions)), (DASHBOARD, "\n".join(queries))):
        for name in sorted(metrics(text) - known):
            yield f"{place.name}: {SOURCE.name} has no metric {name}"


def problems_of_dashboard(panels, queries):
    content = json.loads(DASHBOARD.read_text())
    if missing := IMPORTED - set(content):
        yield f"{DASHBOARD.name} lacks {sorted(missing)}"
    if [panel["title"] for panel in content["panels"] if panel["datasource"] != DATASOURCE]:
        yield f"{DASHBOARD.name}: a panel has another data source than the variable"
    if len({panel.title for panel in panels}) != len(panels):
        yield f"{DASHBOARD.name}: two panels have one title"
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        # JSON is YAML.
        json.dump({"groups": [{"name": DASHBOARD.name, "rules": rules}]}, file)
        file.flush()
        yield promtool("check", "rules", file.name)


def problems():
    """Yields a text for each problem; some are empty."""
    panels = dashboard.panels(DASHBOARD.read_text())
    queries = [query for panel in panels for query in panel.queries.values()]
    yield from problems_of_rules()
    yield from problems_of_metrics(queries)
    yield from problems_of_dashboard(panels, queries)


def main():
    found = [problem for problem in problems() if problem]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


sys.exit(main())
