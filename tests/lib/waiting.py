# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a condition, with a deadline."""

import time


class NotInTime(AssertionError):
    pass


def wait_for(condition, seconds, what, poll):
    """Returns the first true value of condition(), which is called every `poll` seconds. Raises NotInTime after
    `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {seconds:.0f} s: {what}")
        time.sleep(poll)
    return value
