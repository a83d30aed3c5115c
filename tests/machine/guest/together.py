# SPDX-License-Identifier: GPL-2.0-or-later
"""Several context managers as one."""

from contextlib import ExitStack


class Together:
    """Enters the `parts` of a subclass in their order, and leaves them in the reverse order. Use in a with block."""

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
        """Does what a subclass has to do when all parts have begun. If it fails, the parts end."""
