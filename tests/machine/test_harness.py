# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that each scenario that a machine does not run, and each log that is missing, is a failure with its name."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import machine      # first: it adds tests/lib to sys.path
import report
from tap import Tap, equal

HERE = Path(__file__).parent
TALLY = HERE.parents[1] / "tools/tally"

sys.path.append(str(HERE / "guest"))

OUTPUT = """\
# bookworm machine, accelerator tcg
# calibration: 50 programs take 6.00 s, the reference takes 3 s: deadlines are times 2.00
# boot: begins
ok 1 - boot: strongSwan runs
not ok 2 - boot: one flush
# boot: 3.0 s
# boot: ends after 12.3 s (processor: 15 s)
# hold: begins
ok 3 - hold: no packet leaves
"""
SCENARIOS = ("boot", "hold", "kinds")


def read(text, scenarios=SCENARIOS):
    seen = report.Report(scenarios)
    for line in text.splitlines():
        seen.read(line)
    return seen


def missing(text, why="the machine ended", scenarios=SCENARIOS):
    return list(read(text, scenarios).missing(why))


def ends_early():
    """A machine that ends early: the current scenario has not ended, the others have not run."""
    equal(missing(OUTPUT), ["not ok 4 - hold: not ended: the machine ended", "not ok 5 - kinds: not run: the machine ended",
                          "1..5"])


def ends_between():
    """A machine that ends between two scenarios: the next one has not run."""
    equal(missing(OUTPUT + "# hold: ends after 1.0 s\n"), ["not ok 4 - kinds: not run: the machine ended", "1..4"])


def never_boots():
    """A machine that prints nothing: no scenario has run."""
    equal(missing(""), [*(f"not ok {number} - {name}: not run: the machine ended" for number, name in
                          enumerate(SCENARIOS, 1)), "1..3"])


def cut_line():
    """A line that the machine's end cuts off does not count."""
    equal(missing(OUTPUT + "ok 4 - ho\n# hold: ends aft\n")[0], "not ok 5 - hold: not ended: the machine ended")


def complete():
    """A machine that has run all scenarios: no line is added."""
    text = OUTPUT + "# hold: ends after 1.0 s\n# kinds: begins\n# kinds: ends after 1.0 s\n1..3\n"
    equal((missing(text), read(text).complete), ([], True))


def skipped():
    """A machine that cannot run the host's program: no line is added."""
    equal(missing("1..0 # SKIP the program of the host does not run here: GLIBC_2.40 not found\n"), [])


def long_reason():
    """A reason of several lines: each failure has its first line, the others appear once, none is a TAP directive."""
    equal(missing("", "image: mmdebstrap failed # SKIP\nE: no network", SCENARIOS[:2]),
          ["not ok 1 - boot: not run: image: mmdebstrap failed  SKIP", "not ok 2 - hold: not run: image: mmdebstrap failed  SKIP",
           "# E: no network", "1..2"])


def slowness():
    """The machine's slowness is read from the line in which the machine reports it."""
    factor = 1.0
    for line in OUTPUT.splitlines():
        factor = report.slowness(line, factor)
    equal(factor, 2.0)


def same_words():
    """The guest prints the lines that the patterns match."""
    import calibration
    import checks
    calibration.PROGRAM, calibration.PROGRAMS = ("true",), 1
    equal(report.slowness(calibration.measure(), 7.0), 1.0)
    with tempfile.TemporaryFile("w+") as printed:
        with redirect_stdout(printed):
            checks.run_scenario(Tap(), "boot", lambda check: None)
        printed.seek(0)
        equal(missing(printed.read(), scenarios=["boot"]), ["1..0"])


def scenario_is_ended_first():
    """A scenario's own limits end before the limit of a silent machine, and leave time to save the journal."""
    import checks
    if checks.SCENARIO_SECONDS + 3 * checks.CLEANUP_SECONDS + 60 > machine.SILENT_SECONDS:
        raise AssertionError("the machine is ended first")


class Silent(machine.Machine):
    """A process that writes a text and then hangs."""

    def __init__(self, text):
        self.command = ("sh", "-c", 'printf %s "$1"; exec sleep 600', "sh", text)


def silent_machine():
    """A machine that stops printing is killed, after a time that is scaled by its slowness."""
    lines = []
    with Silent(OUTPUT) as silent:
        try:
            for line in silent.lines(0.2):
                lines.append(line)
        except SystemExit as error:
            equal((lines, str(error)), (OUTPUT.splitlines(), "machine: no line came for 0.4 s"))
            return
    raise AssertionError("it goes on")


def without_tools():
    """Without the tools that make an image, each scenario is a failure with its name and the reason."""
    with tempfile.TemporaryDirectory() as empty:
        env = {**os.environ, "PATH": empty, "XDG_CACHE_HOME": empty}
        done = subprocess.run([sys.executable, HERE / "machine.py", "--destdir", empty, "--results", f"{empty}/results",
                               "hold", "kinds"], env=env, capture_output=True, text=True, check=False)
    *_, hold, others, kinds, plan = done.stdout.splitlines()
    equal(([line.split(":")[:2] for line in (hold, others, kinds)], plan, done.returncode),
          ([[f"not ok {number} - {name}", " not run"] for number, name in enumerate(("hold", "hold_short_timeout_peer", "kinds"), 1)],
           "1..3", 1))


def names_are_unique():
    """Each scenario has a name of its own."""
    import scenarios
    names = [scenario.__name__ for scenario in scenarios.chosen([], scenarios.REFERENCE)]
    equal((len(names), [scenario.__name__ for scenario in scenarios.named(names)]), (len(set(names)), names))


def only_if_named():
    """A scenario of ON_REQUEST runs if it is named, and not as a part of its module or of all."""
    import scenarios
    chosen = [{scenario.__name__ for scenario in scenarios.chosen(names, scenarios.REFERENCE, packages=True)}
              for names in ([], ["libreswan"], ["libreswan_stock"])]
    equal([{"libreswan", "libreswan_stock"} & names for names in chosen],
          [{"libreswan"}, {"libreswan"}, {"libreswan_stock"}])


def tally(logs):
    """Returns the last line of tools/tally for these logs, and its lines about failures. `logs` maps names to texts;
    None is a missing log."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in logs.items():
            if text is not None:
                (Path(folder) / name).write_text(text)
        done = subprocess.run([TALLY, *(f"{folder}/{name}" for name in logs)], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    return lines[-1] if lines else done.stderr, [line.replace(f"{folder}/", "") for line in lines if "failed: " in line]


def logged(stdout, result="OK", name="bookworm"):
    return json.dumps({"name": name, "result": result, "stdout": stdout, "duration": 1.0}) + "\n"


def tally_of_missing():
    """tally counts each scenario that has not run."""
    text = OUTPUT + "".join(f"{line}\n" for line in missing(OUTPUT))
    equal(tally({"log": logged(text, "FAIL")})[0], "2 passed, 3 failed")


def tally_without_log():
    """A log that is missing, or has no test in it, is a failure."""
    equal(tally({"log": logged("ok 1 - it\n1..1\n"), "other": None, "empty": ""}),
          ("1 passed, 2 failed", ["failed: other: nothing was run", "failed: empty: nothing was run"]))


CASES = (ends_early, ends_between, never_boots, cut_line, complete, skipped, long_reason, slowness, same_words,
         scenario_is_ended_first, silent_machine, without_tools, names_are_unique, only_if_named, tally_of_missing,
         tally_without_log)


def main():
    tap = Tap()
    tap.plan(len(CASES))
    for function in CASES:
        tap.run(function.__doc__.splitlines()[0], function)


if __name__ == "__main__":
    main()
