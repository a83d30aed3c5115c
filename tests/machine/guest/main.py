# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the program that the file `arguments` names:

    scenarios NAME...
    demo
    thousand COUNT ROUNDS SELECTORS...
    compare ROUNDS CONNECTION RESTART_SEC MODES...
    handovers ROUNDS COUNTS...
    warriors COUNT SECONDS,... MODES...
    soak CRASHES SEED SECONDS MODES...
    corpus NAME
"""

import subprocess
import sys
from pathlib import Path

import calibration

HOME = Path(__file__).parent.parent
sys.path.append(str(HOME))


def why_host_binary_cannot_run(program):
    """Returns the error of the dynamic loader if this machine's C library is older than the program needs, else None.
    No other failure is a reason to skip the scenarios."""
    tried = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if tried.returncode != 0 and "GLIBC_" in tried.stderr:
        return tried.stderr.strip().splitlines()[0]
    return None


def run_scenarios(names):
    """Runs the scenarios of these names, and prints TAP."""
    import connections
    import scenarios
    import xfrmctl
    from checks import run_scenario
    from tap import Tap

    if xfrmctl.PROGRAM.exists() and (reason := why_host_binary_cannot_run(xfrmctl.PROGRAM)):
        print(f"1..0 # SKIP the program of the host does not run here: {reason}")
        return
    # Only the scenarios run with fewer plugins: boot and measurements use all that Debian loads.
    connections.configure_plugins()
    tap = Tap()
    for scenario in scenarios.named(names):
        run_scenario(tap, scenario.__name__, scenario)
    tap.plan()


def soak(crashes, seed, seconds, modes):
    """Runs the long soak in each mode, with a limit of so many seconds for each, and prints TAP."""
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
    elif program == "warriors":
        import warriors
        count, seconds, *modes = arguments
        warriors.compare(int(count), map(int, seconds.split(",")), modes)
    elif program == "corpus":
        import corpus
        corpus.record_everything(arguments[0])
    elif program == "soak":
        crashes, seed, seconds = map(int, arguments[:3])
        soak(crashes, seed, seconds, arguments[3:])


if __name__ == "__main__":
    main()
