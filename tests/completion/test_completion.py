# SPDX-License-Identifier: GPL-2.0-or-later
"""Completions of `xfrmctl` in real shells. They have to be what the program accepts, according to its help and its
error messages."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import sandbox
from cases import case, cases, main
from program import XFRMCTL, run
from shells import SHELLS
from tap import comment, contains, equal, is_lacking

EACH = [(name,) for name in SHELLS]

# Maximum time of a TAB on a busy machine, in seconds. Users notice a longer time.
FELT_SECONDS = 0.5

# A value that each key accepts.
VALUES = {
    "proto": "esp", "reqid": "7", "mark": "0x10/0xff", "if-id": "77", "dir": "out", "ptype": "main",
    "src": "10.1.0.0/16", "dst": "10.2.0.0/16", "peer": "192.0.2.1", "priority": "375423", "spi": "0x1234",
}

POLICIES = """
xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 375423 mark 0x10 mask 0xff if_id 77 \
tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode tunnel
xfrm policy add src 2001:db8:1::/64 dst 2001:db8:2::/64 dir fwd \
tmpl src 2001:db8::1 dst 2001:db8::2 proto esp reqid 8 mode tunnel
xfrm policy add src 10.3.0.0/16 dst 10.4.0.0/16 dir in tmpl proto esp reqid 9 mode transport
"""

# A larval SA, which needs no cipher of the kernel.
SA = "xfrm state allocspi src 192.0.2.3 dst 192.0.2.4 proto esp reqid 10 mode tunnel min 0x1000 max 0x1000"

IN_KERNEL = {
    "reqid": {"7", "8", "9", "10"},
    "mark": {"0x10/0xff"},
    "if-id": {"77"},
    "priority": {"0", "375423"},
    "src": {"10.1.0.0/16", "2001:db8:1::/64", "10.3.0.0/16"},
    "dst": {"10.2.0.0/16", "2001:db8:2::/64", "10.4.0.0/16"},
    "peer": {"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "192.0.2.3", "192.0.2.4"},
    "spi": {"0x00001000"},
}


def ip(text, *options):
    subprocess.run(["ip", *options, "-batch", "-"], input=text, text=True, check=True, stdout=subprocess.DEVNULL)


def help_of(*verb):
    return run(*verb, "--help").out


def verbs():
    return re.findall(r"^  ([a-z]+) ", help_of().split("Verbs:")[1].split("General:")[0], re.MULTILINE)


def takes(verb, option):
    """Returns the forms in which a verb accepts an option: alone, with a value behind an equals sign, or both."""
    forms = set()
    # An option that needs a value takes "--help" as its value. The verb then refuses the argument, and does nothing.
    if run(*verb, option, "--help", "argument").status == 0:
        forms.add(option)
    if "takes no value" not in run(*verb, option + "=1", "argument").err:
        forms.add(option + "=")
    assert forms, (verb, option)
    return forms


def options(verb):
    """Returns the long options in the help, in every form that is accepted."""
    shown = set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", re.sub(r"`[^`]*`", "", help_of(*verb))))
    everywhere = {"--netns", "--quiet", "--verbose", "--help"}
    return set().union(*(takes(verb, option) for option in shown | everywhere))


def refusal(key_and_value):
    return run("flush", "--dry-run", f"--match={key_and_value}").err


def keys():
    return re.search(r"Use one of the keys ([a-z, -]+)", refusal("x=1")).group(1).split(", ")


def listed(text):
    """Returns the words of a text such as "a, b or c"."""
    return set(re.split(r", | or ", text))


def no_repeats(words):
    equal(len(set(words)), len(words), f"the number of {words}")
    return set(words)


@cases(EACH)
def verbs_are_offered(name):
    """{0}: the verbs of --help"""
    with SHELLS[name]() as shell:
        equal(no_repeats(shell.offers("xfrmctl ")), set(verbs()), "verbs")
        equal(shell.offers("xfrmctl --netns=blue -q wai") or shell.tab("xfrmctl --netns=blue -q wai"), ["wait"], "wai")
        equal(shell.offers("xfrmctl nonsense"), [], "what no verb begins with")


@cases(EACH)
def options_are_offered(name):
    """{0}: the options of each verb's --help, as the program accepts them, and no others"""
    with SHELLS[name]() as shell:
        for verb in [[], *([verb] for verb in verbs())]:
            wanted = options(verb)
            found = no_repeats(shell.offers(" ".join(["xfrmctl", *verb, "-"])))
            if name == "zsh":
                # zsh offers short options too. It appends an equals sign when it inserts an option; a blank removes it.
                equal({word for word in found if word.startswith("--")}, {word.rstrip("=") for word in wanted}, verb)
                for option in {word.rstrip("=") for word in wanted}:
                    line = shell.tab(" ".join(["xfrmctl", *verb, option]))
                    equal(line.endswith("="), f"{option}=" in wanted, f"whether an equals sign follows in {line!r}")
            else:
                equal(found, wanted, verb)


@cases(EACH)
def options_once(name):
    """{0}: an option is not offered a second time, unless it takes an expression"""
    with SHELLS[name]() as shell:
        words = {word.rstrip("=") for word in shell.offers("xfrmctl flush --hold --match=reqid=1 --socket x -")}
        is_lacking(words, "--hold", "--socket")
        contains(words, "--match", "--keep")


@cases(EACH)
def keys_are_offered(name):
    """{0}: the keys of an expression, and behind a key only those that the program accepts together with it"""
    equal(set(keys()), set(VALUES), "keys of the program, each of which has a value here")
    with SHELLS[name]() as shell:
        for before in ("flush --match=", "flush --exclude=", "arm --match=", "save --exclude=", "flush --match ",
                       "--netns=blue arm -v --exclude "):
            stem = before.split(" ")[-1]
            equal(no_repeats(shell.offers(f"xfrmctl {before}")), {f"{stem}{key}=" for key in keys()}, before)
        for used, value in VALUES.items():
            stem = f"{used}={value},"
            wanted = {f"--match={stem}{key}=" for key in keys() if not refusal(f"{stem}{key}={VALUES[key]}")}
            equal(no_repeats(shell.offers(f"xfrmctl flush --match={stem}")), wanted, f"keys behind {used}")


@cases(EACH)
def named_values(name):
    """{0}: values that have names"""
    with SHELLS[name]() as shell:
        for key in ("proto", "dir", "ptype"):
            wanted = listed(re.search(r"Use (.*?)\.", refusal(f"{key}=1")).group(1))
            for stem in (f"--match={key}=", f"--exclude=reqid=1,{key}="):
                equal(no_repeats(shell.offers(f"xfrmctl flush {stem}")), {stem + value for value in wanted}, stem)
        wanted = listed(re.search(r"Use ([a-z, ]+)", run("service", "--mode=1").err).group(1))
        for before in ("service --mode", "service stop --mode"):
            equal(no_repeats(shell.offers(f"xfrmctl {before}=")), {f"--mode={value}" for value in wanted}, "modes")
            equal(no_repeats(shell.offers(f"xfrmctl {before} ")), wanted, "modes in a word of their own")
        wanted = listed(re.search(r"Use ([a-z, ]+)", run("watch", "--on-missing=1").err).group(1))
        equal(no_repeats(shell.offers("xfrmctl watch --on-missing=")), {f"--on-missing={value}" for value in wanted},
              "actions")
        wanted = listed(re.search(r"Use ([a-z, -]+)", run("service").err).group(1))
        equal(no_repeats(shell.offers("xfrmctl service ")), wanted, "steps")


@cases(EACH)
def numbers_and_times(name):
    """{0}: the program accepts the offered examples of numbers and times"""
    with SHELLS[name]() as shell:
        for verb, option in (("release", "grace"), ("handover", "timeout"), ("status", "timeout"), ("wait", "timeout"),
                             ("watch", "interval"), ("watch", "deadline"), ("watch", "limit"), ("watch", "misses"),
                             ("flush", "routes"), ("arm", "routes"), ("release", "routes"), ("status", "routes")):
            offers = shell.offers(f"xfrmctl {verb} --{option}=")
            if offers == []:
                # There is only one example.
                offers = shell.tab(f"xfrmctl {verb} --{option}=").split()[-1:]
            for word in offers:
                contains(word, f"--{option}=")
                equal(run(verb, word, "--help").status, 0, word)
            assert offers, (verb, option)


@cases(EACH)
def namespaces(name):
    """{0}: names of `ip netns`, and paths if there is a slash"""
    ip("netns add blue\nnetns add green-1\n")
    try:
        with SHELLS[name]() as shell:
            for before in ("--netns=", "flush --netns=", "watch -q --netns="):
                equal(no_repeats(shell.offers(f"xfrmctl {before}")), {"--netns=blue", "--netns=green-1"}, before)
            equal(no_repeats(shell.offers("xfrmctl --netns ")), {"blue", "green-1"}, "in a word of its own")
            equal(shell.tab("xfrmctl --netns=b"), "xfrmctl --netns=blue ", "the line")
            equal(shell.tab("xfrmctl --netns=/proc/1/ns/n").rstrip(), "xfrmctl --netns=/proc/1/ns/net", "the line")
            equal(shell.tab("xfrmctl --netns=/proc/1/n"), "xfrmctl --netns=/proc/1/n", "the line")
            equal(shell.tab("xfrmctl --netns=/run/net"), "xfrmctl --netns=/run/netns/", "the line")
    finally:
        ip("netns del blue\nnetns del green-1\n")


@cases(EACH)
def kernel_values(name):
    """{0}: values in the kernel, in the network namespace that the line names"""
    ip("netns add blue\n")
    try:
        ip(POLICIES + SA, "-n", "blue")
        with SHELLS[name]() as shell:
            for key, wanted in IN_KERNEL.items():
                stem = f"--match={key}="
                for line in (f"xfrmctl --netns=blue flush {stem}", f"xfrmctl flush --netns blue {stem}"):
                    found = shell.offers(line)
                    if len(wanted) == 1:
                        found = found or [shell.tab(line).split(" ")[-1].rstrip(",")]
                    equal(no_repeats(found), {stem + value for value in wanted}, line)
                for word in found:
                    counts = json.loads(run("--netns=blue", "flush", "--dry-run", "--json", word).out)["counts"]
                    assert sum(counts.values()), f"nothing has {word}"
                equal(shell.tab(f"xfrmctl flush {stem}"), f"xfrmctl flush {stem}", "where the kernel has nothing")
            stem = "--match=src=10.1.0.0/16,peer="
            equal(no_repeats(shell.offers(f"xfrmctl --netns=blue flush {stem}")),
                  {stem + "192.0.2.1", stem + "192.0.2.2"}, "peers of the entries that the expression holds for")
            equal(shell.offers("xfrmctl --netns=blue flush --match=nonsense=1,peer="), [], "nothing to ask for")
            equal(shell.offers("xfrmctl --netns=$(touch x) flush --match=peer="), [], "nor a command to run")
    finally:
        ip("netns del blue\n")


@cases(EACH)
def services(name):
    """{0}: services, and instances of templates for them"""
    folder = Path("/run/systemd/system")
    folder.mkdir(parents=True)
    try:
        for unit in ("zz-test.service", "zz-handover@.service", "zz-other.timer"):
            (folder / unit).write_text("[Unit]\n")
        with SHELLS[name]() as shell:
            for before in ("service stop --unit=zz-", "save --unit=zz-", "watch --unit=zz-"):
                stem = before.split(" ")[-1]
                wanted = {stem + "handover@", stem + "test.service"}
                equal(no_repeats(shell.offers(f"xfrmctl {before}")), wanted, before)
            equal(shell.tab("xfrmctl handover --unit=zz-h"), "xfrmctl handover --unit=zz-handover@", "the line")
            equal(shell.tab("xfrmctl handover --unit=zz-handover@zz-"),
                  "xfrmctl handover --unit=zz-handover@zz-test.service ", "the line")
    finally:
        shutil.rmtree("/run/systemd")


@cases(EACH)
def files(name):
    """{0}: files, with characters that a shell has to quote"""
    with tempfile.TemporaryDirectory(prefix="completion-") as folder, SHELLS[name]() as shell:
        Path(folder, "charon.vici").touch()
        Path(folder, "a file").touch()
        Path(folder, "sub").mkdir()
        for before in ("status --socket=", "restore --file=", "status --output=", "save --file "):
            equal(shell.tab(f"xfrmctl {before}{folder}/ch"), f"xfrmctl {before}{folder}/charon.vici ", "the line")
            equal(shell.tab(f"xfrmctl {before}{folder}/s"), f"xfrmctl {before}{folder}/sub/", "the line")
        equal(shell.tab(f"xfrmctl save --file={folder}/a"), f"xfrmctl save --file={folder}/a\\ file ", "the line")
        equal(shell.tab(f"xfrmctl status > {folder}/ch"), f"xfrmctl status > {folder}/charon.vici ", "redirected")


@cases(EACH)
def commands(name):
    """{0}: a command behind `wait --exec --`, and nothing behind `--` elsewhere"""
    with SHELLS[name]() as shell:
        contains(shell.offers("xfrmctl wait --timeout=1s --exec -- tru"), "true", "truncate")
        equal(shell.tab("xfrmctl wait --exec -- trunc"), "xfrmctl wait --exec -- truncate ", "the line")
        equal(shell.tab("xfrmctl wait --exec -- cat /proc/self/ns/ne"), "xfrmctl wait --exec -- cat /proc/self/ns/net ",
              "the line")
        for before in ("wait -- ", "flush -- "):
            equal(shell.offers(f"xfrmctl {before}tru"), [], before)


@cases(EACH)
def insertion(name):
    """{0}: the text that a TAB inserts, and whether the word continues"""
    with SHELLS[name]() as shell:
        for before, after in (
                ("fl", "flush "),
                ("flush --s", "flush --s"),
                ("flush --state", "flush --states-only "),
                ("flush --matc", "flush --match="),
                ("flush --match=pee", "flush --match=peer="),
                ("flush --match=dir=ou", {"flush --match=dir=out", "flush --match=dir=out,"}),
                ("flush --match=dir=out,pro", "flush --match=dir=out,proto="),
                ("flush --match=peer=2001:db8::1,pro", "flush --match=peer=2001:db8::1,proto="),
                ("flush --match dir=out,pro", "flush --match dir=out,proto="),
                ("flush --match='dir=out,pro", "flush --match='dir=out,proto="),
                ("flush --match=\"dir=out,pro", "flush --match=\"dir=out,proto="),
                ("service stop --mode hol", "service stop --mode hold "),
                ("   flush    --force   --dry", "   flush    --force   --dry-run "),
        ):
            after = after if isinstance(after, set) else {after}
            line = shell.tab(f"xfrmctl {before}")
            # bash closes a quote, zsh removes one that is not needed.
            found = re.sub("['\"]", "", line)
            wanted = {"xfrmctl " + re.sub("['\"]", "", one) for one in after}
            assert found in wanted, f"{before!r} became {line!r}, not {wanted}"


@cases(EACH)
def unprivileged(name):
    """{0}: without access to the kernel or to xfrmctl, keys are offered, without values or error messages"""
    ip(POLICIES)
    for run_by in (("setpriv", "--bounding-set=-all", "--inh-caps=-all"), ("env", "PATH=/usr/bin:/bin")):
        with SHELLS[name](*run_by) as shell:
            equal(no_repeats(shell.offers("xfrmctl flush --match=")), {f"--match={key}=" for key in keys()}, run_by)
            for key in IN_KERNEL:
                equal(shell.offers(f"xfrmctl flush --match={key}="), [], f"{run_by}: {key}")


@cases([("bash with bash-completion",), ("zsh",)])
def behind_sudo(name):
    """{0}: behind sudo"""
    with SHELLS[name]() as shell:
        equal(set(shell.offers("sudo xfrmctl ")), set(verbs()), "verbs")
        line = "sudo xfrmctl flush --match=dir=out,pro"
        equal(shell.tab(line), f"{line}to=", "the line")


@cases(EACH)
def time_of_a_tab(name):
    """{0}: a TAB is fast, also with 10,000 policies in the kernel"""
    ip("".join(f"xfrm policy add src 10.{number >> 8}.{number & 255}.0/24 dst 192.0.2.0/24 dir out tmpl src 192.0.2.1 "
               f"dst 192.0.2.2 proto esp reqid {number} mode tunnel\n" for number in range(1, 10001)))
    with SHELLS[name]() as shell:
        for line in ("xfrmctl ", "xfrmctl flush --", "xfrmctl flush --match=", "xfrmctl flush --match=reqid=",
                     "xfrmctl flush --match=peer=", "xfrmctl handover --unit=zz"):
            took = []
            for _ in range(5):
                begin = time.monotonic()
                shell.tab(line)
                took.append(time.monotonic() - begin)
            took.sort()
            comment(f"{line!r}: {took[2] * 1000:.0f} ms (first or slowest: {took[-1] * 1000:.0f} ms)")
            assert took[2] < FELT_SECONDS, (line, took)


@case
def order_of_keys():
    """bash keeps the order of the verbs"""
    with SHELLS["bash"]() as shell:
        equal(shell.offers("xfrmctl "), verbs(), "verbs")


def prepare():
    sandbox.new_run_folder()
    os.environ["PATH"] = f"{Path(XFRMCTL).parent}:{os.environ['PATH']}"


if __name__ == "__main__":
    main(prepare)
