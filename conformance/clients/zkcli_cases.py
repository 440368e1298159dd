"""A fixed list of commands of zkCli.sh, the Java client's command line, against three servers.

Run by `faults clients -- python3 zkcli_cases.py`; see kazoo_cases.py for how. Each case is one run of zkCli.sh with
commands on its standard input. The last line counts the cases, and the exit code is 1 if one failed.
"""

import json
import re
import subprocess
import sys
import time
import traceback

ZKCLI = "/usr/share/zookeeper/bin/zkCli.sh"
PATIENCE = 120

CASES = []


def case(function):
    CASES.append(function)
    return function


def conductor(request):
    print("!" + request, flush=True)
    answer = sys.stdin.readline().strip()
    if not answer.startswith("ok"):
        raise RuntimeError(f"{request}: {answer or 'no answer'}")


class Session:
    """One zkCli.sh that is spoken to line by line."""

    def __init__(self, hosts):
        self.process = subprocess.Popen(
            [ZKCLI, "-server", hosts, "-timeout", "8000"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *commands):
        """Sends the commands, waits for the end, and returns what was printed."""
        text = "".join(command + "\n" for command in commands) + "quit\n"
        output, _ = self.process.communicate(text, timeout=PATIENCE)
        return output


def run(hosts, *commands):
    return Session(hosts).run(*commands)


def has(output, *wanted):
    for text in wanted:
        if not re.search(text, output, re.MULTILINE):
            raise AssertionError(f"{text!r} is not in\n{output}")


@case
def create_get_set_and_delete(hosts):
    output = run(
        hosts,
        "create /zkcli one",
        "get /zkcli",
        "set -s /zkcli three",
        "set -v 0 /zkcli x",
        "get -s /zkcli",
        "create /zkcli/below x",
        "delete /zkcli",
        "delete /zkcli/below",
        "delete /zkcli",
        "get /zkcli",
    )
    has(output, "^Created /zkcli$", "^one$", "dataVersion = 1", "version No is not valid", "^three$", "dataLength = 5")
    has(output, "Node not empty: /zkcli", "(Node does not exist|NoNode).*/zkcli")


@case
def list_and_stat(hosts):
    output = run(
        hosts, "create /ls", "create /ls/a", "create /ls/b", "ls -s /ls", "ls -R /ls", "stat /ls", "deleteall /ls", "ls /"
    )
    has(output, r"^\[a, b\]", "numChildren = 2", "^/ls/a$", "^/ls/b$", r"^\[.*zookeeper.*\]$")
    if re.search(r"^\[.*\bls\b.*\]$", output, re.MULTILINE):
        raise AssertionError(f"/ls is still there\n{output}")


@case
def sequential_and_ephemeral(hosts):
    output = run(hosts, "create /seq", "create -s /seq/n- x", "create -s /seq/n- x", "create -e -s /seq/e- x", "ls /seq")
    has(output, "Created /seq/n-0000000000", "Created /seq/n-0000000001", "Created /seq/e-0000000002")
    has(output, r"^\[e-0000000002, n-0000000000, n-0000000001\]$")
    output = run(hosts, "sync /seq", "ls /seq", "deleteall /seq")
    has(output, r"^\[n-0000000000, n-0000000001\]$")


@case
def watches_print_what_happened(hosts):
    output = run(hosts, "create /watched 1", "get -w /watched", "set /watched 2", "get /watched", "delete /watched")
    has(output, r"WatchedEvent state:SyncConnected type:NodeDataChanged path:/watched")


@case
def access_control(hosts):
    output = run(
        hosts,
        "addauth digest ann:secret",
        "create /guarded x auth::cdrwa",
        "getAcl /guarded",
        "setAcl /guarded digest:ann:wrong:r,world:anyone:r",
        "getAcl -s /guarded",
    )
    has(output, "'digest,'ann:", ": cdrwa", "aclVersion = 1", "'world,'anyone")
    output = run(hosts, "set /guarded y", "get /guarded")
    has(output, "(Authentication is not valid|Insufficient permission|NoAuth).*/guarded", "^x$")


@case
def sync_shows_what_another_wrote(hosts):
    each = hosts.split(",")
    run(each[0], "create /synced one")
    for number, host in enumerate(each):
        has(run(host, "sync /synced", "get /synced"), "Sync is OK", f"^{'one' if number == 0 else number}$")
        run(each[0], f"set /synced {number + 1}")


@case
def version_and_whoami(hosts):
    has(run(hosts, "version"), "ZooKeeper CLI version")


@case
def a_session_goes_on_when_the_leader_dies(hosts):
    session = Session(hosts)
    send = lambda text: (session.process.stdin.write(text + "\n"), session.process.stdin.flush())
    send("create -e /lasting x")
    time.sleep(3)
    conductor("kill-leader")
    time.sleep(3)
    conductor("start-all")
    output = session.run("stat /lasting", "get /lasting")
    has(output, "Created /lasting", r"ephemeralOwner = 0x[1-9a-f][0-9a-f]+", "^x$")
    if "Session expired" in output:
        raise AssertionError(f"the session is lost\n{output}")


def main():
    hosts = sys.argv[-1]
    wanted = sys.argv[1:-1]
    conductor("await-serving")
    outcomes = []
    for function in CASES:
        if wanted and function.__name__ not in wanted:
            continue
        began = time.monotonic()
        error = None
        try:
            function(hosts)
        except Exception:
            error = traceback.format_exc()
        passed, seconds = error is None, round(time.monotonic() - began, 1)
        outcomes.append({"case": function.__name__, "passed": passed, "seconds": seconds})
        print(f"{'passed' if passed else 'FAILED'}  {seconds:>5} s  {function.__name__}", flush=True)
        if error:
            print(error, flush=True)
    failed = [outcome for outcome in outcomes if not outcome["passed"]]
    print(json.dumps({"client": "zkCli.sh", "cases": outcomes}), flush=True)
    print(f"{len(outcomes) - len(failed)} cases passed, {len(failed)} failed", flush=True)
    sys.exit(1 if failed or not outcomes else 0)


if __name__ == "__main__":
    main()
