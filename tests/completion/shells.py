# SPDX-License-Identifier: GPL-2.0-or-later
"""Interactive shells on a pseudo terminal, and their completions."""

import os
import pty
import re
import select
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from tap import Skip

SECONDS = 20
FOLDER = Path(os.environ["COMPLETION"])
PACKAGE = Path("/usr/share/bash-completion/bash_completion")

# Messages of a shell about a mistake in one of our functions.
COMPLAINT = re.compile(rb"(bash|xfrmctl[\w.]*|_xfrmctl\w*|zsh):.*|.*(unbound variable|parameter not set).*")

# Descriptor to which both shells write their line with a NUL behind it. They then empty the line.
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
    """A shell that runs `setup` first. When it completes a word, it replaces only the part behind the last character
    that is in `word_breaks`."""

    def __init__(self, *command, setup, word_breaks="", **variables):
        self.word_breaks = word_breaks
        self.read_fd, write_fd = os.pipe()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.dup2(write_fd, LINE_FD)
            os.environ.update(variables, TERM="dumb", LC_ALL="C.UTF-8", INPUTRC="/dev/null")
            os.execvp(command[0], command)
        os.close(write_fd)
        self.shown = b""
        # The line editor also reads keys that were sent before it ran, but its key bindings have to exist by then.
        self.type(setup.strip().replace("\n", "; ") + f"; printf 'ready\\0' >&{LINE_FD}\r")
        assert self.line() == "ready"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)
        os.close(self.read_fd)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def line(self):
        """Returns the next line that the shell writes."""
        deadline = time.monotonic() + SECONDS
        text = b""
        while not text.endswith(b"\0"):
            ready, _, _ = select.select([self.terminal, self.read_fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no answer within {SECONDS} s; the terminal shows\n{self.shown.decode(errors='replace')}"
            if self.read_fd in ready:
                text += os.read(self.read_fd, 65536)
            if self.terminal in ready:
                self.shown += os.read(self.terminal, 65536)
        return text[:-1].decode()

    def press(self, text, key):
        self.shown = b""
        self.type(text + key + "\x18t")
        line = self.line()
        if complaint := COMPLAINT.search(self.shown.replace(text.encode(), b"")):
            raise AssertionError(f"{text!r}: {complaint.group().decode()}")
        return line

    def tab(self, text):
        """Returns the line after a TAB."""
        return self.press(text, "\x18c")

    def offers(self, text):
        """Returns the completions of the last word of `text`."""
        line = self.press(text, "\x18a").rstrip()
        if line == text.rstrip():
            return []
        before, word = text[:text.rindex(" ") + 1], text[text.rindex(" ") + 1:]
        assert line.startswith(before), f"{text!r} became {line!r}"
        # The common beginning of all completions is inserted once, or before each of them.
        common = word[:max(word.rfind(character) for character in self.word_breaks) + 1] if self.word_breaks else ""
        first, *others = line[len(before):].split()
        # zsh appends a comma, behind which the expression can continue.
        return [first.rstrip(","), *(common + other.rstrip(",") for other in others)]


# `run_by` is a command that runs the shell, such as setpriv(1).
def bash(run_by, setup, word_breaks="=:", **variables):
    command = (*run_by, "bash", "--norc", "--noprofile", "-i")
    return Shell(*command, setup=BASH + setup, word_breaks=word_breaks, **variables)


@contextmanager
def plain_bash(*run_by):
    with bash(run_by, 'source "$COMPLETION/xfrmctl.bash"') as shell:
        yield shell


@contextmanager
def packaged_bash(*run_by):
    """Runs bash with the package bash-completion, which finds our file by the name of the command."""
    if not PACKAGE.exists():
        raise Skip(f"there is no {PACKAGE}: the package bash-completion is not installed")
    with tempfile.TemporaryDirectory(prefix="completion-") as folder:
        completions = Path(folder, "completions")
        completions.mkdir()
        (completions / "xfrmctl").symlink_to(FOLDER / "xfrmctl.bash")
        with bash(run_by, f"set +u; source {PACKAGE}; set -u", BASH_COMPLETION_USER_DIR=folder) as shell:
            yield shell


@contextmanager
def unbroken_bash(*run_by):
    setup = 'COMP_WORDBREAKS=${COMP_WORDBREAKS//[=:@]}; source "$COMPLETION/xfrmctl.bash"'
    with bash(run_by, setup, word_breaks="") as shell:
        yield shell


@contextmanager
def zsh(*run_by):
    if not shutil.which("zsh"):
        raise Skip("there is no zsh on this machine")
    with Shell(*run_by, "zsh", "-f", "-i", setup=ZSH) as shell:
        yield shell


SHELLS = {
    "bash": plain_bash,
    "bash with bash-completion": packaged_bash,
    "bash without = : @ in COMP_WORDBREAKS": unbroken_bash,
    "zsh": zsh,
}
