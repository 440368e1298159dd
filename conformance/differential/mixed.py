#!/usr/bin/env python3
"""Runs ensembles of Zabkeeper and Apache ZooKeeper together, and judges them by what clients see.

    mixed.py --apache 3.9.5='…/jars/*' --binary target/release/zabkeeper [--ours 1,2 ...]
    mixed.py --apache 3.9.5='…/jars/*' --binary target/release/zabkeeper --observed

Three servers, some of them ours. Clients write through each, and nodes end by themselves; a session moves; the leader is killed and comes back; a
follower loses its data and is sent everything. After each step every server must show the same tree, Stats and lists
included. Without --ours, each way to mix three servers is run, with the versions of Apache's in turn.

Then the same voters have observers, with each version: ours learns from Apache's leaders, and Apache's from ours. They serve and forward,
die and come back, lose their data, find the next leader, and keep none in office that has lost its quorum. --observed
runs these alone.

Last, a leader of Apache's logs what nobody else gets, in an epoch of which the others have nothing, and comes back to a
leader of ours: that must be gone for good. --orphaned runs this alone.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import shutil
import socket
import struct
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import apache
import record
from apache import IDS, Apache, Ours, ask, connect, tree
from record import buf, create, flag, i32, i64, multi


# Observers, ours and Apache's: voters that are ours, and which observers there are and whose.
OBSERVED = [((), {4: Ours}), ((1, 2, 3), {4: Apache}), ((3,), {4: Apache, 5: Ours})]


# Syncs or writes that a client sends at once.
CROWD = 200


class Ensemble:
    def __init__(self, classpath, folder, ours, observers=()):
        self.observers = dict(observers)
        # Nodes that stay, and whose creation was acknowledged.
        self.acknowledged = set()
        ids = (*IDS, *self.observers)
        self.client, quorum, election = (dict(zip(ids, apache.ports(len(ids)))) for _ in range(3))
        self.servers = {}
        for me in ids:
            data = os.path.join(folder, str(me), "data")
            os.makedirs(data)
            with open(os.path.join(data, "myid"), "w") as file:
                file.write(str(me))
            lines = [f"dataDir={data}", f"clientPort={self.client[me]}", "tickTime=1000", "admin.enableServer=false", "initLimit=10", "syncLimit=5",
                     "commitLogCount=20", "snapshotSizeFactor=-1", "extendedTypesEnabled=true",
                     "znode.container.checkIntervalMs=500"]
            lines += [f"server.{other}=127.0.0.1:{quorum[other]}:{election[other]}"
                      + (":observer" if other in self.observers else "") for other in ids]
            if me in self.observers:
                lines.append("peerType=observer")
            kind = self.observers.get(me, Ours if me in ours else Apache)
            # Apache's look for this among Java's properties alone.
            self.servers[me] = kind(classpath, os.path.join(folder, str(me)), "\n".join(lines) + "\n", self.client[me],
                                    ["-Dznode.container.checkIntervalMs=500"])

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
    """How many nodes every server shows. Sessions of servers that were killed expire meanwhile, and their ephemerals go
    between one server's answer and the next: so trees that differ are read again, for longer than that takes."""
    end = time.time() + 30
    while True:
        difference = None
        try:
            trees = read_trees(ensemble)
            lost = ensemble.acknowledged - trees[0].keys()
            difference = f"acknowledged, and gone: {sorted(lost)}" if lost else None
            for other in trees[1:]:
                difference = difference or apache.difference(trees[0], other)
        except AssertionError as gone:
            difference = gone
        if not difference:
            return len(trees[0])
        assert time.time() < end, f"{what}: {difference}"
        time.sleep(1)


def read_trees(ensemble):
    trees = []
    for me, server in ensemble.servers.items():
        if server.process:
            client = ensemble.connect(me)
            trees.append(tree(client))
            # Every connection leaves two transactions, but no node.
            client.close()
    return trees


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
        ensemble.acknowledged.add(root)
    return clients


def crowded(ensemble, name):
    """Sessions of one server sync and write beside each other without waiting for answers, and every one is answered."""
    for me, server in ensemble.servers.items():
        if not server.process:
            continue
        root = f"/{name}-{me}"
        first = ensemble.connect(me)
        ask(first, 1, create(root))
        ensemble.acknowledged.add(root)
        first.close()
        requests = [(9, buf(root)), (5, buf(root) + buf(b"data") + i32(-1))]
        clients = [(ensemble.connect(me), *requests[place % 2]) for place in range(6)]

        def answered(client, op, body):
            for xid in range(1, CROWD + 1):
                client.send("", i32(xid) + i32(op) + body)
            for xid in range(1, CROWD + 1):
                reply = client.receive("")
                assert reply[:4] + reply[12:16] == i32(xid) + i32(0), f"request {xid} is answered by {reply[:16]}"
            client.close()

        with concurrent.futures.ThreadPoolExecutor(len(clients)) as threads:
            waits = [threads.submit(answered, *client) for client in clients]
            for wait in waits:
                try:
                    wait.result()
                except (TimeoutError, EOFError):
                    raise AssertionError(f"server {me} answers a crowd of syncs and writes no longer") from None


def endings(ensemble, name):
    """Nodes that end by themselves do on every server, and others of their kind stay."""
    gone, stays = [], []
    for me, server in ensemble.servers.items():
        if not server.process:
            continue
        c, root = ensemble.connect(me), f"/{name}-{me}"
        for path, more in (("-used", [0]), ("-unused", []), ("-in-use", [0, 1])):
            ask(c, 19, create(root + path, flags=4))
            for child in more:
                ask(c, 1, create(f"{root}{path}/{child}"))
        ask(c, 2, buf(root + "-used/0") + i32(-1))
        ask(c, 2, buf(root + "-in-use/0") + i32(-1))
        ask(c, 21, create(root + "-short", flags=5) + i64(300))
        ask(c, 21, create(root + "-long", flags=5) + i64(3_600_000))
        ask(c, 14, multi((19, create(root + "-many", flags=4)), (1, create(root + "-many/0")), (2, buf(root + "-many/0") + i32(-1))))
        gone += [root + path for path in ("-used", "-short", "-many")]
        stays += [root + path for path in ("-unused", "-in-use", "-long")]
        c.close()
    for me, server in ensemble.servers.items():
        if server.process:
            c = ensemble.connect(me)
            error = lambda path: struct.unpack(">i", c.call("", 3, buf(path) + flag(False))[12:16])[0]
            apache.until(f"{gone} are gone at {me}", 20, lambda: all(error(path) == -101 for path in gone))
            assert all(error(path) == 0 for path in stays), f"not all of {stays} are at {me}"
            c.close()


def scenario(ensemble):
    modes = ensemble.start()
    assert sorted(modes.values()) == ["follower", "follower", "leader"], modes
    clients = writes(ensemble, "first")
    same_trees(ensemble, "after writes through each")
    endings(ensemble, "ends")
    crowded(ensemble, "crowd")

    a = clients[1]
    moved = ensemble.connect(2, session=a.session, password=a.password)
    assert moved.session == a.session
    ask(moved, 1, create("/moved"))
    ensemble.acknowledged.add("/moved")
    moved.close()
    clients[2].close()
    same_trees(ensemble, "after a move and two closings")

    leader = ensemble.leader()
    ensemble.servers[leader].process.kill()
    ensemble.servers[leader].stop()
    heir = ensemble.leader()
    writes(ensemble, "second")
    endings(ensemble, "ends-too")
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


def protocol_kept(ensemble):
    """None of ours has dropped a link because of what came on it."""
    for me, server in ensemble.servers.items():
        if isinstance(server, Ours):
            for complaint in ("broke the protocol", "lists differ", "strangers were refused"):
                assert complaint not in apache.words(server), f"server {me} says: {complaint}"


def observed(ensemble):
    modes = ensemble.start()
    voters = sorted(modes.pop(me) for me in IDS)
    assert voters == ["follower", "follower", "leader"] and set(modes.values()) == {"observer"}, (voters, modes)
    clients = writes(ensemble, "first")
    crowded(ensemble, "crowd")
    same_trees(ensemble, "after writes through each")

    # A session moves to an observer, and from there to a voter.
    observer, a = next(iter(ensemble.observers)), clients[1]
    for at in (observer, 2):
        moved = ensemble.connect(at, session=a.session, password=a.password)
        assert moved.session == a.session
        ask(moved, 1, create(f"/moved-to-{at}"))
    moved.close()
    for me, client in clients.items():
        if me != 1:
            client.close()
    same_trees(ensemble, "after moves and closings")

    # Killed: nobody waits for them. They come back by what they lack, then by everything.
    for loses_data in (False, True):
        for me in ensemble.observers:
            apache.kill(ensemble.servers[me])
        protocol_kept(ensemble)
        writes(ensemble, f"without-observers-{loses_data}")
        for me in ensemble.observers:
            if loses_data:
                shutil.rmtree(os.path.join(ensemble.servers[me].folder, "data", "version-2"))
            assert ensemble.servers[me].start().wait(30) == "observer"
        same_trees(ensemble, f"after observers were killed, data lost: {loses_data}")

    leader = ensemble.leader()
    apache.kill(ensemble.servers[leader])
    heir = ensemble.leader()
    writes(ensemble, "second")
    same_trees(ensemble, "under the next leader")
    ensemble.servers[leader].start().wait(30)
    same_trees(ensemble, "after the old leader came back")

    # Two of three voters are dead, and the observers live.
    protocol_kept(ensemble)
    for me in IDS:
        if me != heir:
            apache.kill(ensemble.servers[me])
    living = [server for server in ensemble.servers.values() if server.process]
    apache.until("nobody serves without a quorum", 20, lambda: not any(server.mode() for server in living))
    for _ in range(20):
        time.sleep(0.1)
        assert not any(server.mode() for server in living), "somebody serves without a quorum"
    for server in ensemble.servers.values():
        if not server.process:
            server.start()
    ensemble.leader()
    writes(ensemble, "third")
    same_trees(ensemble, "after the quorum came back")

    protocol_kept(ensemble)
    ensemble.stop()
    ensemble.start()
    nodes = same_trees(ensemble, "after all were stopped")
    protocol_kept(ensemble)
    return leader, heir, nodes


def orphaned(ensemble):
    servers, third = ensemble.servers, ensemble.servers[3]
    address = ("127.0.0.1", ensemble.client[3])

    def listens():
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            return False
        return True

    def led_by_the_third():
        third.start()
        apache.until("server 3 looks for a leader", 20, listens)
        servers[1].start()
        assert third.wait(30) == "leader"
        assert servers[2].start().wait(30) == "follower"

    def logs(epoch):
        names = os.listdir(os.path.join(third.folder, "data", "version-2"))
        return [name for name in names if name.startswith("log.") and int(name[4:], 16) >> 32 == epoch]

    led_by_the_third()
    client = ensemble.connect(3)
    ask(client, 1, create("/before"))
    client.close()
    ensemble.stop()
    # An epoch without a transaction; then one that its leader alone gets, the opening of a session.
    led_by_the_third()
    apache.kill(servers[1])
    apache.kill(servers[2])
    with socket.create_connection(address, 1) as asking:
        asking.sendall(buf(i32(0) + i64(0) + i32(10_000) + i64(0) + buf(bytes(16)) + flag(False)))
        apache.until("server 3 has logged it", 5, lambda: logs(2))
    apache.kill(third)
    servers[1].start()
    servers[2].start()
    leader = ensemble.leader()
    assert third.start().wait(30) == "follower"
    apache.until("what nobody else has is cut", 5, lambda: not logs(2))
    writes(ensemble, "behind")
    same_trees(ensemble, "after the orphan was cut")
    apache.kill(third)
    assert third.start().wait(30) == "follower"
    protocol_kept(ensemble)
    return 3, leader, same_trees(ensemble, "after the third started again")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apache", action="append", required=True, help="VERSION=CLASSPATH")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--ours", action="append", help="which of the servers 1,2,3 are ours")
    parser.add_argument("--observed", action="store_true", help="only ensembles with observers")
    parser.add_argument("--orphaned", action="store_true", help="only a leader of Apache's with a transaction of its own")
    parser.add_argument("--json", help="where to write the outcome")
    args = parser.parse_args()
    Ours.binary = os.path.abspath(args.binary)
    versions = itertools.cycle([each.split("=", 1) for each in args.apache])
    mixes = [(tuple(int(me) for me in mix.split(",")), {}) for mix in args.ours or []]
    if not mixes and not args.observed and not args.orphaned:
        mixes = [(mix, {}) for count in (1, 2) for mix in itertools.combinations(IDS, count)]
    runs = [(scenario, *pair) for pair in zip(mixes, versions)]
    each_version = [each.split("=", 1) for each in args.apache]
    if not args.ours and not args.orphaned:
        runs += itertools.product([observed], OBSERVED, each_version)
    if not args.ours and not args.observed:
        runs += itertools.product([orphaned], [((1, 2), {})], each_version)
    nodes = 0
    for run, (ours, observers), (version, classpath) in runs:
        folder = tempfile.mkdtemp(prefix="mixed-")
        ensemble = Ensemble(classpath, folder, ours, observers)
        word = {me: "ours" if isinstance(server, Ours) else "Apache " + version for me, server in ensemble.servers.items()}
        watching = "".join(f", observed by {me} ({word[me]})" for me in observers)
        begun = time.time()
        try:
            leader, heir, count = run(ensemble)
        except BaseException:
            print(f"ours {ours}{watching}, Apache {version}: failed, see {folder}")
            raise
        finally:
            ensemble.stop()
        shutil.rmtree(folder)
        nodes += count
        print(f"ours {ours}: led by {leader} ({word[leader]}), then {heir} ({word[heir]}){watching}; {count} nodes equal "
              f"on all; {time.time() - begun:.0f} s", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"ensembles": len(runs), "nodes": nodes}, file)


if __name__ == "__main__":
    main()
