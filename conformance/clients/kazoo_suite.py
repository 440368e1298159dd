"""kazoo's own tests, first against Apache ZooKeeper and then against ours, in the harness that comes with them.

The harness starts three servers with `java`; behind that name stands a shim that starts ours with the same zoo.cfg and
the same properties. What passes on Apache and not on ours is a fault, unless `skips.toml` beside this file has a reason
for it; so are fewer than 98 of 100.

Usage: kazoo_suite.py --binary ZABKEEPER --classpath JARS --version 3.9.5 --cache FOLDER [--only WORD] [--json]
Ends with 0 if all is well, 1 if a test fails on ours that passes on Apache, 2 if nothing could be run.
"""

import argparse
import json
import os
import stat
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
KAZOO = "2.11.0"
TOOLS = ["pytest==8.4.2", "pytest-timeout==2.4.0", "objgraph==3.6.2", "gevent", "eventlet", "pyjks==20.0.0", "pyopenssl==24.2.1", "pure-sasl==0.6.2"]
LEAST = 0.98
# Seconds: a test, and all of them.
TEST_MAX, SUITE_MAX = 120, 2400

SHIM = """#!/bin/sh
# In the place of java: starts a server of ours with the zoo.cfg and the properties that are meant for Apache's.
properties=
while [ $# -gt 0 ]; do
    case "$1" in
        -cp) shift ;;
        -D*) properties="$properties $1" ;;
        *.cfg) config=$1 ;;
    esac
    shift
done
exec "{binary}" serve $properties "$config"
"""


def tests(cache):
    """kazoo's sources, with its tests and what these need; made once."""
    home = os.path.join(cache, f"kazoo-suite-{KAZOO}")
    if not os.path.isdir(home):
        fresh = tempfile.mkdtemp(dir=cache)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--target", os.path.join(fresh, "site"), *TOOLS], check=True)
        subprocess.run([*pip, "download", "--no-deps", "--no-binary", ":all:", "--dest", fresh, f"kazoo=={KAZOO}"], check=True)
        subprocess.run(["tar", "-xzf", os.path.join(fresh, f"kazoo-{KAZOO}.tar.gz"), "-C", fresh], check=True)
        # In place only once it is whole.
        os.rename(fresh, home)
    return home


def suite(home, args, java, port, name):
    """The outcome of each test: passed, failed or skipped."""
    report = os.path.join(args.cache, f"kazoo-suite-{name}.xml")
    if os.path.exists(report):
        os.remove(report)
    environment = dict(
        os.environ,
        PATH=java + os.pathsep + os.environ["PATH"] if java else os.environ["PATH"],
        PYTHONPATH=os.path.join(home, "site") + os.pathsep + os.path.join(home, f"kazoo-{KAZOO}"),
        ZOOKEEPER_CLASSPATH=args.classpath,
        ZOOKEEPER_PATH="",
        ZOOKEEPER_VERSION=args.version,
        ZOOKEEPER_PORT_OFFSET=str(port),
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", str(TEST_MAX), "--junitxml", report, "kazoo/tests"]
    if args.only:
        command += ["-k", args.only]
    print(f"kazoo's tests on {name}", file=sys.stderr)
    log = open(os.path.join(args.cache, f"kazoo-suite-{name}.log"), "w")
    subprocess.run(command, cwd=os.path.join(home, f"kazoo-{KAZOO}"), env=environment, stdout=log, stderr=log, timeout=SUITE_MAX, check=False)
    outcomes = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        words = {child.tag for child in case}
        outcome = "failed" if words & {"failure", "error"} else "skipped" if "skipped" in words else "passed"
        outcomes[f"{case.get('classname', '').removeprefix('kazoo.tests.')}.{case.get('name')}"] = outcome
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--classpath", required=True)
    parser.add_argument("--version", default="3.9.5")
    parser.add_argument("--cache", default=".cache")
    parser.add_argument("--only", help="only tests whose names hold this")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.cache = os.path.abspath(args.cache)
    args.classpath = os.pathsep.join(os.path.abspath(jar) for jar in args.classpath.split(os.pathsep))
    with open(os.path.join(HERE, "skips.toml"), "rb") as file:
        reasons = tomllib.load(file).get("kazoo", {})
    home = tests(args.cache)
    shims = os.path.join(args.cache, "kazoo-suite-shim")
    os.makedirs(shims, exist_ok=True)
    shim = os.path.join(shims, "java")
    with open(shim, "w") as file:
        file.write(SHIM.format(binary=os.path.abspath(args.binary)))
    os.chmod(shim, os.stat(shim).st_mode | stat.S_IXUSR)
    apache = suite(home, args, None, 21000, "apache")
    ours = suite(home, args, shims, 23000, "zabkeeper")
    good = sorted(name for name, outcome in apache.items() if outcome == "passed")
    if not good:
        print("no test passes on Apache ZooKeeper: look at kazoo-suite-apache.log in the cache", file=sys.stderr)
        return 2
    lost = [name for name in good if ours.get(name) != "passed"]
    unexplained = [name for name in lost if name not in reasons]
    idle = [name for name in reasons if name in good and name not in lost]
    told = {"apache": len(good), "ours": len(good) - len(lost), "explained": len(lost) - len(unexplained), "unexplained": unexplained, "idle": idle,
            "share": round((len(good) - len(lost)) / len(good), 4)}
    if args.json:
        print(json.dumps(told))
    else:
        print(f"{len(good)} tests pass on Apache ZooKeeper {args.version}, {told['ours']} of them on ours ({told['share']:.1%})")
        for name in lost:
            print(f"  {name}: {ours.get(name, 'not run')}; {reasons.get(name, 'UNEXPLAINED')}")
        for name in idle:
            print(f"  {name} passes, and skips.toml has a reason why it does not")
    return 1 if unexplained or (told["share"] < LEAST and not args.only) or idle else 0


if __name__ == "__main__":
    sys.exit(main())
