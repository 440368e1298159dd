#!/usr/bin/env python3
"""Runs ensembles of Zabkeeper and Apache ZooKeeper together, and judges them by what clients see.

    mixed.py --apache 3.9.5='…/jars/*' --binary target/release/zabkeeper [--ours 1,2 ...]

Three servers, some of them ours. Clients write through each; a session moves; the leader is killed and comes back; a
follower loses its data and is sent everything. After each step every server must show the same tree, Stats and lists
included. Without --ours, each way to mix three servers is run, with the versions of Apache's in turn.
"""

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import apache
import record
from apache import IDS, Apache, Ours, ask, connect, tree
from record import buf, create, i32, multi


class Ensemble:
    def __init__(self, classpath, folder, ours):
        ports = apache.ports(9)
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
            kind = Ours if me in ours else Apache
            self.servers[me] = kind(classpath, os.path.join(folder, str(me)), "\n".join(lines) + "\n", self.client[me])

    def start(self):
        for server in self.servers.values():
            server.start()
        return {me: server.wait(30) for me, server in self.servers.items()}

    def stop(self):
        for server in self.servers.values():
            server.stop()

    def connect(self, me, **how):
        return connect(self.client[me], **how)

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
        difference = apache.difference(first, other)
        assert not difference, f"{what}: {difference}"
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apache", action="append", required=True, help="VERSION=CLASSPATH")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--ours", action="append", help="which of the servers 1,2,3 are ours")
    parser.add_argument("--json", help="where to write the outcome")
    args = parser.parse_args()
    Ours.binary = os.path.abspath(args.binary)
    versions = itertools.cycle([each.split("=", 1) for each in args.apache])
    mixes = [tuple(int(me) for me in mix.split(",")) for mix in args.ours or []]
    mixes = mixes or [mix for count in (1, 2) for mix in itertools.combinations(IDS, count)]
    nodes = 0
    for ours, (version, classpath) in zip(mixes, versions):
        folder = tempfile.mkdtemp(prefix="mixed-")
        ensemble = Ensemble(classpath, folder, ours)
        begun = time.time()
        try:
            leader, heir, count = scenario(ensemble)
        except BaseException:
            print(f"ours {ours}, Apache {version}: failed, see {folder}")
            raise
        finally:
            ensemble.stop()
        shutil.rmtree(folder)
        nodes += count
        word = {me: "ours" if me in ours else "Apache " + version for me in IDS}
        print(f"ours {ours}: led by {leader} ({word[leader]}), then {heir} ({word[heir]}); {count} nodes equal on all; "
              f"{time.time() - begun:.0f} s", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"ensembles": len(mixes), "nodes": nodes}, file)


if __name__ == "__main__":
    main()
