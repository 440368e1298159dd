#!/usr/bin/env python3
"""Sends one random script of requests to Apache ZooKeeper and to Zabkeeper, and compares everything that they say.

    same_script.py --apache 3.9.5='…/jars/*' --binary target/release/zabkeeper [--seeds 100] [--first 1] [--steps 1000] [--servers 1,3]

One request is under way at a time, over several sessions that watch, prove identities, leave, come back and end. Behind
each, every session is asked for what it has been told meanwhile. Compared are replies, Stats, errors, events and their
order, and who is hung up on. Zxids count from the beginning of the script, sessions and passwords are each server's
own, clocks are left out, and lists that have no order are sorted. What may differ stands in DEVIATIONS, each with its
line of spec/deviations.md. A difference is made shorter, and printed as a script that --script runs again.
"""

import argparse
import bisect
import json
import os
import random
import re
import socket
import struct
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True

import apache
from apache import Apache, Ours
from record import OPEN, ace, buf, flag, i32, i64, multi, vec

# Seconds until a server that says nothing is taken to have nothing to say.
PATIENCE = 5
# Of a session, in milliseconds: none expires while a script runs.
PATIENT = 3_600_000
SESSIONS = 4
NAMES = ("a", "b", "c")
ODD = ("", "/", "//", "/a//b", "/a/", "/a/.", "/a/..", "/a\0b", "/a\1", "/\ue000", "/\U0001f600", "a", "/zookeeper", "/zookeeper/quota",
       "/zookeeper/config", "/zookeeper/new", "/ü€")
LISTS = {
    "open": OPEN,
    "read": vec([ace(1, "world", "anyone")]),
    "write": vec([ace(2, "world", "anyone")]),
    "no read": vec([ace(30, "world", "anyone")]),
    "none": vec([]),
    "null": vec(None),
    "auth": vec([ace(31, "auth", "")]),
    "ann": vec([ace(31, "digest", "ann:+7K83PhyQ3ijGj0ADmljf0quVwQ="), ace(1, "world", "anyone")]),
    "here": vec([ace(31, "ip", "127.0.0.1"), ace(4, "ip", "10.0.0.0/8")]),
    "elsewhere": vec([ace(31, "ip", "10.0.0.1")]),
    "twice": vec([ace(31, "world", "anyone"), ace(1, "auth", "x"), ace(31, "world", "anyone")]),
    "bad id": vec([ace(31, "digest", "nocolon")]),
    "bad scheme": vec([ace(31, "nonsense", "x")]),
}
DATA = (None, b"", b"x", b"some data", bytes(range(100)))
# What stands in the nodes of a quota.
FIGURES = (b"count=0,bytes=0", b"count=3,bytes=20", b"count=-1,bytes=-1=;byteHardLimit=60;countHardLimit=6", b"count=9,bytes=9=;countHardLimit=3",
           b"count=2,bytes=5=;byteHardLimit=-1")
# Operations that are transactions at Apache's also when they cannot be read.
UNREAD = {1, 2, 5, 7, 14, 15, 19, 21}
CREATES = {1: (0, 1, 2, 3), 15: (0, 1, 2, 3), 19: (4,), 21: (5, 6)}

# What may differ: the beginning of a line of spec/deviations.md that has the reason, and what the two then do not share.
DEVIATIONS = {
    "An event that is due at once": lambda step, said: said if step.get("op") not in (101, 105) or len(said) < 2
    else [said[0], [event[:3] for event in said[1]], *said[2:]],
    "The ephemerals of a session that closes": lambda step, said: [sorted(part) if isinstance(part, list) else part for part in said]
    if step.get("do") == "close" else said,
    "What cannot be read is refused": lambda step, said: [*said[:3], *said[4:]] if is_unread(step, said) else said,
    "getAllChildrenNumber of an empty path": lambda step, said: said[:5] if step.get("op") == 104 and step.get("odd") == "" else said,
    "The refusal of an unknown operation": lambda step, said: [*said[:3], *said[4:]] if "raw" in step else said,
}

# The same of what 3.8 does otherwise than 3.9, which Zabkeeper follows; each has its line there too.
OLDER = {
    "An event names no transaction": lambda step, said: untold(said),
    "A watch that somebody else has": lambda step, said: [*said[:4], *said[5:]] if step.get("op") in (17, 18) and len(said) > 4 and said[4] in (0, -121) else said,
    "A path that is none": lambda step, said: said[:4] if step.get("op") in (17, 18) and "odd" in step and len(said) > 3 else said,
    "create2 in a multi": lambda step, said: [plain_creates(part) for part in said] if step.get("op") == 14 else said,
    "An unknown operation": lambda step, said: said[:2] if "raw" in step else said,
}


class Odd(Exception):
    """The two say different things."""


class Silent(Exception):
    """A server does not answer."""


# A server's side of a script.

class Connection:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(PATIENCE)
        self.data = b""

    def send(self, payload):
        try:
            self.sock.sendall(buf(payload))
        except OSError:
            pass

    def receive(self):
        """The next frame; None when the server has hung up."""
        while True:
            if len(self.data) >= 4:
                end = 4 + struct.unpack_from(">i", self.data)[0]
                if len(self.data) >= end:
                    frame, self.data = self.data[4:end], self.data[end:]
                    return frame
            try:
                part = self.sock.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                return None
            except TimeoutError:
                raise Silent(self.sock.getpeername()[1]) from None
            if not part:
                return None
            self.data += part

    def is_hung_up(self):
        """Whether the server hangs up within a while."""
        self.sock.settimeout(0.3)
        try:
            return self.receive() is None
        except Silent:
            return False
        finally:
            self.sock.settimeout(PATIENCE)

    def close(self):
        self.sock.close()


class Side:
    """One maker's servers, and its sessions."""

    def __init__(self, ports):
        self.ports = ports
        self.base, self.skipped, self.sessions = 0, [], []
        # The zxid of the last reply that names one.
        self.heard = 0

    def begin(self):
        """Zxids count from the first one of all."""
        first = self.open(0)
        self.base = self.base or first.zxid
        self.sessions = [None] * SESSIONS
        self.leave(first)

    def relative(self, zxid):
        """How many transactions this is behind the beginning, those not counted that only this maker has."""
        return zxid - self.base - bisect.bisect_right(self.skipped, zxid) if zxid > 0 else zxid

    def open(self, at, session=0, password=bytes(16), last_seen=0):
        opened = Session(self, at, Connection(self.ports[at]))
        opened.connection.send(i32(0) + i64(last_seen) + i32(PATIENT) + i64(session) + buf(password) + flag(False))
        reply = opened.connection.receive()
        if reply is None:
            return None
        opened.timeout, opened.id = struct.unpack_from(">iq", reply, 4)
        opened.password = reply[20:36]
        if opened.timeout > 0:
            opened.sync()
        return opened

    @staticmethod
    def leave(session):
        session.ask(-11, b"", session.next())
        session.connection.close()

    def end(self):
        for session in filter(None, self.sessions):
            session.connection.close()


class Session:
    def __init__(self, side, at, connection):
        self.side, self.at, self.connection = side, at, connection
        self.xid, self.zxid, self.seen = 0, 0, [0]

    def next(self):
        self.xid += 1
        return self.xid

    def ask(self, op, body, xid):
        """The reply, with the events before it; the reply is None if there is none."""
        self.connection.send(i32(xid) + i32(op) + body)
        return self.hear()

    def hear(self):
        events = []
        while True:
            frame = self.connection.receive()
            if frame is None:
                return None, events
            found, zxid, error = struct.unpack_from(">iqi", frame)
            if found == -1:
                kind, state = struct.unpack_from(">ii", frame, 16)
                events.append((kind, state, text(frame[28:]), self.relative(zxid)))
                continue
            self.zxid = max(self.zxid, zxid)
            if zxid > 0:
                self.seen.append(zxid)
                self.side.heard = zxid
            return (found, self.relative(zxid), error, frame[16:]), events

    def ask_together(self, requests):
        """The replies to requests that are sent in one piece, each with the events before it."""
        frames = b"".join(buf(i32(xid) + i32(op) + body) for op, body, xid in requests)
        try:
            self.connection.sock.sendall(frames)
        except OSError:
            pass
        return [self.hear() for _ in requests]

    def sync(self):
        """Everything that anybody was told so far has arrived here, and its events with it."""
        return self.ask(9, buf("/"), self.next())[1]

    def relative(self, zxid):
        return self.side.relative(zxid)


# What a reply says, without what is each server's own.

def text(path):
    """Apache writes a character beyond the basic plane as its two surrogates, three bytes each."""
    return path.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16")


def stat(side, body, at):
    czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, length, children, pzxid = struct.unpack_from(">qqqqiiiqiiq", body, at)
    owners = [session and session.id for session in side.sessions]
    owner = f"session {owners.index(owner)}" if owner in owners else "another" if owner else "none"
    zxids = [side.relative(zxid) for zxid in (czxid, mzxid, pzxid)]
    return (zxids, ctime == mtime, version, cversion, aversion, owner, length, children), at + 68


def string(body, at):
    length = struct.unpack_from(">i", body, at)[0]
    return (None, at + 4) if length < 0 else (body[at + 4:at + 4 + length], at + 4 + length)


def strings(body, at, width=1):
    count, at, found = struct.unpack_from(">i", body, at)[0], at + 4, []
    for _ in range(count):
        parts = []
        for _ in range(width):
            part, at = string(body, at)
            parts.append(part)
        found.append(tuple(parts))
    return sorted(found), at


def acl(body, at):
    count, at, found = struct.unpack_from(">i", body, at)[0], at + 4, []
    for _ in range(count):
        perms = struct.unpack_from(">i", body, at)[0]
        scheme, at = string(body, at + 4)
        who, at = string(body, at)
        found.append((perms, scheme, who))
    # `auth` stands for several identities, which have an order of their own with each maker.
    return sorted(found), at


def parts(side, body, at):
    found = []
    while True:
        op, done, error = struct.unpack_from(">i?i", body, at)
        at += 9
        if done:
            return found, at
        said = (op, error)
        if op == -1:
            said, at = said + (struct.unpack_from(">i", body, at)[0],), at + 4
        elif op not in (2, 13):
            inner, at = content(side, op, body, at)
            said += (inner,)
        found.append(said)


def content(side, op, body, at=0):
    """What a body says, and where it ends."""
    if op in (1, 9):
        path, at = string(body, at)
        return text(path), at
    if op in (3, 5, 7):
        return stat(side, body, at)
    if op in (15, 19, 21):
        path, at = string(body, at)
        shown, at = stat(side, body, at)
        return (path, shown), at
    if op == 4:
        data, at = string(body, at)
        shown, at = stat(side, body, at)
        # The configuration has each maker's own ports in it, all of five digits.
        return (data and re.sub(rb":\d{5}", b":port", data), shown), at
    if op == 6:
        entries, at = acl(body, at)
        shown, at = stat(side, body, at)
        return (entries, shown), at
    if op in (8, 103):
        return strings(body, at)
    if op == 12:
        names, at = strings(body, at)
        shown, at = stat(side, body, at)
        return (names, shown), at
    if op == 107:
        return strings(body, at, 2)
    if op in (14, 22):
        return parts(side, body, at)
    return body[at:], len(body)


# Scripts: steps that can be written down, and mean the same to both.

def pick_path(dice):
    if dice.random() < 0.04:
        return {"odd": dice.choice(ODD)}
    return {"path": "".join("/" + dice.choice(NAMES) for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 2, 3))))}


def pick_version(dice):
    return dice.choice((-1, -1, -1, 0, 1, 2, 7))


def pick_create(dice, lists=tuple(LISTS)):
    op = dice.choice((1, 1, 15, 15, 19, 21))
    made = {"op": op, **pick_path(dice), "data": dice.randrange(len(DATA)), "acl": dice.choice(("open",) * 12 + lists),
            "flags": 9 if dice.random() < 0.01 else dice.choice(CREATES[op])}
    if made["flags"] in (2, 3, 6):
        made["tail"] = dice.choice(("-", "", "/"))
    if op == 21:
        made["ttl"] = dice.choice((10 ** 9, 10 ** 9, 0, -1, (1 << 40) - 1, 1 << 40))
    return made


def pick_write(dice, lists=tuple(LISTS)):
    kind = dice.random()
    if kind < 0.45:
        return pick_create(dice, lists)
    if kind < 0.7:
        return {"op": 2, **pick_path(dice), "version": pick_version(dice)}
    return {"op": 5, **pick_path(dice), "data": dice.randrange(len(DATA)), "version": pick_version(dice)}


def pick_multi(dice):
    def part():
        if dice.random() < 0.15:
            return {"op": 13, **pick_path(dice), "version": pick_version(dice)}
        if dice.random() < 0.01:
            return {"op": 4, **pick_path(dice), "watch": False}
        # A null list inside a multi leaves an Apache follower that never answers again.
        write = pick_write(dice, tuple(name for name in LISTS if name != "null"))
        # There the flags say what is created, too.
        if write["op"] in (1, 15) and dice.random() < 0.1:
            write["flags"] = dice.choice((4, 4, 4, 5))
        return write
    return {"op": 14, "parts": [part() for _ in range(dice.choice((0, 1, 2, 2, 3, 3, 5)))]}


def pick_quota(dice):
    """Something about a quota: the nodes of a new one, or something about one of them."""
    step = {"quota": dice.choice(("", "/zookeeper_limits", "/zookeeper_limits", "/zookeeper_stats")),
            "path": "".join("/" + dice.choice(NAMES) for _ in range(dice.choice((1, 1, 2))))}
    figures = dice.randrange(len(DATA), len(DATA) + len(FIGURES))
    kind = dice.random()
    if kind < 0.5:
        nodes = [{"op": 1, **step, "quota": node, "data": figures, "acl": "open", "flags": 0}
                 for node in ("", "/zookeeper_limits", "/zookeeper_stats")]
        return {"do": "together", "steps": nodes}
    if kind < 0.6 and step["quota"] != "/zookeeper_stats":
        return {"op": 5, **step, "data": figures, "version": -1}
    if kind < 0.75:
        return {"op": 2, **step, "version": -1}
    return {"op": 4, **step, "quota": "/zookeeper_stats", "watch": False}


def pick_read(dice):
    kind = dice.random()
    if kind < 0.6:
        return {"op": dice.choice((3, 4, 8, 12)), **pick_path(dice), "watch": dice.random() < 0.5}
    if kind < 0.7:
        return {"op": 6, **pick_path(dice)}
    if kind < 0.75:
        return {"op": 104, **pick_path(dice)}
    if kind < 0.8:
        return {"op": 103, **pick_path(dice)}
    if kind < 0.83:
        return {"op": 107}
    if kind < 0.93:
        reads = [{"op": dice.choice((4, 8, 8, 4, 4, 8, 3 if dice.random() < 0.1 else 4)), **pick_path(dice), "watch": dice.random() < 0.2}
                 for _ in range(dice.randrange(4))]
        return {"op": 22, "parts": reads}
    return {"op": 9, **pick_path(dice)}


def pick_watch(dice):
    kind = dice.random()
    if kind < 0.4:
        return {"op": 106, **pick_path(dice), "kind": dice.choice((0, 1, 0, 1, 0, 1, 2))}
    if kind < 0.8:
        return {"op": dice.choice((17, 18)), **pick_path(dice), "kind": dice.choice((1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 0, 6))}
    lists = [[pick_path(dice) for _ in range(dice.randrange(3))] for _ in range(5)]
    return {"op": dice.choice((101, 105)), "seen": dice.randrange(12), "lists": lists}


def pick(dice):
    step = {"session": dice.randrange(SESSIONS)}
    kind = dice.random()
    if kind < 0.42:
        step.update(pick_write(dice))
    elif kind < 0.5:
        step.update(pick_multi(dice))
    elif kind < 0.55:
        step.update({"op": 7, **pick_path(dice), "acl": dice.choice(("open",) * 4 + tuple(LISTS)), "version": pick_version(dice)})
    elif kind < 0.75:
        step.update(pick_read(dice))
    elif kind < 0.8:
        step.update(pick_quota(dice))
    elif kind < 0.93:
        step.update(pick_watch(dice))
    elif kind < 0.945:
        step.update({"op": 100, "scheme": "digest" if dice.random() < 0.95 else "nonsense", "auth": dice.choice(("ann:secret", "bob:x:y", "bob", "super:superpw"))})
    elif kind < 0.96:
        step.update({"do": "close"})
    elif kind < 0.975:
        # Reads that one packet brings: none of them is lost, and they are answered in order.
        step.update({"do": "together", "steps": [pick_read(dice) for _ in range(dice.randrange(2, 7))]})
    elif kind < 0.987:
        step.update({"do": "return", "server": dice.randrange(3), "seen": dice.random() < 0.9})
    elif kind < 0.99:
        step.update({"do": "drop"})
    else:
        step.update({"op": dice.choice((0, 10, 13, 99, 108)), "raw": ""})
    return step


def known_to_older(step, seed):
    """A step that 3.8 knows, instead of one that it does not."""
    op = step.get("op")
    if op in (17, 18) and step["kind"] in (4, 5):
        return {**step, "kind": 3}
    # Watches that stay do so there only until another one comes to their node.
    if op == 106:
        return known_to_older({**step, "op": 3, "watch": True}, seed)
    if op == 105:
        return {**step, "lists": [*step["lists"][:3], [], []]}
    # Everybody may ask there whether a node exists: some scripts do not, the others have no lists of their own that would
    # forbid it, and do not ask for what all scripts share.
    if op == 3 and (seed % 2 or "odd" in step):
        return {**step, "op": 4}
    if step.get("acl") in ("no read", "write", "elsewhere", "auth", "here") and not seed % 2:
        return {**step, "acl": "read"}
    for nested in ("parts", "steps"):
        if nested in step:
            step = {**step, nested: [known_to_older(part, seed) for part in step[nested]]}
    if op == 14:
        # Flags that a create cannot have are looked at in its turn there; 3.9 cannot read the multi.
        step["parts"] = [{**part, "flags": CREATES[part["op"]][0]} if part.get("flags") == 9 or part["op"] in (1, 15) and part["flags"] == 5 else part for part in step["parts"]]
    return step


def path_of(step, prefix):
    if "odd" in step:
        return step["odd"]
    if "quota" in step:
        return "/zookeeper/quota" + prefix + step["path"] + step["quota"]
    return prefix + step["path"] + step.get("tail", "")


def body_of(step, prefix, session):
    op = step["op"]
    if "raw" in step:
        return bytes.fromhex(step["raw"])
    if op in (14, 22):
        return multi(*((part["op"], body_of(part, prefix, session)) for part in step["parts"]))
    if op == 107:
        return b""
    if op == 100:
        return i32(0) + buf(step["scheme"]) + buf(step["auth"])
    if op in (101, 105):
        seen = session.seen[-1 - min(step["seen"], len(session.seen) - 1)]
        lists = step["lists"][:3 if op == 101 else 5]
        return i64(seen) + b"".join(vec([buf(path_of(one, prefix)) for one in paths]) for paths in lists)
    path = buf(path_of(step, prefix))
    if op in CREATES:
        made = path + buf((DATA + FIGURES)[step["data"]]) + LISTS[step["acl"]] + i32(step["flags"])
        return made + i64(step["ttl"]) if op == 21 else made
    if op in (2, 13):
        return path + i32(step["version"])
    if op == 5:
        return path + buf((DATA + FIGURES)[step["data"]]) + i32(step["version"])
    if op == 7:
        return path + LISTS[step["acl"]] + i32(step["version"])
    if op in (3, 4, 8, 12):
        return path + flag(step["watch"])
    if op in (17, 18, 106):
        return path + i32(step["kind"])
    return path


def xid_of(step, session):
    return {100: -4, 101: -8, 105: -8}.get(step.get("op")) or session.next()


def carry_out(side, step, prefix):
    """What a step comes to."""
    at = step["session"]
    session = side.sessions[at]
    if step.get("do") == "return":
        back = session and (session.id, session.password, session.zxid if step["seen"] else 0)
        if session:
            session.connection.close()
        opened = side.open(step["server"] % len(side.ports), *(back or ()))
        side.sessions[at] = opened if opened and opened.timeout > 0 else None
        if opened and back:
            opened.seen, opened.zxid = session.seen, max(session.zxid, opened.zxid)
        said = ("none" if opened is None else opened.timeout, bool(back), opened and opened.id == (back[0] if back else opened.id))
        return [said]
    if session is None:
        session = side.sessions[at] = side.open(at % len(side.ports))
    if step.get("do") == "drop":
        session.connection.close()
        side.sessions[at] = None
        return []
    if step.get("do") == "close":
        reply, events = session.ask(-11, b"", session.next())
        ends = session.connection.receive() is None
        session.connection.close()
        side.sessions[at] = None
        return [events, reply, ends]
    # What others were told before has arrived at this session's server.
    caught_up = session.sync() if len(side.ports) > 1 else []
    if step.get("do") == "together":
        requests = [(one["op"], body_of(one, prefix, session), session.next()) for one in step["steps"]]
        told = [caught_up]
        for (op, _, _), (reply, events) in zip(requests, session.ask_together(requests)):
            xid, zxid, error, body = reply
            told += [events, xid, zxid, error, content(side, op, body)[0] if error == 0 else body]
        return told
    reply, events = session.ask(step["op"], body_of(step, prefix, session), xid_of(step, session))
    if reply is None:
        side.sessions[at] = None
        return [caught_up, events, "hung up"]
    xid, zxid, error, body = reply
    said, end = content(side, step["op"], body) if error == 0 else (body, len(body))
    said = [caught_up, events, xid, zxid, error, said, len(body) - end]
    if step["op"] == 100 and error or "raw" in step:
        said.append("hung up" if session.connection.is_hung_up() else "goes on")
        session.connection.close()
        side.sessions[at] = None
    return said


def is_unread(step, said):
    """Whether a write is refused because it cannot be read, which is a transaction at Apache's."""
    return step.get("op") in UNREAD and len(said) > 4 and said[4] == -5


def untold(said):
    """The same, where no event says which transaction it is of."""
    if isinstance(said, tuple) and len(said) == 4 and isinstance(said[2], str):
        return said[:3]
    return [untold(part) for part in said] if isinstance(said, list) else said


def plain_creates(said):
    """The parts of a multi, where each create says its path alone."""
    if not isinstance(said, list):
        return said
    return [(1, 0, text(part[2][0])) if isinstance(part, tuple) and part[0] == 15 and len(part) == 3 else part for part in said]


def allowed(step, said):
    """What is said, without what may differ."""
    for leave_out in [*DEVIATIONS.values(), *OLDER.values()]:
        said = leave_out(step, said)
    return said


def run(sides, steps, prefix):
    """Runs a script, and returns how many replies and events were compared."""
    count, number = 0, 0
    try:
        for side in sides:
            side.begin()
            opened = side.sessions[0] = side.open(0)
            for folder in (prefix, "/zookeeper/quota" + prefix):
                opened.ask(1, buf(folder) + buf(b"") + OPEN + i32(0), opened.next())
        for number, step in enumerate(steps):
            said = [carry_out(side, step, prefix) for side in sides]
            if is_unread(step, said[0]) and said[0][3] == said[1][3] + 1:
                sides[0].skipped.append(sides[0].heard)
            told = [allowed(step, one) for one in said]
            if told[0] != told[1]:
                raise Odd(number, *told)
            count += 1
            for at in range(SESSIONS):
                events = [allowed(step, [side.sessions[at].sync()]) if side.sessions[at] else [] for side in sides]
                if events[0] != events[1]:
                    raise Odd(number, *([f"session {at} is told", one] for one in events))
                count += sum(map(len, events[0]))
    except Silent as silent:
        if silent.args[0] in sides[0].ports and OLDER:
            raise Stalled from None
        raise Odd(number, *("says nothing" if silent.args[0] in side.ports else "is there" for side in sides)) from None
    finally:
        for side in sides:
            side.end()
    return count


def shorter(sides, steps, name, tries=400):
    """Leaves out what is not needed for a difference."""
    size = max(1, len(steps) // 2)
    while size >= 1 and tries > 0:
        at = 0
        while at < len(steps) and tries > 0:
            tries -= 1
            less = steps[:at] + steps[at + size:]
            try:
                run(sides, less, f"{name}-{tries}")
                at += size
            except Odd as odd:
                steps = less[:odd.args[0] + 1]
            except Stalled:
                return steps
        size //= 2
    return steps


# The servers.

def start(kind, servers, classpath, folder):
    ids = range(1, servers + 1)
    client, quorum, election = (dict(zip(ids, apache.ports(servers))) for _ in range(3))
    running = []
    for me in ids:
        data = os.path.join(folder, str(me), "data")
        os.makedirs(data)
        lines = [f"dataDir={data}", f"clientPort={client[me]}", "tickTime=2000", "initLimit=10", "syncLimit=5", "maxClientCnxns=0", f"maxSessionTimeout={PATIENT}",
                 "extendedTypesEnabled=true", "snapshotSizeFactor=-1", "admin.enableServer=false", "enforceQuota=true",
                 # Of super:superpw, as in ZooKeeper's documentation.
                 "DigestAuthenticationProvider.superDigest=super:g9oN2HttPfn8MMWJZ2r45Np/LIA=",
                 # Leaders delete nothing by themselves, for they would at different times.
                 f"znode.container.checkIntervalMs={PATIENT}"]
        if servers > 1:
            lines += [f"server.{other}=127.0.0.1:{quorum[other]}:{election[other]}" for other in ids]
            with open(os.path.join(data, "myid"), "w") as file:
                file.write(str(me))
        server = kind(classpath, os.path.join(folder, str(me)), "\n".join(lines) + "\n", client[me],
                      [f"-Dznode.container.checkIntervalMs={PATIENT}"])
        running.append(server.start())
    for server in running:
        server.wait(60)
    return running, Side([client[me] for me in ids])


class Stalled(Exception):
    """Apache ZooKeeper does not answer, and Zabkeeper does."""


def begin(servers, classpath, folder):
    """Fresh servers of both."""
    running, sides = [], []
    try:
        for name, kind in (("apache", Apache), ("ours", Ours)):
            started, side = start(kind, servers, classpath, os.path.join(folder, name))
            running += started
            sides.append(side)
    except BaseException:
        end(running)
        raise
    return running, sides


def end(running):
    for server in running:
        server.stop()


def compare(args, servers, classpath, folder):
    """How many replies and events are the same, and how often Apache's servers were started anew; None if some are not."""
    if args.script:
        with open(args.script) as file:
            scripts = [("script", json.load(file))]
    else:
        scripts = [(seed, None) for seed in range(args.first, args.first + args.seeds)]
    replies, stalls = 0, 0
    running, sides = begin(servers, classpath, tempfile.mkdtemp(dir=folder))
    try:
        while scripts:
            seed, steps = scripts[0]
            dice = random.Random(f"{seed} {servers}")
            steps = steps or [args.known(pick(dice), seed) for _ in range(args.steps)]
            try:
                replies += run(sides, steps, f"/{seed}")
            except Stalled:
                stalls += 1
                if stalls > args.stalls:
                    print(f"Apache's servers stopped answering {stalls} times, and may {args.stalls} times", file=sys.stderr)
                    return None
                end(running)
                running, sides = begin(servers, classpath, tempfile.mkdtemp(dir=folder))
                continue
            except Odd as odd:
                report(sides, seed, servers, steps[:odd.args[0] + 1], odd)
                return None
            scripts.pop(0)
            if sys.stderr.isatty():
                print(f"\r{servers} servers, seed {seed}: {replies} answers and events compared", end="", file=sys.stderr)
        return replies, stalls
    finally:
        end(running)


def report(sides, seed, servers, steps, odd):
    print(f"\nseed {seed}, {servers} servers: a difference at step {len(steps)}; making it shorter", file=sys.stderr)
    show(steps, odd)
    steps = shorter(sides, steps, f"/{seed}-again") or steps
    print(json.dumps(steps))
    try:
        run(sides, steps, f"/{seed}-last")
        print("it does not come back: what was there before matters", file=sys.stderr)
    except Stalled:
        print("Apache's servers do not answer any more, so it was not made as short as it could be", file=sys.stderr)
    except Odd as again:
        show(steps, again)


def show(steps, odd):
    number, theirs, ours = odd.args
    print(f"step {number + 1}: {steps[number]}\n  Apache:    {theirs}\n  Zabkeeper: {ours}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apache", required=True, help="VERSION=CLASSPATH")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seeds", type=int, default=100, help="how many scripts")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--steps", type=int, default=1000, help="how many requests each has")
    parser.add_argument("--servers", default="1,3", help="how many servers each has, one run after the other")
    parser.add_argument("--script", help="a script to run instead, as it was printed")
    parser.add_argument("--json", help="where to write what was compared")
    args = parser.parse_args()
    version, classpath = args.apache.split("=", 1)
    Ours.binary = os.path.abspath(args.binary)
    # The part of the gate runs where the project is.
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../spec/deviations.md")) as file:
        listed = file.read()
    # Apache ZooKeeper 3.8.0 stops answering its clients now and then: it is started anew then, and asked again.
    args.known, args.stalls = (known_to_older, 20) if version.startswith("3.8") else (lambda step, _: step, 0)
    if version.startswith("3.8"):
        # It prepares an operation that it does not know, and refuses that as what it cannot read.
        UNREAD.update((0, 10, 13, 99, 108))
    else:
        OLDER.clear()
    for deviation in [*DEVIATIONS, *OLDER]:
        assert f"- **{deviation}" in listed, f"spec/deviations.md does not name it: {deviation}"
    started, told = time.time(), {"apache": version, "seeds": args.seeds, "steps": 0, "compared": 0, "stalls": 0}
    with tempfile.TemporaryDirectory() as folder:
        for servers in map(int, args.servers.split(",")):
            outcome = compare(args, servers, classpath, folder)
            if outcome is None:
                sys.exit(1)
            replies, stalls = outcome
            told["steps"] += args.seeds * args.steps
            told["compared"] += replies
            told["stalls"] += stalls
            what = args.script or f"{args.seeds} seeds of {args.steps} steps"
            print(f"Apache {version} and Zabkeeper, {servers} servers: {what}, {replies} answers and events, no difference"
                  f"{f', {stalls} times with fresh servers, for Apache did not answer' if stalls else ''}; {time.time() - started:.0f} s")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(told, file)


def checked():
    """Ends with 1 if the two say different things, and with 2 if that cannot be told."""
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.exit(2)


if __name__ == "__main__":
    checked()
