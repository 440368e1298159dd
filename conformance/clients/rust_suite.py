"""The tests of the Rust crate zookeeper-client, first against Apache ZooKeeper and then against ours.

They start their servers as containers; behind the crate that does so stands `rust/containers.rs`, which starts servers on
this machine. What passes on Apache and not on ours is a fault, unless `skips.toml` beside this file has a reason for it.

Usage: rust_suite.py --apache 3.9.5=JARS --binary ZABKEEPER --cache FOLDER [--only WORD] [--json FILE]
Ends with 0 if all is well, 1 if a test fails on ours that passes on Apache, 2 if nothing could be run.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request

sys.dont_write_bytecode = True

import stock

CRATE, VERSION = "zookeeper-client", "0.9.1"
# Seconds: the build, and all tests on one server.
BUILD_MAX, SUITE_MAX = 900, 900
STAND_IN = """[package]
name = "testcontainers"
version = "0.0.0"
edition = "2021"

[lib]
path = "lib.rs"
"""
# Chance decides in these tests whether a server has TLS; here the tests that are named so have it.
PLAIN = {"ZK_TEST_TLS": "false"}


def sources(cache):
    """The crate with its tests, and what stands in for containers; fetched once."""
    home = os.path.join(os.path.abspath(cache), f"{CRATE}-{VERSION}")
    if not os.path.isdir(home):
        os.makedirs(cache, exist_ok=True)
        with urllib.request.urlopen(f"https://static.crates.io/crates/{CRATE}/{CRATE}-{VERSION}.crate", timeout=60) as answer:
            packed = answer.read()
        fresh = tempfile.mkdtemp(dir=cache)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(fresh, filter="data")
        unpacked = os.path.join(fresh, f"{CRATE}-{VERSION}")
        with open(os.path.join(unpacked, "Cargo.toml"), "a") as file:
            file.write('\n[dev-dependencies.testcontainers]\npath = "testcontainers"\n\n[workspace]\n')
        put_stand_in(unpacked)
        # The version of its list is refused by compilers of today.
        subprocess.run(["cargo", "update", "--quiet", "--precise", "2.3.1", "rsasl"], cwd=unpacked, check=True)
        # In place only once it is whole.
        os.rename(unpacked, home)
        os.rmdir(fresh)
    put_stand_in(home)
    return home


def put_stand_in(home):
    """Puts what stands in for containers into the crate, as it is now."""
    stand_in = os.path.join(home, "testcontainers")
    os.makedirs(stand_in, exist_ok=True)
    with open(os.path.join(stand_in, "Cargo.toml"), "w") as file:
        file.write(STAND_IN)
    shutil.copy(os.path.join(stock.HERE, "rust", "containers.rs"), os.path.join(stand_in, "lib.rs"))


def built(home):
    """The program that holds the tests."""
    command = ["cargo", "test", "--no-run", "--test", "zookeeper", "--features", "tokio,tls,sasl-digest-md5"]
    environment = dict(os.environ, CARGO_TARGET_DIR=os.path.join(home, "target"), CARGO_PROFILE_DEV_LTO="off", CARGO_PROFILE_DEV_DEBUG="false")
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=BUILD_MAX, check=False)
    found = re.search(r"Executable .*\((.*)\)", done.stderr)
    if not found:
        raise RuntimeError(f"the tests cannot be built:\n{done.stderr}")
    return os.path.join(home, found.group(1))


def suite(program, args, environment, name):
    """The outcome of each test: ok, FAILED or ignored."""
    print(f"{CRATE}'s tests on {name}", file=sys.stderr)
    words = [args.only] if args.only else []
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, **PLAIN, **environment, TMPDIR=folder, RUST_LOG="off")
        done = subprocess.run([program, "--test-threads", "3", *words], env=environment, capture_output=True, text=True, timeout=SUITE_MAX, check=False)
    with open(os.path.join(args.cache, f"{CRATE}-{name}.log"), "w") as log:
        log.write(done.stdout + done.stderr)
    return dict(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (\w+)", done.stdout, re.MULTILINE))


def outcome(found):
    """As the judges of clients have it. These tests show nothing but whether they pass."""
    made = stock.Outcome("", 0)
    made.cases = {name: (said == "ok", "" if said == "ok" else said) for name, said in found.items()}
    return made


def main():
    args = stock.arguments(__doc__, cache="where the crate is kept; else .cache")
    args.cache = os.path.abspath(args.cache[-1] if args.cache else ".cache")
    program = built(sources(args.cache))
    theirs = suite(program, args, {"APACHE_CLASSPATH": args.classpath}, "apache")
    ours = suite(program, args, {"ZABKEEPER_BINARY": args.binary}, "zabkeeper")
    bad = [name for name, said in theirs.items() if said != "ok"]
    print(f"  {len(bad)} tests do not pass on Apache ZooKeeper {args.version} here, and are not judged: {', '.join(bad)}")
    good = {name: said for name, said in theirs.items() if said == "ok"}
    return stock.told("rust-client", f"{CRATE} {VERSION}", args, outcome(good), outcome(ours))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
