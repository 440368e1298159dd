#!/usr/bin/python3
"""Two PostgreSQL nodes that Patroni keeps through ZooKeeper, under writes, while what they lean on is killed.

    patroni.py --binary ZABKEEPER --apache 'JARS/*' [--kills 3] [--json FILE]

One client writes numbers to whoever is primary, one row at a time, with synchronous_mode on. The leader of the
ensemble is killed and brought back, several times; then the primary node is, Patroni and PostgreSQL at once. The standby
must be promoted, never may two nodes be primary at the same time (Patroni's REST API and pg_is_in_recovery() of both are
asked every 100 ms), and every row that was acknowledged must be there. The dead node comes back and must become a
standby with the same rows. Then the new primary is killed, and the leader of the ensemble with it, before the dead
node's session has ended: the new leader has to end it. The first node must be promoted, and the other come back.

Needs Debian's `patroni`, `python3-kazoo`, `python3-psycopg2` and `postgresql`, and thus Debian's python3; runs as root,
the nodes as `postgres`. Runs on Apache's servers (--apache), on ours (--binary), or on both in this order. Ends with 0
if all is well, and with 1 if not.
"""

import glob
import itertools
import json
import os
import pwd
import sys
import threading
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True

import applications
from applications import Failure, kill_tree, spawn
from apache import ports, until

try:
    import psycopg2
except ImportError:
    sys.exit(f"{sys.executable} has no psycopg2: apt-get install patroni python3-kazoo python3-psycopg2 postgresql, and "
             "start this with /usr/bin/python3")

USER = "postgres"
NODES = ("one", "two")
# Seconds: Patroni's leader key, which is its session's timeout too; its round; what it gives a request to ZooKeeper.
TTL, ROUND, RETRY = 20, 2, 5
# Seconds: between two looks at a node, and between two rows.
LOOK, ROW = 0.1, 0.01
# Seconds: how long a server stays down, and how long all is left alone behind its return.
DOWN, CALM = 5, 5
# Seconds: between the second kill of a primary and that of the leader.
BETWEEN = 2
PATIENCE = 90
# Rows that are acknowledged before the first kill.
FIRST_ROWS = 100

CONFIG = """scope: application
name: {name}
restapi:
  listen: 127.0.0.1:{rest}
  connect_address: 127.0.0.1:{rest}
zookeeper:
  hosts: {hosts}
bootstrap:
  dcs:
    ttl: {ttl}
    loop_wait: {round}
    retry_timeout: {retry}
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters:
        wal_keep_size: 128MB
        max_connections: 30
  initdb:
    - encoding: UTF8
    - data-checksums
    - auth: trust
  pg_hba:
    - local all all trust
    - host all all 127.0.0.1/32 trust
    - host replication all 127.0.0.1/32 trust
postgresql:
  listen: 127.0.0.1:{port}
  connect_address: 127.0.0.1:{port}
  data_dir: {data}
  bin_dir: {programs}
  pgpass: {folder}/pgpass
  authentication:
    superuser: {{username: postgres}}
    replication: {{username: replicator}}
  parameters:
    unix_socket_directories: {folder}
"""


class Node:
    """Patroni and the PostgreSQL that it keeps."""

    def __init__(self, name, folder, hosts):
        self.name, self.folder = name, os.path.join(folder, name)
        self.port, self.rest = ports(2)
        self.user = pwd.getpwnam(USER)
        os.mkdir(self.folder, 0o700)
        os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
        if not programs:
            raise Failure("no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql")
        self.data = os.path.join(self.folder, "data")
        self.config = os.path.join(folder, f"{name}.yml")
        with open(self.config, "w") as file:
            file.write(CONFIG.format(name=name, rest=self.rest, hosts=json.dumps(hosts), ttl=TTL, round=ROUND, retry=RETRY,
                                     port=self.port, data=self.data, programs=programs[-1], folder=self.folder))
        self.process = None

    def start(self):
        # No setting of PostgreSQL's from outside, and nothing of root's.
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        self.process = spawn(["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", "--pdeathsig", "KILL",
                              "patroni", self.config], self.folder + ".log", cwd=self.folder, env=environment)

    def kill(self):
        """kill -9 of Patroni and of PostgreSQL, which is no child of it."""
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            postmaster = int(file.readline())
        kill_tree(self.process.pid)
        kill_tree(postmaster)
        self.process.wait(30)

    def ask(self, what="patroni"):
        """What Patroni says of its node, whatever the status; None if there is no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/{what}", timeout=2) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                return json.load(error)
            except ValueError:
                return None
        except (OSError, ValueError):
            return None

    def connect(self):
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres",
                                      connect_timeout=2)
        connection.autocommit = True
        return connection

    def query(self, text):
        """The rows of an answer; None if there is none."""
        try:
            connection = self.connect()
        except psycopg2.Error:
            return None
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall()
        except psycopg2.Error:
            return None
        finally:
            connection.close()


class Looks:
    """Everything that a node says of being primary, in two ways, each in a thread of its own. A look is when it was
    asked, when it was answered, and whether the node is primary; no answer is no."""

    def __init__(self, nodes):
        self.seen = {(node.name, way): [] for node in nodes for way in ("REST", "SQL")}
        self.over = False
        self.threads = [threading.Thread(target=self.watch, args=(node, way, look), daemon=True)
                        for node in nodes for way, look in (("REST", self.rest), ("SQL", self.sql()))]
        for thread in self.threads:
            thread.start()

    def watch(self, node, way, look):
        seen = self.seen[node.name, way]
        while not self.over:
            asked = time.time()
            primary = look(node)
            answered = time.time()
            seen.append((asked, answered, primary))
            time.sleep(max(0, LOOK - (answered - asked)))

    @staticmethod
    def rest(node):
        found = node.ask()
        return bool(found) and found.get("role") in ("master", "primary") and found.get("state") == "running"

    @staticmethod
    def sql():
        kept = []

        def look(node):
            try:
                if not kept:
                    kept.append(node.connect())
                with kept[0].cursor() as cursor:
                    cursor.execute("select pg_is_in_recovery()")
                    return not cursor.fetchone()[0]
            except psycopg2.Error:
                kept.clear()
                return False
        return look

    def stop(self):
        self.over = True
        for thread in self.threads:
            thread.join(10)

    def reigns(self, name, way):
        """When a node was primary for sure: from the first answer that says so until the last question that was
        answered so, with no other answer between."""
        found = []
        for primary, looks in itertools.groupby(self.seen[name, way], key=lambda look: look[2]):
            looks = list(looks)
            if primary:
                found.append((looks[0][1], max(looks[-1][0], looks[0][1])))
        return found

    def overlap(self):
        """The longest time for which both nodes were primary for sure, whichever way each said so; less than nothing is
        the shortest time between the reigns of two. None if there was but one primary."""
        one, two = ([reign for way in ("REST", "SQL") for reign in self.reigns(name, way)] for name in NODES)
        return max((min(a[1], b[1]) - max(a[0], b[0]) for a in one for b in two), default=None)


def check_overlap():
    """The judge of reigns, judged itself: it sees a reign within another, a single look included, and no more."""
    looks = object.__new__(Looks)
    for other, expected in (([(4, 5, True), (6, 7, True)], 1), ([(4, 5, True), (6, 7, False)], 0),
                            ([(1, 2, False), (14, 15, True), (16, 17, True)], -7), ([(4, 5, False)], None)):
        looks.seen = {(name, way): [] for name in NODES for way in ("REST", "SQL")}
        looks.seen["one", "REST"] = [(0, 1, True), (2, 3, True), (8, 9, True), (10, 11, False)]
        looks.seen["two", "SQL"] = other
        found = looks.overlap()
        assert found == expected, f"looks of {other} overlap for {found}, not {expected}"


class Writer:
    """Writes rows to whoever is primary, one at a time. A row counts as acknowledged only if its commit was reported
    without a warning: PostgreSQL reports a wait for the standby that was given up as one."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.acknowledged = []
        self.warned = 0
        self.errors = 0
        self.over = False
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def write(self):
        number = 0
        connection = None
        while not self.over:
            number += 1
            try:
                if connection is None:
                    connection = psycopg2.connect(
                        host=",".join("127.0.0.1" for _ in self.nodes), port=",".join(str(node.port) for node in self.nodes),
                        user="postgres", dbname="postgres", connect_timeout=2, target_session_attrs="read-write")
                    connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("insert into rows (number) values (%s)", (number,))
                if connection.notices:
                    self.warned += 1
                    connection.notices.clear()
                else:
                    self.acknowledged.append((time.time(), number))
            except psycopg2.Error:
                self.errors += 1
                connection = None
                time.sleep(5 * ROW)
            time.sleep(ROW)

    def stop(self):
        self.over = True
        self.thread.join(10)

    def gap(self, since=0, until_then=float("inf")):
        """The longest time without an acknowledged row."""
        times = [at for at, _ in list(self.acknowledged) if since <= at <= until_then]
        return round(max((later - sooner for sooner, later in zip(times, times[1:])), default=0), 2)


def primary(nodes):
    """Who is primary by its own word and in office."""
    return next((node for node in nodes if Looks.rest(node)), None)


def synchronous(node):
    """Whether the primary has a synchronous standby by its own word and by what Patroni keeps in ZooKeeper, which comes
    later: a standby that is not named there is not promoted."""
    named = any(member.get("role") == "sync_standby" for member in (node.ask("cluster") or {}).get("members", []))
    return named and node.query("select 1 from pg_stat_replication where sync_state in ('sync', 'quorum')")


def drive(ensemble, folder, story, told, args):
    nodes = [Node(name, folder, ensemble.hosts) for name in NODES]
    for node in nodes:
        node.start()
    first = until("a primary", PATIENCE, lambda: primary(nodes))
    until("a synchronous standby", PATIENCE, lambda: synchronous(first))
    second = next(node for node in nodes if node is not first)
    story.tell(f"node {first.name} is primary, {second.name} its synchronous standby")
    if first.query("create table rows (number bigint primary key) ; select 1") is None:
        raise Failure("the primary makes no table")
    looks, writer = Looks(nodes), Writer(nodes)
    try:
        until("the first rows", PATIENCE, lambda: len(writer.acknowledged) >= FIRST_ROWS)
        kills(ensemble, story, told, args, nodes, first, writer)
        told["failovers"] = []
        failover(ensemble, story, told, first, second, writer)
        failover(ensemble, story, told, second, first, writer)
    finally:
        writer.stop()
        looks.stop()
    overlap = looks.overlap()
    told["looks"] = sum(len(seen) for seen in looks.seen.values())
    if overlap is None:
        raise Failure("only one node was ever seen as the primary, though the other was promoted")
    told["overlap"] = max(0, round(overlap, 2))
    told["between_primaries"] = max(0, round(-overlap, 2))
    if overlap >= 0:
        raise Failure(f"two nodes were primary at once, for {overlap:.2f} s")
    story.tell(f"{told['looks']} looks, never two primaries at once: {told['between_primaries']} s between them")


def kills(ensemble, story, told, args, nodes, first, writer):
    """The leader of the ensemble dies and comes back, while PostgreSQL is to go on as if nothing were."""
    told["leader_kills"], told["gaps"] = args.kills, []
    for _ in range(args.kills):
        before, began = len(writer.acknowledged), time.time()
        dead = ensemble.kill_leader(story)
        time.sleep(DOWN)
        ensemble.bring_back(dead, story)
        time.sleep(CALM)
        gap = writer.gap(began - 1)
        told["gaps"].append(gap)
        now = until("a primary behind the kill", PATIENCE, lambda: primary(nodes))
        rows = len(writer.acknowledged) - before
        story.tell(f"node {now.name} is primary, {rows} rows later; longest gap {gap} s")
        if now is not first:
            raise Failure(f"the primary moved from {first.name} to {now.name}, though every node was well")
        if not rows:
            raise Failure("no row was acknowledged from the kill of the leader on")


def failover(ensemble, story, told, old, new, writer):
    """The primary node dies; for the second time, the leader of the ensemble does too, before the dead node's session
    has ended. The standby is promoted, and the dead node comes back as one."""
    seen = {}
    until("a synchronous standby before the kill of the primary", PATIENCE, lambda: synchronous(old))
    old.kill()
    killed = story.tell(f"node {old.name}, the primary, is killed with its Patroni")
    dead = None
    if told["failovers"]:
        time.sleep(BETWEEN)
        dead = ensemble.kill_leader(story)
    before = len(writer.acknowledged)
    until("the standby as the primary", PATIENCE, lambda: Looks.rest(new))
    seen["takeover"] = round(time.time() - killed, 2)
    story.tell(f"node {new.name} is primary {seen['takeover']} s after the kill")
    # One row may have been acknowledged before the kill and counted behind it.
    until("rows at the new primary", PATIENCE, lambda: len(writer.acknowledged) > before + 100)
    seen["gap"] = writer.gap(killed - 1)
    story.tell(f"rows are acknowledged again, {seen['gap']} s after the last")
    if dead:
        ensemble.bring_back(dead, story)
    old.start()
    began = time.time()
    until("the dead node as the synchronous standby", PATIENCE, lambda: synchronous(new))
    seen["rejoined"] = round(time.time() - began, 2)
    story.tell(f"node {old.name} is back as the synchronous standby, in {seen['rejoined']} s")
    told["failovers"].append(seen)
    time.sleep(CALM)
    all_there(story, told, (new, old), writer)


def all_there(story, told, nodes, writer):
    """Every row that was acknowledged until now is at each node."""
    acknowledged = {number for _, number in list(writer.acknowledged)}
    for node in nodes:
        # The standby has flushed every row, but may show it a little later.
        end = time.time() + 10
        while True:
            rows = node.query("select number from rows")
            missing = acknowledged - {number for number, in rows or []}
            if rows and not missing:
                break
            if time.time() > end:
                raise Failure(f"{len(missing)} of {len(acknowledged)} acknowledged rows are not at {node.name}: "
                              f"{sorted(missing)[:10]}" if rows is not None else f"node {node.name} does not answer")
            time.sleep(0.1)
    told["acknowledged"], told["warned"], told["errors"] = len(acknowledged), writer.warned, writer.errors
    story.tell(f"all of {len(acknowledged)} acknowledged rows are at both nodes")


def summary(run):
    takeovers, gaps, rejoined = ([seen[what] for seen in run["failovers"]] for what in ("takeover", "gap", "rejoined"))
    return (f"{run['acknowledged']} acknowledged rows, all there; never two primaries in {run['looks']} looks; "
            f"{run['leader_kills']} kills of the leader, longest gaps between rows {run['gaps']} s, the primary stayed; "
            f"the standby was primary {takeovers} s after kills of the primary, the second one beside a kill of the "
            f"leader (sessions end after {TTL} s), longest gaps between rows {gaps} s; dead nodes were back in "
            f"{rejoined} s")


def options(parser):
    parser.add_argument("--kills", type=int, default=3, help="how often the leader of the ensemble is killed")


if __name__ == "__main__":
    check_overlap()
    sys.exit(applications.main("patroni", __doc__, drive, summary, options=options))
