"""Every call of Apache ZooKeeper's C client, listed from its header, against Apache's server and ours.

Usage: c_suite.py --apache 3.9.5=JARS --binary ZABKEEPER [--only WORD] [--json FILE]
The header and the libraries are those of the system: the one with threads, and the one without for the two calls by which
a program drives it. A call of the header without a case of its name, or whose case does not call it, fails by name; what
the library does not hold (TLS, SASL), nobody can call. Ends with 0 if all is well, 1 if a call fails on ours without a
reason in skips.toml, 2 if one fails on Apache. Needs gcc, libzookeeper-mt-dev and libzookeeper-st2.
"""

import glob
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True

import stock

HEADER = "/usr/include/zookeeper/zookeeper.h"
LIBRARIES = {"many": "/usr/lib/*/libzookeeper_mt.so.2", "single": "/usr/lib/*/libzookeeper_st.so.2"}


def symbols(path, which):
    """The names of functions that a file of machine code has, or needs."""
    listed = subprocess.run(["nm", "-D", which, path], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in listed.splitlines() if line.split()[-2] in "TU"}


def offered():
    """The calls that the header exports and that the library with threads holds."""
    with open(HEADER) as file:
        exported = set(re.findall(r"^ZOOAPI[^(;]*?(\w+)\(", file.read(), re.MULTILINE))
    return exported & symbols(glob.glob(LIBRARIES["many"])[0], "--defined-only")


def prepare(args, folder):
    called, programs = set(), []
    for name, pattern in LIBRARIES.items():
        program = os.path.join(folder, name)
        source = os.path.join(stock.HERE, "c", name + ".c")
        threads = ["-DTHREADED", "-pthread"] if name == "many" else []
        subprocess.run(["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wno-write-strings", *threads, "-o", program, source, glob.glob(pattern)[0]], check=True)
        with open(source) as file:
            cases = set(re.findall(r"^CASE\((\w+)\)", file.read(), re.MULTILINE))
        called |= cases & symbols(program, "--undefined-only")
        programs.append(program)
    missing = sorted(offered() - called)
    tell = "".join(f"printf '@missing\\t%s\\n' {name}; " for name in missing)
    word = f"'{args.only}'" if args.only else ""
    return ["sh", "-c", f'{tell}{programs[0]} {word} "$0"; one=$?; {programs[1]} {word} "$0" && exit $one']


if __name__ == "__main__":
    args = stock.arguments(__doc__)
    sys.exit(stock.judge("c-client", "C client", args, prepare))
