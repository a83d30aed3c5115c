# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs test cases, each in a network namespace of its own, and reports them in the Test Anything Protocol.

A test program marks functions with @case or @cases and ends with main(). A case fails by any exception.
"""

import functools
import os
import sys
import traceback

import sandbox

registered = []


class Skip(Exception):
    """This machine cannot tell whether the case holds; the text says why."""


def case(function):
    """A test case; the first line of its docstring says what it shows."""
    registered.append((function.__doc__.splitlines()[0], function))
    return function


def cases(rows):
    """A test case for each row; the docstring is a format for the row's values."""
    def register(function):
        title = function.__doc__.splitlines()[0]
        for row in rows:
            registered.append((title.format(*row), functools.partial(function, *row)))
        return function
    return register


def equal(found, expected, what="what was found"):
    if found != expected:
        raise AssertionError(f"{what}:\n    {found!r}\ninstead of\n    {expected!r}")


def contains(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in\n{text}")


def is_lacking(text, *parts):
    for part in parts:
        if part in text:
            raise AssertionError(f"{part!r} is in\n{text}")


def comment(text):
    for line in text.splitlines():
        print(f"# {line}")


def run(title, number, function):
    # TAP gives the number sign a meaning.
    title = title.rstrip(".").replace("#", "")
    sandbox.new_network()
    try:
        function()
    except Skip as reason:
        print(f"ok {number} - {title} # SKIP {reason}", flush=True)
    except Exception:
        print(f"not ok {number} - {title}", flush=True)
        comment(traceback.format_exc())
    else:
        print(f"ok {number} - {title}", flush=True)


def main(prepare=None):
    """Runs every case whose title contains one of the words of the command line; all of them without any. With $ONE_OF=N
    one of N: where each takes long, that is better than none."""
    words = sys.argv[1:]
    chosen = [entry for entry in registered if not words or any(word in entry[0] for word in words)]
    if unknown := [word for word in words if not any(word in title for title, _ in registered)]:
        print(f"Bail out! no case has this in its title: {', '.join(unknown)}")
        sys.exit(1)
    chosen = chosen[::int(os.environ.get("ONE_OF", "1"))]
    print(f"1..{len(chosen)}", flush=True)
    try:
        if prepare:
            prepare()
        for number, (title, function) in enumerate(chosen, 1):
            run(title, number, function)
    except sandbox.NoSandbox as reason:
        print(f"Bail out! {reason}")
        sys.exit(1)
