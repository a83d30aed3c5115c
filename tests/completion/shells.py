# SPDX-License-Identifier: GPL-2.0-or-later
"""An interactive shell on a pseudo terminal, and what it makes of a TAB."""

import os
import pty
import re
import select
import signal
import time
from pathlib import Path

SECONDS = 20
FOLDER = Path(os.environ["COMPLETION"])

# What a shell says of a mistake in a function of ours.
COMPLAINT = re.compile(rb"(bash|xfrmctl[\w.]*|_xfrmctl\w*|zsh):.*|.*(unbound variable|parameter not set).*")

# Both shells write the line as it is then to this descriptor, with a NUL at its end, and empty it.
LINE_FD = 9

BASH = r"""
PS1= PS2= ; unset HISTFILE PROMPT_COMMAND; set -u +m
bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; bind 'set page-completions off'
bind 'set completion-query-items 0'
tell() { printf '%s\0' "$READLINE_LINE" >&9; READLINE_LINE= READLINE_POINT=0; }
bind -x '"\C-xt": tell'; bind '"\C-xa": insert-completions'; bind '"\C-xc": complete'
"""

ZSH = r"""
PS1= PS2= RPS1= ; unset HISTFILE zle_bracketed_paste; setopt no_beep no_always_last_prompt no_unset
fpath=("$COMPLETION" $fpath); autoload -Uz compinit; compinit -D -u
LISTMAX=10000
tell() { print -rnu 9 -- "$BUFFER"$'\0'; BUFFER=; }
insert_all() { compstate[insert]=all; compstate[list]=; }
every() { local -a comppostfuncs; comppostfuncs=(insert_all); _main_complete; }
zle -N tell; zle -C every complete-word every
bindkey -e; bindkey '^Xt' tell; bindkey '^Xa' every; bindkey '^Xc' complete-word
"""


class Shell:
    """One that reads `setup` first."""

    def __init__(self, *command, setup, **variables):
        self.read_fd, write_fd = os.pipe()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.dup2(write_fd, LINE_FD)
            os.environ.update(variables, TERM="dumb", LC_ALL="C.UTF-8", INPUTRC="/dev/null")
            os.execvp(command[0], command)
        os.close(write_fd)
        self.shown = b""
        # What is sent before the editor runs is for it all the same, but its key bindings are to be there by then.
        self.type(setup.strip().replace("\n", "; ") + f"; printf 'ready\\0' >&{LINE_FD}\r")
        assert self.line() == "ready"

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)
        os.close(self.read_fd)

    def type(self, text):
        # A terminal takes no more than 4096 characters of a line that nobody reads yet.
        os.write(self.terminal, text.encode())

    def line(self):
        """What the shell tells next."""
        deadline = time.monotonic() + SECONDS
        told = b""
        while not told.endswith(b"\0"):
            ready, _, _ = select.select([self.terminal, self.read_fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no answer within {SECONDS} s; the terminal shows\n{self.shown.decode(errors='replace')}"
            if self.read_fd in ready:
                told += os.read(self.read_fd, 65536)
            if self.terminal in ready:
                self.shown += os.read(self.terminal, 65536)
        return told[:-1].decode()

    def press(self, text, key):
        self.shown = b""
        self.type(text + key + "\x18t")
        line = self.line()
        if complaint := COMPLAINT.search(self.shown.replace(text.encode(), b"")):
            raise AssertionError(f"{text!r}: {complaint.group().decode()}")
        return line

    def tab(self, text):
        """The line after a TAB."""
        return self.press(text, "\x18c")

    def offers(self, text):
        """All that the last word of `text` can become."""
        line = self.press(text, "\x18a")
        if line.rstrip() == text.rstrip():
            return set()
        done = text[:len(text) - len(self.replaced(text))]
        assert line.startswith(done), f"{text!r} became {line!r}"
        return {word for word in line[len(done):].split() if word}
