"""A fixed list of cases of kazoo, a stock Python client, against three servers.

Run by `faults clients -- python3 kazoo_cases.py`, which puts the connect string behind and carries out the lines that
begin with `!` (see conformance/faults/src/scripts.rs). Each case uses a folder of its own; a case that fails does not
stop the others. The last line counts them, and the exit code is 1 if one failed.
"""

import json
import logging
import socket
import sys
import threading
import time
import traceback
import uuid

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    NoAuthError,
    NodeExistsError,
    NoChildrenForEphemeralsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import EventType
from kazoo.retry import KazooRetry
from kazoo.security import make_acl, make_digest_acl

# Generous: a wait ends as soon as what is awaited is there, and a busy machine must not fail a case.
PATIENCE = 60.0
SESSION_TIMEOUT = 8.0

CASES = []


def case(function):
    CASES.append(function)
    return function


def conductor(request):
    """Asks the harness to do something to the servers."""
    print("!" + request, flush=True)
    answer = sys.stdin.readline().strip()
    if not answer.startswith("ok"):
        raise RuntimeError(f"{request}: {answer or 'no answer'}")


def connect(hosts, **options):
    retry = dict(max_tries=-1, max_delay=0.5, deadline=PATIENCE)
    options.setdefault("timeout", SESSION_TIMEOUT)
    client = KazooClient(
        hosts=hosts, connection_retry=dict(max_tries=-1, max_delay=0.5), command_retry=retry, **options
    )
    client.start(timeout=PATIENCE)
    return client


def hang_up(client):
    """Ends the client and its session."""
    client.stop()
    client.close()


def abandon(client):
    """Cuts the connection, and ends the client without a word: its session lives until its timeout."""
    client._stopped.set()
    client._connection._socket.shutdown(socket.SHUT_RDWR)
    client._connection.stop()
    client.close()


def await_true(what, condition):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


def expect(error, function, *arguments, **options):
    try:
        result = function(*arguments, **options)
    except error:
        return
    raise AssertionError(f"{error.__name__} expected, got {result!r}")


def equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"{got!r} where {wanted!r} was due")


# --- nodes


@case
def create_read_change_and_remove(zk, path, hosts):
    equal(zk.create(path + "/a", b"one"), path + "/a")
    data, stat = zk.get(path + "/a")
    equal((data, stat.version, stat.data_length, stat.children_count), (b"one", 0, 3, 0))
    equal((stat.czxid, stat.ephemeralOwner), (stat.mzxid, 0))
    changed = zk.set(path + "/a", b"three", version=0)
    equal((changed.version, changed.data_length), (1, 5))
    if not changed.mzxid > changed.czxid:
        raise AssertionError(f"a change at {changed.mzxid:x}, created at {changed.czxid:x}")
    expect(BadVersionError, zk.set, path + "/a", b"x", version=0)
    expect(NodeExistsError, zk.create, path + "/a")
    expect(NoNodeError, zk.get, path + "/none")
    expect(NoNodeError, zk.create, path + "/none/below")
    equal(zk.exists(path + "/none"), None)
    zk.create(path + "/a/b")
    expect(NotEmptyError, zk.delete, path + "/a")
    expect(BadVersionError, zk.delete, path + "/a/b", version=7)
    zk.delete(path + "/a/b", version=0)
    zk.delete(path + "/a")
    equal(zk.exists(path + "/a"), None)


@case
def create_tells_the_stat(zk, path, hosts):
    made, stat = zk.create(path + "/a", b"x", include_data=True)
    equal((made, stat), (path + "/a", zk.exists(path + "/a")))


@case
def children_and_their_count(zk, path, hosts):
    for number in range(20):
        zk.create(f"{path}/{number}")
    names, stat = zk.get_children(path, include_data=True)
    equal((sorted(names, key=int), stat.children_count), ([str(n) for n in range(20)], 20))
    equal(stat.cversion, 20)
    zk.delete(path + "/7")
    equal(zk.exists(path).cversion, 21)
    equal(len(zk.get_children(path)), 19)


@case
def empty_and_large_data(zk, path, hosts):
    zk.create(path + "/empty", b"")
    equal(zk.get(path + "/empty")[0], b"")
    large = bytes(range(256)) * 3000
    zk.create(path + "/large", large)
    equal(zk.get(path + "/large")[0], large)


@case
def names_beyond_ascii(zk, path, hosts):
    name = path + "/grün-木"
    zk.create(name, b"x")
    equal(zk.get_children(path), ["grün-木"])
    equal(zk.get(name)[0], b"x")


@case
def sequential_nodes_count_up(zk, path, hosts):
    made = [zk.create(path + "/n-", sequence=True) for _ in range(5)]
    equal(made, [f"{path}/n-{number:010d}" for number in range(5)])
    zk.delete(made[4])
    equal(zk.create(path + "/m-", sequence=True), f"{path}/m-0000000005")


@case
def many_requests_under_way_answer_in_order(zk, path, hosts):
    zk.create(path + "/a", b"0")
    writes = [zk.set_async(path + "/a", str(number).encode()) for number in range(500)]
    reads = [zk.get_async(path + "/a") for _ in range(10)]
    versions = [write.get(timeout=PATIENCE).version for write in writes]
    equal(versions, list(range(1, 501)))
    for read in reads:
        equal(read.get(timeout=PATIENCE)[0], b"499")


@case
def what_one_server_acknowledged_another_shows_after_sync(zk, path, hosts):
    others = [connect(host) for host in hosts.split(",")]
    try:
        for number in range(20):
            zk.ensure_path(path + "/a")
            zk.set(path + "/a", str(number).encode())
            for other in others:
                other.sync(path + "/a")
                equal(other.get(path + "/a")[0], str(number).encode())
    finally:
        for other in others:
            hang_up(other)


# --- watches


def collect(events):
    return lambda event: events.append((event.type, event.path))


@case
def data_watches_fire_once(zk, path, hosts):
    events = []
    zk.create(path + "/a", b"")
    zk.get(path + "/a", watch=collect(events))
    zk.set(path + "/a", b"1")
    zk.set(path + "/a", b"2")
    await_true("an event", lambda: events)
    zk.exists(path + "/a", watch=collect(events))
    zk.delete(path + "/a")
    await_true("two events", lambda: len(events) >= 2)
    equal(events, [(EventType.CHANGED, path + "/a"), (EventType.DELETED, path + "/a")])


@case
def a_watch_on_nothing_tells_of_creation(zk, path, hosts):
    events = []
    equal(zk.exists(path + "/a", watch=collect(events)), None)
    zk.create(path + "/a")
    await_true("an event", lambda: events)
    equal(events, [(EventType.CREATED, path + "/a")])


@case
def child_watches_fire_for_children_only(zk, path, hosts):
    events = []
    zk.get_children(path, watch=collect(events))
    zk.set(path, b"x")
    zk.create(path + "/a")
    await_true("an event", lambda: events)
    equal(events, [(EventType.CHILD, path)])


@case
def a_watch_fires_on_another_server_too(zk, path, hosts):
    zk.create(path + "/a", b"")
    for host in hosts.split(","):
        other = connect(host)
        try:
            events = []
            other.sync(path + "/a")
            other.get(path + "/a", watch=collect(events))
            zk.set(path + "/a", host.encode())
            await_true("an event", lambda: events)
            equal(other.get(path + "/a")[0], host.encode())
        finally:
            hang_up(other)


@case
def the_event_comes_before_the_new_data(zk, path, hosts):
    order = []
    zk.create(path + "/a", b"old")
    other = connect(hosts)
    try:
        zk.sync(path)
        zk.get(path + "/a", watch=lambda event: order.append("event"))
        other.set(path + "/a", b"new")
        deadline = time.monotonic() + PATIENCE
        while zk.get(path + "/a")[0] == b"old" and time.monotonic() < deadline:
            pass
        equal(zk.get(path + "/a")[0], b"new")
        await_true("an event", lambda: order)
    finally:
        hang_up(other)


# --- ephemerals and sessions


@case
def an_ephemeral_goes_with_its_session(zk, path, hosts):
    other = connect(hosts)
    other.create(path + "/a", b"x", ephemeral=True)
    equal(zk.sync(path), path)
    stat = zk.exists(path + "/a")
    equal(stat.ephemeralOwner, other.client_id[0])
    expect(NoChildrenForEphemeralsError, zk.create, path + "/a/b")
    gone = threading.Event()
    zk.exists(path + "/a", watch=lambda event: gone.set())
    hang_up(other)
    equal(gone.wait(PATIENCE), True)
    equal(zk.exists(path + "/a"), None)


@case
def an_ephemeral_outlives_its_connection_and_not_its_silence(zk, path, hosts):
    other = connect(hosts, timeout=4.0)
    other.create(path + "/a", ephemeral=True)
    zk.sync(path)
    abandon(other)
    equal(zk.exists(path + "/a") is not None, True)
    await_true("the ephemeral of the dead is gone", lambda: zk.exists(path + "/a") is None)


@case
def a_session_moves_to_another_server(zk, path, hosts):
    each = hosts.split(",")
    first = connect(each[0])
    first.create(path + "/a", b"x", ephemeral=True)
    identity = first.client_id
    for host in each[1:] + each[:1]:
        # The old connection is cut; the session goes on elsewhere with its id and password.
        abandon(first)
        second = connect(host, client_id=identity)
        equal(second.client_id, identity)
        data, stat = second.get(path + "/a")
        equal((data, stat.ephemeralOwner), (b"x", identity[0]))
        first = second
    hang_up(first)
    zk.sync(path)
    equal(zk.exists(path + "/a"), None)


@case
def a_wrong_password_gets_no_session(zk, path, hosts):
    other = connect(hosts)
    other.create(path + "/a", ephemeral=True)
    identity = (other.client_id[0], b"\1" * 16)
    lost = threading.Event()
    thief = KazooClient(hosts=hosts, client_id=identity, timeout=SESSION_TIMEOUT)
    thief.add_listener(lambda state: lost.set() if state == KazooState.LOST else None)
    try:
        thief.start(timeout=PATIENCE)
    except (KazooTimeoutError, SessionExpiredError):
        pass
    try:
        # kazoo asks for a new session once it is told that this one is not to be had.
        await_true("the thief is refused", lambda: thief.client_id is None or thief.client_id[0] != identity[0])
    finally:
        hang_up(thief)
        hang_up(other)


@case
def a_closed_session_is_not_taken_up_again(zk, path, hosts):
    other = connect(hosts)
    identity = other.client_id
    hang_up(other)
    again = KazooClient(hosts=hosts, client_id=identity, timeout=SESSION_TIMEOUT)
    again.start(timeout=PATIENCE)
    try:
        await_true("a session of its own", lambda: again.client_id and again.client_id[0] != identity[0])
    finally:
        hang_up(again)


# --- several at once


@case
def a_transaction_is_all_or_nothing(zk, path, hosts):
    zk.create(path + "/a", b"0")
    good = zk.transaction()
    good.check(path + "/a", 0)
    good.set_data(path + "/a", b"1")
    good.create(path + "/b", b"x")
    good.create(path + "/b/c-", sequence=True)
    good.delete(path + "/b/c-0000000000")
    checked, changed, made, numbered, removed = good.commit()
    equal((checked, changed.version, made, numbered, removed), (True, 1, path + "/b", path + "/b/c-0000000000", True))
    equal(zk.exists(path + "/b").czxid, zk.exists(path + "/a").mzxid)
    bad = zk.transaction()
    bad.create(path + "/c")
    bad.check(path + "/a", 0)
    bad.create(path + "/d")
    results = bad.commit()
    equal([type(result) for result in results], [RolledBackError, BadVersionError, RuntimeInconsistency])
    equal(sorted(zk.get_children(path)), ["a", "b"])


# --- access


@case
def a_digest_guards_a_node(zk, path, hosts):
    owner = connect(hosts)
    try:
        owner.add_auth("digest", "ann:secret")
        guarded = [make_digest_acl("ann", "secret", all=True), make_acl("world", "anyone", read=True)]
        owner.create(path + "/a", b"x", acl=guarded)
        acls, stat = owner.get_acls(path + "/a")
        equal((len(acls), stat.aversion), (2, 0))
        equal(zk.get(path + "/a")[0], b"x")
        expect(NoAuthError, zk.set, path + "/a", b"y")
        expect(NoAuthError, zk.create, path + "/a/b")
        equal(owner.set(path + "/a", b"y").version, 1)
        owner.set_acls(path + "/a", [make_digest_acl("ann", "secret", all=True)], version=0)
        expect(NoAuthError, zk.get, path + "/a")
        expect(BadVersionError, owner.set_acls, path + "/a", guarded, version=0)
        equal(owner.get(path + "/a")[0], b"y")
        owner.delete(path + "/a")
    finally:
        hang_up(owner)


# --- recipes, while the leader dies


def meanwhile_the_leader_dies(during):
    conductor("kill-leader")
    try:
        during()
    finally:
        conductor("start-all")


@case
def writes_go_on_while_the_leader_dies(zk, path, hosts):
    zk.create(path + "/a", b"0")
    written = []

    def write():
        for number in range(200):
            # A write whose answer was lost is sent again; that is safe for a plain set.
            zk.retry(zk.set, path + "/a", str(number).encode())
            written.append(number)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    await_true("some writes", lambda: len(written) > 20)
    meanwhile_the_leader_dies(lambda: writer.join(PATIENCE))
    writer.join(PATIENCE)
    equal((writer.is_alive(), len(written)), (False, 200))
    for host in hosts.split(","):
        other = connect(host)
        other.sync(path + "/a")
        equal(other.get(path + "/a")[0], b"199")
        hang_up(other)


@case
def sessions_and_ephemerals_survive_the_leader(zk, path, hosts):
    clients = [connect(hosts) for _ in range(3)]
    states = []
    for number, client in enumerate(clients):
        client.add_listener(states.append)
        client.create(f"{path}/{number}", ephemeral=True)
    owners = [client.client_id[0] for client in clients]

    def look():
        for number, client in enumerate(clients):
            stat = client.retry(client.exists, f"{path}/{number}")
            equal(stat and stat.ephemeralOwner, owners[number])

    meanwhile_the_leader_dies(look)
    look()
    equal(KazooState.LOST in states, False)
    for client in clients:
        hang_up(client)
    zk.sync(path)
    equal(zk.get_children(path), [])


@case
def watches_go_on_when_the_leader_is_dead(zk, path, hosts):
    zk.create(path + "/a", b"0")
    data, names = [], []
    # kazoo's standing watches: they set a new watch whenever one has fired, or the connection was lost.
    zk.DataWatch(path + "/a", lambda value, stat: data.append(value))
    zk.ChildrenWatch(path, lambda children: names.append(sorted(children)))
    other = connect(hosts)

    def change():
        other.retry(other.set, path + "/a", b"1")
        other.retry(other.ensure_path, path + "/b")
        await_true("the new data", lambda: data[-1] == b"1")
        await_true("the new child", lambda: names[-1] == ["a", "b"])

    meanwhile_the_leader_dies(change)
    equal((data[0], names[0]), (b"0", ["a"]))
    hang_up(other)


@case
def a_lock_is_held_by_one_while_the_leader_dies(zk, path, hosts):
    inside, most, rounds = [0], [0], [0]
    guard = threading.Lock()
    failures = []

    def contend(number):
        client = connect(hosts)
        try:
            for _ in range(10):
                with client.Lock(path + "/lock", str(number)):
                    with guard:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    time.sleep(0.01)
                    with guard:
                        inside[0] -= 1
                        rounds[0] += 1
        except Exception as error:
            failures.append(repr(error))
        finally:
            hang_up(client)

    threads = [threading.Thread(target=contend, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    await_true("some rounds", lambda: rounds[0] > 4 or failures)
    meanwhile_the_leader_dies(lambda: [thread.join(PATIENCE) for thread in threads])
    equal((failures, most[0], rounds[0]), ([], 1, 40))


@case
def an_election_has_one_winner_at_a_time_while_the_leader_dies(zk, path, hosts):
    winners, inside, most = [], [0], [0]
    guard = threading.Lock()
    failures = []

    def lead(name):
        with guard:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            winners.append(name)
        time.sleep(0.2)
        with guard:
            inside[0] -= 1

    def stand(name):
        client = connect(hosts)
        try:
            client.Election(path + "/election", name).run(lead, name)
        except Exception as error:
            failures.append(repr(error))
        finally:
            hang_up(client)

    names = ["a", "b", "c", "d"]
    threads = [threading.Thread(target=stand, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    await_true("a winner", lambda: winners or failures)
    meanwhile_the_leader_dies(lambda: [thread.join(PATIENCE) for thread in threads])
    equal((failures, sorted(winners), most[0]), ([], names, 1))


@case
def a_queue_loses_nothing_while_the_leader_dies(zk, path, hosts):
    queue = zk.LockingQueue(path + "/queue")
    sent = [str(number).encode() for number in range(40)]
    for item in sent[:20]:
        queue.put(item)
    taken = []
    failures = []

    def take():
        deadline = time.monotonic() + PATIENCE
        try:
            while len(set(taken)) < len(sent) and time.monotonic() < deadline:
                # The recipe does not live through a lost connection. Its session goes, and with it what it had locked.
                client = connect(hosts)
                try:
                    take_with(client.LockingQueue(path + "/queue"), deadline)
                except ConnectionLoss:
                    pass
                finally:
                    hang_up(client)
        except Exception as error:
            failures.append(repr(error))

    def take_with(mine, deadline):
        while len(set(taken)) < len(sent) and time.monotonic() < deadline:
            item = mine.get(timeout=1)
            if item is not None:
                taken.append(item)
                mine.consume()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    await_true("something is taken", lambda: taken or failures)

    def put():
        for item in sent[20:]:
            # A put whose answer was lost may be carried out twice; nothing may be lost.
            zk.retry(queue.put, item)

    meanwhile_the_leader_dies(put)
    thread.join(PATIENCE)
    equal((failures, thread.is_alive(), sorted(set(taken), key=int)), ([], False, sent))


def main():
    # Lost connections are what these cases are about; kazoo would tell of each.
    logging.getLogger("kazoo").setLevel(logging.CRITICAL + 1)
    hosts = sys.argv[-1]
    wanted = sys.argv[1:-1]
    conductor("await-serving")
    outcomes = []
    for function in CASES:
        name = function.__name__
        if wanted and name not in wanted:
            continue
        began = time.monotonic()
        error = None
        zk = connect(hosts)
        path = f"/kazoo/{name}-{uuid.uuid4().hex[:8]}"
        try:
            zk.ensure_path(path)
            function(zk, path, hosts)
        except BaseException:
            error = traceback.format_exc()
        finally:
            try:
                hang_up(zk)
            except Exception:
                error = error or traceback.format_exc()
        outcomes.append({"case": name, "passed": error is None, "seconds": round(time.monotonic() - began, 1)})
        print(f"{'passed' if error is None else 'FAILED'}  {outcomes[-1]['seconds']:>5} s  {name}", flush=True)
        if error:
            print(error, flush=True)
    failed = [outcome["case"] for outcome in outcomes if not outcome["passed"]]
    print(json.dumps({"client": "kazoo", "cases": outcomes}), flush=True)
    print(f"{len(outcomes) - len(failed)} cases passed, {len(failed)} failed", flush=True)
    sys.exit(1 if failed or not outcomes else 0)


if __name__ == "__main__":
    main()
