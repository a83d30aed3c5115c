# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs test cases, each in a network namespace of its own, and reports them as TAP.

A test program marks functions with @case or @cases and ends with main(). A case fails if it raises any exception except
Skip.
"""

import functools
import os
import sys

import sandbox
from tap import Tap

registered = []


def case(function):
    """Registers a test case. The first line of its docstring is its title, which states what the case shows."""
    registered.append((function.__doc__.splitlines()[0], function))
    return function


def cases(rows):
    """Registers a test case for each row. The title is a format for the row's values."""
    def register(function):
        title = function.__doc__.splitlines()[0]
        for row in rows:
            registered.append((title.format(*row), functools.partial(function, *row)))
        return function
    return register


def main(prepare=None):
    """Runs every case whose title contains one of the words of the command line, or all cases without words. With
    $ONE_OF=N, runs only every Nth of them, for suites that take long."""
    words = sys.argv[1:]
    chosen = [entry for entry in registered if not words or any(word in entry[0] for word in words)]
    if unknown := [word for word in words if not any(word in title for title, _ in registered)]:
        print(f"Bail out! no case has this in its title: {', '.join(unknown)}")
        sys.exit(1)
    chosen = chosen[::int(os.environ.get("ONE_OF", "1"))]
    tap = Tap()
    tap.plan(len(chosen))
    try:
        if prepare:
            prepare()
        for title, function in chosen:
            sandbox.new_network()
            tap.run(title, function)
    except sandbox.NoSandbox as reason:
        print(f"Bail out! {reason}")
        sys.exit(1)
