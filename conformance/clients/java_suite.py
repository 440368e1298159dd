"""Every public method of Apache ZooKeeper's Java client, found by reflection, against Apache's server and ours.

Usage: java_suite.py --apache 3.9.5=JARS --binary ZABKEEPER [--only WORD] [--json FILE]
A method without a case fails by name. Ends with 0 if all is well, 1 if ours does something else without a reason in
skips.toml, 2 if a case does not pass on Apache. Needs javac.
"""

import sys

sys.dont_write_bytecode = True

import stock


def prepare(args, folder):
    command = stock.java(stock.javac(args.classpath, folder, "java/Cases.java", "java/Shown.java", "java/ClientCases.java"), "ClientCases")
    return [*command[:-3], f"-Donly={args.only}", *command[-3:]]


if __name__ == "__main__":
    args = stock.arguments(__doc__)
    sys.exit(stock.judge("java-client", "java client", args, prepare))
