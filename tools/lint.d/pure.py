#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that the library of pure functions calls no function that uses files, sockets, processes, clocks or other
resources of the system.

Argument: the path of the static library. Prints each forbidden symbol with its object, and exits with 1 if there are
any.
"""

import re
import subprocess
import sys

FORBIDDEN = re.compile(
    r"_*(open|openat|fopen|fdopen|opendir|fdopendir|creat|read|readlink|readlinkat|socket|connect|send|sendmsg|recv"
    r"|recvmsg|ioctl|poll|ppoll|select|fork|vfork|execve?|posix_spawn|system|popen|kill|getrandom|getentropy|getenv"
    r"|secure_getenv|clock_gettime|clock_nanosleep|nanosleep|time|gettimeofday|syslog|nl_send\w*|nl_recv\w*|nl_connect"
    r"|nl_socket\w*|sd_\w+)(64)?(_chk|_2)?"
)


def main():
    names = subprocess.run(["nm", "-A", "-u", sys.argv[1]], check=True, capture_output=True, text=True).stdout
    found = [line for line in names.splitlines() if FORBIDDEN.fullmatch(line.split()[-1].split("@")[0])]
    if not names:
        found = [f"{sys.argv[1]}: no undefined symbols at all"]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


sys.exit(main())
