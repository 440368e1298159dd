"""Every command of zkCli.sh, Apache ZooKeeper's command line, run on Apache's server and ours, which must print the same.

Usage: zkcli_suite.py --apache 3.9.5=JARS --jar commons-cli.jar --binary ZABKEEPER [--only WORD] [--json FILE]
The commands are those that its own `help` lists; one without a case fails by name. Ids, times and zxids are masked, and
what watches print is compared apart, since it comes when it comes. Ends with 0 if all is well, 1 if ours prints something
else without a reason in skips.toml, 2 if a case does not go as it should on Apache.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import stock
from stock import apache

# Seconds: one run of the command line.
PATIENCE = 60
# How many run at a time: most of each is the start of its virtual machine.
ABREAST = 2
# Is run last; when it has answered, all before has been.
LAST = "version"
ANSWERED = "ZooKeeper CLI version: "

# Commands by case. A case is called as the command that it is about; what follows a colon tells cases of one command
# apart. {p} is a folder of the case's own, {hosts} the server. What must be printed follows the commands.
# The first looks at the list of servers, which one of the last changes: they do not run at the same time.
CASES = {
    "config": (["config", "config -c", "config -s"], ["server.1=HOST:P:P:participant;HOST:P", "version=V"]),
    "create": (
        ["create {p}/a one", "create {p}/a two", "create {p}/none/a x", "create -s {p}/s- x", "create -e {p}/e x", "create -e {p}/e/x y",
         "create -e -s {p}/s- x", "create -c {p}/c", "create -t 600000 {p}/t x", "create -t 600000 -s {p}/t x", "create -e -t 5 {p}/bad x",
         "create -c -e {p}/bad", "create {p}/r x world:anyone:r", "create {p}/r/a x", "create {p}/l x nonsense:x:r", "create {p}/g x auth::cdrwa",
         "create", "create noslash", "create {p}/a/", "ls {p}", "get -s {p}/c", "get -s {p}/t", "get -s {p}/e"],
        ["Created {p}/a", "Node already exists: {p}/a", "Created {p}/s-0000000001", "Created {p}/c", "Created {p}/t"],
    ),
    "get": (
        ["create {p}/a one", "get {p}/a", "get -s {p}/a", "get -w {p}/a", "set {p}/a two", "get -b {p}/a", "get -x {p}/a", "get {p}/none", "get", "get -q {p}/a"],
        ["one", "dataVersion = 0", "Node does not exist: {p}/none"],
    ),
    "set": (
        ["create {p}/a one", "set {p}/a three", "set -s {p}/a x", "set -v 0 {p}/a y", "set -v 2 {p}/a y", "get -s {p}/a", "set {p}/none x", "set {p}/a",
         "set -b {p}/a dHdv", "get {p}/a"],
        ["dataVersion = 2", "two"],
    ),
    "delete": (
        ["create {p}/a x", "create {p}/a/b x", "delete {p}/a", "delete -v 3 {p}/a/b", "delete -v 0 {p}/a/b", "delete {p}/a", "delete {p}/a", "delete /zookeeper",
         "delete /zookeeper/quota", "ls {p}"],
        ["Node not empty: {p}/a", "Node does not exist: {p}/a"],
    ),
    "deleteall": (
        ["create {p}/a x", "create {p}/a/b x", "create {p}/a/b/c x", "create {p}/b x", "deleteall {p}/a", "ls {p}", "create {p}/b/1", "create {p}/b/2",
         "deleteall {p}/b -b 1", "ls -R {p}", "deleteall {p}/none"],
        ["[b]"],
    ),
    "ls": (
        ["create {p}/a", "create {p}/b", "create {p}/a/c", "ls {p}", "ls -s {p}", "ls -R {p}", "ls -w {p}", "create {p}/d", "ls {p}/none", "ls /zookeeper",
         "ls -R /zookeeper/config", "ls"],
        ["[a, b]", "{p}/a/c", "numChildren = 2"],
    ),
    "stat": (
        ["create {p}/a one", "stat {p}/a", "create {p}/a/b", "stat {p}/a", "set {p}/a x", "stat -w {p}/a", "set {p}/a y", "stat {p}/none", "create -e {p}/e x", "stat {p}/e"],
        ["dataLength = 3", "numChildren = 1", "Node does not exist: {p}/none"],
    ),
    "getAcl": (
        ["create {p}/a x", "getAcl {p}/a", "getAcl -s {p}/a", "create {p}/d x digest:ann:Fy1xdVDWcpL8w0s1p1bIXO3hRmY=:cdrw,world:anyone:r", "getAcl {p}/d",
         "getAcl {p}/none", "getAcl /zookeeper/config"],
        ["'world,'anyone", ": cdrwa"],
    ),
    "setAcl": (
        ["create {p}/a x", "create {p}/a/b x", "setAcl -s {p}/a world:anyone:cdrwa", "setAcl -v 0 {p}/a world:anyone:r", "setAcl -v 1 {p}/a ip:127.0.0.1:cdrwa",
         "getAcl -s {p}/a", "setAcl -R {p}/a world:anyone:ra", "getAcl -s {p}/a/b", "setAcl {p}/a nonsense:x:r", "setAcl {p}/a digest:ann:r", "set {p}/a y",
         "setAcl {p}/a world:anyone:", "setAcl {p}/none world:anyone:r"],
        ["aclVersion = 1"],
    ),
    "addauth": (
        ["addauth digest ann:secret", "create {p}/a x auth::cdrwa", "getAcl {p}/a", "set {p}/a y", "addauth digest bob:secret", "setAcl {p}/a digest:bob:wrong:r",
         "get {p}/a", "getAcl {p}/a", "addauth digest super:secret", "getAcl {p}/a", "get {p}/a"],
        ["'digest,'ann:.*", "y"],
    ),
    "whoami": (["whoami", "addauth digest ann:secret", "whoami"], ["ip: 127.0.0.1", "digest: ann"]),
    "getAllChildrenNumber": (["create {p}/a", "create {p}/a/b", "create {p}/a/b/c", "getAllChildrenNumber {p}", "getAllChildrenNumber {p}/a/b/c", "getAllChildrenNumber {p}/x"], ["3"]),
    "getEphemerals": (["create -e {p}/b x", "getEphemerals", "create -e {p}/a x", "create {p}/c x", "getEphemerals {p}/a", "getEphemerals /nowhere"], ["[{p}/b]", "[{p}/a]"]),
    "sync": (["create {p}/a x", "sync {p}/a", "sync {p}/none", "sync"], ["Sync is OK"]),
    "setquota": (
        ["create {p}/a x", "setquota -n 3 {p}/a", "listquota {p}/a", "setquota -b 100 {p}/a", "setquota -N 4 {p}/a", "setquota -B 200 {p}/a", "listquota {p}/a",
         "create {p}/a/b x", "create {p}/a/c x", "create {p}/a/d x", "create {p}/a/e x", "set {p}/a/b 0123456789", "listquota {p}/a", "get /zookeeper/quota{p}/a/zookeeper_limits",
         "get /zookeeper/quota{p}/a/zookeeper_stats", "setquota -n 3 {p}/a/b", "setquota -n 3 {p}", "setquota -n 3 {p}/none", "setquota -n x {p}/a", "setquota -n 3", "setquota {p}/a"],
        ["quota for {p}/a does not exist.|.*count=3.*", ".*byteHardLimit=200.*"],
    ),
    "listquota": (["create {p}/a x", "listquota {p}/a", "setquota -n 5 {p}/a", "listquota {p}/a", "listquota {p}/none"], [".*count=5.*"]),
    "delquota": (
        ["create {p}/a x", "setquota -n 3 {p}/a", "setquota -b 30 {p}/a", "setquota -N 5 {p}/a", "delquota -n {p}/a", "listquota {p}/a", "delquota -N {p}/a", "delquota -b {p}/a",
         "listquota {p}/a", "delquota {p}/a", "listquota {p}/a", "delquota {p}/a", "ls -R /zookeeper/quota{p}"],
        [],
    ),
    "addWatch": (
        ["addWatch {p}", "create {p}/a x", "set {p}/a y", "addWatch -m PERSISTENT {p}/b", "create {p}/b x", "create {p}/b/c x", "delete {p}/b/c", "delete {p}/a", "addWatch -m NONSENSE {p}"],
        [],
    ),
    "removewatches": (
        ["create {p}/a x", "get -w {p}/a", "ls -w {p}/a", "removewatches {p}/a -d", "set {p}/a y", "create {p}/a/b", "removewatches {p}/a -c", "get -w {p}/a", "removewatches {p}/a",
         "removewatches {p}/a", "removewatches {p}/a -a -l", "addWatch {p}/a", "removewatches {p}/a -a", "set {p}/a z"],
        [],
    ),
    # Events are printed, or dropped, by a thread of its own: it is given two requests' time before `on`.
    "printwatches": (
        ["printwatches", "printwatches off", "printwatches", "create {p}/a x", "get -w {p}/a", "set {p}/a y", "get {p}/a", "ls {p}", "printwatches on", "get -w {p}/a", "set {p}/a z", "printwatches maybe"],
        ["printwatches is on", "printwatches is off"],
    ),
    "history": (["create {p}/a x", "get {p}/a", "history"], [".*create {p}/a x"]),
    "redo": (["create {p}/s- x", "create -s {p}/s- x", "redo 2", "ls {p}", "redo 77", "redo"], ["Created {p}/s-0000000002"]),
    "connect": (["create {p}/a x", "connect {hosts}", "get {p}/a", "create -e {p}/e x", "connect {hosts}", "get {p}/e"], ["x"]),
    "close": (["create -e {p}/e x", "close", "get {p}/e", "connect {hosts}", "get {p}/e"], ["Not connected"]),
    "version": (["version"], [ANSWERED + ".*"]),
    "quit": (["create -e {p}/e x", "quit", "get {p}/e"], ["Created {p}/e"]),
    "reconfig": (
        ["reconfig -add 9=127.0.0.1:7:8:observer;127.0.0.1:9", "addauth digest super:secret", "reconfig -v 77 -add 9=127.0.0.1:7:8:observer;127.0.0.1:9", "reconfig -add nonsense", "reconfig", "config -w",
         "reconfig -add 9=127.0.0.1:7:8:observer;127.0.0.1:9", "config", "reconfig -s -remove 9", "config", "reconfig -remove 1"],
        ["Committed new configuration:"],
    ),
    "no such command": (["nonsense", "get {p}", "help"], ["Command not found: .*nonsense.*"]),
}

# Cases that print what has no order.
UNORDERED = {"whoami"}

# How many events of nodes a case waits for.
EVENTS = {"get": 1, "ls": 1, "stat": 1, "addWatch": 8, "removewatches": 4, "printwatches": 1, "reconfig": 1}

# What differs from run to run.
MASKS = [
    (r"^([cm]time) = .*", r"\1 = T"),
    (r"^([cmp]Zxid) = 0x[1-9a-f][0-9a-f]*", r"\1 = Z"),
    (r"^ephemeralOwner = 0x[1-9a-f][0-9a-f]*", "ephemeralOwner = S"),
    (r"zxid: [1-9]\d*", "zxid: Z"),
    (r"127\.0\.0\.1:\d+:\d+", "HOST:P:P"),
    (r"127\.0\.0\.1:\d+", "HOST:P"),
    (r"version=[0-9a-f]+$", "version=V"),
    (r"0x[0-9a-f]{8,}", "0xN"),
]


def run(command, port, name):
    """What a case prints, and what its watches print; both masked."""
    folder = "/" + re.sub(r"\W+", "-", name)
    hosts = f"127.0.0.1:{port}"
    lines, wanted = CASES[name]
    lines = [f"create {folder}", *(line.replace("{p}", folder).replace("{hosts}", hosts) for line in lines)]
    with tempfile.NamedTemporaryFile() as out:
        process = subprocess.Popen([*command, "-waitforconnection", "-timeout", "30000", "-server", hosts], stdin=subprocess.PIPE, stdout=out, stderr=out, text=True)
        try:
            answers = 1 + sum(line == LAST for line in lines)
            process.stdin.write("".join(line + "\n" for line in [*lines, LAST]))
            process.stdin.flush()
            end = time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < end and text(out.name).count(ANSWERED) < answers:
                time.sleep(0.02)
            # Events are printed by a thread of its own.
            while process.poll() is None and time.monotonic() < end and len(told(out.name)) < EVENTS.get(name, 0):
                time.sleep(0.02)
            time.sleep(0.2)
            if process.poll() is None:
                process.stdin.write("quit\n")
                process.stdin.close()
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        said = text(out.name)
    for pattern, mask in MASKS:
        said = re.sub(pattern, mask, said, flags=re.MULTILINE)
    printed = [line for line in said.splitlines() if line and line not in ("WATCHER::", "JLine support is disabled") and not line.startswith("WatchedEvent ")]
    if name in UNORDERED:
        printed.sort()
    events = [line for line in said.splitlines() if is_event(line)]
    missed = [each for each in (want.replace("{p}", folder) for want in wanted) if not any(re.fullmatch(each, line) or each == line for line in printed)]
    return not missed, (f"{missed} not in " if missed else "") + "\\n".join([*printed, f"exit {code}", *events])


def is_event(line):
    """Whether it tells of a node; what becomes of the connection may be told or not before the end."""
    return line.startswith("WatchedEvent ") and " type:None " not in line


def told(path):
    """The events of nodes that have been printed."""
    return [line for line in text(path).splitlines() if is_event(line)]


def text(path):
    # Opened anew: the place in an open file is shared with who writes it.
    with open(path, errors="replace") as file:
        return file.read()


def offered(command):
    """The commands that `help` lists."""
    done = subprocess.run([*command, "-server", "127.0.0.1:1"], input="help\nquit\n", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
    return sorted(set(re.findall(r"^\t(\w+)", done.stdout, re.MULTILINE)))


def cases(command, server, only):
    """What each case does on a server that is started and stopped."""
    outcome = stock.Outcome("", 0)
    server.start()
    try:
        server.wait()
        with concurrent.futures.ThreadPoolExecutor(ABREAST) as pool:
            names = [name for name in CASES if only in name]
            for name, seen in zip(names, pool.map(lambda name: run(command, server.port, name), names)):
                outcome.cases[name] = seen
    finally:
        server.stop()
    return outcome


def main():
    args = stock.arguments(__doc__, jar="what it needs besides, commons-cli above all")
    command = stock.java(":".join([args.classpath, *args.jar]), "org.apache.zookeeper.ZooKeeperMain")
    stock.Ours.binary = args.binary
    known = offered(command)
    if not known:
        print("its `help` lists no commands", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="stock-") as folder:
        theirs, ours = (cases(command, stock.server(kind, args.classpath, os.path.join(folder, kind.__name__)), args.only) for kind in (apache.Apache, stock.Ours))
    theirs.missing = [command for command in known if command not in {name.split(":")[0] for name in CASES}]
    return stock.told("zkcli", "zkCli.sh", args, theirs, ours)


if __name__ == "__main__":
    sys.exit(main())
