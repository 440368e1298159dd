#!/usr/bin/env python3
"""Runs ensembles of Zabkeeper and Apache ZooKeeper together, and judges them by what clients see.

    mixed.py --classpath '/usr/share/java/*' --binary target/release/zabkeeper [--ours 1,2 ...]

Three servers, some of them ours. Clients write through each; a session moves; the leader is killed and comes back; a
follower loses its data and is sent everything. After each step every server must show the same tree, Stats and lists
included. Without --ours, each way to mix three servers is run.
"""

import argparse
import itertools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import record
from record import Client, Server, buf, create, flag, i32, multi

IDS = (1, 2, 3)


class Ours(Server):
    binary = ""

    def start(self):
        log = open(os.path.join(self.folder, "out"), "ab")
        self.process = subprocess.Popen([self.binary, "serve", self.config], stdout=log, stderr=log, cwd=self.folder)
        return self


class Ensemble:
    def __init__(self, classpath, folder, ours):
        ports = record.free_ports(9)
        self.client = dict(zip(IDS, ports[0:3]))
        quorum, election = dict(zip(IDS, ports[3:6])), dict(zip(IDS, ports[6:9]))
        self.servers = {}
        for me in IDS:
            data = os.path.join(folder, str(me), "data")
            os.makedirs(data)
            with open(os.path.join(data, "myid"), "w") as file:
                file.write(str(me))
            lines = [f"dataDir={data}", f"clientPort={self.client[me]}", "tickTime=1000", "initLimit=10", "syncLimit=5",
                     "commitLogCount=20", "snapshotSizeFactor=-1"]
            lines += [f"server.{other}=127.0.0.1:{quorum[other]}:{election[other]}" for other in IDS]
            kind = Ours if me in ours else Server
            self.servers[me] = kind(classpath, os.path.join(folder, str(me)), "\n".join(lines) + "\n", self.client[me])

    def start(self):
        for server in self.servers.values():
            server.start()
        return {me: server.wait(30) for me, server in self.servers.items()}

    def stop(self):
        for server in self.servers.values():
            server.stop()

    def connect(self, me, **how):
        return Client(self.client[me], "", None).connect(timeout=15000, **how)

    def leader(self):
        """Who leads, once everybody who runs serves."""
        end = time.time() + 20
        while time.time() < end:
            for me, server in self.servers.items():
                if server.process and server.mode() == "leader":
                    for other in self.servers.values():
                        if other.process:
                            other.wait(20)
                    return me
            time.sleep(0.05)
        raise AssertionError("nobody leads")


def ask(client, op, body, expected=0):
    reply = client.call("", op, body)
    found = struct.unpack(">i", reply[12:16])[0]
    assert found == expected, (op, body, found, expected)
    return reply[16:]


def tree(client, path="/"):
    """Everything that a server shows, bytes as they come, but children in order."""
    ask(client, 9, buf("/"))
    seen = {}
    paths = [path]
    for path in paths:
        names = ask(client, 8, buf(path) + flag(False))
        at, children = 4, []
        for _ in range(struct.unpack(">i", names[:4])[0]):
            length = struct.unpack(">i", names[at:at + 4])[0]
            children.append(names[at + 4:at + 4 + length].decode())
            at += 4 + length
        seen[path] = (sorted(children), ask(client, 4, buf(path) + flag(False)), ask(client, 6, buf(path)))
        if not path.startswith("/zookeeper"):
            paths += [path.rstrip("/") + "/" + child for child in sorted(children)]
    return {path: what for path, what in seen.items() if not path.startswith("/zookeeper/")}


def same_trees(ensemble, what):
    trees = {}
    for me, server in ensemble.servers.items():
        if server.process:
            client = ensemble.connect(me)
            trees[me] = tree(client)
            client.close()
    # Every connection leaves two transactions, but no node.
    first, *others = trees.values()
    for other in others:
        assert other == first, (what, {path for path in first.keys() | other.keys() if first.get(path) != other.get(path)})
    return len(first)


def writes(ensemble, name):
    """Writes of each kind through each server that runs; yields the connections."""
    clients = {}
    for me, server in ensemble.servers.items():
        if not server.process:
            continue
        c = clients[me] = ensemble.connect(me)
        root = f"/{name}-{me}"
        ask(c, 15, create(root, b"data"))
        ask(c, 1, create(root + "/null", None))
        ask(c, 1, create(root + "/ephemeral-", b"", flags=3))
        ask(c, 5, buf(root) + buf(b"new") + i32(0))
        ask(c, 5, buf(root) + buf(b"newer") + i32(0), expected=-103)
        ask(c, 7, buf(root) + record.vec([record.ace(31, "world", "anyone"), record.ace(1, "ip", "127.0.0.1")]) + i32(0))
        ask(c, 14, multi((1, create(root + "/m")), (5, buf(root + "/m") + buf(b"1") + i32(0)), (13, buf(root) + i32(1)),
                         (1, create(root + "/s-", flags=2)), (2, buf(root + "/m") + i32(1))))
        ask(c, 14, multi((1, create(root + "/f")), (13, buf(root) + i32(9)), (1, create(root + "/g"))))
        ask(c, 2, buf(root + "/null") + i32(-1))
        ask(c, 2, buf(root) + i32(-1), expected=-111)
    return clients


def scenario(ensemble):
    modes = ensemble.start()
    assert sorted(modes.values()) == ["follower", "follower", "leader"], modes
    clients = writes(ensemble, "first")
    same_trees(ensemble, "after writes through each")

    a = clients[1]
    moved = ensemble.connect(2, session=a.session, password=a.password)
    assert moved.session == a.session
    ask(moved, 1, create("/moved"))
    moved.close()
    clients[2].close()
    same_trees(ensemble, "after a move and two closings")

    leader = ensemble.leader()
    ensemble.servers[leader].process.kill()
    ensemble.servers[leader].stop()
    heir = ensemble.leader()
    writes(ensemble, "second")
    ensemble.servers[leader].start().wait(30)
    same_trees(ensemble, "after the old leader came back")

    for lost in [me for me in IDS if me != heir]:
        ensemble.servers[lost].stop()
        shutil.rmtree(os.path.join(ensemble.servers[lost].folder, "data", "version-2"))
        ensemble.servers[lost].start().wait(30)
        writes(ensemble, f"without-{lost}")
        same_trees(ensemble, f"after {lost} lost its data")

    ensemble.stop()
    ensemble.start()
    nodes = same_trees(ensemble, "after all were stopped")
    return leader, heir, nodes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classpath", required=True)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--ours", action="append", help="which of the servers 1,2,3 are ours")
    args = parser.parse_args()
    Ours.binary = os.path.abspath(args.binary)
    mixes = [tuple(int(me) for me in mix.split(",")) for mix in args.ours or []]
    mixes = mixes or [mix for count in (1, 2) for mix in itertools.combinations(IDS, count)]
    for ours in mixes:
        folder = tempfile.mkdtemp(prefix="mixed-")
        ensemble = Ensemble(args.classpath, folder, ours)
        begun = time.time()
        try:
            leader, heir, nodes = scenario(ensemble)
        except BaseException:
            print(f"ours {ours}: failed, see {folder}")
            raise
        finally:
            ensemble.stop()
        shutil.rmtree(folder)
        word = {me: "ours" if me in ours else "Apache" for me in IDS}
        print(f"ours {ours}: led by {leader} ({word[leader]}), then {heir} ({word[heir]}); {nodes} nodes equal on all; "
              f"{time.time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
