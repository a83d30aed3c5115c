# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong usage ends with status 2 and one sentence that shows what is accepted. Neither wrong usage nor a help text
sends a request to the kernel."""

import xfrm
from cases import case, cases, main
from netlink import MSG_GETSADINFO
from program import XFRMCTL, Fault, Faults, run
from tap import contains, equal

PREFIX = "an address, or a prefix with zeros behind its length"
RANGE = "N or N-M with N <= M, 32 bits each, decimal or 0x hex"
NUMBER = "a 32-bit number, decimal or 0x hex"
MARK = "V or V/M, 32 bits each, decimal or 0x hex, M not 0, and no bit of V outside M"
KEYS = "Use one of the keys proto, reqid, mark, if-id, dir, ptype, src, dst, peer, priority, spi"
PROGRAM_HELP = "`xfrmctl --help` lists"
FLUSH_HELP = "`xfrmctl flush --help` lists"
ARM_HELP = "`xfrmctl arm --help` lists"
RELEASE_HELP = "`xfrmctl release --help` lists"
WAIT_HELP = "`xfrmctl wait --help` lists"
WATCH_HELP = "`xfrmctl watch --help` lists"

WORDS = [
    ([], PROGRAM_HELP),
    (["--no-such-option", "flush"], PROGRAM_HELP),
    (["-x", "flush"], PROGRAM_HELP),
    (["--netns"], PROGRAM_HELP),
    (["empty"], PROGRAM_HELP),
    (["fl"], PROGRAM_HELP),
    (["x" * 5000], PROGRAM_HELP),
    (["flush", "--no-such-option"], FLUSH_HELP),
    (["flush", "--" + "x" * 5000], FLUSH_HELP),
    (["flush", "-x"], FLUSH_HELP),
    (["flush", "-qx"], FLUSH_HELP),
    (["flush", "--match"], FLUSH_HELP),
    (["flush", "--netns"], FLUSH_HELP),
    (["flush", "--force=yes"], FLUSH_HELP),
    (["flush", "--stat", "--p"], "exclude each other"),
    (["flush", "all"], FLUSH_HELP),
    (["flush", "--", "--force"], FLUSH_HELP),
    (["flush", ""], FLUSH_HELP),
    (["flush", "x" * 5000], FLUSH_HELP),
    (["flush", "--states-only", "--policies-only"], "--states-only and --policies-only exclude each other"),
    (["flush", "--orphans", "--hold"], "--orphans and --hold exclude each other"),
    (["flush", "--orphans", "--policies-only"], "--orphans and --policies-only exclude each other"),
    (["flush", "--keep", "--orphans"], "--orphans and --keep exclude each other"),
    (["flush", "--keep", "--states-only"], "--keep and --states-only exclude each other"),
    (["flush", "--socket=/run/charon.vici"], "--socket needs --orphans"),
    (["flush", "--json"], "--json needs --dry-run"),
    (["flush", "--hold", "--json"], "--json needs --dry-run"),
    (["flush", "--hold=yes"], FLUSH_HELP),
    (["flush", "--h"], FLUSH_HELP),
    (["flush", "--grace=1s"], FLUSH_HELP),
    (["arm", "--no-such-option"], ARM_HELP),
    (["arm", "-x"], ARM_HELP),
    (["arm", "all"], ARM_HELP),
    (["arm", ""], ARM_HELP),
    (["arm", "--match"], ARM_HELP),
    (["arm", "--force"], ARM_HELP),
    (["arm", "--hold"], ARM_HELP),
    (["arm", "--grace=1s"], ARM_HELP),
    (["arm", "--match=reqid=x"], RANGE),
    (["arm", "--exclude=dir=up"], "in, out or fwd"),
    (["arm", *["--match=reqid=1"] * 65], "more than 64 expressions"),
    (["release", "--no-such-option"], RELEASE_HELP),
    (["release", "-x"], RELEASE_HELP),
    (["release", "all"], RELEASE_HELP),
    (["release", "5min"], RELEASE_HELP),
    (["release", "--grace"], RELEASE_HELP),
    (["release", "--grace=soon"], "is not a time span"),
    (["release", "--match"], RELEASE_HELP),
    (["release", "--match=reqid=x"], RANGE),
    (["release", "--exclude=dir=up"], "in, out or fwd"),
    (["release", "--force"], RELEASE_HELP),
    (["flush", "--on-stop"], FLUSH_HELP),
    (["flush", "--mode=hold"], FLUSH_HELP),
    (["arm", "--saved=x"], ARM_HELP),
    (["service"], "start-pre, start-post, stop or stop-post"),
    (["watch", "--starter", "--misses=2"], "--starter and --misses exclude each other"),
    (["watch", "--starter", "--unit=x.service"], "--starter and --unit exclude each other"),
    (["watch", "--load", "--starter"], "--starter and --load exclude each other"),
    (["watch", "--load", "--socket=x"], "--load and --socket exclude each other"),
    (["wait", "--starter=yes"], "`xfrmctl wait --help` lists"),
    (["wait", "--exec", "--starter", "--", "true"], "exclude each other"),
    (["wait", "--no-such-option"], WAIT_HELP),
    (["wait", "-x"], WAIT_HELP),
    (["wait", "all"], WAIT_HELP),
    (["wait", "--timeout"], WAIT_HELP),
    (["wait", "--timeout=soon"], "is not a time span"),
    (["wait", "--timeout=-1s"], "is not a time span"),
    (["wait", "--exec"], "--exec needs a command"),
    (["wait", "--exec", "--"], "--exec needs a command"),
    (["watch", "--no-such-option"], WATCH_HELP),
    (["watch", "all"], WATCH_HELP),
    (["watch", "--interval=0"], "Use at least 100ms"),
    (["watch", "--interval=infinity"], "at most 1d"),
    (["watch", "--deadline=99ms"], "Use at least 100ms"),
    (["watch", "--deadline=2d"], "at most 1d"),
    (["watch", "--misses=0"], "a number from 1 to 1000"),
    (["watch", "--misses=-1"], "a number from 1 to 1000"),
    (["watch", "--misses=1001"], "a number from 1 to 1000"),
    (["watch", "--misses=three"], "a number from 1 to 1000"),
    (["watch", "--misses=18446744073709551617"], "a number from 1 to 1000"),
    (["watch", "--on-missing=ignore"], "Use report, block or restart."),
    (["watch", "--on-missing"], WATCH_HELP),
    (["watch", "--load", "--on-missing=block"], "--load and --on-missing exclude each other"),
    (["watch", "--limit=long"], "is not a time span"),
    (["flush", *["--match=reqid=1"] * 65], "more than 64 expressions"),
    (["flush", *["--exclude=reqid=1"] * 65], "more than 64 expressions"),
]

EXPRESSIONS = [
    ("", KEYS),
    ("reqid", KEYS),
    ("=1", KEYS),
    (",", KEYS),
    ("reqid=1,", KEYS),
    (",reqid=1", KEYS),
    ("reqid=1;dir=in", RANGE),
    ("REQID=1", KEYS),
    (" reqid=1", KEYS),
    ("if_id=1", KEYS),
    ("req=1", KEYS),
    ("reqid=1,reqid=2", "Use an expression for each value"),
    ("spi=1,dir=in", "Use an expression for each"),
    ("spi=1,priority=1", "Use an expression for each"),
    ("ptype=sub,spi=1", "Use an expression for each"),
    ("proto=", "esp, ah or comp"),
    ("proto=ESP", "esp, ah or comp"),
    ("proto=50", "esp, ah or comp"),
    ("proto=udp", "esp, ah or comp"),
    ("dir=", "in, out or fwd"),
    ("dir=forward", "in, out or fwd"),
    ("ptype=any", "main or sub"),
    ("reqid=", RANGE),
    ("reqid=-1", RANGE),
    ("reqid=1-", RANGE),
    ("reqid=-", RANGE),
    ("reqid=2-1", RANGE),
    ("reqid=1-2-3", RANGE),
    ("reqid=+1", RANGE),
    ("reqid= 1", RANGE),
    ("reqid=1 ", RANGE),
    ("reqid=1x", RANGE),
    ("reqid=0x", RANGE),
    ("reqid=0xg", RANGE),
    ("reqid=4294967296", RANGE),
    ("reqid=0-0x100000000", RANGE),
    ("reqid=18446744073709551617", RANGE),
    ("priority=5-4", RANGE),
    ("spi=", NUMBER),
    ("spi=1-2", NUMBER),
    ("spi=0x1ffffffff", NUMBER),
    ("if-id=a", NUMBER),
    ("mark=", MARK),
    ("mark=1/", MARK),
    ("mark=/1", MARK),
    ("mark=1/0", MARK),
    ("mark=0x100/0xff", MARK),
    ("mark=1/2/3", MARK),
    ("mark=1/0x100000000", MARK),
    ("src=", PREFIX),
    ("src=10.1", PREFIX),
    ("src=10.1.0.0/", PREFIX),
    ("src=10.1.0.0/33", PREFIX),
    ("src=10.1.0.0/-1", PREFIX),
    ("src=10.1.2.3/16", PREFIX),
    ("src=10.1.0.256", PREFIX),
    ("dst=2001:db8::/129", PREFIX),
    ("dst=2001:db8::1/32", PREFIX),
    ("dst=2001:db8:::", PREFIX),
    ("dst=fe80::1%lo", PREFIX),
    ("peer=vpn.example.org", PREFIX),
    ("peer=any", PREFIX),
    ("reqid=" + "0" * 500 + "1234567", "the expression has more than 512 characters"),
    ("reqid=" + "9" * 500, RANGE),
    ("src=" + "1" * 500, PREFIX),
    ("x" * 512, KEYS),
]


def shortened(text):
    return text if len(text) <= 60 else f"{text[:60]}…"


def refused(accepted, *attempts):
    """Checks that each attempt ends with status 2 and one sentence that contains `accepted`, and that nothing
    changes."""
    state = xfrm.a_few()
    for words in attempts:
        result = run(*words)
        equal((result.status, result.out), (2, ""), f"status and output ({result.err})")
        assert result.err.startswith("xfrmctl: ") and result.err.endswith(".\n"), f"no sentence: {result.err!r}"
        equal(result.err.count("\n"), 1, f"lines of {result.err!r}")
        contains(result.err, accepted)
        state.expect_untouched()


@cases([(words, accepted, shortened(" ".join(words))) for words, accepted in WORDS])
def words_refused(words, accepted, _):
    """Refused: xfrmctl {2}"""
    refused(accepted, words)


@cases([(expression, accepted, shortened(repr(expression))) for expression, accepted in EXPRESSIONS])
def expression_refused(expression, accepted, _):
    """Refused in --match and --exclude: {2}"""
    refused(accepted, ["flush", f"--match={expression}"], ["flush", f"--exclude={expression}"])


@cases([
    (["flush", "--no-such-option"], "Option '--no-such-option' is unknown or ambiguous"),
    (["flush", "--h"], "Option '--h' is unknown or ambiguous"),
    (["flush", "--no-such-option=1"], "Option '--no-such-option' is unknown or ambiguous"),
    (["flush", "-qx"], "Option '-x' is unknown"),
    (["-x", "flush"], "Option '-x' is unknown"),
    (["--netns"], "Option '--netns' needs a value"),
    (["flush", "--match"], "Option '--match' needs a value"),
    (["flush", "--ma"], "Option '--ma' needs a value"),
    (["flush", "--force=yes"], "Option '--force' takes no value"),
    (["--version=1"], "Option '--version' takes no value"),
    (["status", "--help=all"], "Option '--help' takes no value"),
    (["status", "--quiet="], "Option '--quiet' takes no value"),
])
def mistakes_with_options(words, sentence):
    """The message names the mistake that was made with an option: {0}"""
    refused(f"xfrmctl: {sentence}. `xfrmctl", words)


@case
def late_mistake():
    """A mistake after correct options is refused like any other."""
    refused("in, out or fwd", ["flush", "--match=reqid=1", "--policies-only", "--exclude=dir=up"],
            ["flush", "--dry-run", "--match=reqid=1", "--match=dir=up"],
            ["-q", "flush", "--force", "--match=reqid=1,dir=up"])


@case
def no_socket():
    """Neither a usage error nor a help text opens a socket to the kernel; the verbs do."""
    verbs = ["flush"], ["arm"], ["release"], ["status"]
    for words in (["flush", "--match=reqid=x"], ["arm", "--match=reqid=x"], ["release", "--grace=x"],
                  ["status", "--timeout=x"], ["service"], ["--help"], ["--version"],
                  *(verb + ["--help"] for verb in verbs), *verbs):
        with Faults(Fault("socket", 0, "note"), Fault("send", MSG_GETSADINFO, "note")) as faults:
            run(*words, env=faults.env)
            equal(faults.count() > 0, words in verbs, f"whether {words} opened a socket")


def helps(words, *parts):
    state = xfrm.a_few()
    result = run(*words)
    equal((result.status, result.err), (0, ""), "status and standard error")
    contains(result.out, *parts)
    state.expect_untouched()


@cases([("--help",), ("-h",), ("-q --help",)])
def help_of_program(words):
    """xfrmctl {0} lists verbs and options."""
    helps(words.split(), "Usage: xfrmctl ", "  flush ", "  arm ", "  release ", "  status ", "  wait ", "  watch ",
          "--netns=NAME|PATH", "--version", "xfrmctl(8)")


@cases([("flush --help",), ("flush -h",), ("flush --match=reqid=1 --help",), ("-v flush --states-only -h",)])
def help_of_verb(words):
    """xfrmctl {0} lists the verb's options and the keys of expressions."""
    helps(words.split(), "Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] flush [OPTION...]\n", "--match=EXPR",
          "--exclude=EXPR", "--states-only", "--policies-only", "--hold", "--keep", "--orphans",
          "--socket=PATH",
          "--dry-run", "--json",
          "--force",
          "reqid=N or N-M", "mark=V or V/M", "if-id=N", "dir=in|out|fwd", "ptype=main|sub", "peer=PREFIX")


@cases([("arm --help",), ("arm -h",), ("arm --match=reqid=1 -q --help",)])
def help_of_arm(words):
    """xfrmctl {0} lists the verb's options."""
    helps(words.split(), "Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] arm [OPTION...]\n", "--match=EXPR",
          "--exclude=EXPR", "--routes[=TABLE]")


@cases([("release --help",), ("release -h",), ("-v release --grace=1s --help",)])
def help_of_release(words):
    """xfrmctl {0} lists the verb's options."""
    helps(words.split(), "Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] release [OPTION...]\n", "--match=EXPR",
          "--exclude=EXPR", "--grace=TIME", "5min", "infinity")


@cases([("status --help",), ("status -h",), ("-q status --json --help",)])
def help_of_status(words):
    """xfrmctl {0} lists the verb's options and exit statuses."""
    helps(words.split(), "Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] status [OPTION...]\n", "--output=FILE",
          "--socket=PATH", "Exit status: 0 kernel and charon agree, 4 they disagree, 1 it could not be")


@cases([("wait --help",), ("wait -h",), ("-v wait --exec --timeout=1s -h",)])
def help_of_wait(words):
    """xfrmctl {0} lists the verb's options."""
    helps(words.split(), "Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] wait [OPTION...]\n",
          "wait --exec [OPTION...] -- COMMAND [ARGUMENT...]", "--socket=PATH", "--timeout=TIME", "infinity", "--exec")


@cases([("watch --help",), ("watch -h",), ("-v watch --misses=2 -h",)])
def help_of_watch(words):
    """xfrmctl {0} lists the verb's options."""
    helps(words.split(), "Usage: xfrmctl [--netns=NAME|PATH] [-q|-v] watch [OPTION...]\n", "--unit=UNIT",
          "--socket=PATH", "--interval=TIME", "--deadline=TIME", "--misses=N", "--limit=TIME", "--starter", "--load")


@cases([("--help",), ("--version",), *((f"{verb} --help",) for verb in (
    "flush", "arm", "release", "handover", "save", "restore", "status", "wait", "watch")),
    ("flush --dry-run",), ("flush --dry-run --json",), ("flush",), ("status --json",)])
def full_output(words):
    """If the output cannot be written, xfrmctl fails, and reports it once: {0}"""
    xfrm.a_few()
    result = run(*words.split(), command=("sh", "-c", 'exec "$0" "$@" >/dev/full', XFRMCTL))
    equal((result.status, result.err.count("\n")), (1, 1), f"what is said ({result})")
    contains(result.err, "xfrmctl: Could not write ", ": No space left on device.\n")


@case
def closed_output():
    """Without standard output, only runs that write to it fail."""
    closed = ("sh", "-c", 'exec "$0" "$@" >&-', XFRMCTL)
    equal(run("-q", "flush", command=closed), (0, "", ""), "what a verb says")
    equal(run("--help", command=closed).status, 1, "status of the help")


@case
def version():
    """--version shows name and version."""
    result = run("--version")
    equal((result.status, result.err), (0, ""), "status and standard error")
    name, number = result.out.split()
    equal(name, "xfrmctl", "the name")
    equal([part.isdigit() for part in number.split(".")], [True] * 3, f"numbers in {number}")


main()
