#!/usr/bin/env python3
"""Records what Apache ZooKeeper says, byte for byte, into golden/VERSION/*.json.

    record.py --classpath '/usr/share/java/*' --version 3.8.0

Starts servers on free loopback ports in a temporary folder, talks to them over raw sockets, and stops them again.
Between servers stand proxies that keep what passes. The tests decode every recorded byte and encode it again.
"""

import argparse
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))


# Jute, just enough of it.

def i32(value):
    return struct.pack(">i", value)


def i64(value):
    return struct.pack(">q", value)


def flag(value):
    return b"\1" if value else b"\0"


def buf(value):
    if value is None:
        return i32(-1)
    value = value.encode() if isinstance(value, str) else value
    return i32(len(value)) + value


def vec(items):
    return i32(-1) if items is None else i32(len(items)) + b"".join(items)


def ace(perms, scheme, who):
    return i32(perms) + buf(scheme) + buf(who)


OPEN = vec([ace(31, "world", "anyone")])


def create(path, data=b"x", acl=OPEN, flags=0):
    return buf(path) + buf(data) + acl + i32(flags)


def multi(*parts):
    return b"".join(i32(op) + flag(False) + i32(-1) + body for op, body in parts) + i32(-1) + flag(True) + i32(-1)


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


# Servers.

def free_ports(count):
    socks = [socket.socket() for _ in range(count)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


class Server:
    def __init__(self, classpath, folder, config, port, props=()):
        self.classpath, self.folder, self.port, self.props = classpath, folder, port, props
        os.makedirs(folder, exist_ok=True)
        self.config = os.path.join(folder, "zoo.cfg")
        with open(self.config, "w") as file:
            file.write(config)
        self.process = None

    def start(self):
        log = open(os.path.join(self.folder, "out"), "ab")
        self.process = subprocess.Popen(
            ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dzookeeper.admin.enableServer=false", *self.props, "-cp", self.classpath,
             "org.apache.zookeeper.server.quorum.QuorumPeerMain", self.config],
            stdout=log, stderr=log, cwd=self.folder)
        return self

    def mode(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
                sock.sendall(b"srvr")
                text = b""
                while part := sock.recv(4096):
                    text += part
            for line in text.decode().splitlines():
                if line.startswith("Mode: "):
                    return line[6:]
        except OSError:
            pass
        return None

    def wait(self, seconds=60):
        end = time.time() + seconds
        while time.time() < end:
            if mode := self.mode():
                return mode
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        raise RuntimeError("server does not serve: " + self.folder)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)
            self.process = None


# The client port.

class Client:
    """A connection to a client port. Client frames are numbered over all connections, in the order of sending."""

    sent = 0

    def __init__(self, port, name, keep):
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self.sock.settimeout(10)
        self.frames = []
        self.xid = 0
        if keep is not None:
            keep.append({"name": name, "frames": self.frames})

    def send(self, what, payload):
        frame = buf(payload)
        Client.sent += 1
        self.frames.append({"from": "client", "number": Client.sent, "what": what, "hex": frame.hex()})
        self.sock.sendall(frame)

    def receive(self, what):
        head = read_exactly(self.sock, 4)
        payload = read_exactly(self.sock, struct.unpack(">i", head)[0])
        self.frames.append({"from": "server", "what": what, "hex": (head + payload).hex()})
        return payload

    def connect(self, session=0, password=bytes(16), read_only=False, last_seen=0, timeout=30000):
        body = i32(0) + i64(last_seen) + i32(timeout) + i64(session) + buf(password)
        self.send("ConnectRequest", body + (b"" if read_only is None else flag(read_only)))
        reply = self.receive("ConnectResponse")
        self.session = struct.unpack(">q", reply[8:16])[0]
        self.password = reply[20:36]
        return self

    def call(self, what, op, body=b"", xid=None, closes=False):
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send(what, i32(xid) + i32(op) + body)
        while True:
            reply = self.receive(what)
            found = struct.unpack(">i", reply[:4])[0]
            if found != -1:
                assert found == xid, (what, found, xid)
                break
            self.frames[-1]["what"] = "notification"
        if closes:
            try:
                assert self.sock.recv(1) == b"", what
            except (socket.timeout, TimeoutError):
                print("not closed:", what)
        return reply

    def close(self):
        self.call("close", -11, closes=True)
        self.sock.close()


def client_script(port, keep):
    c = Client(port, "everything that one client asks", keep).connect()
    c.call("create", 1, create("/a", b"alpha"))
    c.call("create2 ephemeral", 15, create("/e", b"", flags=1))
    c.call("create null data", 1, create("/n", None))
    c.call("create sequential", 1, create("/a/s-", flags=2))
    c.call("create2 ephemeral sequential", 15, create("/s-", flags=3))
    c.call("create: exists", 1, create("/a"))
    c.call("create: no parent", 1, create("/none/child"))
    c.call("create: bad path", 1, create("//"))
    c.call("create: no list", 1, create("/l", acl=vec([])))
    c.call("create: null list", 1, create("/l", acl=vec(None)))
    c.call("getData with watch", 4, buf("/a") + flag(True))
    c.call("getData empty", 4, buf("/e") + flag(False))
    c.call("getData null", 4, buf("/n") + flag(False))
    c.call("getData: missing", 4, buf("/none") + flag(True))
    c.call("exists", 3, buf("/a") + flag(False))
    c.call("exists: missing, with watch", 3, buf("/later") + flag(True))
    c.call("getChildren with watch", 8, buf("/a") + flag(True))
    c.call("getChildren2", 12, buf("/") + flag(False))
    c.call("getChildren of none", 8, buf("/n") + flag(False))
    c.call("getACL", 6, buf("/a"))
    c.call("setData", 5, buf("/a") + buf(b"beta") + i32(0))
    c.call("setData: version", 5, buf("/a") + buf(b"gamma") + i32(7))
    c.call("setData null", 5, buf("/a") + buf(None) + i32(-1))
    c.call("create what was awaited", 1, create("/later"))
    c.call("create child of watched", 1, create("/a/c", "ü€😀".encode()))
    c.call("delete", 2, buf("/a/c") + i32(0))
    c.call("delete: not empty", 2, buf("/a") + i32(-1))
    c.call("auth digest", 100, i32(0) + buf("digest") + buf("user:secret"), xid=-4)
    c.call("create with list", 15, create("/p", acl=vec([ace(31, "auth", ""), ace(1, "world", "anyone")])))
    c.call("setACL", 7, buf("/p") + vec([ace(3, "world", "anyone"), ace(16, "ip", "127.0.0.1")]) + i32(0))
    c.call("getACL of list", 6, buf("/p"))
    c.call("setACL: invalid", 7, buf("/p") + vec([ace(3, "nonsense", "x")]) + i32(-1))
    c.call("sync", 9, buf("/a"))
    c.call("ping", 11, xid=-2)
    c.call("multi", 14, multi((1, create("/m")), (15, create("/m/e", flags=1)), (5, buf("/m") + buf(b"y") + i32(0)),
                              (13, buf("/m") + i32(1)), (1, create("/m/d")), (2, buf("/m/d") + i32(-1))))
    c.call("multi that fails", 14, multi((1, create("/f")), (13, buf("/m") + i32(9)), (2, buf("/f") + i32(-1))))
    c.call("multi of nothing", 14, multi())
    c.call("createContainer", 19, create("/container", flags=4))
    c.call("createTTL", 21, create("/ttl", flags=5) + i64(60000))
    c.call("createTTL sequential", 21, create("/ttl-", flags=6) + i64(60000))
    c.call("multi with container and ttl", 14, multi((19, create("/c2", flags=4)), (21, create("/t2", flags=5) + i64(5000))))
    c.call("create: null path", 1, create(None))
    c.call("getData: null path", 4, buf(None) + flag(False))
    c.call("setData: cut short", 5, buf("/a"))
    c.call("setWatches", 101, i64(0) + vec([buf("/a"), buf("/gone")]) + vec([buf("/a"), buf("/future")]) +
           vec([buf("/m"), buf("/gone")]), xid=-8)
    drain(c, 4)

    old = Client(port, "a client before 3.4", keep).connect(read_only=None)
    old.call("getChildren", 8, buf("/zookeeper") + flag(False))
    old.call("delete", 2, buf("/n") + i32(-1))
    drain(c, 0)
    old.close()

    dead = Client(port, "a session that is not", keep).connect(session=0x1234, password=b"p" * 16)
    assert dead.session == 0 and dead.sock.recv(1) == b""
    again = Client(port, "back to a session", keep).connect(session=c.session, password=c.password)
    again.call("exists", 3, buf("/a") + flag(False))
    again.call("delete", 2, buf("/later") + i32(0))
    again.close()
    for name, op, body, xid in [("an unknown operation", 99, b"", None), ("check alone", 13, buf("/a") + i32(0), None),
                                ("an unknown scheme", 100, i32(0) + buf("nonsense") + buf("x"), -4)]:
        odd = Client(port, name, keep).connect()
        odd.call(name, op, body, xid=xid, closes=True)


def edge_script(port, keep):
    """Which error wins, who may do what, and who hears of it."""
    a = Client(port, "the owner", keep).connect()
    b = Client(port, "a stranger", keep).connect()
    a.call("auth digest", 100, i32(0) + buf("digest") + buf("owner:secret"), xid=-4)

    for path in ["", "b", "/", "/b/", "/./b", "/b/../c", "//", "/b//c", "/b\0", "/b\1", "/\u009f", "/\ue000", "/\uf8ff",
                 "/\ufff0", "/\U0001f600", "/...", "/\ufdd0", "/.b", "/b.", "/b c"]:
        a.call("create " + ascii(path), 1, create(path))
        a.call("exists " + ascii(path), 3, buf(path) + flag(False))
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "", "b", "/none", "/none/x", "/b\0"]:
        a.call("delete " + ascii(path), 2, buf(path) + i32(-1))
        a.call("setData " + ascii(path), 5, buf(path) + buf(b"") + i32(77))
        a.call("setACL " + ascii(path), 7, buf(path) + OPEN + i32(77))
        a.call("getData " + ascii(path), 4, buf(path) + flag(False))
        a.call("getACL " + ascii(path), 6, buf(path))
        a.call("getChildren " + ascii(path), 8, buf(path) + flag(False))
    for flags in [7, -1, 8, 100]:
        a.call(f"create with flags {flags}", 1, create("/flags", flags=flags))

    lists = {
        "no permission": [ace(0, "world", "anyone")], "too many": [ace(255, "world", "anyone")],
        "not anyone": [ace(31, "world", "me")], "twice": [ace(31, "world", "anyone"), ace(31, "world", "anyone")],
        "no colon": [ace(31, "digest", "me")], "two colons": [ace(31, "digest", "a:b:c")],
        "address": [ace(31, "ip", "127.0.0.1")], "network": [ace(31, "ip", "127.0.0.0/8")],
        "no address": [ace(31, "ip", "somewhere")], "wide": [ace(31, "ip", "127.0.0.1/33")],
        "digest": [ace(31, "digest", "x:abc=")], "auth": [ace(31, "auth", "ignored")],
        "null": [ace(31, None, None)], "super": [ace(31, "super", "x")],
    }
    for name, entries in lists.items():
        for who, client in (("owner", a), ("stranger", b)):
            client.call(f"create with list {name}", 1, create(f"/list-{who}-{name.replace(' ', '-')}", acl=vec(entries)))
        a.call(f"getACL of list {name}", 6, buf(f"/list-owner-{name.replace(' ', '-')}"))

    mine = vec([ace(31, "auth", "")])
    for path, acl in (("/mine", mine), ("/seen", vec([ace(30, "auth", ""), ace(1, "world", "anyone")])),
                      ("/grown", vec([ace(31, "auth", ""), ace(4, "world", "anyone")])),
                      ("/pruned", vec([ace(31, "auth", ""), ace(8, "world", "anyone")])),
                      ("/run", vec([ace(31, "auth", ""), ace(16, "world", "anyone")]))):
        a.call("create " + path, 15, create(path, acl=acl))
        a.call("create below " + path, 1, create(path + "/c", acl=mine))
        for version in (-1, 7):
            b.call("setData of " + path, 5, buf(path) + buf(b"z") + i32(version))
            b.call("setACL of " + path, 7, buf(path) + OPEN + i32(7))
        b.call("getData of " + path, 4, buf(path) + flag(True))
        b.call("exists " + path, 3, buf(path) + flag(True))
        b.call("getChildren of " + path, 8, buf(path) + flag(True))
        b.call("getChildren2 of " + path, 12, buf(path) + flag(True))
        b.call("getACL of " + path, 6, buf(path))
        b.call("create below " + path, 1, create(path + "/d"))
        b.call("delete below " + path, 2, buf(path + "/c") + i32(7))
        b.call("delete below " + path, 2, buf(path + "/c") + i32(-1))
        b.call("delete below " + path + ": missing", 2, buf(path + "/e") + i32(-1))
        b.call("check in " + path, 14, multi((13, buf(path) + i32(0))))
        b.call("multi in " + path, 14, multi((1, create("/by-b")), (1, create(path + "/f")), (1, create("/by-b"))))
        a.call("setData of " + path, 5, buf(path) + buf(b"new") + i32(0))
        a.call("create below " + path, 1, create(path + "/g", flags=2))
        a.call("setACL of " + path, 7, buf(path) + OPEN + i32(0))
        b.call("getData of " + path, 4, buf(path) + flag(True))
    watch_script(a, b)
    drain(a, 0)
    drain(b, 0)
    a.close()
    b.call("getChildren of all", 8, buf("/") + flag(False))
    drain(b, 0)
    b.close()


def watch_script(a, b):
    for path in ("/w", "/w/eph"):
        a.call("create " + path, 1, create(path, flags=int(path.endswith("eph"))))
    a.call("create below an ephemeral", 1, create("/w/eph/x"))
    a.call("multi below an ephemeral", 14, multi((1, create("/w/e2", flags=1)), (1, create("/w/e2/x"))))
    for _ in range(2):
        b.call("data watch", 4, buf("/w/eph") + flag(True))
        b.call("exists watch", 3, buf("/w/eph") + flag(True))
        b.call("child watch", 8, buf("/w/eph") + flag(True))
        b.call("child watch on the parent", 12, buf("/w") + flag(True))
        b.call("exists watch on nothing", 3, buf("/w/new") + flag(True))
    a.call("setData", 5, buf("/w/eph") + buf(b"1") + i32(-1))
    a.call("setACL", 7, buf("/w/eph") + OPEN + i32(-1))
    a.call("delete", 2, buf("/w/eph") + i32(1))
    a.call("create", 1, create("/w/new"))
    a.call("delete", 2, buf("/w/new") + i32(-1))
    b.call("child watch on the parent", 8, buf("/w") + flag(True))
    b.call("exists watch", 3, buf("/w/m") + flag(True))
    a.call("multi", 14, multi((1, create("/w/m")), (5, buf("/w/m") + buf(b"2") + i32(0)), (2, buf("/w/m") + i32(1)),
                              (1, create("/w/s-", flags=2)), (15, create("/w/s-", flags=2)), (1, create("/w/s-", flags=3))))
    a.call("sequential without a name", 1, create("/w/", flags=2))
    a.call("sequential: no parent", 1, create("/none/s-", flags=2))
    a.call("multi that fails", 14, multi((5, buf("/w") + buf(b"3") + i32(-1)), (5, buf("/w") + buf(b"4") + i32(0))))
    a.call("multi: two versions", 14, multi((5, buf("/w") + buf(b"3") + i32(0)), (5, buf("/w") + buf(b"4") + i32(1))))
    a.call("multi: delete with a child made before", 14, multi((1, create("/k")), (1, create("/k/c")), (2, buf("/k") + i32(-1))))
    a.call("multi: check of nothing", 14, multi((13, buf("/none") + i32(-1)), (1, create("/k"))))
    a.call("multi: bad path", 14, multi((1, create("/ok")), (1, create("bad"))))
    a.call("multi: nonsense inside", 14, multi((1, create("/ok")), (4, buf("/ok") + flag(False))))
    a.call("ephemerals for the end", 1, create("/w/end1", flags=1))
    a.call("ephemerals for the end", 1, create("/end2", flags=3))
    b.call("watch what will end", 4, buf("/w/end1") + flag(True))
    b.call("watch where it ends", 8, buf("/") + flag(True))
    b.call("sync", 9, buf("/none"))


def later_script(port, keep):
    """What came to the protocol later: watches that stay, and more questions."""
    a = Client(port, "one who watches", keep).connect()
    b = Client(port, "one who changes", keep).connect()
    standing_script(a, b)
    question_script(a, b)
    drain(a, 0)
    drain(b, 0)
    a.close()
    b.close()


def change(b, base):
    """Everything that fires a watch on a node, its children and theirs."""
    for path in (base, base + "/c", base + "/c/d"):
        b.call("create " + path, 1, create(path, acl=OPEN))
    b.call("create one that nobody may read", 1, create(base + "/secret", acl=vec([ace(30, "world", "anyone")])))
    b.call("setData", 5, buf(base) + buf(b"1") + i32(-1))
    b.call("setData of a child", 5, buf(base + "/c") + buf(b"1") + i32(-1))
    b.call("setData of a secret", 5, buf(base + "/secret") + buf(b"1") + i32(-1))
    b.call("setACL", 7, buf(base + "/c") + OPEN + i32(-1))
    b.call("multi", 14, multi((1, create(base + "/m")), (5, buf(base + "/m") + buf(b"2") + i32(0)), (2, buf(base + "/m") + i32(1))))
    for path in (base + "/c/d", base + "/c", base + "/secret", base):
        b.call("delete " + path, 2, buf(path) + i32(-1))


def standing_script(a, b):
    def ask(what, kinds=range(6)):
        for path in ("/x", "/x/c", "/none"):
            for kind in kinds:
                a.call(f"checkWatches {kind} {path}: {what}", 17, buf(path) + i32(kind))

    ask("none is left")
    change(b, "/x")
    for mode in (0, 1, 2, -1):
        a.call(f"addWatch {mode}", 106, buf("/x") + i32(mode))
        ask(f"addWatch {mode}")
    change(b, "/x")
    b.call("create", 1, create("/x"))
    b.call("create", 1, create("/x/c"))
    for name, op in (("getData", 4), ("exists", 3), ("getChildren", 8)):
        a.call(name + " with watch", op, buf("/x") + flag(True))
        a.call(name + " with watch", op, buf("/x/c") + flag(True))
        ask(name)
    b.call("setData", 5, buf("/x") + buf(b"3") + i32(-1))
    b.call("create below", 1, create("/x/e"))
    ask("fired once")
    for kind in (4, 1, 2, 5, 3, 3, 0, 6):
        a.call("getChildren with watch", 8, buf("/x") + flag(True))
        a.call(f"removeWatches {kind}", 18, buf("/x") + i32(kind))
        ask(f"removeWatches {kind}")
    b.call("delete", 2, buf("/x/e") + i32(-1))
    b.call("delete", 2, buf("/x/c") + i32(-1))
    b.call("delete", 2, buf("/x") + i32(-1))

    a.call("addWatch recursive on all", 106, buf("/") + i32(1))
    a.call("addWatch recursive beside", 106, buf("/y/c") + i32(1))
    a.call("addWatch persistent beside", 106, buf("/y") + i32(0))
    a.call("addWatch: no path of a node", 106, buf("nonsense") + i32(1))
    change(b, "/y")
    change(b, "/yy")
    a.call("removeWatches: recursive on all", 18, buf("/") + i32(5))
    change(b, "/y")
    a.call("removeWatches: all", 18, buf("/y/c") + i32(3))
    a.call("removeWatches: all", 18, buf("/y") + i32(3))
    change(b, "/y")
    b.call("create", 1, create("/z"))
    a.call("setWatches2", 105, i64(0) + vec([buf("/z"), buf("/gone")]) + vec([buf("/z"), buf("/future")]) + vec([buf("/gone")]) +
           vec([buf("/z"), buf("/p1")]) + vec([buf("/z"), buf("/r1")]))
    for path in ("/z", "/p1", "/r1"):
        for kind in range(1, 6):
            a.call(f"checkWatches {kind} {path}", 17, buf(path) + i32(kind))
    change(b, "/p1")
    change(b, "/r1")
    b.call("setData", 5, buf("/z") + buf(b"3") + i32(-1))
    b.call("delete", 2, buf("/z") + i32(-1))


def question_script(a, b):
    a.call("whoAmI", 107)
    a.call("auth digest", 100, i32(0) + buf("digest") + buf("ann:secret"), xid=-4)
    a.call("auth digest", 100, i32(0) + buf("digest") + buf("bob:secret:x"), xid=-4)
    a.call("whoAmI: three", 107)
    a.call("create", 1, create("/q", b"data"))
    a.call("create", 1, create("/q/list", acl=vec([ace(16, "world", "anyone")])))
    a.call("create", 1, create("/q/list/below"))
    for path in ("/q/e1", "/q/e2", "/qe3"):
        a.call("create ephemeral", 1, create(path, flags=1))
    b.call("create ephemeral", 1, create("/q/other", flags=1))
    for path in ("/", "/q", "/q/e1", "/none", "/q/list", "/zookeeper", "/zookeeper/", "q", None):
        a.call(f"getAllChildrenNumber {path}", 104, buf(path))
    for prefix in ("", None, "/", "  ", " / ", "/q", "/q/", "/q/e", "/q/e1", "/none", "q"):
        a.call(f"getEphemerals {'with null prefix' if prefix is None else prefix}", 103, buf(prefix))
    b.call("getEphemerals of the other", 103, buf("/q"))
    get, children = lambda path: (4, buf(path) + flag(False)), lambda path: (8, buf(path) + flag(False))
    a.call("multiRead", 22, multi(get("/q"), children("/q"), get("/none"), children("/none"), get("/q/list"), get("/q/e1")))
    a.call("multiRead that asks for watches", 22, multi((4, buf("/q") + flag(True)), (8, buf("/q") + flag(True))))
    a.call("checkWatches behind it", 17, buf("/q") + i32(3))
    a.call("multiRead of nothing", 22, multi())
    a.call("multiRead with a write", 22, multi((1, create("/mixed"))))
    a.call("multiRead of both", 22, multi(get("/q"), (1, create("/mixed"))))
    a.call("multiRead of exists", 22, multi((3, buf("/q") + flag(False))))
    a.call("multiRead: cut short", 22, multi(get("/q"))[:-9])
    a.call("multi of reads", 14, multi(get("/q")))


def drain(client, count):
    client.sock.settimeout(1 if count == 0 else 10)
    try:
        while True:
            client.receive("notification")
            count -= 1
            if count == 0:
                client.sock.settimeout(1)
    except (socket.timeout, TimeoutError):
        pass
    client.sock.settimeout(10)


def record_standalone(classpath, version, folder):
    port = free_ports(1)[0]
    data = os.path.join(folder, "data")
    os.makedirs(data)
    config = f"dataDir={data}\nclientPort={port}\ntickTime=2000\nextendedTypesEnabled=true\npreAllocSize=64\n"
    server = Server(classpath, folder, config, port).start()
    connections = []
    try:
        server.wait()
        client_script(port, connections)
        edge_script(port, connections)
        if not version.startswith("3.8"):
            later_script(port, connections)
        # One that stays, for the snapshot to hold a session and its ephemeral.
        stays = Client(port, "", None).connect(timeout=40000)
        stays.call("", 1, create("/stays", b"here", flags=1))
        server.stop()
        server.start().wait()
        server.stop()
    finally:
        server.stop()
    save("client", version, "Frames of the client port, in order, with their length.", {"connections": connections})

    disk = os.path.join(data, "version-2")
    logs, snapshots = [], []
    for name in sorted(os.listdir(disk)):
        with open(os.path.join(disk, name), "rb") as file:
            content = file.read()
        if name.startswith("log."):
            logs.append({"file": name, "padding": len(content) - len(content.rstrip(b"\0")),
                         "hex": content.rstrip(b"\0").hex()})
        elif name.startswith("snapshot."):
            snapshots.append({"file": name, "hex": content.hex()})
    save("log", version, "Log files, without the zeros behind the last entry.", {"files": logs})
    save("snapshot", version, "Snapshot files.", {"files": snapshots})


def record_packed(classpath, version, folder):
    """The same state, written as a snapshot in each of the ways that snapshots are packed in."""
    port = free_ports(1)[0]
    data = os.path.join(folder, "data")
    os.makedirs(data)
    config = f"dataDir={data}\nclientPort={port}\ntickTime=2000\nextendedTypesEnabled=true\npreAllocSize=64\n"
    server = Server(classpath, folder, config, port).start()
    files = []
    try:
        server.wait()
        c = Client(port, "", None).connect(timeout=40000)
        # More than one block of snappy-java's 32 KiB.
        c.call("", 1, create("/random", os.urandom(2000)))
        c.call("", 1, create("/even", b"even" * 10000))
        c.call("", 15, create("/ephemeral", b"", flags=1))
        c.call("", 21, create("/ttl", flags=5) + i64(60000))
        server.stop()
        label = None
        for method in ("", "gz", "snappy"):
            # A start without anything to do ends with a snapshot.
            server.props = [f"-Dzookeeper.snapshot.compression.method={method}"]
            server.start().wait()
            server.stop()
            disk = os.path.join(data, "version-2")
            label = label or max(int(name.split(".")[1], 16) for name in os.listdir(disk) if name.startswith("snapshot."))
            name = f"snapshot.{label:x}" + (method and "." + method)
            with open(os.path.join(disk, name), "rb") as file:
                files.append({"file": name, "hex": file.read().hex()})
    finally:
        server.stop()
    save("packed", version, "The same snapshot plain, as gzip, and in snappy-java's format.", {"files": files})


# Between servers.

class Proxy:
    """Passes on what comes to its port, and keeps it."""

    def __init__(self, name, target, keep):
        self.name, self.target, self.keep = name, target, keep
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            dialled, _ = self.listener.accept()
            try:
                target = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                dialled.close()
                continue
            target.settimeout(None)
            record = {"name": self.name, "dialler": bytearray(), "listener": bytearray()}
            self.keep.append(record)
            for source, sink, side in ((dialled, target, "dialler"), (target, dialled, "listener")):
                threading.Thread(target=self.copy, args=(source, sink, record[side]), daemon=True).start()

    @staticmethod
    def copy(source, sink, kept):
        try:
            while data := source.recv(65536):
                kept += data
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def packet(kind, zxid, data=None):
    return i32(kind) + i64(zxid) + buf(data) + i32(-1)


def read_packet(sock, kept):
    head = read_exactly(sock, 16)
    kept += head
    kind, zxid, length = struct.unpack(">iqi", head)
    data = None
    if length >= 0:
        data = read_exactly(sock, length)
        kept += data
    count = read_exactly(sock, 4)
    kept += count
    for _ in range(2 * max(0, struct.unpack(">i", count)[0])):
        size = read_exactly(sock, 4)
        kept += size + read_exactly(sock, max(0, struct.unpack(">i", size)[0]))
    return kind, zxid, data


def raw_learner(port, sid, kind, accepted, last, current, keep, name, write=None):
    """A learner of our own making, to reach what healthy servers do not say to each other."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.settimeout(5)
    record = {"name": name, "dialler": bytearray(), "listener": bytearray()}
    keep.append(record)

    def send(data):
        record["dialler"] += data
        sock.sendall(data)

    send(packet(kind, accepted << 32, i64(sid) + i32(0x10000) + i64(0)))
    _, zxid, _ = read_packet(sock, record["listener"])
    epoch = zxid >> 32
    send(packet(18, last, i32(current)))
    end = time.time() + 3
    try:
        while time.time() < end:
            found, zxid, _ = read_packet(sock, record["listener"])
            if found == 15:
                # The state behind it is told apart by the reader: take what comes within a moment.
                sock.settimeout(1)
                while part := sock.recv(65536):
                    record["listener"] += part
            if found == 10:
                send(packet(3, epoch << 32))
            if found == 12:
                send(packet(3, epoch << 32))
                if write:
                    write()
                    write = None
    except (socket.timeout, TimeoutError, EOFError):
        pass
    finally:
        sock.close()


def record_ensemble(classpath, version, folder):
    quorum, election = [], []
    ids = (1, 2, 3)
    ports = free_ports(9)
    client = dict(zip(ids, ports[0:3]))
    leader_ports = dict(zip(ids, ports[3:6]))
    election_ports = dict(zip(ids, ports[6:9]))
    servers = {}
    for me in ids:
        lines = [f"dataDir={folder}/{me}/data", f"clientPort={client[me]}", "tickTime=1000", "initLimit=10",
                 "syncLimit=5", "extendedTypesEnabled=true", "preAllocSize=64"]
        for other in ids:
            q, e = leader_ports[other], election_ports[other]
            if other != me:
                q = Proxy(f"{me} dials {other}", q, quorum).port
                e = Proxy(f"{me} dials {other}", e, election).port
            lines.append(f"server.{other}=127.0.0.1:{q}:{e}:participant")
        lines.append(f"server.9=127.0.0.1:{free_ports(1)[0]}:{free_ports(1)[0]}:observer")
        os.makedirs(f"{folder}/{me}/data")
        with open(f"{folder}/{me}/data/myid", "w") as file:
            file.write(str(me))
        props = ["-Dzookeeper.snapshotSizeFactor=1000"]
        servers[me] = Server(classpath, f"{folder}/{me}", "\n".join(lines) + "\n", client[me], props)
    try:
        for me in ids:
            servers[me].start()
        modes = {me: servers[me].wait() for me in ids}
        leader = next(me for me in ids if modes[me] == "leader")
        followers = [me for me in ids if me != leader]
        ensemble_script(servers, client, leader_ports, leader, followers, quorum)
    finally:
        for server in servers.values():
            server.stop()
    time.sleep(1)
    save_streams("election", version, "Both directions of connections to election ports.", election, 4096)
    save_streams("quorum", version, "Both directions of connections to quorum ports.", quorum, None)


def ensemble_script(servers, client, leader_ports, leader, followers, quorum):
    one, two = followers
    c = Client(client[one], "", None).connect(timeout=20000)
    c.call("", 1, create("/q", b"1"))
    c.call("", 15, create("/q/e", b"2", flags=3))
    c.call("", 100, i32(0) + buf("digest") + buf("user:secret"), xid=-4)
    c.call("", 7, buf("/q") + vec([ace(31, "world", "anyone"), ace(1, "auth", "")]) + i32(-1))
    c.call("", 5, buf("/q") + buf(b"3") + i32(-1))
    c.call("", 14, multi((1, create("/q/m")), (13, buf("/q") + i32(1)), (2, buf("/q/m") + i32(-1))))
    c.call("", 14, multi((1, create("/q/m")), (13, buf("/q") + i32(7))))
    c.call("", 2, buf("/none") + i32(-1))
    c.call("", 9, buf("/q"))
    c.call("", 19, create("/container", flags=4))
    moved = Client(client[two], "", None).connect(session=c.session, password=c.password, timeout=20000)
    moved.call("", 5, buf("/q") + buf(b"4") + i32(-1))
    Client(client[two], "", None).connect(session=0x77, password=bytes(16))
    time.sleep(2)

    # One falls behind and comes back: first by a DIFF, then without its data, by a SNAP.
    servers[one].stop()
    for count in range(3):
        moved.call("", 1, create(f"/behind{count}", bytes(range(40))))
    servers[one].start().wait()
    servers[one].stop()
    shutil.rmtree(os.path.join(servers[one].folder, "data", "version-2"))
    servers[one].start().wait()
    moved.call("", 1, create("/live", b"5"))
    port = leader_ports[leader]
    raw_learner(port, 9, 16, 0, 0, 0, quorum, "an observer from nothing")
    last = moved.call("", 3, buf("/live") + flag(False))
    last = struct.unpack(">q", last[4:12])[0]
    raw_learner(port, 9, 16, last >> 32, last, last >> 32, quorum, "an observer that is level",
                write=lambda: moved.call("", 1, create("/informed", b"6")))
    raw_learner(port, one, 11, last >> 32, (last >> 32 << 32) + 2, last >> 32, quorum, "a follower to be given the rest")
    moved.close()

    # A new reign, and a follower that has more of it than its leader: it is to be cut.
    servers[leader].stop()
    survivors = [me for me in servers if me != leader]
    time.sleep(1)
    modes = {me: servers[me].wait() for me in survivors}
    heir = next(me for me in survivors if modes[me] == "leader")
    d = Client(client[heir], "", None).connect()
    last = struct.unpack(">q", d.call("", 1, create("/after", b"7"))[4:12])[0]
    raw_learner(leader_ports[heir], leader, 11, last >> 32, last + 5000, last >> 32, quorum, "a follower to be cut")
    d.close()
    # The old leader has the greatest id: it dials both others, and hears that one leads and one follows.
    servers[leader].start().wait()


def save_streams(name, version, about, records, limit):
    kept = []
    for record in records:
        sides = {side: bytes(record[side]) for side in ("dialler", "listener")}
        if not any(sides.values()):
            continue
        kept.append({"name": record["name"], **{side: data[:limit].hex() for side, data in sides.items()}})
    save(name, version, about, {"connections": kept})


def save(name, version, about, content):
    path = os.path.join(HERE, "golden", version, name + ".json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump({"from": "Apache ZooKeeper " + version, "about": about, **content}, file, indent=1, ensure_ascii=False)
        file.write("\n")
    print(path, os.path.getsize(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classpath", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--only", choices=["standalone", "ensemble", "packed"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("standalone", record_standalone), ("packed", record_packed), ("ensemble", record_ensemble)):
            if args.only in (None, name):
                make(args.classpath, args.version, os.path.join(folder, name))


if __name__ == "__main__":
    main()
