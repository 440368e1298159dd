"""Every recipe of Curator, found by reflection, does its job for two clients of Apache's server and of ours.

Usage: curator_suite.py --apache 3.9.5=JARS --curator 5.9.0=JARS … --binary ZABKEEPER [--only WORD] [--json FILE]
The jars of each Curator are those of its client, framework and recipes, and what they need besides ZooKeeper's own. A
recipe without a case fails by name. Ends with 0 if all is well, 1 if a recipe fails on ours without a reason in
skips.toml, 2 if one fails on Apache. Needs javac.
"""

import json
import os
import sys

sys.dont_write_bytecode = True

import stock


def main():
    args = stock.arguments(__doc__, curator="VERSION=CLASSPATH")
    worst, report = 0, []
    for curator in args.curator:
        version, _, classpath = curator.partition("=")
        # ZooKeeper's own come first: Debian's jars of Curator ask for an older one by their manifests.
        classpath = args.classpath + ":" + ":".join(os.path.abspath(jar) for jar in classpath.split(":"))

        def prepare(args, folder):
            command = stock.java(stock.javac(classpath, folder, "java/Cases.java", "java/CuratorCases.java"), "CuratorCases")
            return [*command[:-3], f"-Donly={args.only}", *command[-3:]]

        code = stock.judge("curator", f"Curator {version}", args, prepare)
        worst = max(worst, code)
        if args.json and os.path.exists(args.json):
            with open(args.json) as file:
                report.append(json.load(file))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(report, file)
    return worst if args.curator else 2


if __name__ == "__main__":
    sys.exit(main())
