#!/usr/bin/env python3
"""Moves data folders between Apache ZooKeeper and Zabkeeper, each killed in the midst of its work, and judges what opens.

    java_dirs.py --apache 3.8.0='/usr/share/java/…' --apache 3.9.5='…/jars/*' --binary target/dist/zabkeeper --fused target/release/fused-server

For each version, and for each way to pack snapshots, in which both then write them: a server of Apache ZooKeeper takes writes of every kind, snapshots
often, and is killed with SIGKILL, until it has left a snapshot that was never finished, and one that holds more than its
label says. A copy of the folder is opened by Apache ZooKeeper and one by us: every node, Stat and access control list
must be the same, and sessions go on by their passwords. We write on, snapshot and roll the log, and are killed; Apache
ZooKeeper must show what we showed.

Then our server is killed at each step of its work on disk, rolls of the log and snapshots among them, and both open what
it left.

Not compared: the data of `zookeeper_stats` nodes below /zookeeper/quota, which Apache's servers count up for themselves,
outside of transactions.
"""

import argparse
import concurrent.futures
import gzip
import json
import os
import random
import re
import shutil
import struct
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

import apache
import record
from apache import Apache, Ours, ask, connect, kill, until, words
from record import ace, buf, create, i32, i64, multi, vec

BULK = 1000
BULK_BYTES = 4096
# A tree that is soon written.
SMALL_BULK = 50
# Long enough for a folder to be copied and opened twice on a busy machine.
SESSION_MS = 60_000
OPEN = [ace(31, "world", "anyone")]
LISTS = [
    OPEN,
    [ace(1, "world", "anyone"), ace(31, "digest", "user:tl+z3z0vO6PfPfEENfLF96E6pM0=")],
    [ace(31, "ip", "127.0.0.1"), ace(1, "world", "anyone")],
]
LISTS += [entries[::-1] + OPEN for entries in LISTS]


# What servers write to.

class Place:
    """Folders and configuration of one server, wherever they stand."""

    def __init__(self, folder, quorum, logs, more=()):
        self.folder, self.quorum, self.logs, self.more = folder, quorum, logs, more
        self.port, *between = apache.ports(3)
        data = os.path.join(folder, "data")
        os.makedirs(data, exist_ok=True)
        lines = [f"dataDir={data}", f"clientPort={self.port}", "tickTime=3000", "admin.enableServer=false", f"maxSessionTimeout={SESSION_MS}",
                 "maxClientCnxns=0", "4lw.commands.whitelist=*", "extendedTypesEnabled=true", *more]
        if logs:
            lines.append("dataLogDir=" + os.path.join(folder, "logs"))
        if quorum:
            lines += ["standaloneEnabled=false", "initLimit=10", "syncLimit=5",
                      f"server.1=127.0.0.1:{between[0]}:{between[1]}"]
            with open(os.path.join(data, "myid"), "w") as file:
                file.write("1\n")
        self.config = "\n".join(lines) + "\n"

    def copy(self, folder):
        for part in ("data", "logs"):
            if os.path.isdir(os.path.join(self.folder, part)):
                shutil.copytree(os.path.join(self.folder, part), os.path.join(folder, part))
        return Place(folder, self.quorum, self.logs, self.more)

    def java(self, classpath):
        return Apache(classpath, self.folder, self.config, self.port)

    def ours(self):
        return Ours("", self.folder, self.config, self.port)

    def snapshots(self):
        return os.path.join(self.folder, "data", "version-2")

    def log_files(self):
        return os.path.join(self.folder, "logs" if self.logs else "data", "version-2")

    def thin(self):
        """What purging does: a few snapshots stay, and the log behind the oldest whole one of them."""
        names = sorted(snapshot_names(self.snapshots()), key=label)
        whole = [name for name in names if Snapshot(os.path.join(self.snapshots(), name)).whole][-2:]
        for name in names:
            if label(name) < label(whole[0]):
                os.remove(os.path.join(self.snapshots(), name))
        logs = sorted((name for name in os.listdir(self.log_files()) if name.startswith("log.")), key=label)
        for name, following in zip(logs, logs[1:]):
            if label(following) <= label(whole[0]):
                os.remove(os.path.join(self.log_files(), name))


def label(name):
    return int(name.split(".")[1], 16)


def snapshot_names(folder):
    return [name for name in os.listdir(folder) if re.fullmatch(r"snapshot\.[0-9a-f]+(\.gz|\.snappy)?", name)]


class Snapshot:
    """What a snapshot file holds: whether it has its end, and the last transaction that its nodes tell of."""

    def __init__(self, path):
        self.label, self.last, self.whole = label(os.path.basename(path)), 0, False
        try:
            self.read(unpack(path))
            self.whole = True
        except (EOFError, IndexError, struct.error, OSError):
            pass

    def read(self, data):
        at = 16
        count, at = struct.unpack_from(">i", data, at)[0], at + 4
        at += 12 * count
        count, at = struct.unpack_from(">i", data, at)[0], at + 4
        for _ in range(count):
            entries, at = struct.unpack_from(">i", data, at + 8)[0], at + 12
            for _ in range(entries):
                at += 4
                for _ in range(2):
                    at += 4 + struct.unpack_from(">i", data, at)[0]
        while True:
            length = struct.unpack_from(">i", data, at)[0]
            path, at = data[at + 4:at + 4 + length], at + 4 + length
            if path == b"/":
                break
            at += 4 + max(0, struct.unpack_from(">i", data, at)[0]) + 8
            czxid, mzxid = struct.unpack_from(">qq", data, at)
            self.last = max(self.last, czxid, mzxid, struct.unpack_from(">q", data, at + 52)[0])
            at += 60
        if len(data) < at + 13:
            raise EOFError


def unpack(path):
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".gz"):
        return gzip.decompress(data)
    return unsnap(data) if path.endswith(".snappy") else data


def unsnap(data):
    """snappy-java's stream: a header of 16 bytes, then blocks behind their lengths."""
    out, at = bytearray(), 16
    while at < len(data):
        length, at = struct.unpack_from(">i", data, at)[0], at + 4
        if at + length > len(data):
            raise EOFError
        unsnap_block(data[at:at + length], out)
        at += length
    return bytes(out)


def unsnap_block(block, out):
    at = 0
    while block[at] & 0x80:
        at += 1
    at += 1
    while at < len(block):
        tag, at = block[at], at + 1
        kind, size = tag & 3, (tag >> 2) + 1
        if kind == 0:
            if size > 60:
                extra = size - 60
                size, at = int.from_bytes(block[at:at + extra], "little") + 1, at + extra
            out += block[at:at + size]
            at += size
            continue
        if kind == 1:
            size, offset, at = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | block[at], at + 1
        else:
            width = 2 if kind == 2 else 4
            offset, at = int.from_bytes(block[at:at + width], "little"), at + width
        for _ in range(size):
            out.append(out[-offset])


# What clients do.

class Load:
    """Clients that write until they are told to end, or their server dies. Keeps what was acknowledged."""

    def __init__(self, port, name, java, count=3, bulk=BULK):
        self.name, self.port, self.java, self.bulk = name, port, java, bulk
        self.acknowledged, self.count, self.ending, self.wrong = {}, 0, False, None
        self.threads = [threading.Thread(target=self.run, args=(me,)) for me in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, me):
        root = f"/{self.name}-{me}"
        try:
            client = connect(self.port, timeout=SESSION_MS)
            ask(client, 1, create(root))
            step = 0
            while not self.ending:
                self.write(client, root, step)
                step += 1
                self.count += 1
        except (OSError, EOFError):
            pass
        except BaseException as error:
            self.wrong = error

    def write(self, client, root, step):
        kind, path = step % 12, f"{root}/n{step}"
        if kind in (0, 1):
            data = f"{self.name} {step}".encode()
            ask(client, 15 if kind else 1, create(path, data, vec(LISTS[step // 12 % 3])))
            self.acknowledged[path] = data
        elif kind in (2, 3):
            bulk = f"/bulk/{random.randrange(self.bulk)}"
            ask(client, 5, buf(bulk) + buf(random.randbytes(BULK_BYTES)) + i32(-1))
        elif kind == 4:
            ask(client, 15, create(root + "/e-", b"", flags=3))
        elif kind == 5:
            ask(client, 1, create(root + "/s-", None, flags=2))
        elif kind == 6:
            ask(client, 14, multi((1, create(path)), (5, buf(path) + buf(b"of a multi") + i32(0)), (13, buf(path) + i32(1)),
                                  (1, create(path + "/c", flags=1)), (2, buf(path + "/c") + i32(-1))))
            self.acknowledged[path] = b"of a multi"
            ask(client, 14, multi((1, create(path + "/f")), (13, buf(path) + i32(9))))
        elif kind == 7 and self.java:
            ask(client, 19, create(path, flags=4))
            ask(client, 1, create(path + "/c", b"in a container"))
        elif kind == 8 and self.java:
            ask(client, 21, create(path + "-", b"", flags=6) + i64(7_200_000))
            ask(client, 21, create(path, b"", flags=5) + i64(3_600_000))
        elif kind == 9:
            ask(client, 7, buf(root) + vec(LISTS[3 + step // 12 % 3]) + i32(-1))
            ask(client, 2, buf("/nothing") + i32(-1), expected=-101)
        elif kind == 10:
            ask(client, 1, create(path, b"x" * 10))
            ask(client, 2, buf(path) + i32(0))
            ask(client, 1, create(f"/quota/{self.name}-{step}-{root[-1]}", b"counted"))
        elif step % 60 == 11:
            other = connect(self.port, timeout=SESSION_MS)
            ask(other, 1, create(root + "/gone-", b"", flags=3))
            other.close()

    def end(self):
        self.ending = True
        self.join()

    def join(self):
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a client waits for ever"
        if self.wrong:
            raise self.wrong


def prepare(port, bulk):
    """The nodes that writes go to, some of them with a quota."""
    c = connect(port)
    for path in ("/bulk", "/quota", "/zookeeper/quota/quota", "/lists"):
        ask(c, 1, create(path, b""))
    # Each list is always in use: a list that comes while Apache's server snapshots is missing there, and its next start
    # may fail with "Failed to fetch acls".
    for number, entries in enumerate(LISTS):
        ask(c, 1, create(f"/lists/{number}", b"", vec(entries)))
    ask(c, 1, create("/zookeeper/quota/quota/zookeeper_limits", b"count=100000,bytes=-1"))
    ask(c, 1, create("/zookeeper/quota/quota/zookeeper_stats", b"count=0,bytes=0"))
    for start in range(0, bulk, 50):
        ask(c, 14, multi(*((1, create(f"/bulk/{n}", random.randbytes(BULK_BYTES))) for n in range(start, start + 50))))
    c.close()


class Holder:
    """A session that outlives its servers, with what belongs to it."""

    def __init__(self, port, name):
        self.name = name
        client = connect(port, timeout=SESSION_MS)
        self.session, self.password = client.session, client.password
        self.path = f"/held-{name}"
        ask(client, 1, create(self.path, b"mine", flags=1))
        ask(client, 15, create(self.path + "-", b"", flags=3))
        client.sock.close()

    def attach(self, port):
        """Goes on with the session at another server."""
        wrong = connect(port, session=self.session, password=b"\1" * 16)
        assert wrong.session == 0, "a session is given away for a wrong password"
        client = connect(port, session=self.session, password=self.password, timeout=SESSION_MS)
        assert client.session == self.session, "the session is gone"
        owner = struct.unpack(">q", ask(client, 3, buf(self.path) + record.flag(False))[44:52])[0]
        assert owner == self.session, "the session has lost its ephemeral node"
        return client


# What judges see.

def seen(port, holders=()):
    """Every node, and a proof that the sessions live."""
    client = connect(port)
    nodes = {path: uncounted(path, node) for path, node in apache.tree(client).items()}
    client.close()
    for holder in holders:
        holder.attach(port).sock.close()
    return nodes


def uncounted(path, node):
    if not path.endswith("/zookeeper_stats"):
        return node
    names, data, acl = node
    # Neither the data nor its length, in either Stat.
    return names, data[-68:-16] + data[-12:], acl[:-16] + acl[-12:]


def check(trees, acknowledged, deleted=()):
    """The trees are equal and hold what was acknowledged."""
    (one, first), *others = trees.items()
    for other, nodes in others:
        difference = apache.difference(first, nodes)
        assert not difference, f"{one} shows another state than {other}: {difference}"
    for path, data in acknowledged.items():
        found = first.get(path)
        assert found, f"{path} was acknowledged and is lost"
        assert found[1][4:].startswith(buf(data)), f"{path} holds something else"


def both(place, folder, classpath, holders=()):
    """Copies of a folder, opened by each side at the same time: what each shows. Ours goes on to run."""
    java = "Apache"
    copies = {java: place.copy(os.path.join(folder, "java")), "Zabkeeper": place.copy(os.path.join(folder, "ours"))}
    servers = {java: copies[java].java(classpath).start(), "Zabkeeper": copies["Zabkeeper"].ours().start()}
    try:
        for server in servers.values():
            server.wait(60)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            trees = dict(zip(servers, pool.map(lambda name: seen(copies[name].port, holders), servers)))
    except BaseException:
        for server in servers.values():
            kill(server)
        raise
    kill(servers[java])
    shutil.rmtree(copies[java].folder)
    return trees, servers["Zabkeeper"], copies["Zabkeeper"]


def quarrels(server):
    """Apache's servers compare digests, and say what they find: nothing in what we wrote. In what they wrote themselves
    it means little, for a snapshot of theirs may hold more than the transaction that its digest is of."""
    for line in words(server).splitlines():
        assert not re.search(r"[Dd]igests? .*(mismatch|not match)|mismatch", line), line


# The two parts.

def killed(place, classpath, name, wanted, totals):
    """Kills a server of Apache's while it snapshots, until the folder shows what is wanted: `unfinished`, a snapshot that
    lacks its end, or `fuzzy`, one that holds more than its label says."""
    acknowledged, holders = {}, []
    for attempt in range(12):
        server = place.java(classpath)
        server.start().wait(60)
        try:
            if not os.path.exists(os.path.join(place.folder, "prepared")):
                prepare(place.port, BULK)
                open(os.path.join(place.folder, "prepared"), "w").close()
            holders.append(Holder(place.port, f"{name}-{attempt}"))
            load = Load(place.port, f"{name}-{attempt}", java=True)
            until("the load runs", 30, lambda: load.count > 300 or load.wrong)
            before = set(snapshot_names(place.snapshots()))
            until("a snapshot is begun", 60, lambda: set(snapshot_names(place.snapshots())) - before)
            time.sleep(random.uniform(0, 0.03) if wanted == "unfinished" else random.uniform(0.2, 0.6))
        finally:
            kill(server)
        load.join()
        acknowledged.update(load.acknowledged)
        totals["writes"] += load.count
        totals["kills"] += 1
        place.thin()
        snapshots = [Snapshot(os.path.join(place.snapshots(), each)) for each in snapshot_names(place.snapshots())]
        newest = max((each for each in snapshots if each.whole), key=lambda each: each.label)
        found = {"unfinished": any(not each.whole and each.label > newest.label for each in snapshots),
                 "fuzzy": newest.last > newest.label}
        # Some of what came before may be of sessions that are long gone.
        if found[wanted]:
            totals[wanted] += 1
            return acknowledged, holders[-1:]
    raise AssertionError(f"no kill in twelve left a snapshot that is {wanted}")


def go_on(server, place, method, totals, holders, name):
    """Our server writes on, and is killed; returns what it showed."""
    client = holders[0].attach(place.port)
    ask(client, 2, buf(holders[0].path) + i32(-1))
    ask(client, 1, create(holders[0].path, b"again", flags=1))
    snapshots, logs = set(snapshot_names(place.snapshots())), set(os.listdir(place.log_files()))
    load = Load(place.port, name, java=False)
    until("we snapshot and roll the log", 60, lambda: load.wrong or (
        set(snapshot_names(place.snapshots())) - snapshots
        and sum(each.startswith("log.") for each in set(os.listdir(place.log_files())) - logs) > 1))
    load.end()
    end = "." + method if method else ""
    for each in set(snapshot_names(place.snapshots())) - snapshots:
        assert each == f"snapshot.{label(each):x}{end}", f"{each} is not packed as was said"
        totals["packed"] += bool(method)
    shown = seen(place.port)
    kill(server)
    client.sock.close()
    return shown, load


def move(version, classpath, method, quorum, logs, folder, totals):
    """One folder, to and fro, with both kinds of kills."""
    more = [f"snapshot.compression.method={method}", "preAllocSize=64", "snapCount=400"]
    place = Place(os.path.join(folder, "0"), quorum, logs, more)
    for turn, wanted in enumerate(("fuzzy", "unfinished")):
        name = f"t{turn}"
        acknowledged, holders = killed(place, classpath, name, wanted, totals)
        trees, server, next_place = both(place, os.path.join(folder, f"{turn}-copies"), classpath, holders)
        try:
            check(trees, acknowledged)
            shown, load = go_on(server, next_place, method, totals, holders, name + "-ours")
        finally:
            kill(server)
        totals["writes"] += load.count
        totals["nodes"] = max(totals["nodes"], len(shown))
        next_place.thin()
        back = next_place.copy(os.path.join(folder, f"{turn}-back"))
        java = back.java(classpath).start()
        try:
            java.wait(60)
            check({"Zabkeeper": shown, "Apache": seen(back.port, holders)}, {**acknowledged, **load.acknowledged})
            quarrels(java)
        finally:
            kill(java)
        shutil.rmtree(place.folder)
        place = back
        open(os.path.join(place.folder, "prepared"), "w").close()


def steps(classpaths, binary, folder, totals):
    """Kills our server at each step of its work on disk; both open what it left."""
    base = Place(os.path.join(folder, "base"), True, False, ["preAllocSize=16", "snapCount=60"])
    server = base.java(classpaths[0][1]).start()
    server.wait(60)
    prepare(base.port, SMALL_BULK)
    load = Load(base.port, "base", java=True, count=1, bulk=SMALL_BULK)
    until("a base is laid", 60, lambda: load.count > 60 or load.wrong)
    holder = Holder(base.port, "base")
    load.end()
    kill(server)
    known, died, missed = {}, [], []
    for number in range(100):
        todo = [step for step in known if step not in died + missed]
        if number and not todo:
            break
        step = todo[0] if number else None
        place = base.copy(os.path.join(folder, f"step{number}"))
        acknowledged = die_at(place, binary, step, known)
        if acknowledged is None:
            # Some need two threads to meet. Those that count must not be among them.
            missed.append(step)
            shutil.rmtree(place.folder)
            continue
        died += [step] if step else []
        version, classpath = classpaths[number % len(classpaths)]
        trees, server, _ = both(place, os.path.join(folder, f"step{number}", "copies"), classpath, [holder])
        kill(server)
        try:
            check(trees, acknowledged)
        except AssertionError as error:
            raise AssertionError(f"killed at {step or 'the end'}, Apache {version}: {error}") from None
        shutil.rmtree(place.folder)
        totals["writes"] += len(acknowledged)
    for wanted in STEPS:
        assert wanted in died, f"not died at: {wanted}; died at: {died}; missed: {missed}"
    totals["steps"] = len(died)
    return died


# What a roll of the log and a snapshot are made of, as a server that rolls and snapshots goes through it.
STEPS = [
    "create spare.log > zero spare.log", "zero spare.log > sync spare.log",
    "write spare.log > write spare.log", "write spare.log > sync spare.log", "sync spare.log > rename spare.log",
    "rename spare.log > sync folder version-2",
    "create next.snapshot > write next.snapshot", "write next.snapshot > sync next.snapshot",
    "sync next.snapshot > rename next.snapshot", "rename next.snapshot > sync folder version-2",
]


def die_at(place, binary, step, known):
    """Has our server write until it dies at this step, or, without one, until it has been through all of them. Returns what
    it has acknowledged, or nothing if it does not come to the step."""
    server = Ours("", place.folder, place.config, place.port)
    apache.launch(server, [binary, server.config] + ([step] if step else []))
    acknowledged = {}
    try:
        until("it serves or dies", 30, lambda: server.mode() or server.process.poll() is not None)
        if server.process.poll() is None:
            load = Load(place.port, "step", java=False, count=2, bulk=SMALL_BULK)
            patience = time.time() + (20 if step in STEPS or not step else 6)
            while server.process.poll() is None and time.time() < patience:
                time.sleep(0.02)
                if not step and all(each in words(server) for each in STEPS):
                    time.sleep(1)
                    break
            came = not step or server.process.poll() is not None
            kill(server)
            load.join()
            if not came:
                return None
            acknowledged = load.acknowledged
    finally:
        kill(server)
    told = words(server)
    assert not step or f"dies at: {step}" in told, f"it has died of something else than {step}:\n{told[-2000:]}"
    for met in re.findall(r"^step: (.*)$", told, re.MULTILINE):
        known[met] = True
    return dict(acknowledged)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apache", action="append", required=True, help="VERSION=CLASSPATH")
    parser.add_argument("--binary", required=True, help="our server")
    parser.add_argument("--fused", required=True, help="our server with a fuse in its disk: `fused-server`")
    parser.add_argument("--json", help="where to write the outcome")
    parser.add_argument("--only", choices=["moves", "steps"])
    parser.add_argument("--method", action="append", choices=["", "gz", "snappy"], help="how snapshots are packed; else each")
    args = parser.parse_args()
    classpaths = [each.split("=", 1) for each in args.apache]
    Ours.binary = os.path.abspath(args.binary)
    totals = dict.fromkeys(("writes", "kills", "fuzzy", "unfinished", "nodes", "steps", "folders", "packed"), 0)
    home = tempfile.mkdtemp(prefix="java-dirs-")
    print(f"data and output: {home}", flush=True)
    shapes = [(False, False), (True, True), (True, False), (False, True)]
    if args.only != "steps":
        for version, classpath in classpaths:
            for method in args.method or ["", "gz", "snappy"]:
                quorum, logs = shapes[totals["folders"] % len(shapes)]
                begun = time.time()
                folder = os.path.join(home, f"{version}-{method or 'plain'}")
                move(version, classpath, method, quorum, logs, folder, totals)
                totals["folders"] += 1
                shutil.rmtree(folder)
                print(f"Apache {version}, snapshots {method or 'plain'}, {'of an ensemble' if quorum else 'alone'}, "
                      f"{'two folders' if logs else 'one folder'}: there and back twice, equal each time; "
                      f"{time.time() - begun:.0f} s", flush=True)
    if args.only != "moves":
        begun = time.time()
        died = steps(classpaths, os.path.abspath(args.fused), os.path.join(home, "steps"), totals)
        print(f"killed at {len(died)} steps, opened equal by both each time; {time.time() - begun:.0f} s:", flush=True)
        for step in died:
            print("  " + step)
    shutil.rmtree(home)
    print(json.dumps(totals))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(totals, file)


if __name__ == "__main__":
    main()
