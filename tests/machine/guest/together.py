# SPDX-License-Identifier: GPL-2.0-or-later
"""Several context managers as one."""

from contextlib import ExitStack


class Together:
    """In a with block. A subclass has `parts`, which begin in their order and end in the other one."""

    parts = ()

    def __enter__(self):
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part)
            self.begun()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self.stack.close()

    def begun(self):
        """What is to be done when all parts have begun; if it fails, they end."""
