# SPDX-License-Identifier: GPL-2.0-or-later
"""--dry-run lists the entries that would be removed, for people and as JSON, and changes nothing."""

import json
import re
from pathlib import Path

import xfrm
from cases import case, main
from program import XFRMCTL, flush
from tap import contains, equal, is_lacking

POLICIES = {
    "rich": "src 10.2.0.0/16 dst 10.1.0.0/16 dir in mark 0x10 mask 0xff if_id 0x2a"
            " tmpl src 198.51.100.1 dst 192.0.2.1 proto comp reqid 7 mode tunnel level use"
            " tmpl src 0.0.0.0 dst 0.0.0.0 proto esp spi 0x1234 reqid 8 mode transport",
    "block": "src 10.1.0.1/32 dst 10.2.0.0/16 proto 6 sport 80 dport 443 dev lo dir out action block",
    "v6": "src 2001:db8:1::/48 dst ::/0 dir fwd tmpl src 2001:db8::1 dst 2001:db8::2 proto esp reqid 9 mode beet",
}
SAS = {
    "esp": {"src": "192.0.2.1", "dst": "198.51.100.1", "reqid": 7, "mark": (5, 0xff), "if_id": 0x2a},
    "SA v6": {"src": "2001:db8::1", "dst": "2001:db8::2", "proto": "ah", "mode": "transport", "reqid": 9},
}

# Protocol 6 as xfrmctl prints it: its name if /etc/protocols exists.
TCP = "tcp" if Path("/etc/protocols").exists() else "6"

TEXT = f"""\
src 2001:db8:1::/48 dst ::/0
	dir fwd index INDEX priority 1002
	tmpl src 2001:db8::1 dst 2001:db8::2
		proto esp reqid 9 mode beet
src 10.1.0.1/32 dst 10.2.0.0/16 proto {TCP} sport 80 dport 443 dev lo
	dir out action block index INDEX priority 1001
src 10.2.0.0/16 dst 10.1.0.0/16
	dir in index INDEX priority 1000
	mark 0x10/0xff
	if_id 0x2a
	tmpl src 198.51.100.1 dst 192.0.2.1
		proto comp reqid 7 mode tunnel level use
	tmpl src 0.0.0.0 dst 0.0.0.0
		proto esp spi 0x00001234 reqid 8 mode transport
src 2001:db8::1 dst 2001:db8::2
	proto ah spi 0x00001001 reqid 9 mode transport
	sel src 2001:db8::1/128 dst 2001:db8::2/128
src 192.0.2.1 dst 198.51.100.1
	proto esp spi 0x00001000 reqid 7 mode tunnel
	mark 0x5/0xff
	if_id 0x2a
	sel src 192.0.2.1/32 dst 198.51.100.1/32
Would remove 2 SAs (1 esp, 1 ah) and 3 policies (1 in, 1 out, 1 fwd).
"""

JSON_POLICIES = [
    {"src": "2001:db8:1::/48", "dst": "::/0", "dir": "fwd", "action": "allow", "priority": 1002, "ptype": "main",
     "templates": [{"src": "2001:db8::1", "dst": "2001:db8::2", "proto": "esp", "reqid": 9, "mode": "beet",
                    "optional": False}]},
    {"src": "10.1.0.1/32", "dst": "10.2.0.0/16", "proto": TCP, "sport": 80, "dport": 443, "dev": "lo", "dir": "out",
     "action": "block", "priority": 1001, "ptype": "main", "templates": []},
    {"src": "10.2.0.0/16", "dst": "10.1.0.0/16", "dir": "in", "action": "allow", "priority": 1000, "ptype": "main",
     "mark": {"value": 0x10, "mask": 0xff}, "if_id": 0x2a,
     "templates": [
         {"src": "198.51.100.1", "dst": "192.0.2.1", "proto": "comp", "reqid": 7, "mode": "tunnel", "optional": True},
         {"src": "0.0.0.0", "dst": "0.0.0.0", "proto": "esp", "spi": 0x1234, "reqid": 8, "mode": "transport",
          "optional": False}]},
]
JSON_SAS = [
    {"src": "2001:db8::1", "dst": "2001:db8::2", "proto": "ah", "spi": 0x1001, "reqid": 9, "mode": "transport",
     "selector": {"src": "2001:db8::1/128", "dst": "2001:db8::2/128"}},
    {"src": "192.0.2.1", "dst": "198.51.100.1", "proto": "esp", "spi": 0x1000, "reqid": 7, "mode": "tunnel",
     "mark": {"value": 5, "mask": 0xff}, "if_id": 0x2a,
     "selector": {"src": "192.0.2.1/32", "dst": "198.51.100.1/32"}},
]


def dry_run(*options, status=0):
    """Runs a dry run on POLICIES and SAS, and checks that nothing changes. Returns its output."""
    state = xfrm.State(POLICIES, SAS)
    result = flush("--dry-run", *options, status=status)
    equal(result.err, "", "standard error")
    state.expect_untouched()
    return result.out


def sorted_blocks(text):
    """Returns the entries of a listing in a fixed order, since the kernel chooses the order. An entry is a line and the
    indented lines behind it."""
    return sorted(re.findall(r"^\S.*\n(?:\t.*\n)*", text, re.MULTILINE))


def by_priority_or_spi(entries):
    return sorted(entries, key=lambda entry: entry.get("priority", entry.get("spi")))


@case
def text():
    """The list has the format of `ip xfrm` and ends with the counts."""
    out = re.sub(r"index \d+", "index INDEX", dry_run())
    equal(sorted_blocks(out), sorted_blocks(TEXT), "the list")
    equal(out.splitlines()[-1], TEXT.splitlines()[-1], "the last line")


@case
def selected():
    """Only selected entries are listed."""
    out = dry_run("--match=reqid=9", "--match=if-id=0x2a", "--exclude=dir=in")
    equal(sorted(line for line in out.splitlines() if line.startswith("src")),
          ["src 192.0.2.1 dst 198.51.100.1", "src 2001:db8:1::/48 dst ::/0", "src 2001:db8::1 dst 2001:db8::2"],
          "the entries listed")
    equal(out.splitlines()[-1], "Would remove 2 SAs (1 esp, 1 ah) and 1 policy (1 fwd).", "the last line")


@case
def indexes():
    """The listed indexes are the kernel's: policies can be deleted by them."""
    state = xfrm.State(POLICIES)
    out = flush("--dry-run", "--match=dir=out").out
    xfrm.ip("xfrm", "policy", "delete", "dir", "out", "index", re.search(r"index (\d+)", out)[1])
    state.expect("rich", "v6")


@case
def nothing():
    """If nothing is selected, the output is one sentence."""
    equal(dry_run("--match=reqid=77"), "Nothing to remove.\n", "output")


@case
def states_only():
    """--states-only lists no policies."""
    out = dry_run("--states-only")
    is_lacking(out, "dir ")
    contains(out, "Would remove 2 SAs (1 esp, 1 ah) and 0 policies.\n")


@case
def policies_only():
    """--policies-only lists no SAs."""
    out = dry_run("--policies-only")
    is_lacking(out, "\tsel ")
    contains(out, "Would remove 0 SAs and 3 policies (1 in, 1 out, 1 fwd).\n")


@case
def as_json():
    """--json has every field of every entry, and the counts."""
    found = json.loads(dry_run("--json"))
    indexes_found = {policy.pop("index") for policy in found["policies"]}
    equal(len(indexes_found), len(POLICIES), "the number of different indexes")
    equal(by_priority_or_spi(found["policies"]), by_priority_or_spi(JSON_POLICIES), "the policies")
    equal(by_priority_or_spi(found["sas"]), by_priority_or_spi(JSON_SAS), "the SAs")
    equal(found["counts"], {"policies": 3, "sas": 2}, "the counts")
    equal(set(found), {"policies", "sas", "counts"}, "the members")


@case
def json_selected():
    """--json lists only selected entries."""
    found = json.loads(dry_run("--json", "--match=reqid=9"))
    equal([policy["priority"] for policy in found["policies"]], [1002], "priorities of the policies")
    equal([sa["spi"] for sa in found["sas"]], [0x1001], "SPIs of the SAs")
    equal(found["counts"], {"policies": 1, "sas": 1}, "the counts")


@case
def json_nothing():
    """--json without entries is valid JSON."""
    equal(json.loads(dry_run("--json", "--match=reqid=77")),
          {"policies": [], "sas": [], "counts": {"policies": 0, "sas": 0}}, "what was listed")


@case
def json_quiet():
    """The list is printed with -q, too."""
    equal(json.loads(dry_run("--json", "-q"))["counts"], {"policies": 3, "sas": 2}, "the counts")


@case
def many():
    """A list of many dump messages is complete."""
    xfrm.fill("networks", 5000)
    found = json.loads(flush("--dry-run", "--json", "--match=reqid=1").out)
    equal(found["counts"], {"policies": 2500, "sas": 0}, "the counts")
    equal(len({policy["index"] for policy in found["policies"]}), 2500, "the number of different indexes")
    equal(xfrm.counts(), (5000, 0), "policies and SAs")


@case
def unwritable():
    """A list that cannot be written is a failure."""
    xfrm.State(POLICIES, SAS)
    result = flush("--dry-run", status=1, command=("sh", "-c", 'exec "$0" "$@" >/dev/full', XFRMCTL))
    equal(result.err, "xfrmctl: Could not write the list: No space left on device.\n", "standard error")


main()
