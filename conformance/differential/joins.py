#!/usr/bin/env python3
"""Two servers of Apache ZooKeeper, 3.8 and 3.9, and one of ours: who comes back is brought up to date in a forced way.

    joins.py --apache 3.8.0='/usr/share/java/…' --apache 3.9.5='…/jars/*' --binary target/release/zabkeeper

Under continuous writes, a leader is killed with SIGKILL, another server takes over, and the old leader comes back by
DIFF, by TRUNC, and by SNAP: each of Apache's under ours, and ours under each of Apache's. What way it was, both ends must
say in their logs; another way than the forced one fails. Behind each join every server must show the same nodes, Stats
and lists, all that was acknowledged among them and nothing of what was cut. In the end our data folder is opened by each
version of Apache ZooKeeper alone, and must show the same.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

import apache
import record
from apache import IDS, Apache, Ours, ask, connect, kill, until, words
from record import buf, create, i32

OURS = 3
KINDS = ("DIFF", "TRUNC", "SNAP")
# What leaders keep in memory to make a DIFF of.
WINDOW = 1000
# Between two writes of a client; a server that is down must not fall behind the window by these alone.
PACE = 0.04

# How servers say it: leaders of learner {0}, and learners.
APACHE_SENDS = {"DIFF": r"Sending DIFF zxid=\S+ +for peer sid: {0}\b", "SNAP": r"Sending snapshot last zxid of peer is",
                "TRUNC": r"Sending TRUNC (?:zxid=\S+ +for peer sid: ?{0}\b|to follower zxidToSend=\S+ for peer sid: ?{0}\b)"}
APACHE_TAKES = {"DIFF": r"Getting a diff from the leader", "SNAP": r"Getting a snapshot from leader",
                "TRUNC": r"Truncating log to get in sync with the leader"}
WE_SEND = {"DIFF": r"bringing a learner up to date peer={0} .*how=Diff", "SNAP": r"bringing a learner up to date peer={0} .*how=Snap",
           "TRUNC": r"bringing a learner up to date peer={0} .*how=Trunc"}
WE_TAKE = {"DIFF": r"being brought up to date .*how=\"Diff\"", "SNAP": r"being brought up to date .*how=\"Snap\"",
           "TRUNC": r"being brought up to date .*how=\"Trunc\""}


class Ensemble:
    def __init__(self, classpaths, folder):
        self.client, quorum, election = (dict(zip(IDS, apache.ports(3))) for _ in range(3))
        self.servers, self.data = {}, {}
        for me in IDS:
            self.data[me] = os.path.join(folder, str(me), "data")
            os.makedirs(self.data[me])
            with open(os.path.join(self.data[me], "myid"), "w") as file:
                file.write(f"{me}\n")
            # Apache's leaders would read their logs on disk too, which could make a DIFF of what is to be a SNAP.
            lines = [f"dataDir={self.data[me]}", f"clientPort={self.client[me]}", "tickTime=1000", "admin.enableServer=false", "initLimit=20",
                     "syncLimit=10", f"commitLogCount={WINDOW}", "snapshotSizeFactor=-1", "maxClientCnxns=0"]
            lines += [f"server.{each}=127.0.0.1:{quorum[each]}:{election[each]}" for each in IDS]
            kind = Ours if me == OURS else Apache
            classpath = "" if me == OURS else classpaths[me - 1]
            self.servers[me] = kind(classpath, os.path.join(folder, str(me)), "\n".join(lines) + "\n", self.client[me])

    def start(self, *ids):
        for me in ids:
            self.servers[me].start()

    def kill(self, me):
        kill(self.servers[me])

    def roles(self, roles):
        """Waits until these servers play these parts."""
        def all_do():
            for me in roles:
                code = self.servers[me].process.poll()
                assert code is None, f"server {me} has ended by itself ({code})"
            return {me: self.servers[me].mode() for me in roles} == roles
        until(f"roles {roles}", 60, all_do)

    def connect(self, me):
        return connect(self.client[me])

    def stop(self):
        for server in self.servers.values():
            kill(server)


class Load:
    """A client at each server that creates nodes, again and again, whoever is there. Keeps what was acknowledged."""

    def __init__(self, ensemble):
        self.ensemble, self.acknowledged, self.paused, self.ending = ensemble, set(), False, False
        self.locks = {me: threading.Lock() for me in IDS}
        self.threads = [threading.Thread(target=self.run, args=(me,), daemon=True) for me in IDS]
        for thread in self.threads:
            thread.start()

    def run(self, me):
        client, number = None, 0
        while not self.ending:
            with self.locks[me]:
                if not self.paused:
                    client = self.write(client, me, number)
                    number += 1
            time.sleep(PACE)

    def write(self, client, me, number):
        path = f"/load-{me}-{number}"
        try:
            if not client:
                client = connect(self.ensemble.client[me], timeout=15000)
                client.sock.settimeout(3)
            ask(client, 1, create(path, b"d" * 50))
            self.acknowledged.add(path)
            return client
        except (OSError, EOFError, AssertionError):
            if client:
                client.sock.close()
            time.sleep(0.1)
            return None

    def pause(self):
        """Behind this no write is under way."""
        self.paused = True
        for lock in self.locks.values():
            with lock:
                pass

    def go_on(self):
        self.paused = False

    def more(self, count):
        """Waits until this many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        until(f"{count} more writes", 40, lambda: len(self.acknowledged) >= wanted)

    def end(self):
        self.ending = True
        for thread in self.threads:
            thread.join(20)


def burst(client, count, bytes_each, name=None):
    """Writes many at once: new nodes, or, without a name, to the same again. Does not wait for replies."""
    for number in range(count):
        client.xid += 1
        body = i32(1) + create(f"/{name}-{number}") if name else i32(5) + buf("/burst") + buf(b"b" * bytes_each) + i32(-1)
        client.sock.sendall(buf(i32(client.xid) + body))


def have_lead(ensemble, load, leader, follower, third):
    """Has a server lead with one follower, the third being down and behind."""
    ensemble.kill(follower)
    until(f"{leader} and {third} serve", 60,
          lambda: {ensemble.servers[leader].mode(), ensemble.servers[third].mode()} == {"leader", "follower"})
    load.more(20)
    # Neither may have what the other has not.
    load.pause()
    time.sleep(0.5)
    ensemble.kill(third)
    ensemble.start(follower)
    ensemble.roles({leader: "leader", follower: "follower"})
    load.go_on()
    load.more(20)


def take_over(ensemble, load, old, new, kind):
    """The old leader is killed; a new one leads; the old one comes back. Returns the name of what was written and must be gone,
    and how often the old leader had to come again."""
    third = next(me for me in IDS if me not in (old, new))
    have_lead(ensemble, load, old, new, third)
    load.pause()
    time.sleep(0.5)
    foreign = f"foreign-{len(load.acknowledged)}"
    if kind == "TRUNC":
        # What nobody but the leader gets: the follower is stopped, and what waits in its sockets dies with it.
        client = ensemble.connect(old)
        stop(ensemble.servers[new].process)
        burst(client, 40, 0, foreign)
        until("the leader has logged what nobody else has", 20, lambda: is_logged(ensemble.data[old], f"/{foreign}-39"))
        ensemble.kill(old)
        ensemble.kill(new)
        ensemble.start(new)
    else:
        ensemble.kill(old)
    ensemble.start(third)
    ensemble.roles({new: "leader", third: "follower"})
    # Apache's leaders cut nobody's log once there is a transaction of their own epoch: they send a SNAP instead.
    early = kind != "TRUNC" or new == OURS
    if early:
        load.go_on()
        load.more(20)
    if kind == "SNAP":
        client = ensemble.connect(new)
        burst(client, 2 * WINDOW, 2000)
        while int.from_bytes(client.receive("")[:4]) != client.xid:
            pass
        client.close()
    said = os.path.getsize(os.path.join(ensemble.servers[new].folder, "out"))
    ensemble.start(old)
    if not early:
        until("the sync begins", 30, lambda: "being brought up to date" in words(ensemble.servers[old]))
        load.go_on()
    ensemble.roles({old: "follower"})
    load.more(20)
    with open(os.path.join(ensemble.servers[new].folder, "out"), "rb") as file:
        file.seek(said)
        sent = file.read().decode(errors="replace")
    return foreign, check_kind(kind, new, old, sent, words(ensemble.servers[old]))


def stop(process):
    """Every thread of it, which takes a moment."""
    process.send_signal(signal.SIGSTOP)

    def stopped():
        for task in os.listdir(f"/proc/{process.pid}/task"):
            with open(f"/proc/{process.pid}/task/{task}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] != "T":
                    return False
        return True
    until("the follower is stopped", 20, stopped)


def is_logged(data, path):
    folder = os.path.join(data, "version-2")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            if path.encode() in file.read():
                return True
    return False


def check_kind(kind, leader, learner, sent, taken):
    """Fails if it was another way; returns how often an Apache learner fell over its own feet and came again.

    ZOOKEEPER-4394: a commit between NEWLEADER and UPTODATE, of a proposal before them, is an exception to its learners. It
    comes again as one that lacks little then, if anything."""
    again = len(re.findall(r'NullPointerException: Cannot read field "hdr" because "pif" is null', taken))
    for who, text, patterns in ((leader, sent, WE_SEND if leader == OURS else APACHE_SENDS),
                                (learner, taken, WE_TAKE if learner == OURS else APACHE_TAKES)):
        told = sorted((each.start(), name) for name in KINDS for each in re.finditer(patterns[name].format(learner), text))
        found = [name for _, name in told]
        assert found and found[0] == kind, f"server {who} tells of {found}, not of {kind}"
        assert found[1:] in ([], ["DIFF"] * again), f"server {who} tells of {found} with {again} known exceptions"
    return again


def equal(ensemble, load, what, gone=None):
    """Every server shows the same, with everything that was acknowledged."""
    load.pause()
    trees = {}
    for me in IDS:
        client = ensemble.connect(me)
        trees[me] = apache.tree(client)
        client.close()
    for me in IDS[1:]:
        difference = apache.difference(trees[IDS[0]], trees[me])
        assert not difference, f"{what}: server {me} shows another state than server 1: {difference}"
    missing = load.acknowledged - trees[OURS].keys()
    assert not missing, f"{what}: {len(missing)} acknowledged writes are lost, such as {min(missing)}"
    there = [path for path in trees[OURS] if gone and path.startswith("/" + gone)]
    assert not there, f"{what}: {len(there)} writes that no quorum had are there"
    load.go_on()
    return trees[OURS]


def alone(ensemble, versions, folder, shown):
    """Our data folder, opened by each version of Apache's."""
    for version, classpath in versions:
        home = os.path.join(folder, "alone-" + version)
        data = os.path.join(home, "data")
        shutil.copytree(ensemble.data[OURS], data)
        port = apache.ports(1)[0]
        server = Apache(classpath, home, f"dataDir={data}\nclientPort={port}\ntickTime=1000\n", port)
        try:
            server.start().wait(60)
            client = connect(port)
            difference = apache.difference(shown, apache.tree(client))
            client.close()
            assert not difference, f"Apache {version} shows another state in our folder: {difference}"
        finally:
            kill(server)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apache", action="append", required=True, help="VERSION=CLASSPATH, of two versions")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--json", help="where to write the outcome")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this way; else each")
    args = parser.parse_args()
    versions = [each.split("=", 1) for each in args.apache]
    Ours.binary = os.path.abspath(args.binary)
    folder = tempfile.mkdtemp(prefix="joins-")
    print(f"data and output: {folder}", flush=True)
    names = {1: "Apache " + versions[0][0], 2: "Apache " + versions[1][0], OURS: "Zabkeeper"}
    ensemble = Ensemble([classpath for _, classpath in versions], folder)
    joins = repeated = 0
    try:
        ensemble.start(*IDS)
        until("all serve", 60, lambda: sorted(server.mode() or "" for server in ensemble.servers.values())
              == ["follower", "follower", "leader"])
        client = ensemble.connect(OURS)
        ask(client, 1, create("/burst"))
        client.close()
        load = Load(ensemble)
        for old, new in ((1, OURS), (2, OURS), (OURS, 1), (OURS, 2)):
            for kind in args.kind or KINDS:
                begun = time.time()
                gone, again = take_over(ensemble, load, old, new, kind)
                repeated += again
                nodes = len(equal(ensemble, load, f"{names[old]} back by {kind}", gone))
                joins += 1
                print(f"{names[old]} led and was killed, {names[new]} took over and brought it back by {kind}; {nodes} "
                      f"nodes equal on all; {time.time() - begun:.0f} s", flush=True)
        load.end()
        shown = equal(ensemble, load, "in the end")
        ensemble.stop()
        alone(ensemble, versions, folder, shown)
    finally:
        ensemble.stop()
    shutil.rmtree(folder)
    outcome = {"joins": joins, "joins_repeated": repeated, "writes": len(load.acknowledged), "nodes": len(shown)}
    print(f"our data folder opens under each version of Apache ZooKeeper alone; {json.dumps(outcome)}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(outcome, file)


if __name__ == "__main__":
    main()
