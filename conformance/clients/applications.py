"""What the scripts share that run applications on an ensemble: three servers of ours or of Apache's on loopback, time
that is bounded, processes of which none is left, and one way to tell what came of it."""

import argparse
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), "differential"))

import apache
from apache import IDS, kill, until

# Seconds: one run on one ensemble, whatever happens; and what is left of that for stopping.
RUN_MAX = 290
# linux/prctl.h: who loses its parent below this process becomes its child.
PR_SET_CHILD_SUBREAPER = 36


class Failure(Exception):
    """The application did not do what it had to."""


class Ensemble:
    """Three servers, and who of them leads."""

    def __init__(self, kind, classpath, folder, settings=()):
        client, quorum, election = (dict(zip(IDS, apache.ports(len(IDS)))) for _ in range(3))
        self.servers = {}
        for me in IDS:
            data = os.path.join(folder, f"server-{me}", "data")
            os.makedirs(data)
            with open(os.path.join(data, "myid"), "w") as file:
                file.write(str(me))
            lines = [f"dataDir={data}", f"clientPort={client[me]}", "clientPortAddress=127.0.0.1", "tickTime=1000",
                     "initLimit=10", "syncLimit=5", "admin.enableServer=false", *settings]
            lines += [f"server.{other}=127.0.0.1:{quorum[other]}:{election[other]}" for other in IDS]
            self.servers[me] = kind(classpath, os.path.dirname(data), "\n".join(lines) + "\n", client[me])
        self.hosts = [f"127.0.0.1:{client[me]}" for me in IDS]

    def start(self):
        for server in self.servers.values():
            server.start()
        for server in self.servers.values():
            server.wait(60)

    def leader(self, seconds=30):
        """Who leads; None of the processes that are down is asked."""
        def leads():
            running = {me: server for me, server in self.servers.items() if server.process}
            return next((me for me, server in running.items() if server.mode() == "leader"), None)
        return until("a leader", seconds, leads)

    def kill_leader(self, story):
        """Kills who leads, and waits until another does: who that was."""
        dead = self.leader()
        kill(self.servers[dead])
        began = time.time()
        story.tell(f"server {dead}, the leader of the ensemble, is killed")
        leader = self.leader()
        story.tell(f"server {leader} leads {time.time() - began:.2f} s after that")
        return dead

    def bring_back(self, me, story):
        began = time.time()
        mode = self.servers[me].start().wait(60)
        story.tell(f"server {me} is back as a {mode}, in {time.time() - began:.2f} s")


class Story:
    """What happened when, in seconds since the start of the run."""

    def __init__(self):
        self.began = time.time()
        self.events = []

    def tell(self, what):
        at = round(time.time() - self.began, 2)
        self.events.append([at, what])
        print(f"{at:7.2f}  {what}", file=sys.stderr, flush=True)
        return time.time()


def processes():
    """The state and the parent of each process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    # The name may hold spaces and brackets: what follows its last bracket does not.
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            found[int(name)] = (state, int(parent))
    return found


def descendants(pid):
    """Every process that comes from this one, parents before their children."""
    all_of_them = processes()
    found = [pid]
    for parent in found:
        found += [child for child, (_, of) in all_of_them.items() if of == parent]
    return found[1:]


class Reaper:
    """Buries processes that came to us because their parent went, as init would: to PostgreSQL and Patroni, a process
    that is dead and not buried is one that runs."""

    # Children that are waited for by who started them.
    ours = set()

    def __init__(self, ensemble):
        self.ensemble = ensemble
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        before = set()
        while not self.over.wait(0.1):
            ours = self.ours | {server.process.pid for server in self.ensemble.servers.values() if server.process}
            dead = {pid for pid, (state, parent) in processes().items() if state == "Z" and parent == os.getpid()}
            # Those of one round are left to the next: one that was started just now is not among `ours` yet.
            for pid in (dead & before) - ours:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue
            before = dead

    def stop(self):
        self.over.set()
        self.thread.join(5)


def kill_tree(pid):
    """kill -9 of a process and of all that come from it, which are none but our own."""
    for each in (pid, *descendants(pid)):
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue


def stop_all():
    """Ends whatever was started from here. Processes that lose their parent come to us, so none gets away."""
    end = time.time() + 10
    while (left := descendants(os.getpid())) and time.time() < end:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        time.sleep(0.05)
    if left:
        print(f"still there after kill -9: {left}", file=sys.stderr)


def spawn(command, log, **how):
    """Starts a process that does not outlive this one, its output at the end of a file."""
    with open(log, "ab") as out:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL,
                                   stdout=how.pop("stdout", out), stderr=out, **how)
    Reaper.ours.add(process.pid)
    return process


def one_run(application, drive, kind, args, settings):
    """One run on one ensemble; its logs are kept if it fails."""
    folder = tempfile.mkdtemp(prefix=f"zabkeeper-{application}-")
    # Applications may run as somebody else.
    os.chmod(folder, 0o755)
    story, told = Story(), {}
    servers = "Apache ZooKeeper" if kind is apache.Apache else "Zabkeeper"
    print(f"{application} on {servers}", file=sys.stderr)

    def late(*_):
        raise Failure(f"not done within {args.limit} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(args.limit)
    failed = reaper = None
    try:
        ensemble = Ensemble(kind, args.apache, folder, settings)
        reaper = Reaper(ensemble)
        ensemble.start()
        story.tell(f"three servers serve, {ensemble.leader()} leads")
        drive(ensemble, folder, story, told, args)
        ended = [me for me, server in ensemble.servers.items() if server.process.poll() is not None]
        if ended:
            raise Failure(f"servers {ended} ended by themselves")
    # Whatever it was that went wrong: the other ensemble still has its run, and nothing stays behind.
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        if reaper:
            reaper.stop()
        stop_all()
    if failed:
        story.tell(f"failed: {failed}")
    if failed or args.keep:
        print(f"logs of every process: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return {"servers": servers, "ok": not failed, "failed": failed, "logs": folder if failed or args.keep else None,
            **told, "seconds": round(time.time() - story.began, 1), "events": story.events}


def main(application, doc, drive, summary, settings=(), options=lambda parser: None):
    """Reads the arguments, runs on Apache's servers and then on ours, and returns the exit code."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--binary", help="the server program of ours; without it no run on ours")
    parser.add_argument("--apache", metavar="CLASSPATH", help="jars of Apache ZooKeeper; without them no run on Apache's")
    parser.add_argument("--limit", type=int, default=RUN_MAX, help="seconds that a run may take")
    parser.add_argument("--keep", action="store_true", help="keep the logs of a run that passes too")
    parser.add_argument("--json", metavar="FILE", help="where to write all that was seen")
    options(parser)
    args = parser.parse_args()
    kinds = [kind for kind, given in ((apache.Apache, args.apache), (apache.Ours, args.binary)) if given]
    if not kinds:
        parser.error("neither --binary nor --apache is given: there is nothing to run on")
    if args.binary:
        apache.Ours.binary = os.path.abspath(args.binary)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process cannot take over those that lose their parent")
    # Also when asked to end: through the same `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    runs = [one_run(application, drive, kind, args, settings) for kind in kinds]
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"application": application, "runs": runs}, file, indent=1)
            file.write("\n")
    for run in runs:
        print(f"{application} on {run['servers']}: {summary(run) if run['ok'] else 'FAILED, ' + run['failed']}")
    return 0 if all(run["ok"] for run in runs) else 1
