"""What the judges share that run Apache ZooKeeper's servers beside ours: servers of each kind that say what they do, and
clients whose answers can be compared."""

import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import record
from record import Client, buf, flag, i32

IDS = (1, 2, 3)

# Everything that its servers say of how a learner was brought up to date, whichever logger they find.
LOG4J = """log4j.rootLogger=INFO, out
log4j.logger.org.apache.zookeeper.server.quorum.LearnerHandler=DEBUG
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p %c{1} %m%n
"""
LOG4J2 = """rootLogger.level=info
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
logger.learner.name=org.apache.zookeeper.server.quorum.LearnerHandler
logger.learner.level=debug
appender.out.name=out
appender.out.type=Console
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %-5p %c{1} %m%n
"""


def ports(count):
    """Free ports below those that the system gives to outgoing connections, which would take them while servers are
    down. Others may run the same, so they are drawn by chance."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        lowest = int(file.read().split()[0])
    found = []
    while len(found) < count:
        port = random.randrange(10_000, max(12_000, min(lowest, 32_000)))
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


class Apache(record.Server):
    """A server of Apache ZooKeeper; `self.classpath` may be changed between its starts."""

    def start(self, *props):
        for name, text in (("log4j.properties", LOG4J), ("log4j2.properties", LOG4J2)):
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(text)
        return launch(self, ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                             "-Dzookeeper.admin.enableServer=false", *self.props, *props, "-cp",
                             self.folder + ":" + self.classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                             self.config])


class Ours(record.Server):
    binary = ""

    def start(self):
        return launch(self, [self.binary, "serve", self.config])


def launch(server, command):
    """Starts a process that does not outlive this one. Its output goes on behind what is there."""
    path = os.path.join(server.folder, "out")
    server.said = os.path.getsize(path) if os.path.exists(path) else 0
    with open(path, "ab") as log:
        server.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, cwd=server.folder, env={**os.environ, "NO_COLOR": "1"})
    return server


def words(server):
    """What a server has said since its start."""
    with open(os.path.join(server.folder, "out"), "rb") as file:
        file.seek(server.said)
        return file.read().decode(errors="replace")


def kill(server):
    """kill -9, also of one that is stopped."""
    if server.process:
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(30)
        server.process = None


def until(what, seconds, condition):
    """Waits for a condition, and returns what it yields."""
    end = time.time() + seconds
    while not (found := condition()):
        assert time.time() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return found


def ask(client, op, body, expected=0):
    reply = client.call("", op, body)
    found = struct.unpack(">i", reply[12:16])[0]
    assert found == expected, f"operation {op} of {body[:60]}: error {found}, expected {expected}"
    return reply[16:]


def connect(port, **how):
    """A connection that keeps no record."""
    client = Client(port, "", None)
    client.frames = Forgets()
    return client.connect(**{"timeout": 15000, **how})


class Forgets(list):
    """Frames that nobody will read."""

    def append(self, _):
        self[:] = [{}]


def tree(client, path="/"):
    """Everything that a server shows, bytes as they come, but children in order: list, data with Stat, ACL with Stat."""
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
        # An ACL that the reader may not see is as good as any: the same answer is due.
        acl = client.call("", 6, buf(path))[12:]
        data = client.call("", 4, buf(path) + flag(False))[12:]
        seen[path] = (sorted(children), data, acl)
        paths += [path.rstrip("/") + "/" + child for child in sorted(children)]
    # Every server sets this node by itself.
    seen.pop("/zookeeper/config", None)
    return seen


def difference(one, other):
    """What two trees do not share, in a few lines; empty if they are equal."""
    paths = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
    lines = [f"{path}: {shown(one.get(path))}\n  but {shown(other.get(path))}" for path in paths[:5]]
    return "\n".join([f"{len(paths)} nodes differ"] + lines) if paths else ""


def shown(node):
    if node is None:
        return "nothing"
    children, data, acl = node
    return f"{len(children)} children, data and Stat {data[:40].hex()}…{data[-68:].hex()}, ACL {acl[:80].hex()}"
