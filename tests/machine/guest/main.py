# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs what the file `arguments` says: `scenarios NAME...`, `demo`, `thousand COUNT ROUNDS SELECTORS...`,
`compare ROUNDS MODES...`, `handovers ROUNDS COUNTS...`, `soak CRASHES SEED SECONDS MODES...`, or `corpus NAME`."""

import subprocess
import sys
from pathlib import Path

import calibration

HOME = Path(__file__).parent.parent
sys.path.append(str(HOME))


def why_host_binary_cannot_run(program):
    """Only a C library older than the host's is a reason not to run the scenarios."""
    tried = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if tried.returncode != 0 and "GLIBC_" in tried.stderr:
        return tried.stderr.strip().splitlines()[0]
    return None


def run_scenarios(names):
    import connections
    import scenarios
    import xfrmctl
    from checks import run_scenario
    from tap import Tap

    if xfrmctl.PROGRAM.exists() and (reason := why_host_binary_cannot_run(xfrmctl.PROGRAM)):
        print(f"1..0 # SKIP the program of the host does not run here: {reason}")
        return
    # Figures are taken, and the machine has booted, with all that Debian loads.
    connections.configure_plugins()
    tap = Tap()
    for scenario in scenarios.named(names):
        run_scenario(tap, scenario.__name__, scenario)
    tap.plan()


def soak(crashes, seed, seconds, modes):
    import connections
    from checks import run_scenario
    from scenarios.soak import soak_for_long
    from tap import Tap

    connections.configure_plugins()
    tap = Tap()
    for mode in modes:
        run_scenario(tap, "soak", lambda check, mode=mode: soak_for_long(check, mode, crashes, seed), seconds)
    tap.plan()


def main():
    program, *arguments = (HOME / "arguments").read_text().split()
    print(calibration.measure(), flush=True)
    if program == "scenarios":
        run_scenarios(arguments)
    elif program == "demo":
        import demo
        demo.run()
    elif program == "thousand":
        import thousand
        count, rounds, *selectors = arguments
        thousand.measure(int(count), int(rounds), selectors)
    elif program == "compare":
        import compare
        rounds, name, restart_sec, *modes = arguments
        compare.compare(int(rounds), name, restart_sec.strip("-"), modes)
    elif program == "handovers":
        import compare
        rounds, *counts = map(int, arguments)
        compare.hand_over(counts, rounds)
    elif program == "corpus":
        import corpus
        corpus.record_everything(arguments[0])
    elif program == "soak":
        crashes, seed, seconds = map(int, arguments[:3])
        soak(crashes, seed, seconds, arguments[3:])


if __name__ == "__main__":
    main()
