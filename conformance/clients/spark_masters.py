#!/usr/bin/env python3
"""Two Spark masters that find their leader through ZooKeeper, under a job, while what they lean on is killed.

    spark_masters.py --binary ZABKEEPER --apache 'JARS/*' [--cache FOLDER] [--json FILE]

Two standalone masters with `spark.deploy.recoveryMode=ZOOKEEPER`, one worker, and a job of some hundred short tasks.
While it runs, the active master is killed, then the leader of the ensemble, before the dead master's session has
ended: the new leader has to end it. The other master must take over, with the worker and the application that the
first had stored; the server comes back; the job must come to the right sum. At last the leader is killed once more,
behind the takeover, with the first master started again: a master steps down by ending itself once its connection is
in doubt, so whoever is left must be active, once there is one, and never both.

Needs Java; pyspark comes from PyPI, into the cache. Runs on Apache's servers (--apache), on ours (--binary), or on
both in this order. Ends with 0 if all is well, and with 1 if not.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.dont_write_bytecode = True

import applications
from applications import Failure, kill_tree, spawn
from apache import ports, until

PYSPARK = "4.3.0"
TASKS, TASK_SECONDS, CORES = 300, 0.3, 2
# Tasks that are done before the first kill.
WARM = 30
# Spark asks for sessions of 60 s; ensembles give no more than this, so that a dead master's ends while the job runs.
SESSION_MAX = 10_000
# Seconds: between the master's death and the leader's, and from the takeover until the server comes back.
BETWEEN, DOWN = 2, 4
PATIENCE = 90

JOB = """
import sys, threading, time
from pyspark import SparkConf, SparkContext

master, tasks, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
settings = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false",
            "spark.executor.memory": "512m", "spark.cores.max": "2"}
context = SparkContext(conf=SparkConf().setMaster(master).setAppName("squares").setAll(settings.items()))
context.setLogLevel("INFO")

def slow_square(number):
    time.sleep(seconds)
    return number * number

sums = []
work = threading.Thread(target=lambda: sums.append(
    context.parallelize(range(tasks), tasks).map(slow_square).sum()), daemon=True)
work.start()
tracker = context.statusTracker()
while work.is_alive():
    for job in tracker.getActiveJobsIds():
        stages = [tracker.getStageInfo(stage) for stage in tracker.getJobInfo(job).stageIds]
        print("done", sum(stage.numCompletedTasks for stage in stages if stage), flush=True)
    time.sleep(0.1)
print("sum", sums[0] if sums else "none", flush=True)
"""


def pyspark(cache):
    """The folder with pyspark; made once."""
    home = os.path.join(os.path.abspath(cache), f"pyspark-{PYSPARK}")
    if not os.path.isdir(home):
        os.makedirs(cache, exist_ok=True)
        fresh = tempfile.mkdtemp(dir=cache)
        subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--target",
                        fresh, f"pyspark=={PYSPARK}"], check=True)
        # In place only once it is whole.
        os.rename(fresh, home)
    return home


class Cluster:
    """Two masters, a worker and a job."""

    def __init__(self, ensemble, folder, home):
        found = ports(4)
        self.folder = folder
        self.port, self.web = dict(zip("ab", found[:2])), dict(zip("ab", found[2:]))
        self.url = "spark://" + ",".join(f"127.0.0.1:{port}" for port in self.port.values())
        recovery = {"recoveryMode": "ZOOKEEPER", "zookeeper.url": ",".join(ensemble.hosts), "zookeeper.dir": "/spark"}
        self.environment = dict(
            os.environ, SPARK_HOME=os.path.join(home, "pyspark"), PYTHONPATH=home, PYSPARK_PYTHON=sys.executable,
            SPARK_LOCAL_IP="127.0.0.1", SPARK_PUBLIC_DNS="127.0.0.1", SPARK_WORKER_DIR=os.path.join(folder, "work"),
            SPARK_LOCAL_DIRS=os.path.join(folder, "scratch"), SPARK_DAEMON_MEMORY="512m",
            SPARK_DAEMON_JAVA_OPTS=" ".join(f"-Dspark.deploy.{key}={value}" for key, value in recovery.items()))
        self.masters = {}
        self.done = []
        self.sum = None
        self.job = None

    def daemon(self, name, word, *options):
        command = [os.path.join(self.environment["SPARK_HOME"], "bin", "spark-class"),
                   f"org.apache.spark.deploy.{word.lower()}.{word}", "--host", "127.0.0.1", *options]
        return spawn(command, os.path.join(self.folder, f"{name}.log"), env=self.environment, cwd=self.folder)

    def master(self, name):
        self.masters[name] = self.daemon(f"master-{name}", "Master", "--port", str(self.port[name]), "--webui-port",
                                         str(self.web[name]))

    def worker(self):
        self.daemon("worker", "Worker", "--webui-port", "0", "--cores", str(CORES), "--memory", "1g", self.url)

    def submit(self):
        script = os.path.join(self.folder, "job.py")
        with open(script, "w") as file:
            file.write(JOB)
        self.job = spawn([sys.executable, script, self.url, str(TASKS), str(TASK_SECONDS)],
                         os.path.join(self.folder, "job.log"), env=self.environment, cwd=self.folder,
                         stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        """Keeps when how many tasks were done, and the sum."""
        for line in self.job.stdout:
            word, _, value = line.strip().partition(" ")
            if word == "sum":
                self.sum = value
            elif word == "done" and int(value) > (self.done[-1][1] if self.done else 0):
                self.done.append((time.time(), int(value)))

    def ask(self, name):
        """What a master shows of itself; None if it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web[name]}/json/", timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def statuses(self):
        return {name: (self.ask(name) or {}).get("status") for name in self.masters}

    def active(self):
        """Which master is active; both at once is a failure."""
        alive = [name for name, status in self.statuses().items() if status == "ALIVE"]
        if len(alive) > 1:
            raise Failure("both masters say that they are ALIVE")
        return alive[0] if alive else None

    def workers(self, name):
        return [worker["id"] for worker in (self.ask(name) or {}).get("workers", []) if worker["state"] == "ALIVE"]

    def apps(self, name):
        return [app["id"] for app in (self.ask(name) or {}).get("activeapps", []) if app["state"] == "RUNNING"]


def other(name):
    return "b" if name == "a" else "a"


def drive(ensemble, folder, story, told, args):
    cluster = Cluster(ensemble, folder, pyspark(args.cache))
    for name in "ab":
        cluster.master(name)
    active = until("an active master", PATIENCE, cluster.active)
    until("the other master in waiting", PATIENCE, lambda: cluster.statuses()[other(active)] == "STANDBY")
    story.tell(f"master {active} is ALIVE, {other(active)} is STANDBY")
    cluster.worker()
    workers = until("a worker", PATIENCE, lambda: cluster.workers(active))
    cluster.submit()
    until(f"{WARM} tasks", PATIENCE, lambda: cluster.done and cluster.done[-1][1] >= WARM)
    apps = until("the application", PATIENCE, lambda: cluster.apps(active))
    story.tell(f"{cluster.done[-1][1]} of {TASKS} tasks are done")

    kill_tree(cluster.masters[active].pid)
    cluster.masters[active].wait(30)
    killed = story.tell(f"master {active} is killed")
    time.sleep(BETWEEN)
    dead = ensemble.kill_leader(story)
    active = other(active)
    until("the other master as the active one", PATIENCE, lambda: cluster.active() == active)
    told["takeover"] = round(time.time() - killed, 2)
    story.tell(f"master {active} is ALIVE {told['takeover']} s after the kill")
    # Behind that it waits until workers and applications have said that they know it.
    until("the worker with the other master", PATIENCE, lambda: cluster.workers(active) == workers)
    until("the application with the other master", PATIENCE,
          lambda: cluster.apps(active) == apps or cluster.job.poll() is not None)
    told["reregistered"] = round(time.time() - killed, 2)
    story.tell(f"{workers[0]} and {apps[0]} are with it {told['reregistered']} s after the kill, "
               f"{cluster.done[-1][1]} tasks are done")
    if cluster.job.poll() is not None:
        raise Failure("the job was over before the takeover: it shows nothing")
    time.sleep(DOWN)
    ensemble.bring_back(dead, story)

    until("the end of the job", PATIENCE, lambda: cluster.job.poll() is not None)
    until("what the job said last", 10, lambda: cluster.sum is not None)
    expected = sum(number * number for number in range(TASKS))
    if cluster.job.returncode or cluster.sum != str(expected):
        raise Failure(f"the job ended with {cluster.job.returncode} and the sum {cluster.sum}, not {expected}")
    told["sum"] = expected
    times = [at for at, _ in cluster.done]
    told["job"] = round(times[-1] - times[0], 1)
    told["gap"] = round(max(later - sooner for sooner, later in zip(times, times[1:])), 2)
    story.tell(f"the job is done, with the right sum; longest time without a finished task: {told['gap']} s")
    again(cluster, ensemble, story, told, active, workers)


def again(cluster, ensemble, story, told, active, workers):
    """The leader dies while the masters lean on it. The active master may end itself, which Spark does wherever its
    connection is in doubt; somebody must be active in the end, with the worker."""
    cluster.master(other(active))
    until("the first master in waiting", PATIENCE, lambda: cluster.statuses()[other(active)] == "STANDBY")
    story.tell(f"master {other(active)} is back, STANDBY")
    dead = ensemble.kill_leader(story)
    began = time.time()
    # Connections break at once, but the web page of a master that ends itself may still answer.
    time.sleep(BETWEEN)
    found = until("an active master behind the second kill", PATIENCE, cluster.active)
    until("the worker with it", PATIENCE, lambda: cluster.workers(found) == workers)
    told["second"] = round(time.time() - began, 2)
    told["stepped_down"] = cluster.masters[active].poll() is not None
    kept = "the same as before" if found == active else "the other one, for the active one ended itself"
    story.tell(f"master {found} is ALIVE with the worker {told['second']} s after that: {kept}")
    ensemble.bring_back(dead, story)
    if cluster.active() != found:
        raise Failure(f"master {found} was active before the server came back, and is not behind that")


def summary(run):
    return (f"the job came to the right sum {run['sum']} in {run['job']} s; the other master was active "
            f"{run['takeover']} s after the kill of the first (sessions end after {SESSION_MAX / 1000:.0f} s), with "
            f"worker and application after {run['reregistered']} s; longest time without a finished task {run['gap']} s; "
            f"behind one more kill of the leader an active master with the worker after {run['second']} s")


def options(parser):
    parser.add_argument("--cache", default=".cache", help="where pyspark is kept")


if __name__ == "__main__":
    sys.exit(applications.main("spark", __doc__, drive, summary, [f"maxSessionTimeout={SESSION_MAX}"], options))
