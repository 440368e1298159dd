"""What the judges of stock clients share: one server of each maker, and a client's driver run on the one and the other.

A driver is a program that takes `host:port` as its last word and prints, among other things, lines of fields with tabs
between them:

    @case     NAME  passed|FAILED  what was seen, or what went wrong
    @missing  NAME  what the client offers and no case covers

What was seen holds no ids, times and zxids, so that both servers must show the same. A case must pass on Apache
ZooKeeper, or it asks for too much; one that fails on ours, or shows something else there, needs a reason in skips.toml.
A reason for a case that passes is a failure too, so that the list stays true.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "differential"))
sys.dont_write_bytecode = True

import apache
from apache import launch

# The super user's password is `secret`; containers and what has a time to live are looked at often; everything is open
# that a client could ask for.
PROPERTIES = [
    "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=",
    "-Dznode.container.checkIntervalMs=300",
    "-Dzookeeper.extendedTypesEnabled=true",
    "-Dzookeeper.4lw.commands.whitelist=*",
    "-Dzookeeper.admin.enableServer=false",
]
CONFIG = """dataDir={data}
clientPort={client}
tickTime=500
maxSessionTimeout=60000
initLimit=20
syncLimit=10
maxClientCnxns=0
admin.enableServer=false
extendedTypesEnabled=true
reconfigEnabled=true
standaloneEnabled=false
server.1=127.0.0.1:{quorum}:{election}:participant;127.0.0.1:{client}
"""
# Seconds: all of a driver's cases.
DRIVER_MAX = 600


class Ours(apache.Ours):
    def start(self):
        return launch(self, [self.binary, "serve", *PROPERTIES, self.config])


def server(kind, classpath, folder):
    """An ensemble of one, which has a list of servers that can be asked for."""
    client, quorum, election = apache.ports(3)
    data = os.path.join(folder, "data")
    os.makedirs(data)
    with open(os.path.join(data, "myid"), "w") as file:
        file.write("1\n")
    config = CONFIG.format(data=data, client=client, quorum=quorum, election=election)
    return kind(classpath, folder, config, client, PROPERTIES)


def arguments(doc, **more):
    """The options that every judge has, and perhaps some of its own with their help."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--apache", required=True, help="VERSION=CLASSPATH")
    parser.add_argument("--binary", required=True, help="our server")
    parser.add_argument("--json", help="where to write what was compared")
    parser.add_argument("--only", default="", help="only cases whose names hold this; skips.toml is not judged then")
    for name, meaning in more.items():
        parser.add_argument("--" + name, action="append", default=[], help=meaning)
    args = parser.parse_args()
    args.version, _, args.classpath = args.apache.partition("=")
    args.classpath = ":".join(os.path.abspath(jar) for jar in args.classpath.split(":"))
    args.binary = os.path.abspath(args.binary)
    return args


def javac(classpath, folder, *sources):
    """Compiles Java's sources of this folder; the classpath to run them with."""
    paths = [os.path.join(HERE, source) for source in sources]
    subprocess.run(["javac", "-nowarn", "-Xlint:-options", "-proc:none", "-cp", classpath, "-d", folder, *paths], check=True)
    return f"{folder}:{classpath}"


def java(classpath, main):
    """A command that runs a Java driver, whose words about itself are kept to warnings."""
    return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=OFF", "-cp", classpath, main]


class Outcome:
    """What a driver said of one server: cases by name, and what has none."""

    def __init__(self, text, code):
        self.cases, self.missing, self.code = {}, [], code
        self.rest = []
        for line in text.splitlines():
            fields = line.split("\t")
            if fields[0] == "@case":
                self.cases[fields[1]] = (fields[2] == "passed", "\t".join(fields[3:]))
            elif fields[0] == "@missing":
                self.missing.append(fields[1])
            else:
                self.rest.append(line)


def drive(command, server, **how):
    """Runs a driver against a server that it starts and stops."""
    server.start()
    try:
        server.wait()
        done = subprocess.run([*command, f"127.0.0.1:{server.port}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=DRIVER_MAX, text=True, errors="replace", check=False, **how)
        return Outcome(done.stdout, done.returncode)
    finally:
        server.stop()


def judge(section, name, args, prepare, **how):
    """Runs a client's driver on both servers, and says what came of it: 0 well, 1 not, 2 nothing to go by.

    `prepare` makes the driver in a folder, and returns its command."""
    with tempfile.TemporaryDirectory(prefix="stock-") as folder:
        Ours.binary = args.binary
        command = prepare(args, folder)
        both = [drive(command, server(kind, args.classpath, os.path.join(folder, kind.__name__)), **how) for kind in (apache.Apache, Ours)]
    return told(section, name, args, *both)


def told(section, name, args, theirs, ours):
    """Compares what both showed, prints it, and returns the exit code."""
    reasons = {} if args.only else skips(section)
    bad = [case for case, (passed, _) in theirs.cases.items() if not passed]
    if bad or not theirs.cases or theirs.code != 0:
        print("\n".join(theirs.rest[-40:]))
        for case in bad:
            print(f"  {case} fails on Apache ZooKeeper {args.version}: {theirs.cases[case][1]}")
        print(f"{name}: {len(bad)} of {len(theirs.cases)} cases fail on Apache ZooKeeper {args.version}, and the driver ended with {theirs.code}: "
              "set the cases right first")
        return 2
    lost = {case: why(saw, ours.cases.get(case)) for case, (_, saw) in theirs.cases.items() if ours.cases.get(case) != (True, saw)}
    unexplained = [case for case in lost if case not in reasons]
    idle = [case for case in reasons if case not in lost]
    missing = sorted({*theirs.missing, *ours.missing})
    same = len(theirs.cases) - len(lost)
    for case, difference in lost.items():
        print(f"  {case}: {reasons.get(case, 'UNEXPLAINED: ' + difference)}")
    for case in idle:
        print(f"  {case} passes, or is no case, and skips.toml has a reason why it does not")
    for each in missing:
        print(f"  {each} has no case")
    if ours.code != 0 and not lost:
        print("\n".join(ours.rest[-20:]))
    print(f"{name}: {len(theirs.cases)} cases pass on Apache ZooKeeper {args.version}, {same} of them on ours, {len(lost) - len(unexplained)} of the "
          f"others with a reason, {len(unexplained)} without; {len(missing)} calls without a case, {len(idle)} idle reasons")
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"client": name, "version": args.version, "apache": len(theirs.cases), "ours": same, "explained": len(lost) - len(unexplained),
                       "unexplained": unexplained, "missing": missing, "idle": idle}, file)
    return 1 if unexplained or idle or missing or (ours.code != 0 and not lost) else 0


def skips(section):
    """The cases that do not pass yet, with their reasons."""
    with open(os.path.join(HERE, "skips.toml"), "rb") as file:
        return tomllib.load(file).get(section, {})


def why(saw, ours):
    """What is different, in a few lines."""
    if ours is None:
        return "not run"
    if not ours[0]:
        return ours[1]
    for here, there in zip(saw.split("\\n"), ours[1].split("\\n")):
        if here != there:
            return f"Apache {here!r}, ours {there!r}"
    return f"Apache {saw[-200:]!r}, ours {ours[1][-200:]!r}"
